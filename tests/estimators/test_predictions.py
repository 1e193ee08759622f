"""Predictions and probabilities."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from estimator_cases import (
    X_iris,
    X_multi,
    X_reg,
    Y_multi,
    assert_same_parameters,
    classifier,
    regressor,
    y_iris,
    y_reg,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError

from fastbp import SoftmaxCrossEntropy

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_plain_rows_need_no_further_validation(monkeypatch, dtype):
    """Rows that validation would let pass do not go through it, and everything else does."""
    X = X_iris.astype(dtype)
    clf = classifier().fit(X, y_iris)
    expected = clf.predict_proba(X.tolist() if dtype == "f8" else pd.DataFrame(X))
    asked = []
    monkeypatch.setattr("fastbp.estimators.inputs.check_is_fitted", asked.append)
    for rows in (slice(0, 1), slice(0, 150), slice(0, 150, 3)):
        np.testing.assert_array_equal(clf.predict_proba(X[rows]), expected[rows])
        np.testing.assert_array_equal(clf.predict(np.asfortranarray(X[rows])), expected[rows].argmax(axis=1))
    many = np.tile(X, (20, 1))
    np.testing.assert_array_equal(clf.predict_proba(many), np.tile(expected, (20, 1)))
    assert not asked
    others = [X.tolist(), X.astype("f2"), X.astype(">f8"), X.view(np.memmap), np.asfortranarray(many)]
    large = X * (np.finfo(dtype).max / 10)  # finite, but not its square, which is looked at in the second
    clf.predict(large)
    assert not asked
    others.append(np.asfortranarray(large))
    for n, other in enumerate(others, 1):
        clf.predict(other)
        assert len(asked) == n
    clf.feature_names_in_ = np.array(list("abcd"), object)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.predict(X)
    del clf.feature_names_in_
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), expected)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "X",
    [
        np.full((1, 4), np.nan), np.array([[0, np.inf, 0, 0]]), np.array([[0, 0, -np.inf, np.inf]], "f4"),
        np.zeros((1, 3)), np.zeros((1, 5), "f4"), np.zeros(4), np.zeros((1, 1, 4)), np.zeros((0, 4)), np.zeros((0, 3)),
        np.zeros((1, 4)) * 1j, 3.0,
    ],
)  # fmt: skip
def test_bad_rows_give_scikit_learns_errors(X):
    theirs = sklearn.neural_network.MLPClassifier(8, max_iter=5).fit(X_iris, y_iris)
    for unfitted in (False, True):
        ours = classifier() if unfitted else classifier().fit(X_iris, y_iris)
        for method in ("predict", "predict_proba", "predict_log_proba"):
            with pytest.raises((ValueError, NotFittedError)) as expected, np.errstate(invalid="ignore"):
                getattr(clone(theirs) if unfitted else theirs, method)(X)
            with pytest.raises(type(expected.value)) as got:
                getattr(ours, method)(X)
            assert str(got.value) == str(expected.value)


def test_multi_output_regression():
    Y = np.column_stack([y_reg, -y_reg, X_reg[:, 0]])
    reg = regressor(max_iter=300, learning_rate_init=0.02).fit(X_reg, Y)
    assert reg.predict(X_reg).shape == Y.shape
    assert reg.score(X_reg, Y) > 0.9
    assert regressor().fit(X_reg, y_reg).predict(X_reg).shape == y_reg.shape
    with pytest.warns(DataConversionWarning):
        column = regressor().fit(X_reg, y_reg[:, np.newaxis])
    assert_same_parameters(column, regressor().fit(X_reg, y_reg))


def log_proba_by_hand(clf, X):
    """In long double, from the last layer's z: its exponents reach far below float64's."""
    z = np.asarray(X, np.longdouble)
    for W, b in zip(clf.coefs_[:-1], clf.intercepts_[:-1], strict=True):
        z = np.maximum(z @ W.astype(np.longdouble) + b, 0)
    z = z @ clf.coefs_[-1].astype(np.longdouble) + clf.intercepts_[-1]
    if getattr(clf.loss, "fixed_logit", False):
        z[:, -1] = 0
    log_softmax = lambda z: z - z.max(axis=1, keepdims=True) - np.log(  # noqa: E731
        np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
    )
    if clf.out_activation_ == "softmax":
        return log_softmax(z)
    if clf.n_outputs_ == 1:
        z = np.concatenate([-z, z], axis=1)
    log_a = -np.logaddexp(0, -z)
    return log_softmax(log_a) if clf.n_outputs_ > 1 and np.ndim(clf.predict(X)) == 1 else log_a


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "settings, y",
    [
        ({}, y_iris),
        ({}, y_iris == 1),
        ({}, Y_multi),
        ({"loss": "cross_entropy"}, y_iris),
        ({"loss": "squared_error"}, y_iris),
        ({"loss": "squared_error"}, y_iris > 0),
        ({"loss": "squared_error"}, Y_multi),
        ({"loss": SoftmaxCrossEntropy(fixed_logit=True)}, y_iris),
    ],
)
def test_log_proba_is_that_of_the_logits(settings, y, dtype):
    """Finite where the probability is rounded to 0, and exact where it is rounded to 1."""
    X = (X_iris if len(y) == 150 and y.ndim == 1 else X_multi).astype(dtype)
    clf = classifier(max_iter=20, learning_rate_init=0.05, **settings).fit(X, y)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X)), clf.predict_proba(X), rtol=1e-3, atol=1e-6)
    for scale in (1, 1e2, 1e4):
        clf.coefs_[-1] = (clf.coefs_[-1] * scale).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log_p = clf.predict_log_proba(X)
        assert log_p.dtype == dtype and np.isfinite(log_p).all()
        rtol = 1e-3 if dtype == np.float32 else 1e-9
        expected = log_proba_by_hand(clf, X)
        big = np.abs(expected) > 1e-3 * np.abs(expected).max()  # z itself is rounded
        np.testing.assert_allclose(log_p[big], expected[big].astype(float), rtol=rtol)
    assert log_p.min() < -800


@pytest.mark.parametrize("loss", ["log_loss", "cross_entropy"])
def test_labels_without_all_outputs_at_once(loss):
    """Labels of many rows and classes are those of the probabilities, and take little memory."""
    rng = np.random.default_rng(0)
    X, classes = rng.normal(size=(3000, 4)), np.arange(2500)[::-1] * 3
    clf = classifier(loss=loss).partial_fit(X[:50], rng.choice(classes, 50), classes=classes)
    clf.intercepts_[-1][:] += rng.normal(size=len(classes)) / 100
    expected = clf.classes_[clf._model().predict(X).argmax(axis=1)]
    assert len(np.unique(expected)) > 5
    tracemalloc.start()
    labels = clf.predict(X)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(labels, expected)
    assert most < 20 << 20 < X.shape[0] * len(classes) * 8
    np.testing.assert_array_equal(clf.predict(sparse.csr_array(X)), expected)
