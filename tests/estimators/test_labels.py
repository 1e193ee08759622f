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
