"""What an update rule goes on from, from one call to the next."""

from dataclasses import dataclass, field

import numpy as np

from ..schedules import Schedule


@dataclass(eq=False)
class OptimizerState:
    """State of an update rule, and the place in its schedule. Pickles hold it as the dict of its attributes.

    Attributes
    ----------
    kind : str
        Name of the rule's class.
    arrays : list of ndarray of shape (n_parameters,)
        What the rule keeps for each parameter, changed in place.
    t : int64 ndarray of shape (1,)
        Number of steps so far, changed in place.
    epochs : int
        Number of epochs so far.
    memory : tuple or None
        What a schedule has kept of the losses.
    """

    kind: str
    arrays: list
    t: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    epochs: int = 0
    memory: tuple | None = None

    @classmethod
    def of(cls, optimizer, parameters):
        """That before the first step."""
        return cls(type(optimizer).__name__, [np.zeros_like(parameters) for _ in range(optimizer.n_states)])

    @classmethod
    def copy_of(cls, attributes):
        """A copy of what a pickle holds; None of None."""
        return attributes and cls(**attributes).copy()

    def fits(self, optimizer):
        """Whether the rule can go on from it."""
        return self.kind == type(optimizer).__name__ and len(self.arrays) == optimizer.n_states

    def copy(self):
        return OptimizerState(self.kind, [a.copy() for a in self.arrays], self.t.copy(), self.epochs, self.memory)

    def learning_rates(self, optimizer, n_steps):
        """Learning rates of the next steps (float64), all of one epoch.

        A batch without weight makes no step, but has its rate: the position is set right at the next epoch.
        """
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule):
            return rate.rates(self.t + np.arange(n_steps), self.epochs, self.memory)
        rates = np.empty(n_steps)
        rates.fill(rate)
        return rates

    def end_epoch(self, optimizer, loss):
        """Count an epoch, and let a schedule see its loss."""
        rate = optimizer.learning_rate
        self.epochs += 1
        if isinstance(rate, Schedule):
            self.memory = rate.observe(self.memory, loss)
