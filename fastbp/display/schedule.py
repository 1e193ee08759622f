"""Learning rates over the steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..schedules import Schedule
from .axes import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike


class ScheduleDisplay:
    """Learning rates over the steps of a training.

    Make one with `from_schedule`.

    Parameters
    ----------
    rates : array-like of shape (n_steps,)

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    fastbp.OneCycle.preview : The rates alone; all schedules have it.
    LossCurveDisplay : The losses over the epochs.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp.display import ScheduleDisplay
    >>> schedule = fastbp.WarmUp(100, then=fastbp.CosineWarmRestarts(0.1, t_0=500))
    >>> display = ScheduleDisplay.from_schedule(schedule, 2000)  # doctest: +SKIP
    """

    line_: "Line2D"
    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(self, *, rates: "ArrayLike") -> None:
        self.rates: NDArray[Any] = np.asarray(rates)

    @classmethod
    def from_schedule(
        cls,
        schedule: Schedule,
        n_steps: int,
        *,
        steps_per_epoch: int = 1,
        losses: Sequence[float] | None = None,
        ax: "Axes | None" = None,
        **line_kwargs: Any,
    ) -> "ScheduleDisplay":
        """Draw the first rates of a schedule.

        Parameters
        ----------
        schedule : schedule
        n_steps : int
            Number of steps, that is of batches.
        steps_per_epoch : int, default=1
            Batches per epoch. With 1 the steps are epochs.
        losses : sequence of float, default=None
            Losses of the epochs, for `ReduceOnPlateau`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ScheduleDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If it is no schedule.
        ValueError
            If a number is below 1, or there are too few losses.

        See Also
        --------
        fastbp.OneCycle.preview : The rates alone.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.display import ScheduleDisplay
        >>> display = ScheduleDisplay.from_schedule(fastbp.OneCycle(0.1, total=300), 300)  # doctest: +SKIP
        """
        if not isinstance(schedule, Schedule):
            raise TypeError(f"schedule must be a schedule such as OneCycle, got {schedule!r}")
        rates = schedule.preview(n_steps, steps_per_epoch=steps_per_epoch, losses=losses)
        return cls(rates=rates).plot(ax=ax, **line_kwargs)

    def plot(self, *, ax: "Axes | None" = None, **line_kwargs: Any) -> "ScheduleDisplay":
        """Draw the rates.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : ScheduleDisplay
            This one.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        from_schedule : Makes one, and draws it.

        Examples
        --------
        >>> from fastbp.display import ScheduleDisplay
        >>> display = ScheduleDisplay(rates=[0.1, 0.05, 0.025]).plot()  # doctest: +SKIP
        """
        self.ax_ = axes_for(self, ax)
        self.figure_ = self.ax_.figure
        (self.line_,) = self.ax_.plot(self.rates, **line_kwargs)
        self.ax_.set(xlabel="step", ylabel="learning rate")
        return self
