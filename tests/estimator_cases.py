"""What tests of the estimators share: data, small estimators, and what is compared."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification, make_regression

from fastbp.estimators import MLPClassifier, MLPRegressor

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
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_ if a is not None])


def parameters_in_order(estimator):
    """As a network's flat vector has them."""
    pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    return np.concatenate([a.ravel() for pair in pairs for a in pair])


def assert_same_parameters(a, b, rtol=0):
    np.testing.assert_allclose(parameters(a), parameters(b), rtol=rtol, atol=rtol * 1e-3)


def assert_unharmed(estimator, call, message, exception=ValueError):
    before = pickle.dumps(estimator)
    with pytest.raises(exception, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        call()
    assert pickle.dumps(estimator) == before
