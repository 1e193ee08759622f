"""Units in ONNX, and the outputs that losses make of the last layer's z.

Each rule gets a `Writer`, the name of z and the unit's parameter, and returns the name of f(z). In float64, units for
which ONNX Runtime has operators of float32 alone are made of simpler ones.
"""

import numpy as np

from ..graph.formulas import SELU_ALPHA, SELU_SCALE
from ..losses import OUTPUT_UNITS, HistogramLoss, kernel_of


def _named(kind, **attributes):
    """A unit that is one operator."""
    return lambda w, z, p: w.node(kind, z, **attributes)


def _step(w, z, p):
    return w.node("Cast", w.node("Greater", z, w.constant("threshold", 0.0)), to=w.element_type)


def _relu2(w, z, p):
    relu = w.node("Relu", z)
    return w.node("Mul", relu, relu)


def leaky_relu(w, z, slope):
    """``max(0, z) + slope min(0, z)``, from the name of the slope."""
    zero = w.constant("zero", 0.0)
    return w.node("Add", w.node("Max", z, zero), w.node("Mul", slope, w.node("Min", z, zero)))


def _elu(w, z, alpha):
    zero = w.constant("zero", 0.0)
    below = w.node("Sub", w.node("Exp", w.node("Min", z, zero)), w.constant("one", 1.0))
    return w.node("Add", w.node("Max", z, zero), w.node("Mul", w.constant("alpha", alpha), below))


def _softplus(w, z):
    """``max(0, z) + ln(1 + exp(-|z|))``"""
    rest = w.node("Add", w.node("Exp", w.node("Neg", w.node("Abs", z))), w.constant("one", 1.0))
    return w.node("Add", w.node("Max", z, w.constant("zero", 0.0)), w.node("Log", rest))


def _hard_sigmoid(w, z):
    line = w.node("Add", w.node("Mul", z, w.constant("slope", 1 / 6)), w.constant("half", 0.5))
    return w.node("Clip", line, w.constant("low", 0.0), w.constant("high", 1.0))


UNITS = {
    "identity": lambda w, z, p: z,
    "logistic": _named("Sigmoid"),
    "tanh": _named("Tanh"),
    "relu": _named("Relu"),
    "hard_tanh": lambda w, z, p: w.node("Clip", z, w.constant("low", -1.0), w.constant("high", 1.0)),
    "leaky_relu": lambda w, z, p: w.node("LeakyRelu", z, alpha=p),
    "elu": lambda w, z, p: w.node("Elu", z, alpha=p),
    "selu": _named("Selu"),
    "softplus": _named("Softplus"),
    "gelu": _named("Gelu", approximate="tanh"),
    "silu": lambda w, z, p: w.node("Mul", z, w.node("Sigmoid", z)),
    "mish": _named("Mish"),
    "relu2": _relu2,
    "hard_sigmoid": _named("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_swish": _named("HardSwish"),
    "sin": _named("Sin"),
    "cos": _named("Cos"),
    "step": _step,
    "softmax": _named("Softmax", axis=-1),
    "exp": _named("Exp"),
    "rbf": _named("Exp"),
}
IN_FLOAT64 = {
    "leaky_relu": lambda w, z, p: leaky_relu(w, z, w.constant("slope", p)),
    "elu": _elu,
    "selu": lambda w, z, p: w.node("Mul", w.constant("scale", SELU_SCALE), _elu(w, z, SELU_ALPHA)),
    "softplus": lambda w, z, p: _softplus(w, z),
    "mish": lambda w, z, p: w.node("Mul", z, w.node("Tanh", _softplus(w, z))),
    "hard_sigmoid": lambda w, z, p: _hard_sigmoid(w, z),
    "hard_swish": lambda w, z, p: w.node("Mul", z, _hard_sigmoid(w, z)),
}


def unit(w, z, name, p=0.0):
    """Name of f(z), of the unit with this name and parameter."""
    rule = w.dtype == np.float64 and IN_FLOAT64.get(name)
    return (rule or UNITS[name])(w, z, p)


def output_of(w, z, n_units, loss):
    """Name of what `Network.predict` gives, from z of the last layer, which has n_units, and its loss."""
    kernel, _, _, fixed_logit = kernel_of(loss)
    if fixed_logit:
        z = w.node("Where", w.constant("learnt", np.arange(n_units) < n_units - 1), z, w.constant("fixed", 0.0))
    a = unit(w, z, OUTPUT_UNITS.get(kernel, "identity"))
    if isinstance(loss, HistogramLoss):
        a = w.node("MatMul", a, w.constant("centres", loss.means(np.eye(len(loss.edges) - 1))))
    return a
