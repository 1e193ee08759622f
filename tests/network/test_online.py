"""Learning with few rows a batch: the steps of a chain in one call."""

import copy
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from network_cases import ACTIVATIONS, LOSSES, OPTIMIZERS, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from runtime_cases import posix
from scipy import sparse

from fastbp import SGD, Adam, Dense, Network, Parallel, Residual


def by_hand(net, X, y, optimizer, batch_size, sample_weight=None, l2=0.0):
    """An epoch of gradients and steps, each of them a call; returns the mean loss, penalties included."""
    losses, sums = [], []
    for first in range(0, len(X), batch_size):
        rows = slice(first, first + batch_size)
        weights = None if sample_weight is None else sample_weight[rows]
        S = len(X[rows]) if weights is None else weights.sum()
        if S == 0:
            continue
        loss, gradient = net.value_and_gradient(X[rows], y[rows], sample_weight=weights)
        squares = sum(float((W.astype(float) ** 2).sum()) for W in net.weights)
        losses.append(loss + l2 / 2 * squares)
        sums.append(S)
        net.step(gradient, optimizer)
    return np.average(losses, weights=sums)


def alike(one, other, dtype, tolerance=1.0):
    eps = np.finfo(dtype).eps
    assert_allclose(one.parameters, other.parameters, rtol=3e3 * eps * tolerance, atol=3e2 * eps * tolerance)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_losses_are_those_of_steps_by_hand(rng, loss, batch_size):
    X, y, _ = problem(rng, 8, 5, 4, loss)
    nets = [make([5, 7, 4], loss=loss, l2=0.01) for _ in range(2)]
    assert nets[0].program(batch_size=batch_size, X=X).online
    weights = np.array([1, 0, 2, 0.5, 0, 0, 0, 1.5])
    for sample_weight in (None, weights):
        history = nets[0].fit(
            X, y, optimizer=SGD(0.05), epochs=1, batch_size=batch_size, shuffle=False, sample_weight=sample_weight
        )
        nets[1]._model.optimizer_state = None
        expected = by_hand(nets[1], X, y, SGD(0.05), batch_size, sample_weight, 0.01)
        alike(*nets, "float64")
        assert_allclose(history.loss, [expected], rtol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_units_are_those_of_steps_by_hand(rng, activation):
    X, y, _ = problem(rng, 9, 6, 1, "squared_error")
    nets = [make([6, 9, 5, 1], activation) for _ in range(2)]
    nets[0].fit(X, y, optimizer=SGD(0.05), epochs=1, batch_size=1, shuffle=False)
    by_hand(nets[1], X, y, SGD(0.05), 1)
    alike(*nets, "float64")


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if not o.clip_norm], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rules_are_those_of_steps_by_hand(rng, optimizer, dtype):
    """And their states, which go on from call to call."""
    X, y, _ = problem(rng, 12, 4, 3, "squared_error")
    X, y = X.astype(dtype), y.astype(dtype)
    nets = [make([4, 6, 3], dtype=dtype, l1=0.001, l2=0.01) for _ in range(2)]
    for _ in range(2):
        nets[0].partial_fit(X, y, optimizer=optimizer, batch_size=2, shuffle=False)
        by_hand(nets[1], X, y, optimizer, 2)
    alike(*nets, dtype, 100)
    for one, other in zip(*(net._model.optimizer_state.arrays for net in nets), strict=True):
        assert_allclose(one, other, rtol=1e-2 if dtype == "float32" else 1e-7, atol=3e4 * np.finfo(dtype).eps)
    assert [net._model.optimizer_state.t[0] for net in nets] == [12, 12]


@pytest.mark.parametrize("shuffle", [False, True])
def test_order_of_rows(rng, shuffle):
    """As they stand, or as NumPy shuffles them, each epoch anew."""
    X, y, _ = problem(rng, 40, 4, 2, "squared_error")
    nets = [make([4, 5, 2]) for _ in range(2)]
    state, order = copy.deepcopy(nets[0]._random_state), np.arange(40)
    nets[0].fit(X, y, optimizer=SGD(0.1), epochs=2, batch_size=1, shuffle=shuffle)
    for _ in range(2):
        if shuffle:
            state.shuffle(order)
        for i in order:
            nets[1].partial_fit(X[i : i + 1], y[i : i + 1], optimizer=SGD(0.1), batch_size=1, shuffle=False)
    alike(*nets, "float64")


@pytest.mark.parametrize("kind", [np.asfortranarray, lambda X: X.astype(np.uint8), lambda X: X[::-1, ::-1]])
def test_kinds_of_rows(rng, kind):
    X, y, _ = problem(rng, 20, 6, 2, "squared_error")
    X = kind((X * 3).round().clip(0, 9))
    nets = [make([6, 5, 2]) for _ in range(2)]
    nets[0].fit(X, y, optimizer=SGD(0.01), epochs=3, batch_size=1, shuffle=False)
    nets[1].fit(np.ascontiguousarray(X, "f8"), y, optimizer=SGD(0.01), epochs=3, batch_size=1, shuffle=False)
    assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_which_runs_are_online():
    """Chains whose steps are too small for several threads, of more than one batch of at most 8 rows."""
    def online(layers, n_inputs=4, **settings):
        arguments = {name: settings.pop(name) for name in ("batch_size", "X", "mode") if name in settings}
        net = Network(layers, n_inputs=n_inputs, random_state=0, **settings)
        program = net.program(**{"batch_size": 1, **arguments})
        assert ("online: many batches" in str(program)) == program.online
        return program.online

    chain, X = [Dense(8, "logistic"), Dense(2)], np.ones((9, 4))
    assert online(chain) and online(chain, batch_size=8) and online(chain, batch_size=8, X=X) and online([Dense(1)])
    assert not online(chain, batch_size=9) and not online(chain, batch_size=8, X=X[:8])
    assert not online(chain, mode="gradient") and not online(chain, X=sparse.csr_array(X))
    assert not online([Dense(400), Dense(300)], 300)
    wide = [Dense(64, "tanh"), Dense(64, "tanh"), Dense(5)]
    assert online(wide, 64, batch_size=4) and not online(wide, 64, batch_size=8)
    assert not online(chain, input_noise=0.1) and not online(chain, input_dropout=0.1)
    assert not online([Dense(8, dropout=0.1), Dense(2)]) and not online([Dense(8, max_norm=1.0), Dense(2)])
    assert not online([Dense(4), Dense(4), Dense(4)], ties=[(0, 1, 0.1)])
    assert not online([Residual([Dense(4, "tanh")]), Dense(2)]) and not online([Parallel([chain, chain])])
    assert not online([Dense(8), Parallel({"a": [Dense(1)], "b": [Dense(1)]})], loss={"a": "huber", "b": "huber"})


def test_a_norm_is_clipped_whatever_the_batch(rng):
    X, y, _ = problem(rng, 12, 4, 2, "squared_error")
    nets = [make([4, 5, 2]) for _ in range(2)]
    rule = SGD(0.1, clip_norm=0.01)
    nets[0].fit(X, y, optimizer=rule, epochs=1, batch_size=1, shuffle=False)
    by_hand(nets[1], X, y, rule, 1)
    alike(*nets, "float64")


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_epoch_that_diverges_leaves_no_trace(rng, epochs):
    """Neither in parameters nor in the optimizer's state, whether the core or the epochs' own copies see to it."""
    X, y, _ = problem(rng, 50, 4, 2, "squared_error")
    net, rule = make([4, 8, 2], "identity"), SGD(0.01, momentum=0.9)
    net.fit(X, y, optimizer=rule, epochs=1, batch_size=1)
    before = pickle.dumps(net)
    for method in (net.partial_fit, net.fit):
        settings = {"epochs": epochs} if method == net.fit else {}
        with pytest.raises(FloatingPointError):
            method(X * 1e60, y, optimizer=SGD(1e60, momentum=0.9), batch_size=1, shuffle=False, **settings)
        assert pickle.dumps(net) == before


@posix
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_signals(error):
    """Ctrl-C stops within a second and leaves whole steps; a handler's other error leaves nothing of an epoch alone."""
    rng = np.random.default_rng(0)
    X, y = np.broadcast_to(rng.normal(size=20), (4_000_000, 20)), np.broadcast_to(rng.normal(size=3), (4_000_000, 3))
    net, rule = make([20, 30, 3], dtype="float32"), Adam(1e-4)
    net.fit(X[:100], y[:100], optimizer=rule, batch_size=1)
    before, start = pickle.dumps(net), net.parameters.copy()

    def fail(number, frame):
        raise error

    handler = signal.signal(signal.SIGALRM, fail)
    try:
        timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGALRM))
        timer.start()
        began = time.perf_counter()
        with pytest.raises(error):
            net.partial_fit(X, y, optimizer=rule, batch_size=1, shuffle=False)
        assert time.perf_counter() - began < 1.8
        timer.join()
    finally:
        signal.signal(signal.SIGALRM, handler)
    if error is TimeoutError:
        assert pickle.dumps(net) == before
    else:
        assert not np.array_equal(net.parameters, start) and net._model.optimizer_state.t[0] > 100
        assert np.isfinite(net.parameters).all()
