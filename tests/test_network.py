"""Network against the plain NumPy reference: gradients, updates, kinds of input, bad input, files."""

import copy
import io
import itertools
import pickle

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import ndtr

import fastbp
from fastbp import (
    ELU,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    HistogramLoss,
    Huber,
    LeakyReLU,
    Lp,
    Network,
    Quantile,
    RMSProp,
    SoftmaxCrossEntropy,
)  # fmt: skip
from fastbp.losses import kernel_of

LOSSES = [
    "squared_error", "cross_entropy", "softmax_cross_entropy", "poisson", "absolute_error", Lp(2.5), Lp(3), "huber",
    Huber(0.3), "quantile", Quantile(0.2), "perceptron", SoftmaxCrossEntropy(0.1),
    SoftmaxCrossEntropy(0.2, fixed_logit=True),
]  # fmt: skip
ACTIVATIONS = [
    "identity", "logistic", "tanh", "relu", "hard_tanh", "leaky_relu", LeakyReLU(0.2), "elu", ELU(0.5), "selu",
    "softplus", "gelu", "silu", "softmax",
]  # fmt: skip
OPTIMIZERS = [
    SGD(0.1),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.9, nesterov=True),
    SGD(0.05, momentum=0.9, dampening=0.8, weight_decay=0.1, proximal=True),
    Adam(0.01),
    Adam(0.01, proximal=True),
    AdamW(0.01, epsilon=0.01, weight_decay=0.1),
    RMSProp(0.01),
    RMSProp(0.01, momentum=0.5),
    RMSProp(0.01, momentum=0.5, centered=True, epsilon=1e-3, proximal=True),
    Adagrad(0.1),
    SGD(0.1, momentum=0.9, clip_norm=0.2),
    Adam(0.01, clip_value=0.01),
]


def make(sizes, activation="tanh", loss="squared_error", dtype="float64", seed=0, output="identity", **settings):
    layers = [*(Dense(n, activation) for n in sizes[1:-1]), Dense(sizes[-1], output)]
    return Network(layers, n_inputs=sizes[0], loss=loss, dtype=dtype, random_state=seed, **settings)


def problem(rng, n, n_in, n_out, loss):
    """X, y as the network takes it, and y as the reference does."""
    X = rng.normal(size=(n, n_in))
    if kernel_of(loss)[0] == "softmax_cross_entropy":
        y = rng.integers(0, n_out, n)
        return X, y, reference.one_hot(y, n_out)
    y = rng.random((n, n_out))
    return X, *([y.round()] * 2 if loss == "perceptron" else [y] * 2)


def expected_gradient(net, X, Y, sample_weight=None):
    return reference.value_and_gradient(
        X, Y, [w.astype(float) for w in net.weights], [b.astype(float) for b in net.biases],
        [layer.activation for layer in net.layers], net.loss, sample_weight,
    )  # fmt: skip


def central_differences(f, parameters, step=1e-6):
    gradient = np.empty_like(parameters)
    for i, p in enumerate(parameters):
        parameters[i] = p + step
        above = f()
        parameters[i] = p - step
        gradient[i] = (above - f()) / (2 * step)
        parameters[i] = p
    return gradient


def relative_error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


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


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 7, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_updates(rng, optimizer, batch_size, weighted):
    """Three epochs, step by step, with L1 and L2 and per-layer penalties."""
    net = Network(
        [Dense(6, "tanh", l2=0.02), Dense(3, l1=0.01)], n_inputs=5, loss="softmax_cross_entropy", l1=0.003, l2=0.004,
        random_state=0,
    )  # fmt: skip
    X, y, Y = problem(rng, 50, 5, 3, "softmax_cross_entropy")
    weight = rng.random(50) if weighted else None
    twin = copy.deepcopy(net)
    l1, l2 = (np.zeros_like(net.parameters) for _ in range(2))
    l1[:30], l2[:30], l1[36:54], l2[36:54] = 0.003, 0.02, 0.01, 0.004
    state, t, losses = [np.zeros_like(net.parameters) for _ in range(optimizer.n_states)], 0, []
    is_weight = np.concatenate([np.repeat([1, 0], part) for part in ((30, 6), (18, 3))])
    for _ in range(3):
        batches = []
        for i in range(0, 50, batch_size):
            part = slice(i, i + batch_size)
            s = None if weight is None else weight[part]
            value, g = expected_gradient(twin, X[part], Y[part], s)
            w, t = twin.parameters, t + 1
            mass = len(X[part]) if s is None else s.sum()
            batches.append((mass, value + (l1 * np.abs(w) + l2 / 2 * w**2).sum()))
            w[:] = reference.update(optimizer.settings, w, g, state, t, optimizer.learning_rate, l1, l2, is_weight)
        mass, value = np.transpose(batches)
        losses.append(np.average(value, weights=mass))
    history = net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=batch_size, sample_weight=weight, shuffle=False)
    assert_allclose(net.parameters, twin.parameters, rtol=1e-9, atol=1e-12)
    assert_allclose(history.loss, losses, rtol=1e-10)


def test_shuffled_batches_are_drawn_without_replacement(rng):
    """With W = 0, b = 0, linear output and a tiny rate, the first epoch's update is the sum over all samples."""
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    net = make([4, 1])
    net.parameters[:] = 0
    net.fit(X, y, optimizer=SGD(1e-9), batch_size=1)
    assert_allclose(net.weights[0].ravel() / 1e-9, X.T @ y, rtol=1e-5)


def test_batch_without_weight_makes_no_update(rng):
    X, y, _ = problem(rng, 20, 4, 2, "squared_error")
    X[10:] = 1e300  # would overflow if it were looked at
    weight = np.r_[np.ones(10), np.zeros(10)]
    for optimizer in OPTIMIZERS:
        nets = [make([4, 5, 2]) for _ in range(2)]
        nets[0].fit(X, y, optimizer=optimizer, batch_size=10, sample_weight=weight, shuffle=False)
        nets[1].fit(X[:10], y[:10], optimizer=optimizer, batch_size=10, shuffle=False)
        assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinds_of_input(rng, tmp_path, dtype):
    """All kinds of X and y give the bits of the C-contiguous array of the network's dtype."""
    X = (rng.random((40, 9)) * 255 * (rng.random((40, 9)) < 0.5)).astype(np.uint8)
    y = rng.integers(0, 3, 40)
    X_plain = X.astype(dtype)
    memmap = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape)
    memmap[:] = X_plain
    read_only = X_plain.copy()
    read_only.flags.writeable = False
    kinds = {
        "uint8": X, "float32": X.astype("f4"), "float64": X.astype("f8"), "int64": X.astype(int),
        "float16": X.astype("f2"), "big-endian": X.astype(">f8"), "Fortran": np.asfortranarray(X_plain),
        "strided": np.repeat(np.repeat(X_plain, 2, 0), 2, 1)[::2, ::2],
        "reversed": X_plain[::-1, ::-1].copy()[::-1, ::-1],
        "memmap": memmap, "read-only": read_only, "list": X.tolist(),
        "unaligned": np.frombuffer(b"x" + X_plain.tobytes(), np.uint8)[1:].view(dtype).reshape(X.shape),
    }  # fmt: skip

    def train(X, y):
        net = make([9, 8, 3], "relu", "softmax_cross_entropy", dtype)
        net.fit(X, y, optimizer=SGD(1e-4, momentum=0.9), epochs=3, batch_size=16)
        return net.parameters, net.predict(X), net.predict(X, order=[3, 1, 1])

    expected = train(X_plain, y)
    assert_array_equal(expected[2], expected[1][[3, 1, 1]])
    for name, kind in kinds.items():
        for a, b in zip(train(kind, y), expected, strict=True):
            assert_array_equal(a, b, err_msg=name)
    assert_array_equal(train(X > 0, y)[0], train((X > 0).astype(dtype), y)[0])
    for targets in (y.astype("u1"), y.astype("f8"), y.tolist(), np.repeat(y, 2)[::2]):
        assert_array_equal(train(X_plain, targets)[0], expected[0])
    assert_allclose(train(X_plain, np.eye(3)[y])[0], expected[0], rtol=1e-4)
    def wide(X):
        X = sparse.csr_array(X)
        return sparse.csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)

    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array, sparse.lil_array, wide):
        for source in (X_plain, X.astype("f4"), X):
            for a, b in zip(train(kind(source), y), expected, strict=True):
                assert_allclose(a, b, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-5 if dtype == "float32" else 0)


def test_unsorted_csr_is_not_modified(rng):
    X = sparse.csr_array((np.arange(1.0, 5), [3, 0, 2, 1], [0, 2, 4]), shape=(2, 4))
    before = X.indices.copy()
    net = make([4, 3, 1])
    assert_allclose(net.predict(X), net.predict(X.toarray()))
    for a, b in zip(net.value_and_gradient(X, [1, 2]), net.value_and_gradient(X.toarray(), [1, 2]), strict=True):
        assert_allclose(a, b)
    assert_array_equal(X.indices, before)


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("value", [-1, 99])
def test_corrupt_csr_is_an_error(part, value):
    X = sparse.csr_array(np.eye(4))
    getattr(X, part)[1] = value
    net = make([4, 3, 1])
    for call in (lambda: net.predict(X), lambda: net.fit(X, np.ones(4))):
        with pytest.raises(ValueError, match="X must be a valid CSR matrix"):
            call()


def test_unusual_csr(rng):
    """Strided and narrow index arrays, and rows that were reordered behind scipy's back."""
    X = sparse.csr_array(rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.4))
    y, net = rng.normal(size=30), make([20, 8, 1])
    expected = net.value_and_gradient(X.toarray(), y)
    strided, narrow, reordered = X.copy(), X.copy(), X.copy()
    strided.indices, strided.data = np.repeat(X.indices, 2)[::2], np.repeat(X.data, 2)[::2]
    narrow.indices = X.indices.astype(np.int16)
    assert reordered.has_sorted_indices
    for a in (reordered.indices, reordered.data):
        for begin, end in itertools.pairwise(X.indptr):
            a[begin:end] = a[begin:end][::-1]
    for kind in (strided, narrow, reordered):
        for a, b in zip(net.value_and_gradient(kind, y), expected, strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_data_are_not_changed(rng):
    X, y, _ = problem(rng, 50, 6, 2, "squared_error")
    before = X.copy(), y.copy()
    make([6, 5, 2]).fit(X, y, epochs=2, batch_size=8, validation_data=(X, y))
    assert_array_equal(X, before[0])
    assert_array_equal(y, before[1])


def test_large_batch_in_chunks(rng):
    """A batch beyond the workspace's limit is worked on in chunks; the sum of their gradients is the gradient."""
    net = make([50, 4000, 30, 3], "relu", "softmax_cross_entropy")
    X, y, Y = problem(rng, 1000, 50, 3, "softmax_cross_entropy")
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
        own._reset_optimizer()


@pytest.mark.parametrize("loss", ["gaussian", Quantile([0.1, 0.5, 0.9]), Quantile([0.3])])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_costs_with_several_outputs_for_a_target(rng, loss, n_targets):
    n_out = n_targets * (2 if loss == "gaussian" else len(loss.levels))
    net = make([4, 6, n_out], loss=loss)
    X, y = rng.normal(size=(9, 4)), rng.normal(size=(9, n_targets))
    cost, gradient = net.value_and_gradient(X, y)
    expected = expected_gradient(net, X, y)
    assert_allclose(cost, expected[0], rtol=1e-12)
    assert relative_error(gradient, expected[1]) < 1e-12
    numeric = central_differences(lambda: net.value_and_gradient(X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    with pytest.raises(ValueError, match=rf"y must have shape \(9, {n_targets}\)"):
        net.fit(X, np.ones((9, n_targets + 1)))


def test_quantiles_and_variance_are_those_of_the_data(rng):
    y = rng.normal(3, 2, size=4001)
    X = np.zeros((4001, 1))
    settings = {"optimizer": fastbp.LBFGS(gtol=1e-10, ftol=0), "epochs": 300}
    net = Network([Dense(2)], n_inputs=1, loss="gaussian", initializer="zeros")
    net.fit(X, y, **settings)
    assert_allclose(net.predict(X[:1])[0], [y.mean(), np.log(y.var())], rtol=1e-6)
    net = Network([Dense(3)], n_inputs=1, loss=Quantile([0.1, 0.5, 0.9]), initializer="zeros")
    net.fit(X, y, optimizer=SGD(fastbp.Exponential(2, 0.99, per="step")), epochs=400, batch_size=4001)
    assert_allclose(net.predict(X[:1])[0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.05)


def test_fixed_logit_of_two_classes_is_logistic_regression(rng):
    X, y = rng.normal(size=(30, 4)), rng.integers(0, 2, 30)
    two = make([4, 2], loss=SoftmaxCrossEntropy(fixed_logit=True))
    one = make([4, 1], loss="cross_entropy")
    one.weights[0][:], one.biases[0][:] = two.weights[0][:, :1], two.biases[0][:1]
    cost, gradient = two.value_and_gradient(X, y)
    expected, expected_gradient = one.value_and_gradient(X, 1 - y)
    assert_allclose(cost, expected)
    assert_allclose(gradient[[0, 2, 4, 6, 8]], expected_gradient)
    assert_array_equal(gradient[1::2], 0)
    assert_allclose(two.predict(X)[:, :1], one.predict(X))


def test_histogram_loss(rng):
    """Means of smoothed targets are the targets, up to the bins' width; outputs are trained as by the cross-entropy."""
    edges = np.linspace(-3, 3, 61)
    for sigma in (0.0, 0.1):
        loss = HistogramLoss(edges, sigma)
        y = rng.uniform(-2, 2, 50)
        target = loss.targets(y) if sigma else reference.one_hot(loss.targets(y), 60)
        assert_allclose(loss.means(target).ravel(), y, atol=1e-3 if sigma else 0.05)
        net, plain = make([3, 8, 60], loss=loss), make([3, 8, 60], loss="softmax_cross_entropy")
        X = rng.normal(size=(50, 3))
        for a, b in zip(net.value_and_gradient(X, y), plain.value_and_gradient(X, target), strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-14)
        out = np.empty((50, 1))
        assert net.predict(X, out=out) is out
        assert_allclose(out, loss.means(plain.predict(X)))
        with pytest.raises(ValueError, match="y must lie between the outer edges -3.0 and 3.0"):
            net.fit(X, y * 2)
    X = rng.uniform(-1, 1, size=(400, 1))
    net = make([1, 30, 60], loss=HistogramLoss(edges, 0.1))
    net.fit(X, np.sin(3 * X[:, 0]), optimizer=Adam(0.01), epochs=150)
    assert np.abs(net.predict(X) - np.sin(3 * X)).mean() < 0.05


def test_step_units(rng):
    """1 above 0, 0 up to it; what lies below learns nothing, what lies above does."""
    net = Network([Dense(2, "step"), Dense(1)], n_inputs=1, random_state=0)
    net.parameters[:] = [1, -1, 0, 0, 1, 10, 0.5]
    assert_array_equal(net.predict([[-3], [0], [2]]).ravel(), [10.5, 0.5, 1.5])
    assert_array_equal(net.value_and_gradient([[-3], [2]], [0, 0])[1], [0, 0, 0, 0, 0.75, 5.25, 6])


def test_gelu_is_close_to_its_definition():
    z = np.linspace(-10, 10, 1001)[:, None]
    net = Network([Dense(1, "gelu")], n_inputs=1)
    net.parameters[:] = 1, 0
    assert np.abs(net.predict(z) - z * ndtr(z)).max() < 5e-4


def test_forward_returns_logits_where_the_loss_has_the_unit(rng):
    net = make([4, 5, 3], loss="softmax_cross_entropy")
    X = rng.normal(size=(6, 4))
    assert_allclose(reference.softmax(net.forward(X), axis=1), net.predict(X))


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


def test_parameters_are_views():
    net = make([3, 4, 2])
    assert net.parameters.size == 3 * 4 + 4 + 4 * 2 + 2
    assert [w.shape for w in net.weights] == [(3, 4), (4, 2)]
    net.parameters[:] = np.arange(net.parameters.size)
    assert_array_equal(net.weights[1], np.arange(16, 24).reshape(4, 2))
    net.biases[1][:] = 7
    assert_array_equal(net.parameters[-2:], 7)
    net.parameters[:] = 0
    assert_array_equal(net.predict(np.ones((2, 3))), 0)


def test_fit_is_fresh_and_partial_fit_goes_on(rng):
    X, y, _ = problem(rng, 30, 4, 2, "squared_error")
    for optimizer in OPTIMIZERS:
        settings = {"optimizer": optimizer, "batch_size": 10, "shuffle": False}
        a, b, c = (make([4, 5, 2]) for _ in range(3))
        a.fit(X, y, epochs=4, **settings)
        for _ in range(2):
            b.partial_fit(X, y, epochs=2, **settings)
            c.fit(X, y, epochs=2, **settings)
        assert_array_equal(a.parameters, b.parameters)
        if optimizer.n_states:
            assert not np.array_equal(a.parameters, c.parameters)


def test_validation_and_early_stopping(rng):
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    net = make([5, 40, 1])
    history = net.fit(
        X[:30], y[:30], optimizer=Adam(0.01), epochs=500, validation_data=(X[30:], y[30:]), early_stopping=5
    )
    n = len(history.loss)
    best = history.validation_loss.argmin()
    assert n < 500
    assert best == n - 6
    assert len(history.validation_loss) == len(history.seconds) == n
    assert_allclose(net.value_and_gradient(X[30:], y[30:])[0], history.validation_loss[best])


def test_callback_and_verbose(rng, capsys):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    seen = []

    def callback(epoch, history):
        seen.append((epoch, len(history.loss)))
        return epoch == 2

    make([3, 1]).fit(X, y, epochs=10, callback=callback, verbose=True)
    assert seen == [(0, 1), (1, 2), (2, 3)]
    validation = rng.normal(size=(20, 3)), rng.normal(size=20)
    net = make([3, 1])
    history = net.fit(
        X, y, optimizer=SGD(0.01), epochs=10, early_stopping=5, validation_data=validation,
        callback=lambda epoch, history: epoch == 3,
    )  # fmt: skip
    assert net.value_and_gradient(*validation)[0] == history.validation_loss.min()
    assert capsys.readouterr().out.count("loss") == 3


@pytest.mark.parametrize("result", [1, 2.5, "stop", [0], np.int64(1), np.float64(0.5), np.ones(2), 0, None, False])
def test_only_true_ends_training(rng, result):
    """A progress bar's update returns what it likes, and so does a lambda that notes the loss."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    for callback in (lambda epoch, history: result, [lambda epoch, history: result]):
        assert len(make([3, 1]).fit(X, y, epochs=4, callback=callback).loss) == 4


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_list_of_callbacks(rng, true):
    """Each is called after each epoch, also after that for which one of them ends the training."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    seen = []
    callbacks = [lambda epoch, history: true if epoch == 2 else None, lambda *arguments: seen.append(arguments)]
    history = make([3, 1]).fit(X, y, epochs=10, callback=callbacks)
    assert [epoch for epoch, _ in seen] == [0, 1, 2] and len(history.loss) == 3
    assert_array_equal(seen[-1][1].loss, history.loss)
    assert len(make([3, 1]).fit(X, y, epochs=3, callback=[]).loss) == 3
    for bad in (3, "print", [print, 3], [None]):
        with pytest.raises(TypeError, match="callback must be a callable, a list of them or None"):
            make([3, 1]).fit(X, y, callback=bad)


BAD_FITS = {
    r"y must have rows that sum to 1 .*, got 0.5 in row 3; loss='cross_entropy' is": lambda X, y: {
        "y": np.r_[np.eye(3)[y[:3]], np.eye(3)[y[3:]] / 2]
    },
    "X must have shape": lambda X, y: {"X": X[:, :3]},
    "X must have shape .*got \\(5,\\)": lambda X, y: {"X": X[0]},
    "X must hold real numbers": lambda X, y: {"X": X.astype(complex)},
    "X must hold real numbers, got dtype <U": lambda X, y: {"X": X.astype(str)},
    "X must have at least one row": lambda X, y: {"X": X[:0], "y": y[:0]},
    "Input X contains NaN": lambda X, y: {"X": np.where(X > 1, np.nan, X)},
    "Input X contains infinity": lambda X, y: {"X": np.where(X > 1, np.inf, X)},
    "y must have 20 rows": lambda X, y: {"y": y[:10]},
    "y must hold class indices from 0 to 2": lambda X, y: {"y": y + 1},
    "y must hold class indices": lambda X, y: {"y": y - 1},
    "y must hold class indices .*": lambda X, y: {"y": y + 0.5},
    r"y must have shape \(20, 3\), got \(20, 2\)": lambda X, y: {"y": np.ones((20, 2))},
    "y must hold real numbers": lambda X, y: {"y": y.astype(str)},
    "y must not be negative": lambda X, y: {"y": -np.ones((20, 3))},
    "Input y contains NaN": lambda X, y: {"y": np.full((20, 3), np.nan)},
    r"sample_weight must have shape \(20,\)": lambda X, y: {"sample_weight": np.ones(3)},
    "sample_weight must be finite and not negative": lambda X, y: {"sample_weight": -np.ones(20)},
    "sample_weight must be finite": lambda X, y: {"sample_weight": np.full(20, np.nan)},
    "sample_weight must not be zero for all": lambda X, y: {"sample_weight": np.zeros(20)},
    "epochs must be an integer": lambda X, y: {"epochs": 0},
    "batch_size must be an integer": lambda X, y: {"batch_size": 2.5},
    "early_stopping needs validation_data": lambda X, y: {"early_stopping": 3},
    "validation_data: Input contains NaN": lambda X, y: {"validation_data": (X * np.nan, y)},
    "validation_data must be a tuple": lambda X, y: {"validation_data": X},
    "validation_data: X must have shape": lambda X, y: {"validation_data": (X[:, :2], y)},
    "n_threads must be": lambda X, y: {"n_threads": 0},
    "n_threads must be an integer|n_threads must be None or an integer up to 256": lambda X, y: {"n_threads": 10**9},
    "y must hold class indices, got NaN": lambda X, y: {"y": y * np.nan},
    "sample_weight must have a sum": lambda X, y: {"sample_weight": np.full(20, 1e308)},
    "sample_weight must hold real numbers": lambda X, y: {"sample_weight": ["a"] * 20},
    "X must hold real numbers, got dtype complex": lambda X, y: {"X": sparse.csr_array(X + 1j)},
}


@pytest.mark.parametrize("message", BAD_FITS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_fit_leaves_the_network_alone(rng, message, method):
    X, y, _ = problem(rng, 20, 5, 3, "softmax_cross_entropy")
    net = make([5, 4, 3], loss="softmax_cross_entropy")
    net.fit(X, y, optimizer=Adam(), epochs=2)
    before = pickle.dumps(net)
    arguments = {"X": X, "y": y, "optimizer": Adam(), **BAD_FITS[message](X, y)}
    with pytest.raises(ValueError, match=message):
        getattr(net, method)(**arguments)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("optimizer", ["sgd", SGD, Adam])
def test_bad_optimizer(rng, optimizer):
    X, y = np.ones((3, 4)), np.ones((3, 2))
    net = make([4, 2])
    net.fit(X, y, optimizer=Adam())
    before = pickle.dumps(net)
    for call in (net.fit, net.partial_fit):
        with pytest.raises(TypeError, match="optimizer must be an SGD, Adam, AdamW"):
            call(X, y, optimizer=optimizer)
    with pytest.raises(TypeError, match="optimizer must be an SGD, Adam, AdamW"):
        net.step(np.ones_like(net.parameters), optimizer)
    assert pickle.dumps(net) == before


def test_failing_callback_leaves_the_network_alone(rng):
    net = make([4, 2])
    before = pickle.dumps(net)
    with pytest.raises(ZeroDivisionError):
        net.fit(np.ones((3, 4)), np.ones((3, 2)), callback=lambda epoch, history: 1 / 0)
    assert pickle.dumps(net) == before


def test_callback_may_evaluate_the_network(rng):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    net, costs = make([3, 1]), []
    net.fit(X, y, epochs=3, callback=lambda epoch, history: costs.append(net.value_and_gradient(X, y)[0]))
    assert costs == sorted(costs, reverse=True)


def test_labels_are_not_read_after_they_were_checked(rng):
    """A callback that spoils y does no harm."""
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)

    def spoil(epoch, history):
        y[:] = 10**9

    make([3, 2], loss="softmax_cross_entropy").fit(X, y, epochs=3, callback=spoil)


@pytest.mark.parametrize("epochs", [1, 50])
@pytest.mark.parametrize("as_input", [np.asarray, sparse.csr_array])
def test_nonfinite_training_restores_the_network(rng, epochs, as_input):
    """An epoch alone is undone in another way than several."""
    X, y = rng.normal(size=(50, 5)) * 100, rng.normal(size=50)
    bad = as_input(np.where(X < X.max(), X, np.inf))
    X = as_input(X)
    net = make([5, 4, 1], "relu")
    net.fit(X, y, optimizer=SGD(1e-6, momentum=0.9))
    before = pickle.dumps(net)
    rate = 1e6 if epochs > 1 else 1e60
    for method in (net.partial_fit, net.fit):
        with pytest.raises(FloatingPointError, match="not finite after epoch"):
            method(X, y, optimizer=SGD(rate, momentum=0.9), batch_size=10, epochs=epochs)
        assert pickle.dumps(net) == before
    with pytest.raises(ValueError, match="Input X contains infinity"):
        net.partial_fit(bad, y, optimizer=SGD(1e-6, momentum=0.9), epochs=epochs)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("n_threads", [1, 3])
def test_nonfinite_epoch_of_a_team_restores_the_network(rng, n_threads):
    X, y = rng.normal(size=(2000, 300)), rng.integers(0, 10, 2000)
    net = make([300, 100, 10], "relu", loss="softmax_cross_entropy")
    net.fit(X, y, optimizer=Adam())
    before = pickle.dumps(net)
    for optimizer in (Adam(1e300), SGD(1e300)):
        with pytest.raises(FloatingPointError, match="not finite after epoch"):
            net.partial_fit(X, y, optimizer=optimizer, batch_size=1000, n_threads=n_threads)
        assert net._engine.n_members == n_threads
        assert pickle.dumps(net) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": []}, "layers must be a non-empty sequence of Dense"),
        ({"layers": [3]}, "layers must be a non-empty sequence of Dense"),
        ({"n_inputs": 0}, "n_inputs must be an integer of at least 1 .*, got 0"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ({"dtype": ">f4"}, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "foo"}, "dtype must be 'float32' or 'float64'"),
        ({"l1": -1}, r"l1 must be a number in \[0, inf\), got -1"),
        ({"l2": np.nan}, r"l2 must be a number in \[0, inf\), got nan"),
        ({"loss": "softmax_cross_entropy", "layers": [Dense(3, "relu")]}, "brings its own output unit"),
        ({"loss": "softmax_cross_entropy", "layers": [Dense(1)]}, "needs at least two outputs"),
        ({"loss": Huber}, "loss must be one of"),
        ({"loss": "perceptron", "layers": [Dense(3, "step")]}, "brings its own output unit"),
        ({"loss": "gaussian"}, "loss='gaussian' needs 2 outputs for each target, got 3 in all"),
        ({"loss": Quantile([0.1, 0.9])}, "needs 2 outputs for each target, got 3 in all"),
        ({"loss": HistogramLoss([0, 1, 2])}, "HistogramLoss with 3 edges needs one output less, got 3"),
    ],
)
def test_bad_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        Network(**{"layers": [Dense(3)], "n_inputs": 2, **arguments})


@pytest.mark.parametrize(
    ("make_setting", "message"),
    [
        (lambda: Dense(0), "n_units must be an integer of at least 1 .*, got 0"),
        (lambda: Dense(3, "swish7"), "activation must be one of"),
        (lambda: Dense(3, LeakyReLU), "activation must be one of"),
        (lambda: LeakyReLU(-0.1), r"slope must be a number in \[0, 1\], got -0.1"),
        (lambda: Lp(0.5), "p must be a number in"),
        (lambda: Huber(0), "delta must be a number in"),
        (lambda: Quantile([0.5, 1]), "levels must be a number in"),
        (lambda: Quantile([]), "levels must be a number in"),
        (lambda: SoftmaxCrossEntropy(1), "label_smoothing must be a number in"),
        (lambda: SoftmaxCrossEntropy(fixed_logit=1), "fixed_logit must be True or False, got 1"),
        (lambda: HistogramLoss([0, 2, 1]), "edges must be at least three finite numbers that ascend"),
        (lambda: HistogramLoss(3), "edges must be at least three finite numbers that ascend"),
        (lambda: HistogramLoss([0, 1, 2], -1), "sigma must be a number in"),
        (lambda: ELU(0), r"alpha must be a number in \(0, inf\), got 0"),
        (lambda: Dense(3, l2=-1), "l2 must be"),
        (lambda: Dense(3, max_norm=0), "max_norm must be"),
        (lambda: SGD(0), "learning_rate must be"),
        (lambda: SGD(0.1, momentum=1.5), "momentum must be"),
        (lambda: SGD(dampening=-0.1), "dampening must be"),
        (lambda: SGD(momentum=0.5, nesterov=True, dampening=0.5), "dampening must be 0.0 with nesterov=True, got 0.5"),
        (lambda: SGD(momentum=0.5, nesterov=True, proximal=True), "proximal must be False with nesterov=True"),
        (lambda: RMSProp(rho=1), "rho must be"),
        (lambda: RMSProp(momentum=2), "momentum must be"),
        (lambda: Adagrad(epsilon=0), "epsilon must be"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be"),
        (lambda: SGD(clip_value=0), "clip_value must be"),
        (lambda: Adam(clip_norm=-1), "clip_norm must be"),
        (lambda: SGD(clip_value=1, clip_norm=1), "clip_value must be None with clip_norm=1, got 1"),
        (lambda: SGD(momentum=None), "momentum must be"),
        (lambda: Adam(beta_1=1), "beta_1 must be"),
        (lambda: Adam(epsilon=0), "epsilon must be"),
    ],
)
def test_bad_settings(make_setting, message):
    with pytest.raises(ValueError, match=message):
        make_setting()


def test_settings_are_immutable_and_readable():
    assert repr(SGD(0.2, momentum=0.9, proximal=True)) == "SGD(learning_rate=0.2, momentum=0.9, proximal=True)"
    assert repr(AdamW()) == "AdamW()"
    assert Dense(3, "sigmoid") == Dense(3, "logistic")
    assert Dense(3, "swish") == Dense(3, "silu")
    assert repr(Dense(3, ELU(0.5)).activation) == "ELU(alpha=0.5)"
    with pytest.raises(AttributeError):
        Dense(3).n_units = 4


def test_predict_arguments(rng):
    net = make([4, 5, 2])
    X = rng.normal(size=(7, 4))
    out = np.empty((7, 2))
    assert net.predict(X, out=out) is out
    assert_array_equal(out, net.predict(X))
    assert net.predict(X[:0]).shape == (0, 2)
    overlap = X.reshape(-1)[:14].reshape(7, 2)
    for bad in (np.empty((6, 2)), np.empty((7, 2), "f4"), np.empty((7, 4))[:, ::2], [1], overlap):
        with pytest.raises(ValueError, match=r"out must be .* \(7, 2\)"):
            net.predict(X, out=bad)
    for order in ([7], [-1], [[1]], [0.5], [True, False]):
        with pytest.raises(ValueError, match="order must be"):
            net.predict(X, order=order)
    assert np.isnan(net.predict(np.full((1, 4), np.nan))).all()


def test_predict_checks_n_threads_of_small_work():
    for n_threads in (0, True, 1.5, 257):
        with pytest.raises(ValueError, match="n_threads must be"):
            make([4, 5, 2]).predict(np.ones((1, 4)), n_threads=n_threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[4, 64, 64, 2], [7, 11, 5, 300], [300, 130, 17], [3, 1], [5, *[6] * 150, 2]])
def test_prediction_of_a_row_does_not_depend_on_the_others(rng, dtype, sizes):
    """Whether weights are packed, how rows are blocked and where the workspace lies do not change a bit."""
    loss = "softmax_cross_entropy" if sizes[-1] > 1 else "squared_error"
    net = make(sizes, "tanh", loss, dtype)
    X = rng.normal(size=(500, sizes[0])).astype(dtype)
    a = net.predict(X)
    expected = reference.forward(
        X.astype(float), net.weights, net.biases, [layer.activation for layer in net.layers]
    )[0][-1]
    expected = reference.outputs(loss, expected)
    assert_allclose(a, expected, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-5 if dtype == "float32" else 1e-12)
    for n in (1, 2, 23, 47, 48, 49, 385):
        assert_array_equal(net.predict(X[:n]), a[:n])
        assert_array_equal(net.predict(X, order=np.arange(n) + 7), a[7 : n + 7])
        assert_array_equal(net.predict(X[:n], out=np.empty((n, sizes[-1]), dtype)), a[:n])


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


def test_settings_that_shape_the_network_are_read_only():
    net = make([4, 2])
    for name in ("layers", "n_inputs", "loss", "dtype", "parameters"):
        with pytest.raises(AttributeError):
            setattr(net, name, getattr(net, name))
    with pytest.raises(TypeError):
        net.weights[0] = np.ones((4, 2))
    net.l2 = 0.5
    with pytest.raises(ValueError, match="l2 must be"):
        net.l2 = -1


@pytest.mark.parametrize("loss", ["gaussian", Lp(3), Huber(2), Quantile([0.1, 0.9]), SoftmaxCrossEntropy(0.1)])
def test_save_load_costs(rng, loss):
    net, stream = make([3, 4], loss=loss), io.BytesIO()
    net.save(stream)
    stream.seek(0)
    again = Network.load(stream)
    assert again.loss == loss and repr(again) == repr(net) and pickle.loads(pickle.dumps(net)).loss == loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_save_load_pickle_copy(rng, tmp_path, dtype):
    X, y, _ = problem(rng, 30, 5, 3, "softmax_cross_entropy")
    net = Network(
        [Dense(8, LeakyReLU(0.3), l1=0.1), Dense(8, ELU(2.0)), Dense(3)], n_inputs=5, loss="softmax_cross_entropy",
        l2=0.3, dtype=dtype, random_state=0,
    )  # fmt: skip
    net.fit(X, y, optimizer=Adam(0.1), epochs=3)
    net.save(tmp_path / "net")
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    for again in (
        Network.load(tmp_path / "net"), Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    ):  # fmt: skip
        assert repr(again) == repr(net)
        assert_array_equal(again.predict(X), net.predict(X))
    net.partial_fit(X, y, optimizer=Adam(0.1), epochs=2)
    again.partial_fit(X, y, optimizer=Adam(0.1), epochs=2)  # the copy went on with state and random numbers
    assert_array_equal(again.parameters, net.parameters)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a file was run",))


def test_load_runs_no_code_and_says_what_is_wrong(tmp_path):
    file = tmp_path / "bad.npz"
    for arrays in (
        {"settings": np.array([Bomb()], dtype=object), "parameters": np.zeros(3)},
        {"settings": np.array("{}"), "parameters": np.zeros(3)},
        {"settings": np.array("not json"), "parameters": np.zeros(3)},
        {"parameters": np.zeros(3)},
    ):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match="file must be a network saved by Network.save"):
            Network.load(file)
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="file must be"):
        Network.load(file)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "none.npz")


@pytest.mark.once
def test_mnist(mnist):
    """784-128-10, ten epochs of SGD with momentum: 97.5% of the test set."""
    X, y, X_test, y_test = mnist
    net = make([784, 128, 10], "relu", "softmax_cross_entropy", "float32")
    scale = np.float32(1 / 255)
    net.fit(X * scale, y, optimizer=SGD(0.05, momentum=0.9), epochs=10, batch_size=64)
    assert (net.predict(X_test * scale).argmax(axis=1) == y_test).mean() >= 0.975


def test_show_config(capsys):
    fastbp.show_config()
    out = capsys.readouterr().out
    for word in (fastbp.__version__, "baseline", fastbp.ISA, "BLAS", "threads"):
        assert word in out
