"""Update rules against PyTorch's, and what their settings promise."""

import copy
import io
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from fastbp import LBFGS, SGD, Adagrad, Adam, AdamW, Dense, Network, RMSProp, Rprop

# ours, and PyTorch's by class name and settings; weight decay is for weights only
IN_TORCH = [
    (SGD(0.1), "SGD", {"lr": 0.1}),
    (SGD(0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    (SGD(0.05, momentum=0.9, nesterov=True), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (SGD(0.3, momentum=0.9, dampening=0.9), "SGD", {"lr": 0.3, "momentum": 0.9, "dampening": 0.9}),
    (Adam(0.01), "Adam", {"lr": 0.01, "eps": 1e-8}),
    (AdamW(0.01, weight_decay=0.3, epsilon=0.01), "AdamW", {"lr": 0.01, "weight_decay": 0.3, "eps": 0.01}),
    (AdamW(0.01), "AdamW", {"lr": 0.01}),
    (RMSProp(0.01, rho=0.99), "RMSprop", {"lr": 0.01}),
    (RMSProp(0.01, momentum=0.5, epsilon=0.1), "RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "eps": 0.1}),
    (RMSProp(0.01, centered=True), "RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True}),
    (
        RMSProp(0.01, momentum=0.5, centered=True), "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True},
    ),
    (Adagrad(0.1), "Adagrad", {"lr": 0.1}),
]  # fmt: skip


def make(l1=0.0, l2=0.0, dtype="float64", **settings):
    layers = [Dense(7, "tanh", **settings), Dense(3, **settings)]
    return Network(layers, n_inputs=5, l1=l1, l2=l2, dtype=dtype, random_state=0)


def data(rng, n=40):
    X = rng.normal(size=(n, 5))
    return X, np.tanh(X[:, :3]) + 0.1 * rng.normal(size=(n, 3))


def torch_twin(torch, net):
    """The network in PyTorch: its forward pass, its weights and biases, and its cost of a batch."""
    weights = [torch.tensor(w, requires_grad=True) for w in net.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in net.biases]

    def cost(X, y):
        hidden = torch.tanh(torch.tensor(X) @ weights[0] + biases[0])
        return ((torch.tensor(y) - hidden @ weights[1] - biases[1]) ** 2).sum(axis=1).mean() / 2

    return weights, biases, cost


def assert_same(net, weights, biases, **tolerance):
    for ours, theirs in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
        assert_allclose(ours, theirs.detach().numpy(), **tolerance)


@pytest.mark.parametrize(("optimizer", "name", "settings"), IN_TORCH, ids=lambda value: str(value)[:60])
def test_trajectory_is_pytorchs(rng, optimizer, name, settings):
    torch = pytest.importorskip("torch")
    X, y = data(rng)
    net = make()
    weights, biases, cost = torch_twin(torch, net)
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0}]
    theirs = getattr(torch.optim, name)(groups, **settings)
    net.fit(X, y, optimizer=optimizer, batch_size=10, epochs=10, shuffle=False)
    for step in range(40):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        theirs.zero_grad()
        cost(X[rows], y[rows]).backward()
        theirs.step()
    # Adam's epsilon stands elsewhere
    assert_same(net, weights, biases, rtol=1e-5 if type(optimizer) is Adam else 1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_clipping_is_pytorchs(rng, kind):
    torch = pytest.importorskip("torch")
    X, y = data(rng)
    net = make()
    weights, biases, cost = torch_twin(torch, net)
    parameters, most = [*weights, *biases], 0.05
    theirs = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    clip = getattr(torch.nn.utils, f"clip_grad_{kind}_")
    for _ in range(20):
        net.partial_fit(X, y, optimizer=SGD(0.1, momentum=0.9, **{f"clip_{kind}": most}), batch_size=40, shuffle=False)
        theirs.zero_grad()
        cost(X, y).backward()
        clip(parameters, most)
        theirs.step()
    assert_same(net, weights, biases, rtol=2e-4 if kind == "norm" else 1e-9)  # theirs divides by the norm + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_norm_bounds_the_step(rng, dtype):
    """Plain SGD moves by eta clip_norm at most, in the gradient's direction, penalties included."""
    X, y = data(rng)
    for most in (1e-3, 1e3):
        net = make(l1=0.1, l2=0.2, dtype=dtype)
        before, gradient = net.parameters.copy(), net.value_and_gradient(X, y, penalty=True)[1]
        net.fit(X, y, optimizer=SGD(0.5, clip_norm=most), batch_size=40)
        factor = min(1, most / np.linalg.norm(gradient))
        assert_allclose(before - net.parameters, 0.5 * factor * gradient, rtol=1e-3, atol=1e-7)


def test_dampened_momentum_is_a_running_average(rng):
    """From the first gradient on, m <- 0.9 m + 0.1 g and w <- w - eta m."""
    net = make()
    start, gradients = net.parameters.copy(), rng.normal(size=(20, net.parameters.size))
    w, m = start.copy(), gradients[0]
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        w -= 0.2 * m
        net.step(g, SGD(0.2, momentum=0.9, dampening=0.9))
    assert_allclose(net.parameters, w)


def test_weight_decay_is_decoupled(rng):
    """Without a gradient weights shrink by the share eta weight_decay a step, by any rule, and biases stay."""
    for rule in (SGD, Adam, AdamW, RMSProp, Adagrad):
        net = make()
        weights, biases = [copy.deepcopy(part) for part in (net.weights, net.biases)]
        for _ in range(3):
            net.step(np.zeros_like(net.parameters), rule(0.5, weight_decay=0.2))
        for w, before in zip(net.weights, weights, strict=True):
            assert_allclose(w, before * 0.9**3)
        assert_array_equal(np.concatenate(net.biases), np.concatenate(biases))
    X, y = data(rng)
    coupled, decoupled = make(l2=0.3), make()
    coupled.fit(X, y, optimizer=SGD(0.1), epochs=3)
    decoupled.fit(X, y, optimizer=SGD(0.1, weight_decay=0.3), epochs=3)
    assert_allclose(decoupled.parameters, coupled.parameters)  # the same for plain SGD


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1, proximal=True),
        SGD(0.02, momentum=0.9, proximal=True),
        SGD(0.1, momentum=0.9, dampening=0.9, proximal=True),
        Adam(0.01, epsilon=0.1, proximal=True),
        RMSProp(0.003, momentum=0.5, epsilon=0.1, proximal=True),
        RMSProp(0.003, centered=True, epsilon=0.1, proximal=True),
        Adagrad(0.3, proximal=True),
    ],
)
def test_proximal_l1_solves_the_elastic_net(rng, optimizer):
    """All rules end where the optimality conditions hold, with exact zeros: scikit-learn's solution."""
    from sklearn.linear_model import ElasticNet

    X = rng.normal(size=(100, 12))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=100)
    expected = ElasticNet(alpha=0.25, l1_ratio=0.8, tol=1e-12, max_iter=100_000).fit(X, y)
    net = Network([Dense(1)], n_inputs=12, l1=0.2, l2=0.05, random_state=0)
    net.fit(X, y, optimizer=optimizer, batch_size=100, epochs=3000)
    assert_allclose(net.weights[0].ravel(), expected.coef_, rtol=1e-5, atol=1e-12)
    assert_allclose(net.biases[0], expected.intercept_, rtol=1e-5)
    assert (net.weights[0] == 0).sum() == (expected.coef_ == 0).sum() > 5


def test_proximal_is_per_layer_and_in_the_loss(rng):
    """Only the layer with L1 has zeros; the reported loss has the penalty; without L1 the setting changes nothing."""
    X, y = data(rng)
    nets = []
    for l1 in (0.05, 0.0):
        net = Network([Dense(7, "tanh", l1=l1), Dense(3, l1=0)], n_inputs=5, random_state=0)
        cost = net.value_and_gradient(X, y, penalty=True)[0]
        history = net.fit(X, y, optimizer=SGD(0.1, momentum=0.5, proximal=True), batch_size=40, epochs=100)
        assert_allclose(history.loss[0], cost)
        nets.append(net)
    assert (nets[0].weights[0] == 0).any()
    assert (nets[0].weights[1] != 0).all()
    plain = Network([Dense(7, "tanh"), Dense(3)], n_inputs=5, random_state=0)
    plain.fit(X, y, optimizer=SGD(0.1, momentum=0.5), batch_size=40, epochs=100)
    assert_allclose(nets[1].parameters, plain.parameters, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [optimizer for optimizer, _, _ in IN_TORCH], ids=repr)
def test_state_goes_on_after_pickling(rng, optimizer):
    X, y = data(rng)
    net = make()
    net.fit(X, y, optimizer=optimizer)
    again = pickle.loads(pickle.dumps(net))
    for twin in (net, again):
        twin.partial_fit(X, y, optimizer=pickle.loads(pickle.dumps(optimizer)), shuffle=False)
    assert_array_equal(again.parameters, net.parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_norm(rng, dtype):
    """Each unit's incoming weights are bounded after every update, in fit and in step, and only where asked for."""
    X, y = data(rng, 60)
    bounds = 0.6, None, 0.5
    net, by_step, free = (
        Network(
            [Dense(21, "tanh", max_norm=a), Dense(20, "tanh", max_norm=b), Dense(3, max_norm=c)],
            n_inputs=5, dtype=dtype, random_state=0,
        )
        for a, b, c in (bounds, bounds, [None] * 3)
    )  # fmt: skip
    optimizer = SGD(0.1, momentum=0.9)
    net.fit(X, y, optimizer=optimizer, batch_size=20, epochs=3, shuffle=False)
    for rows in [slice(0, 20), slice(20, 40), slice(40, 60)] * 3:
        by_step.step(by_step.value_and_gradient(X[rows], y[rows])[1], optimizer)
        free.partial_fit(X[rows], y[rows], optimizer=optimizer, batch_size=20)
        for i in (0, 2):
            free.weights[i][:] *= np.minimum(1, bounds[i] / np.linalg.norm(free.weights[i], axis=0))
    close = {"rtol": 1e-3, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    for twin in (free, by_step):
        assert_allclose(net.parameters, twin.parameters, **close)
    norms = np.linalg.norm(net.weights[0], axis=0)
    assert_allclose(norms.max(), 0.6, rtol=1e-5)
    assert norms.min() < 0.59
    for rule in (Rprop(), LBFGS()):
        before = pickle.dumps(net)
        with pytest.raises(ValueError, match=r"max_norm of all layers must be None, got \[0.6, None, 0.5\]"):
            net.fit(X, y, optimizer=rule)
        assert pickle.dumps(net) == before
    with pytest.raises(ValueError, match="max_norm"):
        net.step(np.zeros_like(net.parameters), Rprop())
    net.save(file := io.BytesIO())
    file.seek(0)
    assert Network.load(file).layers == net.layers


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9, clip_norm=0.3), RMSProp(momentum=0.5, centered=True)])
def test_sparse_rows_are_dense_rows(rng, optimizer):
    """Below CSR weights and state lie elsewhere: the same updates, norms and bounds."""
    X, y = data(rng, 60)
    X[X < 0.5] = 0
    nets = [make(l1=0.01, l2=0.01, max_norm=0.5) for _ in range(2)]
    for net, rows in zip(nets, (X, csr_array(X)), strict=True):
        net.fit(rows, y, optimizer=optimizer, batch_size=20, epochs=5, shuffle=False)
    assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-9)
    assert_allclose(np.linalg.norm(nets[1].weights[0], axis=0).max(), 0.5)
