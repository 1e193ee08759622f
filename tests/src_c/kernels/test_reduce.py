"""Sums of many gradients, and whether all numbers are finite."""

import numpy as np
import pytest
from kernel_table import pointer
from numpy.testing import assert_allclose


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
def test_all_finite(k, dtype, bad):
    for n in (0, 1, 4 * k.lanes - 1, 4 * k.lanes, 4 * k.lanes + 1, 131):
        a = np.full(n + 1, np.finfo(dtype).max)
        a[n] = bad  # not to be looked at
        assert k.all_finite(n, pointer(a))
        for i in range(n):
            a[i] = bad
            assert not k.all_finite(n, pointer(a))
            a[i] = -np.finfo(dtype).tiny
