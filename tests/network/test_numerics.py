"""Numbers at the ends of their range, and sums of very many: the right value, or an error that says what is wrong."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from fastbp import SGD, Adagrad, Adam, AdamW, Dense, Network, RMSProp


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


def few(dtype, n):
    """A few ULP times the logarithm of the number of terms."""
    return 4 * np.finfo(dtype).eps * np.log2(n)


def make(layers, n_inputs=1, dtype="float32", **settings):
    return Network(layers, n_inputs=n_inputs, dtype=np.dtype(dtype).name, initializer="zeros", **settings)


# ---- sums of very many ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60_000, 10**6, 10**7])
def test_gradient_of_many_rows(n):
    """All terms are the same, so that their roundings do not cancel."""
    net = make([Dense(1)])
    x, y = np.full((n, 1), 0.1, "f"), np.full((n, 1), -0.3, "f")
    for n_threads in (1, 2):
        cost, gradient = net.value_and_gradient(x, y, n_threads=n_threads)
        term, factor = float(y[0, 0]), float(x[0, 0])
        assert_allclose(gradient, [-term * factor, -term], rtol=few("f", n))
        assert_allclose(cost, term**2 / 2, rtol=few("f", n))


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_many_rows_of_all_kinds(dtype, weighted, rng):
    """Layers by columns and by rows, lists of zeros, weights: against the mean of gradients of parts."""
    n, n_inputs = 40_000, 70
    X = rng.normal(size=(n, n_inputs)).astype(dtype)
    X[rng.random(X.shape) < 0.9] = 0
    y, w = rng.integers(3, size=n), rng.integers(1, 3, size=n).astype(float) if weighted else None
    layers, loss = [Dense(400, "tanh"), Dense(3)], "softmax_cross_entropy"
    net = Network(layers, n_inputs=n_inputs, loss=loss, dtype=dtype.name, random_state=0)
    parts = [slice(i, i + 1000) for i in range(0, n, 1000)]
    shares = [1000.0 if w is None else w[part].sum() for part in parts]
    exact = np.average(
        [net.value_and_gradient(X[p], y[p], None if w is None else w[p])[1] for p in parts], axis=0, weights=shares
    )
    for x in (X, csr_array(X)):
        program = net.program("gradient", X=x, n_threads=2)
        assert program.x_as_nonzeros and program.chunk < n
        assert {phase.split for phase in program.phases} == {"rows", "columns", "alone", "weights"}
        gradients = [net.value_and_gradient(x, y, w, n_threads=n_threads)[1] for n_threads in (1, 2)]
        assert_array_equal(*gradients)
        assert_allclose(gradients[0], exact, rtol=1e-3, atol=30 * np.finfo(dtype).eps * abs(exact).max())
    net.forward(X)
    dz = rng.normal(size=(n, 3)).astype(dtype)
    backward = net.backward(dz)[0]
    total = 0
    for p in parts:
        net.forward(X[p])
        total = total + net.backward(dz[p])[0].astype(float)
    assert_allclose(backward, total, rtol=1e-3, atol=30 * np.finfo(dtype).eps * abs(total).max())


def test_training_by_one_batch_of_many_rows(dtype):
    """A step of a batch that is folded is the gradient's, with clipping by norm, ties and penalties too."""
    n = 30_000
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 6)).astype(dtype), rng.normal(size=(n, 6)).astype(dtype)
    layers = [Dense(6, "tanh"), Dense(6, "tanh"), Dense(6)]
    for optimizer in (SGD(0.5), SGD(0.5, clip_norm=0.01)):
        net = Network(layers, n_inputs=6, dtype=dtype.name, random_state=0, l2=0.1, ties=[(0, 1, 0.2)])
        before, gradient = net.parameters.copy(), net.value_and_gradient(X, y, penalty=True)[1].astype(float)
        if optimizer.clip_norm:
            gradient *= 0.01 / np.linalg.norm(gradient)
        net.fit(X, y, optimizer=optimizer, batch_size=n)
        assert_allclose(net.parameters, before - 0.5 * gradient, rtol=1e-4, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n_inputs", [10**3, 10**4, 10**6])
def test_prediction_of_equal_inputs(n_inputs):
    for rows in (1, 5):
        net = make([Dense(3)], n_inputs)
        x = np.full((rows, n_inputs), 0.1, "f")
        net.weights[0][:] = 0.3
        exact = n_inputs * float(x[0, 0]) * float(net.weights[0][0, 0])
        for kind in (x, csr_array(x)):
            assert_allclose(net.predict(kind), exact, rtol=few("f", n_inputs))


# ---- squares that overflow or underflow -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e19, 2e37, 1e-25])
def test_clipping_by_norm(size, dtype):
    """The gradient (3, 4) * size, whose squares float32 does not have."""
    net = make([Dense(1)], 2, dtype)
    most = min(1.0, size / 10)
    net.step(np.array([3, 4, 0]) * size, SGD(0.5, clip_norm=most))
    assert_allclose(net.parameters, np.array([-0.3, -0.4, 0]) * most, rtol=1e-6)
    net = make([Dense(1)], 2, dtype, loss="absolute_error")
    net.fit(np.array([[3, 4]]) * size, [1.0], optimizer=SGD(0.5, clip_norm=most))
    gradient = np.array([3 * size, 4 * size, 1])
    expected = 0.5 * most * gradient / np.linalg.norm(gradient)
    assert_allclose(net.parameters, expected, rtol=1e-6, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("size", [1e19, 2e37, 1e-25])
def test_max_norm(size, dtype):
    most = min(1.0, size / 10)
    for train in (
        lambda net: net.step(np.zeros(3), SGD(0.1)),
        lambda net: net.fit(np.zeros((4, 2)), np.zeros(4), optimizer=SGD(0.1)),
    ):
        net = make([Dense(1, max_norm=most)], 2, dtype)
        net.parameters[:2] = 3 * size, 4 * size
        train(net)
        assert_allclose(net.parameters, np.array([0.6, 0.8, 0]) * most, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer", [Adam(), AdamW(), RMSProp(), RMSProp(momentum=0.9), RMSProp(centered=True), Adagrad()]
)
def test_rules_that_divide_by_squares(optimizer):
    """Where the square of a gradient overflows they would make no step: that is an error, and nothing has changed."""
    net = make([Dense(2)], 2)
    with pytest.raises(FloatingPointError, match="gradient must have squares that are finite"):
        net.step(np.full(6, 1e20), optimizer)
    assert not net.parameters.any()
    net = make([Dense(1)], 2, loss="absolute_error")
    for epochs in (1, 2):
        with pytest.raises(FloatingPointError, match="not finite"):
            net.fit(np.full((4, 2), 1e20, "f"), np.ones(4), optimizer=optimizer, epochs=epochs)
        assert not net.parameters.any()
    net.fit(np.full((4, 2), 1e20), np.ones(4), optimizer=type(optimizer)(clip_value=1.0))
    assert (net.parameters > 0).all()
    net = make([Dense(2)], 2)
    net.step(np.full(6, 1e20), type(optimizer)(clip_norm=1.0))
    assert (net.parameters < 0).all()


@pytest.mark.parametrize(
    "optimizer", [AdamW(epsilon=1e-44), Adam(epsilon=1e-50), RMSProp(epsilon=1e-50), Adagrad(epsilon=1e-60)]
)
def test_epsilon_that_float32_does_not_have(optimizer):
    net = make([Dense(1)], 2)
    assert net.fit(np.zeros((4, 2)), np.zeros(4), optimizer=optimizer, epochs=3).loss.tolist() == [0, 0, 0]
    assert not net.parameters.any()


# ---- losses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1e4, 1e12, 1e15, 1e16])
def test_softmax_cross_entropy_of_equal_logits(level, dtype):
    net = make([Dense(2)], 1, dtype, loss="softmax_cross_entropy")
    net.biases[0][:] = level
    for y in ([1], [[0.3, 0.7]]):
        assert_allclose(net.value_and_gradient(np.zeros((1, 1)), y)[0], np.log(2), rtol=1e-7)


def test_poisson_deviance_of_large_counts():
    for y, gap, exact in ((1e6, 1e-3, 0.4998), (12345.0, 0.0, 0.0)):
        net = make([Dense(1)], loss="poisson")
        net.biases[0][:] = np.log(y) + gap
        cost, _ = net.value_and_gradient(np.zeros((1, 1)), [y])
        assert cost >= 0
        assert_allclose(cost, exact, rtol=1e-4, atol=1e-8)


def test_gaussian_loss_of_a_target_that_is_met():
    net = make([Dense(2)], loss="gaussian")
    net.biases[0][1] = -90
    cost, gradient = net.value_and_gradient(np.zeros((1, 1)), [0.0])
    assert_allclose(cost, -44.08, atol=2e-3)
    assert_array_equal(gradient, [0, 0, 0, 0.5])
    net = make([Dense(2)], loss="gaussian")
    history = net.fit(np.zeros((32, 1)), np.zeros(32), optimizer=SGD(1.0), epochs=1000)
    assert_allclose(history.loss[-1], (np.log(2 * np.pi) - 999 / 2) / 2, rtol=1e-5)
