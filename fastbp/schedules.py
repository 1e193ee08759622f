"""Learning-rate schedules: immutable settings. They make the rates of a whole epoch at once, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import check_number, check_size, make_plain
from .settings import Settings

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


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Reduced when stuck: ``eta = max(minimum, initial * factor^n)`` after the ``n``-th time that progress stalled.

    Where it is not known how long training will take. A factor of 0.1 to 0.5 and a patience of 5 to 20 epochs are
    usual.

    Progress has stalled when the loss has not been below the best before by more than ``threshold |best|`` for more
    than `patience` epochs; the count then begins anew. The loss, which may be negative, is that on the validation data
    if there are any, otherwise the training loss. The rate moves from epoch to epoch.

    Parameters
    ----------
    initial : float
        Above 0.
    factor : float, default=0.1
        In (0, 1).
    patience : float, default=10
        At least 0.
    threshold : float, default=1e-4
        In [0, 1).
    minimum : float, default=0.0
        What the rate does not fall below.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    StepDecay : After given numbers of epochs.
    Network.fit : Its `early_stopping` ends training instead.

    References
    ----------
    Notes 003 ("divide by a constant when stuck").

    Examples
    --------
    >>> from fastbp import ReduceOnPlateau
    >>> schedule, memory = ReduceOnPlateau(0.1, factor=0.5, patience=1), None
    >>> for loss in (1.0, 0.5, 0.5, 0.5):  # without progress in two epochs
    ...     memory = schedule.observe(memory, loss)
    >>> schedule.rates([0], epoch=4, memory=memory)
    array([0.05])
    """

    initial: float
    factor: float = 0.1
    patience: float = 10
    threshold: float = 1e-4
    minimum: float = 0.0

    per = "epoch"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("initial", self.initial, "(0, inf)")
        check_number("factor", self.factor, "(0, 1)")
        check_number("patience", self.patience, "[0, inf)")
        check_number("threshold", self.threshold, "[0, 1)")
        check_number("minimum", self.minimum, "[0, inf)")
        if self.minimum > self.initial:
            raise ValueError(f"minimum must be at most initial, got {self.minimum} and {self.initial}")

    def rates(self, steps: ArrayLike, epoch: int = 0, memory: Any = None) -> NDArray[np.float64]:
        n = memory[0] if memory else 0
        return np.full(np.shape(steps), max(self.minimum, self.initial * self.factor**n), dtype=np.float64)

    def observe(self, memory: Any, loss: float) -> Any:
        """(reductions, best loss, epochs since) after an epoch of this loss."""
        n, best, since = memory or (0, np.inf, 0)
        margin = self.threshold * abs(best) if best < np.inf else 0
        if loss < best - margin:
            best, since = loss, 0
        else:
            since += 1
        return (n + 1, best, 0) if since > self.patience else (n, best, since)


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
