"""Dropout and noise, with the random numbers of the reference."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_cases import SIZES, guarded
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.999])
def test_dropout(k, dtype, rng, rate):
    """Any cut of rows and columns gives the masks of the reference."""
    seed = 12345, 0xFFFFFFFF
    cuts = (3, 100, 0, 0), (1, 1, 0, 7), (4, 37, 13, 2**32 - 2), (2, 64, 32, 5), (0, 4, 0, 0), (2, 0, 8, 0)
    for m, n, first, row in cuts:
        a = rng.normal(size=(m, n + 3)).astype(dtype)
        expected = a.copy()
        rows = (row + np.arange(m)) % 2**32
        mask = reference.dropout_mask(seed, 9, rows, 2, first + n, rate)[:, first:]
        expected[:, :n] = np.where(mask == 0, 0, a[:, :n] * dtype.type(1 / (1 - rate)))
        k.dropout(m, n, rate, byref(kt.Counter(seed, 9, row, 2)), first, pointer(a), n + 3)
        assert_array_equal(a, expected)


@pytest.mark.parametrize("n", [0, 1, 16, 31, 32, 100])
def test_noise(k, dtype, rng, n):
    a = rng.normal(size=(5, n + 2)).astype(dtype)
    expected = a.astype(float)
    expected[:, :n] += 0.3 * reference.normal_numbers((7, 8), 3, np.arange(40, 45), n)
    k.add_noise(5, n, 0.3, byref(kt.Counter((7, 8), 3, 40, 0)), pointer(a), n + 2)
    assert_allclose(a, expected, rtol=0, atol=3e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.75])
def test_scale_kept(k, dtype, rng, rate):
    for n in SIZES:
        a = rng.normal(size=(3, n + 2)).astype(dtype)
        out, check = guarded((3, n + 2), dtype)
        out[:] = a
        k.scale_kept(3, n, rate, pointer(out), n + 2)
        check()
        assert_array_equal(out[:, :n], a[:, :n] * dtype.type(1 / (1 - rate)))
        assert_array_equal(out[:, n:], a[:, n:])


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.4, 0.75])
def test_undo_scale(k, dtype, rng, rate):
    for n in SIZES:
        a = rng.normal(size=n).astype(dtype)
        a[::3] = 1
        scale = dtype.type(1 / (1 - rate))
        out, check = guarded(n, dtype)
        k.undo_scale(n, rate, pointer(a * scale), pointer(out))
        check()
        assert_allclose(out, a, rtol=2 * np.finfo(dtype).eps)
        assert (out[::3] == 1).all()
