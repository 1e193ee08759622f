"""Weight and spectral normalisation: what they compute and learn, where they start, how the work is shared."""

import pickle
import re

import numpy as np
import pytest
import reference
from network_cases import central_differences, check_hessian, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

import fastbp
from fastbp import (
    EMA,
    LBFGS,
    RBF,
    SAM,
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    Dense,
    MLPClassifier,
    MLPRegressor,
    Network,
    Newton,
    Residual,
    Shared,
    Sparse,
    SpectralNorm,
    WeightNorm,
)

BOTH = [WeightNorm(Dense(5, "tanh")), SpectralNorm(Dense(6, "tanh")), WeightNorm(Dense(3))]


def make(layers=BOTH, n_inputs=4, **settings):
    """A network whose g are not the norms, nor b 0."""
    net = Network(layers, n_inputs=n_inputs, random_state=0, **settings)
    net.parameters[:] += np.random.default_rng(0).normal(scale=0.1, size=net.parameters.size)
    net._model.apply_masks(net.parameters)
    return net


def problem(rng, n, n_outputs=3):
    return rng.normal(size=(n, 4)), rng.random((n, n_outputs))


def test_weight_norm_is_a_dense_layer(rng):
    net, X = make([WeightNorm(Dense(5, "tanh"))]), rng.normal(size=(9, 4))
    (V, g), (none, b) = net.weights, net.biases
    assert V.shape == (4, 5) and g.shape == (1, 5) and none is None and b.shape == (5,)
    W = V / np.linalg.norm(V, axis=0) * g
    assert_allclose(net.predict(X), np.tanh(X @ W + b), rtol=1e-12)
    assert_allclose(net.activations(X)["0"].z, X @ W + b, rtol=1e-12)
    V *= [1, 2, 3, 0.1, 7]
    assert_allclose(net.predict(X), np.tanh(X @ W + b), rtol=1e-12)
    V[:, 2] = 0  # which has no direction
    assert_allclose(net.predict(X)[:, 2], np.tanh(b[2]))


def test_spectral_norm_is_a_dense_layer(rng):
    net, X = make([SpectralNorm(Dense(5, "tanh"))]), rng.normal(size=(9, 4))
    (V,), (b,), u, v = net.weights, net.biases, net.layer_state["0.u"], net.layer_state["0.v"]
    assert V.shape == (4, 5) and b.shape == (5,) and u.shape == (4,) and v.shape == (5,)
    assert_allclose(net.predict(X), np.tanh(X @ V / (u @ V @ v) + b), rtol=1e-12)


def test_start(rng):
    """As without normalisation; singular vectors belong to the weights."""
    X = rng.normal(size=(50, 4))
    settings = {"n_inputs": 4, "initializer": "he_normal", "random_state": 0}
    plain = Network([Dense(5, "tanh"), Dense(70), Dense(90)], **settings)
    net = Network([WeightNorm(Dense(5, "tanh")), Dense(70), Dense(90)], **settings)
    for a, b in zip((net.weights[0], *net.weights[2:]), plain.weights, strict=True):
        assert_array_equal(a, b)
    assert_allclose(net.activations(X)["0"].a, plain.activations(X)["0"].a, rtol=1e-12)
    net = Network([SpectralNorm(layer) for layer in plain.layers], **settings)
    for i, V in enumerate(net.weights):
        assert_allclose(net.layer_state[f"{i}.u"] @ V @ net.layer_state[f"{i}.v"], np.linalg.svd(V)[1][0], rtol=1e-6)
    zeros = Network(BOTH, n_inputs=4, initializer="zeros")
    assert_array_equal(zeros.predict(X), 0)
    cost, gradient = zeros.value_and_gradient(X, np.ones((50, 3)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("layers", [
    BOTH,
    [WeightNorm(Sparse(7, 3, "tanh")), WeightNorm(Dense(3, "gelu", mask=np.eye(7, 3, dtype=bool)))],
    [SpectralNorm(Dense(4, "softplus")), Residual([SpectralNorm(Dense(4, "tanh"))]), Dense(3)],
    [layer := Shared(WeightNorm(Dense(4, "tanh"))), layer, Dense(3)],
    [layer := Shared(SpectralNorm(Dense(4, "tanh"))), layer, Dense(3)],
    [Checkpoint([WeightNorm(Dense(4, "tanh")), SpectralNorm(Dense(9, "tanh"))]), Checkpoint([Dense(8)]), Dense(3)],
], ids=["both", "sparse and masked", "residual", "shared", "shared spectral", "made again"])  # fmt: skip
def test_gradients(rng, layers):
    net, (X, y) = make(layers, l2=0.01), problem(rng, 9)
    weight = rng.random(9)
    value, gradient = net.value_and_gradient(X, y, weight, penalty=True)
    free = net.parameters != 0  # of what there is
    differences = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient[free], differences[free]) < 1e-6
    check_hessian(rng, net, X, y) if free.all() else None
    a = net.forward(X)
    share = (weight / weight.sum())[:, None]
    own, input_gradient = net.backward((a - y) * share)
    assert relative_error(own, net.value_and_gradient(X, y, weight)[1]) < 1e-10
    for i in range(4):
        D = np.zeros_like(X)
        D[:, i] = 1e-6
        change = ((net.predict(X + D) - net.predict(X - D)) * (a - y) * share).sum(axis=1) / 2e-6
        assert_allclose(input_gradient[:, i], change, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.01), AdamW(0.01, weight_decay=0.3)], ids=str)
@pytest.mark.parametrize("n_iterations", [1, 3])
def test_steps_by_hand(rng, optimizer, n_iterations):
    """Each begins with the power iteration; then gradients at these u and v."""
    layers = [SpectralNorm(Dense(5, "tanh"), n_iterations), WeightNorm(Dense(3), data_init=False)]
    net, by_hand, (X, y) = make(layers), make(layers), problem(rng, 20)
    w, state = by_hand.parameters, [np.zeros_like(net.parameters) for _ in range(optimizer.n_states)]
    decayed = np.concatenate([np.ones(20), np.zeros(5), np.ones(15), np.zeros(6)])
    V, u, v = by_hand.weights[0], by_hand.layer_state["0.u"], by_hand.layer_state["0.v"]
    for t in range(1, 5):
        for _ in range(n_iterations):
            v[:] = V.T @ u / np.linalg.norm(V.T @ u)
            u[:] = V @ v / np.linalg.norm(V @ v)
        gradient = by_hand.value_and_gradient(X, y)[1]
        w[:] = reference.update(
            optimizer.settings, w.copy(), gradient, state, t, optimizer.learning_rate, 0 * w, 0 * w, decayed
        )
    net.fit(X, y, optimizer=optimizer, epochs=4, batch_size=20)
    assert_allclose(net.parameters, w, rtol=1e-9, atol=1e-12)
    assert_allclose(net.layer_state["0.u"], u, rtol=1e-9)
    assert_allclose(net.layer_state["0.v"], v, rtol=1e-9)


WIDE = [
    WeightNorm(Dense(300, "relu", dropout=0.1)), SpectralNorm(Dense(261, "tanh")), Residual([WeightNorm(Dense(261))]),
    WeightNorm(Sparse(70, 9, "relu")), SpectralNorm(Dense(3)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [Adam(), SAM(SGD(0.01, momentum=0.9, clip_norm=0.5))], ids=["Adam", "SAM"])
def test_same_bits_for_any_number_of_threads(rng, dtype, optimizer):
    X, y, results = rng.normal(size=(700, 130)).astype(dtype), rng.random((700, 3)), []
    for n_threads in (1, 2, 3):
        net = make(WIDE, n_inputs=130, dtype=dtype, l2=0.01)
        for batch_size in (128, 700):  # of which the latter are chunks
            history = net.partial_fit(X, y, optimizer=optimizer, batch_size=batch_size, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, *net.layer_state.values(), history.loss])
        results[-1] += [net.predict(X[:n], n_threads=n_threads) for n in (1, 7, 60, 700)]
        results[-1] += net.value_and_gradient(X, y, n_threads=n_threads)
        results[-1].append(net.forward(X, n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    assert_allclose(net.predict(X[:60]), net.predict(X)[:60], rtol=1e-3, atol=1e-5)


def test_csr_and_zeros(rng):
    """Products with lists of nonzeros; a wide first layer, of which only some rows are touched, is updated whole."""
    X, y = rng.random((60, 20_000)) * (rng.random((60, 20_000)) < 0.002), rng.random((60, 3))
    layers, results = [WeightNorm(Dense(9, "tanh"), data_init=False), SpectralNorm(Dense(3))], []
    for kind in (X, sparse.csr_array(X)):
        net = make(layers, n_inputs=20_000)
        results.append([net.predict(kind), *net.value_and_gradient(kind, y)])
        net.fit(kind, y, optimizer=SGD(0.1), batch_size=20, epochs=2, shuffle=False)
        results[-1].append(net.parameters)
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_starts_from_data(rng):
    X, y = 5 + 3 * rng.normal(size=(200, 4)), rng.random((200, 3))
    layers = [WeightNorm(Dense(50, "relu")), WeightNorm(Dense(20, "tanh")), WeightNorm(Dense(3))]
    net, weight = Network(layers, n_inputs=4, random_state=0), rng.integers(0, 3, 200).astype(float)
    V = net.weights[0].copy()
    net.fit(X, y, sample_weight=weight, optimizer=SGD(1e-12), epochs=1)
    for name in "012":
        a = net.activations(X)[name]
        mean = np.average(a.z, axis=0, weights=weight)
        assert_allclose(mean, 0, atol=1e-8)
        assert_allclose(np.average((a.z - mean) ** 2, axis=0, weights=weight), 1, rtol=1e-8)
    assert_allclose(net.weights[0], V, rtol=1e-7)
    assert net.layer_state["0.n_samples"][0] == np.count_nonzero(weight)
    g = net.weights[1].copy()
    net.fit(X * 7, y, optimizer=SGD(1e-12), epochs=1)  # once only
    assert_allclose(net.weights[1], g, rtol=1e-8)
    net.init_lsuv(X)
    assert all(abs(net.activations(X)[name].z.std() - 1) < 1e-8 for name in "012")
    net.fit(X * 7, y, optimizer=SGD(1e-12), epochs=1)
    assert abs(net.activations(X)["0"].z.std() - 1) < 1e-8
    constant = Network(layers, n_inputs=4, random_state=0)
    constant.partial_fit(np.ones((5, 4)), y[:5], optimizer=SGD(1e-12))  # nothing varies, so nothing is divided
    assert_allclose(constant.weights[1], np.linalg.norm(constant.weights[0], axis=0)[None], rtol=1e-8)
    constant = Network(layers, n_inputs=4, random_state=0)
    constant.partial_fit(X[:1], y[:1], optimizer=SGD(1e-12))
    assert constant.layer_state["0.n_samples"][0] == 0


def test_failed_step_leaves_what_data_would_start(rng):
    net, before = make(), make()
    with pytest.raises(FloatingPointError):
        net.partial_fit(rng.normal(size=(9, 4)), np.full((9, 3), 1e200), optimizer=SGD(1e200))
    assert_array_equal(net.parameters, before.parameters)
    assert all(not values.any() for name, values in net.layer_state.items() if name.endswith(".n_samples"))


def test_singular_value_is_one(rng):
    """While it learns, with steps that the power iteration can follow."""
    X, y = rng.normal(size=(300, 4)), rng.integers(0, 3, 300)
    layers = [SpectralNorm(Dense(20, "relu"), n_iterations=3), SpectralNorm(Dense(3), n_iterations=3)]
    net = Network(layers, n_inputs=4, loss="softmax_cross_entropy", random_state=0)
    net.fit(X, y, optimizer=SGD(0.01), epochs=20, batch_size=50)
    for i, V in enumerate(net.weights):
        u, v = net.layer_state[f"{i}.u"], net.layer_state[f"{i}.v"]
        assert_allclose(np.linalg.svd(V / (u @ V @ v))[1][0], 1, rtol=1e-3)
    rows = rng.normal(size=(2, 500, 4)) * 10
    outputs = net.forward(rows.reshape(1000, 4)).reshape(2, 500, 3)
    ratio = np.linalg.norm(outputs[0] - outputs[1], axis=1) / np.linalg.norm(rows[0] - rows[1], axis=1)
    assert ratio.max() <= 1.003


def test_average_has_vectors_of_its_own(rng):
    X, y = problem(rng, 100)
    net = make([SpectralNorm(Dense(5, "tanh")), Dense(3)])
    net.fit(X, y, optimizer=SGD(0.5), epochs=40, batch_size=10, average=EMA(0.9))
    V, u, v = net.weights[0], net.layer_state["0.u"], net.layer_state["0.v"]
    assert_allclose(u @ V @ v, np.linalg.svd(V)[1][0], rtol=1e-4)


@pytest.mark.parametrize("optimizer", [LBFGS(), Newton()], ids=str)
def test_rules_for_all_rows(rng, optimizer):
    X, y = problem(rng, 30)
    net = Network([WeightNorm(Dense(3, "tanh")), Dense(3)], n_inputs=4, random_state=0)
    assert net.fit(X, y, optimizer=optimizer, epochs=30).loss[-1] < net.fit(X, 1 - y).loss[0]
    with pytest.raises(ValueError, match="makes no steps in which SpectralNorm could follow"):
        make().fit(X, y, optimizer=optimizer)
    for solver in ("lbfgs", optimizer):
        with pytest.raises(ValueError, match=r"SpectralNorm is for the stochastic solvers, got solver=.*'0'"):
            MLPRegressor(hidden_layers=[SpectralNorm(Dense(3))], solver=solver).fit(X, y)


def test_copies(rng, tmp_path):
    X, y = problem(rng, 40)
    net = make()
    net.fit(X, y, optimizer=Adam(0.01), epochs=3)
    net.save(tmp_path / "net.npz")
    for other in (Network.load(tmp_path / "net.npz"), pickle.loads(pickle.dumps(net))):
        assert other.layers == net.layers
        assert_array_equal(other.predict(X), net.predict(X))
        other.fit(X, y, optimizer=Adam(0.01), batch_size=40)
        twin = pickle.loads(pickle.dumps(net))
        twin.fit(X, y, optimizer=Adam(0.01), batch_size=40)
        assert_allclose(other.predict(X), twin.predict(X), rtol=0.1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(rng):
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 3, 200)
    layers = [WeightNorm(Dense(16, "relu")), SpectralNorm(Dense(8, "relu"))]
    clf = MLPClassifier(hidden_layers=layers, early_stopping=True, max_iter=5, random_state=0).fit(X, y)
    assert [W.shape for W in clf.coefs_] == [(4, 16), (1, 16), (16, 8), (8, 3)]
    assert clone(clf).get_params()["hidden_layers__0__layer__n_units"] == 16
    clf.set_params(early_stopping=False).partial_fit(X, y).partial_fit(X[:3], y[:3])
    clf.set_params(hidden_layers__0__layer__n_units=7).fit(X, y)
    assert clf.coefs_[1].shape == (1, 7) and clf.transform(X, layer=0).shape == (200, 7)
    clf.set_params(warm_start=True).fit(X, y)


@pytest.mark.parametrize(("layer", "message"), [
    (lambda: WeightNorm(RBF(3)), "layer must be a Dense or Sparse, got RBF"),
    (lambda: SpectralNorm(Sparse(3, 2)), "layer must be a Dense, got Sparse"),
    (lambda: WeightNorm(Dense(3, max_norm=1.0)), "layer must have max_norm=None, as norms are divided by, got Dense"),
    (lambda: WeightNorm(3), "layer must be a Dense or Sparse, got 3"),
    (lambda: WeightNorm(Dense(3), data_init=1), "data_init must be True or False, got 1"),
    (lambda: SpectralNorm(Dense(3), 0), "n_iterations must be an integer of at least 1"),
])  # fmt: skip
def test_bad_settings(layer, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer()


def test_exported():
    assert {"WeightNorm", "SpectralNorm"} <= set(fastbp.__all__)
