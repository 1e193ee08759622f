"""A rule for each op of a graph: what it gives in ONNX.

Rules get a `Writer`, a model's `Parameters`, the op, and the name of what the op takes, and return the name of what it
gives, before a unit. What an op takes and gives, fastbp/graph/graph.py says.
"""

import numpy as np
from onnx import TensorProto

from ..graph.reference import weight_factors
from .units import leaky_relu


class Parameters:
    """A model's parameters as constants, each of which is written once, however many ops have it.

    Parameters
    ----------
    writer : Writer
    model : Model
    """

    def __init__(self, writer, model):
        self.writer, self.graph, self.names = writer, model.graph, {}
        self.sets = model.sets(model.parameters)
        self.states = list(model.graph.state_views(model.layer_state).values())

    def weight(self, op):
        """Name of the op's W."""
        return self.constant("weight", op.weights, self.sets[op.weights][0])

    def bias(self, op):
        """Name of the op's b; None if it has none."""
        return None if op.bias < 0 else self.constant("bias", op.bias, self.sets[op.bias][1])

    def constant(self, name, number, array):
        """Name of what is made of the weights of this number and called so."""
        if (name, number) not in self.names:
            self.names[name, number] = self.writer.constant(name, array)
        return self.names[name, number]


def _dense(w, p, op, h):
    return w.node("Gemm", h, p.weight(op), p.bias(op))


def _transposed(w, p, op, h):
    return w.node("Gemm", h, p.weight(op), p.bias(op), transB=1)


def _rbf(w, p, op, h):
    """``-beta_j sum_i (h_i - c_ij)^2``, from an array (n_samples, n_in, n_units) of differences."""
    C, b = p.sets[op.weights]
    difference = w.node("Sub", w.node("Unsqueeze", h, w.constant("axes", [2])), p.constant("centres", op.weights, C))
    square = w.node("Mul", difference, difference)
    distance = w.node("ReduceSum", square, w.constant("axes", [1]), keepdims=0)
    beta = np.exp(np.minimum(b, np.log(np.finfo(w.dtype).max)))
    return w.node("Mul", distance, p.constant("minus_beta", op.weights, -beta))


def _sparse(w, p, op, h):
    """Sums of an array (n_samples, fan_in, n_units) of products."""
    columns = p.graph.weights[op.weights].connections.columns.array.astype(np.int64)
    inputs = w.node("Gather", h, p.constant("columns", op.weights, columns), axis=1)
    products = w.node("Mul", inputs, p.weight(op))
    z = w.node("ReduceSum", products, w.constant("axes", [1]), keepdims=0)
    return z if op.bias < 0 else w.node("Add", z, p.bias(op))


def _bins(w, p, op, h):
    """From columns that are there once for each bin."""
    bounds = p.states[op.state].reshape(p.graph.values[op.input].n, -1)
    names = "columns", "least", "most", "low", "inverse"
    columns, *others = map(w.constant, names, constants_of_bins(bounds, w.dtype))
    x = w.node("Gather", h, columns, axis=1)
    for kind, constant in zip(("Max", "Min", "Sub", "Mul"), others, strict=True):
        x = w.node(kind, x, constant)
    return x


def constants_of_bins(bounds, dtype):
    """For bins between bounds, (n_columns, n_bins + 1), in the order of the nodes that they are written with: columns
    that bins are of, numbers that these are not to be below and not above, what is then 0, and factors."""
    n_columns, n_bins = len(bounds), bounds.shape[1] - 1
    low, high, most = bounds[:, :-1], bounds[:, 1:], np.finfo(dtype).max
    least, last = np.where(low == bounds[:, :1], -most, low), np.where(high == bounds[:, -1:], most, high)
    inverse = np.divide(1, high - low, out=np.zeros_like(low), where=high > low)
    return np.repeat(np.arange(n_columns), n_bins), least.ravel(), last.ravel(), low.ravel(), inverse.ravel()


def _weight_norm(w, p, op, h):
    """``H * s + b``, with s as it is now."""
    u, v = p.states[op.state : op.state + 2] if op.state >= 0 else (None, None)
    s = weight_factors(p.sets[op.of][0], p.sets[op.weights][0], u, v)
    return w.node("Add", w.node("Mul", h, w.constant("factors", s.ravel())), p.bias(op))


def _embed(w, p, op, h):
    column = w.node("Gather", h, w.constant("column", op.source), axis=1)
    return w.node("Gather", p.weight(op), w.node("Cast", column, to=TensorProto.INT64), axis=0)


def _scale(w, p, op, h):
    product = w.node("Mul", h, p.weight(op))
    return product if op.bias < 0 else w.node("Add", product, p.bias(op))


def _prelu(w, p, op, h):
    return leaky_relu(w, h, p.weight(op)) if w.dtype == np.float64 else w.node("PRelu", h, p.weight(op))


def _batch_norm(w, p, op, h, scale=None):
    mean, variance = p.states[op.state : op.state + 2]
    if not op.momentum:  # of X as it comes, whose mean may be large: the difference has to be exact
        return w.node("Div", w.node("Sub", h, w.constant("mean", mean)), w.constant("deviation", np.sqrt(variance)))
    gamma, beta = _affine(p, scale, len(mean))
    inputs = [w.constant(n, a) for n, a in (("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance))]
    return w.node("BatchNormalization", h, *inputs, epsilon=op.epsilon, momentum=1 - op.momentum)


def _group_norm(w, p, op, h, scale=None):
    n, groups = p.graph.values[op.output].n, op.n_groups > 1
    gamma, beta = _affine(p, scale, n // op.n_groups)
    if groups:
        h = w.node("Reshape", h, w.constant("shape", [0, op.n_groups, -1]))
    z = w.node("LayerNormalization", h, w.constant("gamma", gamma), w.constant("beta", beta), epsilon=op.epsilon)
    return w.node("Reshape", z, w.constant("shape", [0, -1])) if groups else z


def _affine(p, scale, n):
    """Factors and shifts, those of an op that comes behind and has some, or None."""
    if scale is None:
        return np.ones(n), np.zeros(n)
    W, b = p.sets[scale.weights]
    return W[0], b


def _columns(w, p, op, h):
    """Those that "move" and "add" read."""
    if op.n == p.graph.values[op.input].n:
        return h
    return w.columns(h, op.source, op.source + op.n)


RULES = {
    "dense": _dense, "transposed": _transposed, "rbf": _rbf, "sparse": _sparse, "bins": _bins, "embed": _embed,
    "scale": _scale, "prelu": _prelu, "batch_norm": _batch_norm, "group_norm": _group_norm, "move": _columns,
    "add": _columns, "weight_norm": _weight_norm,
}  # fmt: skip
