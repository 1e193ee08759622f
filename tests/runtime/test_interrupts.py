"""Ctrl-C and other signals, and what their handlers may do."""

import itertools
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from runtime_cases import blas_numbers, data, make, posix, run_alone
from threadpoolctl import threadpool_limits

import fastbp
from fastbp import SGD, Adam, threads


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
    if batch == len(X) and net._model.optimizer_state.t[0] == 0:
        assert_array_equal(net.parameters, start)
    else:
        assert not np.array_equal(net.parameters, start)
    assert np.isfinite(net.predict(X[:100])).all()
    net.fit(X[:1000], y[:1000])


@posix
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("epochs", [1, 2])
def test_interrupt_of_a_large_batch_with_statistics(n_threads, epochs):
    """Which is one chunk: a step that is not whole is dropped, the layer's state included."""
    X = np.random.default_rng(0).normal(size=(400_000, 30)).astype("f4")
    layers = [fastbp.Dense(100), fastbp.BatchNorm(), fastbp.Dense(100, "tanh"), fastbp.Dense(1)]
    net = fastbp.Network(layers, n_inputs=30, dtype="float32", random_state=0)
    net.fit(X[:100], X[:100, 0])
    before = pickle.dumps(net)
    for seconds in (0.1, 0.25, 0.5):
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            net.partial_fit(X, X[:, 0], batch_size=len(X), shuffle=False, epochs=epochs * 50, n_threads=n_threads)
        assert time.perf_counter() - began < seconds + 1.2
        timer.join()
        steps = net._model.optimizer_state.t[0]
        assert (pickle.dumps(net) == before) == (steps == 1) or steps > 1
    assert np.isfinite(net.predict(X[:100])).all()


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
            start, t = net.parameters.copy(), net._model.optimizer_state.t[0]
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(error):
                method(X, y, optimizer=optimizer, batch_size=64, n_threads=n_threads)
            if error is TimeoutError:
                assert pickle.dumps(net) == before
            else:
                assert not np.array_equal(net.parameters, start)
                assert net._model.optimizer_state.t[0] > (t if method == net.partial_fit else 0)
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

    traced = tuple(f"fastbp.{name}" for name in ("network", "full_batch", "estimators", "threads"))  # packages wholly
    files = {module.__file__ for name, module in sys.modules.items() if name.startswith(traced)}

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


# ---- handlers and callbacks -----------------------------------------------------------------------------------------


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
        net.fit(X, y, optimizer=SGD(1e-3), batch_size=64, shuffle=False, n_threads=n_threads)
        return net.parameters, net._model.optimizer_state.t

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


def test_backward_needs_what_the_workspace_has():
    """However its data were come by: a signal's handler may evaluate between `forward` and `backward`."""
    X, y = data([4, 2], 50)
    net = make([4, 3, 2])
    a = net.forward(X)
    kept = net._model.engine.kept
    gradient, inputs = np.empty_like(net.parameters), np.empty_like(X)
    for other in (
        lambda: net.forward(X[:10]),
        lambda: net.value_and_gradient(X, y),
        lambda: net.partial_fit(X, y),
        lambda: net.step(np.zeros_like(net.parameters), SGD()),
    ):
        other()
        with pytest.raises(RuntimeError, match="backward needs a call of forward before it"):
            net._model.engine.backward(net.parameters, net._model.layer_state, kept, a, gradient, inputs, 1)
    net.forward(X)
    first, again = net.backward(a), net.backward(a)  # which leaves the activations
    assert_array_equal(first[0], again[0])
