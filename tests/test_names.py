"""Names are taken wherever their objects are, and what is none of them is told which one was probably meant."""

import numpy as np
import pytest

import fastbp
from fastbp import LBFGS, SGD, Adagrad, Adam, AdamW, Dense, MLPClassifier, MLPRegressor, Network, RMSProp, Rprop
from fastbp.full_batch import BFGS, Newton, NewtonCG, Quickprop
from fastbp.losses import CLASSES
from fastbp.names import (
    _ELSEWHERE,
    CLASSIFIER_LOSSES,
    FULL_BATCH_RULES,
    INITIALIZERS,
    LOSSES,
    OPTIMIZERS,
    REGRESSOR_LOSSES,
    SCHEDULES,
    UNIT_ALIASES,
    UNITS,
    closest,
    did_you_mean,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0] - X[:, 1]
RULES = {
    "sgd": SGD(), "adam": Adam(), "adamw": AdamW(), "rmsprop": RMSProp(), "adagrad": Adagrad(), "rprop": Rprop(),
    "quickprop": Quickprop(), "newton": Newton(), "newton_cg": NewtonCG(), "bfgs": BFGS(), "lbfgs": LBFGS(),
}  # fmt: skip


def network():
    return Network([Dense(4, "tanh"), Dense(1)], n_inputs=3, random_state=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_rules_by_name_are_those_with_default_settings(name, method):
    by_name, by_object = network(), network()
    getattr(by_name, method)(X, Y, optimizer=name, epochs=3)
    getattr(by_object, method)(X, Y, optimizer=RULES[name], epochs=3)
    assert np.array_equal(by_name.parameters, by_object.parameters)


def test_fit_is_by_sgd_unless_it_is_told_otherwise():
    by_default, by_name = network(), network()
    by_default.fit(X, Y)
    by_name.fit(X, Y, optimizer="sgd")
    assert np.array_equal(by_default.parameters, by_name.parameters)


def test_steps_by_name():
    by_name, by_object = network(), network()
    for _ in range(2):
        for net, rule in ((by_name, "adam"), (by_object, Adam())):
            net.step(np.ones(net.parameters.size), rule)
            net.step_with(X, lambda a: a / 10, rule)
    assert np.array_equal(by_name.parameters, by_object.parameters)
    with pytest.raises(TypeError, match="Newton needs the cost too"):
        by_name.step(np.ones(by_name.parameters.size), "newton")


@pytest.mark.parametrize("name", sorted(set(FULL_BATCH_RULES) - {"lbfgs"}))
def test_solvers_of_estimators_by_name(name):
    by_name, by_object = (
        MLPRegressor(hidden_layer_sizes=4, solver=solver, max_iter=3, random_state=0).fit(X, Y)
        for solver in (name, RULES[name])
    )
    assert np.array_equal(by_name.predict(X), by_object.predict(X))
    assert not hasattr(by_name, "partial_fit")
    with pytest.raises(ValueError, match="early_stopping must be False"):
        MLPRegressor(solver=name, early_stopping=True).fit(X, Y)


@pytest.mark.parametrize("alias", UNIT_ALIASES)
def test_other_names_of_units(alias):
    mlps = [
        MLPClassifier(4, activation, solver="lbfgs", max_iter=3, random_state=0).fit(X, Y > 0)
        for activation in (alias, UNIT_ALIASES[alias])
    ]
    assert np.array_equal(*(mlp.predict_proba(X) for mlp in mlps))
    assert Dense(4, alias) == Dense(4, UNIT_ALIASES[alias])


def test_other_names_of_units_draw_as_their_own():
    networks = [MLPClassifier((), name, max_iter=1, random_state=0).fit(X, Y > 0) for name in ("sigmoid", "logistic")]
    assert np.array_equal(*(clf.coefs_[0] for clf in networks))


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_all_initializers_are_there(initializer):
    assert np.isfinite(Network([Dense(2)], n_inputs=3, initializer=initializer, random_state=0).parameters).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_all_losses_are_there(loss):
    net = Network([Dense(2)], n_inputs=3, loss=loss, random_state=0)
    y = (Y > 0).astype(int) if loss == "softmax_cross_entropy" else np.ones((40, 1 if loss == "gaussian" else 2))
    assert np.isfinite(net.value_and_gradient(X, y)[0])


def test_all_losses_of_estimators_are_there():
    for loss in CLASSIFIER_LOSSES:
        MLPClassifier(4, loss=loss, max_iter=1).fit(X, Y > 0)
    for loss in REGRESSOR_LOSSES:
        MLPRegressor(loss, 4, max_iter=1).fit(X, np.abs(Y))


@pytest.mark.parametrize("call, message", [
    (lambda: Dense(3, "rleu"), r"activation must be one of .*'relu'.*, got 'rleu'; did you mean 'relu'\?"),
    (lambda: Dense(3, "LeakyReLU"), "did you mean 'leaky_relu'"),
    (lambda: fastbp.Activation("hard_sigmoyd"), "did you mean 'hard_sigmoid'"),
    (lambda: Network([Dense(1)], n_inputs=1, loss="mse"), r"loss must be .*'mse'; did you mean 'squared_error'\?"),
    (lambda: Network([Dense(2)], n_inputs=1, loss="CrossEntropyLoss"), "did you mean 'softmax_cross_entropy'"),
    (lambda: Network([Dense(2)], n_inputs=1, loss="binary_crossentropy"), "did you mean 'cross_entropy'"),
    (lambda: Network([Dense(1)], n_inputs=1, initializer="kaiming_normal"), "did you mean 'he_normal'"),
    (lambda: Dense(3, initializer="xavier"), "did you mean 'glorot_uniform'"),
    (lambda: network().fit(X, Y, optimizer="adamm"), "optimizer must be .*, got 'adamm'; did you mean 'adam'"),
    (lambda: network().step(np.ones(21), "RMSprop"), "did you mean 'rmsprop'"),
    (lambda: MLPRegressor("mse").fit(X, Y), r"'loss' parameter of MLPRegressor .*Did you mean 'squared_error'\?"),
    (lambda: MLPClassifier(loss="mae").fit(X, Y > 0), "Got 'mae' instead.$"),
    (lambda: MLPClassifier(loss="crossentropyloss").fit(X, Y > 0), "Did you mean 'log_loss'"),
    (lambda: MLPClassifier(solver="L-BFGS").partial_fit(X, Y > 0, classes=[0, 1]), "Did you mean 'lbfgs'"),
    (lambda: MLPClassifier(activation="rleu").fit(X, Y > 0), "Did you mean 'relu'"),
    (lambda: MLPClassifier(learning_rate="inverse_scaling").fit(X, Y > 0), "Did you mean 'invscaling'"),
    (lambda: MLPClassifier(hidden_layer_sizes=(10, "a")).fit(X, Y > 0), r"hidden_layer_sizes must be .*\[10, 'a'\]"),
    (lambda: MLPClassifier(hidden_layer_sizes=(10, None)).fit(X, Y > 0), "hidden_layer_sizes must be integers"),
    (lambda: MLPClassifier(hidden_layer_sizes=(10, np.nan)).fit(X, Y > 0), "hidden_layer_sizes must be integers"),
])  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_unknown_arguments_are_those_of_the_class_that_was_called(estimator, method):
    call = rf"{type(estimator).__name__}\.{method}\(\)"
    message = f"^{call} got an unexpected keyword argument 'eval_set'; did you mean 'X_val'"
    with pytest.raises(TypeError, match=message):
        getattr(estimator, method)(X, Y > 0, eval_set=(X, Y))
    with pytest.raises(TypeError, match="'sample_wieght'; did you mean 'sample_weight'"):
        getattr(estimator, method)(X, Y > 0, sample_wieght=Y)


def test_what_is_like_no_name_has_no_suggestion():
    assert did_you_mean("hinge", LOSSES) == did_you_mean(3, LOSSES) == did_you_mean(None, OPTIMIZERS) == ""
    assert closest("softmax", CLASSIFIER_LOSSES) == "log_loss" and closest("softmax", REGRESSOR_LOSSES) is None
    assert not set(CLASSES) & set(LOSSES)


def test_what_other_libraries_call_it_is_ours_by_another_name():
    names = {*UNITS, *LOSSES, *CLASSIFIER_LOSSES, *OPTIMIZERS, *INITIALIZERS, *SCHEDULES}
    assert set(_ELSEWHERE) - names == {"X_val", "sample_weight", "sample_weight_val"}
    for ours, theirs in _ELSEWHERE.items():
        assert all(closest(name.upper(), [ours]) == ours for name in theirs)
