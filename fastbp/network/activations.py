"""What all layers of a network make of data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.spatial.distance import cdist

from ..hints import Floats
from ..losses import OUTPUT_UNITS, kernel_of
from .prediction import engine_of, predicted


class Activations(NamedTuple):
    """What a layer makes of data.

    Attributes
    ----------
    z : ndarray of shape (n_samples, n_units)
        Weighted inputs.
    a : ndarray of shape (n_samples, n_units)
        Activations ``f(z)``; where f is the identity, the same array.

    See Also
    --------
    Network.activations : Makes them.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(3, "relu"), fastbp.Dense(1)], n_inputs=2, random_state=0)
    >>> z, a = net.activations([[0.5, 0.1]])["0"]
    >>> bool((a == z.clip(0)).all())
    True
    """

    z: Floats
    a: Floats


class LayerActivations:
    """Predictions of all values of a model's graph; the program for them is made once.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model):
        self.model = model
        graph, none = model.graph, (*kernel_of(None), 1.0)
        own = {number: output.cost for number, output in zip(graph.outputs.values(), model.outputs, strict=True)}
        self.wanted, costs = [], []  # parts of values, and of outputs the losses that bring along units of their own
        for number, value in enumerate(graph.values[1:], 1):
            if value.unit != "rbf":  # which has no product in it
                self.wanted.append((number, "z"))
                costs.append(none)
            if value.unit != "identity" or own.get(number, none)[0] in OUTPUT_UNITS:
                self.wanted.append((number, "a"))
                costs.append(own.get(number, none))
        self.engine = engine_of(graph, self.wanted, model.dtype, costs)

    def of(self, X, n_threads=None):
        """The activations of X, a dict of `Activations` by the names of layers."""
        model, graph = self.model, self.model.graph
        X = model.check_X(X)
        if issparse(X) and model.learns_inputs:  # what becomes of it is wanted too
            X = X.toarray()
        n = X.shape[0]
        found = predicted(self.engine, model.parameters, model.layer_state, X, None, None, n, n_threads)
        parts = dict(zip(self.wanted, found if len(self.wanted) > 1 else [found], strict=True))
        for op in graph.forward:
            if op.kind == "rbf":
                H = parts.get((op.input, "a"), parts.get((op.input, "z"), X))
                parts[op.output, "z"] = _of_radial(H, *model.sets(model.parameters)[op.weights])
        return {
            value.name: Activations(parts[number, "z"], parts.get((number, "a"), parts[number, "z"]))
            for number, value in enumerate(graph.values[1:], 1)
        }


def _of_radial(H, C, b):
    """``z_j = -beta_j |h - c_j|^2``, the logarithm of the activation, which may be too small for it."""
    return (-np.exp(b, dtype=np.float64) * cdist(H, C.T, "sqeuclidean")).astype(C.dtype)
