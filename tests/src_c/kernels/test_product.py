"""Products of matrices: awkward sizes, blocks, one row, long sums, NaN and inf."""

from ctypes import byref, c_double

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded, nonzeros_of, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("m", [0, 1, 2, 5, 6, 7, 12, 13, 25])
@pytest.mark.parametrize("n", SIZES)
def test_matmul(k, dtype, rng, m, n):
    """A and A^T by row pointers, B and C row-major and packed, with a bias, without, and accumulating."""
    lanes = k.lanes
    for depth in (0, 1, 3, 17):
        a = rng.normal(size=(m, depth + 2)).astype(dtype)[:, 1:-1]
        at = np.ascontiguousarray(a.T)
        b = rng.normal(size=(depth, n + 3)).astype(dtype)[:, :n]
        stripes = kt.packed(b, lanes)
        bias = rng.normal(size=n).astype(dtype)
        packed_bias = kt.packed(bias[None], lanes)
        old = rng.normal(size=(m, n)).astype(dtype)
        product = a.astype(float) @ b.astype(float)
        for x, transposed in ((a, 0), (at, 1)):
            cases = ((None, 0, product), (bias, 0, product + bias), (bias, 1, product + old))
            for start, accumulate, expected in cases:
                c, check = guarded((m, n), dtype)
                c[:] = old
                pointers = kt.rows(x)
                k.matmul(
                    m,
                    n,
                    depth,
                    kt.Rows(pointer(pointers), 0, transposed),
                    kt.Stripes(pointer(b), n + 3, lanes),
                    pointer(start),
                    accumulate,
                    kt.Stripes(pointer(c), n, lanes),
                )
                assert_allclose(c, expected, **tolerance(dtype, depth + 1))
                check()
                # the same bits from packed B to packed C
                c_packed, check = guarded((len(stripes), m, lanes), dtype)
                c_packed[:] = kt.packed(old, lanes)
                k.matmul(
                    m,
                    len(stripes) * lanes,
                    depth,
                    kt.Rows(pointer(pointers), 0, transposed),
                    kt.Stripes(pointer(stripes), lanes, depth * lanes),
                    pointer(packed_bias) if start is bias else None,
                    accumulate,
                    kt.Stripes(pointer(c_packed), lanes, m * lanes),
                )
                assert_array_equal(c_packed, kt.packed(c, lanes))
                check()


@pytest.mark.parametrize("m, n, depth", [(1, 256, 512), (1, 301, 611), (7, 5, 600), (400, 19, 3), (201, 9, 530)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_matmul_in_blocks(k, dtype, rng, m, n, depth, transposed):
    """Sizes beyond the blocks, with an offset into the rows of A; each element has the bits of a single sum."""
    a = rng.normal(size=(depth, m + 5) if transposed else (m, depth + 5)).astype(dtype)
    b = rng.normal(size=(depth, n)).astype(dtype)
    bias = rng.normal(size=n).astype(dtype)
    pointers, part = kt.rows(a), (a[:, 5:].T if transposed else a[:, 5:]).astype(float)
    for start in (bias, None):
        c, check = guarded((m, n), dtype)
        k.matmul(
            m,
            n,
            depth,
            kt.Rows(pointer(pointers), 5, transposed),
            kt.Stripes(pointer(b), n, k.lanes),
            pointer(start),
            0,
            kt.Stripes(pointer(c), n, k.lanes),
        )
        assert_allclose(c, part @ b.astype(float) + (0 if start is None else start), **tolerance(dtype, depth))
        check()
        one = np.zeros(1, dtype)
        k.matmul(
            1,
            1,
            depth,
            kt.Rows(pointer(pointers if transposed else pointers[-1:]), 5 + (m - 1) * transposed, transposed),
            kt.Stripes(pointer(b[:, -1:]), n, k.lanes),
            pointer(None if start is None else start[-1:]),
            0,
            kt.Stripes(pointer(one), 1, k.lanes),
        )
        assert one[0] == c[-1, -1]


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6, 7, 8, 9, 13, 200])
@pytest.mark.parametrize("depth", [0, 5, 200, 611, 2 * 64 * 256 + 3])
def test_matmul_of_what_is_far(k, dtype, rng, m, depth):
    """Parts of B are copied, and sums begun again from memory: with the bits of a product that does neither."""
    n = (21 if depth < 1000 else 8) * k.lanes + 3
    if m > 9 and depth > 1000:
        m = 10
    a, b = rng.normal(size=(m, depth + 2)).astype(dtype), rng.normal(size=(depth, n + 1)).astype(dtype)
    bias, old = rng.normal(size=n).astype(dtype), rng.normal(size=(m, n)).astype(dtype)
    pointers = kt.rows(a)
    for start, accumulate in ((bias, 0), (None, 0), (None, 1)):
        results = []
        for far in (0, 1):
            c, check = guarded((m, n), dtype)
            c[:] = old
            k.matmul(
                m,
                n,
                depth,
                kt.Rows(pointer(pointers), 2, 2 * far),
                kt.Stripes(pointer(b), n + 1, k.lanes, far),
                pointer(start),
                accumulate,
                kt.Stripes(pointer(c), n, k.lanes),
            )
            check()
            results.append(c)
        assert_array_equal(*results)
    assert_allclose(c, old + a[:, 2:].astype(float) @ b[:, :n].astype(float), **tolerance(dtype, depth + 1))


@pytest.mark.parametrize("vectors", [8, 9, 12, 13, 14, 16, 21, 22])
def test_matmul_of_one_row(k, dtype, rng, vectors):
    """Strips of every width, with the bits of the same row in a product of two."""
    for n in (vectors * k.lanes - 1, vectors * k.lanes, vectors * k.lanes + 1):
        for depth in (0, 3, 40):
            a, b = rng.normal(size=(2, depth)).astype(dtype), rng.normal(size=(depth, n)).astype(dtype)
            bias = rng.normal(size=n).astype(dtype)
            pointers, two = kt.rows(a), np.empty((2, n), dtype)
            one, check = guarded((n,), dtype)
            for m, c in ((2, two), (1, one)):
                k.matmul(
                    m,
                    n,
                    depth,
                    kt.Rows(pointer(pointers), 0, 0),
                    kt.Stripes(pointer(b), n, k.lanes),
                    pointer(bias),
                    0,
                    kt.Stripes(pointer(c), n, k.lanes),
                )
            assert_allclose(one, a[0].astype(float) @ b.astype(float) + bias, **tolerance(dtype, depth + 1))
            assert_array_equal(one, two[0])
            check()


@pytest.mark.parametrize("depth", [100, 256, 257, 1000, 17_000, 100_000, 1_000_000])
def test_long_sums(k, dtype, depth):
    """The error of a sum of equal terms, whose roundings all have the same sign, is a few ULP times the logarithm of
    their number; and all ways to the same product have the same bits."""
    few = 4 * np.finfo(dtype).eps * np.log2(depth)
    n, zeros = 3, np.zeros((1, depth), dtype)
    a, b = np.full((1, depth), 0.1, dtype), np.full((depth, n), 0.3, dtype)
    tall, wide, stripes = np.repeat(a.T, 7, 1), np.repeat(a, 7, 0), kt.packed(b, k.lanes)
    results = []
    for m, x, transposed in ((1, wide, 0), (7, wide, 0), (7, tall, 1)):
        pointers = kt.rows(x)
        for factor, ldb, stripe_b in ((b, n, k.lanes), (stripes, k.lanes, depth * k.lanes)):
            c = np.empty((m, n), dtype)
            k.matmul(
                m,
                n,
                depth,
                kt.Rows(pointer(pointers), 0, transposed),
                kt.Stripes(pointer(factor), ldb, stripe_b),
                None,
                0,
                kt.Stripes(pointer(c), n, k.lanes),
            )
            results.append(c)
    x, c = nonzeros_of(k, dtype, wide), np.empty((7, n), dtype)
    k.nonzeros_matmul(
        7, n, depth, byref(x), 0, kt.Stripes(pointer(b), n, k.lanes), None, 0, kt.Stripes(pointer(c), n, k.lanes)
    )
    results.append(c)
    for c in results:
        assert_allclose(c, depth * float(a[0, 0]) * float(b[0, 0]), rtol=few)
        assert (c == results[0][0, 0]).all()
    squares = (a.astype(float) ** 2).sum()
    for other, exact in ((None, a.astype(float).sum()), (a, squares)):
        sums = np.empty(1, dtype)
        k.column_sums(depth, 1, pointer(a), pointer(other), 1, 0, pointer(sums))
        blocks = depth * dtype.itemsize / 1024  # which the callers bound, one after the other
        assert_allclose(sums, exact, rtol=few + max(0, blocks - 64) * np.finfo(dtype).eps / 4)
    g = zeros.copy()
    assert_allclose(k.tie(depth, 1, 1.0, pointer(a), 1, pointer(zeros), 1, pointer(g), 1), squares, rtol=few)
    penalty, u = c_double(0), kt.Update("gradient_descent", learning_rate=0.0, l1=1.0, l2=2.0)
    k.update(byref(u), depth, pointer(a), pointer(zeros), pointer(kt.states([])), byref(penalty))
    assert_allclose(penalty.value, squares + a.astype(float).sum(), rtol=few)


def test_matmul_nonfinite(k, dtype):
    a = np.array([[1, np.inf], [np.nan, 1], [0, 1]], dtype)
    b = np.ones((2, 9), dtype)
    c = np.empty((3, 9), dtype)
    pointers = kt.rows(a)
    k.matmul(
        3,
        9,
        2,
        kt.Rows(pointer(pointers), 0, 0),
        kt.Stripes(pointer(b), 9, k.lanes),
        None,
        0,
        kt.Stripes(pointer(c), 9, k.lanes),
    )
    assert_array_equal(c, np.repeat([[np.inf], [np.nan], [1]], 9, axis=1))


@pytest.mark.parametrize("m", [0, 1, 3, 8])
@pytest.mark.parametrize("n", SIZES)
def test_matmul_transposed(k, dtype, rng, m, n):
    """Rows that lie anywhere, of no, whole and partial vectors, and of several blocks; onto 0 or what is there."""
    for depth in (*SIZES, 256 * k.lanes + 3):
        a, b = rng.normal(size=(m, depth + 2)).astype(dtype)[:, 1:-1], rng.normal(size=(n, depth + 3)).astype(dtype)
        old = rng.normal(size=(m, n)).astype(dtype)
        b[:, depth:] = np.nan  # of no row
        expected = a.astype(float) @ b[:, :depth].astype(float).T
        for accumulate in (0, 1):
            c, check = guarded((m, n), dtype)
            c[:] = old
            k.matmul_transposed(m, n, depth, pointer(kt.rows(a)), pointer(b), depth + 3, accumulate, pointer(c), n)
            assert_allclose(c, expected + accumulate * old, **tolerance(dtype, depth + 1))
            check()


def test_matmul_transposed_nonfinite(k, dtype):
    """What is no number stays in the sums that it is part of."""
    n = 2 * k.lanes + 1
    a, b = np.ones((2, n), dtype), np.ones((n, n), dtype)
    a[1, -1], b[3, 1] = np.inf, np.nan
    c = np.zeros((2, n), dtype)
    k.matmul_transposed(2, n, n, pointer(kt.rows(a)), pointer(b), n, 0, pointer(c), n)
    assert_array_equal(c[0], np.where(np.arange(n) == 3, np.nan, n))
    assert_array_equal(c[1], np.where(np.arange(n) == 3, np.nan, np.inf))
