"""Costs and gradients against central differences and the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import (
    ACTIVATIONS,
    LOSSES,
    OPTIMIZERS,
    central_differences,
    expected_gradient,
    make,
    problem,
    relative_error,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import softmax

from fastbp import SGD, Dense, Network, Parallel, Shared
from fastbp.losses import kernel_of


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_gradient_by_central_differences(rng, loss, activation):
    net = make([4, 5, 3, 3], activation, loss, l1=0.01, l2=0.1)
    X, y, _ = problem(rng, 11, 4, 3, loss)
    weight = rng.random(11)
    cost, gradient = net.value_and_gradient(X, y, weight, penalty=True)

    def f():
        return net.value_and_gradient(X, y, weight, penalty=True)[0]

    assert f() == cost
    assert relative_error(gradient, central_differences(f, net.parameters)) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 8, 9])
def test_gradient_of_few_rows(rng, n):
    """Up to 8, whose deltas are made of W as it lies, of whole and partial vectors; also where two layers share it."""
    shared = Shared(Dense(19, "tanh"))
    layers = [Dense(19, "tanh"), shared, shared, Parallel([[Dense(5, "elu")], [Dense(17)]]), Dense(2)]
    net = Network(layers, n_inputs=3, loss="squared_error", random_state=0)
    X, y, _ = problem(rng, n, 3, 2, "squared_error")
    assert net.program("gradient", X=X).weights_in_place
    _, gradient = net.value_and_gradient(X, y)
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6


@pytest.mark.parametrize("output", ACTIVATIONS)
def test_gradient_of_squared_error_through_an_output_unit(rng, output):
    net = make([4, 6, 2], "tanh", output=output)
    X, y, _ = problem(rng, 9, 4, 2, "squared_error")
    _, gradient = net.value_and_gradient(X, y)
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    n=st.integers(1, 70),
    loss=st.sampled_from(LOSSES),
    activation=st.sampled_from(ACTIVATIONS),
    dtype=st.sampled_from(["float32", "float64"]),
    weighted=st.booleans(),
)
def test_gradient_of_any_shape(sizes, n, loss, activation, dtype, weighted):
    if kernel_of(loss)[0] == "softmax_cross_entropy":
        sizes[-1] += 1
    rng = np.random.default_rng(n)
    net = make(sizes, activation, loss, dtype)
    X, y, Y = problem(rng, n, sizes[0], sizes[-1], loss)
    X = X.astype(dtype)
    weight = rng.random(n) + 0.1 if weighted else None
    cost, gradient = net.value_and_gradient(X, y, weight)
    value, expected = expected_gradient(net, X.astype(float), Y, weight)
    tolerance = 1e-11 if dtype == "float64" else 2e-3
    assert_allclose(cost, value, rtol=tolerance)
    assert np.abs(gradient - expected).max() <= tolerance * max(1, np.abs(expected).max())


def test_large_batch_in_chunks(rng):
    """A batch beyond the workspace's limit is worked on in chunks; the sum of their gradients is the gradient."""
    net = make([50, 4000, 30, 3], "relu", "softmax_cross_entropy")
    X, y, Y = problem(rng, 1000, 50, 3, "softmax_cross_entropy")
    assert all(net.program(mode, batch_size=1000).chunk < 1000 for mode in ("gradient", "train"))
    value, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, Y)
    assert_allclose(value, expected[0])
    assert relative_error(gradient, expected[1]) < 1e-12
    before = net.parameters.copy()
    net.fit(X, y, optimizer=SGD(0.5), batch_size=1000, shuffle=False)
    assert_allclose(net.parameters, before - 0.5 * gradient, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_own_cost(rng, activation):
    """forward, backward and step with 1/2 |y - a|^2 do what the built-in loss does."""
    X, y, Y = problem(rng, 23, 5, 3, "squared_error")
    own, built_in = (make([5, 8, 4, 3], activation, loss, output=activation) for loss in (None, "squared_error"))
    a = own.forward(X)
    assert_array_equal(a, own.predict(X))
    gradient, input_gradient = own.backward((a - y) / len(X))
    assert_allclose(gradient, built_in.value_and_gradient(X, y)[1], rtol=1e-10, atol=1e-14)
    x = X.copy()
    numeric = central_differences(lambda: built_in.value_and_gradient(x, y)[0], x.reshape(-1))
    assert relative_error(input_gradient.ravel(), numeric) < 1e-6
    assert_array_equal(own.backward((a - y) / len(X))[0], gradient)  # it may be called again
    for optimizer in OPTIMIZERS:
        for _ in range(2):
            own.step(own.backward((own.forward(X) - y) / len(X))[0], optimizer)
        built_in.fit(X, y, optimizer=optimizer, epochs=2, batch_size=len(X), shuffle=False)
        assert_allclose(own.parameters, built_in.parameters, rtol=1e-9, atol=1e-12)
        own._model.optimizer_state = None


def test_forward_returns_logits_where_the_loss_has_the_unit(rng):
    net = make([4, 5, 3], loss="softmax_cross_entropy")
    X = rng.normal(size=(6, 4))
    assert_allclose(softmax(net.forward(X), axis=1), net.predict(X))


def test_backward_needs_forward(rng):
    net = make([4, 5, 3])
    X, y = rng.normal(size=(6, 4)), np.ones((6, 3))
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(y)
    net.forward(X)
    with pytest.raises(ValueError, match=r"dz must have the shape .* \(6, 3\), got \(6, 2\)"):
        net.backward(y[:, :2])
    net.predict(X)  # leaves what forward remembered alone
    net.backward(y)
    for call in (lambda: net.value_and_gradient(X, y), lambda: net.step(np.ones_like(net.parameters), SGD())):
        net.forward(X)
        call()
        with pytest.raises(RuntimeError, match="forward"):
            net.backward(y)


def test_value_and_gradient_arguments(rng):
    net = make([4, 2])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        net.value_and_gradient(np.full((3, 4), np.nan), np.ones((3, 2)))
    with pytest.raises(ValueError, match="loss=None"):
        make([4, 2], loss=None).value_and_gradient(np.ones((3, 4)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="loss=None"):
        make([4, 2], loss=None).fit(np.ones((3, 4)), np.ones((3, 2)))
    for bad in (np.ones(3), np.full(net.parameters.size, np.nan)):
        with pytest.raises(ValueError, match="gradient"):
            net.step(bad, SGD())
    for X in (np.full((3, 4), np.inf), sparse.csr_array(np.full((3, 4), np.inf))):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            make([4, 5, 2], "tanh").value_and_gradient(X, np.ones((3, 2)))
