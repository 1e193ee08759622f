"""The threads of BLAS, limited while ours are at work."""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runtime_cases import blas_numbers, make, posix, run_alone
from threadpoolctl import threadpool_info, threadpool_limits

from fastbp import _usage, threads


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
    blas = _usage.Blas([(*pair, own) for pair, own in zip(addresses, (True, False), strict=True)])
    seen, inside, leave = [], threading.Event(), threading.Event()

    def work():
        mine.n = 3
        with _usage.Threads(1, False, blas), _usage.Threads(1, False, blas):
            seen.append(mine.n)
            inside.set()
            leave.wait(60)
        seen.append(mine.n)

    worker = threading.Thread(target=work)
    with _usage.Threads(1, False, blas):
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
        assert threads.exclusive(net._model.engine).__enter__() is None
        assert threads.team(1, True).__enter__() == 1
        assert threads.n_busy() == 0 and blas_numbers() == before
    with ThreadPoolExecutor() as other_thread:
        other_thread.submit(net.forward, np.ones((1, 4))).result()


@posix
def test_a_handler_may_use_blas_while_its_limit_is_set():
    """There is no lock that it could wait for."""
    printed = run_alone("""
        import random, signal
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
        while calls < 200:
            assert np.array_equal(net.hessian_vector_product(X, y, v), expected)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert numbers() == before, numbers()
        print("as before")
    """)
    assert printed.strip() == "as before"
