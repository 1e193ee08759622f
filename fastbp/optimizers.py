"""Update rules: immutable settings. A network holds their state; src_c/kernels_impl.h does the arithmetic."""

from dataclasses import dataclass

from .schedules import Schedule, _check, check_learning_rate


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum if asked for.

    ``v <- mu v - eta g``; ``w <- w + v``, or for Nesterov's accelerated gradient ``w <- w + mu v - eta g`` with the
    new ``v`` (the form that scikit-learn uses).

    Parameters
    ----------
    learning_rate : float or schedule, default=0.1
        ``eta``, above 0, or one of the schedules, such as `OneCycle`.
    momentum : float, default=0.0
        ``mu``, in [0, 1].
    nesterov : bool, default=False
        Whether to look ahead; without momentum it makes no difference.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    Notes 001 (the update rule) and 003 (momentum). I. Sutskever and others, "On the importance of initialization and
    momentum in deep learning", ICML 2013.
    """

    learning_rate: float | Schedule = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        check_learning_rate("learning_rate", self.learning_rate)
        _check("momentum", self.momentum, "[0, 1]")

    @property
    def rule(self):
        """Name of the kernel."""
        if self.momentum == 0:
            return "gradient_descent"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def n_states(self):
        """Arrays of state for each parameter."""
        return 0 if self.momentum == 0 else 1

    @property
    def settings(self):
        """(momentum, beta_1, beta_2, epsilon), as the kernels take them."""
        return self.momentum, 0.0, 0.0, 0.0


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running averages of the gradient and of its square.

    ``m <- b1 m + (1 - b1) g``; ``v <- b2 v + (1 - b2) g^2``;
    ``w <- w - eta sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)``.

    Parameters
    ----------
    learning_rate : float or schedule, default=0.001
        ``eta``, above 0, or one of the schedules, such as `OneCycle`.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of the two averages, in [0, 1).
    epsilon : float, default=1e-8
        ``eps``, above 0.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    D. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, in the form at the end of its
    section 2.
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    rule = "adam"
    n_states = 2

    def __post_init__(self):
        check_learning_rate("learning_rate", self.learning_rate)
        _check("beta_1", self.beta_1, "[0, 1)")
        _check("beta_2", self.beta_2, "[0, 1)")
        _check("epsilon", self.epsilon, "(0, inf)")

    @property
    def settings(self):
        """(momentum, beta_1, beta_2, epsilon), as the kernels take them."""
        return 0.0, self.beta_1, self.beta_2, self.epsilon
