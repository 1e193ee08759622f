"""The graph of a network's layers."""

from ..checks import check_size
from ..graph import Graph
from .layer import build_in_turn, check_layers


def build(layers, n_inputs):
    """The forward program of a network, with its outputs.

    Layers are named by their place, those within a layer by a path: "0", "1.2", "1.projection"; in branches "3.0.1",
    in heads "3.price.0".

    Parameters
    ----------
    layers : list or tuple of layers
    n_inputs : int

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
    outputs = build_in_turn(layers, graph, 0)
    graph.outputs = outputs if isinstance(outputs, dict) else {None: outputs}
    for number in graph.outputs.values():
        output = graph.values[number]
        if output.dropout:
            raise ValueError(
                f"layers: {output.name} is an output, which must have dropout=0, got {output.dropout} in {layers[-1]!r}"
            )
    if not graph.weights:
        raise ValueError(f"layers: at least one must have weights, which can learn, got {layers!r}")
    return graph
