"""Threads, interrupts, allocations, fork, instruction sets: what happens around the arithmetic."""

import ctypes
import itertools
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.ensemble import BaggingClassifier
from threadpoolctl import threadpool_info, threadpool_limits

import fastbp
from fastbp import RBF, SGD, Adam, Dense, Network, RMSProp, _core, threads
from fastbp.threads import n_processors  # the tests' own fixture replaces it in its module

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and processes")

# name: sizes, batch, rows: enough for several threads, and for several chunks of a gradient. Layers of the last one
# keep the transpose of their input. 36 units are an odd number of vectors, whatever their width.
NETWORKS = {
    "one hidden layer": ([120, 100, 10], 50, 1010),
    "narrow": ([300, 30, 3], 1000, 2100),
    "deep": ([64, *[64] * 5, 10], 96, 610),
    "wide": ([300, 500, 400, 7], 150, 310),
    "many inputs": ([4000, 300, 3], 50, 110),
    "middle stripe in halves": ([1200, 36, 20, 5], 80, 410),
    "wide, then halves": ([300, 256, 100, 20], 80, 410),
}


def make(sizes, dtype="float32", **settings):
    units = itertools.cycle(["gelu", "relu"])  # the first keeps its slopes
    layers = [
        *(Dense(n, f, **settings) for n, f in zip(sizes[1:-1], units, strict=False)), Dense(sizes[-1], **settings)
    ]  # fmt: skip
    return Network(layers, n_inputs=sizes[0], loss="softmax_cross_entropy", l2=1e-3, dtype=dtype, random_state=0)


def data(sizes, n, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)


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


def everything(X, y, sizes, batch, optimizer, n_threads):
    """What training and its parts compute."""
    net = make(sizes, max_norm=0.7 if optimizer.clip_norm else None)
    for _ in range(2):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=batch, n_threads=n_threads)
        assert net._engine.n_members == n_threads
    cost, gradient = net.value_and_gradient(X, y, n_threads=n_threads)
    forward = net.forward(X, n_threads=n_threads)
    backward = net.backward(forward, n_threads=n_threads)
    return net.parameters, net.predict(X, n_threads=n_threads), cost, gradient, forward, *backward


@pytest.mark.parametrize("sizes", [[300, 100, 5], [40, 8, 5], [70, 5]])
@pytest.mark.parametrize("kind", ["float64", "uint8", "sparse"])
def test_gradient_of_inputs_that_are_mostly_zeros(rng, sizes, kind):
    """The products that skip zeros against the reference, with rows and columns that have nothing else."""
    X, y = rng.integers(1, 9, (90, sizes[0])) * (rng.random((90, sizes[0])) < 0.05), rng.integers(0, 5, 90)
    X[::7], X[:, ::5] = 0, 0
    layers = [*(Dense(n, "tanh") for n in sizes[1:-1]), Dense(sizes[-1])]
    net = Network(layers, n_inputs=sizes[0], loss="softmax_cross_entropy", random_state=0)
    weights, rows = rng.random(90), sparse.csr_array(X, dtype="float64") if kind == "sparse" else X.astype(kind)
    cost, gradient = net.value_and_gradient(rows, y, weights)
    activations = [layer.activation for layer in net.layers]
    expected = reference.value_and_gradient(
        X.astype(float), np.eye(5)[y], net.weights, net.biases, activations, net.loss, weights
    )
    assert_allclose(cost, expected[0], rtol=1e-12)
    assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "sparse"])
@pytest.mark.parametrize("sizes", [[300, 100, 5], [64, 200, 5], [70, 5]])
def test_prediction_from_inputs_that_are_mostly_zeros(rng, sizes, kind):
    """Skipping zeros does not change a bit: `forward` does not skip those of dense inputs."""
    X = rng.integers(1, 9, (300, sizes[0])) * (rng.random((300, sizes[0])) < 0.03)
    rows = sparse.csr_array(X, dtype="float64") if kind == "sparse" else X.astype(kind)
    layers = [*(Dense(n, "tanh") for n in sizes[1:-1]), Dense(sizes[-1])]
    net = Network(layers, n_inputs=sizes[0], dtype="float32", random_state=0)
    expected = net.forward(X.astype("float32"))
    assert_array_equal(net.predict(rows), expected)
    assert_array_equal(net.predict(rows, order=[7, 7, 3]), expected[[7, 7, 3]])
    for i in range(5):
        assert_array_equal(net.predict(rows[[i]]), expected[[i]])
    hidden = np.flatnonzero(X[0] == 0)[0]
    X = X.astype("float64")
    X[0, hidden] = np.nan  # however few elements are looked at, NaN is not a zero
    assert np.isnan(net.predict(X)[0]).all() and np.isfinite(net.predict(X)[1:]).all()


# layers from the first that needs whole rows on are not shared by columns, those before it are
STACKS = {
    "softmax": [Dense(300, "relu"), Dense(201, "softmax", dropout=0.2), Dense(500, "tanh"), Dense(7)],
    "RBF": [RBF(300), Dense(301, "tanh"), RBF(201, dropout=0.2), Dense(7)],
    "RBF by rows": [Dense(90, "tanh"), RBF(30), RBF(5, dropout=0.2), Dense(7)],
    "halves": [Dense(36, "silu", dropout=0.2), Dense(500, "softmax"), Dense(7)],
    "softmax first": [Dense(301, "softmax", dropout=0.2), Dense(300, "relu"), Dense(7)],
}


@pytest.mark.parametrize("name", STACKS)
def test_same_bits_and_the_reference_with_other_layers(rng, name):
    X, y = rng.normal(size=(430, 300)), rng.integers(0, 7, 430)  # enough for several threads; two chunks
    results = []
    for n_threads in (1, 2, 3):
        net = Network(STACKS[name], n_inputs=300, loss="softmax_cross_entropy", random_state=0)
        cost, gradient = net.value_and_gradient(X, y, n_threads=n_threads)
        forward = net.forward(X, n_threads=n_threads)
        backward = net.backward(forward, n_threads=n_threads)
        net.fit(X, y, optimizer=Adam(clip_norm=0.1), epochs=2, batch_size=150, n_threads=n_threads)
        assert net._engine.n_members == n_threads
        results.append([net.parameters, net.predict(X, n_threads=n_threads), cost, gradient, forward, *backward])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)
    net = Network(STACKS[name], n_inputs=300, loss="softmax_cross_entropy", random_state=0)
    activations = [layer.activation for layer in net.layers]
    expected = reference.value_and_gradient(
        X, np.eye(7)[y], net.weights, net.biases, activations, net.loss
    )
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
    assert net._engine.n_members == 1


def test_threads_left_over_by_other_calls():
    with threads.team(None, False) as all_of_them:
        assert all_of_them == threads.default_n_threads()
        with threads.team(None, False) as rest:
            assert rest == 1
        with threads.team(3, False) as asked_for:
            assert asked_for == 3
    with threads.team(None, False) as again:
        assert again == all_of_them


def test_limits_survive_an_error_on_the_way_in(monkeypatch):
    def broken(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "ThreadpoolController", broken)
        threads._blas.cache_clear()
        with pytest.raises(KeyboardInterrupt), threads.team(None, True):
            pass
    with threads.team(None, True) as n_threads:
        assert n_threads == threads.default_n_threads()


def test_source_folder_without_the_core_says_so(tmp_path):
    shutil.copytree(Path(fastbp.__file__).parent, tmp_path / "fastbp", ignore=shutil.ignore_patterns("_core*"))
    run = subprocess.run(  # -S: without any installed package
        [sys.executable, "-S", "-c", "import fastbp"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "fastbp's compiled core is missing" in run.stderr


def test_a_fit_keeps_a_processor_between_its_epochs(monkeypatch):
    """Its calls come and go; another fit leaves it one thread all the while, and takes it back afterwards."""
    monkeypatch.setattr(threads, "default_n_threads", lambda: 4)
    net, other = make([4, 2]), make([4, 2])
    inside, leave = threading.Event(), threading.Event()

    def fit():
        with threads.exclusive(other), threads.exclusive(other):
            with threads.team(None, False):
                pass
            inside.set()
            leave.wait(60)

    def granted():
        with threads.team(None, False) as n_threads:
            return n_threads

    worker = threading.Thread(target=fit)
    worker.start()
    assert inside.wait(60)
    with threads.exclusive(net):
        assert granted() == 3
        leave.set()
        worker.join(60)
        assert granted() == 4
    assert granted() == 4 and threads.n_busy() == 0


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_bagging_in_threads(monkeypatch):
    """The members of scikit-learn's bagging train side by side, are those of one job, and share the processors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 50)).astype(np.float32)
    y = (X[:, :3] > 0) @ [1, 2, 4]
    plain_team, granted, side_by_side = threads.team, {}, threading.Barrier(2, timeout=30)

    @contextmanager
    def team(n_threads, uses_blas):
        me = threading.get_ident()
        if me not in granted:
            side_by_side.wait()  # the other one's fit has begun too
        with plain_team(n_threads, uses_blas) as n_threads:
            granted.setdefault(me, n_threads)
            yield n_threads

    def fit(n_jobs):
        mlp = fastbp.MLPClassifier(64, batch_size=50, max_iter=20, random_state=0, dropout=0.2)
        with joblib.parallel_config("threading", n_jobs=n_jobs):
            return BaggingClassifier(mlp, n_estimators=4, random_state=0).fit(X, y)

    one = fit(1)
    monkeypatch.setattr(threads, "team", team)
    monkeypatch.setattr(threads, "default_n_threads", lambda: 2)
    two = fit(2)
    assert list(granted.values()) == [1, 1]
    assert threads.n_busy() == 0
    for a, b in zip(one.estimators_, two.estimators_, strict=True):
        assert a.loss_curve_ == b.loss_curve_
    assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_blas_limits_are_restored():
    def limits():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        before = limits()
        assert 2 in before
        with threads.team(2, True):
            with threads.team(2, True):
                pass
            assert set(limits()) == {1}
        assert limits() == before


def test_two_python_threads_at_once():
    """Different networks train, and one network predicts, in two threads, with the results of one."""
    sizes, batch, n = NETWORKS["one hidden layer"]
    X, y = data(sizes, n)
    expected = make(sizes)
    expected.fit(X, y, batch_size=batch, epochs=5)
    a = expected.predict(X)
    results = {}

    def work(i):
        net = make(sizes)
        net.fit(X, y, batch_size=batch, epochs=5)
        results[i] = net.parameters, expected.predict(X)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(results) == 4
    for parameters, prediction in results.values():
        assert_array_equal(parameters, expected.parameters)
        assert_array_equal(prediction, a)


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_by_one_network_at_once(name):
    """A row, a few and many, in several Python threads, some of them with teams."""
    sizes, _, n = NETWORKS[name]
    X, _ = data(sizes, n)
    net = make(sizes)
    expected = net.predict(X)
    wrong = []

    def work(i):
        for k in range(20):
            rows = slice(k, k + (1, 10, 100, n)[(i + k) % 4])
            if not np.array_equal(net.predict(X[rows], n_threads=(None, 1, 3)[k % 3]), expected[rows]):
                wrong.append((i, k))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong


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
            assert net._engine.n_members == 3
            net.fit(X, y, batch_size=batch, n_threads=2)
            expected = net.predict(X)
            assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, before)


def test_training_one_network_twice_at_once_is_an_error():
    """The second call is refused and the first one goes on as if it had not been."""
    sizes = [200, 300, 10]
    X, y = data(sizes, 20000)
    net, alone = make(sizes), make(sizes)
    settings = {"optimizer": Adam(), "epochs": 3}
    started = threading.Event()
    worker = threading.Thread(
        target=net.fit, args=(X, y), kwargs={**settings, "callback": lambda *_: started.set()}
    )
    worker.start()
    started.wait(30)
    for call in (
        lambda: net.fit(X, y),
        lambda: net.value_and_gradient(X, y),
        lambda: net.step(np.zeros_like(net.parameters), SGD()),
    ):
        with pytest.raises(RuntimeError, match="is being trained or evaluated by another call"):
            call()
    worker.join()
    alone.fit(X, y, **settings)
    assert_array_equal(net.parameters, alone.parameters)


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_another_thread_trains():
    sizes = [200, 300, 10]
    X, y = data(sizes, 20000)
    net, started = make(sizes), threading.Event()
    worker = threading.Thread(
        target=net.fit, args=(X, y), kwargs={"epochs": 4, "callback": lambda *_: started.set()}
    )
    worker.start()
    started.wait(30)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # a hang ends as a failure
            net.fit(X[:1000], y[:1000], n_threads=2)
            os._exit(0)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    worker.join()
    assert os.waitstatus_to_exitcode(status) == 0


@posix
@pytest.mark.parametrize(("batch", "n_threads"), [(64, None), (32, 3), (60000, None), (60000, 3)])
def test_interrupt(batch, n_threads):
    """Ctrl-C raises KeyboardInterrupt within a second, also within one long step, after whole steps only."""
    sizes = [400, 600, 600, 10]
    X, y = data(sizes, 1)
    X, y = np.broadcast_to(X, (60000, 400)), np.broadcast_to(y, 60000)
    net = make(sizes)
    start = net.parameters.copy()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, optimizer=SGD(0.01), batch_size=batch, epochs=1000, n_threads=n_threads)
    assert time.perf_counter() - began < 1.5
    timer.join()
    if batch == len(X) and net._optimizer_state["t"][0] == 0:
        assert_array_equal(net.parameters, start)
    else:
        assert not np.array_equal(net.parameters, start)
    assert np.isfinite(net.predict(X[:100])).all()
    net.fit(X[:1000], y[:1000])


@posix
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_signals_in_an_epoch_alone(error, n_threads):
    """An epoch alone is not written back if a signal's handler raises, unless it is Ctrl-C's."""
    sizes = [400, 600, 600, 10]
    X, y = data(sizes, 1)
    X, y = np.broadcast_to(X, (600_000, 400)), np.broadcast_to(y, 600_000)
    net, optimizer = make(sizes), SGD(0.01, momentum=0.9)
    net.fit(X[:100], y[:100], optimizer=optimizer)
    before = pickle.dumps(net)

    def fail(number, frame):
        raise error

    handler = signal.signal(signal.SIGALRM, fail)
    try:
        for method in (net.partial_fit, net.fit):
            start, t = net.parameters.copy(), net._optimizer_state["t"][0]
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(error):
                method(X, y, optimizer=optimizer, batch_size=64, n_threads=n_threads)
            if error is TimeoutError:
                assert pickle.dumps(net) == before
            else:
                assert not np.array_equal(net.parameters, start)
                assert net._optimizer_state["t"][0] > (t if method == net.partial_fit else 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert np.isfinite(net.predict(X[:100])).all()


@posix
def test_interrupt_of_evaluate_and_predict():
    sizes = [400, 600, 600, 10]
    X, y = data(sizes, 1)
    X, y = np.broadcast_to(X, (3_000_000, 400)), np.broadcast_to(y, 3_000_000)
    net = make(sizes)
    rows = X[:20000]
    a = net.forward(rows)
    for call in (
        lambda: [net.backward(a) for _ in range(1000)],
        lambda: net.predict(X),
        lambda: net.value_and_gradient(X, y),
    ):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            call()
        assert time.perf_counter() - began < 1.5
        timer.join()


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_after_training_with_two_threads():
    sizes, batch, n = NETWORKS["wide"]
    X, y = data(sizes, n)
    net = make(sizes)
    net.fit(X, y, batch_size=batch, n_threads=2)
    expected = net.predict(X)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # a hang ends as a failure
            same = np.array_equal(net.predict(X, n_threads=2), expected)
            net.fit(X, y, batch_size=batch, n_threads=2)
            os._exit(0 if same and np.isfinite(net.parameters).all() else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


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
                assert net._engine.n_members <= most
            for n_threads in (None, -1, 64):
                with threads.team(n_threads, False) as granted:
                    assert granted <= most
        finally:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, before)


def blas_numbers():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_limits_are_restored_by_whoever_is_last():
    """Also by a thread other than the first, which is the only one whose limits threadpoolctl heeds."""
    inside, leave = threading.Event(), threading.Event()

    def work():
        with threads.team(1, True):
            inside.set()
            leave.wait(60)

    with threadpool_limits(2, user_api="blas"):
        before = blas_numbers()
        assert 2 in before
        worker = threading.Thread(target=work)
        with threads.team(1, True):
            worker.start()
            assert inside.wait(60)
        assert set(blas_numbers()) == {1}
        leave.set()
        worker.join(60)
        assert blas_numbers() == before


def test_blas_limits_where_each_thread_has_its_own():
    """As with OpenMP: each thread's number is limited, and restored in that thread, while others are still in there."""
    mine, shared = threading.local(), [8]
    mine.n = 4
    functions = [
        (lambda: mine.n, lambda n: setattr(mine, "n", n)),
        (lambda: shared[0], lambda n: shared.__setitem__(0, n)),
    ]
    functions = [(ctypes.CFUNCTYPE(ctypes.c_int)(f), ctypes.CFUNCTYPE(None, ctypes.c_int)(g)) for f, g in functions]
    addresses = [[ctypes.cast(f, ctypes.c_void_p).value for f in pair] for pair in functions]
    blas = _core.Blas([(*pair, own) for pair, own in zip(addresses, (True, False), strict=True)])
    seen, inside, leave = [], threading.Event(), threading.Event()

    def work():
        mine.n = 3
        with _core.Threads(1, False, blas), _core.Threads(1, False, blas):
            seen.append(mine.n)
            inside.set()
            leave.wait(60)
        seen.append(mine.n)

    worker = threading.Thread(target=work)
    with _core.Threads(1, False, blas):
        worker.start()
        assert inside.wait(60)
        assert (mine.n, *shared) == (1, 1)
    assert (mine.n, *shared) == (4, 1)
    leave.set()
    worker.join(60)
    assert seen == [1, 3] and shared == [8]


def test_what_was_entered_is_left_without_exit():
    """Where a signal's handler ends the call between __enter__ and the block, which some versions of Python allow."""
    net = make([4, 2])
    with threadpool_limits(2, user_api="blas"):
        before = blas_numbers()
        assert threads.exclusive(net).__enter__() is None
        assert threads.team(1, True).__enter__() == 1
        assert threads.n_busy() == 0 and blas_numbers() == before
    with ThreadPoolExecutor() as other_thread:
        other_thread.submit(net.forward, np.ones((1, 4))).result()


def test_backward_needs_what_the_workspace_has():
    """However its data were come by: a signal's handler may evaluate between `forward` and `backward`."""
    X, y = data([4, 2], 50)
    net = make([4, 3, 2])
    a = net.forward(X)
    kept = net._engine.kept
    gradient, inputs = np.empty_like(net.parameters), np.empty_like(X)
    for other in (
        lambda: net.forward(X[:10]),
        lambda: net.value_and_gradient(X, y),
        lambda: net.partial_fit(X, y),
        lambda: net.step(np.zeros_like(net.parameters), SGD()),
    ):
        other()
        with pytest.raises(RuntimeError, match="backward needs a call of forward before it"):
            net._engine.backward(net.parameters, kept, a, gradient, inputs, 1)
    net.forward(X)
    first, again = net.backward(a), net.backward(a)  # which leaves the activations
    assert_array_equal(first[0], again[0])


def run_alone(code, *arguments):
    """What a program prints, which may crash or hang."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


HANDLER_IN_A_RUN = """
    import io, signal, sys
    import numpy as np
    from fastbp import SGD, Adam, Dense, Network

    n_threads, evaluate = int(sys.argv[1]), sys.argv[2] == "evaluate"
    def make():
        return Network([Dense(300, "gelu"), Dense(10)], n_inputs=200, loss="softmax_cross_entropy", dtype="float32",
                       random_state=0)

    rng = np.random.default_rng(0)
    X, y = np.broadcast_to(rng.normal(size=200).astype("f"), (300_000, 200)), np.zeros(300_000, int)
    net, other, alone = make(), make(), make()
    a = net.forward(X[:100])
    expected = net.predict(X[:100])

    def run(net):
        if evaluate:
            return net.value_and_gradient(X, y, n_threads=n_threads)
        net.fit(X, y, optimizer=SGD(1e-3), batch_size=64, n_threads=n_threads)
        return net.parameters, net._optimizer_state["t"]

    refused = []
    def handler(number, frame):
        for call in (
            lambda: net.value_and_gradient(X[:20], y[:20]),
            lambda: net.fit(X[:20], y[:20]),
            lambda: net.partial_fit(X[:20], y[:20], epochs=2),
            lambda: net.forward(X[:20]),
            lambda: net.backward(a),
            lambda: net.step(np.zeros_like(net.parameters), Adam()),
            lambda: net.init_lsuv(rng.normal(size=(50, 200))),
        ):
            try:
                call()
                print("not refused")
            except RuntimeError as error:
                refused.append(str(error))
        net.save(io.BytesIO())
        assert np.array_equal(net.predict(X[:100]), expected)
        assert len(net.hessian_vector_product(X[:9], y[:9], net.parameters)) == net.parameters.size
        other.fit(X[:100], y[:100])  # any other network
        if len(refused) < 4 * 7:
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    result = run(net)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for ours, theirs in zip(result, run(alone)):
        assert np.array_equal(ours, theirs)
    message = "this network is being trained or evaluated by another call"
    assert all(message in m or "backward needs" in m for m in refused), set(refused)
    net.fit(X[:20], y[:20])
    print(len(refused))
"""


@posix
@pytest.mark.parametrize("n_threads", ["1", "2"])
@pytest.mark.parametrize("what", ["fit", "evaluate"])
def test_a_handler_in_a_run_can_only_predict_and_save(n_threads, what):
    assert int(run_alone(HANDLER_IN_A_RUN, n_threads, what)) >= 7


def test_a_callback_may_evaluate():
    X, y = data([4, 2], 50)
    net, seen = make([4, 3, 2]), []
    net.fit(X, y, epochs=3, callback=lambda *_: seen.append(net.value_and_gradient(X, y)[0]))
    assert len(seen) == 3


def test_only_predict_is_for_several_threads():
    sizes = [200, 300, 10]
    X, _ = data(sizes, 3000)
    net = make(sizes)
    expected, other = net.predict(X), []

    def work():
        for _ in range(20):
            assert_array_equal(net.predict(X), expected)
            try:
                assert_array_equal(net.forward(X), expected_forward)
            except RuntimeError as error:
                other.append(str(error))

    expected_forward = net.forward(X)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert other and all("a signal handler or another thread can only predict or save" in error for error in other)


@posix
def test_a_handler_may_use_blas_while_its_limit_is_set():
    """There is no lock that it could wait for."""
    printed = run_alone("""
        import random, signal, time
        import numpy as np
        from fastbp import Dense, Network, Newton
        from threadpoolctl import threadpool_info, threadpool_limits

        def numbers():
            return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

        threadpool_limits(2, user_api="blas")
        before = numbers()
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 1))
        net, other = (Network([Dense(3, "tanh"), Dense(1)], n_inputs=4, random_state=i) for i in range(2))
        v, many = np.ones_like(net.parameters), rng.normal(size=(20_000, 4))
        expected, calls = net.hessian_vector_product(X, y, v), 0

        def handler(number, frame):
            global calls
            calls += 1
            other.predict(many)
            other.hessian_vector_product(X, y, v)
            other.fit(X, y, optimizer=Newton())
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 2e-3))

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
        end = time.perf_counter() + 3
        while time.perf_counter() < end:
            assert np.array_equal(net.hessian_vector_product(X, y, v), expected)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert numbers() == before, numbers()
        print(calls)
    """)
    assert int(printed) > 100


INTERRUPTS = """
    import random, signal, sys, time
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    from fastbp import Dense, MLPRegressor, Network, threads
    from threadpoolctl import threadpool_info, threadpool_limits

    def numbers():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    threadpool_limits(2, user_api="blas")
    before = numbers(), threads.team(None, False).__enter__()
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, 4)), rng.normal(size=(2, 1))
    net = Network([Dense(3, "tanh"), Dense(1)], n_inputs=4, random_state=0)
    mlp = MLPRegressor(hidden_layer_sizes=(3,), random_state=0, n_threads=1).partial_fit(X, y[:, 0])
    v = np.ones_like(net.parameters)
    work = {
        "backward": lambda: net.backward(net.forward(X)),
        "product": lambda: net.hessian_vector_product(X, y, v),
        "gradient": lambda: net.value_and_gradient(X, y),
        "estimator": lambda: mlp.partial_fit(X, y[:, 0]),
    }[sys.argv[1]]
    work()

    class Interrupt(BaseException):
        pass

    def handler(number, frame):
        raise Interrupt

    signal.signal(signal.SIGALRM, handler)
    errors, n, end = [], 0, time.perf_counter() + 2
    while time.perf_counter() < end:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 1e-3))
            while True:
                work()
        except Interrupt as error:
            errors.append(error)  # with all frames, and what these hold
            n += 1
    def other_thread():
        now = numbers(), threads.team(None, False).__enter__()
        assert now == before, (now, before)
        work()

    ThreadPoolExecutor().submit(other_thread).result()
    errors.clear()
    print(n)
"""


@posix
@pytest.mark.parametrize("work", ["backward", "product", "gradient", "estimator"])
def test_interrupts_leave_nothing_behind(work):
    """Wherever Ctrl-C comes: BLAS has its threads again, no thread counts as busy, and other threads may train."""
    assert int(run_alone(INTERRUPTS, work)) > 300


@pytest.mark.skipif(sys.gettrace() is not None, reason="traces")
@pytest.mark.parametrize("work", ["evaluate", "fit", "backward", "product", "step", "estimator"])
def test_an_exception_at_any_bytecode_leaves_nothing_behind(work):
    X, y = data([4, 2], 20)
    net = make([4, 3, 2])
    mlp = fastbp.MLPClassifier(hidden_layer_sizes=3, n_threads=1, random_state=0).partial_fit(X, y, classes=[0, 1])
    call = {
        "evaluate": lambda: net.value_and_gradient(X, y),
        "fit": lambda: net.fit(X, y, epochs=2),
        "backward": lambda: net.backward(net.forward(X)),
        "product": lambda: net.hessian_vector_product(X, y, net.parameters),
        "step": lambda: net.step(np.zeros_like(net.parameters), Adam()),
        "estimator": lambda: mlp.partial_fit(X, y),
    }[work]

    class Interrupt(BaseException):
        pass

    parts = tuple(module.__name__ for module in (fastbp.network, fastbp.full_batch, fastbp.estimators, threads))
    files = {module.__file__ for name, module in list(sys.modules.items()) if name.startswith(parts)}

    def trace(frame, event, arg):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise Interrupt
        return trace

    with threadpool_limits(2, user_api="blas"):
        before = blas_numbers()
        call()
        for n in itertools.count(1):
            left = n
            try:
                sys.settrace(trace)
                call()
                break
            except Interrupt:  # which holds all frames
                sys.settrace(None)
                assert threads.n_busy() == 0
            finally:
                sys.settrace(None)
        assert n > 100 and blas_numbers() == before
    with ThreadPoolExecutor() as other_thread:
        other_thread.submit(call).result()


def test_weights_written_by_another_thread_during_training():
    """Whether a batch makes a step is decided once: members that differ would wait for each other for ever."""
    printed = run_alone("""
        import threading
        import numpy as np
        from fastbp import SGD, Dense, Network

        batch, n = 2000, 20_000  # steps that are long enough for two members
        rng = np.random.default_rng(0)
        X, y, w = rng.normal(size=(n, 120)).astype("f"), rng.integers(0, 10, n), np.zeros(n)
        w[::batch] = 1
        net = Network([Dense(300, "relu"), Dense(10)], n_inputs=120, loss="softmax_cross_entropy", dtype="float32",
                      random_state=0)
        ended = threading.Event()

        def write():
            while not ended.is_set():
                w[::batch] = 0
                w[::batch] = 1

        data = net._data(X, y, w)
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in range(30):
            record, _ = net._train_epoch(data, None, batch, SGD(1e-6), n_threads=2)
            assert set(record[:, 2]) <= {0, 1}
        ended.set()
        print(net._engine.n_members)
    """)
    assert int(printed) >= 1


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_leaves_limits_that_are_not_ours():
    with threadpool_limits(2, user_api="blas"), threads.team(1, True):
        pass
    before = blas_numbers()
    child = os.fork()
    if child == 0:
        os._exit(0 if blas_numbers() == before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_in_a_callback():
    """The child goes on with the fit; what other threads of the parent had taken is free there."""
    X, y = data([4, 2], 50)
    net, other, children = make([4, 3, 2]), make([4, 3, 2]), []
    inside, leave = threading.Event(), threading.Event()

    def work():
        with threads.exclusive(other), threads.team(3, True):
            inside.set()
            leave.wait(60)

    def callback(epoch, history):
        if epoch == 1:
            children.append(os.fork())

    with threadpool_limits(2, user_api="blas"):
        before = blas_numbers()
        worker = threading.Thread(target=work)
        worker.start()
        assert inside.wait(60)
        try:
            net.fit(X, y, epochs=3, callback=callback)
            if children == [0]:
                signal.alarm(20)  # a hang ends as a failure
                other.fit(X, y)
                os._exit(0 if threads.n_busy() == 0 and blas_numbers() == before else 1)
        finally:
            if children == [0]:
                os._exit(2)
        leave.set()
        worker.join(60)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert threads.n_busy() == 0


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>
static long count;
long allocations(void) { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
#define COUNT __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST)
void *malloc(size_t n) { COUNT; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { COUNT; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { COUNT; return __libc_realloc(p, n); }
"""

COUNTER = """
import ctypes, sys
import numpy as np
from scipy import sparse
import fastbp
from fastbp import RBF, SGD, Adam, Dense, Network, RMSProp

shim = ctypes.CDLL(sys.argv[1])
rng = np.random.default_rng(0)
calls = 0

def profile(frame, event, arg):
    global calls
    calls += 1

def measure(sizes, n, optimizer, dtype, kind, n_threads):
    "Allocations and Python calls of one epoch of n rows in batches of 64, after one epoch to warm up."
    global calls
    X = rng.random((n, sizes[0]))
    X = {"dense": X.astype(dtype), "other dtype": X.astype("f8" if dtype == "float32" else "f4"),
         "uint8": (X * 255).astype("u1"), "Fortran": np.asfortranarray(X, dtype=dtype),
         "mostly zeros": (X * (X > 0.95)).astype(dtype),
         "csr": sparse.csr_array(X * (X > 0.8)).astype(dtype)}[kind]
    y = rng.integers(0, sizes[-1], n)
    net = Network([*(Dense(m, "tanh") for m in sizes[1:-1]), Dense(sizes[-1])], n_inputs=sizes[0],
                  loss="softmax_cross_entropy", l1=1e-6, l2=1e-6, dtype=dtype, random_state=0)
    data, order = net._data(X, y, np.ones(n)), rng.permutation(n)
    out = []
    for _ in range(2):
        calls = 0
        before = shim.allocations()
        sys.setprofile(profile)
        net._train_epoch(data, order, 64, optimizer, n_threads=n_threads)
        sys.setprofile(None)
        out.append((shim.allocations() - before, calls))
    return out[-1]

small, large = [30, 20, 3], [100, 260, 260, 3]  # large enough for two threads, and for H^T
for optimizer in (SGD(0.01, momentum=0.9), Adam(clip_norm=0.1), RMSProp(momentum=0.9, centered=True, proximal=True)):
    for dtype in ("float32", "float64"):
        for kind in ("dense", "other dtype", "uint8", "Fortran", "mostly zeros", "csr"):
            for sizes, n, n_threads in ((small, 250, 1), (large, 192, 2)):
                few = measure(sizes, n, optimizer, dtype, kind, n_threads)
                many = measure(sizes, 2 * n, optimizer, dtype, kind, n_threads)
                assert few == many, (optimizer, dtype, kind, sizes, few, many)
print("counted", few)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts through the GNU C library")
def test_no_allocation_and_no_python_within_an_epoch(tmp_path):
    """Twice as many steps make no more allocations and Python calls, for every rule, dtype and kind of input."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("the counter needs a C compiler to be built")
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", tmp_path / "shim.c", "-o", shim], check=True)
    run = subprocess.run(
        [sys.executable, "-c", COUNTER, shim], env={**os.environ, "LD_PRELOAD": str(shim)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert re.search(r"counted \([1-9]", run.stdout)


@pytest.mark.once
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_map_is_not_copied(tmp_path):
    """Training and prediction take no anonymous memory to speak of, not even for a moment; a copy would be seen."""
    code = textwrap.dedent("""
        import re, sys, threading
        import numpy as np
        from fastbp import LBFGS, SGD, Dense, MLPClassifier, Network

        X = np.memmap(sys.argv[1], "float32", "w+", shape=(200_000, 100))  # 80 MB
        y = np.arange(len(X)) % 3
        net = Network([Dense(8, "relu"), Dense(3)], n_inputs=100, loss="softmax_cross_entropy", dtype="float32")
        clf = MLPClassifier(8, max_iter=1)

        def anonymous():
            return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

        def growth(call):
            seen, done = [anonymous()], threading.Event()
            def sample():
                while not done.wait(0.001):
                    seen.append(anonymous())
            sampler = threading.Thread(target=sample)
            sampler.start()
            call()
            done.set()
            sampler.join()
            return max(seen) - seen[0]

        def work(X, y):
            net.fit(X, y, optimizer=SGD(0.1), batch_size=100)
            net.fit(X, y, optimizer=SGD(0.1), batch_size=len(X))
            net.fit(X, y, optimizer=LBFGS())
            net.predict(X)
            clf.fit(X, y).predict(X)

        work(X[:100], y[:100])
        print(growth(lambda: work(X, y)), growth(lambda: X.copy()))
    """)
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "X"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    ours, copy = map(float, run.stdout.split())
    assert ours < 30 < copy, run.stdout


@pytest.mark.once
def test_unknown_isa_is_an_error():
    run = subprocess.run(
        [sys.executable, "-c", "import fastbp"], env={**os.environ, "FASTBP_ISA": "mmx"}, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert "FASTBP_ISA must be one of" in run.stderr
    assert "'mmx'" in run.stderr


@pytest.mark.skipif("FASTBP_ISA" not in os.environ, reason="FASTBP_ISA does not ask for an instruction set")
def test_isa_of_this_run():
    assert os.environ["FASTBP_ISA"] == fastbp.ISA


@pytest.mark.once
def test_environment():
    """What chooses the instruction set and the default number of threads."""
    code = "import fastbp; print(fastbp.ISA, fastbp.threads.default_n_threads())"
    for isa in _core.isas()[1]:
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "FASTBP_ISA": isa, "OMP_NUM_THREADS": "1"}, cwd="/",
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert run.stdout.split() == [isa, "1"]


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("objdump"), reason="reads the extension with objdump")
def test_what_the_extension_contains():
    """FMA contraction is on in AVX2 code, and the C libraries are the only ones linked."""
    header = subprocess.run(["objdump", "-p", _core.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED\s+(\S+)", header))
    assert "libm.so.6" in needed
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    if "avx2" in _core.isas()[0]:
        code = subprocess.run(["objdump", "-d", _core.__file__], capture_output=True, text=True, check=True).stdout
        assert len(re.findall(r"vfmadd.*%ymm", code)) > 100
