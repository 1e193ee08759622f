"""A call that fails leaves a network of any layers as it was, whatever it has begun with."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp import (
    EMA,
    LBFGS,
    SAM,
    SGD,
    SWA,
    Activation,
    BatchNorm,
    Checkpoint,
    Dense,
    Embed,
    GroupNorm,
    Network,
    Parallel,
    Periodic,
    PiecewiseLinear,
    Prune,
    Shared,
    SpectralNorm,
    Standardize,
    WeightNorm,
)

STEP = Shared(Dense(6, "tanh"), name="step")
LAYERS = {
    "batches": [Dense(6), BatchNorm(), Activation("relu")],
    "groups": [Dense(6), GroupNorm(2)],
    "norms": [WeightNorm(Dense(6, "tanh"))],
    "spectral": [SpectralNorm(Dense(6, "tanh"))],
    "waves": [Periodic(2, 0.2, 3, columns=[1])],
    "bins": [PiecewiseLinear(3, 2)],
    "categories": [Embed({3: 5}, 2), PiecewiseLinear(3, 2, columns=[0])],
    "standardized": [Standardize()],
    "again": [Checkpoint([Dense(6, "tanh"), Dense(6)])],
    "shared": [Dense(6), STEP, STEP],
}
HEADS = Parallel({"kind": [Dense(3)], "price": [Dense(1)]})


def raising(epoch, history):
    if epoch == 1:
        raise KeyError("of the user")


@pytest.fixture(params=LAYERS)
def case(request, rng):
    """A network of two heads that has been trained, data, and other data."""
    losses = {"kind": "softmax_cross_entropy", "price": "squared_error"}
    net = Network([*LAYERS[request.param], HEADS], n_inputs=4, loss=losses, random_state=0)
    X = np.column_stack([rng.normal(size=(40, 3)), rng.integers(0, 5, 40)])
    y = {"kind": rng.integers(0, 3, 40), "price": rng.normal(size=40)}
    net.fit(X, y, epochs=2)
    return net, X, y


FAILURES = {
    "a callback": (KeyError, "of the user", lambda X, y: {"callback": raising}),
    "a callback, averages": (KeyError, "of the user", lambda X, y: {"callback": raising, "average": SWA(0)}),
    "a callback, pruning": (KeyError, "of the user", lambda X, y: {"callback": raising, "prune": Prune(0.5, end=3)}),
    "a callback, two gradients": (
        KeyError, "of the user", lambda X, y: {"callback": raising, "optimizer": SAM(SGD(0.1)), "average": EMA()},
    ),
    "a callback, the best": (
        KeyError, "of the user", lambda X, y: {"callback": raising, "validation_data": (X, y), "early_stopping": 3},
    ),
    "infinity": (
        (FloatingPointError, ValueError), "not finite|contains infinity|must hold integers",
        lambda X, y: {"X": np.where(np.arange(160).reshape(40, 4) == 151, np.inf, X)},
    ),
    "a width": (
        ValueError, r"validation_data: X must have shape \(n_samples, 4\), got \(40, 3\)",
        lambda X, y: {"validation_data": (X[:, :3], y)},
    ),
    "a missing head": (
        ValueError, "y must be a dict by the names of the heads, .*missing are .'price'.",
        lambda X, y: {"y": {"kind": y["kind"]}},
    ),
    "labels": (
        ValueError, r"y\['kind'\] must hold real numbers, got dtype <U1; a Network takes class indices",
        lambda X, y: {"y": y | {"kind": ["a"] * 40}},
    ),
    "a target": (
        ValueError, r"Input y\['price'\] contains NaN", lambda X, y: {"y": y | {"price": y["price"] * np.nan}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_network_is_as_it_was(case, failure, method):
    net, X, y = case
    kind, message, change = FAILURES[failure]
    before, predictions = pickle.dumps(net), net.predict(X)
    with pytest.raises(kind, match=message):
        getattr(net, method)(**{"X": X, "y": y, "epochs": 5, **change(X, y)})
    assert pickle.dumps(net) == before
    for name, a in net.predict(X).items():
        assert_array_equal(a, predictions[name])


def test_a_first_training_that_fails_leaves_no_statistics(case):
    net, X, y = case
    fresh = Network(net.layers, n_inputs=4, loss=dict(net.loss), random_state=0)
    before = pickle.dumps(fresh)
    for settings in ({}, {"optimizer": LBFGS()}):
        if settings and isinstance(net.layers[0], SpectralNorm):
            continue
        with pytest.raises(KeyError):
            fresh.fit(X, y, epochs=5, callback=raising, **settings)
        assert pickle.dumps(fresh) == before
