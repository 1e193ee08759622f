# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Arrays as the caller has them: borrowed, and checked where they lead to memory."""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uintptr_t

import numpy as np


cdef class Buffer:
    """An array's memory, borrowed for as long as this object lives."""

    def __cinit__(self, array, bint writable=False):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef char *pointer(self):
        return <char *>self.view.buf

    cdef DType dtype(self) except *:
        cdef char code = self.view.format[0] if self.view.format != NULL else c"B"
        if code == c"f":
            return FLOAT32
        if code == c"d":
            return FLOAT64
        if code == c"B" or code == c"?":
            return UINT8
        raise TypeError(f"unsupported buffer format {self.view.format.decode()!r}")

    cdef Strided strided(self) except *:
        cdef Strided s
        s.data = <char *>self.view.buf
        s.row_stride = self.view.strides[0]
        s.column_stride = self.view.strides[1] if self.view.ndim == 2 else self.view.itemsize
        s.dtype = self.dtype()
        return s


cdef int check_vector(Buffer b) except -1:
    """ValueError unless it is what one of the arrays of CSR may be."""
    if b.view.ndim != 1 or b.view.itemsize > 8 or (b.view.shape[0] > 1 and b.view.strides[0] != b.view.itemsize):
        raise ValueError("X must be a valid CSR matrix, got one whose arrays are not contiguous vectors")
    return 0


def checked_bounds(indptr, Py_ssize_t n_rows, Py_ssize_t n):
    """A copy (int64) of the contiguous `indptr` of CSR, ours alone: other threads may write to the original. ValueError unless
    it ascends from 0 to n at most."""
    cdef Buffer b = Buffer(indptr), c
    cdef int64_t *bounds
    cdef int64_t last = 0
    cdef Py_ssize_t i
    cdef bint good
    check_vector(b)
    good = b.view.shape[0] == n_rows + 1 and b.view.itemsize >= 4
    checked = np.empty(n_rows + 1, np.int64)
    c = Buffer(checked, True)
    bounds = <int64_t *>c.pointer()
    for i in range(n_rows + 1 if good else 0):
        bounds[i] = (<const int64_t *>b.pointer())[i] if b.view.itemsize == 8 else (<const int32_t *>b.pointer())[i]
        good = good and bounds[i] >= last
        last = bounds[i]
    if not good or bounds[0] != 0 or last > n:
        raise ValueError("X must be a valid CSR matrix, got one whose indptr is out of bounds")
    return checked


cdef class Data:
    """Training data: X dense or CSR, targets, weights; borrowed, not copied. fastbp/network/ has checked all of it.

    Another thread may write to what is borrowed: values may be anything, but nothing may lead out of bounds. Of CSR, this has
    the bounds of the rows for itself, and the kernels look at the columns as they read them.

    X : (n, n_features) array of float32, float64, uint8 or bool with any strides, or CSR with ascending columns;
    y : (n, n_outputs) array of the same dtypes, or None; labels : (n,) int64, or None; or tuples of them, one for each output
    of the network; weights : (n,) float64, or None.
    """

    def __init__(self, X, y=None, labels=None, weights=None):
        cdef Buffer b
        cdef Py_ssize_t n, i
        self.buffers = []
        self.n_rows, self.n_features = X.shape
        self.sparse = not hasattr(X, "strides")
        if self.sparse:
            b = self.borrow(X.data)
            check_vector(b)
            self.csr.data, self.csr.dtype, n = b.pointer(), b.dtype(), b.view.shape[0]
            b = self.borrow(X.indices)
            check_vector(b)
            self.csr.indices, self.csr.wide_indices, n = b.pointer(), b.view.itemsize == 8, min(n, b.view.shape[0])
            b = self.borrow(checked_bounds(X.indptr, self.n_rows, n))
            self.csr.indptr, self.csr.n_columns = <const int64_t *>b.pointer(), self.n_features
            self.n_nonzeros = self.csr.indptr[self.n_rows]
            for i in range(self.n_rows):
                self.most = max(self.most, self.csr.indptr[i + 1] - self.csr.indptr[i])
        else:
            self.x = self.borrow(X).strided()
        self.y = [a if a is None else self.borrow(a) for a in (y if isinstance(y, tuple) else (y,))]
        self.labels = [a if a is None else self.borrow(a) for a in (labels if isinstance(labels, tuple) else (labels,))]
        if weights is not None:
            self.weights = <const double *>self.borrow(weights).pointer()

    cdef Buffer borrow(self, array):
        cdef Buffer b = Buffer(array)
        self.buffers.append(b)
        return b


cdef fused Integer:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t


cdef bint copy_indices(const Integer *y, Py_ssize_t n, int64_t n_classes, int64_t *out) noexcept nogil:
    """Whether all are indices below n_classes."""
    cdef Py_ssize_t i
    cdef bint good = True
    for i in range(n):
        out[i] = y[i]
        good = good and 0 <= out[i] < n_classes
    return good


def class_indices(y, Py_ssize_t n_classes):
    """A copy (int64), ours alone, of a contiguous vector of class indices from 0 to n_classes - 1; None if it has others, or is
    not of one of the common types of integers."""
    cdef Buffer b = Buffer(y), c
    cdef char code = b.view.format[0] if b.view.format != NULL else c"B"
    cdef Py_ssize_t n = b.view.shape[0] if b.view.ndim == 1 else 0
    cdef int64_t *out
    cdef bint good = False
    if (
        b.view.ndim != 1 or code not in b"bhilqB?" or (n > 1 and b.view.strides[0] != b.view.itemsize)
        or <uintptr_t>b.view.buf % <size_t>b.view.itemsize
    ):
        return None
    indices = np.empty(n, np.int64)
    c = Buffer(indices, True)
    out = <int64_t *>c.pointer()
    if b.view.itemsize == 8:
        good = copy_indices(<const int64_t *>b.view.buf, n, n_classes, out)
    elif b.view.itemsize == 4:
        good = copy_indices(<const int32_t *>b.view.buf, n, n_classes, out)
    elif b.view.itemsize == 2:
        good = copy_indices(<const int16_t *>b.view.buf, n, n_classes, out)
    elif code == c"b":
        good = copy_indices(<const int8_t *>b.view.buf, n, n_classes, out)
    else:
        good = copy_indices(<const uint8_t *>b.view.buf, n, n_classes, out)
    return indices if good else None
