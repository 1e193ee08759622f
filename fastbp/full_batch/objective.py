"""What the rules minimize: a network's cost with its penalties, its gradient and its Hessian."""

from functools import cached_property

import numpy as np
from scipy.sparse import issparse

from .. import threads
from ..graph import backward_of
from .hessian import hessian, hessian_products


class Objective:
    """The cost of a network over all rows, as a function of its parameters, which the rules change in place.

    Parameters
    ----------
    model : Model
    rows : Rows
    n_threads : int or None
    batch_statistics : bool, default=False
        Whether batch normalisation takes those of the rows, or its own.

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        The model's own.
    l1, l2 : ndarray of shape (n_parameters,)
        Strength of the penalties on each parameter.
    """

    def __init__(self, model, rows, n_threads=None, batch_statistics=False):
        self.model, self.rows, self.data, self.n_threads = model, rows, rows.data(), n_threads
        self.batch_statistics = batch_statistics and model.normalizes_batches
        self.parameters = model.parameters
        self.l1, self.l2 = model.flat_penalties()

    def value_and_gradient(self, l1=True):
        """Penalized cost and its flat gradient; without `l1`, those of the differentiable part. Masked parameters,
        which rounding may have made something else, become 0."""
        self.model.apply_masks(self.parameters)
        gradient = np.empty_like(self.parameters)
        value = self.model.evaluate(self.data, None, gradient, self.n_threads, self.batch_statistics)
        return self.model.penalize(value, gradient, l1)

    def renew_statistics(self):
        """Give the model's batch normalisation those of the rows, if that is what it is trained with."""
        if self.batch_statistics:
            self.model.renew_statistics(self.data, n_threads=self.n_threads)

    def hessian(self, penalty=True):
        """The Hessian at the present parameters."""
        with threads.team(1, True), np.errstate(all="ignore"):
            H = hessian(*self._arguments(self.parameters))
        if penalty:
            H[np.diag_indices_from(H)] += self.l2
            places = self.model.sets(np.arange(len(H)))
            for i, j, strength in self.model.tied_sets:
                a, b = places[i][0].ravel(), places[j][0].ravel()
                H[a, a] += strength
                H[b, b] += strength
                H[a, b] -= strength
                H[b, a] -= strength
        self.model.apply_masks(H)
        self.model.apply_masks(H.T)
        return H

    def hessian_product(self, penalty=True):
        """The Hessian at the present parameters, as a function from flat array to flat array."""
        with threads.team(1, True), np.errstate(all="ignore"):
            product = hessian_products(*self._arguments(self.parameters.copy()))

        def flat_product(v):
            v = np.array(v, self.parameters.dtype)
            self.model.apply_masks(v)
            with threads.team(1, True), np.errstate(all="ignore"):
                Hv = product(v)
                if penalty:
                    Hv += (self.l2 * v).astype(v.dtype)
                    self.model.add_ties(v, Hv)
                self.model.apply_masks(Hv)
                return Hv

        return flat_product

    def _arguments(self, parameters):
        graph, outputs = self.model.fused, self.model.outputs
        X, y, labels, sample_weight = self._rows_of_our_own
        if not isinstance(y, tuple):  # of one output
            y, labels = (y,), (labels,)
        targets = [
            its if indices is None else np.arange(output.n) == indices[:, None]
            for output, its, indices in zip(outputs, y, labels, strict=True)
        ]
        costs = [output.cost for output in outputs]
        of_norm = self.model.layer_state, self.batch_statistics
        return graph, backward_of(graph), parameters, X, targets, costs, sample_weight, *of_norm

    @cached_property
    def _rows_of_our_own(self):
        """`rows` for scipy, which does not look where indices of CSR lead to: another thread may write to X."""
        X, *others = self.rows
        return (self.model.check_X(X.copy()) if issparse(X) else X), *others
