"""The gradients of a program: one rule for each op, applied in reverse order.

Each value V has a gradient ``dC/dV``. A rule reads that of its op's output and writes that of its input, or adds to it
if a later consumer of the input has written it: the order of the program is the order of the sums.

    ``dense``        ``dC/dH = dC/dZ W^T``
    ``transposed``   ``dC/dH = dC/dZ W``
    ``rbf``          ``dC/dH = S W^T - H * (sums of the rows of S)``, ``S = 2 beta * dC/dZ``
    ``sparse``       ``dC/dh_i = sum of W_kj dC/dz_j over all k, j with columns_kj = i``
    ``bins``         ``dC/dh_i = dC/dz_(i, t) / (b_(t+1) - b_t)``, t being the bin that it lies in
    ``scale``        ``dC/dH = dC/dZ * w``
    ``prelu``        ``dC/dH = dC/dZ`` where ``H > 0``, else ``dC/dZ * w``
    ``batch_norm``   ``dC/dH = (D - s (sum of D + Z * sum of D * Z)) / deviation``, ``D = dC/dZ``, sums of the rows and
                     s their shares of the batch; with statistics of the layer's own, ``D / deviation``
    ``group_norm``   ``dC/dH = (E - mean of E - X * mean of E * X) / deviation``, ``E = dC/dZ * w``,
                     ``X = (H - mean) / deviation``, means of a row's groups
    ``weight_norm``  ``dC/dH = dC/dZ * s``
    ``move, add``    ``dC/dH[:, source:][:, :n] = dC/dZ[:, column:][:, :n]``, and 0 elsewhere
    ``unit``         ``dC/dZ = dC/dA * mask * f'(Z)``, in place

X that ``embed`` reads has none. The gradients of weights are taken at the end from all their uses in the order of the
program: ``dC/dW = H^T dC/dZ``, of a transposed use ``dC/dZ^T H``, of a sparse layer the elements
``(columns_kj, j)`` of ``H^T dC/dZ``, of a scale the sums of the columns of ``H * dC/dZ``, where it scales what
``group_norm`` makes those of ``X * dC/dZ``, of PReLU's slopes those of ``min(0, H) * dC/dZ``; to row k of a table
``embed`` adds the rows of
``dC/dZ[:, column:][:, :n_out]`` that have k in x. ``weight_norm``, with the sums t of the columns of ``H * dC/dZ``, has
the gradient ``t / |columns of V|`` of w, and adds ``-V diag(t s / |columns of V|^2)`` to that of V; with u and v, which
are constants, ``-s^2 (sum of t) u v^T``.
"""

from dataclasses import replace

from .graph import Op

# the ops of gradients, by those of the forward program
RULES = {
    "dense": "dense_back", "transposed": "transposed_back", "rbf": "rbf_back", "sparse": "sparse_back",
    "bins": "bins_back", "scale": "scale_back", "prelu": "prelu_back", "batch_norm": "batch_norm_back",
    "group_norm": "group_norm_back", "weight_norm": "weight_norm_back", "move": "move_back", "add": "move_back",
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
            back = replace(op, kind=RULES[op.kind], input=op.output, output=op.input, accumulate=op.input in written)
            ops.append(back)
            written.add(op.input)
    return ops
