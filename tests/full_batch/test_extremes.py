"""Numbers at the ends of a dtype's range: second derivatives, sums of many rows, gradients."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import (
    BFGS,
    ELU,
    LBFGS,
    RBF,
    Dense,
    HistogramLoss,
    Huber,
    LeakyReLU,
    Lp,
    Network,
    Newton,
    NewtonCG,
    Quantile,
    Quickprop,
    Rprop,
    SoftmaxCrossEntropy,
)
from fastbp.names import UNITS

DTYPES = ["float32", "float64"]
SIZES = (0, 1e-40, 1e-20, 1, 88, 104, 1e4, 1e20, 1e38)
PLACES = sorted({sign * size for sign in (1, -1) for size in SIZES})


def unit(layer, z, dtype, loss="squared_error"):
    """One unit, or several, at a weighted input z: weights 0, inputs 1."""
    net = Network([layer], n_inputs=1, loss=loss, dtype=dtype, initializer="zeros")
    net.biases[0][:] = z
    return net


# ---- second derivatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [*UNITS, LeakyReLU(0.2), ELU(0.5)], ids=str)
def test_second_derivatives_of_units_are_finite_where_the_first_are(activation, dtype):
    """Those of the core, at all sizes; they are the same ones, and the second agree with double precision."""
    for z in PLACES:
        net = unit(Dense(3, activation), [z, -z / 3, 0.1], dtype)
        y = net.predict([[1.0]]) - 1  # a residual of 1 unless it is lost in rounding
        if activation == "relu2" and not np.isfinite(y).all():  # which is a square
            continue
        _, gradient = net.value_and_gradient([[1.0]], y)
        assert np.isfinite(gradient).all(), z
        H = net.hessian([[1.0]], y)
        assert np.isfinite(H).all(), z
        v = np.array([0, 0, 0, 1, -1, 2])
        assert_allclose(net.hessian_vector_product([[1.0]], y, v), H @ v, rtol=1e-4, atol=1e-6)
        if dtype == "float32" and abs(z) <= 1e4:
            exact = unit(Dense(3, activation), net.biases[0], "float64")
            assert_allclose(H, exact.hessian([[1.0]], exact.predict([[1.0]]) - 1), rtol=2e-3, atol=1e-6)


# Losses, and what else than 0 and 1 they take for targets: z itself, so that the residual is 0, or classes.
LOSSES = dict.fromkeys(
    [
        "squared_error", "absolute_error", Lp(1.0), Lp(1.0001), Lp(1.5), Lp(2.0), Lp(3.5), Lp(1000), "huber",
        Huber(1e-30), Huber(1e30), "quantile", Quantile(1e-30), "gaussian",
    ],
    "z",
) | {
    "cross_entropy": "", "poisson": "", "perceptron": "", "softmax_cross_entropy": "classes",
    SoftmaxCrossEntropy(0.1, fixed_logit=True): "classes", HistogramLoss([0, 0.5, 2]): "classes",
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_second_derivatives_of_losses_are_finite_where_the_first_are(loss, dtype):
    """At all sizes, and with a row without weight, which counts for nothing even if its cost is infinite."""
    X, tried = [[1.0], [1.0]], 0
    for z, other in itertools.product(PLACES, (1, 90, -90, 800, -800) if loss == "gaussian" else (1,)):
        net = unit(Dense(2), [z, other], dtype, loss)
        rows = [0, 1] if LOSSES[loss] == "classes" else [[0.0, 1.0], [1.0, 0.0]]
        if LOSSES[loss] == "z":
            rows.append(net.forward([[1.0]])[0])
        if loss == "gaussian":
            rows = [row[:1] for row in rows]
        for y in rows:
            gradient = net.value_and_gradient(X[:1], np.array([y]))[1]
            if np.isfinite(gradient).all():
                tried += 1
                H = net.hessian(X[:1], np.array([y]))
                assert np.isfinite(H).all(), (z, other, y)
                Hv = net.hessian_vector_product(X[:1], np.array([y]), np.ones(4))
                assert_allclose(Hv, H.sum(axis=1, dtype=np.float64), rtol=1e-4, atol=1e-6 * max(1, np.abs(H).max()))
                net.biases[0][:] = 0
                expected = net.hessian(X[:1], np.array([y]))
                net.weights[0][:] = z, other
                assert_array_equal(net.hessian([[1.0], [0.0]], np.array([y, y]), [0, 1])[2:, 2:], expected[2:, 2:])
                net.weights[0][:], net.biases[0][:] = 0, (z, other)
    assert tried >= 20


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_without_weight_count_for_nothing_even_if_their_cost_is_infinite(dtype):
    net = unit(Dense(1), 0, dtype, "poisson")
    net.weights[0][:] = 1
    X, y, weight = [[1e4], [0.5]], [[1.0], [2.0]], [0, 1]
    assert np.isfinite(net.value_and_gradient(X, y, weight)[1]).all()
    alone = net.hessian(X[1:], y[1:])
    assert_array_equal(net.hessian(X, y, weight), alone)
    assert_allclose(net.hessian_vector_product(X, y, [1, 2], weight), alone @ [1, 2], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kinks_and_poles_of_losses_count_as_flat(dtype):
    """The second derivative of |e|^p has no bound at 0 for p < 2; it is 0 there, for p of 1 everywhere."""
    for p, e, expected in (
        (1.0, 0, 0), (1.0, 3, 0), (1.5, 0, 0), (1.5, 4, 0.25), (2.0, 0, 1), (2.0, 7, 1), (3.0, 0, 0), (3.0, 5, 10),
    ):  # fmt: skip
        assert_allclose(unit(Dense(1), e, dtype, Lp(p)).hessian([[1.0]], [[0.0]]), expected)
    H = unit(Dense(1), 1e-36, dtype, Lp(1.5)).hessian([[1.0]], [[0.0]])
    assert_allclose(H, 0.5e18, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("log_variance", [-800, -90, 0, 90, 800])
def test_second_derivatives_of_the_gaussian_cost(log_variance, dtype):
    """By the mean 1 / variance, bounded by what is finite; by its logarithm e^2 / (2 variance), for a residual of e."""
    net = unit(Dense(2), [3, log_variance], dtype, "gaussian")
    H = net.hessian([[0.0]], [[3.0]])[2:, 2:]
    most = 2.0 ** (126 if dtype == "float32" else 1022)
    precision = math.exp(-log_variance) if log_variance > -700 else math.inf
    assert_allclose(H, [[min(precision, most), 0], [0, 0]], rtol=1e-5 if dtype == "float32" else 1e-12)
    if log_variance == 90:  # e^2 alone overflows in single precision
        H, e = net.hessian([[0.0]], [[3 - 1e25]])[2:, 2:], 1e25
        assert_allclose(H, [[precision, -e * precision], [-e * precision, e * e * precision / 2]], rtol=1e-4)


@pytest.mark.parametrize("rule", [Newton(), NewtonCG(), BFGS(), LBFGS()], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("loss", [Lp(1.0), Lp(1.5)], ids=str)
def test_rules_train_from_residuals_of_zero(rng, loss, rule):
    X = rng.normal(size=(30, 3))
    net = Network([Dense(1)], n_inputs=3, loss=loss, random_state=0)
    y = net.predict(X)
    y[:5] += 1
    before = net.value_and_gradient(X, y)[0]
    history = net.fit(X, y, optimizer=rule, epochs=20)
    assert np.isfinite(history.loss).all()
    assert net.value_and_gradient(X, y)[0] <= before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("log_beta", [-800, -90, 80, 90, 800])
def test_second_derivatives_of_narrow_and_wide_radial_basis_functions(rng, log_beta, dtype):
    """Centres are rows, so that z is 0 or beyond all bounds."""
    X = rng.normal(size=(6, 2)).astype(dtype)
    net = Network([RBF(3), Dense(1)], n_inputs=2, dtype=dtype, random_state=0)
    net.weights[0][:], net.biases[0][:] = X[:3].T, log_beta
    y = (net.predict(X) + 0.1).astype(np.float64)
    _, gradient = net.value_and_gradient(X, y)
    assert np.isfinite(gradient).all()
    H = net.hessian(X, y)
    assert np.isfinite(H).all()
    v = rng.normal(size=net.parameters.size)
    assert np.isfinite(net.hessian_vector_product(X, y, v)).all()
    if log_beta > 0:  # a row at its centre: the second derivative of a by the centre is -2 beta
        residual = net.predict(X[:3]) - y[:3]
        twice_beta = np.minimum(2 * np.exp(min(log_beta, 709)), 2.0 ** (126 if dtype == "float32" else 1022))
        expected = -residual * net.weights[1] * twice_beta / 6
        assert_allclose(np.diag(H)[:6].reshape(2, 3), np.tile(expected.T, (2, 1)), rtol=1e-4)


def test_no_offset_of_the_data_makes_hessians_of_radial_basis_functions_inexact(rng):
    """In single precision, where products of the data themselves would lose digits."""
    X, v = rng.normal(size=(50, 2)), rng.normal(size=13)
    y = rng.normal(size=50)
    for offset in (0, 1000, 100_000):
        net = Network([RBF(3), Dense(1)], n_inputs=2, dtype="float32", random_state=0)
        shifted = (X.astype("f") + np.float32(offset)).astype("f")
        net.weights[0][:] = shifted[:3].T
        exact = Network([RBF(3), Dense(1)], n_inputs=2, random_state=0)
        exact.parameters[:] = net.parameters
        Hv = exact.hessian_vector_product(shifted, y, v)
        assert_allclose(net.hessian_vector_product(shifted, y, v), Hv, rtol=1e-5, atol=1e-6)
        assert_allclose(net.hessian(shifted, y) @ v, Hv, rtol=1e-5, atol=1e-6)


# ---- sums and squares -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_hessian_products_of_many_rows_in_single_precision(form):
    n = 10**6
    net = Network([Dense(2)], n_inputs=1, dtype="float32", initializer="zeros")
    X, y = np.full((n, 1), 0.1, "f"), np.zeros((n, 2), "f")
    x = float(np.float32(0.1))
    product = net.hessian_vector_product(form(X), y, [1, 0, 0, 1])
    assert_allclose(product, [x * x, x, x, 1], rtol=5e-6)
    assert product.dtype == np.float32


def test_hessian_of_many_rows_in_single_precision(rng):
    n = 400_000
    X = rng.random((n, 1)).astype("f")
    nets = [Network([Dense(2, "tanh"), Dense(1)], n_inputs=1, dtype=dtype, random_state=0) for dtype in DTYPES]
    nets[1].parameters[:] = nets[0].parameters
    single, double = (net.hessian(X, X) for net in nets)
    assert_allclose(single, double, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", [Rprop(), Quickprop(0.1)], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("size", [1e-30, 1e15, 1e30])
def test_gradient_rules_with_large_and_small_gradients(rng, rule, size):
    nets = [Network([Dense(2)], n_inputs=3, dtype=dtype, initializer="zeros") for dtype in DTYPES]
    for _ in range(6):
        gradient = (rng.normal(size=8) * size).astype("f")
        for net in nets:
            net.step(gradient, rule)
    assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-4)
    assert nets[1].parameters.any()
