"""`partial_fit` of few plain rows goes a short way, on which nothing is different."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp import EMA, SGD, SWA, Adam, Dense, MLPClassifier, MLPRegressor, OneCycle, Quantile
from fastbp.estimators import base

RECORDS = (
    "loss_", "loss_curve_", "best_loss_", "n_iter_", "t_", "converged_", "_no_improvement_count", "validation_scores_",
)  # fmt: skip
SETTINGS = {
    "adam": {},
    "unshuffled": {"shuffle": False, "alpha": 0.1, "l1_ratio": 0.5},
    "sgd": {"solver": "sgd", "learning_rate": "invscaling", "random_state": np.random.RandomState(3)},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    "converging": {"n_iter_no_change": 2, "tol": 10.0},
    "schedule": {"solver": "sgd", "learning_rate": OneCycle(0.1, 30)},
    "object": {"solver": Adam(0.01), "hidden_layer_sizes": [5, 4]},
    "layers": {"hidden_layers": [Dense(5, "tanh")]},
    "batch": {"batch_size": 6},
    "moving average": {"average": EMA(0.9)},
    "mean": {"average": SWA(1), "solver": "sgd"},
}
KINDS = {
    "classes": (MLPClassifier, {}, lambda y: y),
    "two classes": (MLPClassifier, {}, lambda y: y % 2),
    "booleans": (MLPClassifier, {}, lambda y: y > 1),
    "strings": (MLPClassifier, {}, lambda y: np.array(["c", "a", "b"])[y]),
    "gaps": (MLPClassifier, {"loss": "squared_error"}, lambda y: y.astype(np.uint8) % 2 * 7 + 1),
    "numbers": (MLPRegressor, {}, lambda y: y + 0.5),
    "targets": (MLPRegressor, {"loss": "huber"}, lambda y: np.stack([y, -y], axis=1) + 0.5),
    "levels": (MLPRegressor, {"loss": Quantile((0.1, 0.9))}, lambda y: y + 0.5),
}


def short_way_only(monkeypatch):
    def check_X_y(*_args, **_kwargs):
        raise AssertionError("the long way")

    monkeypatch.setattr(base, "check_X_y", check_X_y)


def made(kind, settings, dtype, seed=0):
    """An estimator after a first call, and a function that gives rows for further ones."""
    cls, of_kind, target = KINDS[kind]
    random_state = settings.get("random_state", seed)
    others = {"random_state": pickle.loads(pickle.dumps(random_state)), "hidden_layer_sizes": (5, 4), **of_kind}
    mlp = cls(**{**others, **{k: v for k, v in settings.items() if k != "random_state"}})
    if "hidden_layers" in settings:
        mlp.set_params(hidden_layer_sizes=(100,))
    rng = np.random.default_rng(seed)

    def rows(n=6):
        return rng.normal(size=(n, 4)).astype(dtype), target(np.resize(rng.permutation(3), n))

    X, y = rows()
    mlp.partial_fit(X, y, **({"classes": np.unique(target(np.arange(3)))} if cls is MLPClassifier else {}))
    return mlp, rows


def assert_same(one, other):
    for name in RECORDS:
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for a, b in zip([*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_], strict=True):
        assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_short_way_is_no_other(settings, kind, dtype, monkeypatch):
    short, rows = made(kind, SETTINGS[settings], dtype)
    long, _ = made(kind, SETTINGS[settings], dtype)
    calls = [rows(6 if settings == "batch" else n) for n in (6, 6, 1, 3, 50, 6)]
    for X, y in calls:
        long.partial_fit(X, y.tolist())
    with monkeypatch.context() as patch:
        short_way_only(patch)
        for X, y in calls:
            short.partial_fit(X, y)
    assert_same(short, long)
    again = pickle.loads(pickle.dumps(short))
    X, y = rows()
    assert_same(short.partial_fit(X, y), again.partial_fit(X, y))


def test_classes_may_be_given_again(monkeypatch):
    mlp, rows = made("classes", {}, "float64")
    X, y = rows()
    with pytest.raises(ValueError, match="`classes="):
        mlp.partial_fit(X, y, classes=[0, 1])
    mlp.partial_fit(X, y)
    short_way_only(monkeypatch)
    mlp.partial_fit(X, y, classes=[0, 1, 2])


LONG_WAYS = {
    "a list": lambda mlp, X, y: (X.tolist(), y),
    "float32": lambda mlp, X, y: (X.astype("f4"), y),
    "weights": lambda mlp, X, y: (X, y, np.ones(len(X))),
    "many rows": lambda mlp, X, y: (np.tile(X, (40, 1)), np.tile(y, 40)),
    "parameters": lambda mlp, X, y: (mlp.set_params(alpha=0.5), (X, y))[1],
    "a list that changes": lambda mlp, X, y: (mlp.hidden_layer_sizes.__setitem__(0, 5.0), (X, y))[1],
}


@pytest.mark.parametrize("way", LONG_WAYS)
def test_unusual_calls_go_the_long_way(way, monkeypatch):
    mlp, rows = made("classes", {"hidden_layer_sizes": [5, 4]}, "float64")
    arguments = LONG_WAYS[way](mlp, *rows())
    mlp.partial_fit(*arguments)
    if way in ("parameters", "a list that changes"):  # from then on the short one
        short_way_only(monkeypatch)
        mlp.partial_fit(*rows())
    else:
        short_way_only(monkeypatch)
        with pytest.raises(AssertionError, match="the long way"):
            mlp.partial_fit(*arguments)


def test_arrays_put_in_place_of_coefs():
    one, rows = made("numbers", {}, "float64")
    other, _ = made("numbers", {}, "float64")
    X, y = rows()
    for mlp in (one, other):
        mlp.coefs_[0] = mlp.coefs_[0] + 1
    assert_same(one.partial_fit(X, y), other.partial_fit(X, y.tolist()))


BAD = {
    "Input X contains NaN": lambda X, y: (X * np.nan, y),
    "Input X contains infinity": lambda X, y: (X * np.inf, y),
    "Input y contains NaN": lambda X, y: (X, y * np.nan),
    "X has 3 features": lambda X, y: (X[:, :3], y),
    "inconsistent numbers of samples": lambda X, y: (X, y[:-1]),
    "needs? 2 outputs": lambda X, y: (X, np.stack([y, y], axis=1)),
    "non-finite": lambda X, y: (X, y * 1e200),
}


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
@pytest.mark.parametrize("message", BAD)
def test_bad_calls_change_nothing(message, random_state):
    mlp, rows = made("numbers", {"random_state": random_state, "solver": SGD(0.1)}, "float64")
    mlp.partial_fit(*rows())
    before = pickle.dumps(mlp)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore")
        mlp.partial_fit(*BAD[message](*rows()))
    assert pickle.dumps(mlp) == before


def test_unknown_classes():
    mlp, rows = made("strings", {}, "float64")
    X, y = rows()
    for wrong in (np.array(["d"] * len(y)), np.array(["ab"] * len(y)), np.arange(len(y))):
        with pytest.raises(ValueError, match="not in `self.classes_`"):
            mlp.partial_fit(X, wrong)
