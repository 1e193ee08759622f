"""Rates that go up and down, by the number of steps or epochs."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from ..checks import check_number, make_plain
from .schedule import Per, Schedule


@dataclass(frozen=True)
class Cyclical(Schedule):
    """Up and down in straight lines: ``eta = minimum + (maximum - minimum) (1 - |1 - (k / half_cycle mod 2)|)``.

    Where the best rate is not known: both thresholds may be far apart. A half cycle of 2 to 10 epochs is usual.

    Parameters
    ----------
    minimum, maximum : float
        The two thresholds, above 0.
    half_cycle : float
        Length of the way up, and of the way down.
    per : {"step", "epoch"}, default="step"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    OneCycle : A single cycle, over the whole training.
    CosineWarmRestarts : Down slowly, and up at once.

    References
    ----------
    Notes 003 (cyclical learning rate). L. Smith, "Cyclical learning rates for training neural networks", WACV 2017: the
    policy "triangular".

    Examples
    --------
    >>> from fastbp import Cyclical
    >>> Cyclical(0.001, 0.003, half_cycle=2).rates(range(5))
    array([0.001, 0.002, 0.003, 0.002, 0.001])
    """

    minimum: float
    maximum: float
    half_cycle: float
    per: Per = "step"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("minimum", self.minimum, "(0, inf)")
        check_number("maximum", self.maximum, "(0, inf)")
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must be at most maximum, got {self.minimum} and {self.maximum}")
        check_number("half_cycle", self.half_cycle, "[1, inf)")
        self._check_per()

    def _rate(self, k):
        return self.minimum + (self.maximum - self.minimum) * (1 - np.abs(1 - k / self.half_cycle % 2))


@dataclass(frozen=True)
class CosineWarmRestarts(Schedule):
    """Cosine annealing with warm restarts (SGDR).

    With `t_0` as long as the whole training there is no restart: that is cosine annealing, a good choice with `SGD`.

    Period ``i``, from 0, is ``T_i = t_0 t_mult^i`` long. With ``T`` counted from its beginning,
    ``eta = minimum + (maximum - minimum) (1 + cos(pi T / T_i)) / 2``.

    Parameters
    ----------
    maximum : float
        After each restart, above 0.
    t_0 : float
        Length of the first period.
    t_mult : int, default=1
        How many times longer each period is than the one before.
    minimum : float, default=0.0
        What a period goes down to.
    per : {"step", "epoch"}, default="step"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    OneCycle : Without restarts, and with a way up.
    SWA : Averages the weights at the ends of periods.
    WarmUp : Starts slowly.

    References
    ----------
    Notes 003 (restart). I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Examples
    --------
    >>> from fastbp import SGD, CosineWarmRestarts
    >>> rule = SGD(CosineWarmRestarts(0.1, t_0=10, t_mult=2, per="epoch"), momentum=0.9)
    >>> CosineWarmRestarts(0.1, t_0=4).rates(range(6)).round(4)
    array([0.1   , 0.0854, 0.05  , 0.0146, 0.1   , 0.0854])
    """

    maximum: float
    t_0: float
    t_mult: int = 1
    minimum: float = 0.0
    per: Per = "step"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("maximum", self.maximum, "(0, inf)")
        check_number("t_0", self.t_0, "[1, inf)")
        if not isinstance(self.t_mult, Integral) or self.t_mult < 1:
            raise ValueError(f"t_mult must be an integer of at least 1, got {self.t_mult!r}")
        check_number("minimum", self.minimum, "[0, inf)")
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must be at most maximum, got {self.minimum} and {self.maximum}")
        self._check_per()

    def _rate(self, k):
        if self.t_mult == 1:
            phase = k % self.t_0 / self.t_0
        else:
            restarts, last = [0.0], k.max(initial=0)
            while restarts[-1] <= last:
                restarts.append(restarts[-1] + self.t_0 * self.t_mult ** (len(restarts) - 1))
            i = np.searchsorted(restarts, k, side="right") - 1
            phase = (k - np.take(restarts, i)) / (self.t_0 * float(self.t_mult) ** i)
        return self.minimum + (self.maximum - self.minimum) * (1 + np.cos(np.pi * phase)) / 2


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Once up to a large rate, then down to almost nothing (super-convergence).

    For training in few epochs, whose number is known before: with it the largest rate may be about ten times a constant
    one.

    From ``maximum / div`` to ``maximum`` at ``k = warm_up * total - 1``, then to ``maximum / (div * final_div)`` at
    ``k = total - 1``, which also stays the rate thereafter. The momentum does not change.

    Parameters
    ----------
    maximum : float
        Above 0.
    total : float
        Length of the whole cycle, at least 2: for `per` "step" epochs times batches per epoch.
    warm_up : float, default=0.3
        Share of the way up, in [0, 1).
    div, final_div : float, default=25, 1e4
        At least 1.
    anneal : {"cosine", "linear"}, default="cosine"
        Half waves of a cosine, or the straight lines of the paper.
    per : {"step", "epoch"}, default="step"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    CosineWarmRestarts : Starts with the largest rate.
    Cyclical : The same again and again.

    References
    ----------
    L. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018
    (arXiv 1708.07120), in the two-phase form that fastai made usual.

    Examples
    --------
    >>> from fastbp import Adam, MLPClassifier, OneCycle
    >>> rule = Adam(OneCycle(0.01, total=30 * 42))  # 30 epochs of 42 batches
    >>> clf = MLPClassifier(learning_rate=OneCycle(0.01, total=40, per="epoch"), max_iter=40)
    >>> OneCycle(1.0, total=5, warm_up=0.4, div=10, anneal="linear").rates(range(5)).round(3)
    array([0.1  , 1.   , 0.667, 0.333, 0.   ])
    """

    maximum: float
    total: float
    warm_up: float = 0.3
    div: float = 25
    final_div: float = 1e4
    anneal: Literal["cosine", "linear"] = "cosine"
    per: Per = "step"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("maximum", self.maximum, "(0, inf)")
        check_number("total", self.total, "[2, inf)")
        check_number("warm_up", self.warm_up, "[0, 1)")
        check_number("div", self.div, "[1, inf)")
        check_number("final_div", self.final_div, "[1, inf)")
        if self.anneal not in ("cosine", "linear"):
            raise ValueError(f"anneal must be 'cosine' or 'linear', got {self.anneal!r}")
        self._check_per()

    def _rate(self, k):
        phase = np.interp(k, [0, max(0, self.warm_up * self.total - 1), self.total - 1], [0, 1, 2])
        height = (1 - np.cos(np.pi * phase)) / 2 if self.anneal == "cosine" else 1 - np.abs(1 - phase)
        low = np.where(phase < 1, self.maximum / self.div, self.maximum / (self.div * self.final_div))
        return low + (self.maximum - low) * height
