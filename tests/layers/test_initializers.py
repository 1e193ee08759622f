"""Initial weights: variances, orthogonality, unit variance through the layers, files."""

import copy
import io
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.utils import check_random_state

from fastbp import SGD, Dense, Network, Orthogonal, VarianceScaling

VARIANCES = {  # of weights (300, 200)
    "lecun_normal": 1 / 300, "lecun_uniform": 1 / 300,
    "glorot_normal": 2 / 500, "glorot_uniform": 2 / 500,
    "he_normal": 2 / 300, "he_uniform": 2 / 300,
    VarianceScaling(2, "fan_out"): 2 / 200,
    VarianceScaling(2, "fan_out", "uniform"): 2 / 200,
}  # fmt: skip


def weights(initializer, n_in=300, n_out=200, **settings):
    net = Network([Dense(n_out)], n_inputs=n_in, random_state=0, initializer=initializer, **settings)
    assert not net.biases[0].any()
    return net.weights[0]


@pytest.mark.parametrize("initializer", VARIANCES)
def test_variances(initializer):
    """60,000 draws: standard errors of 0.004 deviations and, for normal weights, of 0.6% of the variance."""
    W, variance = weights(initializer), VARIANCES[initializer]
    assert abs(W.mean()) < 0.02 * np.sqrt(variance)
    assert_allclose(W.var(), variance, rtol=0.03)
    kurtosis = (W**4).mean() / variance**2
    if "uniform" in str(initializer):
        assert_allclose(np.abs(W).max(), np.sqrt(3 * variance), rtol=1e-3)
        assert_allclose(kurtosis, 9 / 5, rtol=0.05)
    else:
        assert_allclose(kurtosis, 3, rtol=0.1)


@pytest.mark.parametrize("shape", [(50, 30), (30, 50), (40, 40), (1, 5), (5, 1)])
@pytest.mark.parametrize("initializer", ["orthogonal", Orthogonal(gain=2**0.5)])
def test_orthogonal(shape, initializer):
    W, square = weights(initializer, *shape), 1 if initializer == "orthogonal" else 2
    small = W.T @ W if shape[0] >= shape[1] else W @ W.T
    assert_allclose(small, square * np.eye(min(shape)), atol=1e-12)
    assert_allclose(np.linalg.svd(W)[1], square**0.5)


def test_orthogonal_matrices_are_drawn_uniformly():
    """The trace of a uniformly distributed orthogonal matrix has mean 0 and variance 1."""
    random_state = check_random_state(0)
    traces = [np.trace(Orthogonal().draw(random_state, (4, 4))) for _ in range(2000)]
    assert abs(np.mean(traces)) < 0.1
    assert abs(np.var(traces) - 1) < 0.15


def test_default_is_scikit_learns():
    """Weights then biases, layer by layer; logistic hidden units narrow the range."""
    for activation, factor in (("tanh", 6), ("logistic", 2)):
        draws = check_random_state(3)
        layers = [Dense(6, activation), Dense(2)]
        net = Network(layers, n_inputs=5, random_state=3)
        for W, b in zip(net.weights, net.biases, strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            assert_array_equal(W, draws.uniform(-bound, bound, W.shape))
            assert_array_equal(b, draws.uniform(-bound, bound, b.shape))


def test_layers_have_their_own():
    net = Network(
        [Dense(20, initializer="zeros"), Dense(20), Dense(5, initializer=Orthogonal(3))], n_inputs=20, dtype="float32",
        initializer="orthogonal", random_state=0,
    )  # fmt: skip
    assert not net.weights[0].any()
    assert_allclose(net.weights[1].T @ net.weights[1], np.eye(20), atol=1e-6)
    assert_allclose(net.weights[2].T @ net.weights[2], 9 * np.eye(5), atol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lsuv(rng, activation, dtype):
    X = 5 * rng.normal(size=(200, 30)) + 3
    net = Network([*[Dense(40, activation)] * 6, Dense(7)], n_inputs=30, dtype=dtype, random_state=0)
    net.init_lsuv(X)
    for depth in range(7):
        layers = [*net.layers[:depth], Dense(net.layers[depth].n_units)]  # its output is z
        part = Network(layers, n_inputs=30, dtype=dtype)
        part.parameters[:] = net.parameters[: part.parameters.size]
        assert_allclose(part.predict(X).var(dtype=float), 1, rtol=1e-5 if dtype == "float32" else 1e-12)
        W = net.weights[depth].astype(float)
        small = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
        assert_allclose(small, small[0, 0] * np.eye(len(small)), atol=1e-5 * small[0, 0])
    assert not any(b.any() for b in net.biases)
    again = Network(net.layers, n_inputs=30, dtype=dtype, random_state=0)
    again.init_lsuv(sparse.csr_array(X))
    assert_allclose(again.parameters, net.parameters, rtol=1e-3 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((5, 3)), "X must make every z vary; its variance is 0.0 in layer 0"),
        (np.zeros((5, 2)), "X must have shape"),
        (np.full((5, 3), np.nan), "Input X contains NaN"),
        (np.ones((0, 3)), "X must have at least one row"),
    ],
)
def test_bad_data_for_lsuv(X, message):
    net = Network([Dense(4), Dense(2)], n_inputs=3, random_state=0)
    net.fit(np.ones((4, 3)), np.ones((4, 2)), optimizer=SGD(momentum=0.5))
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match=message):
        net.init_lsuv(X)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(3, initializer="he"), "initializer must be one of .*'he_normal'.*, got 'he'"),
        (lambda: Network([Dense(3)], n_inputs=2, initializer=None), "initializer must be one of .*got None"),
        (lambda: Network([Dense(3)], n_inputs=2, initializer=[]), r"initializer must be one of .*got \[\]"),
        (lambda: Orthogonal(gain=0), "gain must be a number in"),
        (lambda: VarianceScaling(-1), "scale must be a number in"),
        (lambda: VarianceScaling(mode="fan"), "mode must be one of"),
        (lambda: VarianceScaling(distribution="cauchy"), "distribution must be"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_files_and_copies():
    net = Network(
        [Dense(6, "relu", initializer=Orthogonal(2**0.5)), Dense(5, initializer="zeros"), Dense(2)], n_inputs=4,
        initializer=VarianceScaling(2, "fan_out", "uniform"), random_state=0,
    )  # fmt: skip
    assert "initializer=Orthogonal(gain=1.414" in repr(net)
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    for again in (Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.layers == net.layers
        assert again.initializer == net.initializer
        assert repr(again) == repr(net)
        assert_array_equal(again.parameters, net.parameters)


@pytest.mark.parametrize("initializer", [{"Network": {}}, {"eval": {"source": "1"}}, {}, {"Orthogonal": {"x": 1}}, 3])
def test_files_name_no_other_classes(initializer):
    net = Network([Dense(2)], n_inputs=2)
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    with np.load(stream) as archive:
        settings = json.loads(str(archive["settings"]))
    settings["layers"][0]["initializer"] = initializer
    stream = io.BytesIO()
    np.savez(stream, settings=np.array(json.dumps(settings)), parameters=net.parameters)
    stream.seek(0)
    with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
        Network.load(stream)
