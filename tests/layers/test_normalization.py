"""Layer and group normalisation: settings, and rows by themselves. Gradients and the like are those of any layers."""

import numpy as np
import pytest
from graph_cases import N_INPUTS, network
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import Activation, Adam, Dense, GroupNorm, LayerNorm, Network, Residual


def test_they_are_the_formula(rng):
    X = rng.normal(size=(30, 12)) * 5 + 2
    for layer, n_groups in ((LayerNorm(0.3), 1), (GroupNorm(3, 0.3), 3), (GroupNorm(12, 0.3), 12)):
        net = Network([layer, Dense(2)], n_inputs=12, random_state=0)
        net.parameters[:] = rng.normal(size=net.parameters.size)
        groups = X.reshape(30, n_groups, -1)
        mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
        Z = ((groups - mean) / np.sqrt(variance + 0.3)).reshape(30, 12)
        A = Z * net.weights[0] + net.biases[0]
        assert_allclose(net.activations(X)["0"].a, A, rtol=1e-10)
        assert_allclose(net.predict(X), A @ net.weights[1] + net.biases[1], rtol=1e-9, atol=1e-12)
        assert_array_equal(net.activations(X)["0.normalized"].a, net.activations(X)["0.normalized"].z)


def test_scales_start_from_1_and_have_no_penalty():
    net = network([Dense(6), LayerNorm(), Dense(6), GroupNorm(2, affine=False), Dense(1)], l2=0.5)
    assert [W.shape for W in net.weights] == [(5, 6), (1, 6), (6, 6), (6, 1)]
    assert net._model.penalties == [(0, 0.5), (0, 0), (0, 0.5), (0, 0.5)]
    fresh = Network([Dense(6), LayerNorm(), Dense(1)], n_inputs=N_INPUTS, random_state=0)
    assert (fresh.weights[1] == 1).all() and not fresh.biases[1].any() and not fresh.layer_state


def test_what_is_not_finite_stays_in_its_row(rng):
    net = network([Dense(20), LayerNorm(), Activation("relu"), Dense(12), GroupNorm(4), Dense(2)])
    X = rng.normal(size=(40, N_INPUTS))
    X[7, 2], X[33, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        found = net.predict(X)
    assert np.isnan(found[[7, 33]]).all() and np.isfinite(np.delete(found, [7, 33], axis=0)).all()


STACK = [Dense(64)] + [Residual([LayerNorm(), Dense(64, "relu"), Dense(64)])] * 3 + [GroupNorm(8), Dense(3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    layers = [Dense(260), LayerNorm(), Activation("relu"), *STACK]
    X, y, results = rng.normal(size=(600, 120)).astype(dtype), rng.random((600, 3)), []
    for n_threads in (1, 2, 3):
        net = Network(layers, n_inputs=120, random_state=0, dtype=dtype)
        history = net.fit(X, y, optimizer=Adam(), epochs=3, batch_size=100, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, history.loss, net.predict(X, n_threads=n_threads)])
        results[-1] += net.value_and_gradient(X, y, n_threads=n_threads)
        results[-1].append(net.forward(X, n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_it_takes_no_barrier_of_its_own():
    net = Network(STACK, n_inputs=64, dtype="float32")
    layers = [Dense(64), *[Residual([Dense(64, "relu"), Dense(64)])] * 3, Dense(3)]
    plain = Network(layers, n_inputs=64, dtype="float32")
    programs = [one.program("train", batch_size=64, n_threads=2) for one in (net, plain)]
    assert programs[0].n_barriers == programs[1].n_barriers


@pytest.mark.parametrize(("make", "message"), [
    (lambda: GroupNorm(0), "n_groups must be an integer of at least 1 .*, got 0"),
    (lambda: GroupNorm(2, epsilon=-1.0), r"epsilon must be a number in \(0, inf\), got -1.0"),
    (lambda: LayerNorm(epsilon=0), r"epsilon must be a number in \(0, inf\), got 0"),
    (lambda: LayerNorm(affine="no"), "affine must be True or False, got 'no'"),
    (lambda: network([Dense(6), GroupNorm(4), Dense(1)]), r"layers\[1\] must have n_groups that .* 6, .* got GroupN"),
    (lambda: network([LayerNorm(1e-60), Dense(1)], dtype="float32"), "epsilon"),
    (lambda: network([LayerNorm(affine=False), Activation("tanh")]), "layers must hold at least one with weights"),
])  # fmt: skip
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
