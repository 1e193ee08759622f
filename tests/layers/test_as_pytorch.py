"""Layers beside PyTorch's own, where it is installed: outputs and gradients, in training and prediction."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastbp import SGD, Activation, BatchNorm, Dense, GroupNorm, LayerNorm, Network

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
