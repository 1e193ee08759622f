"""Forks before, during and after training."""

import os
import signal
import threading

import numpy as np
import pytest
from runtime_cases import NETWORKS, blas_numbers, data, make, posix
from threadpoolctl import threadpool_limits

from fastbp import threads


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
        with threads.exclusive(other._model.engine), threads.team(3, True):
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
