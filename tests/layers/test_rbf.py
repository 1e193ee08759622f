"""Radial basis functions: gradients, training, initialization, files."""

import copy
import io
import pickle

import numpy as np
import pytest
import reference
from network_cases import (
    FULL_BATCH,
    OPTIMIZERS,
    central_differences,
    check_hessian,
    expected_gradient,
    expected_output,
    one_step,
    relative_error,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import LBFGS, RBF, SGD, Adam, AdamW, Dense, Network

STACKS = [
    [RBF(5), Dense(3)],
    [RBF(4)],
    [Dense(6, "relu"), RBF(7), Dense(4, "softmax"), RBF(5), RBF(3)],
    [RBF(1), Dense(3, "tanh", l1=0.01)],
]


def make(layers=STACKS[0], n_inputs=4, **settings):
    net = Network(layers, n_inputs=n_inputs, random_state=0, **{"l2": 0.1, **settings})
    for layer, W, b in zip(net.layers, net.weights, net.biases, strict=True):
        if isinstance(layer, RBF):  # nearer to what comes in, for gradients far above rounding errors
            W /= 2
            b += 0.3 * np.arange(len(b))
    return net


def problem(rng, n, n_outputs=3):
    return rng.normal(size=(n, 4)), rng.random((n, n_outputs))


@pytest.mark.parametrize("layers", STACKS, ids=str)
def test_gradients_and_hessian_by_central_differences(rng, layers):
    net, weight = make(layers, l1=0.02), rng.random(11)
    X, y = problem(rng, 11, layers[-1].n_units)
    cost, gradient = net.value_and_gradient(X, y, weight, penalty=True)
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y, weight)
    gradient = net.value_and_gradient(X, y)[1]
    a = net.forward(X)
    assert_array_equal(a, net.predict(X))
    own, input_gradient = net.backward((a - y) / len(X))
    assert_allclose(own, gradient, rtol=1e-10, atol=1e-14)
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], X.reshape(-1))
    assert relative_error(input_gradient.ravel(), numeric) < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 47, 50])
@pytest.mark.parametrize("units", [1, 15, 33])
def test_against_the_reference(rng, dtype, n, units):
    net = make([RBF(units), Dense(units, "gelu"), RBF(units), Dense(3)], dtype=dtype)
    X, y = problem(rng, n)
    X = X.astype(dtype)
    value, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(value, expected[0], rtol=1e-5 if dtype == "float32" else 1e-12)
    assert relative_error(gradient, expected[1]) < (1e-4 if dtype == "float32" else 1e-12)
    assert_allclose(net.predict(X), expected_output(net, X), rtol=1e-4)


@pytest.mark.parametrize("layer", [RBF, Dense])
def test_wide_layers_against_the_reference(rng, layer):
    """Layers that are shared by columns and keep the transpose of their input, in a batch of several chunks."""
    net = make([layer(300), layer(280), Dense(3)])
    X, y = problem(rng, 700)
    for batch_size in (64, 700):
        program = net.program("train", batch_size=batch_size)
        assert [phase.split for phase in program.phases].count("columns") > 1
        assert sum(op.kind == "transpose" for phase in program.phases for op in phase.ops) == 2
    assert program.chunk < 700
    expected = expected_gradient(net, X, y)
    before = net.parameters.copy()
    value, gradient = net.value_and_gradient(X, y)
    assert_allclose(value, expected[0], rtol=1e-12)
    assert relative_error(gradient, expected[1]) < 1e-11
    for batch_size in (64, 700):
        net.parameters[:] = before
        net.l2 = 0
        net.fit(X[:batch_size], y[:batch_size], optimizer=SGD(0.5), batch_size=batch_size, shuffle=False)
        step = before - net.parameters
        net.parameters[:] = before
        assert relative_error(step, 0.5 * net.value_and_gradient(X[:batch_size], y[:batch_size])[1]) < 1e-9


def test_kinds_of_input(rng):
    X, y = rng.integers(0, 3, size=(70, 4)), rng.random((70, 3))
    results = []
    for kind in (X.astype(float), X.astype(np.uint8), X.tolist(), np.asfortranarray(X.astype(float)), X.astype("f4")):
        net = make([RBF(5), Dense(3)])
        net.forward(kind)
        results.append([*net.backward(y), net.predict(kind), *net.value_and_gradient(kind, y)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_distances_do_not_cancel(rng):
    """Far from the origin, where |h|^2 - 2 h c + |c|^2 would be lost in rounding."""
    net = make([RBF(3)], dtype="float32")
    X = (rng.normal(size=(20, 4)) * 16).round() / 16  # a shift by 4096 is exact
    net.weights[0][:] = (net.weights[0] * 16).round() / 16
    expected = net.predict(X)
    net.weights[0][:] += 4096
    assert_array_equal(net.predict(X + 4096), expected)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_gradient_with_dropout_by_central_differences(rng, activation):
    layers = [RBF(9, dropout=0.3), Dense(8, activation, dropout=0.4), RBF(7, dropout=0.2), Dense(3)]
    net = make(layers, input_dropout=0.2)
    X, y = problem(rng, 30)
    gradient = one_step(net, X, y)[1]
    numeric = central_differences(lambda: one_step(net, X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_update_rules(rng, optimizer):
    """Centres and widths have no penalties and no decay."""
    net, l1, l2 = make(l1=0.003, l2=0.02), 0.003, 0.02
    X, y = problem(rng, 50)
    w, by_hand = net.parameters.copy(), make(l1=l1, l2=l2)
    is_weight = np.concatenate([np.zeros(25), np.ones(15), np.zeros(3)])
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


@pytest.mark.parametrize("rule", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules(rng, rule):
    net = make()
    X, y = problem(rng, 40)
    before = net.value_and_gradient(X, y, penalty=True)[0]
    losses = net.fit(X, y, optimizer=rule, epochs=10).loss
    assert losses[0] == pytest.approx(before) and net.value_and_gradient(X, y, penalty=True)[0] < before


def test_large_batch_in_chunks(rng):
    net = make([RBF(4000), RBF(20), Dense(3)], n_inputs=4)
    X, y = problem(rng, 700)
    assert net.program("gradient", batch_size=700).chunk < 700
    whole = net.value_and_gradient(X, y)
    parts = [net.value_and_gradient(X[i : i + 100], y[i : i + 100]) for i in range(0, 700, 100)]
    assert_allclose(whole[0], np.mean([value for value, _ in parts]))
    assert_allclose(whole[1], np.mean([gradient for _, gradient in parts], axis=0), rtol=1e-9, atol=1e-15)


def test_focussed_activation_is_learnt(rng):
    """A bump at a place, found from centres of data, and better than by as many sigmoids."""
    X = rng.uniform(-2, 2, size=(400, 2))
    y = np.exp(-3 * ((X - 0.5) ** 2).sum(axis=1)) - np.exp(-3 * ((X + 0.5) ** 2).sum(axis=1))
    losses = []
    for layer in (RBF(8), Dense(8, "tanh")):
        net = Network([layer, Dense(1)], n_inputs=2, random_state=0)
        net.init_centres(X)
        losses.append(net.fit(X, y, optimizer=LBFGS(), epochs=300).loss[-1])
    assert losses[0] < 1e-4 and losses[0] < losses[1]


def test_init_centres(rng):
    X = rng.normal(3, 2, size=(300, 4))
    for kind in (X, X.astype(np.float32), (X > 3).astype(np.uint8), X > 3):
        net = make([RBF(20), Dense(5, "tanh"), RBF(400)])
        dense = net.weights[1].copy(), net.biases[1].copy()
        net.init_centres(kind)
        assert_array_equal(net.weights[1], dense[0])
        assert_array_equal(net.biases[1], dense[1])
        H = np.asarray(kind, float)
        assert (H[:, None] == net.weights[0].T).all(axis=2).any(axis=0).all()
        distance = ((H[:, :, None] - net.weights[0]) ** 2).sum(axis=1).mean()
        assert_allclose(np.exp(net.biases[0]), 1 / distance)
        below = Network([RBF(20), Dense(5, "tanh")], n_inputs=4)
        below.parameters[:] = net.parameters[: below.parameters.size]
        H = below.predict(kind)
        assert (H[:, None] == net.weights[2].T).all(axis=2).any(axis=0).all()
    net = make([RBF(300)])  # as many as there are rows: each of them
    net.init_centres(X)
    assert_array_equal(np.sort(net.weights[0], axis=1), np.sort(X.T, axis=1))
    again = [make([RBF(20)]) for _ in range(2)]
    for net in again:
        net.init_centres(X)
    assert_array_equal(again[0].parameters, again[1].parameters)


def test_centres_of_rows_that_differ_by_rounding_only():
    net = Network([RBF(3), Dense(1)], n_inputs=3, dtype="float32", random_state=0)
    with pytest.raises(ValueError, match="X must make the inputs of an RBF vary"):
        net.init_centres(np.full((50, 3), 0.1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_narrowest_functions(rng, dtype):
    """Where exp(b) is not finite, a is 1 at the centre and 0 elsewhere, and no gradient is NaN."""
    net = Network([RBF(2), Dense(1)], n_inputs=2, dtype=dtype, random_state=0)
    net.biases[0][:] = 95 if dtype == "float32" else 800
    X = rng.normal(size=(4, 2)).astype(dtype)
    net.weights[0][:, 1] = X[2]
    assert_allclose(net.predict(X) - net.biases[1], [[0], [0], net.weights[1][1], [0]], atol=1e-6)
    assert np.isfinite(net.value_and_gradient(X, rng.normal(size=4))[1]).all()
    assert np.isfinite(net.hessian(X, rng.normal(size=4))).all()


def test_bad_input_leaves_the_network_alone(rng):
    X, y = problem(rng, 20)
    net = make([RBF(5), Dense(3)])
    before, state = net.parameters.copy(), net._random_state.get_state()[1].copy()
    csr = sparse.csr_array(X)
    for call in (
        lambda: net.fit(csr, y), lambda: net.predict(csr), lambda: net.forward(csr), lambda: net.init_centres(csr),
        lambda: net.value_and_gradient(csr, y), lambda: net.hessian(csr, y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"X must be dense for a first layer RBF\(n_units=5\)"):
            call()
    for bad, message in (
        (np.ones((9, 4)), "X must make the inputs of an RBF vary"),
        (np.full((9, 4), np.nan), "Input X contains NaN"),
        (np.ones((0, 4)), "X must have at least one row"),
        (np.ones((9, 3)), r"X must have shape \(n_samples, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            net.init_centres(bad)
    with pytest.raises(ValueError, match="init_lsuv is for networks of Dense"):
        net.init_lsuv(X)
    with pytest.raises(ValueError, match="brings its own output unit"):
        Network([RBF(5)], n_inputs=4, loss="cross_entropy")
    with pytest.raises(ValueError, match=r"layers\[0\] must have dropout=0 as an output layer"):
        Network([RBF(5, dropout=0.1)], n_inputs=4)
    assert_array_equal(net.parameters, before)
    assert_array_equal(net._random_state.get_state()[1], state)
    inner = Network([Dense(4, "tanh"), RBF(5), Dense(3)], n_inputs=4, random_state=0)
    assert_allclose(inner.predict(csr), inner.predict(X))
    assert_allclose(inner.value_and_gradient(csr, y)[1], inner.value_and_gradient(X, y)[1], atol=1e-14)
    inner.init_centres(csr)


@pytest.mark.parametrize(("settings", "message"), [
    ({"n_units": 0}, "n_units must be an integer of at least 1"),
    ({"n_units": 2.5}, "n_units must be"),
    ({"n_units": 2, "dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        RBF(**settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_load_pickle_copy(rng, dtype):
    X, y = problem(rng, 30)
    net, stream = make([RBF(8, dropout=0.2), Dense(5, "relu"), RBF(6), Dense(3)], dtype=dtype), io.BytesIO()
    net.fit(X, y, optimizer=Adam(0.1), epochs=3)
    net.save(stream)
    stream.seek(0)
    for again in (Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert repr(again) == repr(net) and again.layers == net.layers
        assert_array_equal(again.predict(X), net.predict(X))
    for one in (net, again):
        one.partial_fit(X, y, optimizer=Adam(0.1), epochs=2)
    assert_array_equal(again.parameters, net.parameters)


def test_decay_moves_no_centre():
    """A unit so far away that its gradient is 0 stays, whatever pulls at weights."""
    net = Network([RBF(2), Dense(1)], n_inputs=2, l1=0.1, l2=0.1)
    net.weights[0][:, 1] = 1e3
    before = net.weights[0].copy(), net.biases[0].copy()
    X, y = np.zeros((4, 2)), np.ones(4)
    for optimizer in (AdamW(0.1, weight_decay=0.5), SGD(0.1, weight_decay=0.5, proximal=True)):
        net.fit(X, y, optimizer=optimizer, epochs=3)
        net.step(np.zeros_like(net.parameters), optimizer)
    assert_array_equal(net.weights[0][:, 1], before[0][:, 1])
    assert net.biases[0][1] == before[1][1] and net.biases[0][0] != before[1][0]
