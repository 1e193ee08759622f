"""Sharpness-aware minimisation: steps with the gradient of another place."""

import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from network_cases import OPTIMIZERS, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from runtime_cases import NETWORKS, data, posix
from runtime_cases import make as make_large
from scipy import sparse

from fastbp import (
    EMA,
    LBFGS,
    SAM,
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    MLPClassifier,
    Network,
    Residual,
    RMSProp,
    Shared,
)


def steps_by_hand(net, X, y, sam, batch_size, batch_statistics=False, weight=None):
    """An epoch, of which each step is two gradients and an update; returns the losses at the parameters before."""
    losses = []
    for first in range(0, X.shape[0], batch_size):
        rows = slice(first, first + batch_size)
        batch = X[rows], y[rows], None if weight is None else weight[rows]
        settings = {"batch_statistics": batch_statistics}
        before = net.parameters.copy()
        cost, gradient = net.value_and_gradient(*batch, **settings)
        net._model.add_ties(before, gradient)
        net.parameters[:] += sam.rho * gradient / np.linalg.norm(gradient)
        above, there = net.value_and_gradient(*batch, **settings)[1], net.parameters.copy()
        net.parameters[:] = before
        # `step` adds the ties' gradient at the parameters that it finds
        difference = np.zeros_like(above)
        net._model.add_ties(there, difference)
        difference *= -1
        net._model.add_ties(before, difference)
        net.step(above - difference, sam.base)
        losses.append(cost)
    return losses


def assert_alike(one, other, dtype="float64"):
    tolerance = {"rtol": 2e-2, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-11}
    assert_allclose(one.parameters, other.parameters, **tolerance)


@pytest.mark.parametrize("base", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_those_by_hand(rng, base, dtype):
    """By every rule; penalties are those at the parameters before the step, and so are the losses."""
    X, y, _ = problem(rng, 60, 5, 3, "squared_error")
    X, y = X.astype(dtype), y.astype(dtype)
    nets = [make([5, 20, 3], l1=0.001, l2=0.01, dtype=dtype) for _ in range(2)]
    sam = SAM(base, rho=0.1)
    for _ in range(2):
        nets[0].partial_fit(X, y, optimizer=sam, batch_size=10, shuffle=False)
        steps_by_hand(nets[1], X, y, sam, 10)
    assert_alike(*nets, dtype)
    assert nets[0]._model.optimizer_state.t[0] == 12
    other = make([5, 20, 3], l1=0.001, l2=0.01, dtype=dtype)
    other.fit(X, y, optimizer=base, batch_size=10, epochs=2, shuffle=False)
    assert abs(other.parameters - nets[0].parameters).max() > 1e-4


def bounded(n):
    return Dense(n, "tanh", max_norm=0.4)


@pytest.mark.parametrize(
    ("layers", "rows", "batch_size", "settings"),
    [
        ([Dense(20, "tanh"), Dense(1)], 12, 1, {}),
        ([Dense(20, "tanh"), Dense(3)], 40, 40, {}),
        ([Dense(20, "tanh"), Dense(3)], 40, 15, {"ties": [(0, 1, 0.3)], "n_inputs": 20}),
        ([bounded(20), bounded(3)], 40, 15, {}),
        ([Dense(70, "relu"), Residual([Dense(70, "relu")]), Dense(3)], 40, 15, {}),
        ([Shared(Dense(5, "tanh"), name="s"), Shared(Dense(5, "tanh"), name="s"), Dense(3)], 40, 15, {}),
        ([Dense(256, "relu"), Dense(3)], 1500, 1500, {}),  # in chunks
        ([Dense(8, "relu"), Dense(3)], 17_000, 17_000, {}),  # folded
        ([Checkpoint([Dense(20, "tanh"), Dense(30, "tanh")]), Dense(20, "tanh"), Dense(3)], 40, 15, {}),
        ([Dense(20), BatchNorm(), Activation("tanh"), Dense(3)], 40, 20, {}),
        ([Dense(20, "tanh", mask=np.arange(100).reshape(5, 20) % 3 > 0), Dense(3)], 40, 15, {}),
    ],
)
def test_every_path(rng, layers, rows, batch_size, settings):
    settings = {"n_inputs": 5, **settings}
    ties = settings.get("ties")
    layers = [Dense(20, "tanh"), *layers] if ties else layers
    nets = [Network(layers, random_state=0, **settings) for _ in range(2)]
    X = rng.normal(size=(rows, settings["n_inputs"]))
    y = rng.random((rows, nets[0].predict(X).shape[1]))
    sam = SAM(SGD(0.1, momentum=0.9), rho=0.1)
    history = nets[0].fit(X, y, optimizer=sam, batch_size=batch_size, shuffle=False)
    normalizes = nets[0]._model.normalizes_batches
    losses = steps_by_hand(nets[1], X, y, sam, batch_size, normalizes)
    assert_alike(*nets)
    if not ties and rows % batch_size == 0:
        assert_allclose(history.loss, [np.mean(losses)], rtol=1e-9)


def test_batch_normalisation_follows_the_first_pass(rng):
    """With a rate of next to nothing its moving averages are those of training without SAM."""
    X, y, _ = problem(rng, 60, 5, 3, "squared_error")
    layers = [Dense(20), BatchNorm(), Activation("tanh"), Dense(3)]
    nets = [Network(layers, n_inputs=5, random_state=0) for _ in range(2)]
    for net, rule in zip(nets, (SGD(1e-300), SAM(SGD(1e-300), rho=0.5)), strict=True):
        net.fit(X, y, optimizer=rule, batch_size=20, epochs=2, shuffle=False)
    for one, other in zip(*(net.layer_state.values() for net in nets), strict=True):
        assert_array_equal(one, other)
    assert_allclose(nets[0].parameters, nets[1].parameters, atol=1e-200)


@pytest.mark.parametrize("n_inputs", [30, 40_000])
def test_csr(rng, n_inputs):
    """Also where W is used where it lies, and where updates would touch few of its rows."""
    X = sparse.random_array((50, n_inputs), density=60 / 50 / n_inputs**0.9, format="csr", rng=rng)
    y = rng.random((50, 2))
    nets = [make([n_inputs, 17, 2]) for _ in range(2)]
    sam = SAM(SGD(0.5), rho=0.1)
    nets[0].fit(X, y, optimizer=sam, batch_size=10, shuffle=False)
    steps_by_hand(nets[1], X, y, sam, 10)
    assert_alike(*nets)


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_do_not_depend_on_threads(name):
    sizes, batch_size, n = NETWORKS[name]
    X, y = data(sizes, n)
    found = []
    for n_threads in (1, 2, 3):
        net = make_large(sizes)
        history = net.fit(
            X, y, optimizer=SAM(Adam()), batch_size=batch_size, epochs=2, n_threads=n_threads, average=EMA(0.9)
        )
        assert net._model.engine.n_members == n_threads
        found.append((net.parameters, history.loss))
    for one in found[1:]:
        for ours, theirs in zip(one, found[0], strict=True):
            assert_array_equal(ours, theirs)


def test_both_passes_see_the_same_noise(rng):
    """The gradient that is gone up is that of the mask which the second pass has: along it the loss is larger."""
    X, y, _ = problem(rng, 40, 6, 2, "squared_error")
    layers = [Dense(30, "tanh", dropout=0.5), Dense(2)]
    nets = [Network(layers, n_inputs=6, input_noise=0.5, random_state=0) for _ in range(2)]
    nets[0].fit(X, y, optimizer=SAM(SGD(0.1), rho=1e-9), batch_size=10, epochs=3)
    nets[1].fit(X, y, optimizer=SGD(0.1), batch_size=10, epochs=3)
    assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-6, atol=1e-9)


def test_batches_without_weight_or_gradient(rng):
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    weight = np.repeat([1.0, 0.0, 2.0, 0.0], 10)
    nets = [make([5, 8, 2]) for _ in range(2)]
    sam = SAM(SGD(0.1), rho=0.1)
    nets[0].fit(X, y, optimizer=sam, batch_size=10, shuffle=False, sample_weight=weight)
    for rows in (slice(0, 10), slice(20, 30)):
        steps_by_hand(nets[1], X[rows], y[rows], sam, 10, weight=weight[rows])
    assert_alike(*nets)
    net = make([5, 8, 2])
    before = net.parameters.copy()
    net.fit(X, net.predict(X), optimizer=sam, batch_size=40)  # no way up
    assert_allclose(net.parameters, before, atol=1e-9)


def test_state_is_that_of_the_base(rng):
    """Training goes on with SAM and without, through pickles too."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    net, base = make([5, 8, 2]), SGD(0.1, momentum=0.9)
    net.fit(X, y, optimizer=base)
    net.partial_fit(X, y, optimizer=SAM(base))
    net = pickle.loads(pickle.dumps(net))
    net.partial_fit(X, y, optimizer=base)
    assert net._model.optimizer_state.t[0] == 6
    net.partial_fit(X, y, optimizer=SAM(RMSProp()))
    assert net._model.optimizer_state.t[0] == 2


@posix
def test_ctrl_c_at_any_moment(rng):
    """Leaves the parameters after the last whole step, not those that a step has gone up to."""
    X, y, _ = problem(rng, 20_000, 200, 2, "squared_error")
    for seconds in (0.2, 0.23, 0.26, 0.29):
        net = make([200, 300, 2])
        before = net.parameters.copy()
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            net.fit(X, y, optimizer=SAM(SGD(1e-12), rho=1e3), batch_size=100, epochs=10**6, n_threads=2)
        assert abs(net.parameters - before).max() < 1e-3


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_error_leaves_all_as_it_was(rng, epochs):
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    net, sam = make([5, 8, 2]), SAM(SGD(0.1, momentum=0.9))
    net.fit(X, y, optimizer=sam)
    before, bad = pickle.dumps(net), X.copy()
    bad[17, 2] = np.nan
    for batch_size in (1, 10, 40):
        with pytest.raises(ValueError, match="X contains NaN"):
            net.partial_fit(bad, y, optimizer=sam, epochs=epochs, batch_size=batch_size)
        assert pickle.dumps(net) == before


def test_bad_settings():
    for base in ("sgd", SGD, LBFGS(), SAM(SGD()), None):
        with pytest.raises(ValueError, match="base must be an SGD, Adam, AdamW, RMSProp or Adagrad, got"):
            SAM(base)
    for rho in (0, -1, np.nan, np.inf, "1", True):
        with pytest.raises(ValueError, match=r"rho must be a number in \(0, inf\), got"):
            SAM(SGD(), rho)
    net = make([5, 8, 2], dtype="float32")
    X, y = np.ones((4, 5)), np.ones((4, 2))
    for rule in (SAM(SGD(), rho=1e300), SAM(SGD(1e300)), SAM(SGD(), rho=1e-300)):
        with pytest.raises(ValueError, match="float32"):
            net.fit(X, y, optimizer=rule)
    net.fit(X, y, optimizer=SAM(SGD()))
    before = pickle.dumps(net)
    for call in (
        lambda: net.step(np.ones_like(net.parameters), SAM(SGD())),
        lambda: net.step_with(X, lambda a: a, net._model.optimizer),
    ):
        with pytest.raises(TypeError, match="for step: SAM needs a second gradient"):
            call()
        assert pickle.dumps(net) == before


def test_estimators(rng):
    X, y = rng.normal(size=(100, 5)), rng.integers(0, 3, 100)
    sam = SAM(SGD(0.1, momentum=0.9))
    clf = MLPClassifier(8, solver=sam, alpha=0, shuffle=False, batch_size=20, max_iter=5, tol=0, random_state=0)
    clf.fit(X, y)
    net = Network([Dense(8, "relu"), Dense(3)], n_inputs=5, loss="softmax_cross_entropy", random_state=0)
    net.fit(X, y, optimizer=sam, batch_size=20, epochs=5, shuffle=False)
    assert_array_equal(clf.predict_proba(X), net.predict(X))
    clf.partial_fit(X, y)
    twin = copy.deepcopy(clf).set_params(solver__rho=0.5, solver__base__learning_rate=0.2)
    assert twin.solver == SAM(SGD(0.2, momentum=0.9), rho=0.5)
    assert clf.solver == sam
    twin.fit(X, y)


def test_flat_minima_are_preferred(rng):
    """Of two valleys of the same depth, w_1 w_2 = 1 with factors alike or apart, the wide one is gone to."""
    X, y = np.ones((1, 1)), np.ones((1, 1))
    layers, sharpness = [Dense(1), Dense(1)], []
    for rule in (SGD(0.02), SAM(SGD(0.02), rho=0.2)):
        net = Network(layers, n_inputs=1, random_state=0)
        net.parameters[:] = 4, 0, 0.3, 0
        net.fit(X, y, optimizer=rule, epochs=3000, batch_size=1)
        sharpness.append(np.linalg.eigvalsh(net.hessian(X, y)).max())
        assert net.value_and_gradient(X, y)[0] < 0.02
    assert sharpness[1] < sharpness[0] / 10
