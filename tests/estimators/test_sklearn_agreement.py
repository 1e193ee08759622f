"""The estimators and scikit-learn's, from the same seed, go the same way in float64."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits, load_wine, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

import fastbp.estimators

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits(n_class=10):
    X, y = load_digits(n_class=n_class, return_X_y=True)
    return X[:300] / 16, y[:300]


def regression(n_targets=1):
    X, y = make_regression(300, 12, n_targets=n_targets, noise=5, random_state=0)
    return X, (y - y.mean(axis=0)) / y.std(axis=0)


def counts():
    X, y = regression()
    return X, np.random.default_rng(0).poisson(np.exp(y)).astype(float)


def multilabel():
    return make_multilabel_classification(300, 12, n_classes=4, random_state=0)


PROBLEMS = {
    "binary": ("MLPClassifier", digits(2), {}),
    "multiclass": ("MLPClassifier", digits(), {}),
    "multilabel": ("MLPClassifier", multilabel(), {}),
    "regression": ("MLPRegressor", regression(), {}),
    "multioutput": ("MLPRegressor", regression(3), {}),
    "poisson": ("MLPRegressor", counts(), {"loss": "poisson"}),
}


def both(problem, **settings):
    """scikit-learn's estimator and ours, and the data."""
    name, data, more = PROBLEMS[problem]
    settings = {
        "hidden_layer_sizes": (20, 10),
        "activation": "tanh",
        "max_iter": 20,
        "random_state": 0,
        **more,
        **settings,
    }
    modules = sklearn.neural_network, fastbp.estimators
    return [getattr(module, name)(**settings) for module in modules], data


def assert_same(ours, theirs, rtol):
    attributes = ["loss_", "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"]
    if ours.solver != "lbfgs":
        attributes += ["loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"]
        attributes += ["_no_improvement_count"]
    for name in attributes:
        our, their = getattr(ours, name), getattr(theirs, name)
        if isinstance(their, str | None):
            assert our == their, name
        else:
            np.testing.assert_allclose(our, their, rtol=rtol, err_msg=name)
    for name in ("coefs_", "intercepts_"):
        assert len(getattr(ours, name)) == len(getattr(theirs, name))
        for our, their in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert our.dtype == their.dtype
            np.testing.assert_allclose(our, their, rtol=rtol, atol=1e-3 * rtol, err_msg=name)
    if ours.solver == "sgd":
        assert ours._optimizer.learning_rate == theirs._optimizer.learning_rate


def check(problem, rtol=1e-9, sample_weight=None, **settings):
    (theirs, ours), (X, y) = both(problem, **settings)
    theirs.fit(X, y, sample_weight)
    ours.fit(X, y, sample_weight)
    assert_same(ours, theirs, rtol)
    our, their = ours.predict(X), theirs.predict(X)
    if our.dtype.kind == "f":
        np.testing.assert_allclose(our, their, rtol=1e3 * rtol)
    else:
        assert our.dtype == their.dtype
        np.testing.assert_array_equal(our, their)
        proba = ours.predict_proba(X)
        np.testing.assert_allclose(proba, theirs.predict_proba(X), rtol=1e3 * rtol)
        assert ours.score(X, y) == theirs.score(X, y)
    return ours


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_problems(problem, solver, shuffle):
    check(problem, solver=solver, shuffle=shuffle, batch_size=40, learning_rate_init=0.01)


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("momentum, nesterov", [(0, True), (0.9, False), (0.9, True)])
def test_sgd(schedule, momentum, nesterov):
    ours = check(
        "multiclass",
        solver="sgd",
        learning_rate=schedule,
        learning_rate_init=0.05,
        power_t=0.2,
        momentum=momentum,
        nesterovs_momentum=nesterov,
        # So much is not always gained in an epoch: "adaptive" has something to adapt to.
        tol=0.2 if schedule == "adaptive" else 1e-4,
        n_iter_no_change=2 if schedule == "adaptive" else 10,
        batch_size=32,
    )
    assert (ours._optimizer.learning_rate < 0.05) == (schedule != "constant")


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), 7, (30, 20, 10)])
def test_activations(activation, hidden_layer_sizes):
    check("multiclass", activation=activation, hidden_layer_sizes=hidden_layer_sizes)


@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping(problem, weighted):
    weight = np.random.default_rng(0).uniform(0.5, 2, 300) if weighted else None
    ours = check(
        problem,
        sample_weight=weight,
        early_stopping=True,
        validation_fraction=0.2,
        learning_rate_init=0.02,
        batch_size=30,
        n_iter_no_change=3,
    )
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_sample_weight(problem, solver):
    weight = np.random.default_rng(0).uniform(0, 3, 300)
    weight[::7] = 0
    check(problem, sample_weight=weight, solver=solver, batch_size=40, alpha=0.1)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_sparse(solver):
    (theirs, ours), (X, y) = both("multiclass", solver=solver, max_iter=10, batch_size=32)
    theirs.fit(X, y)
    ours.fit(csr_matrix(X), y)
    assert_same(ours, theirs, rtol=1e-6 if solver == "lbfgs" else 1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs(problem, weighted):
    weight = np.random.default_rng(0).uniform(0.5, 2, 300) if weighted else None
    check(problem, rtol=1e-6, sample_weight=weight, solver="lbfgs", max_iter=10, alpha=0.1)


@pytest.mark.parametrize("problem", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit(problem, solver):
    (theirs, ours), (X, y) = both(problem, solver=solver, batch_size=20, learning_rate="adaptive")
    classes = {} if problem == "regression" else {"classes": np.unique(y)}
    if problem == "multilabel":
        classes = {"classes": np.arange(y.shape[1])}
    for epoch in range(20):
        rows = slice(100 * (epoch % 3), 100 * (epoch % 3 + 1))
        theirs.partial_fit(X[rows], y[rows], **classes)
        ours.partial_fit(X[rows], y[rows], **classes)
    assert_same(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start(solver, early_stopping):
    (theirs, ours), (X, y) = both(
        "multilabel", solver=solver, warm_start=True, max_iter=5, early_stopping=early_stopping
    )
    for rows in (slice(0, 200), slice(100, 300), slice(0, 300)):
        theirs.fit(X[rows], y[rows])
        ours.fit(X[rows], y[rows])
        assert_same(ours, theirs, rtol=1e-6 if solver == "lbfgs" else 1e-9)


def test_random_state_is_drawn_from_alike():
    """After a fit with early stopping, a shared generator stands at the same place."""
    states = []
    for module in (sklearn.neural_network, fastbp.estimators):
        random_state = np.random.RandomState(3)
        estimator = module.MLPClassifier(5, early_stopping=True, random_state=random_state)
        estimator.set_params(max_iter=4).fit(*digits(3))
        states.append(random_state.randint(2**31))
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 3},
        {"max_iter": 1000, "tol": 0.1},
        {"max_iter": 1000, "tol": 0.1, "early_stopping": True},
        {"max_iter": 1000, "tol": 0.1, "learning_rate": "adaptive", "solver": "sgd"},
        {"max_iter": 3, "batch_size": 1000},
    ],
)
def test_messages(settings, capsys):
    """What is printed and warned of is the same to the letter."""
    said = []
    estimators, (X, y) = both("multiclass", verbose=True, **{"max_iter": 3, **settings})
    for estimator in estimators:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(X, y)
        said.append((capsys.readouterr().out, [(w.category, str(w.message)) for w in caught]))
    assert said[0] == said[1]
    assert said[0][0]


def test_lbfgs_warns_alike():
    said = []
    estimators, (X, y) = both("binary", solver="lbfgs", max_iter=2)
    for estimator in estimators:
        with pytest.warns(ConvergenceWarning) as caught:
            estimator.fit(X, y)
        said.append([str(w.message) for w in caught])
    assert said[0] == said[1]


def test_results_do_not_depend_on_threads():
    name, (X, y), _ = PROBLEMS["multiclass"]
    fitted = [
        fastbp.estimators.MLPClassifier(
            (64, 64), max_iter=3, batch_size=128, random_state=0, n_threads=n_threads
        ).fit(X, y)
        for n_threads in (1, 2, -1, None, np.int64(2))
    ]
    for other in fitted[1:]:
        assert other.loss_curve_ == fitted[0].loss_curve_
        for W, V in zip(other.coefs_, fitted[0].coefs_, strict=True):
            assert (W == V).all()


def test_where_the_loss_is_not_that_of_scikit_learn():
    """It bounds probabilities away from 0. What the documentation says of it."""
    X, y = load_wine(return_X_y=True)
    theirs, ours = (
        module.MLPClassifier(30, random_state=1).fit(X, y) for module in (sklearn.neural_network, fastbp.estimators)
    )
    assert (theirs.n_iter_, round(theirs.loss_)) == (12, 26)
    assert (ours.n_iter_, round(ours.loss_, 1)) == (85, 3.5)
    single = [
        module.MLPClassifier(5, solver="lbfgs", max_iter=2).fit(X.astype(np.float32), y)
        for module in (sklearn.neural_network, fastbp.estimators)
    ]
    assert [model.coefs_[0].dtype for model in single] == [np.float64, np.float32]
