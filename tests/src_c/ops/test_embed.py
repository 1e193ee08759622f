"""Rows of tables that numbers name, and the sums of their gradients."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded
from kernel_table import pointer
from numpy.testing import assert_array_equal

# What may be in X, with the rows that it names of a table of 5.
NUMBERS = {
    0: 0, 1: 1, 4: 4, 2.75: 2, 4.5: 4, 5: 4, 1e30: 4, np.inf: 4, -1e-30: 0, -0.5: 0, -1: 0, -1e30: 0,
    -np.inf: 0, np.nan: 0, 2**31: 4, 2**63: 4,
}  # fmt: skip


def both_forms(k, a):
    """A matrix as it is and packed, each with its stripes."""
    stripes = kt.packed(a, k.lanes)
    for form, ld, stripe in ((a, a.shape[1], k.lanes), (stripes, k.lanes, k.lanes * len(a))):
        yield form, kt.Stripes(pointer(form), ld, stripe, 0)


@pytest.mark.parametrize("n", SIZES)
def test_rows(k, dtype, rng, n):
    table = rng.normal(size=(5, n)).astype(dtype)
    x = np.full((len(NUMBERS), 3), np.nan, dtype)
    x[:, 1] = list(NUMBERS)
    expected = table[list(NUMBERS.values())]
    for form, stripes in both_forms(k, table):
        for m in (0, 1, len(x)):
            c, check = guarded((m, n + 2), dtype)
            c[:] = 7
            k.embed(m, n, 5, pointer(kt.rows(x)), 1, byref(stripes), pointer(c), n + 2)
            assert_array_equal(c[:, :n], expected[:m])
            assert (c[:, n:] == 7).all() and form.size >= table.size
            check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("n_rows", [0, 1, 40])
def test_gradient(k, dtype, rng, n, n_rows):
    """To all rows of a table, or to some of them, in the order of rows: the bits are those of a loop."""
    x, d = rng.integers(-1, 14, size=(n_rows, 2)).astype(dtype), rng.normal(size=(n_rows, n + 3)).astype(dtype)
    start = rng.normal(size=(12, n)).astype(dtype)
    expected = start.copy()
    for i, row in zip(x[:, 1].clip(0, 11).astype(int), d, strict=True):
        expected[i] += row[:n]
    for begin, m in ((0, 12), (3, 4), (11, 1), (5, 0)):
        part = slice(begin, begin + m)
        for form, stripes in both_forms(k, start[part].copy()):
            k.embed_gradient(m, n, 12, begin, n_rows, pointer(kt.rows(x)), 1, pointer(d), n + 3, byref(stripes))
            assert_array_equal(form, expected[part] if form.ndim == 2 else kt.packed(expected[part], k.lanes))


def test_gradient_of_what_is_no_category(k, dtype):
    x = np.array(list(NUMBERS), dtype)[:, None]
    g = np.zeros((5, 2), dtype)
    d = np.ones((len(x), 2), dtype)
    stripes = kt.Stripes(pointer(g), 2, k.lanes, 0)
    k.embed_gradient(5, 2, 5, 0, len(x), pointer(kt.rows(x)), 0, pointer(d), 2, byref(stripes))
    assert_array_equal(g, np.bincount(list(NUMBERS.values()), minlength=5)[:, None].repeat(2, 1))
