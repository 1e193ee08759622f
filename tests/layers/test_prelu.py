"""Leaky ReLUs whose slopes are learnt."""

import re

import numpy as np
import pytest
from network_cases import central_differences, expected_gradient, expected_output, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import SGD, Adam, AdamW, Dense, Dropout, LeakyReLU, MLPRegressor, Network, PReLU, Residual, Scale


def problem(rng, n, n_inputs=4):
    return rng.normal(size=(n, n_inputs)), rng.random((n, 3))


def test_starts_as_a_leaky_relu(rng):
    """In both directions, at 0 too; and with slopes that differ it is what it says."""
    X = np.vstack([rng.normal(size=(20, 4)), np.zeros(4)])
    ours, leaky = (
        Network([*layers, Dense(3)], n_inputs=4, initializer="he_normal", random_state=0)
        for layers in ([Dense(6), PReLU(0.2)], [Dense(6, LeakyReLU(0.2))])
    )
    assert_array_equal(ours.weights[1], np.full((1, 6), 0.2))
    assert ours.biases[1] is None
    assert_array_equal(ours.forward(X), leaky.forward(X))
    dz = rng.normal(size=(21, 3))
    (gradient, inputs), (expected, expected_inputs) = ours.backward(dz), leaky.backward(dz)
    assert_array_equal(inputs, expected_inputs)
    assert_array_equal(np.delete(gradient, np.arange(30, 36)), expected)
    w = ours.weights[1][:] = rng.normal(size=(1, 6))
    H = X @ ours.weights[0] + ours.biases[0]
    A = np.maximum(H, 0) + w * np.minimum(H, 0)
    assert_allclose(ours.predict(X), A @ ours.weights[2] + ours.biases[2], rtol=1e-12)
    assert (Network([Dense(2), PReLU()], n_inputs=1, random_state=0).weights[1] == 0.25).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 47, 300])
@pytest.mark.parametrize("units", [1, 15, 16, 33])
def test_against_the_twin(rng, dtype, n, units):
    layers = [PReLU(), Dense(units), PReLU(), Dropout(0.0), Dense(units), PReLU(-1.0), Dense(3)]
    net = Network(layers, n_inputs=4, dtype=dtype, random_state=0)
    X, y = problem(rng, n)
    X = X.astype(dtype)
    value, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(value, expected[0], rtol=1e-5 if dtype == "float32" else 1e-12)
    assert relative_error(gradient, expected[1]) < (1e-4 if dtype == "float32" else 1e-12)
    a = net.forward(X)
    assert_array_equal(a, net.predict(X))
    assert_allclose(a, expected_output(net, X), rtol=1e-4, atol=1e-5)
    own, _ = net.backward((a - y).astype(dtype) / n)
    assert relative_error(own, gradient) < (1e-4 if dtype == "float32" else 1e-11)


def test_gradients_by_central_differences(rng):
    net = Network([PReLU(), Dense(5), PReLU(), Scale(), PReLU(2.0), Dense(3)], n_inputs=4, random_state=0)
    X, y = problem(rng, 30)
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(net.value_and_gradient(X, y)[1], numeric) < 1e-6


def test_kinds_of_input(rng):
    X, y = problem(rng, 70)
    X = X.astype(np.float32)
    results = []
    for kind in (X, X.astype(float), X.tolist(), np.asfortranarray(X)):
        net = Network([PReLU(), Dense(3)], n_inputs=4, random_state=0)
        net.forward(kind)
        results.append([*net.backward(y), net.predict(kind), *net.value_and_gradient(kind, y)])
        net.fit(kind, y, batch_size=16, epochs=2, optimizer=Adam())
        results[-1].append(net.parameters)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    with pytest.raises(ValueError, match=re.escape("X must be dense for a first layer PReLU(), got")):
        net.predict(sparse.csr_array(X))


WIDE = [PReLU(), Dense(300), PReLU(), Dropout(0.2), Dense(261), PReLU(), Residual([Dense(261), PReLU()]), Dense(3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    X, y, results = rng.normal(size=(700, 130)).astype(dtype), rng.random((700, 3)), []
    for n_threads in (1, 2, 3):
        net = Network(WIDE, n_inputs=130, dtype=dtype, l2=0.01, random_state=0)
        for batch_size in (128, 700):
            history = net.partial_fit(X, y, optimizer=Adam(), batch_size=batch_size, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, history.loss, net.predict(X, n_threads=n_threads)])
        results[-1] += net.value_and_gradient(X, y, n_threads=n_threads)
        results[-1].append(net.forward(X, n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_nothing_pulls_at_slopes():
    net = Network([PReLU(), Dense(1)], n_inputs=2, l1=0.1, l2=0.1, random_state=0)
    net.weights[1][:] = 0
    for optimizer in (AdamW(0.1, weight_decay=0.5), SGD(0.1, weight_decay=0.5, proximal=True)):
        net.fit(np.zeros((4, 2)), np.ones(4), optimizer=optimizer, epochs=3)
    assert (net.weights[0] == 0.25).all()


def test_slopes_are_learnt(rng):
    """``|x|`` is the unit with slope -1."""
    X = rng.normal(size=(300, 2))
    net = Network([PReLU()], n_inputs=2, random_state=0)
    net.fit(X, np.abs(X), optimizer=SGD(0.2), epochs=30)
    assert_allclose(net.weights[0], -1, atol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(rng):
    X, y = problem(rng, 100)
    reg = MLPRegressor(hidden_layers=[Dense(8), PReLU()], early_stopping=True, max_iter=5, random_state=0).fit(X, y)
    assert reg.get_params()["hidden_layers__1__initial"] == 0.25 and reg.coefs_[1].shape == (1, 8)
    assert reg.set_params(hidden_layers__1__initial=0.5).fit(X, y).predict(X).shape == (100, 3)


def test_bad_settings():
    for initial in (np.inf, np.nan, "a", None):
        with pytest.raises(ValueError, match=r"initial must be a number in \(-inf, inf\), got"):
            PReLU(initial)
    with pytest.raises(ValueError, match="is not for a network's dtype float32: initial must be"):
        Network([PReLU(1e300)], n_inputs=1, dtype="float32")
