"""Scales of features: what they compute, where they start, what pulls at them, how the work is shared."""

import copy
import re

import numpy as np
import pytest
import reference
from network_cases import OPTIMIZERS, expected_gradient, expected_output, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import LBFGS, SGD, Activation, Adam, AdamW, Dense, Dropout, MLPClassifier, Network, Residual, Scale, Shared

CHAIN = [Scale(), Dense(5, "tanh"), Scale(bias=False), Dense(3), Scale()]


def make(layers=CHAIN, n_inputs=4, **settings):
    net = Network(layers, n_inputs=n_inputs, random_state=0, **settings)
    net.parameters[:] += np.random.default_rng(0).normal(scale=0.1, size=net.parameters.size)
    return net


def problem(rng, n, n_outputs=3):
    return rng.normal(size=(n, 4)), rng.random((n, n_outputs))


def test_is_a_product_and_a_sum(rng):
    net = make([Scale(), Activation("tanh"), Scale(bias=False)])
    (w, v), (b, none), X = net.weights, net.biases, rng.normal(size=(7, 4))
    assert w.shape == v.shape == (1, 4) and b.shape == (4,) and none is None
    assert_allclose(net.predict(X), np.tanh(X * w + b) * v, rtol=1e-14)


def test_start(rng):
    """Factors of 1, terms of 0, by whatever rule the weights start; these are drawn as if there were no scales."""
    X = rng.normal(size=(200, 4)) * 3
    for initializer in ("sklearn", "he_normal", "zeros"):
        chain = [Dense(5, "logistic"), Dense(3)]
        net = Network([Scale(), chain[0], Scale(), chain[1]], n_inputs=4, initializer=initializer, random_state=0)
        plain = Network(chain, n_inputs=4, initializer=initializer, random_state=0)
        for a, b in zip((*net.weights[1::2], *net.biases[1::2]), (*plain.weights, *plain.biases), strict=True):
            assert_array_equal(a, b)
        assert all((w == 1).all() for w in net.weights[::2]) and not any(b.any() for b in net.biases[::2])
        assert_array_equal(net.predict(X), plain.predict(X))
    net.weights[0][:] = net.biases[0][:] = 7
    net.init_lsuv(X)
    assert all((w == 1).all() for w in net.weights[::2]) and not any(b.any() for b in net.biases)
    assert_allclose((X @ net.weights[1]).std(), 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 47, 300])
@pytest.mark.parametrize("units", [1, 15, 16, 33])
def test_against_the_twin(rng, dtype, n, units):
    layers = [Scale(), Dense(units, "gelu"), Scale(), Activation("relu"), Dense(units), Scale(bias=False), Dense(3)]
    net = make(layers, dtype=dtype)
    X, y = problem(rng, n)
    X = X.astype(dtype)
    value, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(value, expected[0], rtol=1e-5 if dtype == "float32" else 1e-12)
    assert relative_error(gradient, expected[1]) < (1e-4 if dtype == "float32" else 1e-12)
    a = net.forward(X)
    assert_array_equal(a, net.predict(X))
    assert_allclose(a, expected_output(net, X), rtol=1e-4, atol=1e-5)
    own, input_gradient = net.backward((a - y).astype(dtype) / n)
    assert relative_error(own, gradient) < (1e-4 if dtype == "float32" else 1e-11)
    assert input_gradient.shape == X.shape


def test_kinds_of_input(rng):
    """X that is copied, or used where it lies but for training; mostly zeros, of which products take lists."""
    X, y = rng.integers(0, 3, size=(70, 100)) * (rng.random((70, 100)) < 0.1), rng.random((70, 3))
    results = []
    for kind in (X.astype(float), X.astype(np.uint8), X.tolist(), np.asfortranarray(X.astype(float)), X.astype("f4")):
        net = make([Scale(), Dense(40), Scale(), Dense(3)], n_inputs=100)
        net.forward(kind)
        results.append([*net.backward(y), net.predict(kind), net.predict(kind[:1]), *net.value_and_gradient(kind, y)])
        net.fit(kind, y, batch_size=16, epochs=2, optimizer=Adam())
        results[-1].append(net.parameters)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    with pytest.raises(ValueError, match=re.escape("X must be dense for a first layer Scale(), got")):
        net.predict(sparse.csr_array(X))
    dense, csr = (make([Dense(40, "relu"), Scale(), Dense(3)], n_inputs=100) for _ in range(2))
    csr_X = sparse.csr_array(X.astype(float))
    for a, b in zip(dense.value_and_gradient(X, y), csr.value_and_gradient(csr_X, y), strict=True):
        assert_allclose(a, b, rtol=1e-12)
    for net, x in ((dense, X), (csr, csr_X)):
        net.fit(x, y, batch_size=16, epochs=2, optimizer=Adam())
    assert_allclose(dense.parameters, csr.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_no_penalty_and_no_decay(rng, optimizer):
    net, l1, l2 = make(l1=0.003, l2=0.02), 0.003, 0.02
    X, y = problem(rng, 50)
    w, by_hand = net.parameters.copy(), make(l1=l1, l2=l2)
    is_weight = np.concatenate([np.full(8, 0), np.ones(20), np.zeros(5 + 5), np.ones(15), np.zeros(3 + 6)])
    state, by_step = [np.zeros_like(w) for _ in range(optimizer.n_states)], copy.deepcopy(by_hand)
    for t in range(1, 4):
        by_hand.parameters[:] = w
        gradient = by_hand.value_and_gradient(X, y)[1]
        w = reference.update(
            optimizer.settings, w, gradient, state, t, optimizer.learning_rate, l1 * is_weight, l2 * is_weight,
            is_weight,
        )  # fmt: skip
        by_step.step(by_step.value_and_gradient(X, y)[1], optimizer)
    history = net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=50, shuffle=False)
    assert_allclose(net.parameters, w, rtol=1e-9, atol=1e-12)
    assert_allclose(by_step.parameters, w, rtol=1e-9, atol=1e-12)
    assert_allclose(history.loss[0], make(l1=l1, l2=l2).value_and_gradient(X, y, penalty=True)[0])


def test_decay_and_max_norm_leave_scales_alone():
    """Without a gradient they stay, whatever pulls at weights."""
    net = Network([Scale(), Dense(1, max_norm=0.1)], n_inputs=2, l1=0.1, l2=0.1, random_state=0)
    X, y = np.zeros((4, 2)), np.ones(4)
    net.weights[0][:], net.weights[1][:] = 5, 0
    for optimizer in (AdamW(0.1, weight_decay=0.5), SGD(0.1, weight_decay=0.5, proximal=True)):
        net.fit(X, y, optimizer=optimizer, epochs=3)
        net.step(np.zeros_like(net.parameters), optimizer)
    assert (net.weights[0] == 5).all()
    net = Network([Scale(), Dense(1)], n_inputs=2, l1=0.1, l2=0.1, random_state=0)
    net.fit(X, y, optimizer=LBFGS(), epochs=50)
    assert (net.weights[0] == 1).all() and np.abs(net.weights[1]).max() < 1e-6


WIDE = [
    Scale(), Dense(300, "relu"), Scale(), Dropout(0.2), Dense(261), Scale(bias=False), Activation("gelu"),
    Residual([Dense(261, "relu"), Scale()]), Dense(3), Scale(),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.01, momentum=0.9, clip_norm=0.5)], ids=["Adam", "clip_norm"])
def test_same_bits_for_any_number_of_threads(rng, dtype, optimizer):
    X, y, results = rng.normal(size=(700, 130)).astype(dtype), rng.random((700, 3)), []
    for n_threads in (1, 2, 3):
        net = make(WIDE, n_inputs=130, dtype=dtype, l2=0.01)
        for batch_size in (128, 700):
            history = net.partial_fit(X, y, optimizer=optimizer, batch_size=batch_size, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, history.loss, net.predict(X, n_threads=n_threads)])
        results[-1] += net.value_and_gradient(X, y, n_threads=n_threads)
        results[-1].append(net.forward(X, n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_wide_layers_against_the_twin(rng):
    """Scales between large layers are shared by columns, as those are, without a barrier between; in chunks too."""
    net = make([Dense(300, "relu"), Scale(), Dense(280), Scale(), Dense(3)])
    X, y = problem(rng, 700)
    program = net.program("train", batch_size=64, n_threads=2)
    kinds = [(phase.split, [op.kind for op in phase.ops]) for phase in program.phases]
    assert ("columns", ["transpose", "dense", "unit", "scale", "unit", "transpose"]) in kinds
    assert ("columns", ["dense_back", "unit_back", "scale_back", "unit_back"]) in kinds
    assert "W1 (1, 300), b1 (300,)" in str(program)
    assert net.program("gradient", batch_size=700).chunk < 700
    value, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(value, expected[0], rtol=1e-12)
    assert relative_error(gradient, expected[1]) < 1e-11


def test_is_learnt(rng):
    """What a feature counts for: that of noise goes to 0."""
    X = rng.normal(size=(400, 6))
    y = X[:, 0] - 2 * X[:, 3]
    net = Network([Scale(bias=False), Dense(1)], n_inputs=6, random_state=0)
    net.fit(X, y, optimizer=SGD(0.05), epochs=100, batch_size=20)
    product = net.weights[0].ravel() * net.weights[1].ravel()
    assert_allclose(product, [1, 0, 0, -2, 0, 0], atol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(rng):
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 3, 200)
    clf = MLPClassifier(hidden_layers=[Scale(), Dense(8, "relu")], early_stopping=True, max_iter=5, random_state=0)
    assert clf.get_params()["hidden_layers__0__bias"] is True
    clf.fit(X, y).set_params(early_stopping=False).partial_fit(X, y)
    assert clf.coefs_[0].shape == (1, 4) and clf.predict(X).shape == (200,)
    assert clf.set_params(hidden_layers__0__bias=False).fit(X, y).intercepts_[0] is None


def test_ties_and_shared(rng):
    stretch = Shared(Scale())
    net = make([stretch, Dense(4, "tanh"), stretch, Scale(), Dense(3)], ties=[(0, 3, 0.4)])
    assert np.shares_memory(net.weights[0], net.weights[2])
    X, y = problem(rng, 9)
    cost, gradient = net.value_and_gradient(X, y, penalty=True)
    assert_allclose(cost - net.value_and_gradient(X, y)[0], 0.2 * ((net.weights[0] - net.weights[3]) ** 2).sum())
    before = net.parameters.copy()
    net.fit(X, y, optimizer=SGD(0.5), batch_size=9, shuffle=False)
    assert_allclose(net.parameters, before - 0.5 * gradient, rtol=1e-9)
    with pytest.raises(ValueError, match="ties must name two layers with weights of the same shape and kind"):
        Network([Scale(), Dense(1), Scale(), Dense(4)], n_inputs=4, ties=[(0, 3, 0.1)])


def test_bad_settings():
    with pytest.raises(ValueError, match="bias must be True or False, got 1"):
        Scale(bias=1)
