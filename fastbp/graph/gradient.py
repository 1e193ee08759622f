"""The gradients of a program: one rule for each op, applied in reverse order.

Each value V has a gradient ``dC/dV``. A rule reads that of its op's output and writes that of its input, or adds to it
if a later consumer of the input has written it: the order of the program is the order of the sums.

    ``dense``        ``dC/dH = dC/dZ W^T``
    ``transposed``   ``dC/dH = dC/dZ W``
    ``rbf``          ``dC/dH = S W^T - H * (sums of the rows of S)``, ``S = 2 beta * dC/dZ``
    ``sparse``       ``dC/dh_i = sum of W_kj dC/dz_j over all k, j with columns_kj = i``
    ``scale``        ``dC/dH = dC/dZ * w``
    ``move, add``    ``dC/dH = dC/dZ[:, column:][:, :n]``
    ``unit``         ``dC/dZ = dC/dA * mask * f'(Z)``, in place

The gradients of weights are taken at the end from all their uses in the order of the program: ``dC/dW = H^T dC/dZ``,
of a transposed use ``dC/dZ^T H``, of a sparse layer the elements ``(columns_kj, j)`` of it, of a scale the sums of the
columns of ``H * dC/dZ``.
"""

from dataclasses import replace

from .graph import Op

# the ops of gradients, by those of the forward program
RULES = {
    "dense": "dense_back", "transposed": "transposed_back", "rbf": "rbf_back", "sparse": "sparse_back",
    "scale": "scale_back", "move": "move_back", "add": "move_back", "unit": "unit_back",
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
        elif op.input or inputs:
            back = replace(op, kind=RULES[op.kind], input=op.output, output=op.input, accumulate=op.input in written)
            ops.append(back)
            written.add(op.input)
    return ops
