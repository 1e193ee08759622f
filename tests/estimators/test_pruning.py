"""Pruning while estimators train."""

import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits

from fastbp import SWA, MLPClassifier, MLPRegressor, Prune

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def sparsities(mlp):
    return [float((W == 0).mean()) for W in mlp.coefs_]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_are_pruned(digits, early_stopping):
    clf = MLPClassifier(
        40, prune=Prune(0.8, end=20), max_iter=40, learning_rate_init=0.01, early_stopping=early_stopping,
        n_iter_no_change=2, random_state=0,
    ).fit(*digits)
    np.testing.assert_allclose(sparsities(clf), 0.8, atol=0.01)
    assert clf.n_iter_ > 20  # however little the loss changes
    assert clf.score(*digits) > 0.9
    for other in (pickle.loads(pickle.dumps(clf)), clone(clf).fit(*digits)):
        assert_array_equal(other.predict_proba(digits[0]), clf.predict_proba(digits[0]))
    clf.set_params(early_stopping=False)
    for _ in range(2):
        clf.partial_fit(*digits)
    np.testing.assert_allclose(sparsities(clf), 0.8, atol=0.01)


def test_only_pruned_networks_are_the_best(digits):
    """The best score and loss are those of epochs after the last pruning."""
    X, y = digits
    clf = MLPClassifier(20, prune=Prune(0.97, end=8), max_iter=14, early_stopping=True, random_state=0).fit(X, y)
    assert clf.best_validation_score_ == max(clf.validation_scores_[9:]) < max(clf.validation_scores_)
    np.testing.assert_allclose(sparsities(clf), 0.97, atol=0.01)
    clf = MLPClassifier(20, prune=Prune(0.97, end=8), max_iter=14, random_state=0).fit(X, y)
    assert clf.best_loss_ == min(clf.loss_curve_[8:]) > min(clf.loss_curve_)


def test_steps_and_partial_fit(digits):
    X, y = digits
    prune = Prune(0.5, begin=4, end=12, every=2, per="step")
    reg = MLPRegressor(hidden_layer_sizes=20, prune=prune, batch_size=100, random_state=0)
    shares = []
    for _ in range(2):
        reg.partial_fit(X[:800], y[:800])
        shares.append(sparsities(reg)[0])
    assert 0 < shares[0] < shares[1] and abs(shares[1] - 0.5) < 0.01


def test_error_leaves_the_weights(digits):
    X, y = digits
    clf = MLPClassifier(20, max_iter=3, random_state=0, solver="sgd").fit(X, y)
    before = [W.copy() for W in clf.coefs_]
    clf.set_params(prune=Prune(0.9, end=0), learning_rate_init=1e38)
    with pytest.raises(ValueError, match="finite"):
        clf.partial_fit(X * 1e30, y)
    for a, b in zip(clf.coefs_, before, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize(("settings", "message"), [
    ({"prune": 0.5}, "The 'prune' parameter of MLPClassifier must be"),
    ({"prune": Prune(0.5, end=30), "max_iter": 30}, "prune must end before training does, which has 30 epochs"),
    ({"prune": Prune(0.5), "solver": "lbfgs"}, "prune must be None, it needs a stochastic solver"),
    ({"prune": Prune(0.5, per="step"), "average": SWA(3)}, "prune must have per='epoch' with a SWA"),
])  # fmt: skip
def test_bad_settings(digits, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MLPClassifier(5, **settings).fit(*digits)
