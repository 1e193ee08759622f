"""Update rules for mini-batches: immutable settings. The network holds state, src_c/ops/optimizer.h does arithmetic.

Below, ``g`` is the gradient of the cost, penalties included, ``eta`` the learning rate and ``t`` the number of the
step, from 1; all state is zero before the first step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ._core import ROLES
from .checks import check_number, make_plain
from .schedules import Schedule, check_learning_rate
from .settings import FrozenDict, Settings

_INTERVALS = {
    "momentum": "[0, 1]",
    "dampening": "[0, 1]",
    "beta_1": "[0, 1)",
    "beta_2": "[0, 1)",
    "rho": "[0, 1)",
    "epsilon": "(0, inf)",
    "clip_value": "(0, inf)",
    "clip_norm": "(0, inf)",
    "weight_decay": "[0, inf)",
}
# What the kernels know, by the names of the rules' settings; 0 where a rule does not have it.
_SETTINGS = (
    "momentum", "dampening", "beta_1", "beta_2", "epsilon", "clip_value", "clip_norm", "weight_decay", "proximal",
    "radius",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UpdateRule(Settings, ABC):
    """Base class of the update rules for mini-batches, with the settings that all of them have.

    It is not a rule itself: use `SGD`, `Adam`, `AdamW`, `RMSProp` or `Adagrad`.

    Parameters
    ----------
    clip_value : float or None, default=None
        Each element of ``g`` is bounded by ``-clip_value`` and ``clip_value``.
    clip_norm : float or None, default=None
        ``g`` of all parameters is multiplied by ``clip_norm / |g|`` if its norm ``|g|`` is above ``clip_norm``, which
        is often 1 to 10. Not together with `clip_value`. It needs the whole gradient before the first update, and is
        slower for that.
    weight_decay : float, default=0.0
        Decoupled weight decay, at least 0: before each step ``w <- w - eta weight_decay w`` for weights, not biases.
        It is no part of the cost. Usual values are 0.001 to 0.1. For plain SGD alone it does what ``l2`` of a network
        does.
    proximal : bool, default=False
        Whether L1 penalties act by their proximal operator, which gives weights that are exactly zero, rather than by
        the subgradient ``l1 sign(w)`` in ``g``. After the step ``w <- sign(w) max(|w| - eta l1 / d, 0)``, where ``d``
        is what the rule divides the gradient by (1 for `SGD`), and a velocity becomes what ``w`` has moved by in all:
        training then ends where the cost's optimality conditions hold. L2 remains in ``g``, for the elastic net.
    per_role : dict or None, default=None
        Factors, at least 0, of the learning rate by the role of parameters; those that are not in it are 1. Roles are
        "weight" (of products), "bias", "scale" (of `Scale`, `PReLU`, and frequencies of `Periodic`) and "centre" (all
        of `RBF`). The factor multiplies ``eta`` wherever a rule has it, in weight decay and the proximal operator too.
        With 0 the parameters and their state stay as they are, to the bit, `max_norm` or not; ``|g|`` of `clip_norm`
        still has them in it. Batches of few rows take longer with factors of weights or biases. Rules for all rows at
        once have no such setting: they choose the lengths of their steps themselves.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    SGD, Adam, AdamW, RMSProp, Adagrad : The rules.
    SAM : Takes one of them as its base.
    FullBatch : Base class of the rules that take all rows at once.

    References
    ----------
    R. Pascanu and others, "On the difficulty of training recurrent neural networks", ICML 2013 (clipping).
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019. N. Parikh and S. Boyd, "Proximal
    algorithms", 2014; with momentum: P. Ochs and others, "iPiano: inertial proximal algorithm for nonconvex
    optimization", 2014; with scaled gradients: J. Yun and others, "Adaptive proximal gradient methods for structured
    neural networks", NeurIPS 2021. Notes 004 (L1 regularization).

    Examples
    --------
    >>> from fastbp import SGD, Adam, UpdateRule
    >>> isinstance(Adam(), UpdateRule)
    True
    >>> SGD(0.5, clip_norm=5.0, per_role={"bias": 2.0})
    SGD(learning_rate=0.5, clip_norm=5.0, per_role={'bias': 2.0})
    """

    clip_value: float | None = None
    clip_norm: float | None = None
    weight_decay: float = 0.0
    proximal: bool = False
    per_role: Mapping[str, float] | None = None

    # Averages are weighted in double, and the kernels bound epsilon from below.
    in_dtype: ClassVar[tuple[str, ...]] = ("learning_rate", "clip_value", "clip_norm", "weight_decay")

    def __post_init__(self) -> None:
        make_plain(self)
        check_learning_rate("learning_rate", self.learning_rate)
        for name, interval in _INTERVALS.items():
            value = getattr(self, name, None)
            if hasattr(self, name) and not (name.startswith("clip_") and value is None):
                check_number(name, value, interval)
        if self.per_role is not None:
            object.__setattr__(self, "per_role", _checked_factors(self.per_role))
        if self.clip_value is not None and self.clip_norm is not None:
            raise ValueError(f"clip_value must be None with clip_norm={self.clip_norm}, got {self.clip_value}")

    @property
    @abstractmethod
    def learning_rate(self) -> float | Schedule:
        """A number or a schedule, a setting of each rule."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Name of the kernel."""

    @property
    @abstractmethod
    def n_states(self) -> int:
        """Arrays of state for each parameter."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the kernels need to know but the learning rate, by name."""
        return {"rule": self.rule} | {name: getattr(self, name, None) or 0 for name in _SETTINGS}


def _checked_factors(per_role):
    """The factors in the order of roles."""
    if not isinstance(per_role, Mapping) or not set(per_role) <= set(ROLES):
        raise ValueError(f"per_role must be None or a dict with keys among {tuple(ROLES)}, got {per_role!r}")
    return FrozenDict(
        {role: check_number(f"per_role[{role!r}]", per_role[role], "[0, inf)") for role in ROLES if role in per_role}
    )


@dataclass(frozen=True)
class SGD(UpdateRule):
    """Stochastic gradient descent, with momentum if asked for.

    The plainest rule: it needs the most care for the learning rate and, with momentum and a schedule, often ends with
    the best network.

    ``v <- mu v - eta (1 - d) g``; ``w <- w + v``, or for Nesterov's accelerated gradient ``w <- w + mu v - eta g`` with
    the new ``v`` (the form that scikit-learn uses).

    Parameters
    ----------
    learning_rate : float or schedule, default=0.1
        ``eta``, above 0, or one of the schedules, such as `OneCycle`. Usual values are 0.001 to 1, a tenth of that with
        a momentum of 0.9.
    momentum : float, default=0.0
        ``mu``, in [0, 1]; 0.9 is usual.
    nesterov : bool, default=False
        Whether to look ahead; without momentum it makes no difference.
    dampening : float, default=0.0
        ``d``, in [0, 1]. With ``d = mu`` the velocity is a running average of gradients, "0.9 old, 0.1 new" for 0.9,
        and steps are as long as without momentum. As in PyTorch, it begins with the first gradient (``d = 0`` in the
        first step). Not for Nesterov's.
    clip_value, clip_norm, weight_decay, proximal, per_role
        See `UpdateRule`. `proximal` is not for Nesterov's.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Adam : Needs less tuning of the learning rate.
    OneCycle, CosineWarmRestarts : Schedules that are often used with it.
    LBFGS : For small data, without a learning rate.

    References
    ----------
    Notes 001 (the update rule) and 003 (momentum, as a running average). I. Sutskever and others, "On the importance of
    initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from fastbp import Dense, Network, SGD
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=SGD(0.1, momentum=0.9), epochs=100)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    learning_rate: float | Schedule = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, without in (("dampening", 0.0), ("proximal", False)):
            value = getattr(self, name)
            if value and self.rule == "nesterov":
                raise ValueError(f"{name} must be {without} with nesterov=True, got {value}")

    @property
    def rule(self) -> str:
        """Name of the kernel."""
        if self.momentum == 0:
            return "gradient_descent"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def n_states(self) -> int:
        """Arrays of state for each parameter."""
        return 0 if self.momentum == 0 else 1


@dataclass(frozen=True)
class Adam(UpdateRule):
    """Adam: steps scaled by running averages of the gradient and of its square.

    A good first choice, since its default settings work for many problems.

    ``m <- b1 m + (1 - b1) g``; ``r <- b2 r + (1 - b2) g^2``;
    ``w <- w - eta sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(r) + eps)``.

    Parameters
    ----------
    learning_rate : float or schedule, default=0.001
        ``eta``, above 0, or one of the schedules, such as `OneCycle`. Usual values are 0.0001 to 0.01.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the two averages, in [0, 1).
    epsilon : float, default=1e-8
        ``eps``, above 0.
    clip_value, clip_norm, weight_decay, proximal, per_role
        See `UpdateRule`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    AdamW : Has weight decay that does not depend on the size of gradients.
    SGD : With momentum and a schedule it often generalizes as well or better.
    RMSProp : Without the running average of the gradient.

    References
    ----------
    D. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, in the form at the end of its
    section 2, which scikit-learn uses too.

    Examples
    --------
    >>> from fastbp import Adam, Dense, Network
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=Adam(0.02), epochs=100)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    rule = "adam"
    n_states = 2


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, in the form of its paper and of PyTorch.

    For networks that overfit: the weights shrink at the same rate whatever their gradients are.

    ``w <- w - eta weight_decay w`` (weights, not biases); ``m`` and ``r`` as for `Adam`;
    ``w <- w - eta (m / (1 - b1^t)) / (sqrt(r / (1 - b2^t)) + eps)``, in which ``eps`` weighs less in the first steps
    than in `Adam`'s form.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        See `Adam`.
    weight_decay : float, default=0.01
        At least 0; usual values are 0.001 to 0.1.
    clip_value, clip_norm, proximal, per_role
        See `UpdateRule`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Adam : Where there is no weight decay, or L2 is a part of the cost.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019. There the decay is not multiplied
    by ``eta``, but by its schedule alone.

    Examples
    --------
    >>> from fastbp import AdamW, Dense, Network
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=AdamW(0.02, weight_decay=0.001), epochs=100)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    weight_decay: float = 0.01

    rule = "adamw"


@dataclass(frozen=True)
class RMSProp(UpdateRule):
    """RMSProp: the gradient divided by the root of the running average of its square.

    Like `Adam` it adapts the step of each parameter; it is often chosen for data that change over time.

    ``r <- rho r + (1 - rho) g^2``; ``v <- mu v - eta g / (sqrt(r) + eps)``; ``w <- w + v``. Centered, ``sqrt(r - m^2)``
    stands for ``sqrt(r)``, with the running average ``m <- rho m + (1 - rho) g``: an estimate of the variance.

    Parameters
    ----------
    learning_rate : float or schedule, default=0.001
        ``eta``, above 0, or one of the schedules, such as `OneCycle`.
    rho : float, default=0.9
        Decay of the averages, in [0, 1); PyTorch's ``alpha``, where the default is 0.99.
    epsilon : float, default=1e-8
        ``eps``, above 0.
    momentum : float, default=0.0
        ``mu``, in [0, 1].
    centered : bool, default=False
        Whether to divide by the standard deviation.
    clip_value, clip_norm, weight_decay, proximal, per_role
        See `UpdateRule`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Adam : Has a running average of the gradient, too.
    Adagrad : Divides by all squares so far, not by the recent ones.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", Coursera: Neural Networks for Machine Learning, 2012. Centered:
    A. Graves, "Generating sequences with recurrent neural networks", 2013.

    Examples
    --------
    >>> from fastbp import Dense, Network, RMSProp
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=RMSProp(0.01), epochs=100)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    @property
    def rule(self) -> str:
        """Name of the kernel."""
        return "rmsprop_centered" if self.centered else "rmsprop_momentum" if self.momentum else "rmsprop"

    @property
    def n_states(self) -> int:
        """Arrays of state for each parameter."""
        return 3 if self.centered else 2 if self.momentum else 1

    @property
    def settings(self) -> dict[str, Any]:
        """All that the kernels need to know but the learning rate, by name."""
        return super().settings | {"beta_2": self.rho}


@dataclass(frozen=True)
class Adagrad(UpdateRule):
    """Adagrad: the gradient divided by the root of the sum of all its squares so far.

    For sparse features, such as counts of words: rare ones get long steps. The steps become smaller all the time.

    ``r <- r + g^2``; ``w <- w - eta g / (sqrt(r) + eps)``.

    Parameters
    ----------
    learning_rate : float or schedule, default=0.01
        ``eta``, above 0, or one of the schedules, such as `OneCycle`.
    epsilon : float, default=1e-10
        ``eps``, above 0.
    clip_value, clip_norm, weight_decay, proximal, per_role
        See `UpdateRule`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    RMSProp : Forgets old gradients, so that the steps do not become ever smaller.
    SGD : The rule without scaling.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011, whose composite mirror descent is what `proximal` does here.

    Examples
    --------
    >>> from fastbp import Adagrad, Dense, Network
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=Adagrad(0.2), epochs=100)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    rule = "adagrad"
    n_states = 1


@dataclass(frozen=True)
class SAM(Settings):
    """Sharpness-aware minimisation: steps of another rule, with the gradient of the largest loss near by.

    ``w' = w + rho h / (|h| + 1e-12)`` with the gradient ``h`` of the batch's loss at ``w``, penalties of weights not
    included, those of ties included; then a step of `base` from ``w``, with the loss's gradient at ``w'``. To first
    order that minimises the largest loss at a distance of `rho` at most, so that training prefers flat minima to sharp
    ones. The two passes of a step see the same dropout and noise; `BatchNorm` follows the statistics of the first. The
    training losses are those at ``w``.

    Each step takes twice as long, and somewhat longer where `base` does not clip by norm: gradients are kept then.

    Parameters
    ----------
    base : SGD, Adam, AdamW, RMSProp or Adagrad
        The rule that makes the steps.
    rho : float, default=0.05
        In (0, inf); usual values are 0.01 to 0.2.

    Attributes
    ----------
    learning_rate : float or schedule
        That of `base`, whose state is also what there is.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    SGD, AdamW : Usual bases.
    SWA : Finds flat minima by averaging, at no cost per step.

    References
    ----------
    P. Foret and others, "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021.

    Examples
    --------
    >>> from fastbp import SAM, SGD, Dense, Network
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=SAM(SGD(0.5), rho=0.02), epochs=50)
    >>> bool(history.loss[-1] < 0.01)
    True
    """

    base: UpdateRule
    rho: float = 0.05

    in_dtype: ClassVar[tuple[str, ...]] = ("base", "rho")

    def __post_init__(self) -> None:
        make_plain(self)
        if not isinstance(self.base, UpdateRule):
            raise ValueError(f"base must be an SGD, Adam, AdamW, RMSProp or Adagrad, got {self.base!r}")
        check_number("rho", self.rho, "(0, inf)")

    @property
    def learning_rate(self) -> float | Schedule:
        """That of `base`."""
        return self.base.learning_rate

    @property
    def rule(self) -> str:
        """Name of the kernel."""
        return self.base.rule

    @property
    def n_states(self) -> int:
        """Arrays of state for each parameter."""
        return self.base.n_states

    @property
    def clip_value(self) -> float | None:
        """That of `base`."""
        return self.base.clip_value

    @property
    def per_role(self) -> Mapping[str, float] | None:
        """That of `base`."""
        return self.base.per_role

    @property
    def settings(self) -> dict[str, Any]:
        """All that the kernels need to know but the learning rate, by name."""
        return self.base.settings | {"radius": self.rho}
