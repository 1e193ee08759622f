"""Losses of classifiers."""

import pickle

import numpy as np
import pytest
from estimator_cases import (
    X_iris,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    names_iris,
    parameters_in_order,
    y_iris,
)
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_sample_weight

from fastbp import LBFGS, Dense, Network, Rprop, SoftmaxCrossEntropy
from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMOOTHED = SoftmaxCrossEntropy(label_smoothing=0.2)
CLASSIFIER_LOSSES = ["log_loss", "cross_entropy", "squared_error", SMOOTHED, SoftmaxCrossEntropy(fixed_logit=True)]
LABELS = {"binary": y_iris > 0, "multiclass": names_iris, "multilabel": (X_iris > 0).astype(int)}


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", Rprop()], ids=str)
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("loss", CLASSIFIER_LOSSES, ids=str)
def test_losses_of_classifiers(loss, kind, solver):
    """Each is a network with this cost, these outputs and these targets; probabilities are as documented."""
    y = LABELS[kind]
    clf = classifier(
        loss=loss, solver=solver, alpha=0, learning_rate_init=0.02, max_iter=100, batch_size=150, shuffle=False,
        activation="tanh",
    )  # fmt: skip
    softmax = isinstance(loss, SoftmaxCrossEntropy) or (loss, kind) == ("log_loss", "multiclass")
    if isinstance(loss, SoftmaxCrossEntropy) and kind == "multilabel":
        clf.set_params(loss="log_loss").fit(X_iris, y).set_params(loss=loss)
        assert_unharmed(clf, lambda: clf.fit(X_iris, y), "needs y with one class for each row, got multilabel y")
        return
    clf.fit(X_iris, y)
    targets = y
    if kind != "multilabel":
        targets = np.eye(len(clf.classes_))[np.unique(y, return_inverse=True)[1]]
        targets = targets[:, 1:] if kind == "binary" and not softmax else targets
    n = targets.shape[1]
    assert clf.n_outputs_ == n and clf.out_activation_ == ("softmax" if softmax else "logistic")
    cost = loss if isinstance(loss, SoftmaxCrossEntropy) or loss == "squared_error" else (
        "softmax_cross_entropy" if softmax else "cross_entropy"
    )
    unit = "logistic" if loss == "squared_error" else "identity"
    net = Network([Dense(8, "tanh"), Dense(n, unit)], n_inputs=4, loss=cost, random_state=0)
    start, _ = net.value_and_gradient(X_iris, targets)
    if solver != "lbfgs":
        np.testing.assert_allclose(clf.loss_curve_[0], start)
    net.parameters[:] = parameters_in_order(clf)
    end, _ = net.value_and_gradient(X_iris, targets)
    assert end < 0.8 * start
    if solver == "lbfgs":
        np.testing.assert_allclose(clf.loss_, end)
    outputs = net.predict(X_iris)
    expected = {
        "binary": outputs if softmax else np.hstack([1 - outputs, outputs]),
        "multiclass": outputs / outputs.sum(axis=1, keepdims=True), "multilabel": outputs,
    }[kind]  # fmt: skip
    for again in (clf, pickle.loads(pickle.dumps(clf)), clone(clf).fit(X_iris, y)):
        proba = again.predict_proba(X_iris)
        np.testing.assert_allclose(proba, expected, rtol=1e-12)
        np.testing.assert_allclose(np.exp(again.predict_log_proba(X_iris)), proba, rtol=1e-10, atol=1e-15)
        labels = (proba > 0.5).astype(int) if kind == "multilabel" else clf.classes_[proba.argmax(axis=1)]
        np.testing.assert_array_equal(again.predict(X_iris), labels)
    if kind != "multilabel":
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert clf.score(X_iris, y) > 0.8


@pytest.mark.parametrize("y", [y_iris > 0, y_iris])
def test_costs_of_classifiers_by_hand(y):
    """The quadratic cost and the cross-entropies as the notes write them, and smoothed labels."""
    K = len(np.unique(y))
    T = np.eye(K)[y.astype(int)]
    clf = classifier(solver="lbfgs", alpha=0, max_iter=8)
    a = clf.set_params(loss=SMOOTHED).fit(X_iris, y).predict_proba(X_iris)
    np.testing.assert_allclose(clf.loss_, -np.mean(((0.8 * T + 0.2 / K) * np.log(a)).sum(axis=1)))
    T = T if K > 2 else T[:, 1:]
    outputs = lambda: clf._model().predict(X_iris)  # noqa: E731
    clf.set_params(loss="squared_error").fit(X_iris, y)
    np.testing.assert_allclose(clf.loss_, np.mean(((T - outputs()) ** 2).sum(axis=1)) / 2)
    clf.set_params(loss="cross_entropy").fit(X_iris, y)
    a = outputs()
    np.testing.assert_allclose(clf.loss_, -np.mean((T * np.log(a) + (1 - T) * np.log1p(-a)).sum(axis=1)), rtol=1e-6)


def test_smoothed_labels_stay_off_certainty():
    """Where the classes are separable, the probabilities are the smoothed labels."""
    for y in (y_iris > 0, y_iris):
        clf = MLPClassifier(30, solver="lbfgs", loss=SMOOTHED, alpha=0, max_iter=3000, tol=1e-8, random_state=0)
        y = y[:100] if len(np.unique(y)) == 2 else np.arange(100) % 3
        X = X_iris[:100] if len(np.unique(y)) == 2 else np.eye(3)[y]
        proba = clf.fit(X, y).predict_proba(X)
        K = len(clf.classes_)
        np.testing.assert_allclose(proba, 0.8 * np.eye(K)[y.astype(int)] + 0.2 / K, atol=5e-3)


def test_no_sum_to_share_in():
    clf = classifier(loss="squared_error").fit(X_iris.astype("f4"), y_iris)
    clf.intercepts_[-1][:] = -200
    clf.coefs_[-1][:] = 0
    np.testing.assert_allclose(clf.predict_proba(X_iris), 1 / 3)


def test_losses_of_classifiers_need_classes():
    clf = classifier(loss=SMOOTHED)
    with pytest.raises(ValueError, match=r"needs y with at least two classes, got one class: \[3\]"):
        clf.fit(X_iris, np.full(150, 3))
    assert set(classifier(loss="squared_error").fit(X_iris, np.full(150, 3)).predict(X_iris)) == {3}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", SMOOTHED], ids=str)
@pytest.mark.parametrize("y", [y_iris > 0, names_iris])
def test_losses_with_class_weight_and_early_stopping(loss, y):
    by_hand = classifier(loss=loss, early_stopping=True, max_iter=20)
    weighted = clone(by_hand).set_params(class_weight="balanced").fit(X_iris[:120], y[:120])
    by_hand.fit(X_iris[:120], y[:120], compute_sample_weight("balanced", y[:120]))
    assert_same_parameters(weighted, by_hand, rtol=1e-9)
    parts = classifier(loss=loss, early_stopping=True)
    for _ in range(4):
        parts.partial_fit(X_iris, y, classes=np.unique(y), X_val=X_iris[::2], y_val=y[::2])
        parts = pickle.loads(pickle.dumps(parts))
        assert parts.validation_scores_[-1] == parts.score(X_iris[::2], y[::2])


def test_changed_loss_of_classifiers():
    """What was fitted predicts as before; the next call trains with the new loss, if the outputs are as many."""
    clf = classifier().fit(X_iris, y_iris)
    before = clf.predict_proba(X_iris)
    clf.set_params(loss="squared_error", alpha=0, batch_size=150)
    for model in (clf, pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(model.predict_proba(X_iris), before)
        assert model.out_activation_ == "softmax"
    net = Network([Dense(8, "relu"), Dense(3, "logistic")], n_inputs=4, loss="squared_error")
    net.parameters[:] = parameters_in_order(clf)
    cost, _ = net.value_and_gradient(X_iris, np.eye(3)[y_iris])
    clf.partial_fit(X_iris, y_iris)
    np.testing.assert_allclose(clf.loss_, cost)
    assert clf.out_activation_ == "logistic"
    two = classifier().fit(X_iris, y_iris > 0).set_params(loss=SMOOTHED)
    call = lambda: two.partial_fit(X_iris, y_iris > 0)  # noqa: E731
    assert_unharmed(two, call, "y and loss need 2 outputs, but the network was fitted with 1")


@pytest.mark.parametrize("pickled", [False, True])
def test_another_loss_keeps_the_optimizers_state(pickled):
    clf = classifier().partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    steps = int(clf._model().optimizer_state.t[0])
    clf = pickle.loads(pickle.dumps(clf)) if pickled else clf
    clf.set_params(loss="squared_error").partial_fit(X_iris, y_iris)
    assert clf._model().loss == "squared_error"
    assert clf._model().optimizer_state.t[0] == 2 * steps


def test_grid_search_over_losses_of_classifiers():
    grid = {"loss": CLASSIFIER_LOSSES, "solver": ["adam", LBFGS()]}
    search = GridSearchCV(classifier(max_iter=30), grid, cv=3).fit(X_iris, names_iris)
    assert search.best_params_["loss"] in CLASSIFIER_LOSSES
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
