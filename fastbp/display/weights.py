"""A layer's weights as colours."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..checks import check_kind, check_size
from ..network import Network
from .axes import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike


class WeightsDisplay:
    """A layer's weights as colours: as a matrix, or what each unit weighs an image's pixels with, as images.

    Make one with `from_network` or `from_estimator`.

    Parameters
    ----------
    weights : array-like of shape (n_in, n_units)
    image_shape : tuple (height, width), default=None
        The inputs are images of this shape, ``height * width = n_in``: each unit's weights are shown as one, side by
        side. None shows the matrix, a row for each input and a column for each unit.

    Attributes
    ----------
    weights : ndarray of shape (n_in, n_units)
    image_shape : tuple or None
    image_ : matplotlib AxesImage
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Raises
    ------
    ValueError
        If the weights are no matrix, or `image_shape` does not fit them.

    See Also
    --------
    Network.unflatten : The weights, or their gradient, by layers' names.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastbp import MLPClassifier
    >>> from fastbp.display import WeightsDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier((16,), alpha=0.1, tol=1.0, random_state=0).fit(X / 16, y)
    >>> display = WeightsDisplay.from_estimator(clf, image_shape=(8, 8))  # doctest: +SKIP
    """

    image_: "AxesImage"
    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(self, *, weights: "ArrayLike", image_shape: tuple[int, int] | None = None) -> None:
        self.weights: NDArray[Any] = np.asarray(weights)
        self.image_shape = image_shape
        if self.weights.ndim != 2 or not self.weights.size:
            raise ValueError(f"weights must have shape (n_in, n_units), got {self.weights.shape}")
        if image_shape is None:
            return
        if not isinstance(image_shape, tuple | list) or len(image_shape) != 2:
            raise ValueError(f"image_shape must be a tuple (height, width), got {image_shape!r}")
        if math.prod(check_size("sides of image_shape", side) for side in image_shape) != len(self.weights):
            raise ValueError(
                f"image_shape must be of as many pixels as the weights have inputs, {len(self.weights)}, got "
                f"{image_shape!r}"
            )

    @classmethod
    def from_network(
        cls,
        network: Network,
        layer: int = 0,
        *,
        image_shape: tuple[int, int] | None = None,
        ax: "Axes | None" = None,
        **image_kwargs: Any,
    ) -> "WeightsDisplay":
        """Draw the weights of a network's layer.

        Parameters
        ----------
        network : Network
        layer : int, default=0
            Which of `Network.weights`.
        image_shape : tuple (height, width), default=None
            As of `WeightsDisplay`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **image_kwargs
            For `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : WeightsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such layer, or `image_shape` does not fit its weights.

        See Also
        --------
        from_estimator : The same of an estimator.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.display import WeightsDisplay
        >>> net = fastbp.Network([fastbp.Dense(16, "relu"), fastbp.Dense(1)], n_inputs=64)
        >>> display = WeightsDisplay.from_network(net, image_shape=(8, 8))  # doctest: +SKIP
        """
        check_kind("network", network, Network)
        return cls._of(network.weights, layer, image_shape, ax, image_kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        layer: int = 0,
        *,
        image_shape: tuple[int, int] | None = None,
        ax: "Axes | None" = None,
        **image_kwargs: Any,
    ) -> "WeightsDisplay":
        """Draw the weights of an estimator's layer.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted; scikit-learn's will do too.
        layer : int, default=0
            Which of `coefs_`.
        image_shape : tuple (height, width), default=None
            As of `WeightsDisplay`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **image_kwargs
            For `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : WeightsDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no such layer, or `image_shape` does not fit its weights.

        See Also
        --------
        from_network : The same of a network.

        Examples
        --------
        >>> from fastbp import MLPRegressor
        >>> from fastbp.display import WeightsDisplay
        >>> reg = MLPRegressor(hidden_layer_sizes=4, tol=0.1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 4])
        >>> display = WeightsDisplay.from_estimator(reg, layer=1)  # doctest: +SKIP
        """
        check_kind("estimator", estimator, BaseEstimator)
        check_is_fitted(estimator)
        return cls._of(estimator.coefs_, layer, image_shape, ax, image_kwargs)

    @classmethod
    def _of(cls, weights, layer, image_shape, ax, image_kwargs):
        if not isinstance(layer, int) or not -len(weights) <= layer < len(weights):
            raise ValueError(f"layer must be an integer below the number of layers, {len(weights)}, got {layer!r}")
        return cls(weights=weights[layer], image_shape=image_shape).plot(ax=ax, **image_kwargs)

    def plot(self, *, ax: "Axes | None" = None, **image_kwargs: Any) -> "WeightsDisplay":
        """Draw the weights: blue below 0, white for 0 and red above, on a scale as far below 0 as above it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **image_kwargs
            For `matplotlib.axes.Axes.imshow`, such as ``cmap`` or ``vmax``.

        Returns
        -------
        display : WeightsDisplay
            This one.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        from_network : Makes one of a network, and draws it.

        Examples
        --------
        >>> from fastbp.display import WeightsDisplay
        >>> display = WeightsDisplay(weights=[[0.5, -1.0], [0.0, 2.0]]).plot()  # doctest: +SKIP
        """
        self.ax_ = axes_for(self, ax)
        self.figure_ = self.ax_.figure
        shown = self.weights if self.image_shape is None else self._images()
        largest = float(np.nanmax(np.abs(shown)))
        settings = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "interpolation": "nearest"}
        if self.image_shape is None:
            settings["aspect"] = "auto"
            self.ax_.set(xlabel="unit", ylabel="input")
        else:
            self.ax_.set_axis_off()
        self.image_ = self.ax_.imshow(shown, **{**settings, **image_kwargs})
        self.figure_.colorbar(self.image_, ax=self.ax_)
        return self

    def _images(self):
        """The units' images, about as many side by side as one above the other, with NaN between them."""
        n_units, (height, width) = self.weights.shape[1], self.image_shape
        columns = math.ceil(math.sqrt(n_units * height / width))
        rows = -(-n_units // columns)
        shown = np.full((rows, height + 1, columns, width + 1), np.nan)
        for unit, weights in enumerate(self.weights.T):
            shown[unit // columns, :-1, unit % columns, :-1] = weights.reshape(height, width)
        return shown.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
