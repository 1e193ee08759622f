"""Layers by the nodes that they are in ONNX: a rule for each kind of node that ends one.

A rule gets a `Reader` and the node. It returns a `Part` and the name of what the layer takes, or None if the node ends
no layer.
"""

from itertools import pairwise

import numpy as np

from ..interop.parts import FixedSoftmax, Part
from ..layers import (
    RBF,
    Activation,
    BatchNorm,
    Dense,
    Embed,
    GroupNorm,
    LayerNorm,
    Scale,
    Shared,
    Sparse,
    Standardize,
    Transposed,
)
from .reading import attribute, number


def shift(b):
    """The part that adds b."""
    return Part(Scale(), [(np.ones_like(b), b)])


def is_shift(part):
    return type(part.layer) is Scale and part.layer.bias and (part.places[0][0] == 1).all()


# ---- weights --------------------------------------------------------------------------------------------------------


def _gemm(reader, node):
    W, b = reader.constant(node, 1), row(reader.constant(node, 2))
    if W is None or W.ndim != 2 or attribute(node, "transA", 0) or (b is None and len(reader.inputs(node)) > 2):
        return None
    W = (W.T if attribute(node, "transB", 0) else W) * W.dtype.type(attribute(node, "alpha", 1.0))
    b = b if b is None else b * b.dtype.type(attribute(node, "beta", 1.0))
    n = W.shape[1]
    name, transposed = reader.sharing(node)
    layer = Dense(n) if name is None else Transposed(name) if transposed else Shared(Dense(n), name)
    return Part(layer, [(W, b)]), reader.variables(node)[0]


def _matmul(reader, node):
    W = reader.constant(node, 1)
    return None if W is None or W.ndim != 2 else (Part(Dense(W.shape[1]), [(W, None)]), reader.variables(node)[0])


def _reduce_sum(reader, node):
    product = gathered_product(reader, node.output[0])
    if product is None:
        return None
    W, columns, h = product
    return Part(Sparse(W.shape[1], columns=columns), [(W, None)]), h


def gathered_product(reader, name):
    """Weights, columns and what these are gathered from, if a tensor is a sum of such products; else None."""
    node = reader.maker(name, "ReduceSum")
    product = reader.maker(reader.inputs(node)[0], "Mul") if node is not None and _over_columns(reader, node) else None
    W = None if product is None else reader.constant(product, 1)
    gather = None if W is None else reader.maker(reader.inputs(product)[0], "Gather")
    columns = None if gather is None else reader.constant(gather, 1)
    if columns is None or W.ndim != 2 or columns.shape != W.shape or attribute(gather, "axis", 0) != 1:
        return None
    return W, columns, reader.variables(gather)[0]


def radial(reader, name):
    """The part of radial basis functions, whose z has this name, and what they take."""
    scaled = reader.maker(name, "Mul")
    minus_beta = None if scaled is None else reader.constant(scaled, 1)
    sums = None if minus_beta is None else reader.maker(reader.variables(scaled)[0], "ReduceSum")
    square = None if sums is None or not _over_columns(reader, sums) else reader.maker(reader.inputs(sums)[0], "Mul")
    if square is None or len(set(reader.inputs(square))) != 1:
        return None
    difference = reader.maker(reader.inputs(square)[0], "Sub")
    C = None if difference is None else reader.constant(difference, 1)
    lifted = None if C is None else reader.maker(reader.variables(difference)[0], "Unsqueeze")
    if lifted is None or (minus_beta >= 0).any():
        return None
    return Part(RBF(C.shape[1]), [(C, np.log(-minus_beta))]), reader.inputs(lifted)[0]


def _over_columns(reader, node):
    axes = reader.constant(node, 1)
    return axes is not None and axes.tolist() == [1] and attribute(node, "keepdims", 1) == 0


def embedded(reader, names):
    """The part of categories that gives these parts of a row, side by side; None if it does not."""
    tables = [_table(reader, name) for name in names]
    n_others = next((i for i, table in enumerate(tables) if table), len(tables))
    columns = [columns_of(reader, name, reader.X) for name in names[:n_others]]
    tables = tables[n_others:]
    if not tables or None in tables or None in columns:
        return None
    dims = {column: W.shape[1] for column, W in tables}
    others = [range(a + 1, b) for a, b in pairwise([-1, *sorted(dims), reader.n_inputs]) if b > a + 1]
    if len(dims) < len(tables) or columns != others:
        return None
    layer = Embed({column: len(W) for column, W in tables}, dims)
    return Part(layer, [(W, None) for _, W in tables]), reader.X


def _table(reader, name):
    """Column of X and table, of rows of it that the column names; None if it is something else."""
    rows = reader.maker(name, "Gather")
    W = None if rows is None else reader.constant(rows, 0)
    cast = None if W is None else reader.maker(reader.inputs(rows)[1], "Cast")
    gather = None if cast is None else reader.maker(reader.inputs(cast)[0], "Gather")
    column = None if gather is None else reader.constant(gather, 1)
    if column is None or column.ndim or reader.inputs(gather)[0] != reader.X:
        return None
    return int(column), W


def columns_of(reader, name, h):
    """Which columns of h a tensor is, a range, if it is that or a slice of it; else None."""
    if name == h:
        return range(reader.width(h))
    node = reader.maker(name, "Slice")
    if node is None or reader.inputs(node)[0] != h:
        return None
    begin, end, axes = (reader.constant(node, i) for i in (1, 2, 3))
    if any(c is None or c.shape != (1,) for c in (begin, end, axes)) or axes[0] != 1 or len(node.input) > 4:
        return None
    return range(int(begin[0]), int(end[0])) if 0 <= begin[0] < end[0] <= reader.width(h) else None


# ---- scales and normalisation ---------------------------------------------------------------------------------------


def row(array):
    """A constant that rows are combined with, one number or one for each column; None if it is something else."""
    if array is None or array.size != (array.shape[-1] if array.ndim else 1):
        return None
    return array.reshape(-1)


def _affine(reader, node):
    """One constant and one variable."""
    variables, constants = reader.variables(node), [row(reader.constant(node, i)) for i in (0, 1)]
    if len(variables) != 1 or all(c is None for c in constants):
        return None
    (h,), first = variables, constants[0] is not None
    c = constants[0] if first else constants[1]
    if node.op_type == "Add":
        return shift(c), h
    if node.op_type == "Sub":
        return (Part(Scale(), [(-np.ones_like(c), c)]) if first else shift(-c)), h
    if node.op_type == "Mul":
        return Part(Scale(bias=False), [(c, None)]), h
    if first:
        return None
    centred = reader.maker(h, "Sub")
    mean = None if centred is None else row(reader.constant(centred, 1))
    if mean is not None and reader.inputs(centred)[0] == reader.X:
        return Part(Standardize(), states=[mean, c**2, np.ones(1)]), reader.X
    return Part(Scale(bias=False), [(1 / c, None)]), h


def _negative(reader, node):
    return Part(Scale(bias=False), [(-np.ones(1), None)]), reader.inputs(node)[0]


def _batch_norm(reader, node):
    gamma, beta, mean, variance = (reader.constant(node, i) for i in range(1, 5))
    if any(c is None for c in (gamma, beta, mean, variance)) or attribute(node, "training_mode", 0):
        return None
    epsilon, momentum = number(attribute(node, "epsilon", 1e-5)), 1 - number(attribute(node, "momentum", 0.9))
    if epsilon <= 0 or not 0 < momentum <= 1:  # as no BatchNorm has it
        w = gamma / np.sqrt(variance + epsilon)
        return Part(Scale(), [(w, beta - mean * w)]), reader.inputs(node)[0]
    places, affine = _affine_places(gamma, beta)
    return Part(BatchNorm(round(momentum, 9), epsilon, affine), places, [mean, variance]), reader.inputs(node)[0]


def _layer_norm(reader, node):
    gamma, beta = reader.constant(node, 1), reader.constant(node, 2)
    if gamma is None or gamma.ndim != 1 or attribute(node, "axis", -1) not in (1, -1):
        return None
    places, affine = _affine_places(gamma, np.zeros_like(gamma) if beta is None else beta)
    return Part(LayerNorm(number(attribute(node, "epsilon", 1e-5)), affine), places), reader.inputs(node)[0]


def _affine_places(gamma, beta):
    """Places of a normalisation, and whether it has some: ones and zeros may be none."""
    affine = bool((gamma != 1).any() or (beta != 0).any())
    return [(gamma, beta)] if affine else [], affine


def _grouped(reader, node):
    """A matrix again, of groups that were normalised."""
    inner = reader.nodes.get(reader.inputs(node)[0])
    if inner is None or inner.op_type not in ("LayerNormalization", "InstanceNormalization"):
        return None
    if inner.op_type == "LayerNormalization" and attribute(inner, "axis", -1) not in (-1, 2):
        return None
    apart = reader.maker(reader.inputs(inner)[0], "Reshape")
    shape, after = None if apart is None else reader.constant(apart, 1), reader.constant(node, 1)
    gamma, beta = reader.constant(inner, 1), reader.constant(inner, 2)
    if shape is None or len(shape) != 3 or after is None or len(after) != 2:
        return None
    if gamma is None or (gamma != 1).any() or (beta is not None and beta.any()):
        return None
    layer = GroupNorm(int(shape[1]), number(attribute(inner, "epsilon", 1e-5)), affine=False)
    return Part(layer), reader.inputs(apart)[0]


def _group_norm(reader, node):
    gamma, beta, n_groups = reader.constant(node, 1), reader.constant(node, 2), attribute(node, "num_groups")
    if gamma is None or beta is None or len(gamma) == n_groups:  # as before operator set 21, one for each group
        return None
    return Part(GroupNorm(n_groups, number(attribute(node, "epsilon", 1e-5))), [(gamma, beta)]), reader.inputs(node)[0]


def _softmax(reader, node):
    if attribute(node, "axis", -1) not in (1, -1):
        return None
    (z,) = reader.inputs(node)
    fixed = reader.maker(z, "Where")
    learnt, zero = (None, None) if fixed is None else (reader.constant(fixed, i) for i in (0, 2))
    if learnt is None or zero is None or zero.any() or learnt.ravel()[-1] or not learnt.ravel()[:-1].all():
        return Part(Activation("softmax")), z
    return Part(FixedSoftmax()), reader.variables(fixed)[0]


RULES = {
    "Gemm": _gemm, "MatMul": _matmul, "ReduceSum": _reduce_sum, "Add": _affine, "Sub": _affine, "Mul": _affine,
    "Div": _affine, "Neg": _negative, "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "Reshape": _grouped, "GroupNormalization": _group_norm, "Softmax": _softmax,
}  # fmt: skip
