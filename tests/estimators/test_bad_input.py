"""Bad input and bad settings are errors, and leave the model as it was."""

import pickle
import re

import numpy as np
import pytest
import sklearn.neural_network
from estimator_cases import (
    X_iris,
    X_multi,
    X_reg,
    Y_multi,
    assert_unharmed,
    classifier,
    names_iris,
    parameters,
    regressor,
    y_iris,
    y_reg,
)
from scipy import sparse
from sklearn.exceptions import NotFittedError

from fastbp import BFGS, EMA, LBFGS, SGD, SWA, Newton, Quantile, Rprop, StepDecay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        ({"activation": "swash"}, "'activation' parameter of MLP"),
        ({"activation": "step"}, "'activation' parameter of MLP"),
        ({"solver": "newtons"}, "'solver' parameter of MLP"),
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
        ({"solver": Newton(), "average": EMA()}, "average must be None, it needs a stochastic solver, got EMA"),
        ({"solver": "lbfgs", "average": SWA(1)}, "average must be None, .* and solver='lbfgs'"),
        ({"average": 0.99}, "The 'average' parameter of MLP"),
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


def test_bad_first_calls_leave_nothing():
    for clf in (
        classifier(), classifier(class_weight="balanced"), classifier(solver="lbfgs"), classifier(solver=Rprop())
    ):  # fmt: skip
        with pytest.raises((ValueError, AttributeError)):
            clf.partial_fit(X_iris * np.nan, y_iris, classes=[0, 1, 2])
        assert set(vars(clf)) == set(clf.get_params(deep=False))
        with pytest.raises(NotFittedError):
            clf.predict(X_iris)


# What is not finite


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
