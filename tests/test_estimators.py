"""MLPClassifier and MLPRegressor: scikit-learn's contract, and what they add to it."""

import copy
import gc
import inspect
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import ElasticNet
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp import (
    BFGS,
    ELU,
    LBFGS,
    RBF,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineWarmRestarts,
    Cyclical,
    Dense,
    Exponential,
    HistogramLoss,
    Huber,
    ImageAugmentation,
    InverseScaling,
    LeakyReLU,
    Lp,
    Network,
    Newton,
    NewtonCG,
    OneCycle,
    Orthogonal,
    Quantile,
    Quickprop,
    ReduceOnPlateau,
    RMSProp,
    Rprop,
    SoftmaxCrossEntropy,
    StepDecay,
    VarianceScaling,
    WarmUp,
)  # fmt: skip
from fastbp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
names_iris = np.array(["setosa", "versicolor", "virginica"])[y_iris]
X_digits, y_digits = load_digits(return_X_y=True)
X_digits, y_digits = X_digits[:500], y_digits[:500]  # whole numbers from 0 to 16
X_reg, y_reg = make_regression(200, 10, n_informative=5, noise=2, random_state=0)
y_reg = y_reg / y_reg.std()
X_multi, Y_multi = make_multilabel_classification(150, 10, n_classes=4, random_state=0)


def classifier(**settings):
    return MLPClassifier(8, **{"max_iter": 5, "random_state": 0, **settings})


def regressor(**settings):
    return MLPRegressor(hidden_layer_sizes=8, **{"max_iter": 5, "random_state": 0, **settings})


def parameters(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def parameters_in_order(estimator):
    """As a network's flat vector has them."""
    pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    return np.concatenate([a.ravel() for pair in pairs for a in pair])


def assert_same_parameters(a, b, rtol=0):
    np.testing.assert_allclose(parameters(a), parameters(b), rtol=rtol, atol=rtol * 1e-3)


# scikit-learn's checks


@pytest.mark.once
@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(solver="lbfgs", max_iter=30, l1_ratio=0.5),
        MLPRegressor(solver="sgd"),
        MLPClassifier(loss="squared_error", solver=Rprop(), max_iter=30),
        MLPClassifier(loss=SoftmaxCrossEntropy(label_smoothing=0.1)),
        MLPRegressor(loss="gaussian"),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("ours", [MLPClassifier, MLPRegressor])
def test_signature(ours):
    """scikit-learn's parameters in its order, then keyword-only ones."""
    theirs = getattr(sklearn.neural_network, ours.__name__)
    for method in ("__init__", "fit", "partial_fit"):
        our = list(inspect.signature(getattr(ours, method)).parameters.values())
        their = list(inspect.signature(getattr(theirs, method)).parameters.values())
        assert [str(p) for p in our[: len(their)]] == [str(p) for p in their]
        assert all(p.kind is p.KEYWORD_ONLY for p in our[len(their) :])
    names = set(ours().get_params())
    assert names - set(theirs().get_params()) <= {"l1_ratio", "class_weight", "n_threads", "dropout", "loss"}
    assert ours().loss == theirs().loss


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()])
def test_everything_is_documented(estimator):
    assert not [p for p in estimator.get_params() if f"{p} :" not in estimator.__doc__ and
                p not in ("beta_1", "beta_2")]  # fmt: skip
    assert "beta_1, beta_2 :" in estimator.__doc__
    fitted = (
        clone(estimator).set_params(max_iter=1).fit(pd.DataFrame(X_iris).add_prefix("x"), y_iris)
    )
    public = [name for name in vars(fitted) if name.endswith("_") and name[0] != "_"]
    assert {"coefs_", "feature_names_in_", "validation_loss_curve_"} <= set(public)
    assert not [name for name in public if f"    {name} :" not in estimator.__doc__]


# Kinds of input


def strided(X):
    wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan)
    wide[::-2, ::3] = X
    return wide[::-2, ::3]


def memory_map(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def unsorted_csr(X):
    X = sparse.csr_matrix(X)
    for start, end in zip(X.indptr, X.indptr[1:], strict=False):
        X.indices[start:end] = X.indices[start:end][::-1].copy()
        X.data[start:end] = X.data[start:end][::-1].copy()
    X.has_sorted_indices = False
    return X


def csr_with_duplicates(X):
    X = sparse.coo_array(X)
    rows, cols = np.concatenate([X.row, X.row]), np.concatenate([X.col, X.col])
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=X.shape[0]))])
    data = np.concatenate([X.data / 4, X.data * 0.75])[order]
    return sparse.csr_array((data, cols[order], indptr), shape=X.shape)


KINDS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "list": np.ndarray.tolist,
    "DataFrame": lambda X: pd.DataFrame(X, columns=[f"pixel {i}" for i in range(X.shape[1])]),
    "mixed DataFrame": lambda X: pd.DataFrame(X).astype({0: "int8", 5: "float32", 7: "uint8"}),
    "object": lambda X: X.astype(object),
    "int64": lambda X: X.astype(np.int64),
    "uint8": lambda X: X.astype(np.uint8),
    "big endian": lambda X: X.astype(">f8"),
    "csr": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csr of uint8": lambda X: sparse.csr_array(X.astype(np.uint8)),
    "csr with int64 indices": lambda X: sparse.csr_array(
        (X.ravel(), np.tile(np.arange(64), len(X)), np.arange(0, X.size + 1, 64)), shape=X.shape
    ),
    "unsorted csr": unsorted_csr,
    "csr with duplicates": csr_with_duplicates,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "lil": sparse.lil_matrix,
}


def contents(X):
    """Bytes that change with the data in X, but not with what scipy has found out about it."""
    csr = sparse.issparse(X) and X.format == "csr"
    return pickle.dumps((X.data, X.indices, X.indptr) if csr else X)


@pytest.mark.parametrize("kind", [*KINDS, "memory map"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_kinds_of_X(kind, solver, tmp_path):
    X = memory_map(X_digits, tmp_path) if kind == "memory map" else KINDS[kind](X_digits)
    before = contents(X)
    clf = classifier(solver=solver, early_stopping=True).fit(X, y_digits)
    expected = classifier(solver=solver, early_stopping=True).fit(X_digits, y_digits)
    assert clf.coefs_[0].dtype == np.float64
    assert_same_parameters(clf, expected, rtol=1e-6 if solver == "lbfgs" else 1e-9)
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(proba, expected.predict_proba(X_digits), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(clf.predict(X), expected.predict(X_digits))
    assert contents(X) == before


def test_bool_X():
    X = X_digits > 8
    expected = classifier().fit(X.astype(float), y_digits)
    assert_same_parameters(classifier().fit(X, y_digits), expected, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_float32_stays(make, solver, convert):
    X = convert(X_digits.astype(np.float32) / 16)
    single = make(solver=solver).fit(X, y_digits)
    double = make(solver=solver).fit(convert(X_digits / 16), y_digits)
    assert {a.dtype for a in single.coefs_ + single.intercepts_} == {np.dtype("float32")}
    np.testing.assert_allclose(parameters(single), parameters(double), rtol=1e-2, atol=1e-3)
    outputs = single.predict(X) if make is regressor else single.predict_proba(X)
    assert outputs.dtype == np.float32
    # Rows of another dtype are converted to the network's.
    again = (
        single.predict(X_digits / 16) if make is regressor else single.predict_proba(X_digits / 16)
    )
    np.testing.assert_allclose(again, outputs, rtol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize(
    "kind", ["C", "fortran", "strided", "uint8", "float32", "csr", "memory map"]
)
@pytest.mark.parametrize(
    "settings", [{"solver": "adam"}, {"solver": "sgd", "early_stopping": True}, {"solver": "lbfgs"}]
)
def test_X_is_not_copied(kind, settings, tmp_path):
    X = np.random.default_rng(0).integers(0, 3, (5000, 400)).astype(float)
    kinds = {"C": np.asarray, "float32": lambda X: X.astype(np.float32), **KINDS}
    X = memory_map(X, tmp_path) if kind == "memory map" else kinds[kind](X)
    y = np.arange(5000) % 2
    nbytes = X.data.nbytes if kind == "csr" else X.nbytes
    clf = MLPClassifier(2, max_iter=2, random_state=0, **settings)
    clf.fit(X[:40], y[:40])  # what is allocated once
    tracemalloc.start()
    try:
        clf.fit(X, y)
        clf.predict(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * nbytes


def as_dates(a):
    return np.asarray(a).astype("M8[ns]")


NOT_NUMBERS = {
    "dates": (as_dates, TypeError, "must hold real numbers"),
    "NaT": (lambda a: np.full_like(as_dates(a), "NaT"), TypeError, "must hold real numbers"),
    "durations": (lambda a: np.asarray(a).astype("m8[s]"), TypeError, "must hold real numbers"),
    "Series of dates": (lambda a: pd.DataFrame(as_dates(a)).squeeze(), TypeError, "must hold real numbers"),
    "complex": (lambda a: a.astype(complex), ValueError, "Complex data not supported"),
    "strings": (lambda a: a.astype(str), (TypeError, ValueError), "must hold real numbers"),
    "bytes": (lambda a: a.astype("S"), (TypeError, ValueError), "must hold real numbers"),
    "list of strings": (lambda a: a.astype(str).tolist(), (TypeError, ValueError), "real numbers|dtype='numeric'"),
    "dates as objects": (lambda a: a.astype("M8[s]").astype(object), TypeError, "float|must hold real numbers"),
}


@pytest.mark.parametrize("kind", NOT_NUMBERS)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_what_is_not_a_number_is_refused(make, kind):
    """As X, weights, validation data, in every method; as y where it is to be a number."""
    convert, exception, message = NOT_NUMBERS[kind]
    X, y, weight = np.arange(60).reshape(20, 3) % 7, np.arange(20) % 3, np.arange(1, 21)
    est = make(early_stopping=True).fit(X.astype(float), y, X_val=X, y_val=y)
    bad_X, bad_y, bad_weight = convert(X), convert(y), convert(weight)
    validation = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    calls = [lambda m=m: getattr(est, m)(bad_X) for m in ("predict", "predict_proba", "predict_log_proba")
             if hasattr(est, m)]  # fmt: skip
    calls += [lambda: est.score(bad_X, y), lambda: est.score(X, y, bad_weight)]
    for train in (est.fit, est.partial_fit):
        calls += [
            lambda t=train: t(bad_X, y, **validation),
            lambda t=train: t(X, y, bad_weight, **validation),
            lambda t=train: t(X, y, **validation | {"X_val": bad_X}),
            lambda t=train: t(X, y, **validation | {"sample_weight_val": bad_weight}),
        ]
        if make is regressor:
            calls.append(lambda t=train: t(X, bad_y, **validation))
            calls.append(lambda t=train: t(X, y, **validation | {"y_val": bad_y}))
    if make is regressor:
        calls.append(lambda: est.score(X, bad_y))
    for call in calls:
        assert_unharmed(est, call, message, exception)


@pytest.mark.parametrize("dtype", "?bBhHiIlLefdgO")
@pytest.mark.parametrize("make", [classifier, regressor])
def test_numbers_of_any_kind_are_the_same_numbers(make, dtype):
    X, y, weight = np.arange(60).reshape(20, 3) * 7 % 5 % 2, np.arange(20) * 7 % 2, np.arange(20) * 3 % 2
    exact = make().fit(X.astype(float), y, weight.astype(float))
    est = make().fit(X.astype(dtype), y.astype(dtype) if dtype != "O" or make is regressor else y, weight.astype(dtype))
    assert_same_parameters(est, exact, rtol=1e-3 if dtype == "f" else 0)
    np.testing.assert_allclose(est.predict(X.astype(dtype)), exact.predict(X), rtol=1e-4)


def test_a_longdouble_beyond_float64_is_not_finite():
    X = X_iris.astype(np.longdouble)
    X[3, 1] = np.longdouble("1e4000") if np.finfo(np.longdouble).max > 1e308 else np.inf
    clf = classifier().fit(X_iris, y_iris)
    for call in (clf.fit, clf.partial_fit, lambda X, y: clf.predict(X)):
        with np.errstate(over="ignore"), pytest.raises(ValueError, match="contains infinity"):
            call(X, y_iris)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, bool, np.float64])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr"])
def test_repeated_entries_are_added_as_numbers(form, dtype):
    """200 + 100 is no uint8, True + True no bool."""
    value = 100 if dtype is np.int8 else 200
    data = np.array([value, 100, 1, 3]).astype(dtype)
    rows, columns = [0, 0, 1, 1], [1, 1, 0, 2]
    X = sparse.coo_array((data, (rows, columns)), shape=(2, 3))
    if form == "csr":
        X = sparse.csr_array((data, columns, [0, 2, 4]), shape=(2, 3))
    elif form == "csc":
        X = sparse.csc_array((data[[2, 0, 1, 3]], [1, 0, 0, 1], [0, 1, 3, 4]), shape=(2, 3))
    elif form == "bsr":
        X = sparse.bsr_array((data.reshape(4, 1, 1), columns, [0, 2, 4]), shape=(2, 3))
    dense = np.zeros((2, 3))
    np.add.at(dense, (rows, columns), data.astype(float))
    reg = regressor(alpha=0).fit(X, [0, 1])
    assert_same_parameters(reg, regressor(alpha=0).fit(dense, [0, 1]), rtol=1e-12)
    np.testing.assert_allclose(reg.predict(X), reg.predict(dense))
    assert X.nnz == 4 and X.dtype == dtype  # what the user owns is not changed


def test_string_labels_and_feature_names():
    frame = pd.DataFrame(X_iris, columns=["a", "b", "c", "d"])
    clf = classifier(max_iter=200, learning_rate_init=0.02).fit(frame, pd.Series(names_iris))
    assert list(clf.classes_) == ["setosa", "versicolor", "virginica"]
    assert list(clf.feature_names_in_) == ["a", "b", "c", "d"]
    assert set(clf.predict(frame)) == set(names_iris)
    assert clf.score(frame, names_iris) > 0.9
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.predict(X_iris)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        classifier().fit(X_iris, y_iris).predict(X_iris[:, :3])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_plain_rows_need_no_further_validation(monkeypatch, dtype):
    """A few rows that validation would let pass do not go through it, and everything else does."""
    X = X_iris.astype(dtype)
    clf = classifier().fit(X, y_iris)
    expected = clf.predict_proba(X.tolist() if dtype == "f8" else pd.DataFrame(X))
    asked = []
    monkeypatch.setattr("fastbp.estimators.inputs.check_is_fitted", asked.append)
    for rows in (slice(0, 1), slice(0, 150), slice(0, 150, 3)):
        np.testing.assert_array_equal(clf.predict_proba(X[rows]), expected[rows])
        np.testing.assert_array_equal(clf.predict(np.asfortranarray(X[rows])), expected[rows].argmax(axis=1))
    assert not asked
    others = [X.tolist(), X.astype("f2"), X.astype(">f8"), X.view(np.memmap), np.tile(X, (20, 1))]
    others.append(X * (np.finfo(dtype).max / 10))  # finite, but not its square
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


@pytest.mark.parametrize("labels", [[False, True], [-1, 1], [2.0, 5.0], ["no", "yes"], [3]])
def test_binary_labels(labels):
    y = np.array(labels)[(y_iris > 0) * (len(labels) - 1)]
    clf = classifier(max_iter=100, learning_rate_init=0.05).fit(X_iris, y)
    assert clf.out_activation_ == "logistic" and clf.n_outputs_ == 1
    assert clf.predict(X_iris).dtype == y.dtype
    assert clf.score(X_iris, y) == 1
    assert clf.predict_proba(X_iris).shape == (150, 2)
    np.testing.assert_allclose(clf.predict_proba(X_iris).sum(axis=1), 1)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float64, str])
def test_labels_of_any_type_are_the_same_classes(n_classes, dtype):
    y = 2 * np.minimum(y_iris, n_classes - 1) + 1
    expected = classifier(max_iter=3).fit(X_iris, y).partial_fit(X_iris, y)
    clf = classifier(max_iter=3).fit(X_iris, y.astype(dtype)).partial_fit(X_iris, y.astype(dtype))
    np.testing.assert_array_equal(clf.coefs_[0], expected.coefs_[0])
    for unknown in (0, 2, 9):  # below, between and above the classes
        with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
            clf.partial_fit(X_iris, np.where(np.arange(150) == 80, unknown, y).astype(dtype))


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_multilabel(convert):
    clf = MLPClassifier(30, solver="lbfgs", random_state=0).fit(X_multi, convert(Y_multi))
    predicted = clf.predict(X_multi)
    assert sparse.issparse(predicted) == sparse.issparse(convert(Y_multi))
    assert accuracy_score(convert(Y_multi), predicted) > 0.95
    assert clf.predict_proba(X_multi).shape == Y_multi.shape
    assert list(clf.classes_) == [0, 1, 2, 3]


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


def test_warnings_point_to_the_caller():
    for estimator in (classifier(batch_size=1000), regressor(batch_size=1000)):
        for train in (estimator.fit, estimator.partial_fit):
            with pytest.warns(UserWarning, match="Got `batch_size` less than 1") as caught:
                train(X_iris, y_iris)
            assert {w.filename for w in caught} == {__file__}


# Bad input leaves the model as it was


def bad_calls(estimator, X, y):
    """(what to do, with what message) for errors that both kinds of estimators know."""
    nan, inf = X.copy(), X.copy()
    nan[3, 1], inf[2, 0] = np.nan, np.inf
    negative = np.ones(len(y))
    negative[5] = -1
    weight = np.ones(len(y))
    huge = np.sign(X) * 1.7e308
    split = {"X_val": X, "y_val": y}

    fit, partial_fit = estimator.fit, estimator.partial_fit
    for train in (fit, partial_fit):
        yield lambda t=train: t(nan, y), "Input X contains NaN"
        yield lambda t=train: t(inf, y), "Input X contains infinity"
        yield lambda t=train: t(X[:0], y[:0]), "0 sample"
        yield lambda t=train: t(X[0], y), "Expected 2D array"
        yield lambda t=train: t(X, y[:-1]), "inconsistent numbers of samples"
        yield lambda t=train: t(X, None), "requires y"
        yield lambda t=train: t(X.astype(complex), y), "Complex data not supported"
        yield lambda t=train: t(np.full(X.shape, "a"), y), "could not convert string"
        yield lambda t=train: t(sparse.csr_array(nan), y), "Input X contains NaN"
        yield lambda t=train: t(X, y, negative), "`sample_weight`"
        yield lambda t=train: t(X, y, 0 * weight), "Sample weights must contain"
        yield lambda t=train: t(X, y, weight[:-1]), "sample_weight.shape"
        yield lambda t=train: t(X, y, np.nan * weight), "sample_weight contains NaN"
        yield lambda t=train: t(X, y, X_val=X), "y_val was not provided"
        yield lambda t=train: t(X, y, y_val=y), "X_val was not provided"
        yield lambda t=train: t(X, y, sample_weight_val=weight), "X_val was not provided"
        yield lambda t=train: t(X, y, **split), "needs early_stopping=True"
        yield lambda t=train: t(huge, y), "non-finite parameter weights"
    yield lambda: partial_fit(X[:, :2], y), "X has 2 features"


SETTINGS = [
    {"solver": "sgd", "momentum": 0.5},
    {"warm_start": True, "learning_rate": "adaptive", "random_state": np.random.RandomState(0)},
]


def assert_unharmed(estimator, call, message, exception=ValueError):
    before = pickle.dumps(estimator)
    with pytest.raises(exception, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        call()
    assert pickle.dumps(estimator) == before


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("continued", [False, True])
def test_bad_input_to_classifier(settings, continued):
    clf = classifier(**settings).fit(X_iris, names_iris)
    if continued:
        clf.partial_fit(X_iris, names_iris)
    for call, message in bad_calls(clf, X_iris, names_iris):
        assert_unharmed(clf, call, message)
    unknown = names_iris.copy()
    unknown[0] = "daisy"
    calls = {
        "y` has|same classes": lambda: clf.partial_fit(X_iris, unknown),
        "is not the same as on last call": lambda: clf.partial_fit(
            X_iris, y_iris, classes=[0, 1, 2]
        ),
        "Unknown label type": lambda: clf.fit(X_iris, X_iris[:, 0]),
        "Multioutput|Unknown label": lambda: clf.fit(X_iris, np.column_stack([y_iris, y_iris])),
        "has classes not in|same classes": lambda: clf.partial_fit(X_multi[:, :4], Y_multi),
    }
    if clf.warm_start:
        del calls["Multioutput|Unknown label"]
    for message, call in calls.items():
        assert_unharmed(clf, call, message)
    numbered = classifier().fit(X_iris, y_iris)
    call = lambda: numbered.partial_fit(X_iris, np.eye(3, dtype=int)[y_iris])  # noqa: E731
    assert_unharmed(numbered, call, "not fitted with multilabel input")


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("continued", [False, True])
def test_bad_input_to_regressor(settings, continued):
    reg = regressor(**settings).fit(X_reg, y_reg)
    if continued:
        reg.partial_fit(X_reg, y_reg)
    for call, message in bad_calls(reg, X_reg, y_reg):
        assert_unharmed(reg, call, message)
    nan = np.where(y_reg == y_reg.max(), np.nan, y_reg)
    assert_unharmed(reg, lambda: reg.fit(X_reg, nan), "Input y contains NaN")
    assert_unharmed(reg, lambda: reg.fit(X_reg, y_reg + 1j), "Complex data not supported")
    two = np.column_stack([y_reg, y_reg])
    assert_unharmed(reg, lambda: reg.partial_fit(X_reg, two), "y and loss need 2 outputs, but the network")


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be > 0, got"),
        ({"hidden_layer_sizes": (5, 2.5)}, "hidden_layer_sizes must be integers, got"),
        ({"activation": "swish"}, "'activation' parameter of MLP"),
        ({"activation": "step"}, "'activation' parameter of MLP"),
        ({"solver": "newton"}, "'solver' parameter of MLP"),
        ({"alpha": -1}, "'alpha' parameter of MLP"),
        ({"batch_size": 0}, "'batch_size' parameter of MLP"),
        ({"momentum": 2}, "'momentum' parameter of MLP"),
        ({"l1_ratio": 1.5}, "'l1_ratio' parameter of MLP"),
        ({"n_threads": 0}, "'n_threads' parameter of MLP"),
        ({"solver": SGD}, "'solver' parameter of MLP"),
        ({"solver": SGD(), "learning_rate": "adaptive"}, "learning_rate must be 'constant' if solver"),
        ({"solver": LBFGS}, "'solver' parameter of MLP"),
        ({"solver": Rprop(), "learning_rate": StepDecay(0.1)}, "learning_rate must be 'constant' if solver"),
        ({"solver": Rprop(), "early_stopping": True}, "early_stopping must be False, .* got solver=Rprop"),
        ({"solver": Newton(), "dropout": 0.1}, "dropout is for the stochastic solvers, got solver=Newton"),
        ({"solver": BFGS(), "l1_ratio": 0.5}, "l1_ratio must be 0 for solver=BFGS.* got 0.5"),
        ({"solver": BFGS(), "hidden_layer_sizes": 2000}, "BFGS is for networks of at most 5000 parameters"),
        ({"loss": "hinge"}, "'loss' parameter of MLP"),
        ({"loss": Quantile}, "'loss' parameter of MLP"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change' parameter of MLP"),
        ({"early_stopping": True, "validation_fraction": 0.005}, "validation set is too small"),
    ],
)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_bad_settings(make, setting, message):
    estimator = make().fit(X_iris, y_iris).set_params(**setting)
    assert_unharmed(estimator, lambda: estimator.fit(X_iris, y_iris), message)


def test_bad_validation_set():
    clf = classifier(early_stopping=True).fit(X_iris, names_iris)
    daisy = np.where(y_iris == 0, "daisy", names_iris)
    for train in (clf.fit, clf.partial_fit):
        for X, y, w, message in (
            (X_iris[:, :2], names_iris, None, "X_val.*X has 2 features"),
            (X_iris, daisy, None, "y_val.*has classes not in"),
            (X_iris, names_iris[1:], None, "X_val.*inconsistent"),
            (X_iris * np.nan, names_iris, None, "X_val.*contains NaN"),
            (X_iris, names_iris, -np.ones(150), "Negative.*sample_weight_val"),
            (X_iris[:1], names_iris[:1], None, "at least 2 rows"),
        ):
            val = {"X_val": X, "y_val": y, "sample_weight_val": w}
            assert_unharmed(clf, lambda t=train, v=val: t(X_iris, names_iris, **v), message)
    call = lambda: clf.partial_fit(X_iris, names_iris)  # noqa: E731
    assert_unharmed(clf, call, "partial_fit does not support early_stopping=True")
    clf.set_params(solver="lbfgs")
    call = lambda: clf.fit(X_iris, names_iris, X_val=X_iris, y_val=names_iris)  # noqa: E731
    assert_unharmed(clf, call, "solver='lbfgs'")


def test_weights_that_leave_nothing_to_train_on():
    weight = np.zeros(150)
    weight[0] = 1  # in one of the two parts, so that the other has none
    clf = classifier(early_stopping=True).fit(X_iris, y_iris)
    assert_unharmed(clf, lambda: clf.fit(X_iris, y_iris, weight), "training and the validation")


def test_poisson_refuses_negative_y():
    reg = regressor(loss="poisson").fit(X_reg, np.abs(y_reg))
    for train in (reg.fit, reg.partial_fit):
        assert_unharmed(reg, lambda t=train: t(X_reg, y_reg), "y are negative which is not allowed")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["hard_tanh", "elu", "gelu", "softmax", LeakyReLU(0.2), ELU(0.5)], ids=str)
def test_new_activations(activation, solver):
    """They are those of a Network with the same parameters, and survive cloning and pickling."""
    for make, y in ((classifier, y_iris), (regressor, X_iris[:, 0])):
        estimator = make(activation=activation, solver=solver).fit(X_iris, y)
        net = Network([Dense(8, activation), Dense(estimator.n_outputs_)], n_inputs=4)
        net.parameters[:] = parameters_in_order(estimator)
        outputs = net.predict(X_iris)
        expected = outputs.argmax(axis=1) if make is classifier else outputs[:, 0]
        for again in (estimator, pickle.loads(pickle.dumps(estimator)), clone(estimator).fit(X_iris, y)):
            assert again.get_params()["activation"] == activation
            np.testing.assert_array_equal(again.predict(X_iris), expected)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("loss", ["absolute_error", "huber", Huber(0.5), Lp(3), "quantile", Quantile(0.9)], ids=str)
def test_new_losses(loss, solver):
    """The reported loss is the cost, summed over outputs, and training reduces it."""
    Y = np.column_stack([y_reg, -y_reg])
    settings = {"loss": loss, "solver": solver, "alpha": 0, "learning_rate_init": 0.01, "shuffle": False}
    reg = regressor(**settings, max_iter=40, batch_size=len(Y)).fit(X_reg, Y)
    net = Network([Dense(8, "relu"), Dense(2)], n_inputs=X_reg.shape[1], loss=loss, random_state=0)
    start, _ = net.value_and_gradient(X_reg, Y)
    if solver != "lbfgs":
        np.testing.assert_allclose(reg.loss_curve_[0], start)
    net.parameters[:] = parameters_in_order(reg)
    cost, _ = net.value_and_gradient(X_reg, Y)
    assert cost < 0.95 * start
    if solver == "lbfgs":
        np.testing.assert_allclose(reg.loss_, cost)
    again = pickle.loads(pickle.dumps(clone(reg))).fit(X_reg, Y)
    np.testing.assert_array_equal(again.predict(X_reg), reg.predict(X_reg))


def test_quantile_covers_its_share():
    reg = regressor(loss=Quantile(0.9), solver="adam", max_iter=400, learning_rate_init=0.01, tol=0)
    assert abs((y_reg <= reg.fit(X_reg, y_reg).predict(X_reg)).mean() - 0.9) < 0.05


def pinball(y, predictions, q, weight=None):
    """D^2 of the pinball loss: one of the constants in y is the best."""

    def loss(errors):
        return np.average(np.maximum(q * errors, (q - 1) * errors), weights=weight, axis=-1)

    return 1 - loss(y - predictions) / loss(y - y[:, np.newaxis]).min()


def test_several_quantiles():
    """They are those of a network; their score is the mean D^2, which early stopping watches too."""
    levels, Y = [0.1, 0.5, 0.9], np.column_stack([y_reg, X_reg[:, 0] ** 2])
    settings = {"loss": Quantile(levels), "max_iter": 200, "learning_rate_init": 0.01}
    reg = regressor(**settings, early_stopping=True, n_iter_no_change=np.inf)
    reg.fit(X_reg, y_reg, X_val=X_reg[::2], y_val=y_reg[::2], sample_weight_val=np.ones(100))
    predictions = reg.predict(X_reg)
    assert predictions.shape == (200, 3) and reg.n_outputs_ == 3 and reg.out_activation_ == "identity"
    np.testing.assert_allclose([(y_reg <= p).mean() for p in predictions.T], levels, atol=0.15)
    expected = np.mean([pinball(y_reg, p, q) for p, q in zip(predictions.T, levels, strict=True)])
    np.testing.assert_allclose(reg.score(X_reg, y_reg), expected)
    assert expected > 0.5
    np.testing.assert_allclose(reg.score(X_reg[::2], y_reg[::2]), max(reg.validation_scores_))
    weight = np.random.default_rng(0).integers(1, 4, 200)
    expected = np.mean([pinball(y_reg, p, q, weight) for p, q in zip(predictions.T, levels, strict=True)])
    np.testing.assert_allclose(reg.score(X_reg, y_reg, weight), expected)

    reg = regressor(**settings).fit(X_reg, Y)
    predictions = reg.predict(X_reg)
    assert predictions.shape == (200, 2, 3) and reg.n_outputs_ == 6
    net = Network([Dense(8, "relu"), Dense(6)], n_inputs=10, loss=Quantile(levels))
    net.parameters[:] = parameters_in_order(reg)
    outputs = net.predict(X_reg).reshape(200, 3, 2)
    np.testing.assert_array_equal(predictions, outputs.transpose(0, 2, 1))
    parts = [pinball(Y[:, t], predictions[:, t, i], q) for t in range(2) for i, q in enumerate(levels)]
    np.testing.assert_allclose(reg.score(X_reg, Y), np.mean(parts))
    one = regressor(loss=Quantile([0.3])).fit(X_reg, y_reg)
    assert one.predict(X_reg).shape == (200,)
    assert one.score(X_reg, y_reg) == r2_score(y_reg, one.predict(X_reg))
    scores = cross_val_score(regressor(**settings), X_reg, Y, cv=3)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("solver", ["adam", LBFGS()], ids=str)
def test_gaussian_knows_how_sure_it_is(solver):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1000, 1))
    deviation = np.exp(X) / 5
    Y = np.hstack([X + deviation * rng.normal(size=X.shape), -X + rng.normal(size=X.shape)])
    reg = regressor(loss="gaussian", solver=solver, max_iter=300, learning_rate_init=0.01, activation="tanh")
    mean, std = reg.fit(X, Y).predict(X, return_std=True)
    assert mean.shape == std.shape == (1000, 2) and reg.n_outputs_ == 4
    np.testing.assert_array_equal(mean, reg.predict(X))
    assert np.abs(mean - np.hstack([X, -X])).mean() < 0.1
    assert np.abs(np.log(std / np.hstack([deviation, np.ones_like(X)]))).mean() < 0.15
    assert reg.score(X, Y) == r2_score(Y, mean)
    # The cost is minus the logarithm of the normal density.
    reg.fit(X, Y[:, 0])
    mean, std = reg.predict(X, return_std=True)
    assert mean.shape == std.shape == (1000,)
    cost = np.mean((Y[:, 0] - mean) ** 2 / (2 * std**2) + np.log(std) + np.log(2 * np.pi) / 2)
    reg.set_params(warm_start=True, max_iter=1, alpha=0, solver="sgd", batch_size=1000, learning_rate_init=1e-300)
    np.testing.assert_allclose(reg.fit(X, Y[:, 0]).loss_curve_[-1], cost)
    for again in (clone(reg).fit(X, Y[:, 0]), pickle.loads(pickle.dumps(reg))):
        assert again.predict(X, return_std=True)[1].shape == (1000,)
    with pytest.raises(ValueError, match="return_std=True needs loss='gaussian', got 'squared_error'"):
        regressor().fit(X_reg, y_reg).predict(X_reg, return_std=True)


@pytest.mark.parametrize("sigma", [0, 0.2])
def test_histogram_loss_predicts_means(sigma):
    loss = HistogramLoss(np.linspace(-4, 4, 21), sigma)
    reg = regressor(loss=loss, max_iter=300, learning_rate_init=0.02, early_stopping=True, validation_fraction=0.2)
    reg.fit(X_reg, y_reg)
    assert reg.n_outputs_ == 20 and reg.out_activation_ == "softmax"
    net = Network([Dense(8, "relu"), Dense(20)], n_inputs=10, loss=loss)
    net.parameters[:] = parameters_in_order(reg)
    again = pickle.loads(pickle.dumps(reg)).set_params(loss="squared_error")  # fitted it remains
    for model in (reg, again):
        np.testing.assert_array_equal(model.predict(X_reg), net.predict(X_reg)[:, 0])
    assert reg.score(X_reg, y_reg) == r2_score(y_reg, reg.predict(X_reg)) > 0.7
    assert clone(reg).fit(X_reg, y_reg).validation_scores_ == reg.validation_scores_
    assert_unharmed(reg, lambda: reg.fit(X_reg, 10 * y_reg), "y must lie between the outer edges -4.0 and 4.0")
    assert_unharmed(reg, lambda: reg.fit(X_reg, X_reg), r"y must have shape \(200,\) for HistogramLoss")
    call = lambda: reg.fit(X_reg, y_reg, X_val=X_reg, y_val=9 + y_reg)  # noqa: E731
    assert_unharmed(reg, call, "y_val.*y must lie between the outer edges")


# Losses of classifiers

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
    outputs = lambda: clf._network().predict(X_iris)  # noqa: E731
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


def test_grid_search_over_losses_of_classifiers():
    grid = {"loss": CLASSIFIER_LOSSES, "solver": ["adam", LBFGS()]}
    search = GridSearchCV(classifier(max_iter=30), grid, cv=3).fit(X_iris, names_iris)
    assert search.best_params_["loss"] in CLASSIFIER_LOSSES
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_changed_loss_counts():
    reg = regressor().partial_fit(X_reg, y_reg).set_params(loss="absolute_error")
    net = Network([Dense(8, "relu"), Dense(1)], n_inputs=X_reg.shape[1], loss="absolute_error", l2=0)
    net.parameters[:] = parameters_in_order(reg)
    cost, _ = net.value_and_gradient(X_reg, y_reg)
    reg.set_params(alpha=0, batch_size=len(y_reg)).partial_fit(X_reg, y_reg)
    np.testing.assert_allclose(reg.loss_, cost)


def test_grid_search_over_activations_and_losses():
    grid = {"activation": ["relu", LeakyReLU(0.1), ELU()], "loss": ["squared_error", Huber(0.5)]}
    search = GridSearchCV(regressor(solver="lbfgs"), grid, cv=2).fit(X_reg, y_reg)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("activation", ["relu", "logistic", "hard_tanh", "leaky_relu", "gelu", "softplus"])
@pytest.mark.parametrize("solver", ["adam", SGD(0.1, clip_value=0.01), SGD(0.1, clip_norm=0.01, proximal=True)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_epoch_shows_what_is_not_finite(activation, solver, value):
    """partial_fit does not look at X before it trains on it, and says what scikit-learn says all the same."""
    dense, sparse_, ones = X_iris.copy(), sparse.lil_array(X_iris.shape), X_iris * 0
    dense[77, 2] = sparse_[77, 2] = ones[77, 2] = value
    theirs = sklearn.neural_network.MLPClassifier()
    for X in (dense, dense.astype(np.float32), sparse_.tocsr(), ones):
        with pytest.raises(ValueError) as error:
            theirs.partial_fit(X, y_iris, classes=[0, 1, 2])
        message = re.escape(str(error.value))
        clf = classifier(activation=activation, solver=solver, l1_ratio=0.5)
        with pytest.raises(ValueError, match=message):
            clf.partial_fit(X, y_iris, classes=[0, 1, 2])
        clf.partial_fit(X_iris, y_iris, classes=[0, 1, 2])
        assert_unharmed(clf, lambda clf=clf, X=X: clf.partial_fit(X, y_iris), message)


def test_clipping_hides_no_infinity():
    """A clipped gradient is finite where X is not, so that X is looked at first."""
    reg = regressor(loss="absolute_error", activation="identity", solver=SGD(0.1, clip_value=1.0))
    reg.partial_fit(X_reg, y_reg)
    bad = X_reg.copy()
    bad[5, 1] = np.inf
    assert_unharmed(reg, lambda: reg.partial_fit(bad, y_reg), "Input X contains infinity")


def test_the_last_call_of_early_stopping_hides_no_nan():
    """The best parameters that it returns to are finite whatever the last epoch was."""
    val = {"X_val": X_iris, "y_val": y_iris}
    clf = classifier(early_stopping=True, n_iter_no_change=1, learning_rate_init=1e-12, tol=1)
    for _ in range(2):
        clf.partial_fit(X_iris, y_iris, classes=[0, 1, 2], **val)
    bad = X_iris.copy()
    bad[7, 0] = np.nan
    assert_unharmed(clf, lambda: clf.partial_fit(bad, y_iris, **val), "Input X contains NaN")
    assert clf.partial_fit(X_iris, y_iris, **val).converged_


@pytest.mark.parametrize("pickled", [False, True])
def test_another_loss_keeps_the_optimizers_state(pickled):
    clf = classifier().partial_fit(X_iris, y_iris, classes=[0, 1, 2])
    steps = int(clf._network()._optimizer_state["t"][0])
    clf = pickle.loads(pickle.dumps(clf)) if pickled else clf
    clf.set_params(loss="squared_error").partial_fit(X_iris, y_iris)
    assert clf._network().loss == "squared_error"
    assert clf._network()._optimizer_state["t"][0] == 2 * steps


def test_bad_first_calls_leave_nothing():
    for clf in (
        classifier(), classifier(class_weight="balanced"), classifier(solver="lbfgs"), classifier(solver=Rprop())
    ):  # fmt: skip
        with pytest.raises((ValueError, AttributeError)):
            clf.partial_fit(X_iris * np.nan, y_iris, classes=[0, 1, 2])
        assert set(vars(clf)) == set(clf.get_params(deep=False))
        with pytest.raises(NotFittedError):
            clf.predict(X_iris)


def test_diverging_lbfgs():
    reg = regressor(solver="lbfgs").fit(X_reg, y_reg)
    call = lambda: reg.fit(X_reg * 1e200, y_reg)  # noqa: E731
    try:
        before = pickle.dumps(reg)
        call()
    except ValueError as error:
        assert "non-finite" in str(error)
        assert pickle.dumps(reg) == before
    assert np.isfinite(parameters(reg)).all()


@pytest.mark.parametrize("train", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}, {"solver": Rprop()}, {"loss": "gaussian"}],
    ids=str,
)
@pytest.mark.parametrize("dtype, size", [(np.float32, 1e25), (np.float32, 1e300), (np.float64, 1e300)])
def test_a_target_too_large_for_the_loss_is_no_silence(dtype, size, settings, train):
    """Either it is trained on, or it is an error: no loss of inf with weights that never move."""
    X, y = X_reg.astype(dtype), y_reg * size
    reg = regressor(**settings).fit(X, y_reg)
    if train == "partial_fit" and ("solver" in settings or reg.early_stopping):
        pytest.skip("no partial_fit")
    still = SGD(1e-300 if dtype == np.float64 else 1e-44)
    before, start = pickle.dumps(reg), regressor(max_iter=1, solver=still).fit(X, y_reg)
    try:
        with np.errstate(all="ignore"):
            getattr(reg, train)(X, y)
    except ValueError as error:
        assert "non-finite" in str(error) and "large values" in str(error)
        assert pickle.dumps(reg) == before
    else:
        assert np.isfinite(reg.loss_) and (parameters(reg) != parameters(start)).any()


# Early stopping, partial_fit and warm start


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


def test_converged():
    assert not classifier(max_iter=2).fit(X_iris, y_iris).converged_
    assert classifier(max_iter=50, tol=1, n_iter_no_change=1).fit(X_iris, y_iris).converged_
    assert not classifier(max_iter=2, solver="lbfgs").fit(X_iris, y_iris).converged_
    assert classifier(max_iter=500, solver="lbfgs", alpha=1).fit(X_iris, y_iris).converged_


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


# Settings that are objects

SETTINGS_OBJECTS = [
    SGD(0.2, momentum=0.5), Adam(), AdamW(StepDecay(0.1)), RMSProp(), Adagrad(), Rprop(), Quickprop(), Newton(),
    NewtonCG(), BFGS(), LBFGS(), StepDecay(0.1), Exponential(0.1), InverseScaling(0.1), Cyclical(0.1, 0.2, 5),
    CosineWarmRestarts(0.1, 5), OneCycle(0.1, 100), ReduceOnPlateau(0.1), WarmUp(3, then=ReduceOnPlateau(0.1)),
    LeakyReLU(0.1), ELU(2.0), SoftmaxCrossEntropy(0.1), Lp(3), Huber(), Quantile([0.1, 0.9]),
    HistogramLoss([0, 1, 2, 3]), VarianceScaling(), Orthogonal(2.0), Dense(3, LeakyReLU(0.3)), RBF(4),
    ImageAugmentation((2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS_OBJECTS, ids=lambda s: type(s).__name__)
def test_settings_have_params(settings):
    params = settings.get_params(deep=False)
    assert type(settings)(**params) == settings and hash(type(settings)(**params)) == hash(settings)
    assert set(params) == set(inspect.signature(type(settings)).parameters)
    assert set(params) == {name for name in settings.get_params() if "__" not in name}
    assert clone(settings, safe=False) == settings == pickle.loads(pickle.dumps(settings))
    assert settings.set_params(**settings.get_params()) == settings
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        settings.set_params(colour=1)
    with pytest.raises(ValueError):
        settings.set_params(**dict.fromkeys(params, -1.5))
    assert settings.get_params(deep=False) == params


def test_params_of_settings_that_are_params():
    warm_up = WarmUp(3, then=OneCycle(0.1, 100))
    rule = SGD(warm_up, momentum=0.5)
    clf = classifier(solver=rule, activation=LeakyReLU(0.2), loss=SoftmaxCrossEntropy(0.1))
    twin = classifier(solver=rule)
    params = clf.get_params()
    assert params["solver__learning_rate__then__maximum"] == 0.1 and params["activation__slope"] == 0.2
    assert params["loss__label_smoothing"] == 0.1 and "solver__momentum" not in clf.get_params(deep=False)
    clf.set_params(solver__learning_rate__then__maximum=0.7, solver__momentum=0.1, activation__slope=0.3, alpha=2)
    assert clf.solver == SGD(WarmUp(3, then=OneCycle(0.7, 100)), momentum=0.1)
    assert clf.activation == LeakyReLU(0.3) and clf.alpha == 2
    assert twin.solver is rule and rule == SGD(WarmUp(3, then=OneCycle(0.1, 100)), momentum=0.5)  # shared, immutable
    clf.set_params(solver__epsilon=1e-3, solver=Adam())  # whatever the order, the new one is meant
    assert clf.solver == Adam(epsilon=1e-3)
    assert regressor(loss=Huber(2.0)).set_params(loss__delta=3.0).loss == Huber(3.0)
    assert clone(clf).get_params() == clf.get_params()
    assert "epsilon" in repr(clf) and "epsilon" in clf._repr_html_()
    before = clf.get_params()
    for bad, message in (
        ({"alpha": 7, "solver__colour": 1}, "Invalid parameter 'colour' for Adam"),
        ({"alpha": 7, "solver__epsilon": -1}, "epsilon must be a number"),
        ({"alpha": 7, "alpha__x": 1}, "Invalid parameter 'alpha__x' for MLPClassifier: alpha is 7"),
        ({"alpha": 7, "colour": 1}, "Invalid parameter 'colour' for estimator MLPClassifier"),
        ({"alpha": 7, "colour__x": 1}, "Invalid parameter 'colour__x'"),
        ({"solver": "adam", "solver__epsilon": 1}, "solver is 'adam', which has no parameters of its own"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            clf.set_params(**bad)
        assert clf.get_params() == before


@pytest.mark.once
def test_grid_search_over_settings_of_a_solver():
    grid = {"mlpclassifier__solver__learning_rate": [1e-6, 0.05], "mlpclassifier__activation__slope": [0.1, 0.2]}
    solver = RMSProp(momentum=0.5)
    pipeline = make_pipeline(StandardScaler(), classifier(solver=solver, activation=LeakyReLU(), max_iter=20))
    search = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, y_iris)
    by_hand = [
        cross_val_score(
            make_pipeline(
                StandardScaler(), classifier(solver=RMSProp(rate, momentum=0.5), activation=LeakyReLU(a), max_iter=20)
            ),
            X_iris, y_iris, cv=3,
        ).mean()
        for a in (0.1, 0.2) for rate in (1e-6, 0.05)
    ]  # fmt: skip
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], by_hand)
    assert search.best_estimator_[1].solver.learning_rate == 0.05 and solver.learning_rate == 0.001


def test_settings_that_are_not_used_are_warned_of():
    def messages(estimator, train="fit"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(estimator, train)(X_iris, y_iris)
        ours = [w for w in caught if "is not used" in str(w.message)]
        assert {w.filename for w in ours} <= {__file__} and {w.category for w in ours} <= {UserWarning}
        return [str(w.message) for w in ours]

    schedule = StepDecay(0.1)
    (message,) = messages(classifier(solver=SGD(0.1), learning_rate_init=0.5))
    assert "learning_rate_init=0.5 is not used: solver=SGD" in message
    assert len(messages(regressor(solver=Adam(), learning_rate_init=0.5), "partial_fit")) == 1
    assert len(messages(regressor(solver=Rprop(), learning_rate_init=0.5))) == 1
    assert len(messages(classifier(learning_rate=schedule, learning_rate_init=0.5))) == 1
    (message,) = messages(classifier(solver="lbfgs", learning_rate=schedule))
    assert "learning_rate=StepDecay" in message and "lbfgs" in message
    for quiet in (
        classifier(solver=SGD(0.1)), classifier(learning_rate_init=0.5), classifier(solver="lbfgs"),
        classifier(learning_rate=schedule),
    ):  # fmt: skip
        assert messages(quiet) == []


# Update rules

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
    net = make(max_iter=1, solver=SGD(1e-300)).fit(X_iris, y)._network()
    net.l2 = 1e-4 / 150  # one batch of all rows: alpha is divided by their number
    target = LabelBinarizer().fit_transform(y).argmax(axis=1) if make is classifier else y
    net.fit(X_iris, target, optimizer=RULES[name], batch_size=150, epochs=5, shuffle=False)
    whole = make(solver=RULES[name], batch_size=150, shuffle=False).fit(X_iris, y)
    np.testing.assert_allclose(net.parameters, whole._network().parameters, rtol=1e-9)


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

FULL_BATCH = [Rprop(), Quickprop(), Newton(), NewtonCG(), BFGS(), LBFGS()]


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
    assert not hasattr(estimator, "partial_fit") and estimator._bound[0]._optimizer_state is None
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


# Pickling, copying, composing


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
            assert np.shares_memory(model._network().parameters, mapped)
            assert all(np.shares_memory(a, mapped) for a in (*model.coefs_, *model.intercepts_))
        np.testing.assert_array_equal(model.predict(X_iris), est.predict(X_iris))
    twin = pickle.loads(pickle.dumps(loaded))
    for model in (loaded, twin):  # training is what copies
        assert_same_parameters(model.partial_fit(X_iris, y), clone(est).fit(X_iris, y).partial_fit(X_iris, y))
        assert not np.shares_memory(model._network().parameters, mapped) and model.coefs_[0].flags.writeable
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
    state |= {"_optimizer_state": copy.deepcopy(clf._network()._optimizer_state)}
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


def test_clone_is_unfitted():
    clf = classifier(l1_ratio=0.3, class_weight={0: 2, 1: 1, 2: 1}, n_threads=1)
    twin = clone(clf.fit(X_iris, y_iris))
    assert set(vars(twin)) == set(clf.get_params()) == set(twin.get_params())
    assert twin.get_params() == clf.get_params()


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


@pytest.mark.parametrize("fresh", [False, True])
def test_prediction_from_many_threads(fresh):
    clf = MLPClassifier((50, 20), max_iter=3, random_state=0).fit(X_digits, y_digits)
    expected = [clf.predict_proba(X_digits[i::8]) for i in range(8)]
    if fresh:
        clf = pickle.loads(pickle.dumps(clf))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            results = pool.map(lambda i: clf.predict_proba(X_digits[i::8]), range(8))
            for result, one in zip(results, expected, strict=True):
                np.testing.assert_array_equal(result, one)


@pytest.mark.once
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    pipeline = make_pipeline(StandardScaler(), classifier(max_iter=20))
    grid = {"mlpclassifier__alpha": [1e-4, 10], "mlpclassifier__solver": ["adam", "lbfgs"]}
    alone = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, names_iris)
    with joblib.parallel_backend(backend, n_jobs=2):
        search = GridSearchCV(pipeline, grid, cv=3).fit(X_iris, names_iris)
        scores = cross_val_score(regressor(), X_reg, y_reg, cv=4)
    assert search.best_params_ == alone.best_params_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(scores, cross_val_score(regressor(), X_reg, y_reg, cv=4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_after_two_threads():
    clf = MLPClassifier((200, 200), max_iter=2, batch_size=250, random_state=0, n_threads=2)
    expected = clf.fit(X_digits, y_digits).predict_proba(X_digits)
    child = os.fork()
    if child == 0:
        # A hanging child ends itself.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        same = (clf.predict_proba(X_digits) == expected).all()
        again = (clf.fit(X_digits, y_digits).predict_proba(X_digits) == expected).all()
        os._exit(0 if same and again else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(clf.predict_proba(X_digits), expected)


# Weights and penalties


@pytest.mark.parametrize("settings", [{"solver": "lbfgs"}, {"solver": "sgd"}, {"solver": "adam"}])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_weight_zero_is_no_row(make, settings):
    weight = np.random.default_rng(0).integers(0, 3, 150).astype(float)
    kept = weight > 0
    zero = make(shuffle=False, **settings).fit(X_iris, y_iris, weight)
    removed = make(shuffle=False, **settings).fit(X_iris[kept], y_iris[kept], weight[kept])
    assert_same_parameters(zero, removed, rtol=1e-6)


def test_batches_of_weight_zero_do_nothing():
    weight = np.repeat([1.0, 0.0, 1.0], 50)
    settings = {"shuffle": False, "batch_size": 50, "max_iter": 4}
    zero = classifier(**settings).fit(X_iris[:, :2], y_iris > 0, weight)
    rows = weight > 0
    removed = classifier(**settings).fit(X_iris[rows][:, :2], y_iris[rows] > 0)
    assert_same_parameters(zero, removed, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", ["balanced", {"setosa": 3, "virginica": 0.5}])
def test_class_weight(class_weight, solver):
    X, y = X_iris[:120], names_iris[:120]  # few of the last class
    settings = {"solver": solver, "early_stopping": solver == "adam"}
    weighted = classifier(class_weight=class_weight, **settings).fit(X, y)
    by_hand = classifier(**settings).fit(X, y, compute_sample_weight(class_weight, y))
    assert_same_parameters(weighted, by_hand, rtol=1e-9)
    # Times the sample weights; balanced are the weighted counts.
    weight = np.random.default_rng(0).integers(0, 3, 120).astype(float)
    rows = np.repeat(np.arange(120), weight.astype(int))
    settings["early_stopping"] = False
    weighted = classifier(class_weight=class_weight, **settings).fit(X, y, weight)
    repeated = classifier(class_weight=class_weight, **settings).fit(X[rows], y[rows])
    assert_same_parameters(weighted, repeated, rtol=1e-5)


@pytest.mark.parametrize("class_weight", ["balanced", [{0: 1, 1: k} for k in (1, 2, 3, 4)]])
def test_class_weight_of_labels(class_weight):
    weighted = classifier(class_weight=class_weight).fit(X_multi, Y_multi)
    weight = compute_sample_weight(class_weight, Y_multi)
    assert_same_parameters(weighted, classifier().fit(X_multi, Y_multi, weight), rtol=1e-9)


def test_class_weight_in_partial_fit():
    weight = {"setosa": 2.0, "versicolor": 3.0, "virginica": 0.5}
    weighted, by_hand = classifier(class_weight=weight), classifier()
    for rows in (slice(0, 60), slice(90, 150)):  # two of three classes in each
        y = names_iris[rows]
        weighted.partial_fit(X_iris[rows], y, classes=list(weight))
        sample_weight = [weight[name] for name in y]
        by_hand.partial_fit(X_iris[rows], y, sample_weight, classes=list(weight))
    assert_same_parameters(weighted, by_hand)


def test_class_weight_looks_labels_up_as_they_are():
    text = y_iris.astype(str)
    weighted = classifier(class_weight={"0": 1, "1": 5, "2": 1}).fit(X_iris, text)
    numbered = classifier(class_weight={0: 1, 1: 5, 2: 1}).fit(X_iris, y_iris)
    by_hand = classifier().fit(X_iris, text, np.where(y_iris == 1, 5.0, 1.0))
    assert_same_parameters(weighted, by_hand)
    assert_same_parameters(numbered, by_hand)
    for y in (y_iris.astype(float), y_iris.astype(np.uint8)):  # numbers that are equal are the same label
        assert_same_parameters(classifier(class_weight={0: 1, np.float64(1): 5, np.int8(2): 1}).fit(X_iris, y), by_hand)
    odd = np.array(["1", "01", "2"])[y_iris]
    for weights in ({1: 9}, {1: 9, 2: 3}, {"1": 9, 2: 3}):
        with pytest.raises(ValueError, match="class_weight has labels that are not classes"):
            classifier(class_weight=weights).fit(X_iris, odd)
        with pytest.raises(ValueError, match="class_weight has labels that are not classes"):
            classifier(class_weight=weights).partial_fit(X_iris, odd, classes=["1", "01", "2"])
    by_hand = classifier().fit(X_iris, odd, np.where(odd == "01", 9.0, 1.0))
    assert_same_parameters(classifier(class_weight={"01": 9}).fit(X_iris, odd), by_hand)
    with pytest.raises(TypeError, match="class_weight must hold real numbers"):
        classifier(class_weight={0: "5"}).fit(X_iris, y_iris)


@pytest.mark.parametrize("loss", ["log_loss", "cross_entropy"])
def test_labels_are_no_other_labels(loss):
    text = y_iris.astype(str)
    kinds = {"numbers": y_iris, "text": text, "dates": y_iris.astype("M8[s]"), "durations": y_iris.astype("m8[s]")}
    for name, y in kinds.items():
        clf = classifier(loss=loss).partial_fit(X_iris, y, classes=np.unique(y))
        for other, labels in kinds.items():
            if other != name:
                assert_unharmed(clf, lambda clf=clf, y=labels: clf.partial_fit(X_iris, y), "has classes not in")
                clf.warm_start = True
                assert_unharmed(clf, lambda clf=clf, y=labels: clf.fit(X_iris, y), "the same classes")
                clf.warm_start = False
    # No wrapping around and no rounding.
    small, large = np.array([44, 300, 301]), 2**60 + np.arange(3)
    for classes, y in ((small, np.full(4, 44, np.uint8)), (large, large[[2, 0, 1, 2]].astype(np.uint64))):
        clf = classifier(loss=loss).partial_fit(X_iris[:4], y, classes=classes)
        same = classifier(loss=loss).partial_fit(X_iris[:4], np.searchsorted(classes, y.astype(int)), classes=[0, 1, 2])
        assert_same_parameters(clf, same)
    unknown = np.array([2**60 + 3], np.uint64)
    assert_unharmed(clf, lambda: clf.partial_fit(X_iris[:1], unknown), "has classes not in")


@pytest.mark.parametrize(
    "class_weight, X, y, message",
    [
        ({"rose": 2}, X_iris, names_iris, "not in class_weight"),
        ({"setosa": -1}, X_iris, names_iris, "class_weight must be finite and not negative"),
        ([{0: 1, 1: 1}], X_iris, names_iris, "class_weight must be a list"),
        ({0: 1}, X_multi, Y_multi, "class_weight must be a list"),
        ([{0: 1}], X_multi, Y_multi, "class_weight has 1 elements"),
        ("unfair", X_iris, names_iris, "'class_weight' parameter"),
    ],
)
def test_bad_class_weight(class_weight, X, y, message):
    clf = classifier().fit(X, y).set_params(class_weight=class_weight)
    assert_unharmed(clf, lambda: clf.fit(X, y), message)


def test_balanced_is_refused_by_partial_fit():
    clf = classifier(class_weight="balanced").fit(X_iris, y_iris)
    assert_unharmed(
        clf, lambda: clf.partial_fit(X_iris, y_iris), "'balanced' is not supported for partial_fit"
    )


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


# Interrupts


@pytest.fixture
def no_gc_callbacks():
    """An exception that is raised in a callback of the garbage collector is lost, and hypothesis has one."""
    callbacks = gc.callbacks.copy()
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "adam", "tol": 0, "n_iter_no_change": np.inf},
        {"solver": "sgd", "tol": 0, "early_stopping": True, "n_iter_no_change": np.inf},
        {"solver": "lbfgs", "tol": 0, "max_fun": 10**9},
        {"solver": "lbfgs", "tol": 0, "max_fun": 10**9, "l1_ratio": 0.5},
        {"solver": Rprop(), "tol": 0, "n_iter_no_change": np.inf},
        {"solver": NewtonCG(gtol=0)},
        {"solver": LBFGS(ftol=0, gtol=0), "l1_ratio": 0.5},
    ],
)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_interrupt(make, settings):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 30))
    y = rng.integers(0, 2, 20_000)
    estimator = make(max_iter=10**6, **settings).set_params(hidden_layer_sizes=(300, 300))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.warns(UserWarning, match="Training interrupted by user."):
            estimator.fit(X, y)
    finally:
        timer.cancel()
    assert np.isfinite(parameters(estimator)).all()
    assert estimator.predict(X[:10]).shape == (10,)
    assert not estimator.converged_ and estimator.n_iter_ < 10**6
    estimator.set_params(max_iter=1, max_fun=2, hidden_layer_sizes=2).fit(X[:100], y[:100])


@pytest.mark.usefixtures("no_gc_callbacks")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_interrupt_of_partial_fit(make, early_stopping):
    """It ends a loop of calls, and leaves what was learnt."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 30)), rng.integers(0, 2, 20_000)
    more = {"classes": [0, 1]} if make is classifier else {}
    if early_stopping:
        more |= {"X_val": X, "y_val": y}
    est = make(early_stopping=early_stopping, n_iter_no_change=np.inf, batch_size=50)
    est.set_params(hidden_layer_sizes=(300, 300)).partial_fit(X[:100], y[:100], **more)
    start = parameters(est).copy()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    calls = 0
    try:
        with pytest.raises(KeyboardInterrupt):
            while calls < 50:
                est.partial_fit(X, y, **more)
                calls += 1
    finally:
        timer.cancel()
    assert np.isfinite(parameters(est)).all() and (parameters(est) != start).any()
    assert len(est.loss_curve_) == 1 + calls and est.t_ == 100 + 20_000 * calls
    if early_stopping:
        assert len(est.validation_scores_) == len(est.validation_loss_curve_) == 1 + calls
    est.partial_fit(X[:100], y[:100], **more)
    assert est.predict(X[:10]).shape == (10,) and len(est.loss_curve_) == 2 + calls


def interrupt_after(monkeypatch, name):
    """Make a method of a network behave as if Ctrl-C came when it is done."""
    method = getattr(Network, name)

    def interrupted(*args, **kwargs):
        method(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, name, interrupted)


@pytest.mark.parametrize("name", ["_train_epoch", "_evaluate", "predict"])
def test_interrupted_epoch_is_not_recorded(name, monkeypatch):
    val = {"X_val": X_iris, "y_val": y_iris}
    clf = classifier(early_stopping=True).partial_fit(X_iris, y_iris, classes=[0, 1, 2], **val)
    before, records = parameters(clf).copy(), {k: copy.copy(v) for k, v in vars(clf).items() if k.endswith("_")}
    with monkeypatch.context() as patch:
        interrupt_after(patch, name)
        with pytest.raises(KeyboardInterrupt):
            clf.partial_fit(X_iris, y_iris, **val)
        assert (parameters(clf) != before).any()
        for key in ("t_", "loss_curve_", "validation_scores_", "validation_loss_curve_", "best_validation_score_"):
            assert getattr(clf, key) == records[key]
        with pytest.warns(UserWarning, match="Training interrupted by user."):
            classifier(early_stopping=True).fit(X_iris, y_iris)
    # What comes before the training is undone.
    before = pickle.dumps(clf)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "_rows")
        with pytest.raises(KeyboardInterrupt):
            clf.partial_fit(X_iris, y_iris, **val)
    assert pickle.dumps(clf) == before


OUT_OF_MEMORY = """
import _testcapi, warnings
import numpy as np
from fastbp import MLPClassifier, Network

warnings.simplefilter("ignore")
X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
train = Network._train_epoch
for nth in range(150):  # the allocation that fails after the training has
    for method in ("fit", "partial_fit"):
        clf = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
        expected, names = clf.predict_proba(X), set(vars(clf))

        def fail(*args, **kwargs):
            train(*args, **kwargs)
            error = MemoryError()
            _testcapi.set_nomemory(nth, nth + 1)
            raise error

        Network._train_epoch = fail
        try:
            try:
                getattr(clf, method)(X, y)
            except:
                _testcapi.remove_mem_hooks()
        except:
            _testcapi.remove_mem_hooks()
        Network._train_epoch = train
        assert set(vars(clf)) == names and len(clf.loss_curve_) == 3, (nth, method, set(vars(clf)) ^ names)
        assert (clf.predict_proba(X) == expected).all(), (nth, method)
print("done")
"""


@pytest.mark.once
def test_rollback_without_memory(tmp_path):
    pytest.importorskip("_testcapi")
    command = [sys.executable, "-c", OUT_OF_MEMORY]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.stdout == "done\n", result.stderr


# Callbacks

try:
    import sklearn.callback as callback
except ImportError:
    callback = None
needs_callbacks = pytest.mark.skipif(callback is None, reason="this scikit-learn has no callbacks")


class Recorder:
    """A callback that keeps what it is told, and asks to stop after `stop_after` epochs."""

    def __init__(self, stop_after=None, fail_after=None):
        self.stop_after, self.fail_after = stop_after, fail_after
        self.begun, self.ended, self.models, self.log = 0, 0, [], []

    def setup(self, estimator, context):
        self.log.append("setup")

    def teardown(self, estimator, context):
        self.log.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        if context.parent is None:
            self.root = context
        else:
            self.begun += 1
            assert self.begun == self.ended + 1
        self.data = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.parent is None:
            self.log.append("end")
            return False
        self.ended += 1
        self.models.append(fitted_estimator)
        if self.ended == self.fail_after:
            raise RuntimeError("callback failed")
        return self.ended == self.stop_after


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", Rprop(), Newton(), NewtonCG(), LBFGS()], ids=str)
@pytest.mark.parametrize("make, y", [(classifier, names_iris), (regressor, X_iris[:, 0] * 2)])
def test_callbacks(make, y, solver):
    recorder = Recorder()
    weight = np.linspace(1, 2, 150)
    estimator = make(solver=solver).set_callbacks(recorder).fit(X_iris, y, weight)
    assert recorder.log == ["setup", "end", "teardown"]
    assert recorder.root.task_name == "fit" and recorder.root.max_subtasks == 5
    assert recorder.begun == recorder.ended == estimator.n_iter_ == 5
    X, y_seen, metadata = recorder.data
    assert X is X_iris and y_seen is y and metadata["sample_weight"] is weight
    for k, model in enumerate(recorder.models, start=1):
        expected = make(solver=solver, max_iter=k).fit(X_iris, y, weight)
        assert_same_parameters(model, expected)
        np.testing.assert_array_equal(model.predict(X_iris), expected.predict(X_iris))
    assert_same_parameters(recorder.models[-1], estimator)
    if solver in ("adam", "sgd"):  # a model that was handed out can be trained further
        second = make(solver=solver, max_iter=2).fit(X_iris, y, weight).partial_fit(X_iris, y)
        assert_same_parameters(recorder.models[1].partial_fit(X_iris, y), second)
        assert recorder.models[1].loss_curve_ == second.loss_curve_


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs", Rprop(), Newton(), LBFGS()], ids=str)
def test_callback_stops(solver):
    recorder = Recorder(stop_after=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clf = classifier(solver=solver, max_iter=50).set_callbacks(recorder).fit(X_iris, y_iris)
    assert clf.n_iter_ == recorder.ended == 3 and not clf.converged_
    assert recorder.log == ["setup", "end", "teardown"]
    assert_same_parameters(clf, classifier(solver=solver, max_iter=3).fit(X_iris, y_iris))


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs", Rprop(), LBFGS()], ids=str)
@pytest.mark.parametrize("warm_start", [False, True])
def test_failing_callback(solver, warm_start):
    clf = classifier(solver=solver, warm_start=warm_start).fit(X_iris, y_iris)
    recorder = Recorder(fail_after=2)
    state = parameters(clf).copy(), {k: copy.deepcopy(v) for k, v in vars(clf).items()}
    with pytest.raises(RuntimeError, match="callback failed"):
        clf.set_callbacks(recorder).fit(X_iris, y_iris)
    assert recorder.log == ["setup", "teardown"]
    np.testing.assert_array_equal(parameters(clf), state[0])
    assert set(vars(clf)) - {"_skl_callbacks"} == set(state[1])
    assert clf.n_iter_ == 5


@needs_callbacks
def test_callbacks_of_partial_fit_and_early_stopping():
    recorder = Recorder()
    clf = classifier(early_stopping=True, max_iter=4).set_callbacks(recorder)
    clf.fit(X_iris, names_iris)
    assert recorder.ended == 4
    for k in range(3):
        clf.partial_fit(X_iris, names_iris, X_val=X_iris, y_val=names_iris)
        assert recorder.root.max_subtasks == 1
        assert recorder.ended == 5 + k


@needs_callbacks
def test_scoring_monitor():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    frame = pd.DataFrame(X_iris, columns=["a", "b", "c", "d"])
    clf = classifier(max_iter=8, learning_rate_init=0.05).set_callbacks(monitor)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(frame, names_iris)
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [
        classifier(max_iter=k, learning_rate_init=0.05)
        .fit(frame, names_iris)
        .score(frame, names_iris)
        for k in range(1, 9)
    ]
    assert [row["accuracy"] for row in log] == scores
    assert scores[-1] > scores[0]


@needs_callbacks
def test_progress_bar(capfd):
    pytest.importorskip("rich")
    monitor = callback.ScoringMonitor(scoring="r2")
    regressor().set_callbacks(callback.ProgressBar(), monitor).fit(X_reg, y_reg)
    assert "MLPRegressor - fit" in capfd.readouterr().out
    grid = GridSearchCV(classifier(), {"alpha": [0.1, 1]}, cv=2)
    grid.set_callbacks(callback.ProgressBar()).fit(X_iris, y_iris)
    assert "GridSearchCV - fit" in capfd.readouterr().out


@needs_callbacks
def test_no_callback_no_cost(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("called without callbacks")

    monkeypatch.setattr(callback.CallbackContext, "subcontext", forbidden)
    monkeypatch.setattr(callback.CallbackContext, "_call_hooks", forbidden)
    for solver in ("adam", "lbfgs"):
        assert classifier(solver=solver).fit(X_iris, y_iris).n_iter_ == 5
