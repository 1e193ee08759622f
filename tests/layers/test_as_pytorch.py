"""Layers beside PyTorch's own, where it is installed: outputs and gradients, in training and prediction."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastbp import (
    SGD,
    Activation,
    AdamW,
    BatchNorm,
    Dense,
    GroupNorm,
    LayerNorm,
    Network,
    SpectralNorm,
    WeightNorm,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once


def modules(net):
    """The same in PyTorch, with copies of the parameters; and these one after the other as the network has them."""
    made, parameters, n, places = [], [], net.n_inputs, iter(zip(net.weights, net.biases, strict=True))
    for layer in net.layers:
        if isinstance(layer, Dense):
            module = torch.nn.Linear(n, layer.n_units)
            n = layer.n_units
        elif isinstance(layer, BatchNorm):
            module = torch.nn.BatchNorm1d(n, layer.epsilon, layer.momentum, affine=layer.affine)
        elif isinstance(layer, LayerNorm):
            module = torch.nn.LayerNorm(n, layer.epsilon, elementwise_affine=layer.affine)
        elif isinstance(layer, GroupNorm):
            module = torch.nn.GroupNorm(layer.n_groups, n, layer.epsilon, affine=layer.affine)
        else:
            module = torch.nn.Tanh()
        module = module.double() if net.dtype == np.float64 else module
        if getattr(module, "weight", None) is not None:
            W, b = next(places)
            with torch.no_grad():
                module.weight[:] = torch.tensor(W.T.copy() if isinstance(layer, Dense) else W[0])
                module.bias[:] = torch.tensor(b)
            parameters += [module.weight, module.bias]
        made.append(module)
    return torch.nn.Sequential(*made), parameters


def cost_and_gradient(twin, parameters, X, y):
    twin.zero_grad()
    cost = ((twin(torch.tensor(X)) - torch.tensor(y)) ** 2).sum(1).mean() / 2
    cost.backward()
    return cost.item(), np.concatenate([p.grad.numpy().T.ravel() for p in parameters])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [
    [Dense(8), BatchNorm(), Activation("tanh"), Dense(6), BatchNorm(0.4, 1e-3, affine=False), Dense(2)],
    [BatchNorm(0.3), Dense(8), Activation("tanh"), Dense(2), BatchNorm()],
    [Dense(8), LayerNorm(), Activation("tanh"), Dense(6), GroupNorm(3, 0.1), Activation("tanh"), Dense(2)],
    [LayerNorm(affine=False), Dense(8), GroupNorm(2, affine=False), BatchNorm(), Dense(4), LayerNorm(), Dense(2)],
])  # fmt: skip
def test_normalization(rng, layers, dtype):
    net = Network(layers, n_inputs=5, random_state=0, dtype=dtype)
    net.parameters[:] += 0.1 * rng.normal(size=net.parameters.size)
    twin, parameters = modules(net)
    rule = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    X, y = rng.normal(size=(60, 5)).astype(dtype) * 2 + 1, rng.normal(size=(60, 2)).astype(dtype)
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    for step in range(5):
        part = slice(12 * step, 12 * step + 12)
        twin.train()
        cost, gradient = cost_and_gradient(twin, parameters, X[part], y[part])
        rule.step()
        found = net.value_and_gradient(X[part], y[part], batch_statistics=True)
        assert_allclose(found[0], cost, **tolerance)
        assert_allclose(found[1], gradient, **tolerance)
        net.partial_fit(X[part], y[part], optimizer=SGD(0.1, momentum=0.9), batch_size=12)
        assert_allclose(net.parameters, np.concatenate([p.detach().numpy().T.ravel() for p in parameters]), **tolerance)
        for i, module in enumerate(twin):
            if isinstance(module, torch.nn.BatchNorm1d):
                assert_allclose(net.layer_state[f"{i}.mean"], module.running_mean, **tolerance)
                assert_allclose(net.layer_state[f"{i}.variance"], module.running_var, **tolerance)
        twin.eval()
        cost, gradient = cost_and_gradient(twin, parameters, X, y)
        found = net.value_and_gradient(X, y)
        assert_allclose(net.predict(X), twin(torch.tensor(X)).detach(), **tolerance)
        assert_allclose(found[0], cost, **tolerance)
        assert_allclose(found[1], gradient, **tolerance)


def normalized(net):
    """Linear layers of PyTorch whose weights are normalized, and their parameters in the network's order."""
    made, parameters, n, values = [], [], net.n_inputs, iter(zip(net.weights, net.biases, strict=True))
    with torch.no_grad():
        for i, layer in enumerate(net.layers):
            module, (V, b) = torch.nn.Linear(n, layer.layer.n_units).double(), next(values)
            n = layer.layer.n_units
            if isinstance(layer, WeightNorm):
                g, b = next(values)
                module = torch.nn.utils.parametrizations.weight_norm(module)
                weight = module.parametrizations.weight
                weight.original0[:] = torch.tensor(g.T.copy())
                weight.original1[:] = torch.tensor(V.T.copy())
                own = [weight.original1, weight.original0]
            else:
                module = torch.nn.utils.parametrizations.spectral_norm(module, n_power_iterations=layer.n_iterations)
                weight = module.parametrizations.weight
                weight.original[:] = torch.tensor(V.T.copy())
                weight[0]._u[:] = torch.tensor(net.layer_state[f"{i}.v"])
                weight[0]._v[:] = torch.tensor(net.layer_state[f"{i}.u"])
                own = [weight.original]
            module.bias[:] = torch.tensor(b)
            parameters += [*own, module.bias]
            made += [module, torch.nn.Tanh()]
    return torch.nn.Sequential(*made[:-1]), parameters


@pytest.mark.parametrize("optimizer", [SGD(0.1), AdamW(0.01, weight_decay=0)], ids=str)
def test_norms_of_weights(rng, optimizer):
    layers = [
        SpectralNorm(Dense(7, "tanh")), WeightNorm(Dense(5, "tanh"), data_init=False), SpectralNorm(Dense(2), 3)
    ]  # fmt: skip
    net = Network(layers, n_inputs=5, random_state=0)
    net.parameters[:] += 0.1 * rng.normal(size=net.parameters.size)
    twin, parameters = normalized(net)
    kind = torch.optim.SGD if isinstance(optimizer, SGD) else torch.optim.AdamW
    rule = kind(parameters, lr=optimizer.learning_rate, weight_decay=0)
    X, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    for step in range(5):
        part = slice(12 * step, 12 * step + 12)
        twin.train()
        cost_and_gradient(twin, parameters, X[part], y[part])
        rule.step()
        net.partial_fit(X[part], y[part], optimizer=optimizer, batch_size=12)
        expected = np.concatenate([p.detach().numpy().T.ravel() for p in parameters])
        assert_allclose(net.parameters, expected, rtol=1e-7, atol=1e-9)
        for i, vectors in ((0, twin[0].parametrizations.weight[0]), (2, twin[4].parametrizations.weight[0])):
            assert_allclose(net.layer_state[f"{i}.v"], vectors._u, rtol=1e-7, atol=1e-9)
            assert_allclose(net.layer_state[f"{i}.u"], vectors._v, rtol=1e-7, atol=1e-9)
        twin.eval()
        cost, gradient = cost_and_gradient(twin, parameters, X, y)
        found = net.value_and_gradient(X, y)
        assert_allclose(net.predict(X), twin(torch.tensor(X)).detach(), rtol=1e-7, atol=1e-9)
        assert_allclose(found[0], cost, rtol=1e-7)
        assert_allclose(found[1], gradient, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layers", [
    [Dense(8), BatchNorm(), Activation("tanh"), Dense(6), LayerNorm(), Activation("tanh"), Dense(2)],
    [Dense(8), GroupNorm(2), Activation("tanh"), Dense(2), BatchNorm()],
])  # fmt: skip
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_hessian_vector_products(rng, layers, batch_statistics):
    net = Network(layers, n_inputs=5, random_state=0)
    net.parameters[:] += 0.1 * rng.normal(size=net.parameters.size)
    twin, parameters = modules(net)
    twin.train(batch_statistics)
    X, y, v = rng.normal(size=(30, 5)), rng.normal(size=(30, 2)), rng.normal(size=net.parameters.size)
    cost = ((twin(torch.tensor(X)) - torch.tensor(y)) ** 2).sum(1).mean() / 2
    gradient = torch.autograd.grad(cost, parameters, create_graph=True)
    along, at = 0, 0
    for g in gradient:
        part = v[at : at + g.numel()].reshape(tuple(g.shape)[::-1])
        along, at = along + (g * torch.tensor(part.T.copy())).sum(), at + g.numel()
    product = np.concatenate([p.numpy().T.ravel() for p in torch.autograd.grad(along, parameters)])
    found = net.hessian_vector_product(X, y, v, batch_statistics=batch_statistics)
    assert_allclose(found, product, rtol=1e-7, atol=1e-9)
