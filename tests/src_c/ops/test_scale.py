"""Features scaled, and what is added."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, SPECIAL, guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


def problem(rng, dtype, m, n, offset):
    """Rows that lie anywhere, some of their elements special; factors and terms that are not aligned; a target."""
    source = rng.normal(size=(m, offset + n + 2)).astype(dtype)
    source = np.where(rng.random(source.shape) < 0.2, rng.choice(SPECIAL, source.shape), source).astype(dtype)
    order = rng.permutation(m)
    target, check = guarded((m, n + 5), dtype)
    target[:] = rng.normal(size=target.shape)
    w, b = rng.normal(size=(2, n + 1)).astype(dtype)[:, 1:]
    return source, order, w, b, target, check


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 5])
def test_scale(k, dtype, rng, m, n):
    for offset, zeros in ((0, 0), (1, 3), (k.lanes, 2)):
        for has_bias, accumulate in ((False, False), (True, False), (False, True)):
            source, order, w, b, target, check = problem(rng, dtype, m, n, offset)
            a, rows, expected = source[order, offset : offset + n], kt.rows(source)[order], target.astype(float)
            with np.errstate(invalid="ignore"):
                product = a.astype(float) * w + (b if has_bias else 0)
                expected[:, :n] = expected[:, :n] + product if accumulate else product
            expected[:, n : n + zeros] = 0
            at_b = pointer(b) if has_bias else None
            k.scale(m, n, pointer(rows), offset, pointer(w), at_b, accumulate, zeros, pointer(target), n + 5)
            assert_allclose(target, expected.astype(dtype), **tolerance(dtype))
            check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 5])
def test_prelu(k, dtype, rng, m, n):
    for offset, zeros in ((0, 0), (1, 3), (k.lanes, 2)):
        source, order, w, _, target, check = problem(rng, dtype, m, n, offset)
        a, rows, expected = source[order, offset : offset + n], kt.rows(source)[order], target.astype(float)
        with np.errstate(invalid="ignore"):
            expected[:, :n] = np.where(a < 0, a.astype(float) * w, a)
        expected[:, n : n + zeros] = 0
        k.prelu(m, n, pointer(rows), offset, pointer(w), zeros, pointer(target), n + 5)
        assert_allclose(target, expected.astype(dtype), **tolerance(dtype))
        check()
        for accumulate in (False, True):
            d, _, _, _, target, check = problem(rng, dtype, m, n, offset)
            expected, d_rows = target.astype(float), kt.rows(d)
            with np.errstate(invalid="ignore"):
                back = d[:, offset : offset + n] * np.where(a > 0, 1, w.astype(float))
                expected[:, :n] = expected[:, :n] + back if accumulate else back
            expected[:, n : n + zeros] = 0
            k.prelu_back(
                m, n, pointer(d_rows), pointer(rows), offset, pointer(w), accumulate, zeros, pointer(target), n + 5
            )  # fmt: skip
            assert_allclose(target, expected.astype(dtype), **tolerance(dtype))
            check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 5, 600])
def test_gradient_of_slopes(k, dtype, rng, m, n):
    d, a = rng.normal(size=(2, m, n + 2)).astype(dtype)
    a[rng.random(a.shape) < 0.1] = np.inf  # of which nothing is added
    for accumulate in (False, True):
        out, check = guarded((n,), dtype)
        out[:] = 3
        k.prelu_sums(m, n, pointer(d), pointer(a), n + 2, accumulate, pointer(out))
        expected = 3 * accumulate + (d.astype(float) * np.minimum(a, 0))[:, :n].sum(axis=0)
        assert_allclose(out, expected, **tolerance(dtype, m + 1))
        check()


def test_columns_alone_have_the_same_bits(k, dtype, rng):
    n = 3 * k.lanes + 2
    source, order, w, b, target, _ = problem(rng, dtype, 4, n, 0)
    rows = kt.rows(source)[order]
    k.scale(4, n, pointer(rows), 0, pointer(w), pointer(b), 0, 0, pointer(target), n + 5)
    for j in range(n):
        column = np.zeros((4, 1), dtype)
        k.scale(4, 1, pointer(rows), j, pointer(w[j:]), pointer(b[j:]), 0, 0, pointer(column), 1)
        assert_array_equal(column[:, 0], target[:, j])
