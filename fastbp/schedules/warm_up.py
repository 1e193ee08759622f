"""A slow start before any other schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, make_plain
from .schedule import Per, Schedule, check_learning_rate


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear warm-up, then any other schedule: ``WarmUp(500, then=CosineWarmRestarts(0.1, 2000))``.

    For large rates, large batches and deep networks, in which the first steps would go too far. Some hundred steps to a
    few epochs are usual.

    In step ``t``, from 0, the rate is that of `then` times ``min(1, start_factor + (1 - start_factor) t / steps)``.
    If `then` moves per step it begins after the warm-up; if it moves per epoch it counts all epochs.

    Parameters
    ----------
    steps : float
        Length of the warm-up, always in steps, at least 1.
    then : float or schedule
        What follows; a number stays the rate.
    start_factor : float, default=0.01
        In (0, 1].

    Attributes
    ----------
    per : {"step", "epoch"}
        As of `then`; "step" for a number.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    OneCycle : Has a way up of its own.
    CosineWarmRestarts : Often follows.

    References
    ----------
    Notes 003 (learning rate warmup). P. Goyal and others, "Accurate, large minibatch SGD: training ImageNet in 1 hour",
    2017 (arXiv 1706.02677).

    Examples
    --------
    >>> from fastbp import SGD, CosineWarmRestarts, WarmUp
    >>> rule = SGD(WarmUp(500, then=CosineWarmRestarts(0.1, t_0=2000)), momentum=0.9)
    >>> WarmUp(4, then=0.1, start_factor=0.2).rates(range(6)).round(3)
    array([0.02, 0.04, 0.06, 0.08, 0.1 , 0.1 ])
    """

    steps: float
    then: float | Schedule
    start_factor: float = 0.01

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("steps", self.steps, "[1, inf)")
        check_learning_rate("then", self.then)
        check_number("start_factor", self.start_factor, "(0, 1]")

    @property
    def per(self) -> Per:
        """As of `then`; "step" for a number."""
        return self.then.per if isinstance(self.then, Schedule) else "step"

    def rates(self, steps: ArrayLike, epoch: int = 0, memory: Any = None) -> NDArray[np.float64]:
        steps = np.asarray(steps)
        factor = np.minimum(1, self.start_factor + (1 - self.start_factor) * steps / self.steps)
        if isinstance(self.then, Schedule):
            return self.then.rates(np.maximum(steps - self.steps, 0), epoch, memory) * factor
        return self.then * factor

    def observe(self, memory: Any, loss: float) -> Any:
        return self.then.observe(memory, loss) if isinstance(self.then, Schedule) else memory
