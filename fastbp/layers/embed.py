"""Categories that are given as integers, each column with a table of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

from ..checks import check_number, check_size, make_plain
from ..initializers import Initializer, VarianceScaling, check_initializer
from ..settings import FrozenDict
from .layer import Layer

MOST_CATEGORIES = 2**24  # which float32 can tell apart


@dataclass(frozen=True)
class Embed(Layer):
    """A first layer that takes columns of X for categories: ``A = [X_others, W_1[x_1], W_2[x_2], ...]``.

    For tabular data: categories need no one-hot code, and those that act alike come to have similar rows.

    Each of the columns ``x_i`` holds integers, numbers of rows of its table ``W_i (n_categories, dim)``, which is
    learnt. The other columns are passed on, first and in their order; the rows of the tables follow, in the order of
    `columns`.

    Parameters
    ----------
    columns : dict of int
        For each column of X that is a category, counted from 0, how many values it may have: ``{3: 12}`` for integers
        from 0 to 11 in column 3. At most 2**24.
    dim : int or dict of int
        Columns of the tables, of all of them or of each by its column of X. Usual numbers are 2 to 50, more for more
        categories.
    l1, l2 : float or None, default=None
        Penalties on the tables, as of `Dense`.
    initializer : str, VarianceScaling or Orthogonal, default=VarianceScaling(scale=1.0, mode='fan_out')
        Rule for the initial tables, of shape (n_categories, dim); see `Network`. The default, N(0, 1 / dim), is Flax's:
        the mean square of a row is 1, that of a one-hot code's, or of a single column that is standardized.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if it is not the first layer, or X has no such column. From what
        takes X, if a column holds anything but these integers.

    See Also
    --------
    Periodic : Embeddings of columns of numbers, which may follow: those are the first ones of A.

    Notes
    -----
    It is the product of a one-hot code of ``x_i`` and ``W_i`` [1]_. With ``D_i``, the columns of ``dC/dA`` that belong
    to it, row k of ``dC/dW_i`` is the sum of the rows of ``D_i`` in which ``x_i`` is k. X has no gradient in these
    columns: `Network.backward` has 0 there. X must be dense, without noise, dropout or augmentation.

    References
    ----------
    .. [1] C. Guo and F. Berkhahn, "Entity embeddings of categorical variables", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Embed, Network
    >>> net = Network([Embed({1: 3}, dim=2), Dense(1)], n_inputs=3, random_state=0)
    >>> X = np.array([[0.5, 2, -1.0], [0.1, 0, 3.0]])  # the second column holds one of 3 categories
    >>> np.array_equal(net.activations(X)["0"].a, np.hstack([X[:, [0, 2]], net.weights[0][[2, 0]]]))
    True
    """

    max_norm: ClassVar[None] = None  # of the columns of weights

    columns: Mapping[int, int]
    dim: int | Mapping[int, int]
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer = VarianceScaling(1.0, "fan_out")  # noqa: RUF009

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping) or not self.columns:
            raise ValueError(
                f"columns must be a dict of columns of X with their numbers of categories, got {self.columns!r}"
            )
        columns = FrozenDict({check_column(c): _check_categories(c, n) for c, n in self.columns.items()})
        object.__setattr__(self, "columns", columns)
        make_plain(self)
        if not isinstance(self.dim, Mapping):
            check_size("dim", self.dim)
        else:
            if set(self.dim) != set(columns):
                raise ValueError(f"dim must have the keys of columns, {list(columns)}, got {self.dim!r}")
            dims = {int(c): check_size(f"dim[{c}]", n) for c, n in self.dim.items()}
            object.__setattr__(self, "dim", FrozenDict(dims))
        for name in ("l1", "l2"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_number(name, getattr(self, name), "[0, inf)"))
        check_initializer(self.initializer)

    def build(self, graph: Any, h: int, name: str) -> Any:
        if h != 0:
            raise ValueError(f"layers[{name}] must be a first layer, whose columns are those of X, got {self!r}")
        dims = self.dim if isinstance(self.dim, Mapping) else dict.fromkeys(self.columns, self.dim)
        z, at = pass_on(graph, h, name, self, self.columns, sum(dims.values()))
        for column, n_rows in self.columns.items():
            graph.embed(name, h, z, self, n_rows, dims[column], column, at)
            at += dims[column]
        return graph.finish(z)


def check_column(column):
    """The column as an int; ValueError unless it is one."""
    if not isinstance(column, Integral) or isinstance(column, bool) or column < 0:
        raise ValueError(f"columns must be integers from 0 on, got {column!r}")
    return int(column)


def _check_categories(column, n):
    if check_size(f"columns[{column}]", n) > MOST_CATEGORIES:
        raise ValueError(f"columns[{column}] must be at most 2**24, got {n!r}")
    return int(n)


def pass_on(graph, h, name, layer, columns, n_more):
    """Write the other columns of a value to a new one, with room for more columns behind them.

    Returns
    -------
    z : int
        Number of the new value.
    column : int
        Where the room begins.

    Raises
    ------
    ValueError
        If the value has not all of the columns.
    """
    n, column = graph.values[h].n, 0
    if max(columns) >= n:
        raise ValueError(f"layers[{name}] must have columns from 0 to {n - 1}, got {max(columns)} in {layer!r}")
    z = graph.value(name, n - len(columns) + n_more)
    taken = [-1, *sorted(columns), n]
    for before, after in zip(taken[:-1], taken[1:], strict=True):
        if after - before > 1:
            graph.move(h, z, column, source=before + 1, n=after - before - 1)
            column += after - before - 1
    return z, column
