"""The same bits however many threads, on the reference's numbers."""

import os
import time

import joblib
import kernel_table as kt
import numpy as np
import pytest
from network_cases import expected_gradient
from numpy.testing import assert_allclose, assert_array_equal
from runtime_cases import NETWORKS, data, make
from scipy import sparse

import fastbp
from fastbp import RBF, SGD, Adam, Dense, Network, RMSProp, threads
from fastbp.threads import n_processors  # the tests' own fixture replaces it in its module


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(), RMSProp(momentum=0.5, clip_norm=0.01)])
@pytest.mark.parametrize("kind", ["dense", "mostly zeros", "sparse"])
def test_same_bits_for_any_number_of_threads(name, optimizer, kind):
    sizes, batch, n = NETWORKS[name]
    X, y = data(sizes, n)
    if kind != "dense":
        X *= X > 1.3
    data_ = sparse.csr_array(X) if kind == "sparse" else X
    results = [everything(data_, y, sizes, batch, optimizer, n_threads) for n_threads in (1, 2, 3, 7)]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    if kind == "sparse":
        dense = everything(X, y, sizes, batch, optimizer, 2)
        for a, b in zip(results[0], dense, strict=True):
            if name == "many inputs":  # CSR lets the weights lie: norms and penalties are sums of other parts
                assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())
            else:
                assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETWORKS)
def test_paths(name):
    """What each of the networks is there for."""
    sizes, batch, n = NETWORKS[name]
    net, (X, _) = make(sizes), data(sizes, n)
    train, gradient = (net.program(mode, batch_size=batch, n_threads=2, X=X) for mode in ("train", "gradient"))
    more = net.program("gradient", n_threads=2, X=np.tile(X, (3, 1)))  # rows enough to pack weights
    ops = [(phase.split, op.kind) for phase in more.phases for op in phase.ops]
    by_columns, halves = {"wide", "many inputs", "wide, then halves"}, {"middle stripe in halves": "0"}
    if 100 < 16 * kt.table(fastbp.ISA, "float32").lanes:  # else the second layer has more stripes than repay it
        halves["wide, then halves"] = "1"
    assert (("columns", "dense") in ops) == (name in by_columns or name in halves)
    assert (("columns", "transpose") in ops) == (name in by_columns)
    assert (("columns", "dense_back") in ops) == (name in ("wide", "wide, then halves"))
    assert train.halved == gradient.halved == more.halved == halves.get(name)
    assert (train.chunk < batch) == (name == "narrow") and (gradient.chunk < n) == (name != "many inputs")
    assert train.n_threads == 2 and train.n_barriers >= 2
    X *= X > 1.3
    assert not train.x_as_nonzeros and net.program("train", batch_size=batch, X=X).x_as_nonzeros


def everything(X, y, sizes, batch, optimizer, n_threads):
    """What training and its parts compute."""
    net = make(sizes, max_norm=0.7 if optimizer.clip_norm else None)
    for _ in range(2):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=batch, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
    cost, gradient = net.value_and_gradient(X, y, n_threads=n_threads)
    forward = net.forward(X, n_threads=n_threads)
    backward = net.backward(forward, n_threads=n_threads)
    return net.parameters, net.predict(X, n_threads=n_threads), cost, gradient, forward, *backward


# layers from the first that needs whole rows on are not shared by columns, those before it are
STACKS = {
    "softmax": [Dense(300, "relu"), Dense(201, "softmax", dropout=0.2), Dense(500, "tanh"), Dense(7)],
    "RBF": [RBF(300), Dense(301, "tanh"), RBF(201, dropout=0.2), Dense(7)],
    "RBF by rows": [Dense(90, "tanh"), RBF(30), RBF(5, dropout=0.2), Dense(7)],
    "halves": [Dense(36, "silu", dropout=0.2), Dense(500, "softmax"), Dense(7)],
    "softmax first": [Dense(301, "softmax", dropout=0.2), Dense(300, "relu"), Dense(7)],
}

BY_COLUMNS = {"softmax": 1, "RBF": 3, "RBF by rows": 1, "halves": 1, "softmax first": 0}  # layers


@pytest.mark.parametrize("name", STACKS)
def test_same_bits_and_the_reference_with_other_layers(rng, name):
    X, y = rng.normal(size=(430, 300)), rng.integers(0, 7, 430)  # enough for several threads
    results = []
    for n_threads in (1, 2, 3):
        net = Network(STACKS[name], n_inputs=300, loss="softmax_cross_entropy", random_state=0)
        cost, gradient = net.value_and_gradient(X, y, n_threads=n_threads)
        forward = net.forward(X, n_threads=n_threads)
        backward = net.backward(forward, n_threads=n_threads)
        net.fit(X, y, optimizer=Adam(clip_norm=0.1), epochs=2, batch_size=150, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, net.predict(X, n_threads=n_threads), cost, gradient, forward, *backward])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    net = Network(STACKS[name], n_inputs=300, loss="softmax_cross_entropy", random_state=0)
    program = net.program("gradient", X=X, n_threads=2)
    columns = [op.kind for phase in program.phases if phase.split == "columns" for op in phase.ops]
    assert columns.count("dense") + columns.count("rbf") == BY_COLUMNS[name] and program.chunk < 430
    expected = expected_gradient(net, X, np.eye(7)[y])
    assert_allclose(cost, expected[0], rtol=1e-12)
    assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-12 * np.abs(expected[1]).max())


def test_same_bits_while_the_number_of_members_at_work_changes():
    """Members that were not at work for a while come back in step: the team tries one and all in turn."""
    sizes = [300, 100, 10]  # the members have half a stripe each
    X, y = data(sizes, 30000)
    results = []
    for n_threads in (1, 2):
        net = make(sizes)
        net.fit(X, y, optimizer=SGD(0.01, momentum=0.9), epochs=8, n_threads=n_threads)
        results.append(net.parameters)
    assert_array_equal(*results)


def test_small_work_runs_on_one_thread():
    net = make([8, 16, 2])
    X, y = data([8, 16, 2], 1000)
    net.fit(X, y, n_threads=2)
    assert net._model.engine.n_members == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_teams_respect_affinity():
    """More members than processors are allowed; the caller's affinity stays, and the result."""
    sizes, batch, n = NETWORKS["one hidden layer"]
    X, y = data(sizes, n)
    net = make(sizes)
    expected = net.predict(X)
    before = os.sched_getaffinity(0)
    try:
        for allowed in ({min(before)}, {max(before)}):
            os.sched_setaffinity(0, allowed)
            assert_array_equal(net.predict(X, n_threads=3), expected)
            assert net._model.engine.n_members == 3
            net.fit(X, y, batch_size=batch, n_threads=2)
            expected = net.predict(X)
            assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, before)


def test_never_more_members_than_processors(monkeypatch):
    """64 on two processors would take many times as long as one: each waits for the time that others spend waiting."""
    monkeypatch.setattr(threads, "n_processors", n_processors)
    sizes, batch, n = NETWORKS["one hidden layer"]
    X, y = data(sizes, n)
    net = make(sizes)
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    for allowed in [before, {min(before)}] if hasattr(os, "sched_setaffinity") else [before]:
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, allowed)
            most = min(len(allowed), joblib.cpu_count())
            assert n_processors() == most
            for call in (
                lambda: net.fit(X, y, batch_size=batch, n_threads=64),
                lambda: net.predict(X, n_threads=64),
                lambda: net.value_and_gradient(X, y, n_threads=64),
            ):
                call()
                assert net._model.engine.n_members <= most
            for n_threads in (None, -1, 64):
                with threads.team(n_threads, False) as granted:
                    assert granted <= most
        finally:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, before)


@pytest.mark.once
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts threads as Linux shows them")
def test_threads_linger_between_predictions_in_a_row_and_no_longer():
    """One row repays a team that is there; it is gone soon after the last call, and not in a child."""
    net, X = make([1000, 700, 10]), data([1000, 700, 10], 1)[0]
    expected, before = net.predict(X), len(os.listdir("/proc/self/task"))
    many, members, child = np.repeat(X, 80, 0), set(), None
    for i in range(200):
        assert_array_equal(net.predict(X, n_threads=2 + i // 150), expected)
        members.add(net._model.engine.n_members)
        if i in (80, 120):  # what needs a team of its own size, or anyway
            assert_array_equal(net.predict(many, n_threads=i // 40), np.repeat(expected, 80, 0))
        if i == 60:
            child = os.fork()
        if i == 100 and child == 0:
            os._exit(0 if 2 in members else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert 2 in members
    for _ in range(500):
        if len(os.listdir("/proc/self/task")) <= before:  # BLAS ends some of its own at a fork
            break
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/task")) <= before
    start, used = time.perf_counter(), time.process_time()
    time.sleep(0.1)
    assert time.process_time() - used < 0.05 * (time.perf_counter() - start) + 0.02
