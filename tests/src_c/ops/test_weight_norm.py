"""Norms of columns of weights, and the power iteration for their largest singular value."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


def in_stripes(W, lanes, packed):
    """The weights packed, or as they lie, and what holds their memory."""
    if not packed:
        return kt.Stripes(pointer(W), W.shape[1], lanes, 0), W
    P = kt.packed(W, lanes)
    return kt.Stripes(pointer(P), lanes, lanes * len(W), 0), P


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("m", [0, 1, 3, 4, 5, 300])
def test_norm_factors(k, dtype, rng, m, packed):
    for n in SIZES:
        W, g = rng.normal(size=(m, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        W[:, n // 2 : n // 2 + 1] = 0
        stripes, memory = in_stripes(W, k.lanes, packed)
        (factors, check), (inverse, check_too) = guarded((n,), dtype), guarded((n,), dtype)
        k.norm_factors(m, n, byref(stripes), pointer(g), pointer(factors), pointer(inverse))
        norms = np.linalg.norm(W.astype(float), axis=0)
        expected = np.where(norms == 0, 0, 1 / np.where(norms == 0, 1, norms))
        assert_allclose(inverse, expected, rtol=30 * np.finfo(dtype).eps)
        assert_allclose(factors, g * expected, rtol=30 * np.finfo(dtype).eps)
        check(), check_too()


def test_nan_stays_in_its_column(k, dtype, rng):
    W, g = rng.normal(size=(20, 9)).astype(dtype), np.ones(9, dtype)
    W[3, 4], W[5, 6] = np.nan, np.inf
    factors, inverse = np.empty(9, dtype), np.empty(9, dtype)
    stripes, memory = in_stripes(W, k.lanes, True)
    k.norm_factors(20, 9, byref(stripes), pointer(g), pointer(factors), pointer(inverse))
    assert np.isnan(factors[4]) and factors[6] == 0 and np.isfinite(np.delete(factors, 4)).all()


def iterated(W, u, v, n_iterations):
    """u, v and u^T W v, in double."""
    W, u, v = W.astype(float), u.astype(float), v.astype(float)
    for _ in range(n_iterations):
        v = W.T @ u / np.linalg.norm(W.T @ u)
        u = W @ v / np.linalg.norm(W @ v)
    return u, v, u @ W @ v


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("n_iterations", [0, 1, 3])
def test_spectral_norm(k, dtype, rng, packed, n_iterations):
    tol = 300 * np.finfo(dtype).eps
    for m in (1, 2, 17, 300):
        for n in SIZES[1:]:
            W = rng.normal(size=(m, n)).astype(dtype)
            stripes, memory = in_stripes(W, k.lanes, packed)
            (u, check), (v, check_too), (scratch, check_all) = (guarded((size,), dtype) for size in (m, n, max(m, n)))
            u[:], v[:] = rng.normal(size=m), rng.normal(size=n)
            u /= np.linalg.norm(u)
            v /= np.linalg.norm(v)
            expected = iterated(W, u, v, n_iterations)
            sigma = k.spectral_norm(m, n, byref(stripes), n_iterations, pointer(u), pointer(v), pointer(scratch))
            assert_allclose(sigma, expected[2], rtol=tol, atol=tol * np.linalg.norm(W))
            assert_allclose(u, expected[0], atol=tol)
            assert_allclose(v, expected[1], atol=tol)
            check(), check_too(), check_all()


def test_power_iteration_finds_the_largest_singular_value(k, dtype, rng):
    W = rng.normal(size=(40, 23)).astype(dtype)
    u, v, scratch = np.ones(40, dtype), np.ones(23, dtype), np.empty(40, dtype)
    stripes, memory = in_stripes(W, k.lanes, True)
    sigma = k.spectral_norm(40, 23, byref(stripes), 300, pointer(u), pointer(v), pointer(scratch))
    assert_allclose(sigma, np.linalg.svd(W)[1][0], rtol=1e-5)


def test_zeros_have_no_direction(k, dtype):
    W, u, v, scratch = np.zeros((5, 7), dtype), np.ones(5, dtype), np.ones(7, dtype), np.empty(7, dtype)
    stripes, memory = in_stripes(W, k.lanes, True)
    assert k.spectral_norm(5, 7, byref(stripes), 2, pointer(u), pointer(v), pointer(scratch)) == 0
    assert_array_equal(u, 1)
    assert_array_equal(v, 1)
