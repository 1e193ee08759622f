"""From an ONNX model to a network: its graph is gone through from the outputs to the input, a layer at a time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..interop.parts import Exponential, OutputUnit, Part, joined, network_of, with_unit, without_output_unit
from ..layers import (
    Activation,
    BatchNorm,
    Dense,
    GroupNorm,
    LayerNorm,
    LowRank,
    Parallel,
    PReLU,
    Residual,
    Scale,
    Sparse,
)
from .export import unique_names
from .numerical import numerical
from .reading import Reader, attribute, load_model
from .recognizing import unit_of
from .steps import RULES, embedded, is_shift, radial

REFUSED = "is nothing that fastbp has a layer for"


def from_onnx(network, model, loss="auto"):
    """What `Network.from_onnx` returns; `network` is that class."""
    reader = Reader(load_model(model))
    tree = _Tree(reader)
    names, ends = list(reader.outputs), list(reader.outputs.values())
    if len(ends) == 1:
        parts, loss = without_output_unit(tree.chain(reader.X, ends[0]), loss)
    else:
        trunk = reader.common(ends)
        unique = unique_names([])  # and without what names of heads must not have
        heads = {unique(name.replace(".", "_").replace("__", "_")): end for name, end in zip(names, ends, strict=True)}
        if loss == "auto" or loss is None:
            loss = dict.fromkeys(heads, loss)
        if not isinstance(loss, Mapping) or loss.keys() != heads.keys():
            raise ValueError(f"loss must be a dict by the names of the heads, {[*heads]}, got {loss!r}")
        parts, branches, losses = tree.chain(reader.X, trunk), {}, {}
        for name, end in heads.items():
            branch, losses[name] = without_output_unit(tree.chain(trunk, end), loss[name], f"loss[{name!r}]")
            branches[name] = branch or [Part(Activation("identity"))]
        parts.append(_together(branches.values(), Parallel({n: [p.layer for p in its] for n, its in branches.items()})))
        loss = None if None in losses.values() else losses
    return network_of(network, parts, reader.n_inputs, loss, reader.dtype)


class _Tree:
    """The layers of a graph, each of which is come to once.

    Parameters
    ----------
    reader : Reader
    """

    def __init__(self, reader):
        self.reader, self._seen = reader, set()

    def chain(self, begin, end):
        """The parts from one tensor to another, through which all paths to that lead."""
        parts = []
        while end != begin:
            part, before = self._last(end, begin)
            if part is not None:
                parts.append(part)
            end = before
        return _merged(parts[::-1])

    def _last(self, name, begin):
        """The part that makes a tensor, None for none, and what it takes, which does not come before `begin`."""
        reader = self.reader
        node = reader.nodes.get(name)
        if name in self._seen:
            raise reader.refuse(name, "is taken by several branches that don't begin with it, as no layer has it")
        self._seen.add(name)
        if node is None or node.domain or name not in reader.dominator:
            raise reader.refuse(name, REFUSED)
        unit, z = unit_of(reader, name, begin)
        found = numerical(reader, [name], unit, z)
        if found:
            return found
        if isinstance(unit, np.ndarray):
            return Part(PReLU(), [(unit, None)]), z
        if unit == "identity":
            return None, z
        if unit is not None:
            found = radial(reader, z) if unit == "exp" else None
            return found or (self._at_output(Exponential() if unit == "exp" else Activation(unit), name), z)
        rule = RULES.get(node.op_type)
        found = (rule and rule(reader, node)) or self._joined(node, name)
        if not found:
            raise reader.refuse(name, REFUSED)
        self._at_output(found[0].layer, name)
        return found

    def _at_output(self, layer, name):
        """The part of a layer; ValueError if it is the unit of an output and this is none."""
        if isinstance(layer, OutputUnit) and name not in self.reader.outputs.values():
            raise self.reader.refuse(name, "is a unit that fastbp has at an output alone")
        return Part(layer)

    def _joined(self, node, name):
        """The part whose branches a node brings together, by a sum or side by side, and what they take."""
        reader, add = self.reader, node.op_type in ("Add", "Sum")
        if not add and not (node.op_type == "Concat" and attribute(node, "axis") in (1, -1)):
            return embedded(reader, [name])
        ends = self._terms(node) if add else reader.inputs(node)
        if not all(map(reader.depends, ends)):
            return None
        found = None if add else embedded(reader, ends) or numerical(reader, ends, *unit_of(reader, ends[-1], reader.X))
        if found:
            return found
        begin = reader.common(ends)
        branches = [self.chain(begin, end) for end in ends]
        if add and len(branches) == 2:
            if any(branches) and not all(branches):
                branches.sort(key=bool)
                return _together([branches[1]], Residual([part.layer for part in branches[1]])), begin
            branches.sort(key=_is_projection, reverse=True)
            if _is_projection(branches[0]):
                layer = Residual([part.layer for part in branches[1]], projection="linear")
                return _together(branches[::-1], layer), begin
        layer = Parallel([[part.layer for part in its] for its in branches], "add" if add else "concatenate")
        return _together(branches, layer), begin

    def _terms(self, node):
        """The tensors that a sum is of: of ``(a + b) + c`` these three, if all begin at the same one."""
        reader, terms = self.reader, self.reader.inputs(node)
        inner = reader.maker(terms[0], "Add")
        depend = [*terms, *(reader.inputs(inner) if inner is not None else [])]
        if inner is None or reader.readers[terms[0]] > 1 or not all(map(reader.depends, depend)):
            return terms
        same = reader.common(reader.inputs(inner)) == reader.common(terms)
        return [*self._terms(inner), *terms[1:]] if same and unit_of(reader, terms[0], reader.X)[0] is None else terms


def _together(branches, layer):
    """A part of a layer of several branches."""
    parts = [part for branch in branches for part in branch]
    return Part(layer, [p for part in parts for p in part.places], [s for part in parts for s in part.states])


def _is_projection(branch):
    """Whether it is a product that adds nothing and changes the number of columns."""
    if len(branch) != 1 or type(branch[0].layer) is not Dense or branch[0].layer.activation != "identity":
        return False
    W, b = branch[0].places[0]
    return b is None and W.shape[0] != W.shape[1]


# ---- parts that are one layer ---------------------------------------------------------------------------------------


def _merged(parts):
    """The parts with those joined that are one layer of ours."""
    for join in (_with_shift, _scaled_again, _with_factors, _low_rank, _with_scale, with_unit):
        parts = joined(parts, join)
    return parts


def _with_shift(part, other):
    """A product or a scale, and what is added."""
    if type(part.layer) not in (Dense, Sparse, Scale) or not is_shift(other):
        return None
    (W, b), shift = part.places[0], other.places[0][1]
    layer = Scale() if type(part.layer) is Scale else part.layer
    return Part(layer, [(W, shift if b is None else b + shift)])


def _scaled_again(part, other):
    """Two scales."""
    if type(part.layer) is not Scale or type(other.layer) is not Scale:
        return None
    (w, b), (factors, shift) = part.places[0], other.places[0]
    b = shift if b is None else b * factors + (0 if shift is None else shift)
    return Part(Scale(bias=b is not None), [(w * factors, b)])


def _with_factors(part, other):
    """A product that adds nothing, and what scales and shifts it: normalised weights, as they are."""
    if type(part.layer) not in (Dense, Sparse) or part.places[0][1] is not None or other.layer != Scale():
        return None
    (W, _), (factors, b) = part.places[0], other.places[0]
    return Part(part.layer, [(W * factors, b)])


def _low_rank(part, other):
    """Two products, the first of which adds nothing."""
    if type(part.layer) is not Dense or type(other.layer) is not Dense or part.places[0][1] is not None:
        return None
    return Part(LowRank(other.layer.n_units, part.layer.n_units), [*part.places, *other.places])


def _with_scale(part, other):
    """A normalisation, and what scales and shifts it."""
    if not isinstance(part.layer, BatchNorm | GroupNorm | LayerNorm) or part.layer.affine or other.layer != Scale():
        return None
    return Part(replace(part.layer, affine=True), other.places, part.states)
