"""What schedules have in common, and where a number will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_number, check_size
from ..settings import Settings

Per = Literal["step", "epoch"]


def check_learning_rate(name, value):
    """Raise ValueError unless value is a positive number or a schedule."""
    if not isinstance(value, Schedule):
        try:
            check_number(name, value, "(0, inf)")
        except ValueError:
            raise ValueError(f"{name} must be a number in (0, inf) or a schedule, got {value!r}") from None


class Schedule(Settings):
    """Base class of the learning-rate schedules.

    Give one of them where a rule takes a learning rate, as ``SGD(OneCycle(0.1, total=1000))``, or to an estimator as
    `learning_rate`. In what they say, ``k`` is the position of a step: the number of steps before it if `per` is
    "step", the number of whole epochs before it if `per` is "epoch". `Network.fit` counts from 0, `Network.partial_fit`
    counts on.

    Attributes
    ----------
    per : {"step", "epoch"}
        Whether the rate moves from step to step or only from epoch to epoch; lengths are in the same unit.

    See Also
    --------
    OneCycle, CosineWarmRestarts, Cyclical, StepDecay, Exponential, InverseScaling : By the number of steps or epochs.
    ReduceOnPlateau : By the loss.
    WarmUp : Any of them after a slow start.

    Examples
    --------
    >>> from fastbp import Exponential, Schedule
    >>> schedule = Exponential(0.1, factor=0.5)
    >>> isinstance(schedule, Schedule)
    True
    >>> schedule.rates([0, 1], epoch=2)  # of two steps of the third epoch
    array([0.025, 0.025])
    """

    per: Any = "step"  # of a subclass a setting, or what follows from others
    _rate: Any  # at positions k, of schedules that are functions of it
    # rates; lengths and factors have no dtype but double
    in_dtype: ClassVar[tuple[str, ...]] = ("initial", "minimum", "maximum", "then")

    def rates(self, steps: ArrayLike, epoch: int = 0, memory: Any = None) -> NDArray[np.float64]:
        """Learning rates of steps that belong to one epoch.

        Parameters
        ----------
        steps : array-like of int, shape (n_steps,)
            Numbers of the steps, from 0.
        epoch : int, default=0
            Number of their epoch, from 0.
        memory : object, default=None
            What `observe` made of the epochs before.

        Returns
        -------
        rates : float64 ndarray of shape (n_steps,)

        See Also
        --------
        observe : Makes the memory.

        Examples
        --------
        >>> from fastbp import StepDecay
        >>> StepDecay(1.0, every=2, per="step").rates([0, 1, 2, 3])
        array([1. , 1. , 0.1, 0.1])
        """
        k = np.asarray(steps if self.per == "step" else np.full(np.shape(steps), epoch), dtype=np.float64)
        return np.asarray(self._rate(k), dtype=np.float64)

    def observe(self, memory: Any, loss: float) -> Any:
        """What to remember after an epoch of this loss (None at first).

        See Also
        --------
        ReduceOnPlateau : The schedule that remembers something.

        Examples
        --------
        >>> from fastbp import ReduceOnPlateau
        >>> ReduceOnPlateau(0.1).observe(None, 2.0)  # reductions, best loss, epochs since
        (0, 2.0, 0)
        """
        return memory

    def preview(
        self, n_steps: int, *, steps_per_epoch: int = 1, losses: Sequence[float] | None = None
    ) -> np.ndarray:
        """The learning rates of the first steps of a training, as `Network.fit` makes them.

        Parameters
        ----------
        n_steps : int
            Number of steps, that is of batches.
        steps_per_epoch : int, default=1
            Batches per epoch, ``ceil(n_samples / batch_size)``. With 1 the steps are epochs.
        losses : sequence of float, default=None
            Losses of the epochs, which `ReduceOnPlateau` looks at: one for each epoch but the last, or more. None is
            for losses that improve in each epoch.

        Returns
        -------
        rates : float64 ndarray of shape (n_steps,)

        Raises
        ------
        ValueError
            If a number is below 1, or there are too few losses.

        See Also
        --------
        fastbp.display.ScheduleDisplay : Draws them.

        Examples
        --------
        >>> import fastbp
        >>> fastbp.StepDecay(0.1, factor=0.5, every=2).preview(6, steps_per_epoch=2).tolist()
        [0.1, 0.1, 0.1, 0.1, 0.05, 0.05]
        >>> fastbp.ReduceOnPlateau(0.1, factor=0.5, patience=1).preview(5, losses=[1.0, 1.0, 1.0, 1.0]).tolist()
        [0.1, 0.1, 0.1, 0.05, 0.05]
        """
        n_steps = check_size("n_steps", n_steps)
        steps_per_epoch = check_size("steps_per_epoch", steps_per_epoch)
        n_epochs = -(-n_steps // steps_per_epoch)
        if losses is not None and len(losses) < n_epochs - 1:
            raise ValueError(f"losses must be those of all epochs but the last, {n_epochs - 1}, got {len(losses)}")
        parts, memory = [], None
        for epoch in range(n_epochs):
            first = epoch * steps_per_epoch
            steps = np.arange(first, min(first + steps_per_epoch, n_steps))
            parts.append(self.rates(steps, epoch, memory))
            if losses is not None and epoch < n_epochs - 1:
                memory = self.observe(memory, float(losses[epoch]))
        return np.concatenate(parts)

    def _check_per(self):
        if self.per not in ("step", "epoch"):
            raise ValueError(f"per must be 'step' or 'epoch', got {self.per!r}")
