"""Bounds of bins that layers cut columns of X into."""

import numpy as np

MOST_ROWS = 2**16  # to take quantiles of
_COLUMNS = 64  # read at a time


def column_bounds(X, columns, n_bins, dtype, order=None, sample_weight=None):
    """Weighted quantiles of columns of X, at equal distances from the least value to the largest.

    Quantile q is the least value at or below which is a share q of the weight. Of those that are the same in `dtype`,
    or so close that a number by their distance might not be finite, one remains; the largest fills up what is left.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_inputs)
        Of more than `MOST_ROWS` rows that many are read, at equal distances.
    columns : ndarray of int
    n_bins : int
    dtype : dtype
    order : ndarray of int64, default=None
        Numbers of the rows to take; None: all.
    sample_weight : ndarray of shape (n_rows,), default=None
        Rows without weight may hold anything.

    Returns
    -------
    bounds : ndarray of shape (n_columns, n_bins + 1)
        0 where no row has weight.
    n_samples : int
        Rows that they are of.
    """
    rows = np.arange(len(X)) if order is None else order
    if sample_weight is not None:
        rows = rows[sample_weight[rows] > 0]
    if len(rows) > MOST_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.intp)]
    weight = np.ones(len(rows)) if sample_weight is None else sample_weight[rows]
    bounds = np.zeros((len(columns), n_bins + 1), dtype)
    for i in range(0, len(columns) if len(rows) else 0, _COLUMNS):
        part = X[np.ix_(rows, columns[i : i + _COLUMNS])].astype(dtype)
        for x, its in zip(part.T, bounds[i : i + _COLUMNS], strict=True):
            its[:] = _bounds(x, weight, n_bins)
    return bounds, len(rows)


def _bounds(x, weight, n_bins):
    order = np.argsort(x)
    total = np.cumsum(weight[order])
    at = np.searchsorted(total, np.arange(n_bins + 1) * total[-1] / n_bins).clip(max=len(x) - 1)
    quantiles = np.unique(x[order][at])
    bounds = quantiles[[True, *(np.diff(quantiles) >= np.finfo(x.dtype).tiny)]]
    return np.append(bounds, np.full(n_bins + 1 - len(bounds), bounds[-1]))
