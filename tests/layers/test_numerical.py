"""Embeddings of columns of numbers: what they compute, how they start, what they learn of X, training, copies."""

import copy
import io
import json
import pickle

import numpy as np
import pytest
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, check_hessian, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import (
    Adam,
    Dense,
    Embed,
    MLPClassifier,
    MLPRegressor,
    Network,
    Orthogonal,
    Parallel,
    Periodic,
    PiecewiseLinear,
    Residual,
    Shared,
    Standardize,
)
from fastbp.graph import backward_of
from fastbp.graph.reference import run
from fastbp.layers import build, from_json, to_json
from fastbp.network import bins
from fastbp.network.bins import column_bounds

N_INPUTS = 5
LAYERS = {
    "periodic": [Periodic(3, 0.3, dim=4, activation="tanh"), Dense(2)],
    "some columns": [Periodic(2, 0.3, dim=3, activation="silu", columns=[4, 0, 1]), Dense(2)],
    "behind others": [Dense(4, "tanh"), Periodic(5, 0.2, 2, "gelu", [3, 1]), Dense(2)],
    "bins": [PiecewiseLinear(4, dim=3, activation="tanh"), Dense(2)],
    "bins of some columns": [PiecewiseLinear(17, dim=2, activation="silu", columns=[4, 1, 2]), Dense(2)],
    "one bin": [PiecewiseLinear(1, dim=20, activation="tanh", columns=[3]), Dense(2)],
    "side by side": [
        Parallel([[PiecewiseLinear(3, 2, "tanh")], [], [Shared(Periodic(2, 0.5, 3, "tanh"))], [Dense(3, "tanh")]]),
        Residual([Dense(33)]), Dense(2),
    ],
}  # fmt: skip


def make(layers, n_inputs=N_INPUTS, **settings):
    return Network(layers, n_inputs=n_inputs, **{"random_state": 0, **settings})


def data(rng, n, dtype="float64"):
    return rng.normal(size=(n, N_INPUTS)).astype(dtype), rng.random((n, 2))


def learnt(rng, layers, **settings):
    """A network that knows quantiles, of other rows than `data` gives next."""
    net = make(layers, **settings)
    X, y = data(rng, 60)
    net.fit(X, y, epochs=1)
    return net


@pytest.fixture(params=LAYERS)
def layers(request):
    return LAYERS[request.param]


def quantiles(x, n_bins):
    """Of the columns of rows that have the same weight, in rows."""
    n_below = -(-np.arange(n_bins + 1) * len(x) // n_bins)  # rounded up
    return np.sort(x, axis=0)[np.maximum(n_below - 1, 0)].T


# ---- what they compute ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [None, (3,), (4, 0, 1)])
def test_periodic_is_its_formula(rng, dtype, columns):
    net = make([Periodic(6, 0.4, 7, "relu", columns)], dtype=dtype)
    X, taken = data(rng, 50, dtype)[0], columns or range(N_INPUTS)
    (frequencies, W), (none, b) = net.weights, net.biases
    assert none is None and frequencies.shape == (1, 6 * len(taken)) and W.shape == (12, 7 * len(taken))
    parts = [X[:, [j for j in range(N_INPUTS) if j not in taken]]]
    for i, j in enumerate(taken):
        angles, units = X[:, [j]] * frequencies[:, 6 * i : 6 * i + 6], slice(7 * i, 7 * i + 7)
        parts.append(np.maximum(0, np.hstack([np.sin(angles), np.cos(angles)]) @ W[:, units] + b[units]))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert_allclose(net.predict(X), np.hstack(parts), rtol=tolerance, atol=tolerance)


def codes_of(x, bounds):
    """Equation (1) of the paper, for a column and its bounds, all different."""
    codes = np.empty((len(x), len(bounds) - 1))
    for t in range(1, len(bounds)):
        below, above = (x < bounds[t - 1]) & (t > 1), (x >= bounds[t]) & (t < len(bounds) - 1)
        within = (x - bounds[t - 1]) / (bounds[t] - bounds[t - 1])
        codes[:, t - 1] = np.where(below, 0, np.where(above, 1, within))
    return codes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [None, (3,), (4, 0, 1)])
@pytest.mark.parametrize("n_bins", [1, 6, 40])
def test_piecewise_linear_is_its_formula(rng, dtype, columns, n_bins):
    net = make([PiecewiseLinear(n_bins, 7, "relu", columns), Dense(1)], dtype=dtype)
    X, y = data(rng, 200, dtype)
    taken = columns or range(N_INPUTS)
    net.fit(X, y[:, 0], epochs=2)
    bounds = net.layer_state["0.bounds"].reshape(len(taken), -1)
    assert_array_equal(bounds, quantiles(X[:, taken], n_bins))
    assert net.layer_state["0.n_samples"] == 200
    X = 2 * data(rng, 50, dtype)[0]  # some are beyond
    parts = zip(X[:, taken].T.astype(float), bounds.astype(float), strict=True)
    codes = np.hstack([codes_of(x, its) for x, its in parts])
    rtol = 1e-12 if dtype == "float64" else 2e-4
    assert_allclose(net.activations(X)["0.codes"].a, codes, rtol=rtol, atol=rtol)
    W, b, parts = net.weights[0], net.biases[0], [X[:, [j for j in range(N_INPUTS) if j not in taken]]]
    for i in range(len(taken)):
        units = slice(7 * i, 7 * i + 7)
        parts.append(np.maximum(0, codes[:, n_bins * i : n_bins * i + n_bins] @ W[:, units] + b[units]))
    assert_allclose(net.activations(X)["0"].a, np.hstack(parts), rtol=10 * rtol, atol=10 * rtol)


def test_gradients(rng, layers):
    net = learnt(rng, layers, l2=0.1, l1=0.01)
    (X, y), weight = data(rng, 11), rng.random(11)
    gradient = net.value_and_gradient(X, y, weight, penalty=True)[1]
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y, weight)
    a = net.forward(X)
    dz = rng.normal(size=a.shape)
    gradient, inputs = net.backward(dz)
    numeric = central_differences(lambda: (net.predict(X) * dz).sum(), net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    flat = X.reshape(-1)
    numeric = central_differences(lambda: (net.predict(X) * dz).sum(), flat)
    assert relative_error(inputs.ravel(), numeric) < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 47, 300])
def test_against_the_twins_with_any_number_of_threads(rng, layers, dtype, n):
    net = learnt(rng, layers, dtype=dtype)
    (X, y), weight = data(rng, n, dtype), rng.random(n) + 0.5
    graph, costs = net._model.graph, [output.cost for output in net._model.outputs]
    _, cost, gradient = run(
        graph, backward_of(graph), net.parameters.astype(float), X.astype(float), [y], costs, weight,
        net._model.layer_state.astype(float),
    )  # fmt: skip
    results = []
    for n_threads in (1, 2, 3):
        one = make(layers, dtype=dtype, l2=0.1)
        history = one.fit(X, y, optimizer=Adam(), epochs=2, batch_size=64, n_threads=n_threads)
        results.append([*net.value_and_gradient(X, y, weight, n_threads=n_threads), one.parameters, history.loss])
        results[-1] += [net.predict(X, n_threads=n_threads), net.forward(X, n_threads=n_threads)]
        results[-1] += net.backward(y.astype(dtype), n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    rtol = 1e-10 if dtype == "float64" else 1e-4
    assert_allclose(results[0][0], cost, rtol=rtol)
    assert relative_error(results[0][1], gradient) < rtol


def test_the_same_bits_beside_large_layers(rng):
    X, y = rng.normal(size=(500, 40)), rng.random((500, 3))
    for first in (Periodic(8, 0.1, 6, dropout=0.2), PiecewiseLinear(20, 6, columns=range(3, 40))):
        results = []
        for n_threads in (1, 2, 3):
            net = make([first, Dense(261, "relu"), Dense(133, "relu"), Dense(3)], 40, dtype="float32")
            net.fit(X, y, optimizer=Adam(), epochs=2, batch_size=200, n_threads=n_threads)
            results.append([net.parameters, *(net.predict(x, n_threads=n_threads) for x in (X, X[:60]))])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32, np.float64])
def test_x_of_any_kind(rng, kind):
    X, y = rng.integers(0, 2 if kind is bool else 200, (90, 4)).astype(kind), rng.random(90)
    for layer in (Periodic(3, 0.01), PiecewiseLinear(4)):
        strided = np.asfortranarray(np.repeat(X, 2, axis=1))[:, ::2]
        nets = [make([layer, Dense(1)], 4) for _ in range(3)]
        for net, x in zip(nets, (X, X.astype(float), strided), strict=True):
            net.fit(x, y, epochs=3)
            assert_array_equal(net.parameters, nets[0].parameters)
            assert_array_equal(net.predict(x), nets[0].predict(X))


def test_behind_categories(rng):
    """`Embed` passes numbers on first."""
    X = np.column_stack([rng.normal(size=80), rng.integers(0, 3, 80), rng.normal(size=80) * 9])
    y = rng.random(80)
    for layer in (Periodic(3, 0.5, 4, columns=[0, 1]), PiecewiseLinear(5, 4, columns=[0, 1])):
        net = make([Embed({1: 3}, 2), layer, Dense(1)], 3)
        assert net.fit(X, y, optimizer=Adam(0.01), epochs=30).loss[-1] < 0.2
        found = net.activations(X)["1"].a
        assert found.shape == (80, 2 + 8)
        assert_array_equal(found[:, :2], net.weights[0][X[:, 1].astype(int)])
    ends = [f(X[:, j]) for j in (0, 2) for f in (np.min, np.max)]
    assert_array_equal(net.layer_state["1.bounds"][[0, 5, 6, 11]], ends)


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *FULL_BATCH])
@pytest.mark.parametrize("name", ["some columns", "bins of some columns"])
def test_training_is_that_of_steps_by_hand(rng, optimizer, name):
    X, y = data(rng, 90)
    net, by_hand = (make(LAYERS[name], l2=0.01) for _ in range(2))
    if optimizer in FULL_BATCH:
        net.fit(X, y, optimizer=optimizer, epochs=1)
        cost = net.value_and_gradient(X, y, penalty=True)[0]
        net.fit(X, y, optimizer=optimizer, epochs=5)
        assert net.value_and_gradient(X, y, penalty=True)[0] < cost
        return
    net.partial_fit(X, y, optimizer=optimizer, batch_size=90)
    for state, its in zip(by_hand.layer_state.values(), net.layer_state.values(), strict=True):
        state[:] = its
    by_hand.step(by_hand.value_and_gradient(X, y)[1], optimizer)
    for batch_size in (1, 32):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=batch_size, shuffle=False)
        for i in range(0, 90, batch_size):
            rows = slice(i, i + batch_size)
            by_hand.step(by_hand.value_and_gradient(X[rows], y[rows])[1], optimizer)
    assert_allclose(net.parameters, by_hand.parameters, rtol=1e-7, atol=1e-10)


def test_frequencies_start_at_random_and_have_no_penalties(rng):
    net = make([Periodic(300, 0.7, 2, l2=3.0), Dense(1)], l1=0.1)
    assert_allclose(net.weights[0].std(), 2 * np.pi * 0.7, rtol=0.05)
    assert abs(net.weights[0].mean()) < 0.5
    X, y = data(rng, 9)
    gradients = [net.value_and_gradient(X, y[:, 0], penalty=penalty)[1] for penalty in (False, True)]
    (first, W, _), (same, V, _) = (net._model.views(gradient)[0] for gradient in gradients)
    assert_array_equal(first, same)
    assert_allclose(V - W, 0.1 * np.sign(net.weights[1]) + 3 * net.weights[1], atol=1e-12)
    before = net.weights[0].copy()
    net.fit(X, y[:, 0], optimizer=Adam(per_role={"scale": 0}))
    assert_array_equal(net.weights[0], before)


def test_init_lsuv(rng):
    X = data(rng, 300)[0]
    for first in (Periodic(30, 0.7, 2), PiecewiseLinear(6, 3)):
        net = make([first, Dense(4, "tanh"), Dense(1)])
        net.init_lsuv(3 * X)
        found = net.activations(3 * X)
        for name in ("0", "1", "2"):
            assert_allclose(found[name].z.var(), 1)
    assert_allclose(net.layer_state["0.bounds"][[0, 6]], [3 * X[:, 0].min(), 3 * X[:, 0].max()])
    net = make([Periodic(300, 0.7, 2), Dense(1)])
    net.init_lsuv(X)
    assert_allclose(net.weights[0].std(), 2 * np.pi * 0.7, rtol=0.05)


@pytest.mark.parametrize("first", [Periodic(8, 1.0), PiecewiseLinear(32)])
def test_they_learn_what_changes_fast(rng, first):
    x = rng.uniform(-2, 2, (1000, 1))
    y = np.sign(np.sin(12 * x[:, 0]))
    nets = [make([*layers, Dense(32, "relu"), Dense(1)], 1) for layers in ([first], [Dense(8, "relu")])]
    losses = [net.fit(x, y, optimizer=Adam(0.01), epochs=30).loss[-1] for net in nets]
    assert losses[0] < 0.15 < 0.4 < losses[1]


# ---- bounds of bins -------------------------------------------------------------------------------------------------


def test_bounds_are_weighted_quantiles(rng):
    """Weights count as rows that are there more than once."""
    X, weight = rng.normal(size=(100, 70)), rng.integers(0, 4, 100)
    X[weight == 0] = np.nan
    columns = np.array([69, 3, 40])
    found, n = column_bounds(X, columns, 7, np.float64, None, weight.astype(float))
    repeated = np.repeat(X, weight, axis=0)
    again, m = column_bounds(repeated, columns, 7, np.float64)
    assert_array_equal(found, again)
    assert n == np.count_nonzero(weight) and m == weight.sum()
    assert_array_equal(found, quantiles(repeated[:, columns], 7))
    order = rng.permutation(np.flatnonzero(weight))[:30]
    parts = [column_bounds(x, columns, 7, np.float64, rows)[0] for x, rows in ((X, order), (X[order], None))]
    assert_array_equal(*parts)
    assert not column_bounds(X, columns, 7, np.float64, None, np.zeros(100))[0].any()


def test_bounds_are_different_or_at_the_end():
    X = np.array([[0, 5, 1, 1.0], [0, 5, 1, 1 + 1e-12], [0, 5, 2, 1 + 2e-12], [0, 5, 9, 1 + 3e-12], [1, 5, 9, 1.0]])
    found, _ = column_bounds(X, np.arange(4), 4, np.float32)
    assert_array_equal(found, [[0, 1, 1, 1, 1], [5] * 5, [1, 2, 9, 9, 9], [1] * 5])
    net = make([PiecewiseLinear(4), Dense(1)], 4, dtype="float32")
    net.fit(X, np.arange(5.0), epochs=3)
    codes = net.activations(X)["0.codes"].a.reshape(5, 4, 4)
    assert not codes[:, 1].any() and not codes[:, 3].any() and not codes[:, 0, 1:].any()
    assert_allclose(codes[:, 2, :3], [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]], rtol=1e-6)


def test_of_many_rows_some_are_read(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(bins, "MOST_ROWS", 1000)
    X = np.arange(12_000.0)[:, np.newaxis] ** 2
    np.save(tmp_path / "X.npy", X)
    found, n = column_bounds(np.load(tmp_path / "X.npy", mmap_mode="r"), np.array([0]), 10, np.float64)
    assert n == 1000
    assert_allclose(found[0] ** 0.5, np.linspace(0, 11_999, 11), atol=13)


def test_what_is_learnt_first_stays(rng):
    X, y = data(rng, 70)
    expected = column_bounds(X, np.arange(N_INPUTS), 4, np.float64)[0].ravel()
    for first in (
        lambda net: net.fit(X, y), lambda net: net.partial_fit(X, y, epochs=2), lambda net: net.init_lsuv(X),
        lambda net: net.fit(X, y, optimizer=FULL_BATCH[-1], epochs=2),
        lambda net: net.fit(X, y, epochs=3, validation_data=(2 * X, y), early_stopping=1),
    ):  # fmt: skip
        net = make(LAYERS["bins"])
        assert_array_equal(net.layer_state["0.bounds"], [0, 0.25, 0.5, 0.75, 1] * N_INPUTS)
        assert net.layer_state["0.n_samples"] == 0
        first(net)
        assert_array_equal(net.layer_state["0.bounds"], expected)
        stream = io.BytesIO()
        net.save(stream)
        stream.seek(0)
        for one in (net, pickle.loads(pickle.dumps(net)), copy.deepcopy(net), Network.load(stream)):
            one.fit(3 * X, y)
            one.partial_fit(X + 1, y, epochs=2)
            assert_array_equal(one.layer_state["0.bounds"], expected)
    net = make(LAYERS["bins"])
    net.fit(X, y, epochs=3, validation_data=(2 * X, y), early_stopping=1, then="retrain")
    assert net.layer_state["0.n_samples"] == 140


@pytest.mark.parametrize("epochs", [1, 2])
def test_training_that_fails_learns_nothing(rng, epochs):
    X, y = data(rng, 70)
    net = make(LAYERS["bins"])
    for x, target in ((np.where(X == X[3], np.nan, X), y), (X, y * 1e300)):
        with pytest.raises((ValueError, FloatingPointError)):
            net.fit(x, target, epochs=epochs)
        assert net.layer_state["0.n_samples"] == 0 and net.layer_state["0.bounds"].max() == 1


# ---- estimators and settings ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(rng):
    X = rng.normal(size=(200, N_INPUTS))
    y = (np.sin(3 * X[:, 0]) + X[:, 1] > 0).astype(int)
    for layer in (Periodic(6, 0.4), PiecewiseLinear(10)):
        for settings in ({"early_stopping": True}, {"solver": "lbfgs"}, {"solver": "sgd", "warm_start": True}):
            clf = MLPClassifier(hidden_layers=[layer, Dense(9, "relu")], max_iter=20, random_state=0, **settings)
            pipeline = clone(make_pipeline(StandardScaler(), clf)).fit(X, y)
            for again in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline), clone(pipeline).fit(X, y)):
                assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))
        clf = MLPClassifier(hidden_layers=[layer], learning_rate_init=0.01, max_iter=300, random_state=0)
        assert clf.fit(X, y).score(X, y) > 0.9
        assert clf.transform(X).shape == (200, N_INPUTS * 8)
        parts = [clone(clf) for _ in range(2)]
        for one in parts:
            one.partial_fit(X[:50], y[:50], classes=[0, 1]).partial_fit(X, y)
        assert_array_equal(parts[0].predict_proba(X), parts[1].predict_proba(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_estimators_learn_of_x(rng):
    X, y = rng.normal(size=(120, N_INPUTS)), rng.normal(size=120)
    reg = MLPRegressor(hidden_layers=[PiecewiseLinear(2)], max_iter=3, random_state=0, early_stopping=True).fit(X, y)
    assert reg._model().layer_state[-1] == 108  # nine tenths of the rows
    reg.set_params(early_stopping=False, warm_start=True).fit(2 * X, y)
    assert reg._model().layer_state[-1] == 108
    reg.set_params(warm_start=False).fit(2 * X, y)
    assert_array_equal(reg._model().layer_state[:3], quantiles(2 * X[:, :1], 2)[0])
    reg = clone(reg).partial_fit(X[:50], y[:50]).partial_fit(X, y)
    assert reg._model().layer_state[-1] == 50


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grid_search(rng):
    X = rng.uniform(-2, 2, (300, 1))
    y = np.sin(9 * X[:, 0])
    layers = [Periodic(8, 0.001), Dense(16, "relu")]
    reg = MLPRegressor(hidden_layers=layers, learning_rate_init=0.01, max_iter=60, random_state=0)
    search = GridSearchCV(reg, {"hidden_layers__0__sigma": [0.001, 1.0]}, cv=2).fit(X, y)
    assert search.best_params_ == {"hidden_layers__0__sigma": 1.0} and search.best_score_ > 0.8
    reg.set_params(hidden_layers__0=PiecewiseLinear(2))
    search = GridSearchCV(reg, {"hidden_layers__0__n_bins": [2, 30]}, cv=2).fit(X, y)
    assert search.best_params_ == {"hidden_layers__0__n_bins": 30}


def test_they_need_dense_inputs(rng):
    X, y = data(rng, 30)
    for name in ("periodic", "some columns", "bins", "bins of some columns"):
        net = make(LAYERS[name])
        for call in (net.predict, lambda X, net=net: net.fit(X, y), lambda X, net=net: net.value_and_gradient(X, y)):
            with pytest.raises(ValueError, match=r"X must be dense for a first layer (Periodic|PiecewiseLinear)\("):
                call(sparse.csr_array(X))
    make([Dense(4), Periodic(3, 0.1), Dense(2)]).fit(sparse.csr_array(X), y)


def test_layers_are_settings():
    settings = {"l1": 0.1, "l2": 0.2, "dropout": 0.3, "max_norm": 2.0, "initializer": Orthogonal(1.5)}
    for layer, same in (
        (Periodic(3, 1, 4, "tanh", [2, 0], **settings), Periodic(3, 1.0, 4, "tanh", np.array([2, 0]), **settings)),
        (PiecewiseLinear(3, columns=range(2), **settings), PiecewiseLinear(np.int64(3), columns=(0, 1), **settings)),
    ):
        for again in (
            same, pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), clone(layer), eval(repr(layer)),
            layer.set_params(**layer.get_params()), from_json(json.loads(json.dumps(to_json(layer)))),
        ):  # fmt: skip
            assert again == layer and hash(again) == hash(layer) and repr(again) == repr(layer)
            assert build([again], N_INPUTS) == build([layer], N_INPUTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1"),
        ({"sigma": 0}, r"sigma must be a number in \(0, inf\)"),
        ({"sigma": np.nan}, r"sigma must be a number in \(0, inf\)"),
        ({"dim": 0}, "dim must be an integer of at least 1"),
        ({"dim": 2.0}, "dim must be an integer of at least 1"),
        ({"activation": "tan"}, "activation must be one of"),
        ({"columns": 3}, "columns must be a sequence of integers or None, got 3"),
        ({"columns": []}, r"columns must be at least one, and all different, got \(\)"),
        ({"columns": [1, 1]}, r"columns must be at least one, and all different, got \(1, 1\)"),
        ({"columns": [-1]}, "columns must be integers from 0 on, got -1"),
        ({"columns": [0.5]}, "columns must be integers from 0 on, got 0.5"),
        ({"dropout": 1}, "dropout must be a number in"),
        ({"l2": -1}, "l2 must be a number in"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Periodic(**{"k": 3, "sigma": 0.1, **settings})
    if not settings.keys() & {"k", "sigma"}:
        with pytest.raises(ValueError, match=message):
            PiecewiseLinear(3, **settings)


def test_bad_networks():
    with pytest.raises(ValueError, match="n_bins must be an integer of at least 1"):
        PiecewiseLinear(0)
    for layer in (Periodic(3, 0.1, columns=[5]), PiecewiseLinear(3, columns=[5])):
        with pytest.raises(ValueError, match=r"layers\[0\] must have columns from 0 to 4, got 5 in"):
            make([layer])
    message = r"must take columns of X as they are, .* got columns \[{}\] that other layers have made"
    for layers, columns in (
        ([Dense(2), PiecewiseLinear(3)], "0, 1"), ([Standardize(), PiecewiseLinear(3, columns=[2])], "2"),
        ([Embed({1: 3}, 2), PiecewiseLinear(3)], "4, 5"),
        ([Residual([Dense(5)]), PiecewiseLinear(3, columns=[1])], "1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message.format(columns)):
            make([*layers, Dense(1)])
