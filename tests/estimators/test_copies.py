"""Pickles, copies and memory maps of models, and models whose attributes are set by hand."""

import copy
import pickle
import re

import joblib
import numpy as np
import pytest
from estimator_cases import (
    X_digits,
    X_iris,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    names_iris,
    parameters,
    regressor,
    y_digits,
    y_iris,
)
from sklearn.base import clone

from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("make, y", [(classifier, names_iris), (regressor, X_iris[:, 0])])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), copy.copy]
)
def test_copies_go_on_exactly(make, y, solver, duplicate):
    original = make(solver=solver, batch_size=20, learning_rate="adaptive").fit(X_iris, y)
    twin = duplicate(original)
    before = parameters(original).copy()
    np.testing.assert_array_equal(original.predict(X_iris), twin.predict(X_iris))
    for _ in range(3):
        twin.partial_fit(X_iris, y)
    np.testing.assert_array_equal(parameters(original), before)
    for _ in range(3):
        original.partial_fit(X_iris, y)
    assert_same_parameters(original, twin)


def test_pickle_holds_parameters_once():
    clf = MLPClassifier(1000, solver="sgd", momentum=0, max_iter=1).fit(X_digits, y_digits)
    data = pickle.dumps(clf)
    assert b"fastbp.network" not in data
    assert len(data) < 1.05 * parameters(clf).nbytes + 20_000
    loaded = pickle.loads(data)
    np.testing.assert_array_equal(clf.predict_proba(X_digits), loaded.predict_proba(X_digits))
    assert pickle.dumps(clf) == data


def test_memory_mapped_model(tmp_path):
    clf = classifier().fit(X_iris, y_iris)
    joblib.dump(clf, tmp_path / "clf.joblib")
    loaded = joblib.load(tmp_path / "clf.joblib", mmap_mode="r")
    assert not loaded.coefs_[0].flags.writeable
    np.testing.assert_array_equal(loaded.predict_proba(X_iris), clf.predict_proba(X_iris))
    loaded.partial_fit(X_iris, y_iris)
    clf.partial_fit(X_iris, y_iris)
    assert_same_parameters(loaded, clf)


@pytest.mark.parametrize("make, y", [(classifier, y_iris), (regressor, X_iris[:, :2])])
def test_memory_map_is_not_copied_to_predict(make, y, tmp_path):
    est = make(learning_rate="adaptive", solver="sgd").fit(X_iris, y)
    joblib.dump(est, tmp_path / "est.joblib")
    loaded = joblib.load(tmp_path / "est.joblib", mmap_mode="r")
    mapped = loaded.coefs_[0].base
    while not isinstance(mapped, np.memmap):
        mapped = mapped.base
    for model in (loaded, copy.copy(loaded)):
        for setting in ("tanh", "relu"):  # a network for each
            model.set_params(activation=setting)
            model.predict(X_iris)
            if make is classifier:
                model.predict_log_proba(X_iris)
            assert np.shares_memory(model._model().parameters, mapped)
            assert all(np.shares_memory(a, mapped) for a in (*model.coefs_, *model.intercepts_))
        np.testing.assert_array_equal(model.predict(X_iris), est.predict(X_iris))
    twin = pickle.loads(pickle.dumps(loaded))
    for model in (loaded, twin):  # training is what copies
        assert_same_parameters(model.partial_fit(X_iris, y), clone(est).fit(X_iris, y).partial_fit(X_iris, y))
        assert not np.shares_memory(model._model().parameters, mapped) and model.coefs_[0].flags.writeable
        model.coefs_[0][:] = 0
    again = joblib.load(tmp_path / "est.joblib", mmap_mode="r")
    np.testing.assert_array_equal(again.predict(X_iris), est.predict(X_iris))
    again.coefs_[1] = np.zeros_like(again.coefs_[1])  # what is put in its place counts
    assert np.ptp(again.predict(X_iris), axis=0).max() == 0
    with pytest.raises(ValueError, match="Input X contains NaN"):
        again.partial_fit(X_iris * np.nan, y)
    assert np.ptp(again.predict(X_iris), axis=0).max() == 0


def test_pickles_of_older_versions():
    """There the parameters were lists of arrays."""
    clf = classifier().set_params(hidden_layer_sizes=(5, 6)).fit(X_iris, y_iris)
    state = {name: value for name, value in vars(clf).items() if name not in ("_bound", "_fitted_hidden")}
    state |= {"_optimizer_state": copy.deepcopy(vars(clf._model().optimizer_state))}
    state |= {name: [a.copy() for a in state[name]] for name in ("coefs_", "intercepts_")}
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__(copy.deepcopy(state))
    np.testing.assert_array_equal(old.predict_proba(X_iris), clf.predict_proba(X_iris))
    assert_same_parameters(pickle.loads(pickle.dumps(old)).partial_fit(X_iris, y_iris), clf.partial_fit(X_iris, y_iris))
    old.set_params(hidden_layer_sizes=5)
    assert_unharmed(old, lambda: old.partial_fit(X_iris, y_iris), r"was fitted with \[5, 6\]")


def test_pickles_name_what_is_there():
    """Pickles of 0.1.0 name all in fastbp.estimators, which was one module."""
    for estimator in (classifier(), regressor()):
        data = pickle.dumps(estimator.fit(X_iris, y_iris), protocol=0)
        old, n = re.subn(rb"cfastbp\.estimators\.\w+\n", b"cfastbp.estimators\n", data)
        assert n == 2 and b"_Optimizer" in old
        assert_same_parameters(pickle.loads(old).partial_fit(X_iris, y_iris), estimator.partial_fit(X_iris, y_iris))


# Attributes


def test_attributes_set_by_hand():
    a = classifier(random_state=0).fit(X_iris, y_iris)
    b = classifier(random_state=1).fit(X_iris, y_iris)
    expected = b.predict_proba(X_iris)
    mine = [W.copy() for W in b.coefs_], [v.copy() for v in b.intercepts_]
    for i in range(2):  # assigned one by one
        a.coefs_[i] = mine[0][i]
        a.intercepts_[i] = mine[1][i]
    np.testing.assert_array_equal(a.predict_proba(X_iris), expected)

    b.coefs_, b.intercepts_ = mine  # or as whole lists
    for model in (a, b):
        model.coefs_[0][:, 3] = 0.25  # or in place
        model.intercepts_[1] += 0.5
    changed = a.predict_proba(X_iris)
    assert np.abs(changed - expected).max() > 0.01
    np.testing.assert_array_equal(b.predict_proba(X_iris), changed)
    # Training starts from what they hold.
    b._optimizer, _ = copy.deepcopy(a._optimizer), b.set_params(random_state=0)
    c = pickle.loads(pickle.dumps(b))
    c.coefs_[0][:] = 0
    assert np.abs(c.predict_proba(X_iris) - changed).max() > 0.01
    d = copy.deepcopy(c)
    for model in (c, d):
        model.partial_fit(X_iris, y_iris)
    assert_same_parameters(c, d)
    assert np.abs(d.coefs_[0]).max() < 0.01

    # What the user owns is not written to.
    W = np.zeros((4, 8))
    a.coefs_[0] = W
    a.partial_fit(X_iris, y_iris)
    assert (W == 0).all() and (a.coefs_[0] != 0).any()


def test_attributes_of_another_shape():
    clf = classifier().fit(X_iris, y_iris)
    rng = np.random.default_rng(0)
    clf.coefs_ = [rng.normal(size=(4, 5)), rng.normal(size=(5, 3))]
    clf.intercepts_ = [np.zeros(5), np.zeros(3)]
    z = np.maximum(X_iris @ clf.coefs_[0], 0) @ clf.coefs_[1]
    np.testing.assert_array_equal(clf.predict(X_iris), z.argmax(axis=1))
    clf.partial_fit(X_iris, y_iris)
    clf.intercepts_[0] = np.zeros(4)
    with pytest.raises(ValueError, match=r"intercepts_\[0\] of shape \(4,\)"):
        clf.predict(X_iris)


def test_changed_activation_counts():
    clf = classifier(activation="tanh").fit(X_iris, y_iris)
    clf.set_params(activation="identity")
    z = (X_iris @ clf.coefs_[0] + clf.intercepts_[0]) @ clf.coefs_[1] + clf.intercepts_[1]
    np.testing.assert_array_equal(clf.predict(X_iris), z.argmax(axis=1))
