"""A graph with fewer values: units, and scales of what is normalised, are applied where a value is made."""

from collections import Counter
from dataclasses import replace


def fused(graph):
    """The same with each ``move, unit`` merged into the value that is moved, where that gives the same numbers.

    A ``scale`` of rows that were normalised is merged into their ``group_norm``.

    ``f(move(g(Z)))`` is ``f(Z)`` for an identity ``g`` without dropout, and ``g(Z)`` for an identity ``f``; the dropout
    of ``f`` comes after it in both. Nothing else may read the value, nor may it be X or an output. Thus
    ``Dense(64), Activation("relu"), Dropout(0.5)`` becomes what ``Dense(64, "relu", dropout=0.5)`` is. X that is
    normalised is not scaled at once: a scale is learnt in the pass back of the op, and X has none.

    Values are numbered anew, and streams of random words: 1, 2, ... in the order of units. Weights stay as they are.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    graph : Graph
        Another one, with the same weights. A merged value has the name of the first of those that it was; what is
        scaled, that of the layer.
    """
    steps = [op for op in graph.forward if op.kind != "unit"]
    reads = Counter(op.input for op in steps) + Counter(graph.outputs.values())
    writes = Counter(op.output for op in steps)
    new = graph.without_values()
    number, merged = {0: 0}, set()  # of values there in the new graph, and those that have no op there
    for op in graph.forward:
        value = graph.values[op.output]
        if op.kind == "unit":
            if op.output not in merged:
                new.finish(number[op.output], value.unit, value.parameter, value.dropout, op.weights)
            continue
        h = number[op.input]
        if op.kind == "move" and op.input and reads[op.input] == 1 and writes[op.output] == 1:
            joint = _joint_tail(new.values[h], value) if op.n == value.n else None
            if joint:
                new.values[h] = joint
                number[op.output] = h
                merged.add(op.output)
                continue
        if op.kind == "scale" and reads[op.input] == 1 and _takes_scale(new, h):
            new.values[h] = replace(_joint_tail(new.values[h], value), name=value.name)
            new.forward[-2] = replace(new.forward[-2], weights=op.weights, bias=op.bias)
            number[op.output] = h
            merged.add(op.output)
            continue
        if op.output not in number:
            number[op.output] = new.value(value.name, value.n)
            new.values[-1] = replace(new.values[-1], section=value.section)
        new.forward.append(replace(op, input=h, output=number[op.output]))
    new.outputs = {name: number[value] for name, value in graph.outputs.items()}
    return new


def _takes_scale(graph, z):
    """Whether a value, to which the last ops write, is what a ``group_norm`` makes of others than X, and no more."""
    norm, value = graph.forward[-2] if len(graph.forward) > 1 else None, graph.values[z]
    is_norm = norm is not None and norm.kind == "group_norm" and norm.output == z
    return is_norm and norm.input != 0 and norm.weights < 0 and value.unit == "identity" and not value.dropout


def _joint_tail(first, second):
    """The first value with the tail of the second after its own; None where one tail can't be both."""
    if first.dropout or first.n != second.n:
        return None
    first = replace(first, section=first.section if first.section == second.section else -1)
    if first.unit == "identity":
        return replace(first, unit=second.unit, parameter=second.parameter, dropout=second.dropout)
    if second.unit == "identity":
        return replace(first, dropout=second.dropout)
    return None
