"""A twin of each op in plain NumPy, and programs run with them: what the compiled core is tested against.

The twins are formulas for arrays and for pairs (see pairs.py) alike: with parameters that are pairs, the gradient that
comes out knows its own derivative, which is the product of the Hessian and a direction. The derivatives that twins
state themselves, of units, losses and radial basis functions, are those that need care at the ends of a dtype's range.
"""

from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy.sparse import diags_array, issparse
from scipy.special import softmax

from .formulas import LOSSES, OUTPUT_UNITS, UNITS, bounded, most, weighted
from .pairs import column_sums, elementwise, joined, linear, placed, product_over_rows, row_sums, value

# ---- ops with weights: forward, dC/dH from D = dC/dZ, and the gradients of W and b ----------------------------------


def _dense(H, W, b):
    return H @ W if b is None else H @ W + b


def _dense_back(D, H, W, b):
    return D @ W.T


def _dense_gradient(D, H, Z, W, b):
    return product_over_rows(H, D), column_sums(D)


def _transposed(H, W, b):
    return H @ W.T if b is None else H @ W.T + b


def _transposed_back(D, H, W, b):
    return D @ W


def _transposed_gradient(D, H, Z, W, b):
    return product_over_rows(D, H), column_sums(D)


def _centred(H, W):
    """Both relative to the centres' mean: products of numbers with a common offset would lose digits."""
    origin = value(W).mean(axis=1, keepdims=True)
    return H - origin.T, W - origin


def _twice_beta(b):
    """``2 exp(b)``, bounded as in the core."""
    return np.minimum(2 * np.exp(value(b)), most(value(b).dtype))


def _rbf(H, W, b):
    """``z_j = -beta_j |h - w_j|^2``, of which the unit is exp."""
    H, W = _centred(H, W)
    h, w, scale = value(H), value(W), _twice_beta(b)
    half = np.stack([((h - centre) ** 2).sum(axis=1) for centre in w.T], axis=1) * -0.5
    reach = np.where(half == 0, 0, scale)  # on a centre the derivatives of z are 0 without rounding
    z = np.maximum(scale * np.maximum(half, -most(h.dtype)), -1000)  # where exp is 0
    return joined(
        z,
        (H, lambda t: bounded(reach * (t @ w - row_sums(h * t)))),
        (W, lambda t: bounded(reach * (h @ t - (w * t).sum(axis=-2, keepdims=True)))),
        (b, lambda t: z * t),
    )


def _rbf_delta(D, b):
    """``S = 2 beta * D``"""
    d, scale = value(D), _twice_beta(b)
    return joined(scale * d, (D, lambda t: scale * t), (b, lambda t: scale * (d * t)))


def _rbf_back(D, H, W, b):
    (H, W), S = _centred(H, W), _rbf_delta(D, b)
    return S @ W.T - H * row_sums(S)


def _rbf_gradient(D, H, Z, W, b):
    (H, W), S = _centred(H, W), _rbf_delta(D, b)
    return product_over_rows(H, S) - W * column_sums(S), column_sums(D * Z)


def _scale(H, W, b):
    return H * W if b is None else H * W + b


def _scale_back(D, H, W, b):
    return D * W


def _scale_gradient(D, H, Z, W, b):
    return column_sums(D * H), column_sums(D)


def _negative(H):
    """``min(0, H)``"""
    return elementwise(lambda h: np.minimum(h, 0), lambda h: (h <= 0).astype(h.dtype), H)


def _prelu(H, W, b):
    return elementwise(lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(h.dtype), H) + _negative(H) * W


def _prelu_back(D, H, W, b):
    above = (value(H) > 0).astype(value(H).dtype)
    return D * (above + (1 - above) * W)


def _prelu_gradient(D, H, Z, W, b):
    return column_sums(D * _negative(H)), None


def _embed(H, W, b):
    """Rows of W, whose numbers are in the one column of H."""
    x = H[:, 0].astype(np.intp)
    return linear(lambda w: w[..., x, :], W)


def _embed_gradient(D, H, Z, W, b):
    x, (n_rows, n) = H[:, 0].astype(np.intp), value(W).shape

    def sums(d):
        G = np.zeros((*d.shape[:-2], n_rows, n))
        np.add.at(G, (..., x, slice(None)), d)
        return G.astype(d.dtype, copy=False)

    return linear(sums, D[:, :n]), None


FORWARD = {
    "dense": _dense, "transposed": _transposed, "rbf": _rbf, "sparse": _dense, "scale": _scale, "prelu": _prelu,
    "embed": _embed,
}  # fmt: skip
BACKWARD = {
    "dense_back": _dense_back, "transposed_back": _transposed_back, "rbf_back": _rbf_back, "sparse_back": _dense_back,
    "scale_back": _scale_back, "prelu_back": _prelu_back,
}  # fmt: skip
GRADIENTS = {
    "dense": _dense_gradient, "transposed": _transposed_gradient, "rbf": _rbf_gradient, "scale": _scale_gradient,
    "prelu": _prelu_gradient, "embed": _embed_gradient, "sparse": _dense_gradient,
}  # fmt: skip

# ---- normalisation --------------------------------------------------------------------------------------------------


def _inverse_deviation(variance, epsilon):
    return elementwise(lambda v: (v + epsilon) ** -0.5, lambda v: -0.5 * (v + epsilon) ** -1.5, variance)


def column_statistics(H, s):
    """Mean and variance of the columns of rows weighted by s, ``(1, n)``; rows without weight are left out."""
    s, H = s[s[:, 0] > 0], _rows_with_weight(H, s)
    mean = column_sums(H * s)
    E = H - mean
    return mean, column_sums(E * E * s)


def _rows_with_weight(H, s):
    return H if (s > 0).all() else linear(lambda a: a[..., s[:, 0] > 0, :], H)


def batch_norm(H, mean, variance, epsilon):
    """``Z = (H - mean) / deviation``; of CSR the mean is 0."""
    if issparse(H):
        return H @ diags_array(_inverse_deviation(variance, epsilon).ravel())
    return (H - mean) * _inverse_deviation(variance, epsilon)


def batch_norm_back(D, H, mean, variance, epsilon, s):
    """``dC/dH``; s is None where mean and variance have nothing to do with H."""
    inverse = _inverse_deviation(variance, epsilon)
    if s is None:
        return D * inverse
    Z = (H - mean) * inverse
    return (D - (column_sums(D) + Z * column_sums(D * Z)) * s) * inverse


def _group_means(X, n_groups):
    """The means of groups of columns, each in the place of its group's elements."""

    def f(a):
        means = a.reshape(*a.shape[:-1], n_groups, -1).mean(axis=-1, keepdims=True)
        return np.broadcast_to(means, (*means.shape[:-1], a.shape[-1] // n_groups)).reshape(a.shape)

    return linear(f, X)


def _group_normed(H, n_groups, epsilon):
    E = H - _group_means(H, n_groups)
    inverse = _inverse_deviation(_group_means(E * E, n_groups), epsilon)
    return E * inverse, inverse


def group_norm(H, n_groups, epsilon):
    """``Z = (H - mean) / deviation``, of each group of columns of a row."""
    return _group_normed(H, n_groups, epsilon)[0]


def group_norm_back(D, H, n_groups, epsilon):
    """``dC/dH = (D - mean of D - Z * mean of D * Z) / deviation``"""
    Z, inverse = _group_normed(H, n_groups, epsilon)
    return (D - _group_means(D, n_groups) - Z * _group_means(D * Z, n_groups)) * inverse


# ---- weights divided by norms of their own --------------------------------------------------------------------------


def _inverse_norms(V):
    """``1 / |columns of V|``, 0 for a column of zeros."""

    def f(q, power):
        return np.where(q == 0, 0, np.where(q == 0, 1, q) ** power)

    return elementwise(lambda q: f(q, -0.5), lambda q: -0.5 * f(q, -1.5), column_sums(V * V))


def _inverse(x):
    """``1 / x``, 0 for 0."""
    one = np.where(value(x) == 0, 1, value(x))
    there = (value(x) != 0).astype(one.dtype)
    return elementwise(lambda x: there / one, lambda x: -there / one**2, x)


def weight_norm(H, V, w, b, u, v):
    """``Z = H * s + b``"""
    return H * weight_factors(V, w, u, v) + b


def weight_factors(V, w, u, v):
    """s: ``w / |columns of V|``, or, where u and v are not None, ``1 / (u^T V v)``."""
    return w * _inverse_norms(V) if u is None else _inverse(u[None] @ V @ v[:, None])


def weight_norm_gradients(D, H, V, w, u, v):
    """The gradients of V beside ``X^T dC/dH``, of w (None if there is none) and of b."""
    t, s = column_sums(D * H), weight_factors(V, w, u, v)
    if u is not None:
        return np.outer(u, v) * (row_sums(t) * s * s) * -1, None, column_sums(D)
    r = _inverse_norms(V)
    return V * (t * s * r * r) * -1, t * r, column_sums(D)
# ---- codes of numbers -----------------------------------------------------------------------------------------------


def _inverse_widths(bounds):
    """Of the bins of columns, whose bounds are rows; 0 of bins without width."""
    width = np.diff(bounds)
    return np.divide(1, width, out=np.zeros_like(width), where=width > 0)


def _bin_slopes(h, bounds):
    """The derivatives of codes: of the bin that h lies in its inverse width, of others 0."""
    low, after = bounds[:, :-1], bounds[:, 1:]
    low, after = np.where(low == bounds[:, :1], -np.inf, low), np.where(after == bounds[:, -1:], np.inf, after)
    h = h[:, :, None]
    return (((low <= h) & (h < after)) * _inverse_widths(bounds)).reshape(len(h), low.size)


def bins(H, bounds):
    """How much of each bin of a column lies below h; `bounds` has a row for each column. The outer bins don't end."""
    h, low, high = value(H), bounds[:, :-1], bounds[:, 1:]
    least, last = np.where(low == bounds[:, :1], -np.inf, low), np.where(high == bounds[:, -1:], np.inf, high)
    inverse = _inverse_widths(bounds)
    z = np.where(inverse > 0, (np.clip(h[:, :, None], least, last) - low) * inverse, 0).reshape(len(h), low.size)
    n_bins, slopes = low.shape[1], _bin_slopes(h, bounds)
    return joined(z.astype(h.dtype, copy=False), (H, lambda t: t.repeat(n_bins, axis=-1) * slopes))


def bins_back(D, H, bounds):
    """``dC/dH``"""
    slopes, shape = _bin_slopes(value(H), bounds), bounds[:, 1:].shape
    return linear(lambda d: (d * slopes).reshape(*d.shape[:-1], *shape).sum(axis=-1), D)


# ---- units and losses -----------------------------------------------------------------------------------------------


def unit(Z, name, p):
    """``A = f(Z)``"""
    z = value(Z)
    if name == "softmax":
        a = softmax(z, axis=1)
        return joined(a, (Z, lambda t: unit_back(t, z, a, name, p)))
    f, first, _ = UNITS[name]
    a = f(z, p)
    return elementwise(lambda z: a, lambda z: first(z, a, p), Z)


def unit_back(E, Z, A, name, p):
    """``D = E * f'(Z)``, of softmax units ``A * (E - row sums of A * E)``."""
    if name == "softmax":
        return A * (E - row_sums(A * E))
    (_, first, second), a = UNITS[name], value(A)
    return E * elementwise(lambda z: first(z, a, p), lambda z: second(z, a, p), Z)


def _for_each_column(z, y):
    """Targets of all columns of z where several of them have the same, in groups."""
    return np.tile(y, z.shape[1] // y.shape[1])


def losses(cost, z, y):
    """Loss of each sample, of outputs z and targets y; `cost` begins with what `kernel_of` returns."""
    return LOSSES[cost[0]][0](z, _for_each_column(z, y), cost).sum(axis=1)


def loss_gradient(cost, z, y):
    """The gradient of each sample's loss by z."""
    return LOSSES[cost[0]][1](z, _for_each_column(z, y), cost)


def loss_back(cost, Z, y, s):
    """``dC/dA`` of an output, S being the weights of samples, ``(n_samples, 1)``."""
    z = value(Z)
    hessian = LOSSES[cost[0]][2](z, _for_each_column(z, y), cost)
    return joined(weighted(s, loss_gradient(cost, z, y)), (Z, lambda t: weighted(s, hessian(t))))


def predicted(cost, z):
    """Activations of the output unit that a loss brings along."""
    return OUTPUT_UNITS.get(cost[0], lambda z, s: z)(z, cost)


# ---- programs -------------------------------------------------------------------------------------------------------


def split(graph, flat):
    """W and b (or None) of each of a graph's weights, as views of a flat array, or of several in its rows."""
    parts, axes = [], flat.shape[:-1]
    for w in graph.weights:
        bias = w.offset + w.n_in * w.n_out
        parts.append((
            flat[..., w.offset : bias].reshape(*axes, w.n_in, w.n_out),
            flat[..., bias : bias + w.n_out].reshape(*axes, 1, w.n_out) if w.has_bias else None,
        ))  # fmt: skip
    return parts


def flattened(graph, arrays, axes=(), dtype=np.float64):
    """The flat array of W and b, one after the other, or of several in its rows; None is 0."""
    flat = np.zeros((*axes, graph.n_parameters), dtype)
    for view, a in zip(chain(*split(graph, flat)), arrays, strict=True):
        if a is not None:
            view[:] = a
    return flat


class Statistics(NamedTuple):
    """What layers know of X and their inputs: the state that they keep, and for batch normalisation, if `s` is there,
    statistics of the batch."""

    layer_state: np.ndarray
    s: np.ndarray | None = None  # weights of samples, (n_samples, 1), whose sum is 1

    @classmethod
    def of(cls, graph, dtype, layer_state=None, s=None):
        """Of a graph, in a dtype; `layer_state` None is what layers begin with."""
        state = graph.initial_state(dtype) if layer_state is None else layer_state.astype(dtype)
        return cls(state, s)

    def weights(self, op):
        """Weights of samples, if the op takes statistics of the batch: one row has none."""
        return self.s if op.momentum and self.s is not None and np.count_nonzero(self.s) > 1 else None

    def vectors(self, graph, op):
        """u and v of spectral normalisation; of weight normalisation twice None."""
        if op.state < 0:
            return None, None
        return tuple(self.layer_state[s.offset : s.offset + s.n] for s in graph.states[op.state : op.state + 2])

    def arguments(self, graph, op, H):
        """Mean, variance and epsilon."""
        if self.weights(op) is not None:
            return *column_statistics(H, self.s), op.epsilon
        offset, n = graph.states[op.state].offset, graph.values[op.output].n
        return *self.layer_state[offset : offset + 2 * n].reshape(2, 1, n), op.epsilon

    def bounds(self, graph, op):
        """Those of the bins of each column, ``(n_columns, n_bins + 1)``."""
        state = graph.states[op.state]
        n_columns = min(graph.values[op.input].n, graph.values[op.output].n)  # of H, forward and back
        return self.layer_state[state.offset : state.offset + state.n].reshape(n_columns, -1)


def forward(graph, weights, X, statistics=None):
    """The values of a program, two dicts: Z, before their units, and A. Nothing is dropped.

    `weights` are as of `split`, arrays or pairs; X is an array or a CSR matrix; `statistics`, a `Statistics`, may be
    None where layers have no state.
    """
    Z, A = {}, {0: X}
    for op in graph.forward:
        to = graph.values[op.output]
        if op.kind == "unit":
            A[op.output] = unit(Z[op.output], to.unit, to.parameter)
            continue
        z = _read(A[op.input], op)
        if op.kind in FORWARD:
            z = FORWARD[op.kind](z, *_operands(graph, weights, op))
        elif op.kind == "batch_norm":
            z = batch_norm(z, *statistics.arguments(graph, op, z))
        elif op.kind == "group_norm":
            z = group_norm(z, op.n_groups, op.epsilon)
            z = _scale(z, *_operands(graph, weights, op)) if op.weights >= 0 else z
        elif op.kind == "weight_norm":
            z = weight_norm(z, *_norm_operands(graph, weights, op, statistics))
        elif op.kind == "bins":
            z = bins(z, statistics.bounds(graph, op))
        if op.n:  # "move" finds nothing in its columns that "add" would not add to
            z = placed(z, op.column, to.n)
        Z[op.output] = Z[op.output] + z if op.output in Z else z
    return Z, A


def backward(graph, ops, weights, Z, A, E, statistics=None):
    """``dC/dZ`` of the values, a dict, by backward ops, from E, ``dC/dA`` of the outputs; those that there are."""
    G = dict(E)
    for op in ops:
        g, to = G[op.input], graph.values[op.output]
        if op.kind == "unit_back":
            G[op.output] = unit_back(g, Z[op.output], A[op.output], to.unit, to.parameter)
            continue
        if op.kind in BACKWARD:
            g = BACKWARD[op.kind](g, A[op.output], *_operands(graph, weights, op))
        elif op.kind == "batch_norm_back":
            H = A[op.output]
            g = batch_norm_back(g, H, *statistics.arguments(graph, op, H), statistics.weights(op))
        elif op.kind == "group_norm_back":
            g = g * weights[op.weights][0] if op.weights >= 0 else g
            g = group_norm_back(g, A[op.output], op.n_groups, op.epsilon)
        elif op.kind == "weight_norm_back":
            V, w, _, *vectors = _norm_operands(graph, weights, op, statistics)
            g = g * weight_factors(V, w, *vectors)
        elif op.kind == "bins_back":
            g = bins_back(g, A[op.output], statistics.bounds(graph, op))
        else:
            g = placed(g[:, op.column : op.column + op.n], op.source, to.n)
        G[op.output] = G[op.output] + g if op.accumulate else g
    return G


def gradients(graph, weights, Z, A, G, statistics=None):
    """``dC/dW`` and ``dC/db`` of all weights, sums over their uses in the program's order; None is what has no use."""
    parts = [[None, None] for _ in weights]
    for op in graph.forward:
        if op.kind in GRADIENTS:
            D = G[op.output][:, op.column :] if op.column else G[op.output]
            made = GRADIENTS[op.kind](D, _read(A[op.input], op), Z[op.output], *_operands(graph, weights, op))
            if op.kind == "sparse":
                made = _gathered(made[0], graph.weights[op.weights].connections), made[1]
            _add(parts, (op.weights, 0, made[0]), (op.bias, 1, made[1]))
        elif op.kind == "group_norm" and op.weights >= 0:
            X = group_norm(A[op.input], op.n_groups, op.epsilon)
            made = _scale_gradient(G[op.output], X, None, None, None)
            _add(parts, (op.weights, 0, made[0]), (op.bias, 1, made[1]))
        elif op.kind == "weight_norm":
            V, w, _, *vectors = _norm_operands(graph, weights, op, statistics)
            of_v, of_w, of_b = weight_norm_gradients(G[op.output], A[op.input], V, w, *vectors)
            _add(parts, (op.of, 0, of_v), (op.weights, 0, of_w), (op.bias, 1, of_b))
    return parts


def _add(parts, *gradients):
    """Add to the gradients of W (0) and of b (1) of weights, whose number is -1 where there are none."""
    for number, part, g in gradients:
        if number >= 0:
            before = parts[number][part]
            parts[number][part] = g if before is None else before + g


def _norm_operands(graph, weights, op, statistics):
    """V, w (None where there is none), b, u, v."""
    w = weights[op.weights][0] if op.weights >= 0 else None
    vectors = (None, None) if statistics is None else statistics.vectors(graph, op)
    return weights[op.of][0], w, weights[op.bias][1], *vectors


def _read(H, op):
    """The columns that an op reads."""
    return H[:, op.source : op.source + op.n] if op.n else H


def _operands(graph, weights, op):
    W, connections = weights[op.weights][0], graph.weights[op.weights].connections
    return W if connections is None else _scattered(W, connections), weights[op.bias][1] if op.bias >= 0 else None


def _scattered(W, connections):
    """The weights of a full layer that are those of a sparse one, and 0 elsewhere."""
    columns = connections.columns.array
    units = np.arange(columns.shape[1])

    def f(w):
        full = np.zeros((*w.shape[:-2], connections.n_in, len(units)), w.dtype)
        np.add.at(full, (..., columns, units), w)
        return full

    return linear(f, W)


def _gathered(G, connections):
    """The elements of a full layer's gradient that belong to weights of a sparse one."""
    columns = connections.columns.array
    return linear(lambda g: g[..., columns, np.arange(columns.shape[1])], G)


def passes(graph, ops, weights, X, targets, costs, s, statistics=None):
    """Forward and backward, of what `converted` returns: outputs, ``dC/dZ`` of all values, and `gradients`."""
    Z, A = forward(graph, weights, X, statistics)
    outputs = [A[number] for number in graph.outputs.values()]
    E = {
        number: loss_back(cost, a, y, cost[4] * s)
        for number, a, y, cost in zip(graph.outputs.values(), outputs, targets, costs, strict=True)
    }
    G = backward(graph, ops, weights, Z, A, E, statistics)
    return outputs, G, gradients(graph, weights, Z, A, G, statistics)


def converted(dtype, X, targets, sample_weight=None):
    """X, targets, and the weights of samples divided by their sum, ``(n_samples, 1)``, in one dtype."""
    n = X.shape[0]
    s = np.full(n, 1 / n) if sample_weight is None else sample_weight / sample_weight.sum()
    X, s, *targets = (a.astype(dtype, copy=False) for a in (X, s, *targets))
    return X, [y.reshape(n, -1) for y in targets], s[:, None]


def run(
    graph, ops, parameters, X, targets, costs, sample_weight=None, layer_state=None, batch_statistics=False
):  # fmt: skip
    """A network's outputs, its cost, and the gradient of that, in the dtype of its parameters.

    Parameters
    ----------
    graph : Graph
    ops : list of Op
        Its backward program.
    parameters : ndarray of shape (n_parameters,)
    X : ndarray or CSR matrix of shape (n_samples, n_inputs)
    targets : list of ndarray
        For each output, ``(n_samples, n_targets)``.
    costs : list of tuple (kernel, parameter, levels, fixed_logit, weight)
        For each output, what `kernel_of` returns for its loss, and its weight in the sum.
    sample_weight : ndarray of shape (n_samples,), default=None
    layer_state : ndarray of shape (n_state,), default=None
        None: what layers begin with.
    batch_statistics : bool, default=False
        Whether batch normalisation takes statistics of these rows, as in training, or those of the state.

    Returns
    -------
    outputs : list of ndarray
        For each output, what the loss is a function of.
    cost : float
    gradient : ndarray of shape (n_parameters,)
    """
    X, targets, s = converted(parameters.dtype, X, targets, sample_weight)
    statistics = Statistics.of(graph, parameters.dtype, layer_state, s if batch_statistics else None)
    outputs, _, parts = passes(graph, ops, split(graph, parameters), X, targets, costs, s, statistics)
    cost = sum(
        cost[4] * float(weighted(s[:, 0], losses(cost, a, y)).sum(dtype=np.float64))
        for a, y, cost in zip(outputs, targets, costs, strict=True)
    )
    return outputs, cost, flattened(graph, chain(*parts), dtype=parameters.dtype)
