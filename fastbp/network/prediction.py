"""Predictions: of a network's outputs, and of any value within it."""

from dataclasses import replace

from .. import threads
from .._core import Engine
from ..graph import program_of
from ..losses import kernel_of


def predicted(engine, parameters, layer_state, X, order, out, n, n_threads):
    """The engine's outputs for n rows of X, as `Engine.predict` has them."""
    if engine.predicts_alone(n):
        threads.check_n_threads(n_threads)
        return engine.predict(parameters, layer_state, X, order, out, 1)
    with threads.team(n_threads, False) as n_threads:
        return engine.predict(parameters, layer_state, X, order, out, n_threads)


def engine_of(graph, wanted, dtype, costs=None):
    """An engine that predicts what is wanted of a graph: ``z`` or ``a = f(z)`` of its values.

    Parameters
    ----------
    graph : Graph
    wanted : sequence of tuple (value, part)
        Numbers of values but for X, each with "z" or "a", in the order of the results. Of radial basis functions there
        is no "z".
    dtype : dtype
    costs : list of tuple, default=None
        As of `program_of`: what brings along units of its own, which are applied to what is wanted.

    Returns
    -------
    engine : Engine
    """
    costs = costs or [(*kernel_of(None), 1.0)] * len(wanted)
    return Engine(program_of(_exposing(graph, wanted), costs), dtype.name)


def _exposing(graph, wanted):
    """The graph up to the last value that is wanted, with z and a apart, and a copy for each output: the core keeps
    outputs in places that no op reads."""
    new = graph.without_values()
    last = max(value for value, _ in wanted)
    z, a = {}, {0: 0}  # numbers of these in the new graph

    def moved(value, *unit):
        """The value with this unit, somewhere else."""
        to = new.value(new.values[value].name, new.values[value].n)
        new.move(value, to)
        return new.finish(to, *unit)

    for op in graph.forward:
        value = graph.values[op.output]
        if op.output > last:
            continue
        if op.kind != "unit":
            if op.output not in z:
                z[op.output] = new.value(value.name, value.n)
            new.forward.append(replace(op, input=a[op.input], output=z[op.output]))
        elif value.unit == "rbf":
            a[op.output] = new.finish(z[op.output], "rbf", weights=op.weights)
        else:
            a[op.output] = new.finish(z[op.output])
            if value.unit != "identity":
                a[op.output] = moved(z[op.output], value.unit, value.parameter)
    for i, (value, part) in enumerate(wanted):
        new.outputs[i] = moved((z if part == "z" else a)[value])
    return new
