"""Losses over the epochs."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..checks import check_kind
from ..network import History
from .axes import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike


class LossCurveDisplay:
    """Losses over the epochs of a training.

    Make one with `from_history` or `from_estimator`.

    Parameters
    ----------
    loss : array-like of shape (n_epochs,)
        Training losses.
    validation_loss : array-like of shape (n_epochs,), default=None
        Losses on validation data; None or empty for none.

    Attributes
    ----------
    loss, validation_loss : ndarray
        As given; `validation_loss` is empty without validation data.
    lines_ : list of matplotlib Line2D
        The curves.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    History.plot : The same for what `Network.fit` returns.
    ScheduleDisplay : The learning rates over the steps.

    Examples
    --------
    >>> from fastbp import MLPClassifier
    >>> from fastbp.display import LossCurveDisplay
    >>> clf = MLPClassifier((4,), tol=0.1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    >>> display = LossCurveDisplay.from_estimator(clf)  # doctest: +SKIP
    >>> display.figure_.savefig("loss.png")  # doctest: +SKIP
    """

    lines_: "list[Line2D]"
    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(self, *, loss: "ArrayLike", validation_loss: "ArrayLike | None" = None) -> None:
        self.loss: NDArray[Any] = np.asarray(loss)
        self.validation_loss: NDArray[Any] = np.asarray([] if validation_loss is None else validation_loss)

    @classmethod
    def from_history(
        cls, history: History, *, ax: "Axes | None" = None, **line_kwargs: Any
    ) -> "LossCurveDisplay":
        """Draw what `Network.fit` returned.

        Parameters
        ----------
        history : History
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`, both lines.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        from_estimator : The same of an estimator.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.display import LossCurveDisplay
        >>> net = fastbp.Network([fastbp.Dense(1)], n_inputs=1, random_state=0)
        >>> history = net.fit([[0.0], [1.0]], [1.0, 3.0], epochs=50)
        >>> display = LossCurveDisplay.from_history(history)  # doctest: +SKIP
        """
        check_kind("history", history, History)
        return cls(loss=history.loss, validation_loss=history.validation_loss).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: "Axes | None" = None, **line_kwargs: Any
    ) -> "LossCurveDisplay":
        """Draw the training of an estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted; scikit-learn's will do too. It is its `loss_curve_` that is drawn, and `validation_loss_curve_`
            after early stopping.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`, both lines.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If it has no `loss_curve_`, as after ``solver="lbfgs"`` of scikit-learn.

        See Also
        --------
        from_history : The same of what `Network.fit` returned.

        Examples
        --------
        >>> from fastbp import MLPRegressor
        >>> from fastbp.display import LossCurveDisplay
        >>> reg = MLPRegressor(hidden_layer_sizes=4, tol=0.1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 4])
        >>> display = LossCurveDisplay.from_estimator(reg)  # doctest: +SKIP
        """
        check_kind("estimator", estimator, BaseEstimator)
        check_is_fitted(estimator)
        losses = getattr(estimator, "loss_curve_", None)
        if losses is None:
            raise ValueError(f"estimator must have a loss_curve_, got {estimator!r}, which has none")
        validation = getattr(estimator, "validation_loss_curve_", None)
        return cls(loss=losses, validation_loss=validation).plot(ax=ax, **line_kwargs)

    def plot(self, *, ax: "Axes | None" = None, **line_kwargs: Any) -> "LossCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kwargs
            For `matplotlib.axes.Axes.plot`, both lines.

        Returns
        -------
        display : LossCurveDisplay
            This one.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        from_history : Makes one of what `Network.fit` returned, and draws it.

        Examples
        --------
        >>> from fastbp.display import LossCurveDisplay
        >>> display = LossCurveDisplay(loss=[1.0, 0.5, 0.3]).plot()  # doctest: +SKIP
        >>> display.ax_.set_yscale("log")  # doctest: +SKIP
        """
        self.ax_ = axes_for(self, ax)
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for name, losses in (("training", self.loss), ("validation", self.validation_loss)):
            if len(losses):
                epochs = np.arange(1, len(losses) + 1)
                self.lines_ += self.ax_.plot(epochs, losses, **{"label": name, **line_kwargs})
        self.ax_.set(xlabel="epoch", ylabel="loss")
        if ax is None:  # others' may have a locator that knows no integers
            self.ax_.locator_params(axis="x", integer=True, min_n_ticks=1)
        self.ax_.legend()
        return self
