"""`partial_fit` once more, with the settings of the call before and a single batch, as rows come in a stream.

Checks of settings, a state to begin with and a way back are most of what such a call takes, and would find and make
what they did then. Where anything is unusual, or the step would make something that is not finite, nothing has changed
and the long way is to be gone, which says what is wrong.
"""

import operator
import time

import numpy as np

from .. import threads
from .history import History
from .start import has_inputs_to_learn
from .state import constant

_NONE = np.empty(0)


class Again:
    """What a call in which nothing was random, weighted or averaged leaves for the next: settings, which are the same
    objects then, and what they stand for."""

    def __init__(self, settings, optimizer, state, batch_size, n_threads):
        self.settings, self.optimizer, self.state = settings, optimizer, state
        self.batch_size, self.n_threads = batch_size, n_threads
        self.rates, self.record = constant(optimizer.learning_rate, 1), np.empty((1, 3))

    def holds(self, model):
        """Whether the network has what it had after that call, but for values."""
        return (
            model.optimizer_state is self.state
            and model.optimizer is self.optimizer
            and self.state.average is None
            and not has_inputs_to_learn(model)
        )


def partial_fit(model, settings, X, y):
    """The history of an epoch of one step; None, and nothing has changed, if that is not all there is to do."""
    again = model.again
    if again is None or type(X) is not np.ndarray or X.ndim != 2 or not 0 < len(X) <= again.batch_size:
        return None
    if not all(map(operator.is_, settings, again.settings)):
        return None
    rows, n, state = model.check_rows(X, y), len(X), again.state
    history, started = History(np.empty(1), _NONE, np.empty(1)), time.perf_counter()
    with threads.exclusive(model.engine), model.team(again.n_threads, n, n) as n_threads:
        if not again.holds(model):
            return None
        loss = model.engine.train(
            model.parameters, model.layer_state, rows.data(), None, n, model.settings_of(again.optimizer), again.rates,
            state.arrays, state.t, model.penalties, model.tied_sets, False, again.record, n_threads, None, True, None,
        )  # fmt: skip
        if loss != loss:  # NaN
            return None
        history.loss[0], history.seconds[0] = loss, time.perf_counter() - started
        state.epochs += 1
    return history
