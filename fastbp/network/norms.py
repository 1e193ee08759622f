"""What layers whose weights are divided by norms start from: that which fits their weights, or data."""

import numpy as np
from scipy.linalg import svd
from scipy.sparse.linalg import svds

MOST_ROWS = 1024  # that a start from data looks at


def norm_ops(graph):
    """Ops that divide products by norms of weights."""
    return [op for op in graph.forward if op.kind == "weight_norm"]


def fit_norms(graph, sets, states, of=None):
    """Let ``g = |V_j|``, b = 0, or u and v be singular vectors of V.

    Parameters
    ----------
    graph : Graph
    sets : list of pairs
        W and b of each of the graph's weights.
    states : dict of ndarray
        Layers' state by name.
    of : int, default=None
        Number of V; None: of all weights that have norms.
    """
    views = list(states.values())
    for op in norm_ops(graph):
        V = sets[op.of][0]
        if of not in (None, op.of):
            continue
        if op.state < 0:
            scales, b = sets[op.weights]
            scales[:], b[:] = np.sqrt(np.square(V, dtype=np.float64).sum(axis=0)), 0
        else:
            views[op.state][:], views[op.state + 1][:] = _largest_singular_vectors(V)


def _largest_singular_vectors(V):
    """u and v; of zeros any."""
    if not V.any():
        return len(V) ** -0.5, V.shape[1] ** -0.5
    V = V.astype(np.float64)
    if min(V.shape) <= 64:
        U, _, Vt = svd(V, full_matrices=False)
    else:
        U, _, Vt = svds(V, k=1, v0=np.ones(min(V.shape)))
    return U[:, 0], Vt[0]


def n_samples_of(graph, states, op):
    """Of how many rows a start from data has been, an array of 1; None where there is none from data."""
    return states.get(f"{graph.values[op.output].name}.n_samples") if op.state < 0 else None


def scale_to(sets, op, z, weights):
    """Change g and b so that the columns of Z, with these weights of rows, have mean 0 and variance 1.

    Columns that do not vary are left as they are.
    """
    scales, b = sets[op.weights]
    z, share = z.astype(np.float64), weights[:, None] / weights.sum()
    mean = (share * z).sum(axis=0)
    deviation = np.sqrt((share * (z - mean) ** 2).sum(axis=0))
    varies = (deviation > np.finfo(b.dtype).eps * np.abs(mean)) & np.isfinite(deviation)
    deviation[~varies], mean[~varies] = 1, 0
    scales /= deviation
    b[:] = (b - mean) / deviation
