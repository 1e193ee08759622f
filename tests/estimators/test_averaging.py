"""Averages of the parameters that training goes through."""

import pickle

import numpy as np
import pytest
from estimator_cases import (
    X_digits,
    X_iris,
    X_reg,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    parameters,
    regressor,
    y_digits,
    y_iris,
    y_reg,
)
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastbp import EMA, SGD, SWA, Activation, BatchNorm, Dense, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
AVERAGES = [EMA(0.9), SWA(2, every=2)]


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_is_a_networks(average, dtype):
    X, y = X_reg.astype(dtype), y_reg.astype(dtype)
    settings = {"solver": SGD(0.01, momentum=0.9), "alpha": 0, "batch_size": 20, "shuffle": False, "tol": 0}
    reg = regressor(average=average, max_iter=7, **settings).fit(X, y)
    plain = regressor(max_iter=7, **settings).fit(X, y)
    net = Network([Dense(8, "relu"), Dense(1)], n_inputs=10, dtype=dtype, random_state=0)
    net.fit(
        X, y, optimizer=SGD(0.01, momentum=0.9), epochs=7, batch_size=20, shuffle=False, average=average
    )
    pairs = zip(reg.coefs_, reg.intercepts_, strict=True)
    assert_array_equal(net.parameters, np.concatenate([a.ravel() for pair in pairs for a in pair]))
    assert reg.loss_curve_ == plain.loss_curve_
    assert abs(parameters(reg) - parameters(plain)).max() > 1e-3


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_is_an_epoch(average, solver):
    """What is learnt goes on, and so does the average; after pickling too."""
    settings = {"solver": solver, "shuffle": False, "batch_size": 32, "average": average}
    whole = classifier(max_iter=6, tol=0, **settings).fit(X_digits, y_digits)
    parts = classifier(**settings)
    for epoch in range(6):
        parts.partial_fit(X_digits, y_digits, classes=np.arange(10))
        parts = pickle.loads(pickle.dumps(parts)) if epoch % 2 else parts
    assert_same_parameters(whole, parts)
    assert whole.loss_curve_ == parts.loss_curve_


def test_warm_start_goes_on_from_the_average():
    clf = classifier(warm_start=True, solver="sgd", shuffle=False, momentum=0, max_iter=3, average=EMA(0.9))
    clf.fit(X_iris, y_iris)
    other = clone(clf).fit(X_iris, y_iris)
    other.coefs_ = [W.copy() for W in clf.coefs_]
    other.intercepts_ = [b.copy() for b in clf.intercepts_]
    assert_same_parameters(clf.fit(X_iris, y_iris), other.fit(X_iris, y_iris))


def test_parameters_that_were_changed_are_gone_on_from():
    clf, other = (classifier(solver="sgd", shuffle=False, average=EMA(0.9)).fit(X_iris, y_iris) for _ in range(2))
    clf.coefs_[0][:] *= 2
    other.coefs_ = [2 * other.coefs_[0], other.coefs_[1]]
    start = parameters(clf).copy()
    assert_same_parameters(clf.partial_fit(X_iris, y_iris), other.partial_fit(X_iris, y_iris))
    assert 0 < abs(parameters(clf) - start).max() < 0.1


NORMALIZED = {"hidden_layer_sizes": (100,), "hidden_layers": [Dense(8), BatchNorm(), Activation("relu")]}


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("layers", [{}, NORMALIZED], ids=["plain", "normalized"])
def test_early_stopping_scores_the_average(average, layers):
    """With the statistics of batches that go with it."""
    settings = {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 30, "learning_rate_init": 0.05}
    split = {"X_val": X_reg[150:], "y_val": y_reg[150:]}
    reg = regressor(average=average, **settings).set_params(**layers).fit(X_reg[:150], y_reg[:150], **split)
    assert reg.score(X_reg[150:], y_reg[150:]) == max(reg.validation_scores_) == reg.best_validation_score_
    loop = regressor(average=average, **settings | {"n_iter_no_change": np.inf}).set_params(**layers)
    for _ in range(4):
        loop.partial_fit(X_reg[:150], y_reg[:150], **split)
        assert loop.score(X_reg[150:], y_reg[150:]) == loop.validation_scores_[-1]
    again = pickle.loads(pickle.dumps(loop))
    assert_same_parameters(loop.partial_fit(X_reg, y_reg, **split), again.partial_fit(X_reg, y_reg, **split))
    assert loop.validation_scores_ == again.validation_scores_


@pytest.mark.parametrize("average", AVERAGES)
def test_a_stream_with_batch_normalisation(average):
    """Of few rows a call, which goes no short way: the network's."""
    reg = regressor(average=average, solver=SGD(0.01), alpha=0, shuffle=False).set_params(**NORMALIZED)
    net = Network([*NORMALIZED["hidden_layers"], Dense(1)], n_inputs=10, random_state=0)
    for i in range(0, 200, 20):
        rows = X_reg[i : i + 20], y_reg[i : i + 20]
        reg.partial_fit(*rows)
        net.partial_fit(*rows, optimizer=SGD(0.01), batch_size=20, shuffle=False, average=average)
        assert_array_equal(reg.predict(X_reg), net.predict(X_reg).ravel())


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("n", [150, 3])
def test_an_error_leaves_all_as_it_was(average, n):
    clf = classifier(average=average)
    for _ in range(3):
        clf.partial_fit(X_iris[::49], y_iris[::49], classes=[0, 1, 2])
    bad = X_iris[:n].copy()
    bad[2, 1] = np.nan
    assert_unharmed(clf, lambda: clf.partial_fit(bad, y_iris[:n]), "contains NaN")
    clf.set_params(average=EMA(0.5))
    assert_unharmed(clf, lambda: clf.partial_fit(bad, y_iris[:n]), "contains NaN")


def test_grid_search():
    clf = classifier(average=EMA(), batch_size=10)
    search = GridSearchCV(clf, {"average__decay": [0.0, 0.9999]}, cv=3).fit(X_iris, y_iris)
    assert [params["average__decay"] for params in search.cv_results_["params"]] == [0.0, 0.9999]
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert clone(clf).average == EMA() == clf.set_params(average__decay=0.999).average
