"""Costs with several outputs for a target, fixed logits, histograms."""

import numpy as np
import pytest
import reference
from network_cases import central_differences, expected_gradient, make, relative_error
from numpy.testing import assert_allclose, assert_array_equal

import fastbp
from fastbp import SGD, Adam, Dense, HistogramLoss, Network, Quantile, SoftmaxCrossEntropy


@pytest.mark.parametrize("loss", ["gaussian", Quantile([0.1, 0.5, 0.9]), Quantile([0.3])])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_costs_with_several_outputs_for_a_target(rng, loss, n_targets):
    n_out = n_targets * (2 if loss == "gaussian" else len(loss.levels))
    net = make([4, 6, n_out], loss=loss)
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, n_targets))
    cost, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(cost, expected[0], rtol=1e-12)
    assert relative_error(gradient, expected[1]) < 1e-12
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    with pytest.raises(ValueError, match=rf"y must have shape \(9, {n_targets}\)"):
        net.fit(X, np.ones((9, n_targets + 1)))


def test_quantiles_and_variance_are_those_of_the_data(rng):
    y = rng.normal(3, 2, size=4001)
    X = np.zeros((4001, 1))
    settings = {"optimizer": fastbp.LBFGS(gtol=1e-10, ftol=0), "epochs": 300}
    net = Network([Dense(2)], n_inputs=1, loss="gaussian", initializer="zeros")
    net.fit(X, y, **settings)
    assert_allclose(net.predict(X[:1])[0], [y.mean(), np.log(y.var())], rtol=1e-6)
    net = Network([Dense(3)], n_inputs=1, loss=Quantile([0.1, 0.5, 0.9]), initializer="zeros")
    net.fit(X, y, optimizer=SGD(fastbp.Exponential(2, 0.99, per="step")), epochs=400, batch_size=4001)
    assert_allclose(net.predict(X[:1])[0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.05)


def test_fixed_logit_of_two_classes_is_logistic_regression(rng):
    X, y = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    two = make([4, 2], loss=SoftmaxCrossEntropy(fixed_logit=True))
    one = make([4, 1], loss="cross_entropy")
    one.weights[0][:], one.biases[0][:] = two.weights[0][:, :1], two.biases[0][:1]
    cost, gradient = two.value_and_gradient(X, y)
    expected, expected_gradient = one.value_and_gradient(X, 1 - y)
    assert_allclose(cost, expected)
    assert_allclose(gradient[[0, 2, 4, 6, 8]], expected_gradient)
    assert_array_equal(gradient[1::2], 0)
    assert_allclose(two.predict(X)[:, :1], one.predict(X))


def test_histogram_loss(rng):
    """Means of smoothed targets are the targets, up to the bins' width; outputs are trained as by the cross-entropy."""
    edges = np.linspace(-3, 3, 61)
    for sigma in (0.0, 0.1):
        loss = HistogramLoss(edges, sigma)
        y = rng.uniform(-2, 2, 50)
        target = loss.targets(y) if sigma else reference.one_hot(loss.targets(y), 60)
        assert_allclose(loss.means(target).ravel(), y, atol=1e-3 if sigma else 0.05)
        net, plain = make([3, 8, 60], loss=loss), make([3, 8, 60], loss="softmax_cross_entropy")
        X = rng.normal(size=(50, 3))
        for a, b in zip(net.value_and_gradient(X, y), plain.value_and_gradient(X, target), strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-14)
        out = np.empty((50, 1))
        assert net.predict(X, out=out) is out
        assert_allclose(out, loss.means(plain.predict(X)))
        with pytest.raises(ValueError, match="y must lie between the outer edges -3.0 and 3.0"):
            net.fit(X, y * 2)
    X = rng.uniform(-1, 1, size=(400, 1))
    net = make([1, 30, 60], loss=HistogramLoss(edges, 0.1))
    net.fit(X, np.sin(3 * X[:, 0]), optimizer=Adam(0.01), epochs=150)
    assert np.abs(net.predict(X) - np.sin(3 * X)).mean() < 0.05
