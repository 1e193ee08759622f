"""Matrices that know their derivatives.

A `Pair` is a matrix ``V`` that was computed from others, and ``R{V}``, its derivative along a direction in the space of
those that it all began with. Formulas that are written for arrays work on pairs as they stand; `differential` then
gives the derivatives of what came out, along any direction and many at once; the matrices are computed only once.

Everything is a matrix, biases ``(1, n)`` included; an ``R{V}`` may have an axis of directions before the two of ``V``.
What a pair is computed from besides pairs is constant.
"""

import functools
import itertools
import operator

import numpy as np
from scipy.sparse import issparse

_numbers = itertools.count()


class Pair:
    """A matrix and the terms that its derivative is the sum of: pairs (operand, linear function of its derivative)."""

    __array_ufunc__ = None  # an array's operators leave it to those below

    def __init__(self, value, *terms):
        self.value, self.terms, self.number = value, terms, next(_numbers)

    def __add__(self, other):
        return joined(self.value + value(other), (self, _same), (other, _same))

    def __sub__(self, other):
        return joined(self.value - value(other), (self, _same), (other, np.negative))

    def __mul__(self, other):
        a, b = self.value, value(other)
        return joined(a * b, (self, lambda t: t * b), (other, lambda t: a * t))

    def __matmul__(self, other):
        return _product(self, other)

    def __rmatmul__(self, other):
        return _product(other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other):
        return joined(other - self.value, (self, np.negative))

    @property
    def T(self):  # noqa: N802 (as of arrays)
        """The transpose."""
        return linear(_transposed, self)

    def __getitem__(self, at):
        """Columns, as ``V[:, slice]``."""
        return linear(lambda a: a[..., at[1]], self)


def _same(t):
    return t


def _transposed(a):
    return a.T if a.ndim == 2 else a.swapaxes(-1, -2)


def _product(A, B):
    a, b = value(A), value(B)
    return joined(a @ b, (A, lambda t: t @ b), (B, lambda t: a @ t))


def value(x):
    """The matrix of a pair, or what is one already."""
    return x.value if isinstance(x, Pair) else x


def joined(result, *terms):
    """A pair whose derivative is the sum of terms; `result` itself if all their operands are constant."""
    terms = [(x, f) for x, f in terms if isinstance(x, Pair)]
    return Pair(result, *terms) if terms else result


def linear(f, x):
    """f(x) for a linear function."""
    return joined(f(value(x)), (x, f))


def elementwise(f, slope, x):
    """f(x) for a function of each element that has the derivative `slope`, of which it is asked only for pairs."""
    if not isinstance(x, Pair):
        return f(x)
    s = slope(x.value)
    return Pair(f(x.value), (x, lambda t: s * t))


def row_sums(x):
    """The sum of each row, ``(n_samples, 1)``."""
    return linear(lambda a: a.sum(axis=-1, keepdims=True), x)


def column_sums(x):
    """The sum of all rows, ``(1, n)``, added up in double."""
    return linear(lambda a: a.sum(axis=-2, keepdims=True, dtype=np.float64).astype(a.dtype), x)


def placed(x, column, n):
    """A matrix of n columns that are x from this one on, and 0 elsewhere."""

    def f(a):
        a = a.toarray() if issparse(a) else a
        whole = np.zeros((*a.shape[:-1], n), a.dtype)
        whole[..., column : column + a.shape[-1]] = a
        return whole

    return linear(f, x)


def product_over_rows(A, B):
    """``A^T B``; in single precision it is added up in double from block to block of rows."""
    a, b = value(A), value(B)
    return joined(
        _product_over_rows(a, b), (A, lambda t: _product_over_rows(t, b)), (B, lambda t: _product_over_rows(a, t))
    )


def _product_over_rows(A, B):
    n = B.shape[-2]
    if B.dtype == np.float64 or (n <= 512 and not issparse(A)):
        return _transposed(A) @ B
    total = 0.0
    for i in range(0, n, 512):
        a, b = (A[i : i + 512] if A.ndim == 2 else A[:, i : i + 512]), B[..., i : i + 512, :]
        part = _transposed(a) @ (b.astype(np.float64) if issparse(a) else b)  # SciPy adds up row by row
        total = total + part.astype(np.float64, copy=False)
    return total.astype(B.dtype)


def differential(wanted, variables):
    """The derivatives of what was computed from variables.

    Parameters
    ----------
    wanted, variables : lists of Pair
        What is none is constant.

    Returns
    -------
    along : callable
        ``along(directions)`` takes ``R{V}`` of each variable and returns those of what is wanted, None being 0. What
        does not lie between what changes and what is wanted is not computed.
    """
    needed, stack = set(), [x for x in wanted if isinstance(x, Pair)]
    while stack:
        x = stack.pop()
        if x not in needed:
            needed.add(x)
            stack.extend(operand for operand, _ in x.terms)
    order = sorted(needed, key=operator.attrgetter("number"))
    last = {operand: x for x in order for operand, _ in x.terms}  # to read it; what is read no more is dropped
    last.update((x, None) for x in wanted if isinstance(x, Pair))

    def along(directions):
        R = {x: t for x, t in zip(variables, directions, strict=True) if t is not None}
        for x in order:
            terms = [f(R[operand]) for operand, f in x.terms if operand in R]
            if terms:
                t = functools.reduce(operator.add, terms)
                shape = x.value.shape
                R[x] = t if t.shape[-2:] == shape else np.broadcast_to(t, (*t.shape[:-2], *shape))
            for operand, _ in x.terms:
                if last[operand] is x:
                    R.pop(operand, None)
        return [R.get(x) if isinstance(x, Pair) else None for x in wanted]

    return along
