"""Every kernel against NumPy: the chosen instruction set, both dtypes, awkward sizes, NaN and inf."""

from ctypes import byref, c_double

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

import fastbp

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 80.0, -80.0, 1e30, -1e30]


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    return kt.build_wide(tmp_path_factory.mktemp("wide"))


@pytest.fixture(params=[fastbp.ISA, "wide"] if fastbp.ISA == "avx2" else [fastbp.ISA])
def isa(request):
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def k(isa, dtype, wide):
    if isa == "wide":
        if wide is None:
            pytest.skip("64-byte vectors need a compiler and the source folder to be built for the test")
        return wide[kt.DTYPES[dtype]]
    return kt.table(isa, dtype)


def tolerance(dtype, n=1):
    return {"rtol": 8 * np.finfo(dtype).eps * max(n, 1) ** 0.5, "atol": 4 * np.finfo(dtype).eps * max(n, 1)}


def guarded(shape, dtype):
    """An array with sentinels behind it, and a function that checks them."""
    size = int(np.prod(shape))
    memory = np.full(size + 64, 12345.0, dtype)

    def check():
        assert (memory[size:] == 12345.0).all(), "written beyond the end"

    return memory[:size].reshape(shape), check


@pytest.mark.parametrize("m", [0, 1, 2, 5, 6, 7, 12, 13, 25])
@pytest.mark.parametrize("n", SIZES)
def test_matmul(k, dtype, rng, m, n):
    for depth in (0, 1, 3, 17):
        a = rng.normal(size=(m, depth)).astype(dtype)
        at = np.ascontiguousarray(a.T)
        b = rng.normal(size=(depth, n + 3)).astype(dtype)[:, :n]
        bias = rng.normal(size=n).astype(dtype)
        old = rng.normal(size=(m, n)).astype(dtype)
        product = a.astype(float) @ b.astype(float)
        for x, row, column in ((a, depth, 1), (at, 1, m)):
            for init, ld, expected in ((None, 0, product), (bias, 0, product + bias), (old, n, product + old)):
                c, check = guarded((m, n), dtype)
                if init is old:
                    c[:] = old
                    init = c  # accumulates
                k.matmul(m, n, depth, pointer(x), row, column, pointer(b), n + 3, pointer(init), ld, pointer(c), n)
                assert_allclose(c, expected, **tolerance(dtype, depth + 1))
                check()


@pytest.mark.parametrize("n", [256, 301])
@pytest.mark.parametrize("depth", [512, 611])
def test_matmul_of_one_row_and_a_large_matrix(k, dtype, rng, n, depth):
    a = rng.normal(size=depth).astype(dtype)
    b = rng.normal(size=(depth, n)).astype(dtype)
    bias = rng.normal(size=n).astype(dtype)
    for step in (1, 2):
        x = np.repeat(a, step)
        for init in (bias, None):
            c, check = guarded((1, n), dtype)
            k.matmul(1, n, depth, pointer(x), 7, step, pointer(b), n, pointer(init), 0, pointer(c), n)
            expected = a.astype(float) @ b.astype(float) + (0 if init is None else init)
            assert_allclose(c[0], expected, **tolerance(dtype, depth))
            check()


def test_matmul_nonfinite(k, dtype):
    a = np.array([[1, np.inf], [np.nan, 1], [0, 1]], dtype)
    b = np.ones((2, 9), dtype)
    c = np.empty((3, 9), dtype)
    k.matmul(3, 9, 2, pointer(a), 2, 1, pointer(b), 9, None, 0, pointer(c), 9)
    assert_array_equal(c, np.repeat([[np.inf], [np.nan], [1]], 9, axis=1))


@pytest.mark.parametrize("n", SIZES)
def test_moves(k, dtype, rng, n):
    for m in (0, 1, 5, 9):
        a = rng.normal(size=(m, n)).astype(dtype)
        b, check = guarded((n, m), dtype)
        k.transpose(m, n, pointer(a), n, pointer(b), m)
        assert_array_equal(b, a.T)
        check()
        row = rng.normal(size=n).astype(dtype)
        for source, expected in ((row, np.tile(row, (m, 1))), (None, np.zeros((m, n)))):
            c, check = guarded((m, n), dtype)
            k.fill_rows(m, n, pointer(source), pointer(c), n)
            assert_array_equal(c, expected)
            check()
        for accumulate in (0, 1):
            s, check = guarded((n,), dtype)
            s[:] = row
            k.column_sums(m, n, pointer(a), n, accumulate, pointer(s))
            assert_allclose(s, a.sum(axis=0, dtype=float) + accumulate * row, **tolerance(dtype, m + 1))
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


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_csr(k, dtype, rng, index, source):
    for n in (0, 1, 5, 8, 17):
        dense = (rng.normal(size=(9, 13)) * (rng.random((9, 13)) < 0.4)).astype(source)
        x = csr_array(dense)
        x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
        w, bias = rng.normal(size=(13, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        d = rng.normal(size=(4, n)).astype(dtype)
        order = np.array([8, 2, 2, 0], np.int64)
        for rows, first, part in ((order, 0, dense[order]), (None, 5, dense[5:9])):
            c, check = guarded((4, n), dtype)
            k.csr_matmul(
                4, n, byref(kt.Csr.of(x)), pointer(rows), first, pointer(w), n, pointer(bias), pointer(c), n
            )
            assert_allclose(c, part @ w + bias, **tolerance(dtype, 13))
            check()
            for accumulate in (0, 1):
                g, check = guarded((6, n), dtype)
                g[:] = 1
                k.csr_gradient(
                    4, n, byref(kt.Csr.of(x)), pointer(rows), first, 3, 9, pointer(d), n, accumulate, pointer(g), n
                )  # fmt: skip
                assert_allclose(g, (part.T @ d)[3:9] + accumulate, **tolerance(dtype, 8))
                check()


def ulps(actual, exact, dtype):
    """Error in units in the last place of the exact (long double) value's neighbourhood."""
    return np.abs(actual.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)


FUNCTIONS = {
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_accuracy(k, dtype, rng, name):
    """The error of the vector functions stays below the number of ULP that README.md states."""
    most = {"exp": 1.5, "logistic": 3, "tanh": 3}[name]
    low, high = {"float32": (-87, 88), "float64": (-708, 709)}[dtype.name]
    x = np.concatenate(
        [rng.uniform(low, high, 200_000), rng.uniform(-3, 3, 200_000), rng.normal(size=50_000) * 1e-3]
    ).astype(dtype)
    if name == "logistic":
        x = x[x > low / 2]
    y = x.copy()
    function = k.exp if name == "exp" else k.activate[kt.ACTIVATIONS.index(name)]
    function(len(y), pointer(y))
    assert ulps(y, FUNCTIONS[name](x.astype(np.longdouble)), dtype).max() <= most


@pytest.mark.parametrize("name", kt.ACTIVATIONS)
def test_activations(k, dtype, rng, name):
    for n in SIZES:
        z = np.resize([*SPECIAL, *rng.normal(size=9)], n).astype(dtype)
        a, check = guarded((n,), dtype)
        a[:] = z
        k.activate[kt.ACTIVATIONS.index(name)](n, pointer(a))
        with np.errstate(all="ignore"):
            assert_allclose(a, reference.ACTIVATIONS[name](z), rtol=16 * np.finfo(dtype).eps, atol=1e-37)
        check()
        d, check = guarded((n,), dtype)
        d[:] = rng.normal(size=n)
        with np.errstate(all="ignore"):
            expected = d * reference.DERIVATIVES[name](a)
        k.derivative[kt.ACTIVATIONS.index(name)](n, pointer(a), pointer(d))
        assert_allclose(d, expected, **tolerance(dtype))
        check()


def test_exp_edges(k, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1000, -1000, 89, -104, 709.7, -745], dtype)
    y = x.copy()
    k.exp(len(y), pointer(y))
    with np.errstate(over="ignore"):
        assert_allclose(y, np.exp(x), rtol=4 * np.finfo(dtype).eps, atol=float(np.finfo(dtype).smallest_subnormal))


@pytest.mark.parametrize("n", SIZES[1:])
def test_softmax(k, dtype, rng, n):
    z = (rng.normal(size=(6, n)) * 30 - 500).astype(dtype)
    z[1] = z[1, 0]
    z[2, n // 2] = np.nan
    z[3] = -np.inf
    z[3, n - 1] = 0
    a, check = guarded(z.shape, dtype)
    a[:] = z
    k.softmax(6, n, pointer(a))
    rows = [0, 1, 3, 4, 5]
    expected = reference.softmax(z[rows].astype(float), axis=1)
    assert_allclose(a[rows], expected, rtol=200 * np.finfo(dtype).eps, atol=1e-37)
    assert np.isnan(a[2]).all()
    check()


@pytest.mark.parametrize("loss", kt.LOSSES[1:])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 17])
def test_loss(k, dtype, rng, loss, n):
    m, scale = 9, 0.25
    z = (rng.normal(size=(m, n)) * 5).astype(dtype)
    y = rng.random((m, n)).astype(dtype)
    labels = rng.integers(0, n, m)
    for weights in (None, rng.integers(0, 3, m).astype(float)):
        for by_label in (False, True) if loss == "softmax_cross_entropy" else (False,):
            target = reference.one_hot(labels, n) if by_label else y.astype(float)
            w = np.ones(m) if weights is None else weights
            mass = target.sum(axis=1, keepdims=True) if loss == "softmax_cross_entropy" else 1
            zz = z.astype(float)
            expected = (reference.OUTPUT_UNITS[loss](zz) * mass - target) * w[:, None] * scale
            d, check = guarded((m, n), dtype)
            scratch = z.copy()
            value = k.loss(
                kt.LOSSES.index(loss), m, n, pointer(scratch), None if by_label else pointer(y),
                pointer(labels) if by_label else None, pointer(weights), scale, pointer(d),
            )  # fmt: skip
            assert_allclose(value, (w * reference.losses(loss, zz, target)).sum(), **tolerance(dtype, 20))
            assert_allclose(d, expected, rtol=50 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)
            check()


def test_loss_from_extreme_logits(k, dtype):
    """Stable from logits: no log(0), however wrong the prediction; a weight of zero silences even that."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = np.array([[0, 1], [0, 1]], dtype)
    for loss, expected in (("cross_entropy", 2e4), ("softmax_cross_entropy", 2e4)):
        for weights, value in ((None, expected), (np.array([0.0, 1.0]), 0.0)):
            scratch, d = z.copy(), np.empty_like(z)
            got = k.loss(
                kt.LOSSES.index(loss), 2, 2, pointer(scratch), pointer(y), None, pointer(weights), 1.0, pointer(d)
            )
            assert_allclose(got, value)
            assert np.isfinite(d).all()


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("penalty", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.1, 0.4)])
def test_update(k, dtype, rng, rule, penalty):
    l1, l2 = penalty
    settings = {"momentum": 0.8, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}
    u = kt.Update(kt.RULES.index(rule), 0.1, *settings.values(), l1, l2)
    for n in SIZES:
        w, g = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
        if n:
            w[n // 2] = 0  # where sign(w) is 0
        states = [rng.random(n).astype(dtype) for _ in range(2)]
        expected_states = [s.astype(float) for s in states]
        total = g + l2 * w.astype(float) + l1 * np.sign(w)
        n_states = {"gradient_descent": 0, "adam": 2}.get(rule, 1)
        rate = 0.1
        if rule == "adam":  # the kernel's rate has the bias correction of the step in it
            rate = 0.1 / (np.sqrt(1 - 0.9**3) / (1 - 0.7**3))
        expected = reference.update(rule, w.astype(float), total, expected_states[:n_states], 3, rate, **settings)
        new, check = guarded((n,), dtype)
        new[:] = w
        cost = c_double(1.5)
        s1, s2 = [*states[:n_states], None, None][:2]
        k.update(byref(u), n, pointer(new), pointer(g), pointer(s1), pointer(s2), byref(cost))
        assert_allclose(new, expected, **tolerance(dtype, 4))
        for s, e in zip(states[:n_states], expected_states[:n_states], strict=True):
            assert_allclose(s, e, **tolerance(dtype, 4))
        ww = w.astype(float)
        assert_allclose(cost.value, 1.5 + l1 * np.abs(ww).sum() + l2 / 2 * (ww**2).sum(), rtol=1e-5)
        check()


def test_update_nonfinite(k, dtype):
    u = kt.Update(kt.RULES.index("gradient_descent"), 1.0, 0, 0, 0, 0, 0, 0)
    w, g = np.ones(9, dtype), np.zeros(9, dtype)
    g[[1, 8]] = np.nan, np.inf
    k.update(byref(u), 9, pointer(w), pointer(g), None, None, byref(c_double(0)))
    assert_array_equal(w, [1, np.nan, 1, 1, 1, 1, 1, 1, -np.inf])
