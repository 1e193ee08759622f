"""What training goes on from, from one call to the next: the state of an update rule, and of an average of weights."""

from dataclasses import dataclass, field

import numpy as np

from ..averaging import EMA, SWA
from ..optimizers import SAM
from ..schedules import Schedule

LEAST_ROWS = 256  # of which an average has statistics, if there have been so many


@dataclass(eq=False)
class AverageState:
    """An average of parameters. Between epochs it is what the network has; within them it has those that are learnt.

    Attributes
    ----------
    rule : EMA or SWA
    values : tuple of ndarray
        The average so far, (n_parameters,), and layers' state that goes with it, both changed in place.
    learnt : tuple of ndarray
        Parameters and layers' state that the next epoch goes on from.
    n : int
        How many steps or epochs are in the average. As long as there is none, it is what is learnt.
    n_batches : int
        Of how many batches the statistics in the layers' state of `values` are the means; if of none, it is that which
        goes with what is learnt.
    """

    rule: EMA | SWA
    values: tuple
    learnt: tuple
    n: int = 0
    n_batches: int = 0

    @classmethod
    def of(cls, rule, own):
        """One that begins with a network's own parameters and layers' state."""
        return cls(rule, _copies(own), _copies(own))

    def copy(self):
        return AverageState(self.rule, _copies(self.values), _copies(self.learnt), self.n, self.n_batches)

    def goes_on(self, rule, own):
        """Whether it is by this rule, and still what the network has."""
        return self.rule == rule and all(map(np.array_equal, self.values, own))

    @property
    def of_steps(self):
        """What the core takes to average steps; None if it is to do nothing."""
        return (self.values[0], self.n, self.rule.decay) if isinstance(self.rule, EMA) else None

    def add_epoch(self, epoch, parameters):
        """Average what an epoch ended with, if it is one to average."""
        if not isinstance(self.rule, SWA) or not self.rule.takes(epoch):
            return
        self.n += 1
        mean, difference = self.values[0], self.learnt[0]
        if self.n == 1:
            mean[:] = parameters
        else:
            np.subtract(parameters, mean, out=difference)
            difference /= self.n
            mean += difference

    def end_epoch(self, n_steps, own):
        """Keep what was learnt, and put the average in its place, as far as there is one."""
        if isinstance(self.rule, EMA):
            self.n += n_steps
        _fill(self.learnt, own)
        for value, its, n in zip(self.values, own, (self.n, self.n_batches), strict=True):
            if n == 0:
                value[:] = its
        _fill(own, self.values)

    def n_batches_before(self, n_rows, batch_size):
        """Of how many earlier batches the statistics are to count beside those of so many rows: of none, unless rows
        come a few at a time."""
        return min(self.n_batches, max(0, LEAST_ROWS - n_rows) // batch_size)


def _copies(arrays):
    return tuple([array.copy() for array in arrays])


def _fill(arrays, values):
    for array, value in zip(arrays, values, strict=True):
        array[:] = value


@dataclass(eq=False)
class OptimizerState:
    """State of an update rule, and the place in its schedule. Pickles hold it as the dict of its attributes.

    Attributes
    ----------
    kind : str
        Name of the rule's class; of `SAM` that of its base.
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
        return cls(_kind(optimizer), [np.zeros_like(parameters) for _ in range(optimizer.n_states)])

    @classmethod
    def copy_of(cls, attributes):
        """A copy of what a pickle holds; None of None."""
        return attributes and cls(**attributes).copy()

    def fits(self, optimizer):
        """Whether the rule can go on from it."""
        return self.kind == _kind(optimizer) and len(self.arrays) == optimizer.n_states

    def copy(self):
        average = self.average and self.average.copy()
        return OptimizerState(
            self.kind, [a.copy() for a in self.arrays], self.t.copy(), self.epochs, self.memory, average
        )  # fmt: skip

    def begin_average(self, rule, own):
        """The state of an average, or None without a rule; `own` are a network's parameters and layers' state.

        What was learnt takes their place; but if there is no average that goes on, a new one begins with them.
        """
        if rule is None:
            self.average = None
        elif self.average is not None and self.average.goes_on(rule, own):
            _fill(own, self.average.learnt)
        else:
            self.average = AverageState.of(rule, own)
        return self.average

    def learning_rate(self, optimizer):
        """That of the next step."""
        rate = optimizer.learning_rate
        return self.learning_rates(optimizer, 1)[0] if isinstance(rate, Schedule) else rate

    def learning_rates(self, optimizer, n_steps):
        """Learning rates of the next steps (float64), all of one epoch.

        A batch without weight makes no step, but has its rate: the position is set right at the next epoch.
        """
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule):
            return rate.rates(self.t + np.arange(n_steps), self.epochs, self.memory)
        return constant(rate, n_steps)

    def end_epoch(self, optimizer, loss):
        """Count an epoch, and let a schedule see its loss."""
        rate = optimizer.learning_rate
        self.epochs += 1
        if isinstance(rate, Schedule):
            self.memory = rate.observe(self.memory, loss)


def constant(rate, n_steps):
    """A learning rate (float64) for so many steps."""
    rates = np.empty(n_steps)
    rates.fill(rate)  # a third of the time of np.full
    return rates


def _kind(optimizer):
    return type(optimizer.base if isinstance(optimizer, SAM) else optimizer).__name__
