"""The gradients of a program: one rule for each op, applied in reverse order.

Each value V has a gradient ``dC/dV``. A rule reads that of its op's output and writes that of its input, or adds to it
if a later consumer of the input has written it: the order of the program is the order of the sums.

    ``dense``        ``dC/dH = dC/dZ W^T``
    ``transposed``   ``dC/dH = dC/dZ W``
    ``rbf``          ``dC/dH = S W^T - H * (sums of the rows of S)``, ``S = 2 beta * dC/dZ``
    ``move, add``    ``dC/dH[:, source:][:, :n] = dC/dZ[:, column:][:, :n]``, and 0 elsewhere
    ``unit``         ``dC/dZ = dC/dA * mask * f'(Z)``, in place

X that ``embed`` reads has none. The gradients of weights are taken at the end from all their uses in the order of the
program: ``dC/dW = H^T dC/dZ``, of a transposed use ``dC/dZ^T H``; to row k of a table ``embed`` adds the rows of
``dC/dZ[:, column:][:, :n_out]`` that have k in x.
"""

from dataclasses import replace

from .graph import Op

# the ops of gradients, by those of the forward program
RULES = {
    "dense": "dense_back", "transposed": "transposed_back", "rbf": "rbf_back", "move": "move_back", "add": "move_back",
    "unit": "unit_back",
}  # fmt: skip


def backward_of(graph, inputs=False):
    """The backward program, a list of ops; the gradients of all outputs are there when it begins.

    Parameters
    ----------
    graph : Graph
    inputs : bool, default=False
        Whether the gradient of X is wanted too.
    """
    ops, written = [], set(graph.outputs.values())
    for op in reversed(graph.forward):
        if op.kind == "unit":
            ops.append(Op("unit_back", op.output, op.output, op.weights))
        elif op.kind in RULES and (op.input or inputs):
            ops.append(
                replace(op, kind=RULES[op.kind], input=op.output, output=op.input, accumulate=op.input in written)
            )
            written.add(op.input)
    return ops
