"""Embeddings of numbers in an ONNX graph, as fastbp/onnx/ops.py writes what they consist of."""

from itertools import chain, pairwise

import numpy as np

from ..interop.parts import Part
from ..layers import ELU, LeakyReLU, Periodic, PiecewiseLinear, build
from .ops import constants_of_bins
from .reading import attribute
from .steps import columns_of, gathered_product, row


def numerical(reader, names, unit, z):
    """The part of embedded numbers that gives these parts of a row, side by side, and what it takes; None if it does
    not. The last part is what `unit` makes of z, or has no unit if that is None; those before are other columns."""
    *others, name = names
    if unit is None:
        unit, z = "identity", name
    total = reader.maker(z, "Add")
    b = None if total is None else row(reader.constant(total, 1))
    product = None if b is None else gathered_product(reader, reader.variables(total)[0])
    if product is None or not isinstance(unit, str | LeakyReLU | ELU) or unit == "exp":
        return None
    with np.errstate(all="ignore"):
        return _binned(reader, others, unit, b, *product) or _waving(reader, others, unit, b, *product)


def _binned(reader, others, unit, b, W, columns, codes):
    """By bins, as a rule for that op writes them."""
    x, constants = codes, []
    for kind in ("Mul", "Sub", "Min", "Max", "Gather"):
        node = reader.maker(x, kind)
        c = None if node is None else reader.constant(node, 1)
        if c is None or c.ndim != 1:
            return None
        constants.append(c)
        x = reader.inputs(node)[0]
    h, taken = _taken(reader, x)
    inverse, low = constants[:2]
    if not taken or not low.size or low.size % len(taken) or low.shape != inverse.shape or len(set(taken)) < len(taken):
        return None
    low, inverse = low.reshape(len(taken), -1), inverse.reshape(len(taken), -1)[:, -1:]
    width = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
    bounds = np.concatenate([low, low[:, -1:] + width], axis=1)
    for written, c in zip(constants_of_bins(bounds, low.dtype), constants[::-1], strict=True):
        if written.shape != c.shape or not np.allclose(written, c, rtol=1e-4):
            return None
    layer = PiecewiseLinear(low.shape[1], max(1, W.shape[1] // len(taken)), unit, taken)
    return _whole(reader, others, layer, h, [(W, b)], [columns], [bounds.ravel(), np.ones(1)])


def _waving(reader, others, unit, b, W, columns, codes):
    """By sines and cosines of angles."""
    both = reader.maker(codes, "Concat")
    waves = [reader.nodes.get(name) for name in reader.inputs(both)] if both is not None else []
    if [node and node.op_type for node in waves] != ["Sin", "Cos"] or attribute(both, "axis") != 1:
        return None
    angles, *more = {reader.inputs(node)[0] for node in waves}
    product = None if more else gathered_product(reader, angles)
    if product is None or not product[1].size or product[1].min() < 0:
        return None
    frequencies, of_angles, h = product
    taken = tuple(dict.fromkeys(of_angles.ravel().tolist()))
    sigma = float(np.sqrt(np.square(frequencies, dtype=np.float64).mean()) / (2 * np.pi))  # as one they were drawn with
    if not 0 < sigma < np.inf:
        return None
    layer = Periodic(of_angles.size // len(taken), sigma, max(1, W.shape[1] // len(taken)), unit, taken)
    return _whole(reader, others, layer, h, [(frequencies, None), (W, b)], [of_angles, columns], [])


def _whole(reader, others, layer, h, places, connections, states):
    """The part of this layer and what it takes, if its products have these connections, and the others are what it
    passes on."""
    n, taken = reader.width(h), layer.columns
    if max(taken) >= n:
        return None
    rest = [range(a + 1, b) for a, b in pairwise([-1, *sorted(taken), n]) if b > a + 1]
    if [columns_of(reader, name, h) for name in others] != rest:
        return None
    built = [w.connections.columns.array for w in build([layer], n).weights]
    if not all(map(np.array_equal, built, connections)):
        return None
    if taken == tuple(range(len(taken))) and len(taken) == n:
        layer = layer.set_params(columns=None)
    return Part(layer, places, states), h


def _taken(reader, name):
    """What these columns were taken from, and which they are: slices side by side, one, or all there is."""
    both = reader.maker(name, "Concat")
    names = [name] if both is None or attribute(both, "axis") != 1 else reader.inputs(both)
    sources = {reader.inputs(node)[0] if (node := reader.maker(n, "Slice")) is not None else None for n in names}
    h = sources.pop()
    if sources or h is None:
        return name, range(reader.width(name))
    ranges = [columns_of(reader, name, h) for name in names]
    return h, () if None in ranges else tuple(chain.from_iterable(ranges))
