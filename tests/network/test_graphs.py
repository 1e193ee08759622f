"""Networks that are no chains: gradients, functions written in two ways, training, input of all kinds, copies."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
from graph_cases import CODE, N_INPUTS, NETWORKS, data, network
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, check_hessian, one_step, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import (
    RBF,
    SGD,
    Activation,
    Adam,
    Dense,
    Dropout,
    ImageAugmentation,
    Network,
    Orthogonal,
    Parallel,
    PReLU,
    Residual,
    Scale,
    Shared,
)


@pytest.fixture(params=NETWORKS)
def layers(request):
    return NETWORKS[request.param]


# ---- gradients ------------------------------------------------------------------------------------------------------


def test_gradient_by_central_differences(rng, layers):
    net = network(layers, l1=0.01, l2=0.1)
    X, y = data(rng, net)
    weight = rng.random(len(X))
    cost, gradient = net.value_and_gradient(X, y, weight, penalty=True)

    def f():
        return net.value_and_gradient(X, y, weight, penalty=True)[0]

    assert f() == cost
    assert relative_error(gradient, central_differences(f, net.parameters)) < 1e-6


def test_hessian(rng, layers):
    net = network(layers, l2=0.1)
    X, y = data(rng, net)
    check_hessian(rng, net, X, y, rng.random(len(X)))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "cross_entropy", "poisson", "huber"])
def test_gradient_of_losses(rng, loss):
    for last in (Residual([Dense(3), Dense(3)]), Parallel([[Dense(2)], [], [Dense(1)]])):
        net = network([Dense(3, "tanh"), last], loss=loss)
        n = net._model.outputs[0].n
        X, y = rng.normal(size=(9, N_INPUTS)), rng.random((9, n))
        y /= y.sum(1, keepdims=True)
        f = partial(net.value_and_gradient, X, y)
        assert relative_error(f()[1], central_differences(lambda f=f: f()[0], net.parameters)) < 1e-6


def test_forward_and_backward(rng, layers):
    net = network(layers)
    X, _ = data(rng, net)
    a = net.forward(X)
    assert_allclose(a, net.predict(X), rtol=1e-12)
    dz = rng.normal(size=a.shape)
    gradient, input_gradient = net.backward(dz)

    def cost():
        return (net.predict(X) * dz).sum()

    assert relative_error(gradient, central_differences(cost, net.parameters)) < 1e-6
    flat = X.reshape(-1)
    assert relative_error(input_gradient.ravel(), central_differences(cost, flat)) < 1e-6


def test_gradient_with_dropout_anywhere(rng):
    layers = [
        Dropout(0.2), Parallel([[CODE], [Dense(3, "tanh", dropout=0.3)], [Dropout(0.5)]]), Activation("gelu"),
        Dropout(0.1), Residual([Dense(6, "tanh"), Dropout(0.4), Dense(12), Dropout(0.2)]), Dense(4),
        CODE.transposed("tanh", dropout=0.3), Dense(3),
    ]  # fmt: skip
    net = network(layers, l2=0.1)
    X, y = data(rng, net, 50)
    cost, gradient = one_step(net, X, y)
    assert cost != one_step(net, X, y, seed=4)[0]
    numeric = central_differences(lambda: one_step(net, X, y)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    assert_array_equal(net.predict(X), network([*layers[1:], Activation("identity")], l2=0.1).predict(X))


# ---- the same function in two ways ----------------------------------------------------------------------------------


def test_layers_of_their_own_are_settings_of_dense(rng):
    ways = [
        [Dense(9, "relu", dropout=0.5), Dense(6, "tanh"), Dense(2)],
        [Dense(9), Activation("relu"), Dropout(0.5), Dense(6), Activation("tanh"), Activation("identity"), Dense(2)],
        [Dense(9, "relu"), Dropout(0.5), Dense(6, "tanh"), Dropout(0.0), Dense(2)],
    ]
    X, y = rng.normal(size=(60, N_INPUTS)), rng.random((60, 2))
    results = []
    for layers in ways:
        net = Network(layers, n_inputs=N_INPUTS, random_state=0)
        history = net.fit(X, y, optimizer=Adam(0.01), epochs=3)
        results.append([net.parameters, history.loss, net.predict(X)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_a_logistic_layer_of_its_own_starts_as_one(rng):
    one, two = (
        Network(layers, n_inputs=3, random_state=0)
        for layers in ([Dense(4, "logistic"), Dense(1)], [Dense(4), Activation("logistic"), Dense(1)])
    )
    assert_array_equal(one.parameters, two.parameters)


def by_hand(net, X):
    """Weights and biases by place."""
    return X, *net.weights, *net.biases


def test_residual_is_a_sum(rng):
    net = network([Residual([Dense(6, "tanh"), Dense(5)]), Residual([Dense(3)], projection="linear")])
    X, W0, W1, W2, P, b0, b1, b2, none = by_hand(net, rng.normal(size=(7, N_INPUTS)))
    assert none is None and P.shape == (5, 3) and W2.shape == (5, 3)
    H = X + np.tanh(X @ W0 + b0) @ W1 + b1
    assert_allclose(net.predict(X), H @ P + H @ W2 + b2, rtol=1e-12)


def test_parallel_is_side_by_side_or_a_sum(rng):
    side = network([Parallel([[Dense(2)], [], [Dense(3, "tanh"), Dense(1)]])])
    X, W0, W1, W2, b0, b1, b2 = by_hand(side, rng.normal(size=(7, N_INPUTS)))
    branches = X @ W0 + b0, X, np.tanh(X @ W1 + b1) @ W2 + b2
    assert_allclose(side.predict(X), np.concatenate(branches, axis=1), rtol=1e-12)
    total = network([Parallel([[Dense(5)], [], [Dense(5, "tanh")]], combine="add")])
    X, W0, W1, b0, b1 = by_hand(total, X)
    assert_allclose(total.predict(X), X @ W0 + b0 + X + np.tanh(X @ W1 + b1), rtol=1e-12)


def test_branches_of_dense_are_one_dense(rng):
    """[H W_0 + b_0, H W_1 + b_1] = H [W_0, W_1] + [b_0, b_1]"""
    two = network([Dense(6, "tanh"), Parallel([[Dense(2)], [Dense(3)]]), Dense(2)])
    one = network([Dense(6, "tanh"), Dense(5), Dense(2)])
    X, y = data(rng, two)

    def joined(weights, biases):
        (W0, W1, W2, W3), (b0, b1, b2, b3) = weights, biases
        parts = W0, b0, np.concatenate([W1, W2], axis=1), np.concatenate([b1, b2]), W3, b3
        return np.concatenate([part.ravel() for part in parts])

    one.parameters[:] = joined(two.weights, two.biases)
    assert_allclose(one.predict(X), two.predict(X), rtol=1e-12)
    (c, g), (c_one, g_one) = two.value_and_gradient(X, y), one.value_and_gradient(X, y)
    assert_allclose(c, c_one, rtol=1e-12)
    assert_allclose(joined(*two._model.views(g)), g_one, rtol=1e-9, atol=1e-14)


def test_shared_is_one_set_of_weights(rng):
    """The gradient is the sum of those of places with weights of their own, which are the same."""
    block = Shared(Dense(5, "tanh"))
    shared = network([block, block, Dense(2), Dense(5), block])
    apart = network([Dense(5, "tanh"), Dense(5, "tanh"), Dense(2), Dense(5), Dense(5, "tanh")])
    assert shared.weights[0].base is not None and np.shares_memory(shared.weights[0], shared.weights[4])
    assert np.shares_memory(shared.biases[0], shared.biases[1])
    assert shared.parameters.size == apart.parameters.size - 2 * 30
    for ours, its in ((apart.weights, shared.weights), (apart.biases, shared.biases)):
        for a, b in zip(ours, its, strict=True):
            a[:] = b
    X, y = data(rng, shared)
    assert_allclose(shared.predict(X), apart.predict(X), rtol=1e-12)
    g, parts = (net._model.views(net.value_and_gradient(X, y)[1]) for net in (shared, apart))
    for one, several in zip(g, parts, strict=True):
        assert_allclose(one[0], several[0] + several[1] + several[4], rtol=1e-9)
        assert_allclose(one[2], several[2], rtol=1e-9)


def test_tied_autoencoder(rng):
    code = Shared(Dense(3, "tanh"))
    net = network([code, code.transposed("logistic")])
    X, W, V, b, c = by_hand(net, rng.normal(size=(7, N_INPUTS)))
    assert V.base is not None and np.shares_memory(W, V) and b.shape == (3,) and c.shape == (N_INPUTS,)
    assert_array_equal(V, W.T)
    assert_allclose(net.predict(X), 1 / (1 + np.exp(-(np.tanh(X @ W + b) @ W.T + c))), rtol=1e-12)
    apart = network([Dense(3, "tanh"), Dense(N_INPUTS, "logistic")])
    apart.parameters[:] = np.concatenate([a.ravel() for a in (W, b, W.T, c)])
    g, g_apart = (net.value_and_gradient(X, X > 0)[1] for net in (net, apart))
    (dW, dV), (db, dc) = apart._model.views(g_apart)
    assert_allclose(g, np.concatenate([a.ravel() for a in (dW + dV.T, db, dc)]), rtol=1e-9)


def test_start_of_parts_without_weights_of_their_own():
    """Weights are drawn in the order of layers, once; a transposed layer's biases begin as 0, a projection has none."""
    code = Shared(Dense(4, initializer="he_normal"))
    net = Network(
        [code, Residual([Dense(6, initializer="zeros")], projection="linear"), Dense(4), code.transposed(), RBF(2)],
        n_inputs=5, initializer=Orthogonal(2.0), random_state=0,
    )  # fmt: skip
    W, zeros, P, V, transposed, C = net.weights
    assert_allclose(P @ P.T, 4 * np.eye(4), atol=1e-12)
    assert not zeros.any() and not net.biases[4].any() and net.biases[2] is None
    assert_array_equal(transposed, W.T)
    assert_allclose(net.biases[5], -np.log(2 * 5))
    chain = Network([Dense(4, initializer="he_normal")], n_inputs=5, random_state=0)
    assert_array_equal(chain.parameters, net.parameters[: 5 * 4 + 4])


# ---- penalties and ties ---------------------------------------------------------------------------------------------


def test_penalties_are_those_of_weights_once(rng):
    code = Shared(Dense(4, "tanh", l2=0.3))
    net = network([code, Dense(6), Residual([RBF(6)]), Dense(4), code.transposed(), code, Dense(1, l1=0.2)], l1=0.1)
    X, y = data(rng, net)
    without, with_ = (net.value_and_gradient(X, y, penalty=penalty)[0] for penalty in (False, True))
    W = net.weights
    first = 0.1 * np.abs(W[0]).sum() + 0.15 * (W[0] ** 2).sum()
    assert_allclose(with_ - without, first + 0.1 * (np.abs(W[1]).sum() + np.abs(W[3]).sum()) + 0.2 * np.abs(W[6]).sum())
    assert net._model.penalties == [(0.1, 0.3), (0.1, 0), (0, 0), (0.1, 0), (0, 0), (0.2, 0)]


def test_ties_of_places(rng):
    code = Shared(Dense(5, "tanh"))
    layers = [code, Residual([Dense(5), Dense(5)]), code, Dense(4), Residual([Dense(5)], "linear"), code.transposed()]
    net, X = network(layers, ties=[(2, 3, 0.4), (1, 0, 0.2)]), rng.normal(size=(9, N_INPUTS))
    y = rng.random((9, 5))
    free = network(layers)
    distances = [((net.weights[i] - net.weights[j]) ** 2).sum() for i, j in ((2, 3), (1, 0))]
    cost, gradient = net.value_and_gradient(X, y, penalty=True)
    assert_allclose(cost - free.value_and_gradient(X, y)[0], 0.2 * distances[0] + 0.1 * distances[1])
    numeric = central_differences(lambda: net.value_and_gradient(X, y, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y)
    for dtype, rtol in (("float64", 1e-9), ("float32", 1e-4)):
        net = network(layers, ties=[(2, 3, 0.4), (1, 0, 0.2)], dtype=dtype)
        before, (_, gradient) = net.parameters.copy(), net.value_and_gradient(X, y, penalty=True)
        net.fit(X, y, optimizer=SGD(0.5), batch_size=9, shuffle=False)
        assert_allclose(net.parameters, before - 0.5 * gradient, rtol, rtol)
    for tie, message in (
        ((0, 3, 1.0), r"ties must name two layers that don't share their weights anyway, got \(0, 3, 1.0\)"),
        ((0, 7, 1.0), "that don't share their weights"),
        ((1, 7, 1.0), "of the same shape and kind"),
        ((1, 8, 1.0), "ties must name layers from 0 to 7"),
    ):
        with pytest.raises(ValueError, match=message):
            network(layers, ties=[tie])


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_updates_are_steps_along_the_gradient(rng, layers, optimizer):
    """`fit` and `step` make the same updates."""
    net, by_step = (network(layers, l1=0.01, l2=0.1) for _ in range(2))
    X, y = data(rng, net, 40)
    for _ in range(2):
        for start in (0, 16, 32):
            part = slice(start, start + 16)
            by_step.step(by_step.value_and_gradient(X[part], y[part])[1], optimizer)
    net.fit(X, y, optimizer=optimizer, epochs=2, batch_size=16, shuffle=False)
    assert_allclose(net.parameters, by_step.parameters, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("optimizer", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules(rng, layers, optimizer):
    net = network(layers, l2=0.01)
    X, y = data(rng, net, 30)
    before = net.value_and_gradient(X, y, penalty=True)[0]
    losses = net.fit(X, y, optimizer=optimizer, epochs=5).loss
    assert losses[0] == pytest.approx(before) and net.value_and_gradient(X, y, penalty=True)[0] < before


def test_max_norm_of_shared_weights(rng):
    code = Shared(Dense(4, "tanh", max_norm=0.5))
    net = network([code, code.transposed("tanh"), code, Residual([Dense(4, max_norm=0.25)])])
    X, y = data(rng, net, 60)
    net.fit(X, y, optimizer=Adam(0.1), epochs=3)
    for W, bound in ((net.weights[0], 0.5), (net.weights[3], 0.25)):
        norms = np.linalg.norm(W, axis=0)
        assert (norms <= bound * (1 + 1e-12)).all() and norms.max() > 0.9 * bound


WIDE = Shared(Dense(90, "relu"))
WIDE_LAYERS = [
    Parallel([[WIDE, Dropout(0.2)], [Dense(60, "tanh")]]), Residual([Dense(300, "gelu"), Dense(150)]),
    Activation("relu"), Dense(90), WIDE.transposed("tanh"),
    Residual([Dense(40, "tanh", dropout=0.1)], projection="linear"), Dense(3),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("optimizer", [Adam(), SGD(0.01, momentum=0.9, clip_norm=0.5)], ids=["Adam", "clip_norm"])
def test_same_bits_for_any_number_of_threads(rng, dtype, kind, optimizer):
    X, y, results = rng.normal(size=(500, 120)).astype(dtype), rng.random((500, 3)), []
    X[rng.random(X.shape) < 0.6] = 0
    for n_threads in (1, 2, 3):
        net = Network(WIDE_LAYERS, n_inputs=120, random_state=0, dtype=dtype, l2=0.01)
        history = net.fit(kind(X), y, optimizer=optimizer, epochs=2, batch_size=128, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        results.append([net.parameters, history.loss, net.predict(kind(X), n_threads=n_threads)])
        results[-1] += net.value_and_gradient(kind(X), y, n_threads=n_threads)
        results[-1].append(net.forward(kind(X), n_threads=n_threads))
        results[-1] += net.backward(results[-1][-1], n_threads=n_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_single_precision_is_near_to_double(rng, layers):
    X, y = data(rng, network(layers), 100)
    double, single = (network(layers, dtype=dtype) for dtype in ("float64", "float32"))
    assert_allclose(single.predict(X), double.predict(X), rtol=1e-4, atol=1e-5)
    (c, g), (c_single, g_single) = double.value_and_gradient(X, y), single.value_and_gradient(X, y)
    assert_allclose(c_single, c, rtol=1e-4)
    assert relative_error(g_single, g) < 1e-4
    histories = [net.fit(X, y, optimizer=Adam(), epochs=3) for net in (double, single)]
    assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-3)


# ---- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shared", "transposed", "residual", "activation", "branches"])
def test_sparse_input(rng, name):
    layers = NETWORKS.get(name, [Parallel([[CODE], [Dense(3, "tanh")]]), Dense(4), CODE.transposed()])
    X = rng.normal(size=(40, N_INPUTS)) * (rng.random((40, N_INPUTS)) < 0.4)
    dense, csr = network(layers), network(layers)
    y = data(rng, dense, 40)[1]
    assert_array_equal(dense.predict(X), csr.predict(sparse.csr_array(X)))
    for a, b in zip(dense.value_and_gradient(X, y), csr.value_and_gradient(sparse.csr_array(X), y), strict=True):
        assert_array_equal(a, b)
    assert_array_equal(dense.forward(X), csr.forward(sparse.csr_array(X)))
    dz = rng.normal(size=y.shape)
    for a, b in zip(dense.backward(dz), csr.backward(dz), strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-14)
    for net, x in ((dense, X), (csr, sparse.csr_array(X))):
        net.fit(x, y, optimizer=Adam(), epochs=2, batch_size=16)
    assert_array_equal(dense.parameters, csr.parameters)


@pytest.mark.parametrize(("first", "where"), [
    (RBF(3), ""), (Activation("tanh"), ""), (Residual([Dense(5)]), ""), (Parallel([[Dense(3)], []]), ""),
    (Parallel([[Dense(3)], [Dropout(0.5), Dense(2)]]), ", 0.1.0 in it"), (Shared(RBF(3), name="radial"), ""),
    (Scale(), ""), (PReLU(), ""), (Parallel([[Dense(3)], [Scale(), Dense(2)]]), ", 0.1.0 in it"),
], ids=str)  # fmt: skip
def test_first_layers_that_need_dense_input(rng, first, where):
    net = network([first, Dense(2)])
    X, y = sparse.csr_array(rng.normal(size=(9, N_INPUTS))), rng.random((9, 2))
    message = f"X must be dense for a first layer {first!r}{where}, got a sparse matrix"
    for call in (lambda: net.fit(X, y), lambda: net.predict(X), lambda: net.forward(X)):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message


def test_noise_and_distorted_images(rng):
    net = Network(
        [Parallel([[Dense(8, "tanh")], [Activation("relu")]]), Dense(2)], n_inputs=16, random_state=0,
        input_dropout=0.1, input_noise=0.1,
    )  # fmt: skip
    X, y = rng.random((50, 16)), rng.random((50, 2))
    history = net.fit(X, y, epochs=30, optimizer=Adam(0.01), augmentation=ImageAugmentation((4, 4), shift=1.0))
    assert history.loss[-1] < history.loss[0]


def test_full_batch_rules_take_no_dropout(rng):
    net = network([Residual([Dense(5), Dropout(0.5)]), Dense(2)])
    with pytest.raises(ValueError, match=r"must be a rule for mini-batches with dropout of layers\[0.1\]=0.5"):
        net.fit(rng.normal(size=(9, N_INPUTS)), rng.random((9, 2)), optimizer=FULL_BATCH[-1])


# ---- starts that look at data ---------------------------------------------------------------------------------------


def test_init_lsuv(rng):
    code = Shared(Dense(8, "tanh"))
    net = network([code, Residual([Dense(8, "relu"), Dense(6)], "linear"), Dense(8), code.transposed(), Dense(3)])
    X = rng.normal(size=(300, N_INPUTS)) * 3 + 1
    net.init_lsuv(X)
    X, W0, W1, W2, P, W3, V, W4, *biases = by_hand(net, X)
    assert not any(b.any() for b in biases if b is not None)
    H = np.tanh(X @ W0)
    F = np.maximum(H @ W1, 0)
    H2 = H @ P + F @ W2
    Z = H2 @ W3
    for z in (X @ W0, H @ W1, F @ W2, H @ P, Z, Z @ W0.T @ W4):
        assert_allclose(z.std(), 1)
    assert_allclose(net.predict(X), Z @ W0.T @ W4, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="init_lsuv is for networks of Dense"):
        network([Dense(3), Residual([RBF(3)])]).init_lsuv(X)


def test_init_centres_within_layers(rng):
    layers = [Dense(4, "tanh"), Parallel([[RBF(3)], [Activation("relu"), RBF(5)]]), Residual([RBF(8)])]
    net, before = network(layers), network(layers)
    X = rng.normal(size=(30, N_INPUTS))
    net.init_centres(X)
    assert_array_equal(net.weights[0], before.weights[0])
    H = np.tanh(X @ net.weights[0] + net.biases[0])

    def activations(place, H):
        C, b = net.weights[place], net.biases[place]
        assert all((np.abs(H - c).max(1) < 1e-9).any() for c in C.T)  # centres are among the inputs
        distances = ((H[:, :, None] - C) ** 2).sum(1)
        assert_allclose(np.exp(b), 1 / distances.mean())
        return np.exp(-np.exp(b) * distances)

    H = np.concatenate([activations(1, H), activations(2, np.maximum(H, 0))], axis=1)
    assert_allclose(net.predict(X), H + activations(3, H), rtol=1e-9)


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies(rng, layers, dtype):
    net, stream = network(layers, dtype=dtype, l2=0.1), io.BytesIO()
    X, y = data(rng, net, 40)
    net.fit(X, y, optimizer=Adam(0.01), epochs=2)
    net.save(stream)
    stream.seek(0)
    loaded, *copies = Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)
    for one in (loaded, *copies):
        assert repr(one) == repr(net) and one.layers == net.layers
        assert_array_equal(one.parameters, net.parameters)
        assert_array_equal(one.predict(X), net.predict(X))
        assert all(np.shares_memory(W, one.parameters) for W in one.weights)
    net.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
    for one in copies:
        one.partial_fit(X, y, optimizer=Adam(0.01), epochs=2)
        assert_array_equal(one.parameters, net.parameters)


def test_settings_that_a_dtype_cannot_hold():
    with pytest.raises(ValueError, match="is not for a network's dtype float32: l2 must be"):
        network([Residual([Dense(N_INPUTS, l2=1e300)])], dtype="float32")
