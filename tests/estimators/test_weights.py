"""Weights of rows and classes."""

import numpy as np
import pytest
from estimator_cases import (
    X_iris,
    X_multi,
    Y_multi,
    assert_same_parameters,
    assert_unharmed,
    classifier,
    names_iris,
    regressor,
    y_iris,
)
from sklearn.utils.class_weight import compute_sample_weight

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
