"""Distortion of images while training: immutable settings. src_c/kernels/image.h does the arithmetic."""

from dataclasses import astuple, dataclass
from numbers import Real
from typing import Any

from .checks import check_size, make_plain
from .settings import Settings


@dataclass(frozen=True)
class ImageAugmentation(Settings):
    """Each image distorted anew each time it is trained on, for `Network.fit`.

    For few images: each epoch sees others. Distortions that are too strong for the size of the images do harm: a shift
    of 1 or 2 pixels and a rotation by 10 degrees are a cautious start.

    With ``c`` the centre of the image, the pixel at ``p = (y, x)`` of the distorted one is read, bilinearly and with 0
    outside the image, at

    ``c + R(theta) [[1, k], [0, 1]] (p - c) / s + t + elastic_alpha * (G u)(p)``

    with a rotation ``R`` by ``theta``, shear ``k``, scale ``s`` and shift ``t`` drawn uniformly for each image; and
    for each axis a field ``u`` of independent uniform numbers in [-1, 1), 0 outside the image, smoothed by ``G``, a
    Gaussian with standard deviation `elastic_sigma` cut off at three of them.

    Parameters
    ----------
    image_shape : tuple (height, width)
        Rows of X are images of this shape, row by row; one channel.
    shift : float, default=0.0
        ``t`` is up to so many pixels in each axis.
    rotation : float, default=0.0
        ``theta`` is up to so many degrees in either direction.
    scale : float, default=0.0
        ``s`` is in ``[1 - scale, 1 + scale]``; at most 0.99.
    shear : float, default=0.0
        ``k`` is in ``[-shear, shear]``.
    elastic_alpha : float, default=0.0
        Strength of the elastic distortion in pixels, before the smoothing makes it smaller; 0 for none.
    elastic_sigma : float, default=4.0
        Its smoothness in pixels, in [0.5, 100].

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Network.fit : Takes it as `augmentation`.
    Dropout : Makes training harder in another way, for data that are no images.

    Notes
    -----
    Choose distortions that leave the class of an image what it is: half a turn makes a 9 of a 6 (Notes 004, dataset
    augmentation).

    References
    ----------
    P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks applied to visual document
    analysis", ICDAR 2003; for 28 x 28 digits ``elastic_alpha=34, elastic_sigma=4``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, ImageAugmentation, Network
    >>> images, labels = np.random.default_rng(0).random((32, 64)), np.arange(32) % 2  # 8 x 8 pixels each
    >>> net = Network([Dense(16, "relu"), Dense(2)], n_inputs=64, loss="softmax_cross_entropy", random_state=0)
    >>> distort = ImageAugmentation((8, 8), shift=1, rotation=10, scale=0.1)
    >>> history = net.fit(images, labels, augmentation=distort, epochs=2)
    """

    image_shape: tuple[int, int]
    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic_alpha: float = 0.0
    elastic_sigma: float = 4.0

    def __post_init__(self) -> None:
        make_plain(self)
        shape = self.image_shape
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError(f"image_shape must be a tuple (height, width), got {shape!r}")
        check_size("height", shape[0])
        check_size("width", shape[1])
        for name in ("shift", "rotation", "scale", "shear", "elastic_alpha", "elastic_sigma"):
            value = getattr(self, name)
            bounds: Any = {"elastic_sigma": (0.5, 100), "scale": (0, 0.99)}.get(name, (0, 1e6))
            low, high = bounds
            if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")
            object.__setattr__(self, name, float(value))

    @property
    def settings(self) -> tuple[Any, ...]:
        """All of it, as the core takes it: (height, width, ...)."""
        shape, *others = astuple(self)
        return *shape, *others
