"""Rows of any kind are the same rows, are not copied, and must hold numbers."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from estimator_cases import (
    X_digits,
    X_iris,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    parameters,
    regressor,
    y_digits,
    y_iris,
)
from scipy import sparse

from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    to_shuffle = kind == "fortran" and settings["solver"] != "lbfgs"  # once, as `Network.fit` says
    assert peak < (1.5 if to_shuffle else 0.5) * nbytes


@pytest.mark.parametrize("dtype", "?bBhHiIlLefdgO")
@pytest.mark.parametrize("make", [classifier, regressor])
def test_numbers_of_any_kind_are_the_same_numbers(make, dtype):
    X, y, weight = np.arange(60).reshape(20, 3) * 7 % 5 % 2, np.arange(20) * 7 % 2, np.arange(20) * 3 % 2
    exact = make().fit(X.astype(float), y, weight.astype(float))
    est = make().fit(X.astype(dtype), y.astype(dtype) if dtype != "O" or make is regressor else y, weight.astype(dtype))
    assert_same_parameters(est, exact, rtol=1e-3 if dtype == "f" else 0)
    np.testing.assert_allclose(est.predict(X.astype(dtype)), exact.predict(X), rtol=1e-4)


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


def test_a_longdouble_beyond_float64_is_not_finite():
    X = X_iris.astype(np.longdouble)
    X[3, 1] = np.longdouble("1e4000") if np.finfo(np.longdouble).max > 1e308 else np.inf
    clf = classifier().fit(X_iris, y_iris)
    for call in (clf.fit, clf.partial_fit, lambda X, y: clf.predict(X)):
        with np.errstate(over="ignore"), pytest.raises(ValueError, match="contains infinity"):
            call(X, y_iris)
