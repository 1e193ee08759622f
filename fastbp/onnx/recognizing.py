"""Units by what they do: whatever nodes a function is made of, it is one of ours if it has the same values."""

import numpy as np

from ..graph.formulas import UNITS
from ..interop.parts import elu, leaky_relu
from .reading import number

ELEMENTWISE = {
    "Abs", "Add", "Cast", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul",
    "Neg", "Not", "PRelu", "Pow", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Where",
}  # fmt: skip
TRUTHS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not"}  # what these make are no numbers
MOST_NODES = 32  # that a unit is made of
POINTS = np.concatenate([np.linspace(-9, 9, 73), [-40, -1e-3, 1e-3, 40]])  # 0 and 1 among them


def unit_of(reader, name, begin):
    """The unit that makes a tensor, and of which tensor.

    Parameters
    ----------
    reader : Reader
    name, begin : str
        The tensor, and one before it that the unit may begin with at the earliest.

    Returns
    -------
    unit : str, LeakyReLU, ELU, ndarray or None
        "exp" too, which is no layer's unit; slopes of PReLU, (n,) or (1,); None if it is none of ours.
    z : str or None
    """
    z = reader.dominator.get(name)
    while z is not None:
        nodes = _between(reader, z, name)
        if nodes is None:
            return None, None
        truth = z in reader.nodes and reader.nodes[z].op_type in TRUTHS
        unit = None if truth else _named(reader, nodes, z, name)
        if unit is not None:
            return unit, z
        z = None if z == begin else reader.dominator.get(z)
    return None, None


def _between(reader, z, name):
    """The nodes from z to a tensor, in their order; None if they are not a function of single elements."""
    found, left = {}, [name]
    while left:
        tensor = left.pop()
        if tensor == z or tensor in found:
            continue
        node = reader.nodes.get(tensor)
        if node is None or node.domain or node.op_type not in ELEMENTWISE or len(found) == MOST_NODES:
            return None
        found[tensor] = node
        left += reader.variables(node)
    return [node for tensor, node in reader.nodes.items() if tensor in found]


def _named(reader, nodes, z, name):
    """The unit that these nodes are, or slopes of PReLU; a unit has no constants that differ from column to column."""
    shapes = {reader.constants[i].shape for node in nodes for i in reader.inputs(node) if i in reader.constants}
    widths = {shape[-1] for shape in shapes if np.prod(shape) > 1}
    if len(widths) > 1 or any(np.prod(shape[:-1]) > 1 for shape in shapes):
        return None
    points = np.repeat(POINTS.astype(reader.dtype)[:, np.newaxis], *widths or [1], axis=1)
    try:
        with np.errstate(all="ignore"):
            (values,) = reader.evaluate(nodes, {z: points}, [name])
    except Exception:  # ONNX's reference can't compute them
        return None
    if values.shape != points.shape or values.dtype.kind != "f":
        return None
    slopes = -values[POINTS == -1.0][0]
    if not widths:
        alpha = float(-values[POINTS == -40.0][0, 0])
        for unit, (key, p) in _candidates(float(slopes[0]), alpha).items():
            with np.errstate(all="ignore"):
                if _are(values[:, 0], UNITS[key][0](POINTS, p)):
                    return unit
    with np.errstate(all="ignore"):
        found = _are(values, np.where(points > 0, points, slopes * points))
    if not found or (slopes == 1).all():  # nothing, as a bias of 0 does
        return None
    return slopes if slopes.any() else "relu"


def _are(values, expected):
    return np.allclose(values, expected, rtol=1e-5, atol=1e-6)


def _candidates(slope, alpha):
    """Units that it may be, with their names and parameters in formulas."""
    candidates = {unit: (unit, 0.0) for unit in UNITS if unit not in ("leaky_relu", "elu", "rbf")}
    candidates["exp"] = "rbf", 0.0
    slope, alpha = number(slope), number(alpha)
    if 0 <= slope <= 1:
        candidates[leaky_relu(slope)] = "leaky_relu", slope
    if 0 < alpha < np.inf:
        candidates[elu(alpha)] = "elu", alpha
    return candidates
