"""Averages of the weights that training goes through: immutable settings. The network holds the averages,
src_c/ops/optimizer.h does the arithmetic for steps."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from .checks import check_number, check_size, make_plain
from .settings import Settings


@dataclass(frozen=True)
class EMA(Settings):
    """Exponential moving average of all parameters, over steps.

    Useful with any rule and without knowing when training will end; usual decays are 0.99 to 0.9999, so that the
    average is over some epochs.

    It begins with the parameters before the first step. After the ``n``-th, by which they become ``w``,
    ``a <- d a + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))``: as long as the steps are few, the last ninth
    of them counts most [1]_ [2]_; later, the last ``1 / (1 - decay)``. What `max_norm` bounds is averaged once it is
    bounded.

    Parameters
    ----------
    decay : float, default=0.999
        In [0, 1). In float32 an average stands still where ``(1 - d) |w - a|`` is less than half a unit in its last
        place: then `decay` had better not be above 0.9999.

    Raises
    ------
    ValueError
        If `decay` is out of range.

    See Also
    --------
    SWA : The mean over epochs.
    Network.fit : Takes it as `average`.

    References
    ----------
    B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
    Optimization 30, 1992.

    .. [1] TensorFlow's ExponentialMovingAverage has this ``d`` where it is given the number of updates.
    .. [2] O. Shamir and T. Zhang, "Stochastic gradient descent for non-smooth optimization: convergence results and
       optimal averaging schemes", ICML 2013: their polynomial-decay averaging has such ``1 - d = 9 / (10 + n)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit(X, X**2, optimizer=fastbp.Adam(0.02), epochs=100, average=fastbp.EMA(0.99))
    >>> bool(net.value_and_gradient(X, X**2)[0] < 0.01)
    True
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("decay", self.decay, "[0, 1)")


@dataclass(frozen=True)
class SWA(Settings):
    """Stochastic weight averaging: the mean of all parameters at the ends of epochs.

    Useful with `SGD` at a large rate, where the end of training is known before.

    The ``n``-th time ``a <- a + (w - a) / n``, at the ends of epochs `start`, ``start + every``, ``start + 2 every``
    and so on, counted from 0 as those of schedules are; before that, there is no average. A learning rate that stays
    large lets the weights go round a wide region of low cost, of which the mean is the middle: a constant rate, or
    `CosineWarmRestarts` with ``per="epoch"`` and `every` epochs a period.

    Parameters
    ----------
    start : int
        At least 0; three quarters of the epochs are usual.
    every : int, default=1
        At least 1.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    EMA : An average over steps.
    Network.fit : Takes it as `average`.

    References
    ----------
    P. Izmailov and others, "Averaging weights leads to wider optima and better generalization", UAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp
    >>> X = np.linspace(-1, 1, 64)[:, None]
    >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit(X, X**2, optimizer=fastbp.Adam(0.02), epochs=100, average=fastbp.SWA(start=75))
    >>> bool(net.value_and_gradient(X, X**2)[0] < 0.01)
    True
    """

    start: int
    every: int = 1

    def __post_init__(self) -> None:
        make_plain(self)
        if not isinstance(self.start, Integral) or isinstance(self.start, bool) or self.start < 0:
            raise ValueError(f"start must be an integer of at least 0, got {self.start!r}")
        check_size("every", self.every)

    def takes(self, epoch: int) -> bool:
        """Whether the weights at the end of this epoch, from 0, are in the mean."""
        return epoch >= self.start and (epoch - self.start) % self.every == 0
