"""Layers of radial basis functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import check_number, check_size, make_plain
from .layer import Layer


@dataclass(frozen=True)
class RBF(Layer):
    """A layer of radial basis functions, ``a_j = exp(-beta_j |h - c_j|^2)``: units that respond near their centres.

    For few inputs and functions that are local; far from all data its activations are 0, so that outputs are the bias
    there.

    Centres ``C (n_in, n_units)``, one a column, and ``b``, which makes ``beta_j = exp(b_j)`` positive, are learnt. In a
    network they are in the place of weights and biases. Below a linear output layer it makes the interpolator of [1]_.

    Parameters
    ----------
    n_units : int
        Number of units.
    dropout : float, default=0.0
        As of `Dense`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Dense : The usual layer.
    Network.init_centres : Takes centres and widths from data.

    Notes
    -----
    Notes 004 name these units for "focussed activation", and that they are difficult to train, for gradients vanish far
    from the centres. With ``e = dC/da`` and ``s = 2 beta e a``, all for one sample,

    ``dC/dc_j = s_j (h - c_j)``, ``dC/db_j = -s_j |h - c_j|^2 / 2``, ``dC/dh = -sum_j s_j (h - c_j)``.

    Distances are computed by differences, so that no offset of the data makes them inexact. L1, L2 and an optimizer's
    weight decay, all of which pull towards 0, are for weights: centres and widths have none of them.

    Before training, centres are drawn from N(0, 1), and ``beta = 1 / (2 n_in)``: inputs of mean 0 and variance 1 then
    give activations around ``1/e``. `Network.init_centres` takes both from data. A first layer of this kind needs
    dense inputs.

    References
    ----------
    .. [1] D. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive networks", Complex Systems 2,
       1988.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import RBF, Adam, Dense, Network
    >>> X = np.linspace(-3, 3, 100)[:, None]
    >>> net = Network([RBF(10), Dense(1)], n_inputs=1, random_state=0)
    >>> net.init_centres(X)
    >>> history = net.fit(X, np.sin(X), optimizer=Adam(0.02), epochs=50)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    n_units: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("n_units", self.n_units)
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))

    def build(self, graph: Any, h: int, name: str) -> Any:
        z, number = graph.dense(name, h, self, self.n_units, role="centre")
        return graph.finish(z, "rbf", dropout=self.dropout, weights=number)
