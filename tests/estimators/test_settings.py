"""Settings that are objects."""

import inspect
import pickle
import re
import warnings

import numpy as np
import pytest
from estimator_cases import X_iris, classifier, regressor, y_iris
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import (
    BFGS,
    ELU,
    EMA,
    LBFGS,
    RBF,
    SAM,
    SGD,
    SWA,
    Activation,
    Adagrad,
    Adam,
    AdamW,
    CosineWarmRestarts,
    Cyclical,
    Dense,
    Dropout,
    Exponential,
    HistogramLoss,
    Huber,
    ImageAugmentation,
    InverseScaling,
    LeakyReLU,
    Lp,
    Newton,
    NewtonCG,
    OneCycle,
    Orthogonal,
    Parallel,
    Quantile,
    Quickprop,
    ReduceOnPlateau,
    Residual,
    RMSProp,
    Rprop,
    Shared,
    SoftmaxCrossEntropy,
    StepDecay,
    VarianceScaling,
    WarmUp,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS_OBJECTS = [
    SGD(0.2, momentum=0.5), Adam(), AdamW(StepDecay(0.1)), RMSProp(), Adagrad(), Rprop(), Quickprop(), Newton(),
    NewtonCG(), BFGS(), LBFGS(), StepDecay(0.1), Exponential(0.1), InverseScaling(0.1), Cyclical(0.1, 0.2, 5),
    CosineWarmRestarts(0.1, 5), OneCycle(0.1, 100), ReduceOnPlateau(0.1), WarmUp(3, then=ReduceOnPlateau(0.1)),
    LeakyReLU(0.1), ELU(2.0), SoftmaxCrossEntropy(0.1), Lp(3), Huber(), Quantile([0.1, 0.9]),
    HistogramLoss([0, 1, 2, 3]), VarianceScaling(), Orthogonal(2.0), Dense(3, LeakyReLU(0.3)), RBF(4),
    ImageAugmentation((2, 2)), Activation("relu"), Dropout(0.5), Residual([Dense(3, LeakyReLU(0.3))], "linear"),
    Parallel([[Dense(3)], [], [Residual([Dense(3)])]], "add"), Parallel({"price": [Dense(1)], "kind": [Dense(4)]}),
    Shared(Dense(3)), Shared(Residual([Dense(3)]), "step"), Shared(Dense(3)).transposed("tanh", 0.1),
    EMA(0.9), SWA(5, every=2), SAM(Adam(), rho=0.1),
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
