# The only place that names scipy's BLAS: a row-major matrix product for either dtype.
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline void gemm(size_t itemsize, bint transpose_a, bint transpose_b, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
                      const void *a, Py_ssize_t lda, const void *b, Py_ssize_t ldb, double beta,
                      void *c, Py_ssize_t ldc) noexcept nogil:
    """C (m, n) = op(A) op(B) + beta C, all row-major; sizes fit an int.

    BLAS is column-major and so sees the transposes of all three: it is asked for C^T = op(B)^T op(A)^T.
    """
    cdef int m_ = <int>m, n_ = <int>n, k_ = <int>k, lda_ = <int>lda, ldb_ = <int>ldb, ldc_ = <int>ldc
    cdef char *op_a = b"T" if transpose_a else b"N"
    cdef char *op_b = b"T" if transpose_b else b"N"
    cdef float one_s = 1, beta_s = <float>beta
    cdef double one_d = 1, beta_d = beta
    if itemsize == sizeof(float):
        sgemm(op_b, op_a, &n_, &m_, &k_, &one_s, <float *>b, &ldb_, <float *>a, &lda_, &beta_s, <float *>c, &ldc_)
    else:
        dgemm(op_b, op_a, &n_, &m_, &k_, &one_d, <double *>b, &ldb_, <double *>a, &lda_, &beta_d, <double *>c, &ldc_)
