"""The laws that the notes state, each through the public interface, and the code in docs/notes.md.

The notes are five documents, 000 to 004. Where they err, standard mathematics is tested, and the docstring says so.
"""

import inspect
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator

import fastbp
from fastbp import (
    LBFGS,
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dense,
    GroupNorm,
    LayerNorm,
    MLPClassifier,
    Network,
    Newton,
    VarianceScaling,
    Whitening,
)

XOR = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def quadratic(rng, eigenvalues, rotated=True):
    """Data (X, y) and w* for which a linear unit's cost is ``1/2 (w - w*)^T H (w - w*)`` plus a constant.

    ``H = X^T X / n`` has these eigenvalues, and is diagonal unless it is rotated. All columns and y have mean 0: the
    bias has an eigenvalue of its own, 1, and stays where it is once it is 0.
    """
    n, p = 60, len(eigenvalues)
    Z = rng.normal(size=(n, p + 1))
    Z, _ = np.linalg.qr(Z - Z.mean(axis=0))
    X = np.sqrt(n * np.array(eigenvalues)) * Z[:, :p]
    if rotated:
        X = X @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    w = rng.uniform(0.5, 2, p) * rng.choice([-1, 1], p)
    return X, X @ w + np.sqrt(n) * Z[:, p], w


def linear_unit(p, **settings):
    return Network([Dense(1)], n_inputs=p, initializer="zeros", **settings)


def weights_after(steps, X, y, optimizer, **settings):
    """Weights of a linear unit after so many steps on all rows, from 0."""
    net = linear_unit(X.shape[1], **settings)
    net.fit(X, y, optimizer=optimizer, epochs=steps, batch_size=len(X) if isinstance(optimizer, SGD) else None)
    return net.weights[0][:, 0]


# ---- gradient descent and its kin -----------------------------------------------------------------------------------


def test_a_small_step_lowers_the_cost_by_eta_times_the_squared_gradient(rng):
    """Notes 001: ``Delta C ~ -eta |grad C|^2``. That it always falls holds for small eta only, see the next test."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    net = Network([Dense(5, "sigmoid"), Dense(2)], n_inputs=3, random_state=0)
    before, gradient = net.value_and_gradient(X, y)
    net.step(gradient, SGD(1e-6))
    assert_allclose(before - net.value_and_gradient(X, y)[0], 1e-6 * gradient @ gradient, rtol=1e-4)


def test_gradient_descent_converges_below_two_over_the_largest_eigenvalue(rng):
    """Notes 003 (convergence): the best rate for one dimension is 1 / lambda; more than twice that is too much for any.

    At twice the best rate it does not diverge, as the notes have it, but oscillates.
    """
    X, y, w = quadratic(rng, [4, 2, 0.5])
    H = linear_unit(3).hessian(X, y)
    assert_allclose(np.linalg.eigvalsh(H), [0.5, 1, 2, 4])
    assert_allclose(weights_after(1500, X, y, SGD(0.99 * 2 / 4)), w, rtol=1e-9)
    assert np.abs(weights_after(1500, X, y, SGD(1.01 * 2 / 4))).max() > 1e9

    X, y, w = quadratic(rng, [5])
    assert_allclose(weights_after(1, X, y, SGD(1 / 5)), w)
    assert_allclose([weights_after(steps, X, y, SGD(2 / 5)) for steps in (1, 2, 99)], [2 * w, 0 * w, 2 * w], atol=1e-9)


def test_large_condition_numbers_are_slow_and_momentum_helps(rng):
    """Notes 003. It is a large condition number that is bad, as the remark there suspects, not a small one.

    With the best rates for eigenvalues from l to L, ``k = L / l``, the error falls by ``(k - 1) / (k + 1)`` a step, and
    with momentum by ``(sqrt(k) - 1) / (sqrt(k) + 1)`` (B. Polyak, 1964).
    """
    errors = {}
    for k in (10, 1000):
        X, y, w = quadratic(rng, [1, 0.1, 1 / k])
        root = np.sqrt(k)
        rules = {
            "plain": SGD(2 / (1 + 1 / k)),
            "momentum": SGD(4 / (1 + 1 / root) ** 2, momentum=((root - 1) / (root + 1)) ** 2),
            "nesterov": SGD(1, momentum=(root - 1) / (root + 1), nesterov=True),
        }
        for name, rule in rules.items():
            errors[name, k] = np.linalg.norm(weights_after(400, X, y, rule) - w)
    assert errors["plain", 10] < 1e-9
    assert errors["plain", 1000] > 0.1
    assert errors["momentum", 1000] < 1e-6
    assert errors["nesterov", 1000] < 1e-3


def test_newton_needs_one_step_for_a_quadratic_cost(rng):
    """Notes 001 (Hessian technique): ``w' = w - H^-1 grad C``; the minus sign is missing before, in ``Delta w``."""
    X, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    for l2 in (0, 0.1):
        net = Network([Dense(2)], n_inputs=4, l2=l2, random_state=0)
        expected = net.parameters - np.linalg.solve(
            net.hessian(X, y, penalty=True), net.value_and_gradient(X, y, penalty=True)[1]
        )
        history = net.fit(X, y, optimizer=Newton(damping=0), epochs=10)
        assert len(history.loss) == 2  # the second finds nothing more to do
        assert_allclose(net.parameters, expected)
        assert np.abs(net.value_and_gradient(X, y, penalty=True)[1]).max() < 1e-14
    collinear = Network([Dense(2)], n_inputs=8, random_state=0)
    collinear.fit(np.hstack([X, X]), y, optimizer=Newton(damping=0), epochs=1)
    assert np.abs(collinear.value_and_gradient(np.hstack([X, X]), y)[1]).max() < 1e-12


def test_gradient_descent_sometimes_ends_in_a_local_minimum():
    """Notes 002. XOR with two ReLU units: some starts lead to a cost of 0, others to a place above that is flat too."""
    ends = []
    for seed in range(4, 8):
        net = Network([Dense(2, "relu"), Dense(1)], n_inputs=2, random_state=seed)
        net.fit(*XOR, optimizer=SGD(0.1, momentum=0.9), epochs=400, batch_size=4)
        cost, gradient = net.value_and_gradient(*XOR)
        assert np.abs(gradient).max() < 1e-6
        ends.append(cost)
    assert min(ends) < 1e-12
    assert max(ends) > 0.05


# ---- backpropagation ------------------------------------------------------------------------------------------------


def test_backpropagation_is_the_sum_over_paths_of_products_of_edge_derivatives(rng):
    """Notes 001 (the big picture) and 004: ``dC/dw`` is the sum over all paths from w to C."""
    net = Network([Dense(3, "tanh"), Dense(4, "sigmoid"), Dense(2, "tanh")], n_inputs=2, random_state=0)
    x, y = rng.normal(size=2), rng.normal(size=2)
    activations, slopes = [x], []
    for W, b, f in zip(net.weights, net.biases, (np.tanh, sigmoid, np.tanh), strict=True):
        a = f(activations[-1] @ W + b)
        activations.append(a)
        slopes.append(a * (1 - a) if f is sigmoid else 1 - a**2)
    # edges[l][j, q] = da_q^(l+1) / da_j^l
    edges = [W * slope for W, slope in zip(net.weights[1:], slopes[1:], strict=True)]
    expected = np.zeros((2, 3))
    for k, j in np.ndindex(2, 3):
        for q, m in itertools.product(range(4), range(2)):
            path = (activations[-1][m] - y[m]) * edges[1][q, m] * edges[0][j, q] * slopes[0][j] * x[k]
            expected[k, j] += path
    _, gradient = net.value_and_gradient(x[None], y[None])
    assert_allclose(gradient[:6].reshape(2, 3), expected, rtol=1e-12)


def test_symmetry_must_be_broken():
    """Notes 000: initialization should be random. From zeros all units of a layer remain equal: XOR can't be learnt."""
    for initializer, learns in (("zeros", False), ("glorot_normal", True)):
        net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=2, random_state=0, initializer=initializer)
        history = net.fit(*XOR, optimizer=SGD(0.3, momentum=0.9), epochs=500, batch_size=4, shuffle=False)
        assert (history.loss[-1] < 1e-3) == learns
        assert (np.ptp(net.weights[0], axis=1) == 0).all() != learns


# ---- XOR ------------------------------------------------------------------------------------------------------------


def test_xor_by_a_linear_unit_is_one_half_everywhere():
    """Notes 004: ``w = 0`` and ``b = 1/2``, and a linear hidden layer changes nothing."""
    net = Network([Dense(1)], n_inputs=2, random_state=0)
    net.fit(*XOR, optimizer=Newton(damping=0), epochs=5)
    assert_allclose(net.parameters, [0, 0, 0.5], atol=1e-14)
    net = Network([Dense(8), Dense(1)], n_inputs=2, random_state=0)
    net.fit(*XOR, optimizer=LBFGS(gtol=1e-12, ftol=0), epochs=200)
    assert_allclose(net.predict(XOR[0]), 0.5, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xor_by_the_weights_of_the_notes(dtype):
    """Notes 004: two ReLU units are enough, and there is no rounding in it."""
    net = Network([Dense(2, "relu"), Dense(1)], n_inputs=2, dtype=dtype)
    net.weights[0][:], net.biases[0][:] = [[1, 1], [1, 1]], [0, -1]
    net.weights[1][:], net.biases[1][:] = [[1], [-2]], 0
    assert_array_equal(net.predict(XOR[0])[:, 0], XOR[1])
    cost, gradient = net.value_and_gradient(*XOR)
    assert cost == 0 and not gradient.any()


def test_training_learns_xor():
    """Notes 004. With more units than are needed, from any start; by the classifier as well."""
    X, y = XOR
    for seed in range(5):
        net = Network([Dense(16, "relu"), Dense(1)], n_inputs=2, random_state=seed)
        net.fit(X, y, optimizer=Adam(0.02), epochs=1000, batch_size=4)
        assert_allclose(net.predict(X)[:, 0], y, atol=1e-3)
        classifier = MLPClassifier((16,), solver="lbfgs", random_state=seed).fit(X, y)
        assert_array_equal(classifier.predict(X), y)


# ---- the perceptron -------------------------------------------------------------------------------------------------


def test_perceptron_learns_what_a_plane_separates(rng):
    """Notes 001 and 003: batches of one are the perceptron's rule, step by step; it ends without a mistake.

    Of mistakes there are ``(R / gamma)^2`` at most, for rows ``(x, 1)`` no longer than R, and gamma their least
    distance from a plane that separates them (A. Novikoff, 1962).
    """
    X = rng.normal(size=(60, 3))
    plane = np.array([1, -2, 0.5, -0.3])
    distance = np.c_[X, np.ones(60)] @ plane / np.linalg.norm(plane)
    X, distance = X[np.abs(distance) > 0.1], distance[np.abs(distance) > 0.1]
    y = (distance > 0) * 1.0
    net, w, b, mistakes = linear_unit(3, loss="perceptron"), np.zeros(3), 0.0, 0
    for _ in range(100):
        history = net.fit(X, y, optimizer=SGD(0.5), batch_size=1, shuffle=False)
        for x, t in zip(X, y, strict=True):
            mistake = t - (x @ w + b > 0)
            w, b, mistakes = w + 0.5 * mistake * x, b + 0.5 * mistake, mistakes + abs(mistake)
        assert_allclose(net.parameters, [*w, b], rtol=1e-12, atol=1e-12)
        if history.loss[0] == 0:
            break
    assert_array_equal(net.predict(X).ravel(), y)
    assert 0 < mistakes <= ((X**2).sum(axis=1) + 1).max() / (distance**2).min()


def test_an_outlier_moves_the_perceptron_and_not_the_sigmoid_network():
    """Notes 003. One row of class 0 beside those of class 1: the perceptron still finds what separates them all."""
    X = np.r_[np.linspace(-1.5, -0.5, 100), np.linspace(0.5, 1.5, 100)][:, None]
    y = np.repeat([0.0, 1], 100)
    X_outlier, y_outlier = np.r_[X, [[0.4]]], np.r_[y, 0]
    line = np.linspace(-1.5, 1.5, 3001)[:, None]

    def boundary(net):
        return line[(net.predict(line)[:, 0] > 0.5).argmax(), 0]

    moves = {}
    for name in ("perceptron", "sigmoid"):
        boundaries = []
        for data in ((X, y), (X_outlier, y_outlier)):
            if name == "perceptron":
                net = linear_unit(1, loss="perceptron")
                net.fit(*data, optimizer=SGD(0.1), epochs=1000, batch_size=1, shuffle=False)
                assert_array_equal(net.predict(data[0])[:, 0], data[1])
            else:
                net = Network([Dense(4, "tanh"), Dense(1, "sigmoid")], n_inputs=1, random_state=0, l2=0.001)
                net.fit(*data, optimizer=LBFGS(), epochs=500)
                assert_array_equal(net.predict(X)[:, 0] > 0.5, y)
            boundaries.append(boundary(net))
        moves[name] = abs(boundaries[1] - boundaries[0])
    assert moves["perceptron"] > 0.4
    assert moves["sigmoid"] < 0.1


# ---- costs and output units -----------------------------------------------------------------------------------------


def test_no_learning_slowdown_with_cross_entropy():
    """Notes 001: for one sigmoid neuron, input 1 and target 0, ``dC/dw`` is ``a`` with cross-entropy, whatever sigma'.

    With the quadratic cost it is ``a sigma'(z)``: the neuron that is more wrong learns more slowly.
    """
    x, y = [[1.0]], [[0.0]]
    quadratic_cost = Network([Dense(1, "sigmoid")], n_inputs=1)
    cross_entropy = Network([Dense(1)], n_inputs=1, loss="cross_entropy")
    outputs, slopes = {}, {}
    for start in ([0.6, 0.9], [2.0, 2.0]):
        a = sigmoid(sum(start))
        for net, slope in ((quadratic_cost, a * a * (1 - a)), (cross_entropy, a)):
            net.parameters[:] = start
            assert_allclose(net.value_and_gradient(x, y)[1], slope, rtol=1e-12)
            slopes[net, start[0]] = slope
            net.fit(x, y, optimizer=SGD(0.15), epochs=100)
            outputs[net, start[0]] = net.predict(x)[0, 0]
    assert slopes[quadratic_cost, 2.0] < slopes[quadratic_cost, 0.6]
    assert slopes[cross_entropy, 2.0] > slopes[cross_entropy, 0.6]
    assert outputs[quadratic_cost, 2.0] > 0.9  # hardly better than at the start
    assert outputs[cross_entropy, 2.0] < 0.1


def test_softmax_learns_the_empirical_frequencies(rng):
    """Notes 004: outputs tend to the share of each class among the rows with the same x.

    What then remains of the cost is the entropy of these shares, for y between 0 and 1 the notes' "binary entropy"
    (001). The sign of ``ln softmax`` is right in 004 and wrong in 001.
    """
    kind, y = rng.integers(0, 3, 300), rng.choice(4, 300, p=[0.1, 0.2, 0.3, 0.4])
    X = np.eye(3)[kind]
    frequencies = np.array([np.bincount(y[kind == i], minlength=4) / (kind == i).sum() for i in range(3)])
    net = Network([Dense(4)], n_inputs=3, loss="softmax_cross_entropy", random_state=0)
    net.fit(X, y, optimizer=LBFGS(gtol=1e-9, ftol=0), epochs=500)
    assert_allclose(net.predict(np.eye(3)), frequencies, atol=1e-7)
    assert_allclose(net.value_and_gradient(X, y)[0], -np.log(frequencies[kind, y]).mean())
    z = net.forward(np.eye(3))
    assert_allclose(np.log(net.predict(np.eye(3))), z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


# ---- regularization -------------------------------------------------------------------------------------------------


def test_l2_shrinks_in_proportion_and_l1_by_a_constant():
    """Notes 000, 001 and 004: without a gradient ``w (1 - eta alpha)`` and ``w - eta alpha sign(w)``; biases stay.

    The factor ``(1 - eta lambda / n)`` that 001 give for L1 as well is wrong. ``alpha |w|^2``, the form of 000, is
    ``l2 = 2 alpha``, and ``lambda / 2n |w|^2``, the form of 001, is ``l2 = lambda / n``.
    """
    w = np.array([3.0, -2, 0.5, 0])
    for penalty, expected in (({"l2": 0.2}, w * 0.9), ({"l1": 0.2}, w - [0.1, -0.1, 0.1, 0])):
        net = linear_unit(4, **penalty)
        net.parameters[:] = [*w, 7]
        net.step(np.zeros(5), SGD(0.5))
        assert_allclose(net.parameters, [*expected, 7])


def test_l2_scales_each_eigenvector_of_the_hessian(rng):
    """Notes 004: ``w = (H + alpha I)^-1 H w*``, by ``lambda / (lambda + alpha)`` along eigenvectors: ridge regression.

    The notes' cost ``|X w - y|^2 + alpha/2 |w|^2`` is least at ``(X^T X + alpha/2 I)^-1 X^T y``, not with ``alpha I``.
    It is 2n times the network's with ``l2 = alpha / 2n``.
    """
    X, y, best = quadratic(rng, [3, 0.5, 0.01])
    n, alpha = len(X), 0.2
    w, H = weights_after(5, X, y, Newton(damping=0), l2=alpha), X.T @ X / n
    assert_allclose(w, np.linalg.solve(H + alpha * np.eye(3), H @ best))
    eigenvalues, U = np.linalg.eigh(H)
    assert_allclose(U.T @ w, eigenvalues / (eigenvalues + alpha) * (U.T @ best))

    w = weights_after(5, X, y, Newton(damping=0), l2=alpha / (2 * n))
    assert_allclose(w, np.linalg.solve(X.T @ X + alpha / 2 * np.eye(3), X.T @ y))


@pytest.mark.parametrize("rule", [LBFGS(gtol=1e-10, ftol=0), SGD(0.3, proximal=True)])
def test_l1_is_a_soft_threshold_where_the_hessian_is_diagonal(rng, rule):
    """Notes 004: ``w_i = sign(w*_i) max(|w*_i| - alpha / h_ii, 0)``; they have ``|w_i|`` in the place of ``|w*_i|``."""
    h = np.array([3, 1, 0.5, 0.2, 0.1])
    X, y, best = quadratic(rng, h, rotated=False)
    expected = np.sign(best) * np.maximum(np.abs(best) - 0.3 / h, 0)
    assert 0 < (expected == 0).sum() < 5
    assert_allclose(weights_after(1000, X, y, rule, l1=0.3), expected, rtol=1e-6)


def test_early_stopping_is_like_l2(rng):
    """Notes 004: tau steps of eps from 0 do what ``alpha = 1 / (tau eps)`` does.

    Along an eigenvector ``1 - (1 - eps lambda)^tau`` of w* is learnt, and ``lambda / (lambda + alpha)`` is left by L2.
    The two agree to first order for ``lambda`` far below alpha and far above. Between they differ by 0.2036 at most in
    the limit of many small steps, the largest value of ``1 - exp(-x) - x / (1 + x)``; by 1/2 after one step of
    ``eps = 1 / lambda``.
    """
    eps, tau = 0.01, 500
    eigenvalues = np.array([0.001, 0.01, 0.1, 0.3, 0.5, 1, 20])
    X, y, best = quadratic(rng, eigenvalues, rotated=False)
    stopped = weights_after(tau, X, y, SGD(eps)) / best
    penalized = weights_after(5, X, y, Newton(damping=0), l2=1 / (tau * eps)) / best
    assert_allclose(stopped, 1 - (1 - eps * eigenvalues) ** tau)
    assert_allclose(stopped[:2], penalized[:2], rtol=0.03)
    assert_allclose(stopped[-1], penalized[-1], rtol=0.02)
    assert 0.19 < np.abs(stopped - penalized).max() < 0.21
    assert (np.diff(stopped) > 0).all() and (np.diff(penalized) > 0).all()

    X, y, best = quadratic(rng, [2], rotated=False)
    difference = weights_after(1, X, y, SGD(1 / 2)) - weights_after(5, X, y, Newton(damping=0), l2=2)
    assert_allclose(difference / best, 1 / 2)


# ---- variances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "right", "wrong"),
    [
        ("identity", "lecun_normal", VarianceScaling(0.5)),
        ("identity", "glorot_uniform", VarianceScaling(2.0)),
        ("relu", "he_normal", "lecun_normal"),
        ("relu", VarianceScaling(2.0, "fan_out"), VarianceScaling(4.0, "fan_out")),
    ],
)
def test_variance_through_twenty_layers(rng, activation, right, wrong):
    """Notes 000 and 003: kept by ``1 / fan`` for linear units and ``2 / fan`` for ReLU, forwards and backwards.

    With the factor wrong by 2 it has changed by ``2^20`` in the end.
    """
    X, dz = rng.normal(size=(20, 300)), rng.normal(size=(20, 300))
    for initializer in (right, wrong):
        net = Network(
            [*[Dense(300, activation)] * 19, Dense(300)], n_inputs=300, random_state=0, initializer=initializer
        )
        out = net.forward(X)
        ratios = np.array([(out**2).mean(), (net.backward(dz)[1] ** 2).mean()])
        if initializer is right:
            assert (0.2 < ratios).all() and (ratios < 5).all(), ratios
        else:
            assert (np.abs(np.log2(ratios)) > 15).all(), ratios


def test_dynamical_isometry(rng):
    """Notes 003: orthogonal weights make all singular values of the input-output Jacobian 1, but not below ReLU."""
    spread = {}
    for activation, initializer in itertools.product(("identity", "relu"), ("orthogonal", "lecun_normal")):
        net = Network([Dense(50, activation)] * 10, n_inputs=50, random_state=0, initializer=initializer)
        net.forward(np.tile(rng.normal(size=50), (50, 1)))
        spread[activation, initializer] = np.linalg.svd(net.backward(np.eye(50))[1])[1]
    assert_allclose(spread["identity", "orthogonal"], 1)
    for key in (("identity", "lecun_normal"), ("relu", "orthogonal"), ("relu", "lecun_normal")):
        assert spread[key].min() < 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["pca", "zca", "cholesky"])
def test_whitened_data_have_identity_covariance(rng, method, dtype):
    """Notes 000; and with it the Hessian of a linear unit has condition number 1 (003, normalization)."""
    X = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + 10 * rng.normal(size=5)
    X = X.astype(dtype)
    Z, tolerance = Whitening(method).fit_transform(X), 2e-5 if dtype == "float32" else 1e-12
    assert_allclose(Z.mean(axis=0), 0, atol=tolerance)
    assert_allclose(np.cov(Z.T), np.eye(5), atol=tolerance)
    net, y = linear_unit(5), np.zeros(200)
    assert np.linalg.cond(net.hessian(X, y)) > 100
    assert_allclose(np.linalg.cond(net.hessian(Z, y)), 200 / 199, rtol=1e-4)


# ---- docs/notes.md --------------------------------------------------------------------------------------------------


# ---- normalization --------------------------------------------------------------------------------------------------


def test_normalized_preactivations_have_mean_0_and_variance_1(rng):
    """Of each column over the rows of a batch, each row, or each group of columns in a row."""
    X, y = rng.normal(size=(50, 3)) * [1, 100, 0.01] + [5, 0, 9], rng.normal(size=50)
    net = Network([Dense(6), BatchNorm(momentum=1.0, affine=False), Dense(1)], n_inputs=3, random_state=0)
    net.fit(X, y, optimizer=SGD(1e-12), batch_size=50)  # its layer has the batch's statistics then
    z = net.activations(X)["1"].z
    assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    assert_allclose(z.var(axis=0, ddof=1), 1, atol=1e-4)
    for layer, groups in ((LayerNorm(1e-12, affine=False), 1), (GroupNorm(2, 1e-12, affine=False), 2)):
        net = Network([Dense(6), layer, Dense(1)], n_inputs=3, random_state=0)
        z = net.activations(X)["1"].z.reshape(50, groups, -1)
        assert_allclose(z.mean(axis=2), 0, atol=1e-9)
        assert_allclose(z.var(axis=2), 1, atol=1e-9)


def test_batch_normalization_does_not_see_the_scale_of_the_weights_before_it(rng):
    """Nor a bias. The gradient is divided by what the weights were multiplied by, and is at right angles to them: the
    larger weights are, the smaller are their steps."""
    X, y, c = rng.normal(size=(40, 5)), rng.normal(size=40), 8.0
    layers = [Dense(4), BatchNorm(epsilon=1e-12), Activation("tanh"), Dense(1)]
    net = Network(layers, n_inputs=5, random_state=0)

    def cost_and_gradients():
        cost, gradient = net.value_and_gradient(X, y, batch_statistics=True)
        return cost, gradient[:20].reshape(5, 4), gradient[20:24]

    cost, dW, db = cost_and_gradients()
    assert_allclose((dW * net.weights[0]).sum(axis=0), 0, atol=1e-9)
    assert_allclose(db, 0, atol=1e-12)
    net.weights[0][:] *= c
    net.biases[0][:] += 3
    scaled = cost_and_gradients()
    assert_allclose(scaled[0], cost, rtol=1e-9)
    assert_allclose(scaled[1], dW / c, rtol=1e-6, atol=1e-12)


def test_normalization_reduces_the_condition_number_of_the_hessian(rng):
    """Notes 003: "this is a pre-conditioning technique that can reduce the condition number of the Hessian matrix"."""
    X, y = rng.normal(size=(200, 4)) * [1, 30, 0.03, 1] + [0, 0, 0, 10], rng.normal(size=200)

    def condition_number(layers):
        H = Network(layers, n_inputs=4, random_state=0).hessian(X, y, batch_statistics=True)
        return np.linalg.cond(H)

    assert condition_number([Dense(1)]) > 1e5
    assert condition_number([BatchNorm(affine=False), Dense(1)]) < 3


def test_code_in_the_tables_of_terms_runs():
    """Names, expressions, and keywords alone: whichever of Network, Dense and Network.fit knows one must take it."""
    root, (X, y) = Path(__file__).parents[2], XOR
    net = Network([Dense(3, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    takes = {
        Network: lambda **setting: Network([Dense(2)], n_inputs=2, **setting),
        Dense: lambda **setting: Dense(2, **setting),
        net.fit: lambda **setting: net.fit(X, y, **setting),
    }
    names = vars(fastbp) | {
        "np": np, "net": net, "X": X, "y": y, "dz": np.ones((4, 1)), "v": np.ones_like(net.parameters),
        "alpha": 0.1, "lam": 0.1, "n": 4,
    }  # fmt: skip
    tables = (root / "docs" / "notes.md").read_text(encoding="utf-8").partition("## Where the notes err")[0]
    code = [part for line in re.findall(r"^\|.*\|(.*)\|$", tables, re.M) for part in re.findall("`(.+?)`", line)]
    assert len(code) > 100
    for part in code:
        if part.endswith(".py"):
            assert (root / part).is_file()
        elif re.match(r"\w+=", part):
            setting = eval(f"dict({part})", dict(names))
            takers = [take for f, take in takes.items() if setting.keys() <= inspect.signature(f).parameters.keys()]
            assert takers, part
            for take in takers:
                take(**setting)
        else:
            net.forward(X)
            value = eval(part, dict(names))
            if isinstance(value, BaseEstimator):  # settings are looked at by `fit` alone
                value._validate_params()
