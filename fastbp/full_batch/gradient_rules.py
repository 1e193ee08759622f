"""Rules that need one gradient for an update, and look at each parameter by itself: Rprop and Quickprop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..checks import check_number, make_plain
from .rule import FullBatch


class GradientRule(FullBatch):
    """A rule that needs one gradient for an update, and keeps two arrays of state."""

    n_states = 2

    @abstractmethod
    def update(self, parameters: Any, gradient: Any, previous: Any, step: Any, t: Any) -> None:
        """Update parameters and state (two arrays, number of updates) in place."""

    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        for _ in range(epochs):
            cost, gradient = objective.value_and_gradient()
            state = objective.model.state_of(self)
            with np.errstate(all="ignore"):
                previous, step = state.arrays
                self.update(objective.parameters, gradient, previous, step, state.t)
            if end_epoch(cost) or not gradient.any():
                return


@dataclass(frozen=True)
class Rprop(GradientRule):
    """Resilient backpropagation: each parameter has a step size of its own, and only the gradient's sign counts.

    Robust: the first step sizes hardly matter, nor does the scale of the cost.

    With ``g'`` the gradient before and the product taken for each parameter,

    - ``g g' > 0``: ``step <- min(eta_plus step, step_max)``, ``w <- w - sign(g) step``;
    - ``g g' < 0``: ``step <- max(eta_minus step, step_min)``, ``w`` stays, and ``g`` is remembered as 0;
    - ``g g' = 0``: ``w <- w - sign(g) step``.

    This is the variant without weight-backtracking (Rprop-), in which the parameter rests for one iteration after a
    change of sign: the one that PyTorch has.

    Parameters
    ----------
    learning_rate : float, default=0.01
        All step sizes at the start.
    etas : tuple of float, default=(0.5, 1.2)
        ``eta_minus`` in (0, 1) and ``eta_plus`` above 1.
    step_sizes : tuple of float, default=(1e-6, 50)
        ``step_min`` and ``step_max``.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    LBFGS : Usually takes fewer iterations.
    Quickprop : Uses the size of the gradient too.

    References
    ----------
    M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    ICNN 1993. C. Igel and M. Hüsken, "Improving the Rprop learning algorithm", NC 2000 (the variants).

    Examples
    --------
    >>> from fastbp import Dense, Network, Rprop
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=Rprop(), epochs=100)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    learning_rate: float = 0.01
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50)

    in_dtype: ClassVar[tuple[str, ...]] = ("learning_rate", "etas", "step_sizes")

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("learning_rate", self.learning_rate, "(0, inf)")
        for name in ("etas", "step_sizes"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(f"{name} must be a pair of numbers, got {pair!r}")
        check_number("etas[0]", self.etas[0], "(0, 1)")
        check_number("etas[1]", self.etas[1], "(1, inf)")
        check_number("step_sizes[0]", self.step_sizes[0], "(0, inf)")
        check_number("step_sizes[1]", self.step_sizes[1], f"[{self.step_sizes[0]}, inf)")

    def update(self, parameters: Any, gradient: Any, previous: Any, step: Any, t: Any) -> None:
        """Update parameters and state (signs before, step sizes, number of updates) in place."""
        if t[0] == 0:
            step.fill(self.learning_rate)
        sign = np.sign(gradient)
        agreement = sign * previous
        step[agreement < 0] *= self.etas[0]
        step[agreement > 0] *= self.etas[1]
        step.clip(*self.step_sizes, out=step)
        sign[agreement < 0] = 0
        parameters -= sign * step
        previous[:] = sign
        t += 1


@dataclass(frozen=True)
class Quickprop(GradientRule):
    """Quickprop: each parameter jumps to the minimum of a parabola through its last two slopes.

    Of historical interest: fast where the cost is nearly a parabola in each parameter, and erratic elsewhere.

    With slope ``s``, slope ``p`` and step ``d`` of the iteration before,

    - ``d = 0``: ``step = -eta s``;
    - otherwise ``step = d s / (p - s)``, but ``mu d`` where that would be more than ``mu`` times as far or uphill (that
      is where ``s / p > mu / (1 + mu)``), and ``-eta s`` is added while ``s`` still has the sign of ``p``.

    Fahlman's weight decay is the network's `l2`.

    Parameters
    ----------
    learning_rate : float, default=0.1
        ``eta``, Fahlman's epsilon.
    max_growth_factor : float, default=1.75
        ``mu``, above 0.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Rprop : More robust.
    LBFGS : Usually takes fewer iterations.

    References
    ----------
    S. Fahlman, "An empirical study of learning speed in back-propagation networks", CMU-CS-88-162, 1988. Notes 003.

    Examples
    --------
    >>> from fastbp import Dense, Network, Quickprop
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=Quickprop(0.1), epochs=200)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    learning_rate: float = 0.1
    max_growth_factor: float = 1.75

    in_dtype: ClassVar[tuple[str, ...]] = ("learning_rate", "max_growth_factor")

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("learning_rate", self.learning_rate, "(0, inf)")
        check_number("max_growth_factor", self.max_growth_factor, "(0, inf)")

    def update(self, parameters: Any, gradient: Any, previous: Any, step: Any, t: Any) -> None:
        """Update parameters and state (slopes and steps before, number of updates) in place."""
        mu = self.max_growth_factor
        # Slopes along the step before, negative where it led downhill; it was taken downhill, so p < 0. In double, for
        # their products may overflow where the step does not.
        direction = np.sign(step, dtype=np.float64)
        s, p = direction * gradient, direction * previous
        far = s <= mu / (1 + mu) * p
        parabola = step * s / np.where(far, 1, p - s)
        linear = np.where((s < 0) | (direction == 0), -self.learning_rate * gradient, 0)
        step[:] = np.where(far, mu * step, parabola) + linear
        parameters += step
        previous[:] = gradient
        t += 1
