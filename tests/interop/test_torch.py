"""Networks to and from PyTorch: the same predictions in both, or a refusal that names what has no counterpart."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastbp import (
    ELU,
    RBF,
    SGD,
    Activation,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    LowRank,
    Network,
    PReLU,
    Residual,
    Shared,
    SoftmaxCrossEntropy,
)
from fastbp.interop import from_torch, to_torch
from fastbp.names import UNITS

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once

nn = torch.nn
NOT_IN_TORCH = {"relu2", "sin", "cos", "step"}
IN_TORCH = [unit for unit in UNITS if unit not in NOT_IN_TORCH]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def assert_same(net, module, X):
    with torch.no_grad():
        expected = module(torch.tensor(X)).numpy()
    tolerance = 1e-5 if net.dtype == np.float32 else 1e-8  # Softplus is linear above 20 there
    assert_allclose(net.predict(X), expected, rtol=tolerance, atol=tolerance)
    assert net.dtype == expected.dtype


def there_and_back(net, X):
    module = to_torch(net)
    assert_same(net, module, X)
    again = from_torch(module)
    assert_same(again, module, X)
    return again


def inputs(rng, dtype, n=3):
    return rng.normal(size=(7, n)).astype(dtype) * np.array([1, 1, 1, 1, 3, 10, 1], dtype)[:, None]


# ---- there, and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [*IN_TORCH, LeakyReLU(0.2), ELU(0.5)], ids=str)
def test_units(rng, unit, dtype):
    net = Network([Dense(6, unit), Dense(4), Activation(unit), Dense(2)], n_inputs=3, dtype=dtype, random_state=0)
    again = there_and_back(net, inputs(rng, dtype))
    assert again.layers == (Dense(6, unit), Dense(4, unit), Dense(2)) and again.loss == "squared_error"


LAYERS = {
    "norms": [Dense(4), BatchNorm(0.2, 1e-3), Activation("relu"), LayerNorm(), Dense(4), GroupNorm(2, 0.1), Dense(2)],
    "norms alone": [
        BatchNorm(affine=False), Dense(4), LayerNorm(0.1, affine=False), GroupNorm(2, affine=False), Dense(2)
    ],
    "slopes": [PReLU(), Dense(4), PReLU(), Dense(2)],
    "dropout": [Dropout(0.2), Dense(4, "relu"), Dropout(0.5), Dense(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(rng, name, dtype):
    net = Network(LAYERS[name], n_inputs=3, dtype=dtype, random_state=0)
    net.parameters[:] += rng.normal(scale=0.1, size=net.parameters.size)
    for state in net.layer_state.values():
        state += rng.random(state.shape)
    again = there_and_back(net, inputs(rng, dtype))
    assert again.layers == tuple(LAYERS[name])


def test_other_ways_to_write_the_same(rng):
    net = Network([Dense(4, "tanh", dropout=0.5), Checkpoint([LowRank(6, 2, "relu"), Dense(4)]), Dense(1)], n_inputs=3)
    again = there_and_back(net, inputs(rng, "float64"))
    assert again.layers == (Dense(4, "tanh"), Dropout(0.5), Dense(2), Dense(6, "relu"), Dense(4), Dense(1))


def test_shared_layers(rng):
    step = Shared(Dense(3, "tanh"))
    net = Network([step, step, Dense(1)], n_inputs=3, random_state=0)
    module = to_torch(net)
    assert module[0] is module[2] and sum(p.numel() for p in module.parameters()) == net.parameters.size
    assert there_and_back(net, inputs(rng, "float64")).parameters.size == net.parameters.size


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "cross_entropy", "squared_error", SoftmaxCrossEntropy(0.1)])
def test_losses(rng, loss):
    net = Network([Dense(4, "tanh"), Dense(3)], n_inputs=3, loss=loss, random_state=0)
    again = there_and_back(net, inputs(rng, "float64"))
    assert again.loss == ("softmax_cross_entropy" if isinstance(loss, SoftmaxCrossEntropy) else loss)
    assert from_torch(to_torch(net), loss=loss).loss == loss
    with pytest.raises(ValueError, match="loss must go with the unit of the model's output, 'softmax', got 'poisson'"):
        from_torch(nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), loss="poisson")


def test_logits(rng):
    """As PyTorch's own loss takes them: the network predicts probabilities then."""
    module, X = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), inputs(rng, "float32")
    net = from_torch(module, loss="softmax_cross_entropy")
    assert_same(net, nn.Sequential(*module, nn.Softmax(-1)), X)


def test_copies_are_apart_and_learn_alike(rng):
    """One step of gradient descent in both."""
    module, X = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), inputs(rng, "float32")
    y = rng.random((7, 2))
    net, before = from_torch(module), copy.deepcopy(module)
    net.fit(X, y, optimizer=SGD(0.1), batch_size=7)
    for a, b in zip(module.parameters(), before.parameters(), strict=True):
        assert torch.equal(a, b)
    loss = ((module(torch.tensor(X)) - torch.tensor(y.astype("f4"))) ** 2).sum() / 14
    loss.backward()
    torch.optim.SGD(module.parameters(), 0.1).step()
    assert_same(net, module, X)
    written = to_torch(net)
    net.parameters[:] = 0
    assert all(parameter.abs().sum() > 0 for parameter in written.parameters())
    assert not written.training


def test_modules_within_modules_and_those_that_do_nothing(rng):
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(3, 4, bias=False), nn.Identity(), nn.Sequential(nn.SiLU())),
        nn.LayerNorm(4, bias=False), nn.PReLU(), nn.Linear(4, 2), nn.Softmax(dim=-1),
    )  # fmt: skip
    net = from_torch(module)
    assert_same(net, module, inputs(rng, "float32"))
    assert net.layers == (Dense(4, "silu"), LayerNorm(), PReLU(), Dense(2)) and net.loss == "softmax_cross_entropy"


# ---- what has no counterpart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module, name", [
    (nn.GELU(), r"2, GELU\(approximate='none'\)"), (nn.Softmax(dim=0), "2, Softmax"), (nn.ReLU6(), "2, ReLU6"),
    (nn.Sequential(nn.Tanh(), nn.Bilinear(2, 2, 2)), "2.1, Bilinear"), (nn.LayerNorm((2, 2)), "2, LayerNorm"),
    (nn.Hardtanh(-2, 2), "2, Hardtanh"), (nn.BatchNorm1d(4, track_running_stats=False), "2, BatchNorm1d"),
    (nn.Softplus(beta=2), "2, Softplus"),
], ids=str)  # fmt: skip
def test_modules_that_are_refused(module, name):
    with pytest.raises(ValueError, match=f"module: {name}.*, is nothing that fastbp has a layer for"):
        from_torch(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), module, nn.Linear(4, 1)))


def test_what_is_no_sequence_of_one_dtype():
    with pytest.raises(ValueError, match="module must be a torch.nn.Sequential, got Linear; others may"):
        from_torch(nn.Linear(3, 4))
    for module in (nn.Sequential(nn.Tanh()), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1).double())):
        with pytest.raises(ValueError, match="module must have parameters, all of float32 or all of float64, got"):
            from_torch(module)
    with pytest.raises(ValueError, match="got .'float16'"):
        from_torch(nn.Sequential(nn.Linear(3, 4)).half())


@pytest.mark.parametrize("layers, loss, message", [
    ([Dense(2, "step"), Dense(1)], "huber", "units that PyTorch has modules for, got 'step' of Dense"),
    ([Dense(2, "relu2"), Dense(1)], "huber", "units that PyTorch has modules for, got 'relu2'"),
    ([RBF(2), Dense(1)], "huber", "layers that PyTorch has modules for, got RBF"),
    ([Residual([Dense(3)]), Dense(1)], "huber", "layers that PyTorch has modules for, got Residual"),
    ([Dense(1)], "poisson", "units that PyTorch has modules for, got 'exp' of loss='poisson'"),
    ([Dense(2)], SoftmaxCrossEntropy(fixed_logit=True), "a loss whose predictions PyTorch has a module for"),
], ids=str)  # fmt: skip
def test_networks_that_are_refused(layers, loss, message):
    with pytest.raises(ValueError, match=f"net must have {message}"):
        to_torch(Network(layers, n_inputs=3, loss=loss))


def test_every_unit_is_looked_at():
    from fastbp.interop.torch import UNITS as there

    assert {*there, "identity", "leaky_relu", "elu", *NOT_IN_TORCH} == set(UNITS)
