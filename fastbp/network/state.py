"""What training goes on from, from one call to the next: the state of an update rule, and of an average of weights."""

from dataclasses import dataclass, field

import numpy as np

from ..averaging import EMA, SWA
from ..schedules import Schedule


@dataclass(eq=False)
class AverageState:
    """An average of parameters. Between epochs it is what the network has; within them it has those that are learnt.

    Attributes
    ----------
    rule : EMA or SWA
    values : ndarray of shape (n_parameters,)
        The average so far, changed in place by the core's steps or after epochs.
    learnt : ndarray of shape (n_parameters,)
        What the next epoch goes on from.
    n : int
        How many steps or epochs are in the average. As long as there is none, it is what is learnt.
    """

    rule: EMA | SWA
    values: np.ndarray
    learnt: np.ndarray
    n: int = 0

    def copy(self):
        return AverageState(self.rule, self.values.copy(), self.learnt.copy(), self.n)

    @property
    def of_steps(self):
        """What the core takes to average steps; None if it is to do nothing."""
        return (self.values, self.n, self.rule.decay) if isinstance(self.rule, EMA) else None

    def add_epoch(self, epoch, parameters):
        """Average what an epoch ended with, if it is one to average."""
        if isinstance(self.rule, SWA) and self.rule.takes(epoch):
            self.n += 1
            if self.n == 1:
                self.values[:] = parameters
            else:
                np.subtract(parameters, self.values, out=self.learnt)
                self.learnt /= self.n
                self.values += self.learnt

    def end_epoch(self, n_steps, parameters):
        """Keep what was learnt, and put the average in its place."""
        if isinstance(self.rule, EMA):
            self.n += n_steps
        elif self.n == 0:
            self.values[:] = parameters
        self.learnt[:] = parameters
        parameters[:] = self.values


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
    average : AverageState or None
        None where the last epoch was without one.
    """

    kind: str
    arrays: list
    t: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    epochs: int = 0
    memory: tuple | None = None
    average: AverageState | None = None

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
        average = self.average and self.average.copy()
        return OptimizerState(
            self.kind, [a.copy() for a in self.arrays], self.t.copy(), self.epochs, self.memory, average
        )  # fmt: skip

    def begin_average(self, rule, parameters):
        """Its state, or None without a rule. What was learnt takes the place of the average; but if that is by another
        rule, or no longer what the network has, a new one begins with what it has."""
        if rule is None:
            self.average = None
        elif self.average is None or self.average.rule != rule or not np.array_equal(self.average.values, parameters):
            self.average = AverageState(rule, parameters.copy(), parameters.copy())
        else:
            parameters[:] = self.average.learnt
        return self.average

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
