"""Dense layers of low rank: two products, the initial weights' variance, settings."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import Adam, Dense, LowRank, MLPClassifier, Network, Orthogonal, VarianceScaling
from fastbp.checks import check_in_dtype


def test_it_is_a_dense_layer_with_a_product_of_weights(rng):
    low = Network([LowRank(20, 3, "tanh"), Dense(2)], n_inputs=9, random_state=0)
    full = Network([Dense(20, "tanh"), Dense(2)], n_inputs=9)
    U, V, W = low.weights
    assert U.shape == (9, 3) and V.shape == (3, 20) and low.biases[0] is None and low.biases[1].shape == (20,)
    full.weights[0][:], full.biases[0][:], full.weights[1][:] = U @ V, low.biases[1], W
    full.biases[1][:] = low.biases[2]
    X, y = rng.normal(size=(30, 9)), rng.random((30, 2))
    assert_allclose(low.predict(X), full.predict(X), rtol=1e-12)
    assert_allclose(low.activations(X)["0.reduced"].z, X @ U, rtol=1e-12)
    (cost, gradient), (expected, dense) = (net.value_and_gradient(X, y) for net in (low, full))
    assert_allclose(cost, expected, rtol=1e-12)
    dW = dense[:180].reshape(9, 20)
    assert_allclose(gradient[:27].reshape(9, 3), dW @ V.T, rtol=1e-10)
    assert_allclose(gradient[27:87].reshape(3, 20), U.T @ dW, rtol=1e-10)
    assert_allclose(gradient[87:], dense[180:], rtol=1e-10)


def test_the_same_as_two_layers(rng):
    """Bits, of training with steps for a few rows and for many, from CSR too."""
    X, y = rng.normal(size=(300, 9)) * (rng.random((300, 9)) < 0.5), rng.random((300, 2))
    for batch_size, kind in ((1, np.asarray), (64, np.asarray), (64, sparse.csr_array)):
        ways = [
            Network(layers, n_inputs=9, random_state=0)
            for layers in ([LowRank(20, 3, "tanh"), Dense(2)], [Dense(3), Dense(20, "tanh"), Dense(2)])
        ]
        low, two = ways
        for W, of in zip(two.weights, low.weights, strict=True):
            W[:] = of
        for b, of in zip(two.biases[1:], low.biases[1:], strict=True):
            b[:] = of
        two.biases[0][:] = 0
        assert_array_equal(low.predict(kind(X)), two.predict(kind(X)))
        low.fit(kind(X), y, optimizer=Adam(), batch_size=batch_size, epochs=2)
        assert low.program("train", batch_size=batch_size).online == (batch_size == 1)
        assert np.isfinite(low.parameters).all() and low.program("predict").n_barriers == 0


@pytest.mark.parametrize(
    "initializer",
    ["sklearn", "lecun_normal", "glorot_uniform", "he_normal", VarianceScaling(2, "fan_out"), "orthogonal",
     Orthogonal(2**0.5)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (40, 400)])
def test_the_product_has_the_variance_of_a_dense_layer(initializer, shape):
    n_in, n_out = shape
    dense, *nets = (
        Network([layer], n_inputs=n_in, random_state=0, initializer=initializer)
        for layer in (Dense(n_out), LowRank(n_out, 8), LowRank(n_out, 30, initializer=initializer))
    )
    for net in nets:
        U, V = net.weights
        assert_allclose((U @ V).var(), dense.weights[0].var(), rtol=0.15)
        assert_allclose(U.var(), 1 / n_in, rtol=0.15)
        assert net.biases[1].any() == (initializer == "sklearn")
        bound = np.abs(dense.biases[0]).max()
        assert bound == 0 or 0.9 < np.abs(net.biases[1]).max() / bound < 1.1


def test_a_logistic_layer_starts_as_a_dense_one():
    dense, low = (
        Network([layer, Dense(2)], n_inputs=300, random_state=0)
        for layer in (Dense(200, "logistic"), LowRank(200, 20, "logistic"))
    )
    assert_allclose((low.weights[0] @ low.weights[1]).var(), dense.weights[0].var(), rtol=0.15)


def test_lsuv(rng):
    net = Network([LowRank(40, 5, "relu"), Dense(2)], n_inputs=30, random_state=0)
    X = rng.normal(size=(500, 30))
    net.init_lsuv(X)
    for z, _ in net.activations(X).values():
        assert_allclose(z.var(), 1)


def test_estimators(rng):
    X = rng.normal(size=(200, 10))
    y = (X[:, 0] > 0).astype(int)
    clf = MLPClassifier(hidden_layers=[LowRank(32, 2, "relu")], solver="lbfgs", random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert [W.shape for W in clf.coefs_] == [(10, 2), (2, 32), (32, 1)]
    clf.set_params(hidden_layers__0__rank=3).fit(X, y)
    assert clf.coefs_[0].shape == (10, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be an integer of at least 1"),
        ({"n_units": 0}, "n_units must be an integer of at least 1"),
        ({"activation": "tan"}, "activation must be one of"),
        ({"l1": -1}, "l1 must be a number in"),
        ({"l2": "1"}, "l2 must be a number in"),
        ({"dropout": 1}, "dropout must be a number in"),
        ({"initializer": "he"}, "initializer must be one of"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        LowRank(**{"n_units": 3, "rank": 2, **settings})
    with pytest.raises(ValueError, match="is not for a network's dtype float32"):
        check_in_dtype(np.dtype("float32"), layers=(LowRank(3, 2, l2=1e300),))
