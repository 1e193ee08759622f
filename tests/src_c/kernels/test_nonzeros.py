"""Lists of the nonzeros of sparse and dense rows, and their products."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import guarded, nonzeros_of, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("source", ["float32", "float64", "uint8"])
def test_gather_csr(k, dtype, rng, index, source):
    dense = (100 * rng.random((9, 13)) * (rng.random((9, 13)) < 0.4)).astype(source)
    dense[3] = 0
    x = csr_array(dense)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(np.int64)
    order = np.array([8, 3, 2, 2, 0], np.int64)
    for rows, first, expected in ((order, 99, dense[order]), (None, 3, dense[3:8])):
        out = kt.Nonzeros(7, 7 * 13, dtype)
        k.gather_csr(5, byref(kt.Csr.of(x)), pointer(rows), first, 7, 1, byref(out))
        assert (out.column[:7] == -1).all()
        assert (out.bounds[:, [0, 6]] == -1).all()
        out.bounds[:, [0, 6]] = 0
        assert_array_equal(out.dense(13)[1:6], expected.astype(dtype))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("invalid", [[7, 3, 9], [0, 1, 13], [-1, 2, 3], [-5, 99, -5], [2**31 - 1, -(2**31), 4]])
def test_gather_csr_keeps_columns_in_bounds(k, dtype, index, invalid):
    """Columns that another thread has written to while they are read: any that ascend and lie in the matrix."""
    x = csr_array(np.ones((1, 3), dtype))
    x.indices, x.indptr = np.array(invalid, index), x.indptr.astype(np.int64)
    csr, out = kt.Csr.of(x), kt.Nonzeros(1, 3, dtype)
    csr.n_columns = 13
    k.gather_csr(1, byref(csr), pointer(None), 0, 0, 0, byref(out))
    assert 0 <= out.column[0] <= out.column[1] <= out.column[2] < 13 and (out.value == 1).all()


def mostly_zeros(rng, shape, density, dtype):
    a = (rng.normal(size=shape) * (rng.random(shape) < density)).astype(dtype)
    a[rng.random(shape) < 0.1] = -0.0
    a[1::3] = 0
    return a


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 200])
@pytest.mark.parametrize("density", [0, 0.2, 1])
def test_find_and_transpose_nonzeros(k, dtype, rng, n, density):
    a = mostly_zeros(rng, (5, n), density, dtype)
    a[0, : min(n, 2)] = [np.nan, np.inf][: min(n, 2)]
    x = nonzeros_of(k, dtype, a)
    assert_array_equal(x.dense(n), a)
    assert (x.bounds[1] - x.bounds[0] == (a != 0).sum(axis=1)).all()
    for row, m in ((0, 5), (2, 3), (1, 0)):
        t = kt.Nonzeros(n, (row + m) * n, dtype)
        for begin, end in ((n // 3, n), (0, n // 3)):  # in parts, as the members of a team do it
            k.transpose_nonzeros(m, byref(x), row, begin, end, byref(t))
        assert_array_equal(t.dense(m), a[row : row + m].T)
        assert (t.column[: row * n] == -1).all()


@pytest.mark.parametrize("vectors", [1, 2, 4, 7, 8, 13, 16, 17, 22])
@pytest.mark.parametrize("k_, density", [(0, 1), (1, 1), (40, 0.1), (700, 0.02), (700, 0.5)])
def test_nonzeros_matmul(k, dtype, rng, vectors, k_, density):
    """With B packed and row-major, the bits of the dense product."""
    a = mostly_zeros(rng, (35, k_), density, dtype)
    x, rows = nonzeros_of(k, dtype, a), kt.rows(a)
    for n in (vectors * k.lanes - 1, vectors * k.lanes):
        b, bias = rng.normal(size=(k_, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        stripes = kt.packed(b, k.lanes)
        for row, m in ((0, 35), (3, 1), (2, 0)):
            for start, accumulate in ((bias, 0), (None, 0), (None, 1)):
                old = rng.normal(size=(m, n)).astype(dtype)
                expected = old.copy()
                plain, check = guarded((m, n), dtype)
                plain[:] = old
                packed = kt.packed(expected, k.lanes)
                k.matmul(
                    m,
                    n,
                    k_,
                    kt.Rows(pointer(rows[row:]), 0, 0),
                    kt.Stripes(pointer(b), n, k.lanes),
                    pointer(start),
                    accumulate,
                    kt.Stripes(pointer(expected), n, k.lanes),
                )
                k.nonzeros_matmul(
                    m,
                    n,
                    k_,
                    byref(x),
                    row,
                    kt.Stripes(pointer(b), n, k.lanes),
                    pointer(start),
                    accumulate,
                    kt.Stripes(pointer(plain), n, k.lanes),
                )
                assert_array_equal(plain, expected)
                plain[:] = old
                k.nonzeros_matmul(
                    m,
                    n,
                    0,
                    byref(x),
                    row,
                    kt.Stripes(pointer(b), n, k.lanes),
                    pointer(start),
                    accumulate,
                    kt.Stripes(pointer(plain), n, k.lanes),
                )
                assert_allclose(plain, expected, **tolerance(dtype, k_ + 1))  # in blocks of nonzeros
                check()
                k.nonzeros_matmul(
                    m,
                    n,
                    k_,
                    byref(x),
                    row,
                    kt.Stripes(pointer(stripes), k.lanes, k_ * k.lanes),
                    pointer(start),
                    accumulate,
                    kt.Stripes(pointer(packed), k.lanes, m * k.lanes),
                )
                assert_array_equal(np.hstack(list(packed))[:, :n], expected)
