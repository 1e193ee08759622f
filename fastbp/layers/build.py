"""The graph of a network's layers."""

import numpy as np

from ..checks import check_size
from ..graph import Graph
from .layer import build_in_turn, check_layers


def build(layers, n_inputs, checkpoint_every=None, connection_seed=None):
    """The forward program of a network, with its outputs.

    Layers are named by their place, those within a layer by a path: "0", "1.2", "1.projection"; in branches "3.0.1",
    in heads "3.price.0".

    Parameters
    ----------
    layers : list or tuple of layers
    n_inputs : int
    checkpoint_every : int, default=None
        Keep the values of one layer in that many, and make the others again on the way back; None: keep all.
    connection_seed : int or None, default=None
        From which connections are drawn; None: those that layers don't bring remain open.

    Returns
    -------
    graph : Graph

    Raises
    ------
    ValueError
        If the layers don't make a network.
    """
    layers = check_layers("layers", layers, heads=True)
    graph = Graph(check_size("n_inputs", n_inputs))
    graph.random_state = None if connection_seed is None else np.random.RandomState(connection_seed)
    if checkpoint_every is None:
        outputs = build_in_turn(layers, graph, 0)
    else:
        outputs = _build_in_sections(layers, graph, check_size("checkpoint_every", checkpoint_every))
    graph.outputs = outputs if isinstance(outputs, dict) else {None: outputs}
    for number in graph.outputs.values():
        output = graph.values[number]
        if output.dropout:
            raise ValueError(
                f"layers[{output.name}] must have dropout=0 as an output layer, got {output.dropout} in {layers[-1]!r}"
            )
    if not graph.weights:
        raise ValueError(f"layers must hold at least one with weights, which can learn, got {layers!r}")
    return graph


def _build_in_sections(layers, graph, size):
    """The same by sections of so many layers; several heads are no part of one."""
    h, n = 0, len(layers) - bool(layers[-1].heads)
    for first in range(0, n, size):
        inner = layers[first : min(first + size, n)]
        h = graph.recomputed(lambda h=h, inner=inner, first=first: build_in_turn(inner, graph, h, first=first))
    return build_in_turn(layers[n:], graph, h, first=n)
