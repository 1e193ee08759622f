"""Solvers that are update rules and full-batch rules."""

import pickle
import warnings

import numpy as np
import pytest
from estimator_cases import (
    X_iris,
    X_reg,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    names_iris,
    parameters,
    parameters_in_order,
    regressor,
    y_iris,
    y_reg,
)
from network_cases import FULL_BATCH
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import LabelBinarizer

from fastbp import LBFGS, SGD, Adagrad, Adam, AdamW, Dense, Network, Newton, RMSProp, Rprop, StepDecay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RULES = {
    "sgd": SGD(0.001, momentum=0.9, nesterov=True),
    "adam": Adam(),
    "adamw": AdamW(),
    "rmsprop": RMSProp(),
    "adagrad": Adagrad(0.001),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("make, y", [(classifier, names_iris), (regressor, X_iris[:, 0])])
def test_update_rule_by_name_and_as_object(make, y, name):
    """A name is short for an object with the settings of the estimator; both are a network's rule."""
    by_name = make(solver=name).fit(X_iris, y)
    by_object = make(solver=RULES[name], learning_rate_init=5.0, momentum=0.1, beta_1=0).fit(X_iris, y)
    assert_same_parameters(by_name, by_object)
    assert by_object.loss_curve_ == by_name.loss_curve_
    start = make(max_iter=1, solver=SGD(1e-300)).fit(X_iris, y)._model()
    # one batch of all rows: alpha is divided by their number
    net = Network(start.layers, n_inputs=4, loss=start.loss, l2=1e-4 / 150)
    net.parameters[:] = start.parameters
    target = LabelBinarizer().fit_transform(y).argmax(axis=1) if make is classifier else y
    net.fit(X_iris, target, optimizer=RULES[name], batch_size=150, epochs=5, shuffle=False)
    whole = make(solver=RULES[name], batch_size=150, shuffle=False).fit(X_iris, y)
    np.testing.assert_allclose(net.parameters, whole._model().parameters, rtol=1e-9)


def test_settings_of_an_update_rule():
    """They survive clone, parameters, pickling and partial_fit, and do what they do for a network."""
    rule = RMSProp(StepDecay(0.01, every=2), momentum=0.5, clip_norm=0.1, weight_decay=0.1)
    clf = classifier(solver=rule)
    assert clone(clf).get_params()["solver"] == rule
    assert "RMSProp(learning_rate=StepDecay(" in repr(clf)
    whole, parts = clone(clf).fit(X_iris, y_iris), clone(clf)
    parts.set_params(shuffle=False)
    whole.set_params(shuffle=False).fit(X_iris, y_iris)
    for _ in range(5):
        parts.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
        parts = pickle.loads(pickle.dumps(parts))
    assert_same_parameters(whole, parts)
    sparse_clf = classifier(
        solver=SGD(0.05, momentum=0.9, proximal=True), alpha=2, l1_ratio=0.9, max_iter=50
    ).fit(X_iris, y_iris)
    assert 0 < (parameters(sparse_clf) == 0).sum() < len(parameters(sparse_clf))
    stopped = classifier(solver=Adagrad(0.05), early_stopping=True, max_iter=100, tol=0.01)
    assert stopped.fit(X_iris, y_iris).converged_
    grid = {"solver": ["adam", RMSProp(0.01), Adagrad(0.1, clip_value=1)], "alpha": [1e-4, 1]}
    search = GridSearchCV(classifier(), grid, cv=3).fit(X_iris, y_iris)
    assert search.best_params_["solver"] in grid["solver"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Full-batch rules


@pytest.mark.parametrize("rule", FULL_BATCH, ids=str)
@pytest.mark.parametrize("make, y", [(classifier, y_iris), (regressor, X_iris[:, 0])])
@pytest.mark.parametrize("weighted", [False, True])
def test_full_batch_rule_is_that_of_a_network(make, y, rule, weighted):
    """alpha is divided by the weight of all rows; the curve is the network's history."""
    weight = np.linspace(0.5, 2, 150) if weighted else None
    estimator = make(solver=rule, alpha=3, activation="tanh", learning_rate_init=9.0).fit(X_iris, y, weight)
    loss, n_outputs = ("softmax_cross_entropy", 3) if make is classifier else ("squared_error", 1)
    l2 = 3 / (weight.sum() if weighted else 150)
    net = Network([Dense(8, "tanh"), Dense(n_outputs)], n_inputs=4, loss=loss, l2=l2, random_state=0)
    history = net.fit(X_iris, y, optimizer=rule, epochs=5, sample_weight=weight)
    np.testing.assert_array_equal(parameters_in_order(estimator), net.parameters)
    np.testing.assert_array_equal(estimator.loss_curve_, history.loss)
    assert estimator.loss_ == history.loss[-1] and estimator.best_loss_ == history.loss.min()
    assert estimator.n_iter_ == len(history.loss) == 5 and estimator.t_ == 0 and not estimator.converged_
    assert not hasattr(estimator, "partial_fit") and estimator._bound[0].optimizer_state is None
    for again in (pickle.loads(pickle.dumps(estimator)), clone(estimator).fit(X_iris, y, weight)):
        assert again.get_params()["solver"] == rule
        np.testing.assert_array_equal(again.predict(X_iris), estimator.predict(X_iris))


@pytest.mark.parametrize("rule", FULL_BATCH, ids=str)
def test_full_batch_rule_ends_by_itself(rule, capsys):
    """Those without a criterion of their own end when the loss stays, the others do not look at tol."""
    reg = regressor(solver=rule, alpha=100, activation="tanh", max_iter=1000, verbose=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        reg.fit(X_reg, y_reg)
    n = reg.n_iter_
    assert reg.converged_ and n == len(reg.loss_curve_) < 1000
    waits = rule in FULL_BATCH[:2]
    assert capsys.readouterr().out.count("Training loss did not improve more than tol") == waits
    assert reg._no_improvement_count > 10 or not waits
    # Another fit finds nothing more to do, and appends to the curve.
    reg.set_params(warm_start=True, max_iter=20)
    before = reg.loss_
    reg.fit(X_reg, y_reg)
    np.testing.assert_allclose(reg.loss_, before, rtol=1e-3)
    assert len(reg.loss_curve_) == n + reg.n_iter_
    strict = clone(reg).set_params(warm_start=False, tol=10.0, max_iter=40, verbose=False).fit(X_reg, y_reg)
    assert strict.n_iter_ == (12 if waits else min(n, 40))  # the first sets the best loss, eleven don't improve on it
    with pytest.warns(ConvergenceWarning, match=rf"^{type(rule).__name__}: Maximum iterations \(2\)") as caught:
        strict.set_params(max_iter=2, tol=0).fit(X_reg, y_reg)
    assert caught[0].filename == __file__


def test_full_batch_rules_and_other_solvers_in_turn():
    """Nothing of a fit before remains, and what is trained on is what it left."""
    clf = classifier(solver="adam", early_stopping=True).fit(X_iris, y_iris)
    clf.set_params(solver=Rprop(), early_stopping=False).fit(X_iris, y_iris)
    new = classifier(solver=Rprop()).fit(X_iris, y_iris)
    assert_same_parameters(clf, new)
    assert set(vars(clf)) == set(vars(new))
    with pytest.raises(AttributeError, match="partial_fit"):
        clf.partial_fit  # noqa: B018
    start = parameters(clf).copy()
    clf.set_params(solver="adam").partial_fit(X_iris, y_iris)
    assert 0 < np.abs(parameters(clf) - start).max() < 0.01
    assert len(clf.loss_curve_) == 6
    grid = {"solver": ["adam", "lbfgs", Rprop(), Newton(damping=0.1), LBFGS(maxcor=5)]}
    search = GridSearchCV(classifier(max_iter=20), grid, cv=3).fit(X_iris, y_iris)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_elastic_net_by_full_batch_rule():
    """alpha and l1_ratio mean to LBFGS() what they mean to 'lbfgs'."""
    settings = {"alpha": 20, "l1_ratio": 0.6, "max_iter": 500, "activation": "tanh"}
    by_object = regressor(solver=LBFGS(ftol=1e-12), **settings).fit(X_reg, y_reg)
    by_name = regressor(solver="lbfgs", tol=1e-7, **settings).fit(X_reg, y_reg)
    np.testing.assert_allclose(by_object.loss_, by_name.loss_, rtol=1e-4)
    np.testing.assert_array_equal(by_object.coefs_[0] == 0, by_name.coefs_[0] == 0)
    assert (by_object.coefs_[0] == 0).any()


@pytest.mark.parametrize("rule", FULL_BATCH, ids=str)
def test_diverging_full_batch_rule(rule):
    reg = regressor(solver=rule).fit(X_reg, y_reg)
    assert_unharmed(reg, lambda: reg.fit(np.sign(X_reg) * 1.7e308, y_reg), "non-finite parameter weights")
