"""Training that goes on: partial_fit and warm start."""

import pickle

import numpy as np
import pytest
from estimator_cases import (
    X_digits,
    X_iris,
    X_multi,
    Y_multi,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    parameters,
    regressor,
    y_digits,
    y_iris,
)
from sklearn.base import clone

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_is_an_epoch(solver):
    """Without shuffling, calls of partial_fit are the epochs of fit."""
    settings = {"solver": solver, "shuffle": False, "batch_size": 32}
    whole = classifier(max_iter=6, tol=0, **settings).fit(X_digits, y_digits)
    parts = classifier(**settings)
    for _ in range(6):
        parts.partial_fit(X_digits, y_digits, classes=np.arange(10))
    assert_same_parameters(whole, parts)
    assert whole.loss_curve_ == parts.loss_curve_


def test_changing_solver():
    clf = classifier(solver="lbfgs").fit(X_iris, y_iris)
    assert not hasattr(clf, "partial_fit") and not hasattr(clf, "loss_curve_")
    start = parameters(clf).copy()
    clf.set_params(solver="adam").partial_fit(X_iris, y_iris)
    assert 0 < np.abs(parameters(clf) - start).max() < 0.01
    assert len(clf.loss_curve_) == 1
    clf.set_params(solver="lbfgs").fit(X_iris, y_iris)
    assert not hasattr(clf, "loss_curve_")
    with pytest.raises(AttributeError, match="partial_fit"):
        regressor(solver="lbfgs").partial_fit  # noqa: B018


def test_warm_start_goes_on():
    clf = classifier(warm_start=True, solver="sgd", shuffle=False, momentum=0, max_iter=3)
    clf.fit(X_iris, y_iris).fit(X_iris, y_iris)
    whole = clone(clf).set_params(max_iter=6).fit(X_iris, y_iris)
    assert_same_parameters(clf, whole)
    clf.set_params(warm_start=False).fit(X_iris, y_iris)
    assert_same_parameters(clf, whole.set_params(warm_start=False, max_iter=3).fit(X_iris, y_iris))


@pytest.mark.parametrize("make, y", [(classifier, y_iris), (regressor, X_iris[:, 0])])
def test_structure_is_fixed_by_the_first_fit(make, y):
    est = make(warm_start=True).fit(X_iris, y)
    for hidden in (50, (8, 8), (), [9]):
        est.set_params(hidden_layer_sizes=hidden)
        for train in (est.fit, est.partial_fit):
            assert_unharmed(est, lambda t=train: t(X_iris, y), r"hidden_layer_sizes is \[.*\], but .* with \[8\]")
    loaded = pickle.loads(pickle.dumps(est))
    assert_unharmed(loaded, lambda: loaded.fit(X_iris, y), r"hidden_layer_sizes is \[9\]")
    assert est.set_params(hidden_layer_sizes=[8]).fit(X_iris, y).coefs_[0].shape == (4, 8)  # said in another way
    assert est.set_params(hidden_layer_sizes=9, warm_start=False).fit(X_iris, y).coefs_[0].shape == (4, 9)
    targets = np.column_stack([X_iris[:, 0]] * 2) if make is regressor else Y_multi
    est.set_params(warm_start=True)
    rows = X_iris if make is regressor else X_multi[:, :4]
    assert_unharmed(est, lambda: est.partial_fit(rows, targets), "outputs|classes not in|same classes")

    # float64 is not rounded in silence; what float32 holds exactly, and predictions, are no matter
    single = make().fit(X_iris.astype(np.float32), y)
    for X in (X_iris, X_iris.tolist(), X_iris.astype(int)):
        assert_unharmed(single, lambda X=X: single.partial_fit(X, y), "X is float64, .* fitted in float32")
    single.predict(X_iris)
    single.partial_fit(np.abs(X_iris).astype(np.uint8), y).partial_fit(X_iris.astype(np.float32), y)
    assert make().fit(X_iris, y).partial_fit(X_iris.astype(np.float32), y).coefs_[0].dtype == np.float64
