"""Embeddings of columns of numbers: each becomes several, by a linear layer and a unit of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..checks import check_number, check_size
from ..initializers import Initializer
from ..settings import FrozenArray
from .activations import Unit, unit_of
from .dense import check_product_settings
from .embed import check_column, pass_on
from .layer import Layer


class _Numerical(Layer):
    """What the layers have in common: codes of some columns, a layer for those of each, and the other columns."""

    dim: Any
    activation: Any
    columns: Any
    dropout: Any

    @abstractmethod
    def _encode(self, graph, h, name, columns):
        """The value of all codes of columns, and which of its columns are codes of each, (n_codes, n_columns)."""

    def _check(self) -> None:
        """Check the settings that both have."""
        check_product_settings(self, "dim")
        if self.columns is not None:
            object.__setattr__(self, "columns", _checked_columns(self.columns))

    def build(self, graph: Any, h: int, name: str) -> Any:
        n = graph.values[h].n
        columns = self.columns or tuple(range(n))
        p = len(columns)
        if max(columns) >= n:
            raise ValueError(f"layers[{name}] must have columns from 0 to {n - 1}, got {max(columns)} in {self!r}")
        codes, of_columns = self._encode(graph, h, name, columns)
        inputs = FrozenArray(np.repeat(of_columns, self.dim, axis=1))
        own = name if p == n else f"{name}.embedded"
        z, _ = graph.sparse(own, codes, self, len(inputs.array), p * self.dim, inputs)
        a = graph.finish(z, *unit_of(self.activation), self.dropout)
        if p == n:
            return a
        z, at = pass_on(graph, h, name, self, columns, p * self.dim)
        graph.move(a, z, at)
        return graph.finish(z)


@dataclass(frozen=True)
class Periodic(_Numerical):
    """A layer that embeds columns of numbers by sines and cosines of them, ``A = [H_others, A_1, A_2, ...]``.

    Each of the columns ``h_i`` becomes ``dim`` units, by frequencies, weights and biases of its own, all learnt:

    ``A_i = f([sin(2 pi c_i h_i), cos(2 pi c_i h_i)] W_i + b_i)``, with ``c_i (k,)`` and ``W_i (2k, dim)``.

    Parameters
    ----------
    k : int
        Frequencies of a column.
    sigma : float
        Their standard deviation at the start, above 0: ``c_i`` are drawn from ``N(0, sigma^2)``. For columns that are
        standardized, from 0.01 to 1 or so; it matters more than all other settings [1]_.
    dim : int, default=8
        Units of a column.
    activation : str, LeakyReLU or ELU, default="relu"
        The unit ``f``, as of `Dense`.
    columns : sequence of int or None, default=None
        Which columns are embedded, counted from 0, of what the layer takes. The others are passed on, first and in
        their order; units follow in the order of `columns`. None: all.
    l1, l2, initializer, dropout, max_norm
        As of `Dense`, of ``W_i``.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if the layer takes no such column.

    See Also
    --------
    PiecewiseLinear : Embeddings by bins, which need no scaled inputs.
    Embed : Embeddings of categories, which may come before: numbers are then the first columns of what it makes.
    Standardize : Scales inputs, as a layer before this one.

    Notes
    -----
    Networks learn slowly what changes fast in an input; here a column's units can be about any smooth function of it
    from the start. Angular frequencies ``2 pi c_i`` are in a network's `weights`, ``(1, k n_columns)``, as are ``W_i``
    side by side, ``(2k, dim n_columns)``. The former have the role of scales: no penalties and no weight decay, and
    ``per_role={"scale": 0.1}`` of an optimizer is for their rate. With angles ``u = 2 pi c_i h_i`` and
    ``D = dC/dsin(u)``, ``E = dC/dcos(u)``: ``dC/du = D cos(u) - E sin(u)``, and so on as of `Sparse`.

    A first layer of this kind needs dense inputs.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev and A. Babenko, "On embeddings for numerical features in tabular deep learning",
       NeurIPS 2022. "PLR" there.

    Examples
    --------
    >>> from fastbp import Dense, Network, Periodic
    >>> net = Network([Periodic(6, 0.1, dim=4), Dense(32, "relu"), Dense(1)], n_inputs=3, random_state=0)
    >>> [W.shape for W in net.weights]
    [(1, 18), (12, 12), (12, 32), (32, 1)]
    """

    k: int
    sigma: float
    dim: int = 8
    activation: Unit = "relu"
    columns: Iterable[int] | None = None
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer | None = None
    dropout: float = 0.0
    max_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        check_size("k", self.k)
        object.__setattr__(self, "sigma", check_number("sigma", self.sigma, "(0, inf)"))

    def _encode(self, graph, h, name, columns):
        """The value ``[sin(U), cos(U)]``, and its columns that belong to each of these."""
        n = self.k * len(columns)
        of_angles = FrozenArray(np.repeat(columns, self.k)[np.newaxis])
        start = {"has_bias": False, "role": "scale", "start": 0.0, "deviation": 2 * np.pi * self.sigma}
        angles, _ = graph.sparse(f"{name}.angles", h, self, 1, n, of_angles, **start)
        angles = graph.finish(angles)
        waves = []
        for unit in ("sin", "cos"):
            z = graph.value(f"{name}.{unit}", n)
            graph.move(angles, z)
            waves.append(graph.finish(z, unit))
        codes = graph.value(f"{name}.codes", 2 * n)
        for i, h in enumerate(waves):
            graph.move(h, codes, i * n)
        sines = np.arange(n).reshape(len(columns), self.k).T
        return graph.finish(codes), np.concatenate([sines, n + sines])


@dataclass(frozen=True)
class PiecewiseLinear(_Numerical):
    """A layer that embeds columns of numbers by piecewise linear codes of them, ``A = [X_others, A_1, A_2, ...]``.

    Bins cut the values of a column ``x_i`` at quantiles of the training data. A number's code says how much of each bin
    lies below it: 1 of those that do, 0 of those above, and of its own bin how far into it the number is,

    ``v_t = (min(max(x_i, b_(t-1)), b_t) - b_(t-1)) / (b_t - b_(t-1))``, ``t = 1, ..., n_bins``,

    where the first bin has no lower end, and the last no upper: beyond the training data codes go on in a straight
    line. ``A_i = f(v W_i + b_i)`` with ``W_i (n_bins, dim)`` are the column's units.

    Parameters
    ----------
    n_bins : int
        Bins of a column.
    dim : int, default=8
        Units of a column.
    activation : str, LeakyReLU or ELU, default="relu"
        The unit ``f``, as of `Dense`.
    columns : sequence of int or None, default=None
        Which columns are embedded, counted from 0, of what the layer takes; they must be columns of X, as they are
        in the first layer, or the first ones of what `Embed` makes. The others are passed on, first and in their order;
        units follow in the order of `columns`. None: all.
    l1, l2, initializer, dropout, max_norm
        As of `Dense`.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if the layer takes no such column, or it is not one of X.

    See Also
    --------
    Periodic : Embeddings by sines and cosines.
    Embed : Embeddings of categories, which may come before.

    Notes
    -----
    Bounds are quantiles of the rows of the first training, ``t / n_bins`` of whose weight is at or below ``b_t``: of at
    most 65,536 rows, from all of them at equal distances, so that a memory map is not read whole. They stay what they
    are: a later `fit` or `partial_fit` of a network, `partial_fit` of an estimator and its `fit` with
    ``warm_start=True`` go on from them; any other fit of an estimator, and `Network.init_lsuv`, take them anew. Before
    that bins are equal parts of what is from 0 to 1.

    Of quantiles that are the same one is a bound: bins that this leaves over are 0 for all numbers, and so are all of a
    column that does not vary. `Network.layer_state` has the bounds as "0.bounds", ``n_bins + 1`` for each column one
    after the other, bins left over being of no width at its end, and "0.n_samples", the number of rows that they are
    of; ``W_i`` are side by side in `weights`, ``(n_bins, dim n_columns)``.

    With ``D = dC/dv``, ``dC/dx_i = D_t / (b_t - b_(t-1))`` of the bin that ``x_i`` lies in, of two that meet there the
    upper one. X must be dense.

    References
    ----------
    Y. Gorishniy, I. Rubachev and A. Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS
    2022. "Q-LR" there.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Network, PiecewiseLinear
    >>> net = Network([PiecewiseLinear(4, dim=2), Dense(1)], n_inputs=1, random_state=0)
    >>> x = np.arange(9.0)[:, np.newaxis]
    >>> history = net.fit(x, x)
    >>> net.layer_state["0.bounds"]
    array([0., 2., 4., 6., 8.])
    >>> net.activations([[5.0]])["0.codes"].a
    array([[1. , 1. , 0.5, 0. ]])
    """

    n_bins: int
    dim: int = 8
    activation: Unit = "relu"
    columns: Iterable[int] | None = None
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer | None = None
    dropout: float = 0.0
    max_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        check_size("n_bins", self.n_bins)

    def _encode(self, graph, h, name, columns):
        of_inputs = graph.columns_of_inputs(h)
        others = [c for c in columns if of_inputs[c] < 0]
        if others:
            raise ValueError(
                f"layers[{name}] must take columns of X as they are, of which it has quantiles, got columns {others} "
                f"that other layers have made, in {self!r}; give columns= without these"
            )
        if columns != tuple(range(graph.values[h].n)):
            h = _taken(graph, h, f"{name}.columns", columns)
        codes = graph.finish(graph.bins(f"{name}.codes", h, name, self.n_bins))
        return codes, np.arange(self.n_bins * len(columns)).reshape(len(columns), self.n_bins).T


def _checked_columns(columns):
    """The columns as a tuple of int; ValueError unless they are some, all different."""
    try:
        columns = tuple(map(check_column, columns))
    except TypeError:
        raise ValueError(f"columns must be a sequence of integers or None, got {columns!r}") from None
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns must be at least one, and all different, got {columns!r}")
    return columns


def _taken(graph, h, name, columns):
    """A new value of some columns of another, those side by side moved at once."""
    z = graph.value(name, len(columns))
    breaks = [i for i, (c, d) in enumerate(pairwise(columns), 1) if d != c + 1]
    for begin, end in pairwise([0, *breaks, len(columns)]):
        graph.move(h, z, begin, source=columns[begin], n=end - begin)
    return graph.finish(z)
