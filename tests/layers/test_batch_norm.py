"""Batch normalisation: statistics of batches and of the layer, gradients of both, training, copies."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
from graph_cases import BATCH_NORM, N_INPUTS, data, network
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, differences, one_step, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    LayerNorm,
    MLPClassifier,
    MLPRegressor,
    Network,
    Residual,
)
from fastbp.graph import backward_of
from fastbp.graph.reference import run


@pytest.fixture(params=BATCH_NORM)
def layers(request):
    return BATCH_NORM[request.param]


def flat(net):
    """The state of all layers."""
    return net._model.layer_state


def settled(layers, **settings):
    """A network whose layers have statistics of their own."""
    net = network(layers, **settings)
    generator = np.random.default_rng(1)
    for name, state in net.layer_state.items():
        state[:] = generator.normal(size=state.size) if name.endswith("mean") else generator.uniform(0.5, 2, state.size)
    return net


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_gradient_and_hessian_by_differences(rng, layers, batch_statistics):
    net = settled(layers, l2=0.1)
    X, y = data(rng, net)
    weight, settings, state = rng.random(len(X)), {"batch_statistics": batch_statistics}, flat(net).copy()
    weight[2] = 0
    cost, gradient = net.value_and_gradient(X, y, weight, penalty=True, **settings)
    numeric = central_differences(
        lambda: net.value_and_gradient(X, y, weight, penalty=True, **settings)[0], net.parameters
    )
    assert relative_error(gradient, numeric) < 1e-6
    v = rng.normal(size=gradient.size)
    product = net.hessian_vector_product(X, y, v, weight, penalty=True, **settings)
    assert relative_error(product, differences(net, X, y, v, weight, penalty=True, **settings)) < 1e-6
    assert_allclose(net.hessian(X, y, weight, penalty=True, **settings) @ v, product, rtol=1e-9, atol=1e-12)
    assert_array_equal(flat(net), state)
    assert (cost != net.value_and_gradient(X, y, weight, penalty=True)[0]) == batch_statistics


@pytest.mark.parametrize("n", [0, 1])
def test_rows_that_have_no_variance(rng, layers, n):
    """Statistics are the layer's own where fewer than two rows have weight."""
    net = settled(layers)
    X, y = data(rng, net)
    weight = np.zeros(len(X))
    weight[[3, 7][: 1 + n]] = 0.5, *[1.5][:n]
    own, batch = (net.value_and_gradient(X, y, weight, batch_statistics=b) for b in (False, True))
    assert (own[0] == batch[0]) == (n == 0)
    own, batch = (net.value_and_gradient(X[:1], y[:1], batch_statistics=b) for b in (False, True))
    assert_array_equal(own[1], batch[1])
    v = rng.normal(size=net.parameters.size)
    product = net.hessian_vector_product(X, y, v, weight, batch_statistics=True)
    assert relative_error(product, differences(net, X, y, v, weight, batch_statistics=True)) < 1e-6
    state = flat(net).copy()
    net.fit(X, y, sample_weight=weight, batch_size=len(X))
    assert (flat(net) == state).all() == (n == 0)


def test_steps_by_hand_take_the_layers_statistics(rng, layers):
    net = settled(layers)
    X, _ = data(rng, net)
    a, state = net.forward(X), flat(net).copy()
    assert_allclose(a, net.predict(X), rtol=1e-12)
    dz = rng.normal(size=a.shape)
    gradient, input_gradient = net.backward(dz)

    def cost():
        return (net.predict(X) * dz).sum()

    assert relative_error(gradient, central_differences(cost, net.parameters)) < 1e-6
    assert relative_error(input_gradient.ravel(), central_differences(cost, X.reshape(-1))) < 1e-6
    net.step_with(X, lambda a: a, SGD(0.1))
    assert_array_equal(flat(net), state)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 17, 300, 9000])
def test_the_core_computes_what_the_twins_do(rng, dtype, n):
    """However many rows there are: all are one chunk."""
    net = settled(BATCH_NORM["branches"], dtype=dtype)
    X, y = data(rng, net, n)
    graph, weight = net._model.fused, rng.random(n)
    for batch_statistics in (False, True):
        expected = run(
            graph, backward_of(graph), net.parameters.astype(float), X, [y], [net._model.outputs[0].cost], weight,
            flat(net).astype(float), batch_statistics,
        )[1:]  # fmt: skip
        found = net.value_and_gradient(X, y, weight, batch_statistics=batch_statistics)
        tolerance = 1e-10 if dtype == "float64" else 1e-4
        assert_allclose(found[0], expected[0], rtol=tolerance)
        assert relative_error(found[1], expected[1]) < tolerance


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_updates_are_steps_along_the_gradient_with_batch_statistics(rng, layers, optimizer):
    net, by_step = (settled(layers, l1=0.01, l2=0.1) for _ in range(2))
    X, y = data(rng, net, 41)
    for _ in range(2):
        for start in (0, 16, 32):
            part = slice(start, start + 16)
            by_step.step(by_step.value_and_gradient(X[part], y[part], batch_statistics=True)[1], optimizer)
    net.fit(X, y, optimizer=optimizer, epochs=2, batch_size=16, shuffle=False)
    assert_allclose(net.parameters, by_step.parameters, rtol=1e-7, atol=1e-10)


def test_moving_averages(rng):
    """They follow mean and unbiased variance of each batch; one of a single row leaves them as they are."""
    net = Network([Dense(4), BatchNorm(0.3), Dense(1)], n_inputs=N_INPUTS, random_state=0)
    X, y, weight = rng.normal(size=(33, N_INPUTS)), rng.normal(size=33), rng.random(33)
    weight[[1, 18]] = 0
    for weights in (None, weight):
        mean, variance = (state.copy() for state in net.layer_state.values())
        for start in (0, 16):
            W, b = net.weights[0], net.biases[0]
            part = slice(start, start + 16)
            p = (np.ones(33) if weights is None else weights)[part]
            p = p[:, None] / p.sum()
            Z = X[part] @ W + b
            batch_mean = (p * Z).sum(0)
            batch_variance = (p * (Z - batch_mean) ** 2).sum(0) / (1 - (p * p).sum())
            if weights is None:
                assert_allclose(batch_variance, Z.var(0, ddof=1))
            mean, variance = 0.7 * mean + 0.3 * batch_mean, 0.7 * variance + 0.3 * batch_variance
            net.partial_fit(X[part], y[part], sample_weight=None if weights is None else weights[part], batch_size=16)
            assert_allclose(net.layer_state["1.mean"], mean, rtol=1e-10)
            assert_allclose(net.layer_state["1.variance"], variance, rtol=1e-10)
        net.partial_fit(X[32:], y[32:])
        assert_allclose(net.layer_state["1.variance"], variance, rtol=1e-10)


def test_dropout_and_chunks(rng):
    """The gradient of a batch that would be several chunks, with dropout before and after."""
    layers = [Dropout(0.1), Dense(30, dropout=0.2), BatchNorm(), Activation("tanh"), Dropout(0.3), Dense(2)]
    net = network(layers)
    X, y = data(rng, net, 60)
    state = flat(net).copy()

    def step():
        flat(net)[:] = state
        return one_step(net, X, y)

    cost, gradient = step()
    numeric = central_differences(lambda: step()[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    net = Network([Dense(50), BatchNorm(), Activation("relu"), Dense(1)], n_inputs=N_INPUTS, random_state=0)
    X, y = rng.normal(size=(20_000, N_INPUTS)), rng.normal(size=20_000)
    for mode, rows in (("train", len(X)), ("gradient", 256)):
        assert net.program(mode, batch_size=len(X)).chunk >= rows
    gradient = net.value_and_gradient(X, y, batch_statistics=True)[1]
    before = net.parameters.copy()
    net.fit(X, y, optimizer=SGD(1.0), batch_size=len(X))
    assert_allclose(before - net.parameters, gradient, rtol=1e-8, atol=1e-12)


WIDE = [
    Dense(90), BatchNorm(), Activation("relu"), Dropout(0.1), Dense(300), BatchNorm(), Activation("gelu"),
    Dense(150, "tanh"), BatchNorm(affine=False), Residual([Dense(112), BatchNorm(), Activation("relu"), Dense(150)]),
    Dense(3),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("batch_size", [128, 700])
@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.01, momentum=0.9, clip_norm=0.5)], ids=["Adam", "clip_norm"])
def test_same_bits_for_any_number_of_threads(rng, dtype, kind, batch_size, optimizer):
    X, y, results = rng.normal(size=(700, 120)).astype(dtype), rng.random((700, 3)), []
    X[rng.random(X.shape) < 0.6] = 0
    for n_threads in (1, 2, 3):
        net = Network(WIDE, n_inputs=120, random_state=0, dtype=dtype, l2=0.01)
        history = net.fit(kind(X), y, optimizer=optimizer, epochs=3, batch_size=batch_size, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, flat(net), history.loss, net.predict(kind(X), n_threads=n_threads)])
        for batch_statistics in (False, True):
            results[-1] += net.value_and_gradient(kind(X), y, batch_statistics=batch_statistics, n_threads=n_threads)
        results[-1].append(net.forward(kind(X), n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules(rng, layers, optimizer):
    """They take statistics of all rows, as which they leave the layer's own."""
    net = settled(layers, l2=0.01)
    X, y = data(rng, net, 30)
    weight = rng.random(30)
    cost = partial(net.value_and_gradient, X, y, weight, penalty=True)
    before = cost(batch_statistics=True)[0]
    losses = net.fit(X, y, optimizer=optimizer, epochs=5, sample_weight=weight, validation_data=(X, y, weight)).loss
    assert losses[0] == pytest.approx(before) and cost(batch_statistics=True)[0] < before
    state = flat(net).copy()
    net._model.renew_statistics(net._model.check_rows(X, y, weight).data())
    assert_allclose(flat(net), state, rtol=1e-12)
    unbiased = 1 / (1 - ((weight / weight.sum()) ** 2).sum())
    for name, variance in net.layer_state.items():
        if name.endswith("variance"):
            variance /= unbiased
    assert_allclose(cost()[0], cost(batch_statistics=True)[0], rtol=1e-10)


def test_large_means_cost_no_digits(rng):
    net = Network([BatchNorm(affine=False), Dense(1)], n_inputs=3, random_state=0, dtype="float32")
    X = (rng.integers(-8, 8, (400, 3)) + 30_000.0).astype(np.float32)
    y = rng.normal(size=400)
    shifted = net.value_and_gradient(X, y, batch_statistics=True)
    centred = net.value_and_gradient(X - np.float32(30_000), y, batch_statistics=True)
    assert relative_error(shifted[1], centred[1]) < 1e-3 and shifted[0] == pytest.approx(centred[0], rel=1e-4)


# ---- what is left alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 30])
@pytest.mark.parametrize("epochs", [1, 3])
def test_training_that_fails_leaves_the_state(rng, layers, batch_size, epochs):
    net = settled(layers)
    X, y = data(rng, net, 30)
    state, parameters = flat(net).copy(), net.parameters.copy()
    with pytest.raises(FloatingPointError):
        net.fit(X, np.where(np.arange(30)[:, None] == 29, 1e200, y), batch_size=batch_size, epochs=epochs)
    X[17] = np.inf
    with pytest.raises(ValueError, match="X contains"):
        net.fit(X, y, batch_size=batch_size, epochs=epochs)
    assert_array_equal(flat(net), state)
    assert_array_equal(net.parameters, parameters)


def test_copies_and_files(rng, layers):
    net, stream = settled(layers), io.BytesIO()
    X, y = data(rng, net, 40)
    net.fit(X, y, optimizer=Adam(0.01), epochs=2)
    net.save(stream)
    stream.seek(0)
    loaded, *copies = Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    for one in (loaded, *copies):
        assert repr(one) == repr(net) and one.layers == net.layers
        assert_array_equal(flat(one), flat(net))
        assert_array_equal(one.predict(X), net.predict(X))
    net.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
    for one in copies:
        one.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
        assert_array_equal(one.predict(X), net.predict(X))


def test_predictions_of_any_number_of_rows(rng, layers):
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-4)):
        net = settled(layers, dtype=dtype)
        X = rng.normal(size=(2000, N_INPUTS))
        whole = net.predict(X)
        for n in (1, 7, 200):
            assert_allclose(net.predict(X[:n]), whole[:n], rtol=tolerance, atol=tolerance)
        double = settled(layers)
        assert_allclose(whole, double.predict(X), rtol=10 * tolerance, atol=10 * tolerance)


# ---- estimators -----------------------------------------------------------------------------------------------------


def blobs(rng, n=300):
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, 4)) + 3 * np.eye(3, 4)[y], y


LAYERS = [Dense(12), BatchNorm(), Activation("relu")]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_of_estimators(rng):
    X, y = blobs(rng)
    clf = MLPClassifier(
        hidden_layers=LAYERS, early_stopping=True, max_iter=12, n_iter_no_change=50, batch_size=30, random_state=0
    ).fit(X, y)
    X_val, y_val = blobs(rng, 80)
    scores, states = [], []
    clf = MLPClassifier(hidden_layers=LAYERS, early_stopping=True, n_iter_no_change=4, batch_size=30, random_state=0)
    while not getattr(clf, "converged_", False):
        clf.partial_fit(X, y, X_val=X_val, y_val=y_val, classes=range(3))
        scores.append(clf.validation_scores_[-1])
        states.append(clf._model().layer_state.copy())
        if not clf.converged_:
            assert clf.score(X_val, y_val) == scores[-1]  # validation is as prediction
    assert clf.score(X_val, y_val) == max(scores)
    assert_array_equal(states[-1], states[int(np.argmax(scores))])
    assert clf.score(X, y) > 0.8


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs", FULL_BATCH[-1], FULL_BATCH[0]], ids=str)
def test_estimators_go_on_or_begin_anew(rng, solver):
    X, y = blobs(rng)
    X, y = X.astype(np.float32), y.astype(float)
    est = MLPRegressor(hidden_layers=LAYERS, solver=solver, max_iter=4, random_state=0).fit(X, y)
    first = est._model().layer_state.copy()
    assert first.dtype == np.float32 and not np.array_equal(first, est._model().graph.initial_state("float32"))
    twin = pickle.loads(pickle.dumps(est))
    assert_array_equal(twin.predict(X), est.predict(X))
    assert_array_equal(est.fit(X, y)._model().layer_state, first)
    est.set_params(warm_start=True).fit(X, y)
    twin.set_params(warm_start=True).fit(X, y)
    assert_array_equal(est.predict(X), twin.predict(X))
    assert not np.array_equal(est._model().layer_state, first)
    if solver == "adam":
        est.set_params(warm_start=False)
        for one in (est, twin):
            one.partial_fit(X[:50], y[:50]).partial_fit(X[50:90], y[50:90])
        assert_array_equal(est.predict(X), twin.predict(X))
        assert_array_equal(est._model().layer_state, twin._model().layer_state)


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "message"), [
    ({"momentum": 0}, r"momentum must be a number in \(0, 1\], got 0"),
    ({"epsilon": 0.0}, r"epsilon must be a number in \(0, inf\), got 0.0"),
    ({"affine": 1}, "affine must be True or False, got 1"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm(**settings)


def test_a_setting_that_a_dtype_cannot_hold():
    with pytest.raises(ValueError, match="epsilon"):
        Network([BatchNorm(epsilon=1e-60), Dense(1)], n_inputs=2, dtype="float32")


def test_barriers():
    """Between large layers there is one more than without, on the way back."""
    plain = [Dense(512), Activation("relu"), Dense(512), Activation("relu"), Dense(10)]
    normed = [Dense(512), BatchNorm(), Activation("relu"), Dense(512), BatchNorm(), Activation("relu"), Dense(10)]
    counts = [
        Network(layers, n_inputs=784, dtype="float32").program("train", batch_size=128, n_threads=2).n_barriers
        for layers in (plain, normed)
    ]
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize(("n", "batch_size"), [(300, 100), (9000, 9000)])
def test_what_is_made_again_is_the_same(rng, n, batch_size):
    """Within a Checkpoint statistics are taken twice, and followed once."""
    blocks = [[Dense(80), BatchNorm(), Activation("relu"), Dropout(0.2), Dense(60), LayerNorm(), Dense(70)]] * 2
    kept = [layer for block in blocks for layer in block]
    X, y, results = rng.normal(size=(n, 40)), rng.normal(size=n), []
    for layers in (kept, [Checkpoint(block) for block in blocks]):
        for n_threads in (1, 2):
            net = Network([*layers, Dense(1)], n_inputs=40, random_state=0)
            net.fit(X, y, optimizer=Adam(), epochs=3, batch_size=batch_size, n_threads=n_threads)
            gradient = net.value_and_gradient(X, y, batch_statistics=True, n_threads=n_threads)[1]
            results.append((net.parameters, flat(net), gradient))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
