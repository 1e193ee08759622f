"""Labels of any type, one or several for a row."""

import numpy as np
import pandas as pd
import pytest
from estimator_cases import (
    X_iris,
    X_multi,
    Y_multi,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    names_iris,
    y_iris,
)
from scipy import sparse
from sklearn.metrics import accuracy_score

from fastbp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    "others, got",
    [
        ([None], "'a' in row 0 and None in row 2"),
        ([np.nan], "'a' in row 0 and nan in row 2"),
        ([3], "'a' in row 0 and 3 in row 2"),
    ],
)
def test_labels_without_an_order(others, got):
    """Missing ones among strings, and numbers."""
    X, good = np.arange(30.0).reshape(30, 1), ["a", "b"] * 15
    bad = np.array(["a", "b", *others, *good[3:]], object)
    message = f"y must hold labels that are all strings or all numbers, got {got}"
    for clf in (classifier(), classifier(early_stopping=True)):
        clf.fit(X, good)
        assert_unharmed(clf, lambda clf=clf: clf.fit(X, bad), message)
        assert_unharmed(clf, lambda clf=clf: clf.fit(X, pd.Series(bad, dtype=object)), message)
        call = clf.fit if clf.early_stopping else clf.partial_fit
        val = {"X_val": X, "y_val": bad} if clf.early_stopping else {}
        assert_unharmed(clf, lambda call=call, val=val: call(X, good if val else bad, **val), message)
    first = classifier()
    with pytest.raises(ValueError, match=message):
        first.partial_fit(X, bad, classes=["a", "b"])


def test_missing_labels_alone_and_of_pandas():
    X = np.arange(4.0).reshape(4, 1)
    for y, got in (
        ([None] * 4, "got None in row 0$"), ([1, None, 2, 1], "got 1 in row 0 and None in row 1"),
        (pd.Series(["a", None, "b", "a"], dtype="string"), "got 'a' in row 0 and <NA> in row 1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"y must hold labels .*, {got}"):
            classifier().fit(X, y)


def test_objects_that_are_labels():
    X = np.arange(4.0).reshape(4, 1)
    for y in ([1, 2.0, True, np.float32(2)], ["a", np.str_("b"), "a", "b"], [np.True_, np.False_] * 2, [3, 5] * 2):
        y, plain = np.array(y, object), np.array(y)
        clf, expected = classifier().fit(X, y), classifier().fit(X, plain)
        assert_same_parameters(clf, expected)
        assert clf.classes_.dtype.kind in ("O", plain.dtype.kind) and clf.score(X, y) == expected.score(X, plain)
        first = classifier().partial_fit(X, y, classes=np.unique(plain))
        assert first.score(X, pd.Series(y)) == first.score(X, plain)


def test_numbers_that_are_no_labels():
    clf = classifier().fit(X_iris, y_iris)
    for call in (clf.fit, clf.partial_fit):
        assert_unharmed(clf, lambda call=call: call(X_iris, X_iris[:, 0]), "Unknown label type: continuous. Maybe you")
