"""What happened in a fit of a network, epoch by epoch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..display import LossCurveDisplay


@dataclass(repr=False)
class History:
    """What happened in a fit, epoch by epoch.

    Attributes
    ----------
    loss : ndarray of shape (n_epochs,)
        Mean training loss over the epoch's batches, each as it was before its update, penalties included. A full-batch
        rule that ends by itself ends with an epoch that made no progress, whose loss is the final one.
    validation_loss : ndarray of shape (n_epochs,)
        Loss on the validation data after the epoch, without penalties; empty without validation data.
    seconds : ndarray of shape (n_epochs,)
        Wall-clock time of the epoch's training.
    second : History or None
        The training on all data after early stopping that ``then`` asked for.

    See Also
    --------
    Network.fit : Returns one.
    fastbp.display.LossCurveDisplay : What `plot` makes.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], optimizer=fastbp.SGD(0.5), epochs=50)
    >>> history.loss.shape
    (50,)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """

    loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    seconds: NDArray[np.float64]
    second: "History | None" = None

    def __repr__(self) -> str:
        parts = [f"{_epochs(len(self.loss))} in {self.seconds.sum():.3g} s"]
        if len(self.loss):
            parts.append(f"loss {_course(self.loss)}")
        if len(self.validation_loss):
            parts.append(f"validation loss {_course(self.validation_loss)}")
            if not np.isnan(self.validation_loss).all():
                parts[-1] += f", least after {_epochs(np.nanargmin(self.validation_loss) + 1)}"
        if self.second is not None:
            parts.append(f"then {self.second!r}")
        return f"History({'; '.join(parts)})"

    def plot(self, ax: "Axes | None" = None, **line_kwargs: object) -> "LossCurveDisplay":
        """Draw the losses over the epochs; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`, both lines.

        Returns
        -------
        display : LossCurveDisplay
            With the figure as ``figure_``, the axes as ``ax_`` and the lines as ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        fastbp.display.LossCurveDisplay : The same for estimators.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(1)], n_inputs=1, random_state=0)
        >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], epochs=50)
        >>> display = history.plot()  # doctest: +SKIP
        """
        from ..display import LossCurveDisplay

        return LossCurveDisplay.from_history(self, ax=ax, **line_kwargs)


def _course(losses):
    """From the first to the last."""
    return f"{losses[0]:.4g}" if len(losses) == 1 else f"{losses[0]:.4g} to {losses[-1]:.4g}"


def _epochs(n):
    return f"{n:,} {'epoch' if n == 1 else 'epochs'}"
