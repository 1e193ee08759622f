"""What comes in, as the core reads it: X, sample weights, rows to predict and the place for a result.

Targets depend on the loss: see `check_targets` in losses.py.
"""

import copy
import mmap
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, issparse

from .._arrays import Data, checked_bounds
from .._core import gather_rows
from ..checks import check_real

_NATIVE = {np.dtype(t) for t in ("float32", "float64", "uint8", "bool")}


class Rows(NamedTuple):
    """Rows to train on or to evaluate, checked: see `Model.check_rows`, which makes them."""

    X: object
    y: np.ndarray | tuple | None  # of a network with several heads, tuples
    labels: np.ndarray | tuple | None
    sample_weight: np.ndarray | None

    def data(self):
        """The rows for the engine."""
        return Data(*self)

    def row_major(self, dtype):
        """The same to be read in any order, by a network of this dtype: with a copy of X if `row_major` makes one."""
        return self._replace(X=row_major(self.X, dtype))


def readable(X, n_inputs, dtype, dense_only):
    """X as the core reads it: unchanged if it is float32, float64, uint8 or bool, whatever its strides; else converted,
    to the network's dtype if need be. ValueError for CSR if there is something, a string, that needs dense X."""
    if issparse(X):
        if X.ndim != 2:
            raise ValueError(f"X must have two dimensions, got shape {X.shape}")
        if dense_only:
            raise ValueError(f"X must be dense for {dense_only}, got a sparse matrix")
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X must hold real numbers, got dtype {X.dtype}")
        X = _readable_csr(_as_csr(X, dtype), dtype)
    else:
        X = check_real("X", X)
        if X.dtype not in _NATIVE or not X.flags.aligned:
            X = X.astype(dtype)
    if X.ndim != 2 or X.shape[1] != n_inputs:
        raise ValueError(f"X must have shape (n_samples, {n_inputs}), got {X.shape}")
    return X


def _as_csr(X, dtype):
    """The matrix as CSR. scipy does not look where indices lead, which are checked in a copy that is ours alone, and
    adds repeated entries up in their own integers, which may be too small."""
    if X.format != "csr" and X.dtype.kind in "biu":
        X = X.astype(dtype)
    try:
        if X.format == "coo":
            X = coo_array((X.data, (X.row, X.col)), shape=X.shape, copy=True)
        elif X.format in ("csc", "bsr"):
            X = X.copy()
            X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"X must be a valid {X.format.upper()} matrix: {error}") from error
    return X.tocsr()


def _readable_csr(X, dtype):
    """X as the kernels read it: contiguous, aligned arrays, columns ascending in each row, everything in bounds.

    Raises
    ------
    ValueError
        If the index arrays would lead out of bounds.
    """
    data = contiguous(X.data, X.data.dtype if X.data.dtype in _NATIVE else dtype)
    indices, indptr = (
        contiguous(a, a.dtype if a.dtype in (np.int32, np.int64) else np.int64) for a in (X.indices, X.indptr)
    )
    bounds = checked_bounds(indptr, X.shape[0], min(len(indices), len(data)))
    n = int(bounds[-1])
    if n and not 0 <= indices[:n].min() <= indices[:n].max() < X.shape[1]:
        raise ValueError("X must be a valid CSR matrix, got one whose indices are out of bounds")
    descents = np.flatnonzero(indices[1:n] < indices[: max(n - 1, 0)]) + 1
    if not np.isin(descents, bounds).all():
        X = csr_array((data, indices, bounds), shape=X.shape, copy=True)
        X.has_sorted_indices = False
        X.sort_indices()
    elif not (data is X.data and indices is X.indices and indptr is X.indptr):
        X = copy.copy(X)
        X.data, X.indices, X.indptr = data, indices, indptr
    return X


def check_categories(X, categories, has_categories):
    """ValueError unless columns of X hold integers from 0 on, each below a number of its own.

    Parameters
    ----------
    X : ndarray
        As `readable` returns it.
    categories : dict of int
        The numbers, by columns.
    has_categories : callable
        Whether so few rows are right.
    """
    for i in range(0, X.shape[0], 4096):  # rows of a memory map take time, and Ctrl-C is not to wait
        rows = X[i : i + 4096]
        if has_categories(rows):
            continue
        for column, n in categories.items():
            x = rows[:, column]
            wrong = ~((x >= 0) & (x < n) & (x == np.floor(x)))
            if wrong.any():
                raise ValueError(
                    f"X must hold integers from 0 to {n - 1} in column {column}, which Embed takes for categories, got "
                    f"{x[wrong][0]} in row {i + wrong.argmax()}"
                )


def row_major(X, dtype):
    """X, or a copy in C order that a network of this dtype reads faster, row by row in any order.

    Where columns lie together, as those of a data frame, each element of a row is in a cache line of its own, and every
    epoch would wait for all of these; the copy takes a small part of that time, once. X stays as it is where that does
    not matter, up to 8,192 elements, and where a copy is not to be afforded: of a memory map, or one of more than a
    quarter of the memory that is available (1 GiB where the system does not say what is).
    """
    if issparse(X) or X.size <= 8192 or not 0 < abs(X.strides[0]) < abs(X.strides[1]) or _is_mapped(X):
        return X
    dtype = dtype if X.dtype == np.float64 else X.dtype
    size = X.size * dtype.itemsize
    if size > 1 << 26 and size > _available_memory() // 4:
        return X
    try:
        out = np.empty(X.shape, dtype)
    except MemoryError:
        return X
    step = max(1, (1 << 24) // X.shape[1])  # so many rows that Ctrl-C need not wait
    for i in range(0, len(X), step):
        if dtype.kind == "f":
            gather_rows(X[i : i + step], out[i : i + step])
        else:
            out[i : i + step] = X[i : i + step]
    return out


def _is_mapped(X):
    """Whether the array is a view of a memory map."""
    while X is not None and not isinstance(X, np.memmap | mmap.mmap):
        X = X.obj if isinstance(X, memoryview) else getattr(X, "base", None)
    return X is not None


def _available_memory():
    """Bytes that can be had without swapping."""
    try:
        with open("/proc/meminfo") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 1 << 32


def check_sample_weight(sample_weight, n):
    """The weights of n rows: finite and not negative, with a sum to divide by."""
    sample_weight = check_real("sample_weight", sample_weight)
    if sample_weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {sample_weight.shape}")
    sample_weight = contiguous(sample_weight, np.float64)
    wrong = ~(np.isfinite(sample_weight) & (sample_weight >= 0))
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(f"sample_weight must be finite and not negative, got {sample_weight[row]} in row {row}")
    if not sample_weight.any():
        raise ValueError("sample_weight must not be zero for all samples")
    with np.errstate(over="ignore"):
        total = sample_weight.sum()
    if not 1e-300 < total < 1e300:
        raise ValueError(f"sample_weight must have a sum that is not extreme, got {total}")
    return sample_weight


def check_order(order, n):
    """Which of n rows to predict, as a copy that nobody changes meanwhile."""
    order = np.asarray(order)
    whole = order.ndim == 1 and (order.size == 0 or order.dtype.kind in "iu")
    if not whole or (order.size and not 0 <= order.min() <= order.max() < n):
        what = f"{order.dtype} of shape {order.shape}" if not whole else f"{order.min()} to {order.max()}"
        raise ValueError(f"order must be a vector of integers from 0 to {n - 1}, got {what}")
    return np.array(order, dtype=np.int64)


def check_out(out, shape, dtype, X):
    """ValueError unless the core can write a prediction for X of this shape there."""
    if (
        not isinstance(out, np.ndarray)
        or (out.shape, out.dtype) != (shape, dtype)
        or not out.flags.carray
        or _may_share_memory(out, X.data if issparse(X) else X)
    ):
        raise ValueError(
            f"out must be a writeable C-contiguous {dtype.name} array of shape {shape} apart from X, got {kind_of(out)}"
        )


def _may_share_memory(a, b):
    """Whether two arrays may: what each has for its own is not looked at closer, which would take some microseconds."""
    return a is b or not (a.flags.owndata and b.flags.owndata) and np.may_share_memory(a, b)


def kind_of(out):
    """In words, what was given for results to be written to."""
    if not isinstance(out, np.ndarray):
        return type(out).__name__
    kind = f"{out.dtype.name} of shape {out.shape}"
    return kind if out.flags.carray else f"{kind}, not writeable or not C-contiguous"


def contiguous(array, dtype):
    """The array, or a copy that C can read."""
    if type(array) is np.ndarray and array.dtype == dtype and array.flags.carray:
        return array
    array = np.ascontiguousarray(array, dtype=dtype)
    return array if array.flags.aligned else array.copy()
