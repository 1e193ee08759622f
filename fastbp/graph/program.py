"""What the core runs: a graph with its gradients, in plain lists."""

from dataclasses import dataclass

import numpy as np

from .gradient import backward_of
from .sections import sections_of


@dataclass(frozen=True)
class Program:
    """The passes of a network as `Engine` of the core takes them: ops with numbers of places in the lists.

    Attributes
    ----------
    values : list of tuple (n, unit, parameter, dropout, stream, buffer, learns, section)
        Values with the same buffer are never needed at once in a pass forward. Gradients of those that learn are needed
        for some weights' gradients. Those of sections are made again on the way back.
    n_sections : int
    weights : list of tuple (role, n_in, n_out, has_bias, max_norm, offset, connections)
        Connections are what `connections_of` returns, or None.
    n_state : int
        Length of the flat vector of layers' state.
    forward, backward : list of tuple (kind, input, output, weights, bias, column, source, n, accumulate, state,
    epsilon, momentum, n_groups, of, n_iterations)
        The gradient of X is among those backward. `state` is a place in that vector, -1 for none.
    outputs : list of int
    costs : list of tuple (loss, parameter, levels, fixed_logit, weight)
        Of each output, as `kernel_of` in losses.py gives them, and the factor of its loss.
    """

    values: list
    n_sections: int
    weights: list
    n_state: int
    forward: list
    backward: list
    outputs: list
    costs: list


def program_of(graph, costs):
    """The program of a graph whose outputs have these costs.

    Parameters
    ----------
    graph : Graph
    costs : list of tuple (loss, parameter, levels, fixed_logit, weight)

    Returns
    -------
    program : Program
    """
    buffers, learning, sections = _buffers(graph), _learning(graph), sections_of(graph)
    return Program(
        [
            (v.n, v.unit, v.parameter, v.dropout, v.stream, buffers[i], i in learning, sections[i])
            for i, v in enumerate(graph.values)
        ],
        max(sections) + 1,
        [
            (
                w.role, w.n_in, w.n_out, w.has_bias, w.max_norm, w.offset,
                w.connections and connections_of(w.connections.columns.array),
            )
            for w in graph.weights
        ],  # fmt: skip
        graph.n_state,
        [_row(graph, op) for op in graph.forward],
        [_row(graph, op) for op in backward_of(graph, inputs=True)],
        list(graph.outputs.values()),
        costs,
    )


def connections_of(columns):
    """What the core reads of the columns (fan_in, n_out) that are a sparse layer's inputs.

    Returns
    -------
    inputs : int32 ndarray of shape (n_out, fan_in)
    readers : int32 ndarray of shape (fan_in * n_out, 3)
        All of them as rows (input, unit, number), in the order of inputs and then of units.
    """
    inputs = np.ascontiguousarray(columns.T, np.int32)
    order = np.argsort(inputs, axis=None, kind="stable")
    readers = np.column_stack([inputs.ravel()[order], *np.divmod(order, inputs.shape[1])])
    return inputs, np.ascontiguousarray(readers, np.int32)


def _row(graph, op):
    state = graph.states[op.state].offset if op.state >= 0 else -1
    operands = op.kind, op.input, op.output, op.weights, op.bias, op.column, op.source, op.n, op.accumulate
    return *operands, state, op.epsilon, op.momentum, op.n_groups, op.of, op.n_iterations


def _learning(graph):
    """Values that weights make, or that are made from such."""
    learning = set()
    for op in graph.forward:
        if op.weights >= 0 or op.input in learning:
            learning.add(op.output)
    return learning


def _buffers(graph):
    """A buffer for each value, as few as there may be: free again after the last op that reads the value."""
    buffers, free = [0] * len(graph.values), []
    last_use = {}
    for i, op in enumerate(graph.forward):
        last_use[op.input] = last_use[op.output] = i
    n_buffers, there = 1, {0}
    for i, op in enumerate(graph.forward):
        if op.output not in there:
            there.add(op.output)
            if not free:
                free.append(n_buffers)
                n_buffers += 1
            buffers[op.output] = free.pop()
        for value in {op.input, op.output}:
            if last_use[value] == i and value not in graph.outputs.values():
                free.append(buffers[value])
    return buffers
