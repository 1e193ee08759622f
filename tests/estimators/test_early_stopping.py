"""Early stopping, with a validation set that is split off or passed."""

import pickle

import numpy as np
import pytest
from estimator_cases import (
    X_iris,
    X_reg,
    assert_same_parameters,
    classifier,
    names_iris,
    parameters,
    regressor,
    y_iris,
    y_reg,
)
from sklearn.metrics import log_loss, r2_score

from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_given_validation_set(solver):
    """A validation set that is passed gives what the same rows give when they are split off."""
    settings = {"solver": solver, "early_stopping": True, "max_iter": 30, "shuffle": False}
    rows = np.random.RandomState(1).permutation(200)
    train, val = rows[:150], rows[150:]
    reg = regressor(n_iter_no_change=3, learning_rate_init=0.05, **settings)
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    reg.fit(
        X_reg[train],
        y_reg[train],
        weight[train],
        X_val=X_reg[val],
        y_val=y_reg[val],
        sample_weight_val=weight[val],
    )
    scores = reg.validation_scores_
    assert len(scores) == len(reg.validation_loss_curve_) == len(reg.loss_curve_) == reg.n_iter_
    assert reg.best_validation_score_ == max(scores)
    assert reg.best_loss_ is None
    score = r2_score(y_reg[val], reg.predict(X_reg[val]), sample_weight=weight[val])
    np.testing.assert_allclose(score, max(scores), rtol=1e-12)
    # The best epoch's model, as trained without a validation set.
    best = int(np.argmax(scores)) + 1
    plain = regressor(
        solver=solver, max_iter=best, shuffle=False, learning_rate_init=0.05, tol=0
    ).fit(X_reg[train], y_reg[train], weight[train])
    assert_same_parameters(plain, reg)
    loss = np.average((plain.predict(X_reg[val]) - y_reg[val]) ** 2, weights=weight[val]) / 2
    np.testing.assert_allclose(reg.validation_loss_curve_[best - 1], loss, rtol=1e-9)


def test_validation_loss_of_classifiers():
    for y in (names_iris, y_iris > 0):
        clf = classifier(early_stopping=True, max_iter=3, n_iter_no_change=np.inf)
        clf.fit(X_iris, y, X_val=X_iris[::2], y_val=y[::2])
        best = clf.validation_loss_curve_[int(np.argmax(clf.validation_scores_))]
        np.testing.assert_allclose(
            best, log_loss(y[::2], clf.predict_proba(X_iris[::2])), rtol=1e-9
        )
    assert classifier().fit(X_iris, y_iris).validation_loss_curve_ is None
    assert regressor(max_iter=3, early_stopping=True).fit(X_reg, y_reg).validation_loss_curve_


def test_partial_fit_with_early_stopping():
    clf = MLPClassifier(
        8, early_stopping=True, n_iter_no_change=3, random_state=0, learning_rate_init=0.05
    )
    scores, models, calls = [], [], 0
    while calls == 0 or not clf.converged_:
        clf.partial_fit(
            X_iris[::2], names_iris[::2], None, np.unique(names_iris),
            X_val=X_iris[1::2], y_val=names_iris[1::2],
        )  # fmt: skip
        calls += 1
        scores.append(clf.score(X_iris[1::2], names_iris[1::2]))
        models.append(parameters(clf).copy())
        assert clf.n_iter_ == 1 and calls < 300
    assert clf.validation_scores_[:-1] == scores[:-1]
    assert len(clf.loss_curve_) == len(clf.validation_loss_curve_) == calls
    best = int(np.argmax(clf.validation_scores_))
    assert calls - 1 - best >= 3
    assert clf.best_validation_score_ == clf.validation_scores_[best]
    np.testing.assert_array_equal(models[-1], models[best])  # restored
    assert scores[-1] == max(clf.validation_scores_)

    # It goes on from there.
    clf.partial_fit(X_iris[::2], names_iris[::2], X_val=X_iris[1::2], y_val=names_iris[1::2])
    assert not clf.converged_
    assert len(clf.validation_scores_) == calls + 1
    step = np.abs(parameters(clf) - models[best]).max()
    assert 0 < step < 0.2

    # A pickle in the middle changes nothing.
    again = pickle.loads(pickle.dumps(clf))
    for model in (clf, again):
        while not model.converged_:
            model.partial_fit(
                X_iris[::2], names_iris[::2], X_val=X_iris[1::2], y_val=names_iris[1::2]
            )
    assert clf.validation_scores_ == again.validation_scores_
    assert_same_parameters(clf, again)


def test_switching_early_stopping_between_calls():
    clf = classifier()
    val = {"X_val": X_iris, "y_val": y_iris}
    clf.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    clf.set_params(early_stopping=True).partial_fit(X_iris, y_iris, **val)
    assert len(clf.validation_scores_) == 1 and clf.best_loss_ is None
    clf.set_params(early_stopping=False).partial_fit(X_iris, y_iris)
    assert clf.validation_scores_ is None and np.isfinite(clf.best_loss_)
    assert len(clf.loss_curve_) == 3
    # A fit begins afresh, whatever was there.
    clf.set_params(early_stopping=True).partial_fit(X_iris, y_iris, **val)
    clf.set_params(early_stopping=False).fit(X_iris, y_iris)
    new = classifier().fit(X_iris, y_iris)
    assert_same_parameters(clf, new)
    assert set(vars(clf)) == set(vars(new))


def test_converged():
    assert not classifier(max_iter=2).fit(X_iris, y_iris).converged_
    assert classifier(max_iter=50, tol=1, n_iter_no_change=1).fit(X_iris, y_iris).converged_
    assert not classifier(max_iter=2, solver="lbfgs").fit(X_iris, y_iris).converged_
    assert classifier(max_iter=500, solver="lbfgs", alpha=1).fit(X_iris, y_iris).converged_
