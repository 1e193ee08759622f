"""Layers whose units have few inputs each, stored and multiplied as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_size
from ..initializers import Initializer
from ..settings import FrozenArray
from .activations import Unit, unit_of
from .dense import check_product_settings
from .layer import Layer


@dataclass(frozen=True)
class Sparse(Layer):
    """A layer whose units have few inputs each, ``z_j = b_j + sum_k W_kj h_(columns_kj)``, ``A = f(Z)``.

    Only the weights that there are, ``W (fan_in, n_units)``, are stored and multiplied by: unlike a `Dense` with a
    mask it takes less time, see below.

    Parameters
    ----------
    n_units : int
        Number of units.
    fan_in : int or None, default=None
        Inputs of each unit, at most as many as the layer takes. Which they are is drawn when the network is made, from
        its `random_state`: all different for a unit, and each input is read by about as many units. ``net.columns``
        tells. None: that of `columns`.
    activation : str, LeakyReLU or ELU, default="identity"
        The unit ``f``, as of `Dense`.
    columns : array-like of int, shape (fan_in, n_units), or None, default=None
        Which inputs each unit has, instead of drawn ones. One that is there twice has two weights. The setting is
        an immutable copy, which ``np.asarray`` makes an array of.
    l1, l2, initializer, dropout, max_norm
        As of `Dense`. Initializers count ``fan_in`` inputs of a unit, and ``fan_in n_units / n_in`` units of an input.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if the layer has less inputs than the settings ask for.

    See Also
    --------
    Dense : Its `mask` leaves out any weights of a layer, of which units may have different numbers.
    Prune : Leaves out weights while training.

    Notes
    -----
    With ``D = dC/dZ``: ``dC/dW_kj = sum over rows of D_j h_(columns_kj)``, and ``dC/dh_i`` is the sum of ``D_j W_kj``
    over all k and j with ``columns_kj = i``. Layers that are not fully connected are in notes 004.

    A weight takes as long as some two or three of a full layer, more where layers are small: training with AVX-512 is
    faster than with `Dense` where less than a quarter of the weights of a layer of a few hundred units are there, and
    three times as fast with a sixteenth.

    A first layer of this kind needs dense inputs.

    References
    ----------
    J. Frankle and M. Carbin, "The lottery ticket hypothesis: finding sparse, trainable neural networks", ICLR 2019, for
    what such layers can learn. D. Mocanu and others, "Scalable training of artificial neural networks with adaptive
    sparse connectivity inspired by network science", Nature Communications 9, 2018.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Sparse(64, 8, "relu"), fastbp.Dense(1)], n_inputs=100, random_state=0)
    >>> net.weights[0].shape, net.columns[0].shape
    ((8, 64), (8, 64))
    """

    n_units: int
    fan_in: int | None = None
    activation: Unit = "identity"
    columns: ArrayLike | None = None
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer | None = None
    dropout: float = 0.0
    max_norm: float | None = None

    def __post_init__(self) -> None:
        check_product_settings(self)
        if self.columns is not None:
            object.__setattr__(self, "columns", _frozen_columns(self.columns, self.n_units))
        fan_in = len(np.asarray(self.columns)) if self.columns is not None else None
        if self.fan_in is None and fan_in is None:
            raise ValueError("fan_in must be a number of inputs, unless there are columns, got None")
        if self.fan_in is not None and check_size("fan_in", self.fan_in) != (fan_in or self.fan_in):
            raise ValueError(f"fan_in must be None or the number of rows of columns, {fan_in}, got {self.fan_in}")

    @property
    def draws(self) -> bool:
        return self.columns is None

    def build(self, graph: Any, h: int, name: str) -> Any:
        return graph.finish(self.product(graph, h, name)[0], *unit_of(self.activation), self.dropout)

    def product(self, graph: Any, h: int, name: str, has_bias: bool = True) -> Any:
        """As of `Dense`."""
        n_in = graph.values[h].n
        fan_in = self.fan_in if self.columns is None else len(np.asarray(self.columns))
        least = fan_in if self.columns is None else int(np.asarray(self.columns).max()) + 1
        if n_in < least:
            raise ValueError(f"layers[{name}] must have at least {least} inputs, got {n_in} for {self!r}")
        return graph.sparse(name, h, self, fan_in, self.n_units, self.columns, has_bias)


def _frozen_columns(columns, n_units):
    """The columns as a `FrozenArray` of int32; ValueError unless they are integers from 0, (fan_in, n_units)."""
    a = np.asarray(columns)
    if a.dtype.kind not in "iu" or a.ndim != 2 or a.shape[1] != n_units or not a.size:
        raise ValueError(
            f"columns must be an array of integers of shape (fan_in, n_units), here (fan_in, {n_units}), got dtype "
            f"{a.dtype} in shape {a.shape}"
        )
    if not 0 <= a.min() <= a.max() < 2**31 - 1:
        raise ValueError(f"columns must be from 0 to the number of inputs, got numbers from {a.min()} to {a.max()}")
    return FrozenArray(a.astype(np.int32))
