"""Steps by hand: places for results, and one call for a step by a cost of one's own."""

import pickle

import numpy as np
import pytest
from graph_cases import N_INPUTS, NETWORKS, network
from numpy.testing import assert_array_equal
from scipy import sparse

from fastbp import SGD, Adam, Dense, Network, NewtonCG, Parallel, Rprop, StepDecay

HALVED = StepDecay(0.1, 0.5, 2, per="step")
HEADS = [Dense(4, "tanh"), Parallel({"a": [Dense(2)], "b": [Dense(3)]})]


def output_gradient(a):
    return {name: np.sin(part) for name, part in a.items()} if isinstance(a, dict) else np.sin(a)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*NETWORKS, "heads"])
def test_places_for_results(rng, name, dtype):
    net = network(NETWORKS.get(name, HEADS), loss=None, dtype=dtype)
    X = rng.normal(size=(7, N_INPUTS)).astype(dtype)
    a = net.forward(X)
    gradient, input_gradient = net.backward(output_gradient(a))
    out = {k: np.full_like(part, 9) for k, part in a.items()} if isinstance(a, dict) else np.full_like(a, 9)
    again = net.forward(X, out=out)
    for k in a if isinstance(a, dict) else [slice(None)]:
        assert_array_equal(out[k], a[k])
        assert np.shares_memory(again[k], out[k])
    places = np.full_like(gradient, 9), np.full_like(input_gradient, 9)
    found = net.backward(output_gradient(a), out=places)
    assert found[0] is places[0] and found[1] is places[1]
    assert_array_equal(places[0], gradient)
    assert_array_equal(places[1], input_gradient)
    places[0][:] = 9
    assert net.backward(output_gradient(a), out=(places[0], None))[1] is None
    assert_array_equal(places[0], gradient)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(), Rprop(), SGD(HALVED, momentum=0.9)])
@pytest.mark.parametrize("name", ["residual", "shared", "transposed", "radial", "scaled", "slopes", "heads"])
def test_step_with_is_the_three_in_one(rng, name, optimizer):
    one, three = (network(NETWORKS.get(name, HEADS), loss=None, l2=0.01) for _ in range(2))
    for n in (1, 3, 8, 40):
        X = rng.normal(size=(n, N_INPUTS))
        a = three.forward(X)
        three.step(three.backward(output_gradient(a))[0], optimizer)
        found = one.step_with(X, output_gradient, optimizer)
        for k in a if isinstance(a, dict) else [slice(None)]:
            assert_array_equal(found[k], a[k])
        assert_array_equal(one.parameters, three.parameters)
    assert one._model.optimizer_state.t[0] == 4


def test_step_with_sparse_rows_and_predictions_meanwhile(rng):
    one, other = (Network([Dense(4, "tanh"), Dense(1)], n_inputs=3, loss=None, random_state=0) for _ in range(2))
    X, after = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    one.step_with(sparse.csr_array(X), lambda a: a - 0.9 * one.predict(after), SGD(0.1))
    other.step_with(X, lambda a: a - 0.9 * other.predict(after), SGD(0.1))
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-12)


BAD_STEPS = {
    "dz must have the shape": (ValueError, lambda net: lambda a: a[:, :1]),
    "dz must hold real numbers": (ValueError, lambda net: lambda a: a.astype(str)),
    "what output_gradient returned: dz must hold real numbers, got None": (ValueError, lambda net: lambda a: None),
    "what output_gradient returned: dz must hold .* in one array": (ValueError, lambda net: lambda a: (a, 1.0)),
    "output_gradient must not train": (RuntimeError, lambda net: lambda a: net.forward(np.ones((7, 5)))),
    "what output_gradient returned contains NaN": (ValueError, lambda net: lambda a: a * np.nan),
    "by zero": (ZeroDivisionError, lambda net: lambda a: a / (1 // 0)),
}


@pytest.mark.parametrize("message", BAD_STEPS)
def test_bad_steps_leave_the_network_alone(rng, message):
    net = network(NETWORKS["residual"], loss=None)
    X = rng.normal(size=(7, N_INPUTS))
    net.step_with(X, output_gradient, Adam())
    before = pickle.dumps(net)
    error, make = BAD_STEPS[message]
    with pytest.raises(error, match=message):
        net.step_with(X, make(net), Adam())
    for optimizer in (Adam, "newton_cg", NewtonCG()):
        with pytest.raises(TypeError, match="optimizer must be"):
            net.step_with(X, output_gradient, optimizer)
    with pytest.raises(ValueError, match="X must have shape"):
        net.step_with(X[:, :2], output_gradient, Adam())
    assert pickle.dumps(net) == before
    net.step_with(X, output_gradient, Adam())
    assert net._model.optimizer_state.t[0] == 2


def test_bad_places(rng):
    net = network(NETWORKS["residual"], loss=None)
    X = rng.normal(size=(7, N_INPUTS))
    a = net.forward(X)
    for out in (np.empty((7, 3)), np.empty((7, 2), "f4"), np.empty((2, 7)).T, [[0.0] * 2] * 7):
        with pytest.raises(ValueError, match="out must be a writeable C-contiguous float64 array of shape"):
            net.forward(X, out=out)
    gradient, inputs = net.backward(a)
    for out in ((gradient,), gradient, (None, inputs)):
        with pytest.raises(ValueError, match="out must be a tuple"):
            net.backward(a, out=out)
    with pytest.raises(ValueError, match=r"^gradient of out must be a writeable C-contiguous float64 array of shape"):
        net.backward(a, out=(gradient[:-1], None))
    with pytest.raises(ValueError, match="input_gradient of out must be a writeable"):
        net.backward(a, out=(gradient, inputs.astype("f4")))
    with pytest.raises(ValueError, match="apart from each other"):
        net.backward(a, out=(gradient, gradient[:35].reshape(7, 5)))
    assert_array_equal(net.backward(a)[0], gradient)
