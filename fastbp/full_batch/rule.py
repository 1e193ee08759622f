"""The base of the rules for all rows at once: which networks they take, and an end after a whole iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from ..checks import check_in_dtype
from ..settings import Settings
from ..undo import Undo
from .hessian import MAX_PARAMETERS


class FullBatch(Settings, ABC):
    """Base class of the rules that take all rows at once.

    They are for data of up to about ten thousand rows and small networks, where they need no learning rate and reach
    costs that mini-batches do not; there is no dropout, and nothing else that is random. An epoch is one iteration. A
    rule's ``minimize(objective, epochs, end_epoch)`` changes the objective's parameters, calls ``end_epoch(cost before
    the update)`` after each iteration, and returns when that is true, after so many iterations, or after one that could
    make no progress.

    See Also
    --------
    LBFGS : The first to try.
    Newton, NewtonCG, BFGS, Rprop, Quickprop : The others.
    UpdateRule : Base class of the rules for mini-batches.

    Examples
    --------
    >>> from fastbp import LBFGS, SGD, FullBatch
    >>> isinstance(LBFGS(), FullBatch), isinstance(SGD(), FullBatch)
    (True, False)
    """

    needs_derivative = False  # everywhere; L1 has none at 0
    has_matrix = False  # of n_parameters x n_parameters
    in_dtype: ClassVar[tuple[str, ...]] = ()  # see `check_in_dtype`

    @abstractmethod
    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        """Make so many iterations, or as many as lower the cost: see the class."""

    def check(self, model: Any) -> None:
        """Raise ValueError if the rule cannot train this network."""
        check_in_dtype(model.dtype, optimizer=self)
        name, n = type(self).__name__, model.parameters.size
        bounds = [w.max_norm for w in model.graph.weights]
        if any(bounds):
            raise ValueError(
                f"{name} knows no constraints, max_norm of all layers must be None, got {bounds}; SGD, Adam, AdamW, "
                "RMSProp and Adagrad take any"
            )
        if any(op.n_iterations for op in model.graph.forward):
            raise ValueError(
                f"{name} makes no steps in which SpectralNorm could follow the weights, got {model.layers!r}; "
                "SGD, Adam, AdamW, RMSProp and Adagrad do"
            )
        if self.needs_derivative and any(l1 for l1, _ in model.penalties):
            raise ValueError(
                f"{name} needs a differentiable penalty, l1 must be 0, got {model.penalties} as (l1, l2) of the "
                "layers; LBFGS takes any"
            )
        if self.has_matrix and n > MAX_PARAMETERS:
            raise ValueError(
                f"{name} is for networks of at most {MAX_PARAMETERS} parameters, got {n}; LBFGS and NewtonCG take any"
            )

    def train(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        """Minimize; whatever ends it, the parameters are those after the last whole iteration."""
        with Undo() as undo:
            undo.save_values(objective.parameters)
            undo.save_values(objective.model.layer_state)

            def end_iteration(cost):
                objective.renew_statistics()
                undo.renew_values()
                stop = end_epoch(cost)
                undo.renew_values()  # a callback may have changed them
                return stop

            self.minimize(objective, epochs, end_iteration)
            undo.put_back()
