"""The elastic net's penalty."""

import numpy as np
import pytest
from estimator_cases import X_digits, X_iris, classifier, y_digits, y_iris
from sklearn.datasets import make_regression
from sklearn.linear_model import ElasticNet

from fastbp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("weighted", [False, True])
def test_elastic_net_in_a_step(weighted):
    """One full-batch step of plain gradient descent, with and without the penalty."""
    weight = np.linspace(0.5, 2, 150) if weighted else None
    settings = {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1, "max_iter": 1}
    start = classifier(learning_rate_init=1e-300, solver="sgd", max_iter=1).fit(X_iris, y_iris)
    bare = classifier(alpha=0, **settings).fit(X_iris, y_iris, weight)
    net = classifier(alpha=3, l1_ratio=0.3, **settings).fit(X_iris, y_iris, weight)
    S = 150 if weight is None else weight.sum()
    penalty = 0
    for w, plain, penalized in zip(start.coefs_, bare.coefs_, net.coefs_, strict=True):
        gradient = 3 * (0.3 * np.sign(w) + 0.7 * w) / S
        np.testing.assert_allclose(penalized, plain - 0.1 * gradient, rtol=1e-9, atol=1e-12)
        penalty += 3 * (0.3 * np.abs(w).sum() + 0.35 * (w**2).sum()) / S
    for plain, penalized in zip(bare.intercepts_, net.intercepts_, strict=True):
        np.testing.assert_allclose(penalized, plain, rtol=1e-12)
    np.testing.assert_allclose(net.loss_, bare.loss_ + penalty, rtol=1e-12)


@pytest.mark.parametrize("l1_ratio", [0.2, 1.0])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_elastic_net_by_lbfgs(l1_ratio, n_targets):
    """Without hidden layer it is the convex problem that ElasticNet solves, zeros included."""
    X, y = make_regression(200, 10, n_informative=4, n_targets=n_targets, noise=5, random_state=0)
    y = y / 50
    theirs = ElasticNet(alpha=0.1, l1_ratio=l1_ratio, tol=1e-12, max_iter=10_000).fit(X, y)
    ours = MLPRegressor(
        hidden_layer_sizes=(), solver="lbfgs", alpha=0.1 * 200, l1_ratio=l1_ratio, tol=1e-9,
        random_state=0, max_iter=1000,
    ).fit(X, y)  # fmt: skip
    coef = np.atleast_2d(theirs.coef_).T
    np.testing.assert_allclose(ours.coefs_[0], coef, atol=1e-4)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-4)
    assert (coef == 0).any()
    np.testing.assert_array_equal(ours.coefs_[0] == 0, coef == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_l1_by_lbfgs_selects_inputs(dtype):
    """Pixels of the digits that are always zero get weights of exactly zero, and some others."""
    clf = MLPClassifier(10, solver="lbfgs", alpha=5, l1_ratio=1, max_iter=100, random_state=0)
    clf.fit((X_digits / 16).astype(dtype), y_digits)
    assert clf.coefs_[0].dtype == dtype
    assert (clf.coefs_[0][X_digits.max(axis=0) == 0] == 0).all()
    assert 0.3 < np.mean(clf.coefs_[0] == 0) < 0.95
    assert clf.score(X_digits / 16, y_digits) > 0.9


def test_penalty_spares_biases():
    clf = classifier(solver="lbfgs", alpha=1e6, l1_ratio=1, max_iter=100).fit(X_iris, y_iris > 0)
    assert all((W == 0).all() for W in clf.coefs_)
    np.testing.assert_allclose(clf.predict_proba(X_iris)[:, 1], 2 / 3, rtol=1e-3)
