"""Rows that are packed, unpacked, transposed, filled, added and gathered."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, guarded, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("n", SIZES)
def test_moves(k, dtype, rng, n):
    lanes = k.lanes
    for m in (0, 1, 5, 9, 33):
        a = rng.normal(size=(m, n + 2)).astype(dtype)[:, :n]
        stripes, check = guarded((-(-n // lanes), m, lanes), dtype)
        k.pack(m, n, pointer(a), n + 2, pointer(stripes), m * lanes)
        assert_array_equal(stripes, kt.packed(a, lanes))
        check()
        b, check = guarded((m, n), dtype)
        k.unpack(m, n, pointer(stripes), m * lanes, pointer(b), n)
        assert_array_equal(b, a)
        check()
        if n:  # the transpose of the first stripe, one row of squares in a packed matrix of 2 lanes rows
            t, check = guarded((-(-m // lanes), 2 * lanes, lanes), dtype)
            t[:] = 7
            k.transpose(m, lanes, pointer(stripes), lanes, pointer(t), lanes, 2 * lanes * lanes)
            flat = t.swapaxes(0, 1).reshape(2 * lanes, len(t) * lanes)
            assert_array_equal(flat[:lanes, :m], stripes[0].T)
            assert (flat[lanes:] == 7).all() and (flat[:, m:] == 7).all()
            check()
            there = min(n, lanes)  # and of the first columns of rows that lie apart, to rows that lie apart
            t, check = guarded((lanes, m + 3), dtype)
            t[:] = 7
            k.transpose(m, there, pointer(a), n + 2, pointer(t), m + 3, lanes)
            assert_array_equal(t[:there, :m], a[:, :there].T)
            assert not t[there:, :m].any() and (t[:, m:] == 7).all()
            check()
        row = rng.normal(size=n).astype(dtype)
        for source, expected in ((row, np.tile(row, (m, 1))), (None, np.zeros((m, n)))):
            c, check = guarded((m, n), dtype)
            k.fill_rows(m, n, pointer(source), pointer(c), n)
            assert_array_equal(c, expected)
            check()
        both, check = guarded((m, n + 2), dtype)
        both[:] = 7
        k.add(m, n, pointer(both), pointer(a), n + 2)
        assert_array_equal(both[:, :n], a + dtype.type(7))
        assert (both[:, n:] == 7).all()
        check()
        for accumulate in (0, 1):
            s, check = guarded((n,), dtype)
            s[:] = row
            k.column_sums(m, n, pointer(a), None, n + 2, accumulate, pointer(s))
            assert_allclose(s, a.sum(axis=0, dtype=float) + accumulate * row, **tolerance(dtype, m + 1))
            s[:] = row
            k.column_sums(m, n, pointer(a), pointer(a), n + 2, accumulate, pointer(s))
            assert_allclose(s, (a.astype(float) ** 2).sum(axis=0) + accumulate * row, **tolerance(dtype, m + 1))
            check()


def widths(k):
    return sorted({0, 1, 5, k.lanes - 1, k.lanes, k.lanes + 1, 3 * k.lanes - 1, 3 * k.lanes + 2})


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("m", [0, 1, 4])
def test_move(k, dtype, rng, m, accumulate):
    """Columns `offset` of the source to any of the target's, aligned or not; zeros behind them; all else stays."""
    for n in widths(k):
        for offset, column, zeros in ((0, 0, 0), (1, 0, 3), (k.lanes, 3, 1), (2, k.lanes + 1, k.lanes + 1)):
            source = rng.normal(size=(m, offset + n + 2)).astype(dtype)
            special = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40], size=source.shape)
            source = np.where(rng.random(source.shape) < 0.2, special, source).astype(dtype)
            order = rng.permutation(m)  # the rows may lie anywhere
            target, check = guarded((m, column + n + zeros + 2), dtype)
            target[:] = rng.normal(size=target.shape)
            moved = source[order, offset : offset + n]
            expected = target.copy()
            expected[:, column : column + n] = expected[:, column : column + n] + moved if accumulate else moved
            expected[:, column + n : column + n + zeros] = 0
            k.move(
                m, n, pointer(kt.rows(source)[order]), offset, accumulate, zeros, pointer(target[:, column:]),
                target.shape[1],
            )  # fmt: skip
            assert_array_equal(target, expected)
            where = np.isfinite(expected)  # and the signs of zeros
            assert_array_equal(np.signbit(target[where]), np.signbit(expected[where]))
            check()


def test_move_within_one_array(k, dtype, rng):
    """From some columns of an array to others of it; added to themselves; from one row to all."""
    for n in widths(k):
        a, check = guarded((5, 2 * n + 1), dtype)
        a[:] = rng.normal(size=a.shape)
        expected = a.copy()
        expected[:, n + 1 :] += expected[:, :n]
        k.move(5, n, pointer(kt.rows(a)), 0, 1, 0, pointer(a[:, n + 1 :]), a.shape[1])
        assert_array_equal(a, expected)
        expected[:, :n] *= 2
        k.move(5, n, pointer(kt.rows(a)), 0, 1, 0, pointer(a), a.shape[1])
        assert_array_equal(a, expected)
        expected[:, :n] = expected[0, n + 1 :]
        k.move(5, n, pointer(kt.rows(a)[[0] * 5]), n + 1, 0, 0, pointer(a), a.shape[1])
        assert_array_equal(a, expected)
        check()


@pytest.mark.parametrize("source", ["float32", "float64", "uint8", "bool"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "broadcast"])
def test_gather(k, dtype, rng, source, layout):
    for n in SIZES:
        x = (rng.random((11, n)) * 200 % (2 if source == "bool" else 256)).astype(source)
        x = {
            "C": x, "F": np.asfortranarray(x), "strided": np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
            "reversed": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
            "broadcast": np.broadcast_to(x[:1], x.shape),
        }[layout]  # fmt: skip
        order = np.array([3, 0, 10, 10, 7], np.int64)
        strided = kt.Strided.of(x)
        for rows, first, expected in ((order, 99, x[order]), (None, 4, x[4:9])):
            out, check = guarded((5, n), dtype)
            k.gather(5, n, byref(strided), pointer(rows), first, pointer(out), n)
            assert_array_equal(out, expected.astype(dtype))
            check()


@pytest.mark.parametrize("source", ["float32", "float64", "uint8", "bool"])
def test_gather_of_columns(k, dtype, rng, source):
    """Columns that lie together, in squares and what is left over, next to each other or not, up- and downwards."""
    lanes = k.lanes
    for m, n in ((1, 3), (2, lanes), (lanes, 1), (lanes + 1, lanes - 1), (3 * lanes, 2 * lanes + 1), (65, 5), (99, 33)):
        x = (rng.random((m + 3, n)) * 200 % (2 if source == "bool" else 256)).astype(source)
        for step, columns in ((1, 1), (-1, 1), (1, -1), (2, 1), (-2, 2), (3, -1)):
            memory = np.zeros((n * abs(columns), len(x) * abs(step)), source)
            strided = memory.T[::step, ::columns]
            strided[:] = x
            shuffled = rng.integers(0, len(x), m)
            for order, expected in ((None, x[2 : 2 + m]), (np.arange(1, 1 + m), x[1 : 1 + m]), (shuffled, x[shuffled])):
                out, check = guarded((m, n + 2), dtype)
                out[:] = 99
                k.gather(m, n, byref(kt.Strided.of(strided)), pointer(order), 2, pointer(out), n + 2)
                assert_array_equal(out[:, :n], expected.astype(dtype))
                assert (out[:, n:] == 99).all()
                check()
