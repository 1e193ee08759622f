"""Estimators in files of skops, with the types that it is told to trust."""

import numpy as np
import pytest
from estimator_cases import X_iris, X_reg, classifier, names_iris, regressor, y_iris, y_reg

import fastbp
from fastbp import ELU, Adam, BatchNorm, Dense, Embed, MLPRegressor, OneCycle, Orthogonal, Parallel, Quantile, Whitening
from fastbp.interop import TRUSTED_TYPES
from fastbp.settings import Settings

io = pytest.importorskip("skops.io")

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

LAYERS = [
    Embed({4: 3}, dim={4: 2}), Dense(6, ELU(0.5), initializer=Orthogonal()), BatchNorm(),
    Parallel([[], [Dense(6, mask=np.eye(6, dtype=bool))]]),
]  # fmt: skip
X_categories = np.column_stack([X_iris, y_iris])
ESTIMATORS = {
    "classifier": lambda: classifier().fit(X_iris, names_iris),
    "lbfgs": lambda: classifier(solver="lbfgs").fit(X_iris, y_iris),
    "early stopping": lambda: classifier(early_stopping=True).fit(X_iris, y_iris),
    "RandomState": lambda: classifier(random_state=np.random.RandomState(0)).fit(X_iris, y_iris),
    "partial_fit": lambda: classifier(solver="sgd").partial_fit(X_iris, y_iris, classes=[0, 1, 2]),
    "average": lambda: classifier(average=fastbp.EMA(0.9)).fit(X_iris, y_iris),
    "sam": lambda: classifier(solver=fastbp.SAM(fastbp.SGD(0.1))).fit(X_iris, y_iris),
    "newton": lambda: regressor(solver=fastbp.Newton()).fit(X_reg, y_reg),
    "regressor": lambda: regressor(loss=Quantile([0.1, 0.9]), activation=fastbp.LeakyReLU(0.1)).fit(X_reg, y_reg),
    "layers": lambda: MLPRegressor(
        hidden_layers=LAYERS, solver=Adam(OneCycle(0.01, total=10)), max_iter=3, random_state=0
    ).fit(X_categories, y_iris),
    "whitening": lambda: Whitening().fit(X_reg),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_round_trip(name):
    estimator = ESTIMATORS[name]()
    data = io.dumps(estimator)
    assert set(io.get_untrusted_types(data=data)) <= set(TRUSTED_TYPES)
    again = io.loads(data, trusted=TRUSTED_TYPES)
    X = {"layers": X_categories}.get(name, X_reg if estimator.n_features_in_ == X_reg.shape[1] else X_iris)
    for method in ("predict", "transform"):
        if hasattr(estimator, method):
            np.testing.assert_array_equal(getattr(again, method)(X), getattr(estimator, method)(X))


def test_few_types_are_in_most_files():
    found = io.get_untrusted_types(data=io.dumps(ESTIMATORS["classifier"]()))
    assert sorted(found) == [
        "fastbp.estimators.classifier.MLPClassifier", "fastbp.estimators.optimizer._Optimizer",
        "fastbp.optimizers.Adam",
    ]  # fmt: skip
    assert io.get_untrusted_types(data=io.dumps(ESTIMATORS["lbfgs"]())) == found[:1]


def test_all_settings_are_trusted():
    classes = [value for value in vars(fastbp).values() if isinstance(value, type) and issubclass(value, Settings)]
    assert {f"{cls.__module__}.{cls.__name__}" for cls in classes} <= set(TRUSTED_TYPES)
    assert all(name.startswith("fastbp.") for name in TRUSTED_TYPES)
