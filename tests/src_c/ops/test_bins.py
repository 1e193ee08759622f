"""Piecewise linear codes of numbers, and their way back."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal

from fastbp.graph.reference import bins, bins_back


def problems(k, dtype, rng):
    """Rows of numbers and bounds of bins: beyond them, on them, and where some or all bins have no width."""
    lanes = k.lanes
    for m, n, n_bins in ((0, 3, 4), (1, 1, 1), (5, 3, 1), (9, 1, 7), (7, 4, lanes), (6, 3, lanes - 1),
                         (3, 5, 2 * lanes + 1), (4, 0, 3)):  # fmt: skip
        bounds = np.sort(rng.normal(size=(n, n_bins + 1)).astype(dtype), axis=1)
        bounds[1:2, n_bins // 2 :] = bounds[1:2, n_bins // 2, None]
        bounds[2:3] = 0.5
        H = (2 * rng.normal(size=(m, n))).astype(dtype)
        H[:2], H[2:4] = bounds[:, :1].T, bounds[:, n_bins // 2 + 1 : n_bins // 2 + 2].T
        yield H, bounds


@pytest.mark.parametrize("zeros", [0, 3])
def test_forward(k, dtype, rng, zeros):
    for H, bounds in problems(k, dtype, rng):
        m, n_bins = len(H), bounds.shape[1] - 1
        width = len(bounds) * n_bins
        z, check = guarded((m, width + zeros + 1), dtype)
        z[:] = 7
        k.bins(m, len(bounds), n_bins, pointer(kt.rows(H)), pointer(bounds), zeros, pointer(z), width + zeros + 1)
        assert_allclose(z[:, :width], bins(H.astype(float), bounds.astype(float)), **tolerance(dtype, 4))
        assert not z[:, width : width + zeros].any() and (z[:, width + zeros :] == 7).all()
        check()


def test_codes_go_on_beyond_the_bounds(k, dtype):
    """Empty bins stay 0 there, and so they do for what is not finite."""
    bounds = np.array([[0, 1, 3, 3, 3], [2, 2, 2, 2, 2]], dtype)
    x = np.array([-3, 0, 0.5, 1, 2, 3, 7, 1e30, np.inf], dtype)
    H, z = np.column_stack([x, x]), np.empty((len(x), 8), dtype)
    k.bins(len(x), 2, 4, pointer(kt.rows(H)), pointer(bounds), 0, pointer(z), 8)
    assert_allclose(z[:, 0], x.clip(max=1))
    assert_allclose(z[:, 1], (x.clip(1) - 1) / 2)
    assert not z[:, 2:].any()


@pytest.mark.parametrize("accumulate", [0, 1])
def test_back(k, dtype, rng, accumulate):
    for H, bounds in problems(k, dtype, rng):
        (m, n), n_bins = H.shape, bounds.shape[1] - 1
        D, zeros = rng.normal(size=(m, n * n_bins + 2)).astype(dtype), 0 if accumulate else 2
        out, check = guarded((m, n + 3), dtype)
        out[:] = 7
        k.bins_back(m, n, n_bins, pointer(kt.rows(H)), pointer(bounds), pointer(D), D.shape[1], accumulate, zeros,
                    pointer(out), n + 3)  # fmt: skip
        expected = bins_back(D[:, : n * n_bins].astype(float), H, bounds.astype(float))
        assert_allclose(out[:, :n], expected + 7 * accumulate, **tolerance(dtype, 4))
        assert not out[:, n : n + zeros].any() and (out[:, n + zeros :] == 7).all()
        check()


def test_back_on_a_bound_is_that_of_the_upper_bin(k, dtype):
    bounds, D = np.array([[0, 1, 3, 3]], dtype), np.array([[2, 8, 100]] * 4, dtype)
    H, out = np.array([[-5], [0.9], [1], [9]], dtype), np.empty((4, 1), dtype)
    k.bins_back(4, 1, 3, pointer(kt.rows(H)), pointer(bounds), pointer(D), 3, 0, 0, pointer(out), 1)
    assert_array_equal(out.ravel(), [2, 2, 4, 4])
