"""Derivatives of formulas, along one direction and several at once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastbp.graph.pairs import (
    Pair,
    column_sums,
    differential,
    elementwise,
    placed,
    product_over_rows,
    row_sums,
    value,
)

C = np.random.default_rng(1).normal(size=(4, 3))
FORMULAS = {
    "sum": lambda a, b: a + b + C,
    "constant first": lambda a, b: C + (C - a) * 2.0 * b,
    "difference": lambda a, b: a - b - C,
    "product": lambda a, b: a * b * C,
    "a square": lambda a, b: a * a,
    "matrices": lambda a, b: (a @ b.T) @ C - C @ (C.T @ (a * b)),
    "a row for all": lambda a, b: a + column_sums(b) * C,
    "a column for all": lambda a, b: row_sums(a) * b,
    "columns": lambda a, b: placed(a[:, 1:3], 1, 5) @ np.ones((5, 2)),
    "over rows": lambda a, b: product_over_rows(a, b) + product_over_rows(C, a) * product_over_rows(b, C),
    "elementwise": lambda a, b: elementwise(np.sin, np.cos, a * b),
    "the row alone": lambda a, b: column_sums(column_sums(b) + 0.0 * C),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(rng, name):
    f = FORMULAS[name]
    a, b = rng.normal(size=(2, 4, 3))
    A, B = Pair(a), Pair(b)
    result = f(A, B)
    assert_array_equal(value(result), f(a, b))
    da, db = rng.normal(size=(2, 6, 4, 3))
    along = differential([result], [A, B])
    (together,) = along([da, db])
    for i in range(6):
        numeric = (f(a + 1e-6 * da[i], b + 1e-6 * db[i]) - f(a - 1e-6 * da[i], b - 1e-6 * db[i])) / 2e-6
        (alone,) = along([da[i], db[i]])
        assert_allclose(alone, numeric, rtol=1e-6, atol=1e-8)
        assert_allclose(together[i], alone, rtol=1e-13, atol=1e-14)
    zero = np.zeros_like(a)
    for given, whole in (([da[0], None], [da[0], zero]), ([None, db[0]], [zero, db[0]])):
        part = along(given)[0]
        assert_array_equal(0.0 * value(result) if part is None else part, along(whole)[0])
    assert along([None, None]) == [None]


def test_many_rows_in_single_precision(rng):
    """Products over them are as exact as a few of them, along several directions too."""
    a, b = rng.random(size=(2, 100_000, 2), dtype="f")
    A, B = Pair(a), Pair(b)
    (t,) = differential([product_over_rows(A, B)], [A, B])([np.stack([a, b]), np.stack([b, a])])
    assert t.dtype == np.float32
    a, b = a.astype(float), b.astype(float)
    assert_allclose(t, [a.T @ b + a.T @ b, b.T @ b + a.T @ a], rtol=3e-6)


def test_constants_are_arrays_and_have_no_derivative(rng):
    a = rng.normal(size=(4, 3))
    assert isinstance(row_sums(a) + placed(a, 1, 6)[:, 1:2], np.ndarray)
    A = Pair(a)
    assert differential([A * 2.0, a, None], [A, None])([a, None])[1:] == [None, None]


def test_only_what_lies_between_is_computed(rng):
    a = Pair(rng.normal(size=(2, 2)))
    calls = []

    def counted(t):
        calls.append(len(calls))
        return t

    first = Pair(a.value, (a, counted))
    second = Pair(a.value, (first, counted))
    differential([first], [a])([a.value])
    assert len(calls) == 1
    along = differential([second], [first])
    assert_array_equal(along([a.value])[0], a.value)
    assert len(calls) == 2
