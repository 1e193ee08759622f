# cython: language_level=3
from cpython.buffer cimport Py_buffer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t


cdef extern from "kernels.h" nogil:
    ctypedef enum DType:
        FLOAT32, FLOAT64, UINT8
    ctypedef struct Strided:
        const char *data
        ptrdiff_t row_stride, column_stride
        DType dtype
    ctypedef struct Csr:
        const char *data
        const char *indices
        const int64_t *indptr
        ptrdiff_t n_columns
        DType dtype
        int wide_indices


cdef class Buffer:
    cdef Py_buffer view
    cdef bint held
    cdef char *pointer(self)
    cdef DType dtype(self) except *
    cdef Strided strided(self) except *


cdef class Data:
    cdef readonly Py_ssize_t n_rows, n_features
    cdef bint sparse
    cdef Py_ssize_t most, n_nonzeros    # in a row of CSR, in all
    cdef Strided x
    cdef Csr csr
    cdef list y, labels  # Buffers or None, of each output
    cdef const double *weights
    cdef list buffers
    cdef Buffer borrow(self, array)
