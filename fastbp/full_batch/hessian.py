"""The Hessian of a data cost and its products with vectors, exact, in plain NumPy.

``R{.}`` is the derivative along a direction in the space of parameters. The forward and backward passes of a program
are run on pairs, matrices that know their derivatives: differentiating each line of, say,

    ``Z = H W + b``, ``A = f(Z)``; ``D = E * f'(Z)``, ``dC/dH = D W^T``, ``dC/dW = H^T D``

along ``(V, c)`` gives

    ``R{Z} = R{H} W + H V + c``, ``R{A} = f'(Z) * R{Z}``,
    ``R{D} = R{E} * f'(Z) + E * f''(Z) * R{Z}``, ``R{dC/dH} = R{D} W^T + D V^T``, ``R{dC/dW} = R{H}^T D + H^T R{D}``

and what becomes of the gradient is the product of the Hessian and the direction, at about twice the gradient's cost.
fastbp/graph/reference.py has the lines, one twin for each op, and fastbp/graph/formulas.py units and losses.

References
----------
B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. Notes 001 (Hessian technique).
"""

from itertools import chain

import numpy as np
from scipy.sparse import issparse

from ..graph.pairs import Pair, differential
from ..graph.reference import Statistics, converted, flattened, passes, split

# Largest network whose Hessian, a dense matrix, is formed: 200 MB in float64.
MAX_PARAMETERS = 5000

# Its products are made for so many rows at once, and for as many directions as make arrays of so many elements.
ROWS, ELEMENTS = 256, 2**15


def _differentiable(graph, ops, parameters, X, targets, costs, s, statistics):
    """Parameters as pairs, and the gradients that know their derivatives, as lists of W and b one after the other."""
    weights = [[None if a is None else Pair(a) for a in part] for part in split(graph, parameters)]
    gradients = passes(graph, ops, weights, X, targets, costs, s, statistics)[-1]
    return list(chain(*weights)), list(chain(*gradients))


def hessian_products(
    graph, ops, parameters, X, targets, costs, sample_weight=None, layer_state=None, batch_statistics=False
):  # fmt: skip
    """The Hessian as a linear map; the passes that all products share are made once.

    Parameters
    ----------
    graph, ops, parameters, X, targets, costs, sample_weight, layer_state, batch_statistics
        As of `fastbp.graph.reference.run`. The parameters must not change while the map is in use.

    Returns
    -------
    product : callable
        From a flat array to a flat array, in the dtype of the parameters.
    """
    X, targets, s = converted(parameters.dtype, X, targets, sample_weight)
    statistics = Statistics.of(graph, parameters.dtype, layer_state, s if batch_statistics else None)
    variables, gradients = _differentiable(graph, ops, parameters, X, targets, costs, s, statistics)
    along = differential(gradients, variables)
    return lambda v: flattened(graph, along(list(chain(*split(graph, v)))), dtype=parameters.dtype)


def hessian(
    graph, ops, parameters, X, targets, costs, sample_weight=None, layer_state=None, batch_statistics=False
):  # fmt: skip
    """The Hessian itself, from its products with unit vectors, many at once.

    Those that belong to one of the graph's weights change nothing that comes before their use, and of the gradients
    only those from there on are computed: the others follow from symmetry.

    Parameters
    ----------
    graph, ops, parameters, X, targets, costs, sample_weight, layer_state, batch_statistics
        As in `hessian_products`.

    Returns
    -------
    H : ndarray of shape (n_parameters, n_parameters)
    """
    X, targets, s = converted(parameters.dtype, X, targets, sample_weight)
    H = np.zeros((parameters.size, parameters.size))  # sums over parts in double
    statistics = Statistics.of(graph, parameters.dtype, layer_state, s if batch_statistics else None)
    n_rows = len(s) if batch_statistics else ROWS  # each row has to do with all
    widest = max(value.n for value in graph.values[1:])
    for part in (slice(i, i + n_rows) for i in range(0, len(s), n_rows)):
        x = X[part].toarray() if issparse(X) else X[part]
        rows = x, [y[part] for y in targets], costs, s[part], statistics
        variables, gradients = _differentiable(graph, ops, parameters, *rows)
        n = max(1, ELEMENTS // (len(x) * widest))
        for i, w in enumerate(graph.weights):
            along = differential(gradients[2 * i :], variables)
            for first in range(w.offset, w.offset + w.size, n):
                unit = np.eye(min(n, w.offset + w.size - first), parameters.size, first, parameters.dtype)
                found = along([a if a is not None and a.any() else None for a in chain(*split(graph, unit))])
                H[first : first + len(unit)] += flattened(graph, [None] * (2 * i) + found, (len(unit),))
    H = H.astype(parameters.dtype, copy=False)
    return np.triu(H) + np.triu(H, 1).T
