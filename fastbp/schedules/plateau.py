"""Rates that fall when the loss does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, make_plain
from .schedule import Schedule


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Reduced when stuck: ``eta = max(minimum, initial * factor^n)`` after the ``n``-th time that progress stalled.

    Where it is not known how long training will take. A factor of 0.1 to 0.5 and a patience of 5 to 20 epochs are
    usual.

    Progress has stalled when the loss has not been below the best before by more than ``threshold |best|`` for more
    than `patience` epochs; the count then begins anew. The loss, which may be negative, is that on the validation data
    if there are any, otherwise the training loss. The rate moves from epoch to epoch.

    Parameters
    ----------
    initial : float
        Above 0.
    factor : float, default=0.1
        In (0, 1).
    patience : float, default=10
        At least 0.
    threshold : float, default=1e-4
        In [0, 1).
    minimum : float, default=0.0
        What the rate does not fall below.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    StepDecay : After given numbers of epochs.
    Network.fit : Its `early_stopping` ends training instead.

    References
    ----------
    Notes 003 ("divide by a constant when stuck").

    Examples
    --------
    >>> from fastbp import ReduceOnPlateau
    >>> schedule, memory = ReduceOnPlateau(0.1, factor=0.5, patience=1), None
    >>> for loss in (1.0, 0.5, 0.5, 0.5):  # without progress in two epochs
    ...     memory = schedule.observe(memory, loss)
    >>> schedule.rates([0], epoch=4, memory=memory)
    array([0.05])
    """

    initial: float
    factor: float = 0.1
    patience: float = 10
    threshold: float = 1e-4
    minimum: float = 0.0

    per = "epoch"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("initial", self.initial, "(0, inf)")
        check_number("factor", self.factor, "(0, 1)")
        check_number("patience", self.patience, "[0, inf)")
        check_number("threshold", self.threshold, "[0, 1)")
        check_number("minimum", self.minimum, "[0, inf)")
        if self.minimum > self.initial:
            raise ValueError(f"minimum must be at most initial, got {self.minimum} and {self.initial}")

    def rates(self, steps: ArrayLike, epoch: int = 0, memory: Any = None) -> NDArray[np.float64]:
        n = memory[0] if memory else 0
        return np.full(np.shape(steps), max(self.minimum, self.initial * self.factor**n), dtype=np.float64)

    def observe(self, memory: Any, loss: float) -> Any:
        """(reductions, best loss, epochs since) after an epoch of this loss."""
        n, best, since = memory or (0, np.inf, 0)
        margin = self.threshold * abs(best) if best < np.inf else 0
        if loss < best - margin:
            best, since = loss, 0
        else:
            since += 1
        return (n + 1, best, 0) if since > self.patience else (n, best, since)
