"""Sparse layers: products with columns of their own for each unit, forward and back."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import guarded, tolerance
from kernel_table import Connections, Stripes, pointer
from numpy.testing import assert_allclose, assert_array_equal


def shapes(k):
    """Rows, inputs, units, fan_in."""
    lanes = k.lanes
    for m in sorted({0, 1, 2, 3, lanes - 1, lanes, lanes + 1, 3 * lanes, 4 * lanes, 4 * lanes + 1, 9 * lanes + 5}):
        yield m, 13, 2 * lanes + 3, 5
    for n_in, n_out, fan_in in ((1, 1, 1), (1, 5, 3), (lanes, lanes, lanes), (40, 1, 9), (7, lanes - 1, 7),
                                (3 * lanes + 1, lanes + 1, 8), (100, 3, 16), (5, 0, 2)):  # fmt: skip
        yield lanes + 2, n_in, n_out, fan_in


def full(W, columns, n_in):
    """The weights of a dense layer that does the same."""
    dense = np.zeros((n_in, W.shape[1]))
    np.add.at(dense, (columns, np.arange(W.shape[1])), W.astype(float))
    return dense


def problems(k, dtype, rng, special=False):
    for m, n_in, n_out, fan_in in shapes(k):
        columns = rng.integers(0, n_in, (fan_in, n_out))
        arrays = [rng.normal(size=shape).astype(dtype) for shape in ((m, n_in), (fan_in, n_out), (m, n_out), n_out)]
        yield columns, *arrays


def transposed(a, ld):
    """A^T with rows so far apart, and NaN in between."""
    t = np.full((a.shape[1], ld), np.nan, a.dtype)
    t[:, : len(a)] = a.T
    return t


def both_forms(k, W):
    """W in stripes, and as it lies in the flat vector."""
    stripes = kt.packed(W, k.lanes)
    yield stripes, Stripes(stripes.ctypes.data, k.lanes, k.lanes * len(W))
    yield W, Stripes(W.ctypes.data, W.shape[1], k.lanes)


@pytest.mark.parametrize("has_bias", [True, False])
def test_forward(k, dtype, rng, has_bias):
    for columns, H, W, _, b in problems(k, dtype, rng):
        (m, n_in), (fan_in, n_out) = H.shape, W.shape
        width, ht, found = n_out + k.lanes, transposed(H, m + 3), []
        c, bias = Connections(columns), pointer(b) if has_bias else None
        for array, w in both_forms(k, W):
            z, check = guarded((m, width + 1), dtype)
            z[:] = 7
            k.sparse(m, width, byref(c), pointer(ht), m + 3, byref(w), bias, pointer(z), width + 1)
            expected = H.astype(float) @ full(W, columns, n_in) + b * has_bias
            assert_allclose(z[:, :n_out], expected, **tolerance(dtype, fan_in))
            assert not z[:, n_out:width].any() and (z[:, width:] == 7).all()
            check()
            found.append(z)
            del array
        assert_array_equal(found[0], found[1])
        one, _ = guarded((m, n_out), dtype)  # a row by itself has the same bits
        for i in range(m):
            k.sparse(1, n_out, byref(c), pointer(H[i]), 1, byref(w), bias, pointer(one[i]), n_out)
        assert_array_equal(one, found[0][:, :n_out])


@pytest.mark.parametrize("accumulate", [0, 1])
def test_back(k, dtype, rng, accumulate):
    for columns, H, W, D, _ in problems(k, dtype, rng):
        (m, n_in), fan_out = H.shape, W.size / H.shape[1]
        c, dt, found = Connections(columns), transposed(D, m + 2), []
        for width in (n_in, n_in + k.lanes):
            for array, w in both_forms(k, W):
                d, check = guarded((m, width + 1), dtype)
                d[:] = 7
                k.sparse_back(m, width, byref(c), pointer(dt), m + 2, byref(w), accumulate, pointer(d), width + 1)
                expected = D.astype(float) @ full(W, columns, n_in).T + 7 * accumulate
                assert_allclose(d[:, :n_in], expected, **tolerance(dtype, 2 * fan_out + 2))
                assert (d[:, n_in:width] == 7 * accumulate).all() and (d[:, width:] == 7).all()
                check()
                found.append(d[:, :n_in])
                del array
        for other in found[1:]:
            assert_array_equal(other, found[0])


@pytest.mark.parametrize("accumulate", [0, 1])
def test_gradient(k, dtype, rng, accumulate):
    """Of parts of the weights, into packed and row-major places."""
    lanes = k.lanes
    for columns, H, W, D, _ in problems(k, dtype, rng):
        m, (fan_in, n_out) = len(H), W.shape
        ht, c = transposed(H, m + 3), Connections(columns)
        expected = (H.astype(float).T @ D)[columns, np.arange(n_out)] + 7 * accumulate
        for unit in range(0, max(n_out, 1), lanes):
            dt = transposed(D[:, unit:], m + 1)
            for begin, size in ((0, fan_in), (fan_in // 2, fan_in - fan_in // 2)):
                packed_width = -(-(n_out - unit) // lanes) * lanes
                for width, stripe in ((packed_width, size * lanes), (n_out - unit, lanes)):
                    g, check = guarded((size * width,), dtype)
                    g[:] = 7
                    to = Stripes(g.ctypes.data, lanes if stripe != lanes else width, stripe)
                    k.sparse_gradient(m, byref(c), begin, size, unit, width, pointer(ht), m + 3, pointer(dt), m + 1,
                                      accumulate, byref(to))  # fmt: skip
                    found = g.reshape(size, width)
                    if stripe != lanes:
                        found = g.reshape(-1, size, lanes).swapaxes(0, 1).reshape(size, width)
                    part = expected[begin : begin + size, unit:]
                    assert_allclose(found[:, : n_out - unit], part, **tolerance(dtype, m + 1))
                    assert (found[:, n_out - unit :] == 7 * accumulate).all()
                    check()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_with_its_row_and_its_units(k, dtype, rng, bad):
    columns = np.array([[0, 1, 2, 1, 3], [1, 2, 3, 3, 0]])
    H, W, D = (rng.normal(size=shape).astype(dtype) for shape in ((9, 4), (2, 5), (9, 5)))
    H[4, 1] = D[4, 2] = bad
    w, c = Stripes(W.ctypes.data, 5, k.lanes), Connections(columns)
    z, d = np.empty((9, 5), dtype), np.empty((9, 4), dtype)
    k.sparse(9, 5, byref(c), pointer(transposed(H, 9)), 9, byref(w), None, pointer(z), 5)
    assert_array_equal(~np.isfinite(z), (np.arange(9) == 4)[:, None] & (columns == 1).any(axis=0))
    k.sparse_back(9, 4, byref(c), pointer(transposed(D, 9)), 9, byref(w), 0, pointer(d), 4)
    assert_array_equal(~np.isfinite(d), (np.arange(9) == 4)[:, None] & np.isin(np.arange(4), columns[:, 2]))
