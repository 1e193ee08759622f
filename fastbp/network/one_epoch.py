"""One epoch by itself, as `partial_fit` makes it of new rows: nothing is copied for the way back, and as little is done
beside the steps as there can be."""

from __future__ import annotations

import math
import time

import numpy as np

from .. import threads
from ..checks import check_finite
from ..undo import Undo
from .again import Again
from .heads import named
from .history import History
from .start import has_inputs_to_learn, learn_inputs


def fit_epoch(
    model, random_state, rows, given, fresh, optimizer, batch_size, shuffle, n_threads, augmentation, average,
    settings,
):  # fmt: skip
    """What `Network.fit` does with ``epochs=1``, of checked arguments and dense rows, made from X and y, the `given`;
    `settings` are the other arguments as they were given, which the next call may have again.

    The engine writes nothing back that is not finite, and nothing that may fail comes after it.
    """
    n = rows.X.shape[0]
    shuffle = shuffle and batch_size < n
    data = (rows.row_major(model.dtype) if shuffle else rows).data()
    history, state, before = History(np.empty(1), np.empty(0), np.empty(1)), None, math.inf
    started = time.perf_counter()

    def made_step(error):
        return state is not None and state.t[0] > before

    with threads.exclusive(model.engine), Undo(made_step) as undo:
        if shuffle or augmentation is not None or model.is_random:
            undo.save_draws(random_state, uniform=True)
        undo.save_attribute(model, "optimizer_state")
        if fresh:
            model.optimizer_state = None
        if has_inputs_to_learn(model):
            undo.save_values(model.layer_state)
            undo.save_values(model.parameters)
            learn_inputs(model, rows)
        state = model.state_of(optimizer)
        undo.save_attribute(state, "average")
        before = state.t[0]
        again = None
        if not model.is_random and augmentation is None and average is None and rows.sample_weight is None:
            again = Again(settings, optimizer, state, batch_size, n_threads)
        order = None
        if shuffle:
            order = np.arange(n, dtype=np.int64)
            random_state.shuffle(order)
        _, loss = model.train_epoch(
            data, order, batch_size, optimizer, n_threads=n_threads, random_state=random_state,
            augmentation=augmentation, guarded=True, average=average,
        )  # fmt: skip
        history.loss[0], history.seconds[0] = loss, time.perf_counter() - started
        if loss != loss:  # NaN
            check_finite(loss, lambda: divergence(0), [("X", given[0]), *named("y", given[1])])
        state.end_epoch(optimizer, loss)
        model.again = again
    return history


def divergence(epoch):
    """The error of training that diverged in this epoch."""
    return FloatingPointError(
        "the training loss, a parameter or a square that the rule divides by is not finite after epoch "
        f"{epoch}; the parameters are those before the call. A smaller learning_rate or scaled inputs may help."
    )
