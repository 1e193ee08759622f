"""Dense layers with masks: the weights that are not there are 0, and remain so whatever is done to the network."""

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

from fastbp import SGD, Adam, Dense, MLPClassifier, MLPRegressor, Network, Orthogonal, Residual, Shared, VarianceScaling
from fastbp.layers import build, from_json, to_json
from fastbp.settings import FrozenArray

N_INPUTS = 9


def mask(n_in, n_out, share=0.4, seed=0):
    return np.random.default_rng(seed + n_in).random((n_in, n_out)) < share


def masked(n_hidden=20, **settings):
    layers = [
        Dense(n_hidden, "tanh", mask=mask(N_INPUTS, n_hidden)), Dense(7, "gelu"), Dense(2, mask=mask(7, 2, 0.6)),
    ]  # fmt: skip
    return Network(layers, n_inputs=N_INPUTS, **{"random_state": 0, **settings})


def dense_twin(net):
    """The same weights in layers without masks, and where they are masked in the flat vector."""
    layers = [Dense(layer.n_units, layer.activation, max_norm=layer.max_norm) for layer in net.layers]
    twin = Network(layers, n_inputs=net.n_inputs, dtype=net.dtype, l2=net.l2, ties=net.ties)
    twin.parameters[:] = net.parameters
    return twin, is_masked(net)


def is_masked(net):
    flat = np.zeros(net.parameters.size, bool)
    for layer, (W, _) in zip(net.layers, net._model.sets(flat), strict=True):
        W[:] = False if layer.mask is None else ~np.asarray(layer.mask)
    return flat


def data(rng, n, n_out=2, dtype="float64"):
    return rng.normal(size=(n, N_INPUTS)).astype(dtype), rng.random((n, n_out))


# ---- the same network without masks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 100, 1500])
def test_it_is_the_dense_network_with_those_weights_at_zero(rng, n, dtype):
    net = masked(dtype=dtype)
    dense, where = dense_twin(net)
    assert where.sum() > 100 and not net.parameters[where].any()
    X, y = data(rng, n, dtype=dtype)
    for kind in (np.asarray, sparse.csr_array):
        assert_array_equal(net.predict(kind(X)), dense.predict(kind(X)))
        (cost, gradient), (expected, full) = (one.value_and_gradient(kind(X), y) for one in (net, dense))
        assert cost == expected and not gradient[where].any() and full[where].all()
        assert_array_equal(gradient[~where], full[~where])
    a, b = net.forward(X), dense.forward(X)
    assert_array_equal(a, b)
    (gradient, inputs), (full, expected) = net.backward(a), dense.backward(a)
    assert_array_equal(inputs, expected)
    assert_array_equal(gradient, np.where(where, 0, full))


def test_gradient_and_hessian(rng):
    net = masked(l1=0.01, l2=0.1)
    (X, y), where, weight = data(rng, 11), is_masked(net), rng.random(11)
    gradient = net.value_and_gradient(X, y, weight, penalty=True)[1]
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, np.where(where, 0, numeric)) < 1e-6
    dense, _ = dense_twin(masked(l2=0.1))
    for penalty in (False, True):
        H = net.hessian(X, y, weight, penalty=penalty)
        full = dense.hessian(X, y, weight, penalty=penalty)
        full[where] = full[:, where] = 0
        assert_allclose(H, full, rtol=1e-12, atol=1e-15)
        v = rng.normal(size=len(H))
        assert_allclose(net.hessian_vector_product(X, y, v, weight, penalty=penalty), H @ v, rtol=1e-9, atol=1e-12)


def test_all_or_none_of_the_weights(rng):
    X, y = data(rng, 50)
    full = Network([Dense(20, "tanh"), Dense(2)], n_inputs=N_INPUTS, random_state=0)
    for initializer in ("sklearn", "he_normal", Orthogonal()):
        one, other = (
            Network([Dense(20, "tanh", mask=m), Dense(2)], n_inputs=N_INPUTS, random_state=0, initializer=initializer)
            for m in (np.ones((N_INPUTS, 20), bool), None)
        )
        for net in (one, other):
            net.fit(X, y, optimizer=Adam(), epochs=3)
        assert_array_equal(one.parameters, other.parameters)
    none = Network([Dense(20, "tanh", mask=np.zeros((N_INPUTS, 20), bool)), Dense(2)], n_inputs=N_INPUTS)
    none.fit(X, y, epochs=2)
    assert not none.weights[0].any() and none.biases[0].any() and np.ptp(none.predict(X), axis=0).max() == 0
    check_hessian(rng, full, X[:9], y[:9])


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *FULL_BATCH])
@pytest.mark.parametrize("batch_size", [1, 16, 300])
def test_masked_weights_stay_zero(rng, optimizer, batch_size):
    """One row, a few, and more than a chunk; penalties and bounds."""
    n = 8 if batch_size == 1 else 600
    X, y = data(rng, n)
    settings = {} if optimizer in FULL_BATCH else {"l1": 1e-3}
    net = masked(l2=1e-3, **settings)
    where, before = is_masked(net), net.parameters.copy()
    if optimizer in FULL_BATCH:
        net.fit(X, y, optimizer=optimizer, epochs=4)
    else:
        assert not net.program("train", batch_size=batch_size).online
        for fit in (net.fit, net.partial_fit):
            fit(X, y, optimizer=optimizer, epochs=2, batch_size=batch_size)
            assert not net.parameters[where].any()
        assert all(not state[where].any() for state in net._model.optimizer_state.arrays) or optimizer.n_states == 0
    assert not net.parameters[where].any() and (net.parameters != before)[~where].mean() > 0.9


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9, clip_norm=0.1), Adam(0.01, proximal=True)])
@pytest.mark.parametrize("n", [40, 700, 20000])
def test_steps_are_those_of_masked_gradients(rng, optimizer, n):
    """Also of batches so large that their gradients are added up, and folded."""
    X, y = data(rng, n)
    net, by_step = masked(l2=0.1), masked(l2=0.1)
    for _ in range(2):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=n)
        by_step.step(by_step.value_and_gradient(X, y)[1], optimizer)
        assert_allclose(net.parameters, by_step.parameters, rtol=1e-9, atol=1e-12)


def test_constraints(rng):
    """Max-norm, ties to weights that have no mask, weights in several places."""
    X, y = data(rng, 64, 9)
    code = Shared(Dense(9, "tanh", mask=mask(9, 9)))
    layers = [code, Dense(9, "tanh", max_norm=0.5, mask=mask(9, 9, seed=3)), code, Residual([Dense(9)]),
              code.transposed("tanh"), Dense(9)]  # fmt: skip
    net = Network(layers, n_inputs=9, ties=[(0, 1, 0.5), (1, 3, 0.5)], random_state=0, l2=0.1)
    places = [np.asarray(layer.mask) for layer in (code.layer, layers[1])]
    for optimizer in (SGD(0.1, momentum=0.9), Adam(0.01)):
        net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=20)
        net.step(rng.normal(size=net.parameters.size), optimizer)
        net.step_with(X, lambda a: a - y, optimizer)
        for place, W in ((0, net.weights[0]), (1, net.weights[1]), (0, net.weights[2]), (0, net.weights[4].T)):
            assert not W[~places[place]].any() and W[places[place]].all()
        assert np.linalg.norm(net.weights[1], axis=0).max() < 0.5 + 1e-12
    gradient = net.value_and_gradient(X, y, penalty=True)[1]
    numeric = central_differences(lambda: net.value_and_gradient(X, y, penalty=True)[0], net.parameters)
    first = net._model.graph.weights[0]
    assert not gradient[first.offset :][: first.size - 9][~places[0].ravel()].any()
    there = gradient != 0
    assert relative_error(gradient[there], numeric[there]) < 1e-6
    for rule in FULL_BATCH[:2]:
        by_hand = Network([Dense(9, mask=mask(9, 9)), Dense(9)], n_inputs=9, ties=[(0, 1, 0.5)], random_state=0)
        for _ in range(3):
            by_hand.step(by_hand.value_and_gradient(X, y)[1], rule)
        assert not by_hand.weights[0][~mask(9, 9)].any()


def test_the_same_bits_for_any_number_of_threads(rng):
    X, y = rng.normal(size=(1000, 200)), rng.random((1000, 3))
    layers = [Dense(300, "relu", mask=mask(200, 300)), Dense(120, "relu", mask=mask(300, 120)), Dense(3)]
    for settings in ({"optimizer": Adam(), "batch_size": 256}, {"optimizer": SGD(clip_norm=0.1), "batch_size": 1000}):
        found = []
        for n_threads in (1, 2, 3):
            net = Network(layers, n_inputs=200, dtype="float32", random_state=0)
            net.fit(X, y, epochs=2, n_threads=n_threads, **settings)
            found.append([net.parameters, net.predict(X, n_threads=n_threads)])
            assert not net.weights[0][~mask(200, 300)].any()
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                assert_array_equal(a, b)


def test_early_stopping_and_estimators(rng):
    X = rng.normal(size=(300, N_INPUTS))
    y = (X[:, 0] > 0).astype(int)
    m = mask(N_INPUTS, 30)
    for settings in ({"early_stopping": True}, {"solver": "lbfgs"}, {"solver": "sgd", "warm_start": True}):
        clf = MLPClassifier(hidden_layers=[Dense(30, "relu", mask=m)], random_state=0, **settings)
        clf = clone(clf).fit(X, y).fit(X, y)
        assert not clf.coefs_[0][~m].any() and clf.coefs_[0][m].all()
        again = pickle.loads(pickle.dumps(clf))
        assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        if settings.get("solver") == "sgd":
            again.partial_fit(X, y)
            assert not again.coefs_[0][~m].any()
    assert MLPRegressor(hidden_layers=[Dense(30, mask=m)], random_state=0).fit(X, y).coefs_[0][m].all()


# ---- initial weights ------------------------------------------------------------------------------------------------


def test_initializers_count_what_there_is():
    m = np.zeros((400, 300), bool)
    m[:40, :150] = m[:, 150:] = True  # 40 and 400 inputs of a unit; 165 units of an input in the mean
    for initializer, variances in (
        ("lecun_normal", (1 / 40, 1 / 400)), ("he_uniform", (2 / 40, 2 / 400)), ("sklearn", (2 / 205, 2 / 565)),
        (VarianceScaling(1, "fan_out"), (1 / 165, 1 / 165)), ("glorot_normal", (2 / 205, 2 / 565)),
        ("orthogonal", (1 / 165, 1 / 400)),
    ):  # fmt: skip
        W = Network([Dense(300, mask=m)], n_inputs=400, random_state=0, initializer=initializer).weights[0]
        assert not W[~m].any()
        for part, variance in zip((W[:40, :150], W[:, 150:]), variances, strict=True):
            assert_allclose(part.var(), variance, rtol=0.15)


def test_lsuv(rng):
    X = rng.normal(size=(300, N_INPUTS))
    net = masked()
    net.init_lsuv(X)
    assert not net.parameters[is_masked(net)].any()
    for z, _ in net.activations(X).values():
        assert_allclose(z.var(), 1)


# ---- settings -------------------------------------------------------------------------------------------------------


def test_layers_with_masks_are_settings():
    m = mask(5, 3)
    layer = Dense(3, "relu", mask=m)
    given, m[0, 0] = m.copy(), not m[0, 0]  # the setting is a copy
    assert_array_equal(np.asarray(layer.mask), given)
    assert "mask=<bool array of shape (5, 3)>" in repr(layer)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(layer.mask)[0, 0] = True
    same, other = Dense(3, "relu", mask=given.tolist()), Dense(3, "relu", mask=m)
    assert layer == same and hash(layer) == hash(same) and layer != other and layer != Dense(3, "relu")
    for again in (
        pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), clone(layer), layer.set_params(**layer.get_params()),
        from_json(json.loads(json.dumps(to_json(layer)))), Dense(**layer.get_params()),
    ):  # fmt: skip
        assert again == layer and hash(again) == hash(layer) and build([again], 5) == build([layer], 5)
    assert layer.set_params(mask=None) == Dense(3, "relu")
    assert_array_equal(np.asarray(FrozenArray(given), float), given.astype(float))


def test_files_and_copies(rng):
    net, (X, y) = masked(), data(rng, 50)
    net.fit(X, y)
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    for again in (Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.layers == net.layers
        assert_array_equal(again.parameters, net.parameters)
        again.partial_fit(X, y, optimizer=Adam())
        assert not again.parameters[is_masked(net)].any()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones((5, 3)), r"mask must be a boolean array .* here \(n_in, 3\), got dtype float64 in shape \(5, 3\)"),
        (np.ones((5, 4), bool), r"mask must be a boolean array .* got dtype bool in shape \(5, 4\)"),
        (np.ones(3, bool), r"mask must be a boolean array .* got dtype bool in shape \(3,\)"),
        ([[1, 0, 1]] * 5, "mask must be a boolean array .* got dtype int64"),
        ("abc", "mask must be a boolean array .* got dtype"),
        (np.ones((4, 3), bool), r"layers\[1\] must have a mask of shape \(n_in, n_units\) = \(5, 3\), got .* \(4, 3\)"),
    ],
)
def test_bad_masks(bad, message):
    with pytest.raises(ValueError, match=message):
        Network([Dense(5), Dense(3, mask=bad)], n_inputs=2)


@pytest.mark.parametrize(
    "bad",
    [{}, 3, [], "abc", {"shape": [5, 3]}, {"shape": [5, 3], "bits": "AA=="},
     {"shape": [5, -3], "bits": ""}, {"shape": [5.0, 3], "bits": "AAA="}, {"shape": None, "bits": "!"},
     {"shape": [2**40, 2**40], "bits": "AAA="}, {"shape": [5, 4], "bits": "AAAA"}, {"bits": "AAA=", "size": 15}],
)  # fmt: skip
def test_bad_masks_in_files(bad):
    assert from_json({"n_units": 3, "mask": {"shape": [5, 3], "bits": "AAA="}}) == Dense(3, mask=np.zeros((5, 3), bool))
    with pytest.raises(ValueError, match="mask|base64"):
        from_json({"n_units": 3, "mask": bad})
