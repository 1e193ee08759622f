"""Fitted estimators to and from scikit-learn's: the same predictions, and training goes on."""

import pickle

import numpy as np
import pytest
from estimator_cases import X_iris, X_multi, X_reg, Y_multi, classifier, names_iris, regressor, y_iris, y_reg
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.exceptions import NotFittedError

from fastbp import Dense, Dropout, Huber, Lp, MLPClassifier, MLPRegressor, Quantile, Residual, SoftmaxCrossEntropy
from fastbp.interop import from_sklearn, to_sklearn

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

Y_reg = np.column_stack([y_reg, -y_reg])
CLASSES = [(X_iris, y_iris), (X_iris, names_iris), (X_iris, y_iris > 0), (X_multi, Y_multi), (X_multi, Y_multi[:, :2])]
SETTINGS = {"max_iter": 5, "random_state": 0}


def assert_same_classes(a, b, X):
    assert_array_equal(a.predict(X), b.predict(X))
    assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-9 if X.dtype == np.float64 else 1e-4, atol=1e-7)
    assert_array_equal(a.classes_, b.classes_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("case", range(len(CLASSES)))
def test_classifier_from_sklearn(case, solver, dtype):
    X, y = CLASSES[case]
    X = X.astype(dtype)
    theirs = neural_network.MLPClassifier((6, 5), "tanh", solver=solver, **SETTINGS).fit(X, y)
    ours = from_sklearn(theirs)
    assert isinstance(ours, MLPClassifier) and ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert_same_classes(ours, theirs, X)
    assert ours.score(X, y) == theirs.score(X, y)
    assert ours.get_params().items() >= theirs.get_params().items()
    assert_same_classes(pickle.loads(pickle.dumps(ours)), theirs, X)
    assert_same_classes(to_sklearn(ours), theirs, X)


@pytest.mark.parametrize("y", [y_reg, Y_reg], ids=["one", "two"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regressor_from_sklearn(loss, y):
    theirs = neural_network.MLPRegressor(loss, (6, 5), **SETTINGS).fit(X_reg, abs(y))
    for mlp in (from_sklearn(theirs), to_sklearn(from_sklearn(theirs))):
        assert_allclose(mlp.predict(X_reg), theirs.predict(X_reg), rtol=1e-9)
        assert (mlp.loss, mlp.n_iter_, mlp.loss_curve_) == (loss, theirs.n_iter_, theirs.loss_curve_)


def test_copies_are_apart():
    theirs = neural_network.MLPClassifier(4, **SETTINGS).fit(X_iris, y_iris)
    ours, before = from_sklearn(theirs), theirs.coefs_[0].copy()
    ours.coefs_[0][:] = 0
    ours.loss_curve_.append(0)
    assert_array_equal(theirs.coefs_[0], before)
    again = to_sklearn(ours)
    again.coefs_[0][:] = 1
    assert not ours.coefs_[0].any() and len(ours.loss_curve_) == len(theirs.loss_curve_) + 1


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_training_goes_on(method):
    """As the other library's does that has the same weights and a fresh optimizer."""
    theirs = neural_network.MLPClassifier(6, warm_start=True, solver="sgd", shuffle=False, **SETTINGS)
    theirs.fit(X_iris, y_iris)
    ours = from_sklearn(theirs)
    again = to_sklearn(ours)
    for mlp in (ours, again):
        getattr(mlp, method)(X_iris, y_iris)
    for a, b in zip(ours.coefs_, again.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-6)
    assert ours.t_ == again.t_ > theirs.t_ - 1


@pytest.mark.parametrize("case", range(len(CLASSES)))
@pytest.mark.parametrize("loss", ["log_loss", "squared_error", SoftmaxCrossEntropy(0.1, fixed_logit=True)], ids=str)
def test_classifier_to_sklearn(loss, case):
    X, y = CLASSES[case]
    if isinstance(loss, SoftmaxCrossEntropy) and y.ndim == 2:
        return
    ours = MLPClassifier((6, 5), "logistic", loss=loss, **SETTINGS).fit(X, y)
    if loss == "squared_error" and len(np.unique(y)) > 2:
        with pytest.raises(ValueError, match="mlp must have a loss whose predictions scikit-learn"):
            to_sklearn(ours)
        return
    assert_same_classes(ours, to_sklearn(ours), X)


@pytest.mark.parametrize("y", [y_reg, Y_reg], ids=["one", "two"])
@pytest.mark.parametrize(
    "loss", ["squared_error", "poisson", "absolute_error", Huber(2), Lp(3), Quantile(0.2)], ids=str
)
def test_regressor_to_sklearn(loss, y):
    ours = regressor(loss=loss).fit(X_reg, abs(y))
    assert_allclose(to_sklearn(ours).predict(X_reg), ours.predict(X_reg), rtol=1e-9)


@pytest.mark.parametrize("loss", ["gaussian", Quantile([0.1, 0.9])], ids=str)
def test_losses_that_sklearn_has_no_predictions_for(loss):
    with pytest.raises(ValueError, match="mlp must have a loss whose predictions"):
        to_sklearn(regressor(loss=loss).fit(X_reg, y_reg))


def test_hidden_layers():
    layers = [Dense(5, "tanh", dropout=0.2), Dropout(0.1), Dense(4, "tanh")]
    ours = MLPRegressor(hidden_layers=layers, **SETTINGS).fit(X_reg, y_reg)
    theirs = to_sklearn(ours)
    assert_allclose(theirs.predict(X_reg), ours.predict(X_reg), rtol=1e-9)
    assert (theirs.hidden_layer_sizes, theirs.activation) == ((5, 4), "tanh")
    for layers in ([Dense(5, "tanh"), Dense(4, "relu")], [Dense(5, "gelu")], [Residual([Dense(10)])]):
        ours = MLPRegressor(hidden_layers=layers, **SETTINGS).fit(X_reg, y_reg)
        with pytest.raises(ValueError, match="mlp must have dense hidden layers with one activation among"):
            to_sklearn(ours)


def test_settings_that_sklearn_has_not():
    ours = classifier(solver="adamw", alpha=0.3, n_iter_no_change=7, l1_ratio=0.5).fit(X_iris, y_iris)
    theirs = to_sklearn(ours)
    assert (theirs.solver, theirs.alpha, theirs.n_iter_no_change) == ("adam", 0.3, 7)
    theirs.fit(X_iris, y_iris)


def test_what_is_no_fitted_estimator():
    for convert, mlp in ((from_sklearn, neural_network.MLPClassifier()), (to_sklearn, classifier())):
        with pytest.raises(NotFittedError):
            convert(mlp)
    with pytest.raises(ValueError, match="mlp must be an MLPClassifier or MLPRegressor of scikit-learn, got int"):
        from_sklearn(3)
    with pytest.raises(ValueError, match="mlp must be an MLPClassifier or MLPRegressor of fastbp, got MLPRegressor"):
        to_sklearn(neural_network.MLPRegressor())
