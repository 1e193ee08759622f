"""Normalisation of columns and of groups of columns in rows."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal

EPSILON = 1e-5
ROWS = [1, 2, 3, 17, 300]


class Columns:
    """H, whose rows lie anywhere, shares of the rows, D, and targets beside which nothing may be written."""

    def __init__(self, rng, dtype, m, n, offset=1, weighted=True, mean=0.0):
        self.m, self.n, self.offset, self.dtype = m, n, offset, dtype
        source, order = (rng.normal(size=(m, n + offset)) + mean).astype(dtype), rng.permutation(m)
        self.order, self.source, self.h = order, source, source[order, offset:].astype(float)
        self.rows = kt.rows(source)[order]
        shares = rng.random(m) if weighted else np.ones(m)
        shares[: m // 3] *= rng.integers(0, 2, m // 3)
        self.shares = (shares / shares.sum()).astype(dtype)
        self.s = self.shares.astype(float)[:, None] / self.shares.sum(dtype=float)
        self.d = rng.normal(size=(m, n + 2)).astype(dtype)
        self.mean, self.variance, self.sums, self.products = (np.full(n + 1, 99, dtype) for _ in range(4))

    def statistics(self, k):
        to = pointer(self.mean), pointer(self.variance)
        k.column_statistics(self.m, self.n, pointer(self.rows), self.offset, pointer(self.shares), *to)
        assert self.mean[-1] == self.variance[-1] == 99

    def exact(self):
        """Mean, variance, and X = (H - mean) / deviation."""
        mean = (self.s * self.h).sum(0)
        variance = (self.s * (self.h - mean) ** 2).sum(0)
        return mean, variance, (self.h - mean) / np.sqrt(variance + EPSILON)

    def target(self, rng, zeros):
        array, check = guarded((self.m, self.n + zeros + 1), self.dtype)
        array[:] = rng.normal(size=array.shape)
        return array, array.copy(), check

    def fits(self, found, before, made, accumulate, zeros, **tolerance):
        """Whether what was made is there, zeros beside it, and nothing else has changed."""
        n, expected = self.n, before.astype(float)
        expected[:, :n] = made + (before[:, :n] if accumulate else 0)
        expected[:, n : n + zeros] = 0
        assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("n", SIZES)
def test_columns(k, dtype, rng, m, n):
    tol = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
    for weighted, accumulate, zeros in ((False, False, 3), (True, True, 0)):
        c = Columns(rng, dtype, m, n, weighted=weighted)
        mean, variance, x = c.exact()
        c.statistics(k)
        assert_allclose(c.mean[:n], mean, **tol)
        assert_allclose(c.variance[:n], variance, **tol)
        at, operands = c.rows, (pointer(c.mean), pointer(c.variance), EPSILON)
        a, before, check = c.target(rng, zeros)
        k.standardize(m, n, pointer(at), 1, *operands, accumulate, zeros, pointer(a), a.shape[1])
        c.fits(a, before, x, accumulate, zeros, **{name: 30 * t for name, t in tol.items()})
        check()
        sums = pointer(c.sums), pointer(c.products)
        k.normalized_sums(m, n, pointer(at), 1, pointer(c.shares), *operands, pointer(c.d), n + 2, *sums)
        d = c.d[:, :n].astype(float) * (c.s > 0)
        scale = np.sqrt(m)
        assert_allclose(c.sums[:n], d.sum(0), rtol=tol["rtol"], atol=scale * tol["atol"])
        assert_allclose(c.products[:n], (d * x).sum(0), rtol=tol["rtol"], atol=30 * scale * tol["atol"])
        out, before, check = c.target(rng, zeros)
        k.batch_norm_back(
            m, n, pointer(at), 1, pointer(c.shares), *operands, *sums, pointer(c.d), n + 2, accumulate, zeros,
            pointer(out), out.shape[1],
        )  # fmt: skip
        made = (c.d[:, :n] - c.s * (d.sum(0) + x * (d * x).sum(0))) / np.sqrt(variance + EPSILON)
        size = np.abs(made).max(initial=1)
        c.fits(out, before, made, accumulate, zeros, rtol=30 * tol["rtol"], atol=30 * size * tol["atol"])
        check()


@pytest.mark.parametrize("mean", [1e3, -1e5])
def test_statistics_of_columns_far_from_0(k, dtype, rng, mean):
    """They are those of the numbers that there are, which lie on a grid."""
    mean *= 1 if dtype == np.float32 else 1e8
    c = Columns(rng, dtype, 1000, 37, mean=mean)
    c.statistics(k)
    centre = c.h[0]  # so that the mean is exact in double
    expected = (c.s * (c.h - centre)).sum(0)
    assert_allclose(c.mean[:37] - centre, expected, atol=np.spacing(abs(c.mean[:37])).max())
    assert_allclose(c.variance[:37], (c.s * (c.h - centre) ** 2).sum(0) - expected**2, rtol=1e-5)


def test_rows_of_share_0_are_left_out(k, dtype, rng):
    c = Columns(rng, dtype, 9, 5, weighted=False)
    c.shares[:] = [0, 1 / 4, 1 / 2, 0, 0, 0, 1 / 4, 0, 0]
    c.source[c.order[c.shares == 0]] = np.nan
    c.statistics(k)
    there = c.h[c.shares > 0]
    mean = np.average(there, axis=0, weights=[1, 2, 1])
    assert_allclose(c.mean[:5], mean, rtol=1e-5)
    assert_allclose(c.variance[:5], np.average((there - mean) ** 2, axis=0, weights=[1, 2, 1]), rtol=1e-5)
    d, out = np.ones((9, 5), dtype), np.zeros((9, 5), dtype)
    operands = pointer(c.rows), 1, pointer(c.shares), pointer(c.mean), pointer(c.variance), EPSILON
    k.normalized_sums(9, 5, *operands, pointer(d), 5, pointer(c.sums), pointer(c.products))
    assert_array_equal(c.sums[:5], 3)
    k.batch_norm_back(9, 5, *operands, pointer(c.sums), pointer(c.products), pointer(d), 5, 0, 0, pointer(out), 5)
    assert_allclose(out[c.shares == 0], np.tile(1 / np.sqrt(c.variance[:5] + EPSILON), (6, 1)), rtol=1e-5)
    assert np.isfinite(out).all()


def test_nan_stays_in_its_column(k, dtype, rng):
    c = Columns(rng, dtype, 20, 9)
    c.shares[:] = 1 / 20
    c.source[3, 4], c.source[5, 6] = np.nan, np.inf
    c.statistics(k)
    bad = np.isnan(c.mean[:9]) | np.isnan(c.variance[:9])
    assert np.flatnonzero(bad).tolist() == [3, 5]
    a = np.zeros((20, 9), dtype)
    k.standardize(20, 9, pointer(c.rows), 1, pointer(c.mean), pointer(c.variance), EPSILON, 0, 0, pointer(a), 9)
    assert np.isnan(a[:, [3, 5]]).all() and np.isfinite(np.delete(a, [3, 5], axis=1)).all()


def test_columns_alone_have_the_same_bits(k, dtype, rng):
    n = 5 * k.lanes + 3
    c = Columns(rng, dtype, 50, n)
    c.statistics(k)
    whole = c.mean.copy(), c.variance.copy()
    for j in range(n):
        to = pointer(c.mean[j:]), pointer(c.variance[j:])
        k.column_statistics(50, 1, pointer(c.rows), 1 + j, pointer(c.shares), *to)
    assert_array_equal((c.mean, c.variance), whole)


@pytest.mark.parametrize("n", SIZES)
def test_moving_average(k, dtype, rng, n):
    before, now = rng.normal(size=(2, n)).astype(dtype)
    after, check = guarded(n, dtype)
    k.moving_average(n, 0.25, 1.5, pointer(before), pointer(now), pointer(after))
    assert_allclose(after, 0.75 * before + 0.375 * now, **tolerance(dtype))
    check()


GROUPS = [(n, g) for n in (1, 2, 5, 8, 12, 16, 17, 31, 64, 130) for g in (1, 2, 3, 4, n) if n % g == 0]


@pytest.mark.parametrize("m", [1, 2, 7, 16, 17, 40])
@pytest.mark.parametrize("n, n_groups", sorted(set(GROUPS)))
@pytest.mark.parametrize("scaled", [False, True])
def test_groups(k, dtype, rng, m, n, n_groups, scaled):
    tol = {"rtol": 1000 * np.finfo(dtype).eps, "atol": 1000 * np.finfo(dtype).eps}
    w, b = rng.normal(size=(2, n)).astype(dtype)
    scale = (pointer(w), pointer(b)) if scaled else (None, None)
    for accumulate, zeros in ((False, 3), (True, 0)):
        c = Columns(rng, dtype, m, n, offset=0, weighted=False)
        h = c.h.reshape(m, n_groups, -1)
        mean, deviation = h.mean(-1, keepdims=True), np.sqrt(h.var(-1, keepdims=True) + EPSILON)
        x = (h - mean) / deviation
        a, before, check = c.target(rng, zeros)
        statistics, check_statistics = guarded((m, n_groups, 2), dtype)
        rows, width = pointer(c.rows), a.shape[1]
        k.group_norm(m, n, n_groups, rows, EPSILON, *scale, pointer(statistics), zeros, pointer(a), width)
        z = x.reshape(m, n) * w + b if scaled else x.reshape(m, n)
        c.fits(a, before, z, False, zeros, **tol)
        assert_allclose(statistics, np.concatenate([mean, 1 / deviation], axis=-1), **tol)
        without = a.copy()
        k.group_norm(m, n, n_groups, rows, EPSILON, *scale, None, zeros, pointer(without), width)
        assert_array_equal(a, without)
        d = c.d[:, :n].astype(float)
        e = (d * w if scaled else d).reshape(h.shape)
        made = (e - e.mean(-1, keepdims=True) - x * (e * x).mean(-1, keepdims=True)) / deviation
        out, before, check_out = c.target(rng, zeros)
        sums, check_sums = guarded((2, n), dtype)
        to = (pointer(sums), pointer(sums[1])) if scaled else (None, None)
        k.group_norm_back(
            m, n, n_groups, rows, pointer(statistics), scale[0], pointer(c.d), n + 2, accumulate, zeros, pointer(out),
            width, *to,
        )  # fmt: skip
        size = np.abs(made).max(initial=1)
        c.fits(out, before, made.reshape(m, n), accumulate, zeros, rtol=tol["rtol"], atol=size * tol["atol"])
        if scaled:
            assert_allclose(sums, [(d * x.reshape(m, n)).sum(0), d.sum(0)], rtol=tol["rtol"], atol=m * tol["atol"])
        check()
        check_statistics()
        check_out()
        check_sums()


def test_no_rows(k, dtype):
    sums, check = guarded((2, 5), dtype)
    k.group_norm(0, 5, 1, None, EPSILON, None, None, None, 0, None, 5)
    k.group_norm_back(0, 5, 1, None, None, None, None, 5, 0, 0, None, 5, None, None)
    k.group_norm_back(0, 5, 1, None, None, None, None, 5, 0, 0, None, 5, pointer(sums), pointer(sums[1]))
    assert not sums.any()
    check()


def test_a_row_does_not_depend_on_the_others(k, dtype, rng):
    m, n = 37, 21
    c = Columns(rng, dtype, m, n, offset=0)
    c.source[5, 2], c.source[20, 9] = np.nan, np.inf
    w, b = rng.normal(size=(2, n)).astype(dtype)
    scale = pointer(w), pointer(b)

    def both(begin, end):
        a, s, out = (np.zeros((end - begin, w), dtype) for w in (n, 6, n))
        rows = pointer(c.rows[begin:])
        k.group_norm(end - begin, n, 3, rows, EPSILON, *scale, pointer(s), 0, pointer(a), n)
        d = pointer(c.d[begin:])
        k.group_norm_back(
            end - begin, n, 3, rows, pointer(s), scale[0], d, n + 2, 0, 0, pointer(out), n, None, None,
        )  # fmt: skip
        return np.concatenate([a, out], axis=1)

    together = both(0, m)
    assert_array_equal(together, np.concatenate([both(i, i + 1) for i in range(m)]))
    assert np.isnan(together).any(axis=1).sum() == 2


@pytest.mark.parametrize("mean", [1e3, -1e5])
def test_rows_far_from_0(k, dtype, rng, mean):
    mean *= 1 if dtype == np.float32 else 1e8
    c = Columns(rng, dtype, 20, 300, offset=0, mean=mean)
    a = np.zeros((20, 300), dtype)
    k.group_norm(20, 300, 2, pointer(c.rows), EPSILON, None, None, None, 0, pointer(a), 300)
    h = (c.h - c.h[:, :1]).reshape(20, 2, 150)
    x = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + EPSILON)
    assert_allclose(a, x.reshape(20, 300), atol=2 * np.spacing(np.abs(c.h).max().astype(dtype)))
