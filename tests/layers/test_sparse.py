"""Sparse layers: what they compute, how their columns are drawn, training, copies."""

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

from fastbp import (
    Adam,
    Dense,
    MLPClassifier,
    MLPRegressor,
    Network,
    Orthogonal,
    Parallel,
    Prune,
    Residual,
    Shared,
    Sparse,
    VarianceScaling,
)
from fastbp.graph.graph import draw_columns
from fastbp.layers import build, from_json, to_json

N_INPUTS = 9
COLUMNS = np.array([[0, 3, 8, 2, 2], [1, 3, 0, 5, 7]])  # one of them twice


def make(**settings):
    layers = [Sparse(33, 4, "tanh"), Sparse(5, columns=COLUMNS, l2=0.1), Dense(17, "gelu"), Sparse(2, 3)]
    return Network(layers, n_inputs=N_INPUTS, **{"random_state": 0, **settings})


def full(W, columns, n_in):
    """The weights of a dense layer that does the same."""
    dense = np.zeros((n_in, W.shape[1]), W.dtype)
    np.add.at(dense, (columns, np.arange(W.shape[1])), W)
    return dense


def dense_twin(net):
    layers = [Dense(layer.n_units, layer.activation, l2=layer.l2, max_norm=layer.max_norm) for layer in net.layers]
    twin = Network(layers, n_inputs=net.n_inputs, dtype=net.dtype)
    for W, b, V, c, columns in zip(twin.weights, twin.biases, net.weights, net.biases, net.columns, strict=True):
        W[:], b[:] = V if columns is None else full(V, columns, len(W)), c
    return twin


def data(rng, n, n_out=2, dtype="float64"):
    return rng.normal(size=(n, N_INPUTS)).astype(dtype), rng.random((n, n_out))


# ---- what it computes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 7, 50, 150, 1500])
def test_it_is_a_dense_layer_most_of_whose_weights_are_zero(rng, n, dtype):
    net = make(dtype=dtype)
    assert net.weights[0].shape == net.columns[0].shape == (4, 33) and net.columns[2] is None
    assert_array_equal(net.columns[1], COLUMNS)
    dense, (X, y) = dense_twin(net), data(rng, n, dtype=dtype)
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-13}
    a = net.predict(X)
    assert_allclose(a, dense.predict(X), **tolerance)
    assert_array_equal(np.concatenate([net.predict(X[i : i + 1]) for i in range(min(n, 20))]), a[:20])
    for ours, theirs in zip(net.activations(X).values(), dense.activations(X).values(), strict=True):
        assert_allclose(ours.z, theirs.z, **tolerance)
    (cost, gradient), (expected, theirs) = (one.value_and_gradient(X, y) for one in (net, dense))
    assert_allclose(cost, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    parts = zip(net._model.sets(gradient), dense._model.sets(theirs), net.columns, strict=True)
    for (W, b), (V, c), columns in parts:
        assert_allclose(W, V if columns is None else V[columns, np.arange(len(c))], **tolerance)
        assert_allclose(b, c, **tolerance)
    (_, inputs), (_, expected) = (one.backward(one.forward(X) - y) for one in (net, dense))
    assert_allclose(inputs, expected, **tolerance)


def test_gradient_and_hessian(rng):
    layers = [
        Sparse(8, 3, "tanh"), Residual([Sparse(6, 4, "silu"), Sparse(8, 2)]),
        Parallel([[Sparse(3, 8)], [], [Sparse(4, 1)]]), Shared(Sparse(5, 2, "tanh")), Sparse(2, 5),
    ]  # fmt: skip
    net = Network(layers, n_inputs=N_INPUTS, random_state=0, l2=0.1)
    (X, y), weight = data(rng, 11), rng.random(11)
    gradient = net.value_and_gradient(X, y, weight, penalty=True)[1]
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y, weight)
    a = net.forward(X)
    dz = rng.normal(size=a.shape)
    flat = X.reshape(-1)
    numeric = central_differences(lambda: (net.predict(X) * dz).sum(), flat)
    net.forward(X)
    assert relative_error(net.backward(dz)[1].ravel(), numeric) < 1e-6


def test_places_that_share_weights(rng):
    layer = Shared(Sparse(9, 4, "tanh"))
    net = Network([layer, layer, Dense(2)], n_inputs=9, random_state=0)
    X, y = data(rng, 20)
    W, b, c = net.weights[0], net.biases[0], net.columns[0]
    assert_array_equal(net.columns[1], c)
    F = full(W, c, 9)
    assert_allclose(net.activations(X)["1"].a, np.tanh(np.tanh(X @ F + b) @ F + b), rtol=1e-12)
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(net.value_and_gradient(X, y)[1], numeric) < 1e-6
    with pytest.raises(ValueError, match=r"layers\[1\] is shared, and .* as many inputs as elsewhere, 5, got 9 for"):
        Network([layer, layer, Dense(2)], n_inputs=5)


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *FULL_BATCH])
def test_training_is_that_of_steps_by_hand(rng, optimizer):
    X, y = data(rng, 150)
    net, by_hand = make(l2=0.01), make(l2=0.01)
    before = net.parameters.copy()
    if optimizer in FULL_BATCH:
        cost = net.value_and_gradient(X, y, penalty=True)[0]
        net.fit(X, y, optimizer=optimizer, epochs=5)
        assert net.value_and_gradient(X, y, penalty=True)[0] < cost
        return
    for batch_size in (1, 32, 150):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=batch_size, shuffle=False)
        for i in range(0, 150, batch_size):
            rows = slice(i, i + batch_size)
            by_hand.step(by_hand.value_and_gradient(X[rows], y[rows])[1], optimizer)
        assert_allclose(net.parameters, by_hand.parameters, rtol=1e-7, atol=1e-10)
    assert (net.parameters != before).mean() > 0.8  # units that nothing reads keep their biases


def test_max_norm_ties_and_pruning(rng):
    X, y = data(rng, 100)
    columns = np.random.default_rng(0).integers(0, 9, (3, 9))
    layers = [Sparse(9, columns=columns, max_norm=0.4), Sparse(9, 3), Sparse(9, columns=columns), Dense(2)]
    net = Network(layers, n_inputs=9, ties=[(0, 2, 5.0)], random_state=0)
    with pytest.raises(ValueError, match="ties must name two layers with weights of the same shape and kind"):
        Network(layers, n_inputs=9, ties=[(0, 1, 5.0)])
    apart = np.linalg.norm(net.weights[0] - net.weights[2])
    net.fit(X, y, optimizer=Adam(0.01), epochs=20, prune=Prune(0.5, end=5))
    assert np.linalg.norm(net.weights[0], axis=0).max() < 0.4 + 1e-12
    assert np.linalg.norm(net.weights[0] - net.weights[2]) < apart / 2
    assert [int((W == 0).sum()) for W in net.weights[:3]] == [14, 14, 14]


@pytest.mark.parametrize("shape", [(40, 60), (200, 700)])
@pytest.mark.parametrize("dropout", [0, 0.3])
def test_the_same_bits_for_any_number_of_threads(rng, shape, dropout):
    """Behind large layers that members share by columns, too, and in the middle of halved ones."""
    n_in, n = shape
    X, y = rng.normal(size=(700, n_in)) * (rng.random((700, n_in)) < 0.4), rng.random((700, 3))
    end = [Dense(n, "relu", dropout=dropout), Sparse(n, 9, "relu"), Parallel([[Dense(40)], [Sparse(30, 5)]]), Dense(3)]
    for layers in (end, [Sparse(n, 7, "tanh"), *end], [Parallel([[Dense(n)], [Sparse(n, 3)]]), *end]):
        results = []
        for n_threads in (1, 2, 3):
            net = Network(layers, n_inputs=n_in, dtype="float32", random_state=0)
            net.fit(X, y, optimizer=Adam(), epochs=2, batch_size=200, n_threads=n_threads)
            results.append([
                net.parameters, net.predict(X, n_threads=n_threads), net.predict(X[:90], n_threads=n_threads),
                *net.value_and_gradient(X, y, n_threads=n_threads), net.forward(X, n_threads=n_threads),
                *net.backward(y, n_threads=n_threads),
            ])  # fmt: skip
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert_array_equal(a, b)


def test_estimators(rng):
    X = rng.normal(size=(300, N_INPUTS))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    for settings in ({"early_stopping": True}, {"solver": "lbfgs"}, {"solver": "sgd", "warm_start": True}):
        clf = MLPClassifier(hidden_layers=[Sparse(30, 4, "relu")], random_state=0, **settings)
        clf = clone(clf).fit(X, y)
        assert clf.coefs_[0].shape == (4, 30)
        for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), clone(clf).fit(X, y)):
            assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        if settings.get("solver") == "sgd":
            again.partial_fit(X, y)
            assert_array_equal(again.fit(X, y).transform(X).shape, (300, 30))
    clf = MLPClassifier(hidden_layers=[Sparse(40, 4, "relu")], max_iter=400, random_state=0)
    assert clf.fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"layers\[0\] must have at least 12 inputs, got 9 for Sparse\(n_units=30"):
        MLPRegressor(hidden_layers=[Sparse(30, 12)]).fit(X, y)


def test_first_layers_need_dense_inputs(rng):
    X, y = data(rng, 30)
    net = make()
    for call in (net.predict, lambda X: net.fit(X, y), lambda X: net.value_and_gradient(X, y)):
        with pytest.raises(ValueError, match=r"X must be dense for a first layer Sparse\("):
            call(sparse.csr_array(X))
    Network([Dense(8), Sparse(2, 3)], n_inputs=9).fit(sparse.csr_array(X), y)


# ---- columns and initial weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_in", "fan_in", "n_out"),
    [(1, 1, 1), (10, 10, 7), (10, 3, 100), (100, 8, 64), (7, 4, 5), (1000, 16, 2), (10**9, 50, 1), (41, 1, 10)],
)
def test_columns_are_different_and_drawn_about_as_often(n_in, fan_in, n_out):
    columns = draw_columns(np.random.RandomState(0), n_in, fan_in, n_out)
    assert columns.shape == (fan_in, n_out) and columns.dtype == np.int32
    assert columns.min() >= 0 and columns.max() < n_in and (np.diff(columns, axis=0) > 0).all()
    if n_in <= 100:
        counts = np.bincount(columns.ravel(), minlength=n_in)
        assert np.ptp(counts) <= 2 + n_out * (n_in % fan_in) / n_in


def test_columns_are_drawn_uniformly():
    for n_in, shape in ((6, (2, 4)), (30, (3, 1))):
        random_state = np.random.RandomState(0)
        draws = np.array([draw_columns(random_state, n_in, *shape) for _ in range(10000)])
        counts = np.bincount(draws.ravel(), minlength=n_in) / draws.size
        assert_allclose(counts, 1 / n_in, rtol=0.1)


def test_columns_come_from_random_state():
    a, b, c = (make(random_state=seed) for seed in (0, 0, 1))
    for one, same, other in zip(a.columns, b.columns, c.columns, strict=True):
        assert_array_equal(one, same)
        assert one is None or np.array_equal(one, COLUMNS) or (one != other).any()
    assert len({net.columns[0].tobytes() for net in (Network([Sparse(5, 3)] * 3, n_inputs=9) for _ in range(2))}) == 2
    several = Network([Sparse(9, 3)] * 3, n_inputs=9, random_state=0).columns
    assert (several[0] != several[1]).any() and (several[1] != several[2]).any()


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [("lecun_normal", 1 / 20), ("he_uniform", 2 / 20), ("sklearn", 2 / 35), ("glorot_normal", 2 / 35),
     (VarianceScaling(1, "fan_out"), 1 / 15), (Orthogonal(2), 4 / 20)],
)  # fmt: skip
def test_initializers_count_the_inputs_of_a_unit(initializer, variance):
    W = Network([Sparse(300, 20)], n_inputs=400, random_state=0, initializer=initializer).weights[0]
    assert_allclose(W.var(), variance, rtol=0.1)


def test_lsuv(rng):
    X, net = data(rng, 300)[0], make()
    net.init_lsuv(X)
    for z, _ in net.activations(X).values():
        assert_allclose(z.var(), 1)


# ---- settings -------------------------------------------------------------------------------------------------------


def test_files_and_copies(rng):
    net, (X, y) = make(), data(rng, 50)
    net.fit(X, y)
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    for again in (Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.layers == net.layers
        for a, b in zip(again.columns, net.columns, strict=True):
            assert_array_equal(a, b)
        assert_array_equal(again.predict(X), net.predict(X))
        again.partial_fit(X, y, optimizer=Adam())


@pytest.mark.parametrize("seed", [None, -1, 2**32, "a", {}, 1.5])
def test_files_that_fit_nothing(seed):
    net = make()
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    arrays = dict(np.load(stream))
    settings = json.loads(str(arrays["settings"]))
    settings["connection_seed"] = seed
    if seed is None:
        del settings["connection_seed"]
    stream = io.BytesIO()
    np.savez(stream, **arrays | {"settings": np.array(json.dumps(settings))})
    with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
        Network.load(stream)


def test_layers_with_columns_are_settings():
    layer = Sparse(5, columns=COLUMNS, activation="relu")
    same, other = Sparse(5, 2, "relu", COLUMNS.tolist()), Sparse(5, columns=COLUMNS[::-1], activation="relu")
    assert layer.set_params(fan_in=2) == same and layer != other and layer != Sparse(5, 2, "relu")
    assert "columns=<int32 array of shape (2, 5)>" in repr(layer)
    for again in (
        pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), clone(layer), layer.set_params(**layer.get_params()),
        from_json(json.loads(json.dumps(to_json(layer)))), Sparse(**layer.get_params()),
    ):  # fmt: skip
        assert again == layer and hash(again) == hash(layer) and build([again], 9) == build([layer], 9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "fan_in must be a number of inputs, unless there are columns, got None"),
        ({"fan_in": 0}, "fan_in must be an integer of at least 1"),
        ({"fan_in": 3, "columns": COLUMNS}, "fan_in must be None or the number of rows of columns, 2, got 3"),
        ({"columns": COLUMNS[:, :4]}, r"columns must be an array of integers .* here \(fan_in, 5\), got dtype int64"),
        ({"columns": COLUMNS.astype(float)}, "columns must be an array of integers .* got dtype float64"),
        ({"columns": COLUMNS[:0]}, r"columns must be an array of integers .* in shape \(0, 5\)"),
        ({"columns": COLUMNS[0]}, r"columns must be an array of integers .* in shape \(5,\)"),
        ({"columns": COLUMNS - 1}, "columns must be from 0 to the number of inputs, got numbers from -1 to 7"),
        ({"columns": COLUMNS + 2**31}, "columns must be from 0 to the number of inputs"),
        ({"fan_in": 3, "dropout": 1}, "dropout must be a number in"),
        ({"fan_in": 3, "max_norm": 0}, "max_norm must be a number in"),
        ({"fan_in": 3, "activation": "tan"}, "activation must be one of"),
        ({"fan_in": 3, "initializer": "he"}, "initializer must be one of"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Sparse(5, **settings)


def test_bad_networks():
    for layer in (Sparse(5, 10), Sparse(5, columns=COLUMNS + 1)):
        with pytest.raises(ValueError, match=r"layers\[0\] must have at least 10 inputs, got 9 for Sparse"):
            Network([layer], n_inputs=9)
    with pytest.raises(ValueError, match="layer must be a Dense to be transposed, got Sparse"):
        Shared(Sparse(5, 2)).transposed()
