"""Rates that only fall, by the number of steps or epochs."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_number, make_plain
from .schedule import Per, Schedule


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplied by a constant once every so often: ``eta = initial * factor^floor(k / every)``.

    For long trainings of which it is known after how many epochs progress stops, often with a factor of 0.1.

    Parameters
    ----------
    initial : float
        Above 0.
    factor : float, default=0.1
        In (0, 1].
    every : float, default=10
        At least 1.
    per : {"step", "epoch"}, default="epoch"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Exponential : Decays in each step or epoch.
    ReduceOnPlateau : Decays when the loss does not fall any more.

    References
    ----------
    Notes 003 (learning rate scheduling techniques).

    Examples
    --------
    >>> from fastbp import StepDecay
    >>> [float(StepDecay(0.1, factor=0.5, every=10).rates([0], epoch)[0]) for epoch in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]
    """

    initial: float
    factor: float = 0.1
    every: float = 10
    per: Per = "epoch"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("initial", self.initial, "(0, inf)")
        check_number("factor", self.factor, "(0, 1]")
        check_number("every", self.every, "[1, inf)")
        self._check_per()

    def _rate(self, k):
        return self.initial * self.factor ** (k // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """Exponential decay: ``eta = initial * factor^k``.

    A smooth decay with one setting: usual factors are 0.9 to 0.99 for epochs, and closer to 1 for steps.

    Parameters
    ----------
    initial : float
        Above 0.
    factor : float, default=0.95
        In (0, 1].
    per : {"step", "epoch"}, default="epoch"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    StepDecay : Stays the same for a while.
    InverseScaling : Decays by a power, and so never stops learning.

    Examples
    --------
    >>> from fastbp import SGD, Exponential
    >>> rule = SGD(Exponential(0.1, factor=0.95), momentum=0.9)
    >>> Exponential(0.8, factor=0.5, per="step").rates([0, 1, 2])
    array([0.8, 0.4, 0.2])
    """

    initial: float
    factor: float = 0.95
    per: Per = "epoch"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("initial", self.initial, "(0, inf)")
        check_number("factor", self.factor, "(0, 1]")
        self._check_per()

    def _rate(self, k):
        return self.initial * self.factor**k


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Decay by a power, scikit-learn's "invscaling": ``eta = initial / t^power_t`` with ``t = k + 1``.

    For streams, where training has no end.

    With a power in (1/2, 1] it meets the conditions for convergence, ``sum eta = inf`` and ``sum eta^2 < inf``.
    scikit-learn's perceptrons take the number of samples seen for ``k``.

    Parameters
    ----------
    initial : float
        Above 0.
    power_t : float, default=0.5
        At least 0.
    per : {"step", "epoch"}, default="step"
        Unit of the lengths, and how often the rate moves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Exponential : Decays faster in the long run.

    References
    ----------
    H. Robbins and S. Monro, "A stochastic approximation method", Annals of Mathematical Statistics 22 (1951).

    Examples
    --------
    >>> from fastbp import InverseScaling
    >>> InverseScaling(1.0, power_t=0.5).rates([0, 3, 8]).round(3)
    array([1.   , 0.5  , 0.333])
    """

    initial: float
    power_t: float = 0.5
    per: Per = "step"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("initial", self.initial, "(0, inf)")
        check_number("power_t", self.power_t, "[0, inf)")
        self._check_per()

    def _rate(self, k):
        return self.initial / (k + 1) ** self.power_t
