"""Sums of many gradients, and whether all numbers are finite."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import guarded
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("n", [0, 1, 7, 16, 17, 100])
def test_fold(k, dtype, rng, n):
    """A hundred thousand additions, with an error of one ULP."""
    total, error, g = np.full(n, 99, dtype), np.full(n, 99, dtype), np.empty(n, dtype)
    terms = rng.normal(size=(50, n)).astype(dtype) + 1
    exact = np.zeros(n, np.longdouble)
    for i in range(2000):
        g[:] = terms[i % 50]
        exact += g
        k.fold(n, pointer(g), pointer(total), pointer(error), i == 0, i == 1999)
    assert_allclose(g, exact.astype(float), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_all_below_infinity(k, dtype, bad):
    for n in (0, 1, 4 * k.lanes - 1, 4 * k.lanes, 4 * k.lanes + 1, 131):
        a = np.full(n + 1, np.finfo(dtype).max)
        a[n] = bad  # not to be looked at
        assert k.all_below(n, pointer(a), np.inf)
        for i in range(n):
            a[i] = bad
            assert not k.all_below(n, pointer(a), np.inf)
            a[i] = -np.finfo(dtype).tiny


def test_all_below(k, dtype):
    for n in (0, 1, k.lanes - 1, 4 * k.lanes + 1):
        a = np.full(n, np.nextafter(dtype.type(8), dtype.type(0)))
        assert k.all_below(n, pointer(a), 8)
        for i in range(n):
            for bad in (8, -8, np.nan):
                a[i] = bad
                assert not k.all_below(n, pointer(a), 8)
            a[i] = -7


def test_rows_below(k, dtype):
    for n in (0, 1, k.lanes + 1, 4 * k.lanes + 1):
        a = np.full((3, n + 1), np.nextafter(dtype.type(8), dtype.type(0)))
        a[:, n] = np.nan  # not to be looked at
        assert k.rows_below(3, n, pointer(kt.rows(a)), 8)
        assert k.rows_below(0, n, pointer(kt.rows(a)), 8)
        for at in np.ndindex(3, n):
            for bad in (8, -8, np.nan):
                a[at] = bad
                assert not k.rows_below(3, n, pointer(kt.rows(a)), 8)
            a[at] = -7


def test_zero_masked(k, dtype, rng):
    """Also of what is not finite; -0 counts as 0."""
    for n in (0, 1, k.lanes - 1, k.lanes, k.lanes + 1, 4 * k.lanes + 3):
        g = rng.choice([1.0, -2.0, np.inf, -np.inf, np.nan], size=n).astype(dtype)
        mask = rng.choice([0.0, -0.0, 1.0, 0.5], size=n).astype(dtype)
        out, check = guarded((n,), dtype)
        out[:] = g
        k.zero_masked(n, pointer(mask), pointer(out))
        assert_array_equal(out, np.where(mask == 0, 0, g))
        check()
