"""Networks to and from PyTorch's `torch.nn.Sequential`."""

from collections import Counter
from typing import Any, Literal

import numpy as np

from ..layers import (
    Activation,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    GroupNorm,
    LayerNorm,
    LowRank,
    PReLU,
    Shared,
    unit_of,
)
from ..losses import OUTPUT_UNITS, HistogramLoss, Loss, kernel_of
from ..network import Network
from .parts import Part, elu, joined, leaky_relu, network_of, with_unit, without_output_unit

# Names of modules, with the settings with which they are the unit.
UNITS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("Sigmoid", {}), "tanh": ("Tanh", {}), "relu": ("ReLU", {}),
    "hard_tanh": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}), "selu": ("SELU", {}),
    "softplus": ("Softplus", {"beta": 1.0}),
    "gelu": ("GELU", {"approximate": "tanh"}), "silu": ("SiLU", {}), "mish": ("Mish", {}),
    "hard_sigmoid": ("Hardsigmoid", {}), "hard_swish": ("Hardswish", {}), "softmax": ("Softmax", {"dim": 1}),
}  # fmt: skip


def from_torch(module: Any, *, loss: Loss | Literal["auto"] | None = "auto") -> Network:
    """A network that computes what a `torch.nn.Sequential` does in prediction.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of float32 or float64, which is then the network's dtype, made of `Linear`, `BatchNorm1d`, `LayerNorm`,
        `GroupNorm`, `PReLU`, `Dropout`, `Flatten`, `Identity`, `Sequential`, and the units that `Dense` has too. Its
        parameters are copied.
    loss : str, object or None, default="auto"
        As of `Network`. A loss that has an output unit of its own takes a last unit of this kind for it, or an output
        without a unit for logits; `Network.predict` then gives probabilities. "auto" is "softmax_cross_entropy" or
        "cross_entropy" behind `Softmax` or `Sigmoid`, else "squared_error".

    Returns
    -------
    net : Network

    Raises
    ------
    ValueError
        If there is a module that has no counterpart, which is named.

    See Also
    --------
    fastbp.interop.to_torch : The way back.
    fastbp.Network.from_onnx : For modules of other kinds, with branches, that PyTorch exports to ONNX.

    Notes
    -----
    PyTorch's default GELU is the exact one, which is not among the units here: ``GELU("tanh")`` is. A module that is
    there several times becomes a `Shared` layer; `Linear` without a bias gets one that is 0, which learns.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Sequential):
        raise ValueError(
            f"module must be a torch.nn.Sequential, got {type(module).__name__}; others may go through an ONNX file, "
            "Network.from_onnx"
        )
    modules = list(_flattened(module, torch))
    counts, parts, widths = Counter(id(part) for _, part in modules), [], []
    first = {id(part): name for name, part in reversed(modules)}
    for name, part in modules:
        made, width = _part_of(name, part)
        if counts[id(part)] > 1 and type(made.layer) is Dense:
            made.layer = Shared(made.layer, name=first[id(part)])
        parts.append(made)
        widths += width
    dtypes = {parameter.dtype for parameter in module.parameters()}
    names = {str(dtype).partition(".")[2] for dtype in dtypes}
    if not widths or len(names) > 1 or not names <= {"float32", "float64"}:
        raise ValueError(f"module must have parameters, all of float32 or all of float64, got {sorted(names)}")
    parts, loss = without_output_unit(joined(parts, with_unit), loss)
    return network_of(Network, parts, widths[0], loss, names.pop())


def _flattened(module, torch, prefix=""):
    """The modules that do something, with their names, those within sequences among them."""
    for i, part in enumerate(module):
        if isinstance(part, torch.nn.Sequential):
            yield from _flattened(part, torch, f"{prefix}{i}.")
        elif not isinstance(part, torch.nn.Identity | torch.nn.Flatten):
            yield f"{prefix}{i}", part


def _part_of(name, module):
    """The part that a module is, and in a list its number of inputs, if it tells that."""
    kind = type(module).__name__
    weight, bias = (_array(getattr(module, key, None)) for key in ("weight", "bias"))
    zeros = np.zeros_like(weight) if bias is None and weight is not None else bias
    affine = [] if weight is None else [(weight, zeros)]
    if kind == "Linear":
        return Part(Dense(len(weight)), [(weight.T, bias)]), [module.in_features]
    if kind == "BatchNorm1d" and module.running_mean is not None and module.momentum is not None:
        layer = BatchNorm(module.momentum, module.eps, module.affine)
        states = [_array(module.running_mean), _array(module.running_var)]
        return Part(layer, affine, states), [module.num_features]
    if kind == "LayerNorm" and len(module.normalized_shape) == 1:
        return Part(LayerNorm(module.eps, module.elementwise_affine), affine), [*module.normalized_shape]
    if kind == "GroupNorm":
        return Part(GroupNorm(module.num_groups, module.eps, module.affine), affine), [module.num_channels]
    if kind == "PReLU":
        return Part(PReLU(), [(weight, None)]), []
    if kind == "Dropout":
        return Part(Dropout(module.p)), []
    unit = _unit_of(kind, module)
    if unit is None:
        hint = '; GELU("tanh") is the one that it has' if kind == "GELU" else ""
        raise ValueError(f"module: {name}, {module}, is nothing that fastbp has a layer for{hint}")
    return Part(Activation(unit)), []


def _array(parameter):
    return None if parameter is None else parameter.detach().cpu().numpy()


def _unit_of(kind, module):
    if kind == "LeakyReLU":
        return leaky_relu(module.negative_slope)
    if kind == "ELU":
        return elu(module.alpha)
    for unit, (name, settings) in UNITS.items():
        given = {key: getattr(module, key) for key in settings} if kind == name else None
        if given == settings or (kind == name == "Softmax" and given["dim"] == -1):
            return unit
    return None


def to_torch(net: Network) -> Any:
    """A `torch.nn.Sequential` that computes what a network predicts.

    Parameters
    ----------
    net : Network
        Of layers one after the other that PyTorch has: `Dense`, `LowRank`, `BatchNorm`, `LayerNorm`, `GroupNorm`,
        `PReLU`, `Activation`, `Dropout`, `Checkpoint`, and `Shared` ones of `Dense`.

    Returns
    -------
    module : torch.nn.Sequential
        Of the network's dtype, set to prediction (``module.eval()``), with copies of the parameters. The last module is
        the unit that the loss brings along, if it does.

    Raises
    ------
    ValueError
        If there is a layer, unit or loss without a counterpart, which is named.

    See Also
    --------
    fastbp.interop.from_torch : The way back.
    fastbp.Network.to_onnx : For all layers.

    Examples
    --------
    ::

        module = to_torch(Network([Dense(8, "relu"), Dense(3)], n_inputs=4, loss="softmax_cross_entropy"))
        module(torch.zeros(1, 4, dtype=torch.float64))
    """
    torch = _torch()
    making = _Making(net, torch)
    modules = [module for layer in net.layers for module in making.modules_of(layer)]
    kernel, _, _, fixed_logit = kernel_of(net.loss)
    if isinstance(net.loss, HistogramLoss) or fixed_logit:
        raise ValueError(f"net must have a loss whose predictions PyTorch has a module for, got {net.loss!r}")
    unit = OUTPUT_UNITS.get(kernel, "identity")
    module = torch.nn.Sequential(*modules, *making.units(unit, f"loss={net.loss!r}"))
    return module.to(getattr(torch, net.dtype.name)).eval()


class _Making:
    """Modules for the layers of a network, in their order.

    Parameters
    ----------
    net : Network
    torch : module
    """

    def __init__(self, net, torch):
        self.nn, self.torch, self.width = torch.nn, torch, net.n_inputs
        self.places = iter(zip(net.weights, net.biases, strict=True))
        self.states = iter(net.layer_state.values())
        self.shared = {}  # modules, by names

    def modules_of(self, layer):
        """A list of them."""
        if isinstance(layer, Checkpoint):
            return [module for inner in layer.layers for module in self.modules_of(inner)]
        if isinstance(layer, Shared) and type(layer.layer) is Dense:
            return self._shared(layer)
        if isinstance(layer, Dense | LowRank):
            products = [self._linear(bias=False)] if isinstance(layer, LowRank) else []
            return [*products, self._linear(), *self.units(layer.activation, layer), *self._dropout(layer.dropout)]
        if isinstance(layer, Activation):
            return self.units(layer.activation, layer)
        if isinstance(layer, Dropout):
            return self._dropout(layer.rate)
        if isinstance(layer, BatchNorm):
            module = self.nn.BatchNorm1d(self.width, layer.epsilon, layer.momentum, layer.affine)
            self._set(module.running_mean, next(self.states))
            self._set(module.running_var, next(self.states))
        elif isinstance(layer, LayerNorm):
            module = self.nn.LayerNorm(self.width, layer.epsilon, layer.affine)
        elif isinstance(layer, GroupNorm):
            module = self.nn.GroupNorm(layer.n_groups, self.width, layer.epsilon, layer.affine)
        elif isinstance(layer, PReLU):
            module = self.nn.PReLU(self.width)
        else:
            raise ValueError(f"net must have layers that PyTorch has modules for, got {layer!r}")
        if getattr(layer, "affine", True):
            self._fill(module, *next(self.places))
        return [module]

    def units(self, activation, owner):
        """The module of a unit, in a list, which is empty for the identity; ValueError if there is none."""
        unit, parameter = unit_of(activation)
        if unit == "identity":
            return []
        if unit == "leaky_relu":
            return [self.nn.LeakyReLU(parameter)]
        if unit == "elu":
            return [self.nn.ELU(parameter)]
        if unit not in UNITS:
            raise ValueError(f"net must have units that PyTorch has modules for, got {unit!r} of {owner}")
        name, settings = UNITS[unit]
        return [getattr(self.nn, name)(**settings)]

    def _linear(self, bias=True):
        W, b = next(self.places)
        module = self.nn.Linear(*W.shape, bias=bias)
        self.width = W.shape[1]
        self._fill(module, W.T, b)
        return module

    def _shared(self, layer):
        if layer.name not in self.shared:
            self.shared[layer.name] = self.modules_of(layer.layer)
        else:
            self.width = len(next(self.places)[1])
        return self.shared[layer.name]

    def _dropout(self, rate):
        return [self.nn.Dropout(rate)] if rate else []

    def _fill(self, module, W, b):
        self._set(module.weight, W.reshape(module.weight.shape))
        if b is not None:
            self._set(module.bias, b)

    def _set(self, tensor, array):
        """Write to a tensor, which is made to hold the array's dtype."""
        tensor.data = self.torch.tensor(array.copy())


def _torch():
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError("networks to and from PyTorch need it: pip install torch") from error
    return torch
