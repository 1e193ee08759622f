"""Activation functions: their error in ULP, derivatives, edges; softmax."""

import kernel_table as kt
import numpy as np
import pytest
from kernel_cases import SIZES, SPECIAL, guarded, softmax, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax as softmax_of

from fastbp.graph.formulas import GELU_CUBIC, GELU_SCALE, SELU_ALPHA, SELU_SCALE, UNITS
from fastbp.graph.reference import unit_back


def ulps(actual, exact, dtype):
    """Error in units in the last place of the exact (long double) value's neighbourhood."""
    return np.abs(actual.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)


# the most ULP that docs/guide/speed.md states, and the function
FUNCTIONS = {
    "exp": (1.5, np.exp),
    "logistic": (3, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (3, np.tanh),
    "softplus": (3, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))),
    "elu": (3, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "selu": (4, lambda x: np.where(x > 0, x, np.longdouble(SELU_ALPHA) * np.expm1(np.minimum(x, 0))) * SCALE),
    "silu": (4, lambda x: x / (1 + np.exp(-x))),
    "mish": (4, lambda x: x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-abs(x))))),
    "gelu": (6, lambda x: x / (1 + np.exp(-C * (x + B * x**3)))),
}
KEPT = ("gelu", "silu", "mish", "relu2", "hard_swish", "sin", "cos")  # units with slopes of their own
SCALE, C, B = (np.longdouble(x) for x in (SELU_SCALE, GELU_SCALE, GELU_CUBIC))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_accuracy(k, dtype, rng, name):
    """The error of the vector functions stays below the ULP that docs/guide/speed.md states, from where they are 0 or
    the like to where they overflow, subnormal results included."""
    most, function = FUNCTIONS[name]
    low, high = {"float32": (-112, 88), "float64": (-762, 709)}[dtype.name]
    x = np.concatenate(
        [
            rng.uniform(low, high, 200_000), rng.uniform(low, 0.8 * low, 100_000), rng.uniform(-3, 3, 200_000),
            rng.uniform(-15, 15, 100_000), rng.normal(size=50_000) * 1e-3,
        ]
    ).astype(dtype)  # fmt: skip
    y = x.copy()
    k.activate[kt.ACTIVATIONS.index(name)](1, len(y), pointer(y), len(y), 1.0, None)
    exact = x.astype(np.longdouble)
    if name == "gelu":  # below -1 rounding of the exponent shows, which is C (z + B z^3)
        most = most + np.where(x < -1, 3 * np.abs(C * (exact + B * exact**3)), 0)
    with np.errstate(over="ignore"):
        assert (ulps(y, function(exact), dtype) <= most).all()


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_accuracy(k, dtype, rng, name):
    """That of docs/guide/speed.md, of slopes too: beside multiples of pi / 2, and beyond what is reduced in vectors."""
    near = {"float32": 2.0**12, "float64": 2.0**20}[dtype.name]
    half_pi = np.longdouble("1.57079632679489661923132169163975144")
    crossings = (np.arange(int(near * 2 / np.pi) + 100)[-200_000:] * half_pi).astype(dtype)
    x = np.concatenate(
        [
            crossings, -crossings, np.nextafter(crossings, np.inf), rng.uniform(-near, near, 200_000),
            rng.uniform(-10, 10, 200_000), rng.normal(size=50_000) * 1e-3, rng.uniform(-1e9, 1e9, 10_000),
        ],
        dtype=dtype,
    )  # fmt: skip
    y, slopes, exact = x.copy(), np.empty_like(x), x.astype(np.longdouble)
    k.activate[kt.ACTIVATIONS.index(name)](1, len(y), pointer(y), len(y), 0.0, pointer(slopes))
    sine, cosine = np.sin(exact), np.cos(exact)
    assert (ulps(y, sine if name == "sin" else cosine, dtype) <= 3).all()
    assert (ulps(slopes, cosine if name == "sin" else -sine, dtype) <= 3).all()


def test_sine_and_cosine_edges(k, dtype):
    """One element's bits don't depend on those beside it, which may be too large for vectors."""
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.5, np.finfo(dtype).max, -1e15, 3e5, np.finfo(dtype).tiny], dtype)
    for name, function in (("sin", np.sin), ("cos", np.cos)):
        activate, y = k.activate[kt.ACTIVATIONS.index(name)], x.copy()
        activate(1, len(y), pointer(y), len(y), 0.0, None)
        assert np.isnan(y[:3]).all()
        assert_allclose(y[3:], function(x[3:].astype(float)), rtol=4 * np.finfo(dtype).eps)
        assert_array_equal(np.signbit(y[3]), name == "sin")
        for i in range(len(x)):
            one = x[i : i + 1].copy()
            activate(1, 1, pointer(one), 1, 0.0, None)
            assert_array_equal(one, y[i : i + 1])


@pytest.mark.parametrize("name", [name for name in UNITS if name != "rbf"])
@pytest.mark.parametrize("gap", [0, 3])
def test_activations(k, dtype, rng, name, gap):
    """Rows next to each other and with a gap between them, which stays as it was."""
    m, p = 3, 0.25
    activate, derivative = k.activate[kt.ACTIVATIONS.index(name)], k.derivative[kt.ACTIVATIONS.index(name)]
    for n in SIZES:
        z = np.resize([*SPECIAL, *rng.normal(size=9)], (m, n)).astype(dtype)
        whole, check = guarded((m, n + gap), dtype)
        whole[:] = 99
        a = whole[:, :n]
        a[:] = z
        source, again = whole, whole.copy()
        activate(m, n, pointer(whole), n + gap, p, None)
        if name in KEPT:  # with slopes it is the same
            source, check_slopes = guarded((m, n + gap), dtype)
            source[:] = 99
            activate(m, n, pointer(again), n + gap, p, pointer(source))
            assert_array_equal(again, whole)
            assert (source[:, n:] == 99).all()
            check_slopes()
        with np.errstate(all="ignore"):
            rtol = (64 if name == "gelu" else 16) * np.finfo(dtype).eps
            expected = UNITS[name][0](z.astype(float), p).astype(dtype)
            assert_allclose(a, expected, rtol=rtol, atol=1e-37)
        assert (whole[:, n:] == 99).all()
        check()
        whole_d, check = guarded((m, n + gap), dtype)
        whole_d[:] = 99
        d = whole_d[:, :n]
        d[:] = rng.normal(size=(m, n))
        with np.errstate(all="ignore"):
            expected = d * UNITS[name][1](z.astype(float), a, p)
        derivative(m, n, pointer(source), pointer(whole_d), n + gap, p)
        assert_allclose(d, expected, **tolerance(dtype))
        assert (whole_d[:, n:] == 99).all()
        check()


def test_exp_edges(k, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1000, -1000, 89, -104, 709.7, -745], dtype)
    y = x.copy()
    k.activate[kt.ACTIVATIONS.index("exp")](1, len(y), pointer(y), len(y), 0.0, None)
    with np.errstate(over="ignore"):
        assert_allclose(y, np.exp(x), rtol=4 * np.finfo(dtype).eps, atol=float(np.finfo(dtype).smallest_subnormal))


@pytest.mark.parametrize("n", [1, 2, 10, 16, 17])
def test_softmax_of_a_row_does_not_depend_on_the_others(k, dtype, rng, n):
    z = (rng.normal(size=(37, n)) * 10).astype(dtype)
    z[5, 0], z[20, -1] = np.nan, np.inf
    together = z.copy()
    softmax(k, together)
    for i in range(37):
        softmax(k, z[i : i + 1])
    assert_array_equal(together, z)
    assert np.isnan(z[[5, 20]]).all()
    assert_allclose(np.delete(z, [5, 20], axis=0).sum(axis=1), 1, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("gap", [0, 3])
def test_softmax(k, dtype, rng, n, gap):
    z = (rng.normal(size=(6, n)) * 30 - 500).astype(dtype)
    z[1] = z[1, 0]
    z[2, n // 2] = np.nan
    z[3] = -np.inf
    z[3, n - 1] = 0
    whole, check = guarded((6, n + gap), dtype)
    copy, check_copy = guarded((6, n + gap), dtype)
    whole[:] = copy[:] = 99
    a = whole[:, :n]
    a[:] = z
    softmax(k, a, n + gap, copy)
    rows = [0, 1, 3, 4, 5]
    expected = softmax_of(z[rows].astype(float), axis=1)
    assert_allclose(a[rows], expected, rtol=200 * np.finfo(dtype).eps, atol=1e-37)
    assert np.isnan(a[2]).all()
    assert_array_equal(copy, whole)
    d, check_d = guarded((6, n + gap), dtype)
    d[:] = rng.normal(size=d.shape)
    e = d.copy()
    k.derivative[kt.ACTIVATIONS.index("softmax")](6, n, pointer(whole), pointer(d), n + gap, 0.0)
    expected = unit_back(e[rows, :n].astype(float), z[rows], a[rows].astype(float), "softmax", 0.0)
    assert_allclose(d[rows, :n], expected, **tolerance(dtype, n))
    assert np.isnan(d[2, :n]).all()
    assert_array_equal(d[:, n:], e[:, n:])
    assert (whole[:, n:] == 99).all()
    check()
    check_copy()
    check_d()


def test_softmax_of_nothing(k, dtype):
    for shape in ((0, 5), (5, 0)):
        a = np.zeros(shape, dtype)
        softmax(k, a)
        k.derivative[kt.ACTIVATIONS.index("softmax")](*shape, pointer(a), pointer(a.copy()), shape[1], 0.0)
