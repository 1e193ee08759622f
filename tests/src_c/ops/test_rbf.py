"""Radial basis functions and their gradients."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m, depth", [(0, 3), (1, 1), (5, 0), (6, 7), (13, 300)])
def test_rbf(k, dtype, rng, m, n, depth):
    lanes, gap = k.lanes, 3
    h, centres = rng.normal(size=(m, depth)).astype(dtype) + 100, rng.normal(size=(depth, n)).astype(dtype) + 100
    b = (rng.normal(size=n) - np.log(depth + 1)).astype(dtype)
    distances = ((h.astype(float)[:, :, None] - centres) ** 2).sum(axis=1)
    beta = np.exp(b.astype(float))
    results = []
    stripes = kt.packed(centres, lanes)
    for c, ldc, stripe in ((centres, n, lanes), (stripes, lanes, depth * lanes)):
        for keep in (True, False):
            a, check = guarded((m, n + gap), dtype)
            y, check_y = guarded((m, n + gap), dtype)
            a[:] = y[:] = 99
            k.rbf(m, n, depth, pointer(kt.rows(h)), pointer(c), ldc, stripe, pointer(b), pointer(a),
                  pointer(y) if keep else None, n + gap)
            assert_allclose(a[:, :n], np.exp(-beta * distances), **tolerance(dtype, depth))
            assert_allclose(y[:, :n], -distances / 2 if keep else 99, **tolerance(dtype, depth))
            assert (a[:, n:] == 99).all() and (y[:, n:] == 99).all()
            check()
            check_y()
            results.append(a)
            if keep:
                kept = y
    for a in results[1:]:
        assert_array_equal(a, results[0])
    for i in range(m):  # a row, and a column, alone
        a = np.zeros((1, n), dtype)
        k.rbf(1, n, depth, pointer(kt.rows(h[i : i + 1])), pointer(centres), n, lanes, pointer(b), pointer(a), None, n)
        assert_array_equal(a[0], results[0][i, :n])
    if n:
        a = np.zeros((m, 1), dtype)
        k.rbf(m, 1, depth, pointer(kt.rows(h)), pointer(centres), n, lanes, pointer(b), pointer(a), None, 1)
        assert_array_equal(a[:, 0], results[0][:, 0])
    d, check = guarded((m, n + gap), dtype)
    d[:] = rng.normal(size=d.shape)
    e = d.copy()
    k.rbf_delta(m, n, pointer(kept), pointer(b), pointer(d), n + gap)
    assert_allclose(d[:, :n], 2 * beta * np.exp(-beta * distances) * e[:, :n], **tolerance(dtype, depth))
    assert_array_equal(d[:, n:], e[:, n:])
    check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 6, 13])
def test_rbf_gradients(k, dtype, rng, m, n):
    """What is left of the gradients after the products, for inputs and for centres, a part of the rows of these."""
    for width in (0, 1, k.lanes + 1):
        h, s = rng.normal(size=(m, width + 2)).astype(dtype), rng.normal(size=(m, n + 1)).astype(dtype)
        d, check = guarded((m, width + 3), dtype)
        d[:] = rng.normal(size=d.shape)
        before = d.copy()
        k.rbf_inputs(m, width, n, pointer(s), n + 1, pointer(kt.rows(h)), 2, pointer(d), width + 3)
        expected = before[:, :width] - s[:, :n].sum(axis=1, keepdims=True) * h[:, 2:]
        assert_allclose(d[:, :width], expected, **tolerance(dtype, n + 1))
        assert_array_equal(d[:, width:], before[:, width:])
        check()
    lanes = k.lanes
    centres, sums = rng.normal(size=(m + 2, n)).astype(dtype), rng.normal(size=n + lanes).astype(dtype)
    c = kt.packed(centres, lanes)
    g, check = guarded((-(-n // lanes), m, lanes), dtype)
    g[:] = 5
    third_row = pointer(c) + 2 * lanes * dtype.itemsize
    k.rbf_centres(m, len(g) * lanes, third_row, (m + 2) * lanes, pointer(sums), pointer(g), m * lanes)
    expected = 5 - kt.packed((centres * sums[:n])[2:], lanes)
    assert_allclose(g, expected, **tolerance(dtype))
    check()


def test_rbf_nonfinite(k, dtype):
    h = np.array([[np.nan, 0], [1e30, 0], [np.inf, 0], [0, 0]], dtype)
    centres, b = np.zeros((2, 1), dtype), np.zeros(1, dtype)
    a, y = np.zeros((4, 1), dtype), np.zeros((4, 1), dtype)
    k.rbf(4, 1, 2, pointer(kt.rows(h)), pointer(centres), 1, k.lanes, pointer(b), pointer(a), pointer(y), 1)
    assert_array_equal(a.ravel(), [np.nan, 0, 0, 1])
    d = np.ones((4, 1), dtype)
    k.rbf_delta(4, 1, pointer(y), pointer(b), pointer(d), 1)
    assert_array_equal(d.ravel(), [np.nan, 0, 0, 2])
    assert_array_equal((d * y)[1:], np.zeros((3, 1)))  # no inf * 0
