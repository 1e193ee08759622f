"""Numbers below the least normal one are 0 within the core, whatever threads work, and nowhere else."""

import numpy as np
import pytest

from fastbp import SGD, Adam, Dense, Network

TINY = {"float32": 1e-40, "float64": 1e-310}


def caller_has_subnormals(dtype):
    x = np.full(40, TINY[dtype], dtype)
    return (x * np.ones(40, dtype) == x).all() and (x != 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_rows", [1, 7, 3000])
def test_subnormals(dtype, n_threads, n_rows):
    net = Network([Dense(300), Dense(200), Dense(3)], n_inputs=150, dtype=dtype, random_state=0)
    net.parameters[:] = TINY[dtype]
    X, y = np.ones((n_rows, 150), dtype), np.zeros((n_rows, 3))
    assert (net.predict(X, n_threads=n_threads) == 0).all()
    assert (net.forward(X, n_threads=n_threads) == 0).all()
    cost, gradient = net.value_and_gradient(X, y, n_threads=n_threads)
    assert cost == 0 and (gradient == 0).all()
    net.fit(X, y, optimizer=SGD(0.1), batch_size=100, n_threads=n_threads)
    assert (net.parameters == 0).all()
    assert caller_has_subnormals(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormals_in_steps_by_hand(dtype):
    """Rounded, 0.75 times the least number is that number: what Adam keeps of a gradient would never be 0 again."""
    net = Network([Dense(30), Dense(3)], n_inputs=5, dtype=dtype, random_state=0)
    rule = Adam(beta_1=0.75)
    net.step(np.full_like(net.parameters, 1e-3), rule)
    for _ in range(2600):
        net.step(np.zeros_like(net.parameters), rule)
    assert (net._model.optimizer_state.arrays[0] == 0).all()
    assert caller_has_subnormals(dtype)


def test_subnormals_after_an_error():
    net = Network([Dense(30), Dense(3)], n_inputs=5, dtype="float32", random_state=0)
    with pytest.raises(FloatingPointError):
        net.fit(np.ones((9, 5)), np.full((9, 3), 1e30), optimizer=SGD(1e30), epochs=3)
    assert caller_has_subnormals("float32")
