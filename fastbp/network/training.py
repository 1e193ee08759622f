"""Training: epochs with early stopping, and what `then` asks for after it."""

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite

from .. import threads
from ..augmentation import ImageAugmentation
from ..averaging import EMA, SWA
from ..checks import check_finite, check_flag
from ..full_batch import FullBatch, Objective
from ..optimizers import SAM, UpdateRule
from ..pruning import Prune
from ..schedules import Schedule
from ..undo import Undo
from . import again
from .heads import named
from .history import History
from .inputs import Rows
from .model import Model
from .one_epoch import divergence, fit_epoch
from .progress import ProgressBar
from .pruned_epoch import check_pruning, is_pruning, train_pruned_epoch
from .rules import check_optimizer, rule_of
from .start import learn_inputs
from .state import OptimizerState

BATCH_SIZE = 32  # by default


class Best(NamedTuple):
    """The epoch with the least validation loss: what to return to."""

    loss: float
    n_steps: int
    snapshot: tuple
    optimizer_state: OptimizerState | None


def fit(
    model, random_state, X, y, fresh, optimizer, epochs, batch_size, sample_weight, shuffle, validation_data,
    early_stopping, callback, verbose, n_threads, then, augmentation, prune, average, progress,
):  # fmt: skip
    """What `Network.fit` does, and `Network.partial_fit` with the optimizer's state that there is (not `fresh`)."""
    settings = (
        optimizer, epochs, batch_size, sample_weight, shuffle, validation_data, early_stopping, callback, verbose,
        n_threads, then, augmentation, prune, average, progress,
    )  # fmt: skip
    if not fresh and (history := again.partial_fit(model, settings, X, y)) is not None:
        return history
    optimizer = rule_of(optimizer)
    _check_settings(model, optimizer, epochs, batch_size, validation_data, early_stopping, n_threads, then, average)
    check_flag("shuffle", shuffle)
    callbacks, bar = _callbacks_of(callback), None
    if progress is not False:
        check_flag("progress", progress)
        bar = ProgressBar(epochs)
    rows = model.check_rows(X, y, sample_weight)
    _check_randomness(model, optimizer, X, augmentation)
    if prune is not None:
        _check_pruning(prune, average, optimizer, rows.X.shape[0], epochs, batch_size or BATCH_SIZE, fresh, then)
    validation = None if validation_data is None else _validation_rows(model, validation_data)
    if then is not None and _are_indices(rows) != _are_indices(validation):
        raise ValueError("then needs validation_data with a y like y: both class indices or both probabilities")
    if (
        epochs == 1 and validation is None and not callbacks and not verbose and bar is None
        and isinstance(rows.X, np.ndarray) and prune is None and not isinstance(optimizer, FullBatch)
        and not isinstance(optimizer.learning_rate, Schedule) and not (average is not None and model.follows_steps)
    ):  # fmt: skip
        return fit_epoch(
            model, random_state, rows, (X, y), fresh, optimizer, batch_size or BATCH_SIZE, shuffle, n_threads,
            augmentation, average, settings,
        )  # fmt: skip
    training = Training(
        model, random_state, rows, [("X", X), *named("y", y)], optimizer, epochs, batch_size or BATCH_SIZE, shuffle,
        callbacks, verbose, n_threads, augmentation, validation, early_stopping, prune, average, bar,
    )  # fmt: skip

    def keep(error):
        """Whether what was learnt stays."""
        return isinstance(error, KeyboardInterrupt) and all(
            np.isfinite(values).all() for values in (model.parameters, model.layer_state)
        )

    with bar or nullcontext(), threads.exclusive(model.engine), Undo(keep) as undo:
        state = model.optimizer_state
        undo.save_draws(random_state, uniform=True)
        undo.save_attribute(model, "optimizer_state")
        undo.save_values(model.parameters)
        undo.save_values(model.layer_state)
        if prune is not None:
            undo.save_attribute(model, "masks")
        state = state and state.copy()
        start = (model.snapshot(), state and state.copy()) if then == "retrain" else None
        model.optimizer_state = None if fresh else state
        history = training.run()
        best = training.best
        if early_stopping is not None and best is None and not np.isfinite(history.validation_loss).any():
            skipped = "" if then is None else f", and then={then!r} was skipped"
            warnings.warn(
                "no epoch had a finite validation loss: there are no best parameters for early_stopping to "
                f"return to, those of the last epoch stay{skipped}",
                ConvergenceWarning,
                stacklevel=3,  # the caller of fit or partial_fit
            )
        if then is None or best is None or training.ended:
            return history
        if then == "retrain":
            model.restore(start[0])
            model.optimizer_state = None if fresh else start[1]
            limit = {"step_limit": best.n_steps}
        else:
            model.optimizer_state = best.optimizer_state
            limit = {"cost_limit": model.penalized_cost(rows.data(), n_threads)}
        given = [("X", X), *named("y", y), ("X", validation_data[0]), *named("y", validation_data[1])]
        rows = _joined(model, training.rows, validation)
        history.second = replace(training, rows=rows, given=given, validation=None, early_stopping=None, **limit).run()
        return history


@dataclass
class Training:
    """Training of a model, until so many epochs or steps are done, or the cost is low enough, or the rule, early
    stopping or a callback ends it.

    The settings are those of `Network.fit`, checked, and

    - ``given``: what the rows were made from, pairs of an argument's name and the array, for messages;
    - ``step_limit``: ends it instead of ``epochs``;
    - ``cost_limit``: ends it after an epoch with a cost of all rows, penalties included, below this.

    After `run`, ``best`` is the best epoch if there was early stopping, and ``ended`` whether a callback ended it.
    """

    model: Model
    random_state: np.random.RandomState
    rows: Rows
    given: list
    optimizer: UpdateRule | SAM | FullBatch
    epochs: int
    batch_size: int
    shuffle: bool
    callbacks: tuple
    verbose: bool
    n_threads: int | None
    augmentation: ImageAugmentation | None
    validation: Rows | None
    early_stopping: int | None
    prune: Prune | None
    average: EMA | SWA | None
    bar: ProgressBar | None
    step_limit: int | None = None
    cost_limit: float | None = None

    def __post_init__(self):
        self.losses, self.validation_losses, self.seconds = [], [], []
        self.best, self.since_best, self.ended = None, 0, False
        if self.shuffle and not isinstance(self.optimizer, FullBatch):
            self.rows = self.rows.row_major(self.model.dtype)
        self.data, self.validation_data = self.rows.data(), self.validation and self.validation.data()
        self.state = None  # the optimizer's, once it is a rule for mini-batches that has begun

    def run(self):
        """Train; returns the history."""
        learn_inputs(self.model, self.rows)
        self.started = time.perf_counter()
        if isinstance(self.optimizer, FullBatch):
            self._run_full_batch()
        else:
            self._run_batches()
        if self.best is not None:
            self.model.restore(self.best.snapshot)
        return self.history()

    def history(self):
        """What has happened so far."""
        return History(np.array(self.losses), np.array(self.validation_losses), np.array(self.seconds))

    @property
    def n_steps(self):
        """Updates since the beginning; a batch without weight makes none."""
        if isinstance(self.optimizer, FullBatch):
            return len(self.losses)
        return 0 if self.state is None else int(self.state.t[0]) - self.first_step

    def _run_full_batch(self):
        def end_iteration(loss):
            return self._end_epoch(loss if np.isfinite(self.model.parameters).all() else np.nan)

        objective = Objective(self.model, self.rows, self.n_threads, batch_statistics=True)
        self.optimizer.train(objective, self.step_limit or self.epochs, end_iteration)

    def _run_batches(self):
        state = self.model.state_of(self.optimizer)
        self.first_step, self.state = int(state.t[0]), state
        n_rows, limit = self.data.n_rows, self.step_limit
        batch_size = min(self.batch_size, n_rows)
        shuffle = self.shuffle and batch_size < n_rows
        order = np.arange(n_rows, dtype=np.int64) if shuffle or limit is not None else None
        for _ in range(limit or self.epochs):  # each makes a step at least
            if shuffle:
                self.random_state.shuffle(order)
            if limit is not None:  # the last epoch may be a part of one
                weight = self.rows.sample_weight
                order = order[: _rows_of_steps(limit - self.n_steps, order, batch_size, weight)]
            if self._end_epoch(self._train_epoch(order, batch_size)) or self.n_steps == limit:
                return

    def _train_epoch(self, order, batch_size):
        """An epoch over these rows; returns its loss."""
        arguments = self.data, order, batch_size, self.optimizer
        settings = {
            "n_threads": self.n_threads, "random_state": self.random_state, "augmentation": self.augmentation,
            "average": self.average,
        }  # fmt: skip
        if self.prune is None:
            return self.model.train_epoch(*arguments, **settings)[1]
        return train_pruned_epoch(self.model, self.prune, *arguments, **settings)[1]

    def _end_epoch(self, loss):
        """Take down an epoch that had this loss; whether to stop. Raises if it is not finite."""
        self.seconds.append(time.perf_counter() - self.started)
        self.losses.append(float(loss))
        check_finite(loss, lambda: divergence(len(self.losses) - 1), self.given)
        if self.validation is not None:
            self.validation_losses.append(self.model.evaluate(self.validation_data, n_threads=self.n_threads))
        if self.state is not None:
            self.state.end_epoch(self.optimizer, (self.validation_losses or self.losses)[-1])
        if self.early_stopping is not None:
            self._look_for_best(self.validation_losses[-1])
        if self.verbose:
            self._print_epoch()
        if self.bar is not None:
            self.bar.end_epoch(self.losses, self.validation_losses)
        if self.callbacks:
            self._call_back()
        self.started = time.perf_counter()
        if self.ended or self.since_best == self.early_stopping:
            return True
        return self.cost_limit is not None and (
            self.model.penalized_cost(self.data, self.n_threads) < self.cost_limit
        )

    def _look_for_best(self, loss):
        if is_pruning(self.prune, self.state):
            return  # the best networks are those with the most weights
        self.since_best += 1
        if loss < (np.inf if self.best is None else self.best.loss):
            state = self.model.optimizer_state
            self.best = Best(loss, self.n_steps, self.model.snapshot(), state and state.copy())
            self.since_best = 0

    def _print_epoch(self):
        of = f"/{self.epochs}" if self.step_limit is None else ""
        tail = f", validation loss {self.validation_losses[-1]:.6f}" if self.validation is not None else ""
        print(f"epoch {len(self.losses)}{of}: loss {self.losses[-1]:.6f}{tail}, {self.seconds[-1]:.3f} s")

    def _call_back(self):
        epoch, now = len(self.losses) - 1, self.history()
        results = [callback(epoch, now) for callback in self.callbacks]  # all of them, whichever ends it
        self.ended = any(isinstance(result, bool | np.bool_) and bool(result) for result in results)


def _joined(model, *parts):
    """Several `Rows` as one."""
    X, y, labels, weights = zip(*parts, strict=True)
    if any(map(issparse, X)):
        X = model.check_X(vstack(list(map(csr_array, X)), format="csr"))
    else:
        X = np.concatenate(X)
    if any(w is not None for w in weights):
        weights = [np.ones(x.shape[0]) if w is None else w for (x, *_), w in zip(parts, weights, strict=True)]
    return Rows(X, _concatenated(y), _concatenated(labels), _concatenated(weights))


def _concatenated(parts):
    """Arrays, None, or tuples of them, as one of their kind; a vector and a matrix of one column are a matrix."""
    if isinstance(parts[0], tuple):
        return tuple(map(_concatenated, zip(*parts, strict=True)))
    if parts[0] is None:
        return None
    if any(part.ndim == 2 for part in parts):
        parts = [part.reshape(len(part), -1) for part in parts]
    return np.concatenate(parts)


def _are_indices(rows):
    """Whether targets are class indices; of several heads a list."""
    return [labels is not None for labels in (rows.labels if isinstance(rows.labels, tuple) else [rows.labels])]


def _rows_of_steps(n_steps, order, batch_size, sample_weight):
    """How many of the rows, in this order, make so many steps: a batch without weight makes none."""
    if sample_weight is not None:
        makes_step = np.logical_or.reduceat(sample_weight[order] > 0, np.arange(0, len(order), batch_size))
        n_steps = np.searchsorted(makes_step.cumsum(), n_steps) + 1
    return n_steps * batch_size


# ---- checks of the arguments ----------------------------------------------------------------------------------------


def _check_settings(
    model, optimizer, epochs, batch_size, validation_data, early_stopping, n_threads, then, average
):  # fmt: skip
    """TypeError or ValueError unless each setting is possible, also with the others and for this network."""
    if optimizer is not model.optimizer:  # it is immutable, and was checked when it became that
        check_optimizer(optimizer, model.dtype)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("early_stopping", early_stopping)):
        if (value is None and name != "epochs") or (type(value) is int and value >= 1):
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if early_stopping is not None and validation_data is None:
        raise ValueError("early_stopping needs validation_data, got None")
    if then not in (None, "retrain", "continue"):
        raise ValueError(f"then must be 'retrain', 'continue' or None, got {then!r}")
    if then is not None and early_stopping is None:
        raise ValueError(f"then={then!r} needs early_stopping, got None")
    if model.loss is None:
        raise ValueError("fit needs a network with a loss; with loss=None use forward, backward and step")
    threads.check_n_threads(n_threads)
    if average is not None and not isinstance(average, EMA | SWA):
        raise TypeError(f"average must be an EMA, a SWA or None, got {average!r}")
    if isinstance(optimizer, FullBatch):
        if average is not None:
            raise ValueError(
                f"average must be None for {type(optimizer).__name__}, whose iterations have no noise to average, got "
                f"{average!r}"
            )
        if batch_size is not None:
            raise ValueError(
                f"batch_size must be None for {type(optimizer).__name__}, which takes all rows at once, got "
                f"{batch_size}"
            )
        optimizer.check(model)


def _callbacks_of(callback):
    """The callbacks as a tuple; TypeError if one can't be called."""
    if callback is None:
        return ()
    callbacks = tuple(callback) if isinstance(callback, list | tuple) else (callback,)
    if not all(map(callable, callbacks)):
        raise TypeError(f"callback must be a callable, a list of them or None, got {callback!r}")
    return callbacks


def _check_randomness(model, optimizer, X, augmentation):
    """ValueError or TypeError if what is random in training does not fit the arguments."""
    if augmentation is not None and not isinstance(augmentation, ImageAugmentation):
        raise TypeError(f"augmentation must be an ImageAugmentation or None, got {augmentation!r}")
    if augmentation is not None and math.prod(augmentation.image_shape) != model.n_inputs:
        raise ValueError(
            f"augmentation must be of images with {model.n_inputs} pixels, the network's inputs, got image_shape="
            f"{augmentation.image_shape}"
        )
    if augmentation is not None and model.categories:
        raise ValueError(
            f"augmentation must be None with Embed, for which columns of X hold integers, got {augmentation!r}"
        )
    if augmentation is None and not model.is_random:
        return
    of_inputs = {"input_dropout": model.input_dropout, "input_noise": model.input_noise, "augmentation": augmentation}
    dropouts = {f"dropout of layers[{value.name}]": value.dropout for value in model.graph.values}
    used = [f"{name}={value}" for name, value in (of_inputs | dropouts).items() if value]
    if used and isinstance(optimizer, FullBatch):
        raise ValueError(
            f"optimizer must be a rule for mini-batches with {used[0]}: a full-batch rule needs a cost that is "
            f"the same at each evaluation, got {optimizer!r}"
        )
    if issparse(X) and any(of_inputs.values()):
        raise ValueError(f"X must be dense with {used[0]}, got a sparse matrix")


def _check_pruning(prune, average, optimizer, n_rows, epochs, batch_size, fresh, then):
    """TypeError or ValueError if the pruning does not fit the other arguments."""
    if not isinstance(prune, Prune):
        raise TypeError(f"prune must be a Prune or None, got {prune!r}")
    if isinstance(optimizer, FullBatch):
        raise ValueError(
            f"optimizer must be a rule for mini-batches with prune: a full-batch rule needs a cost that is the same at "
            f"each evaluation, got {optimizer!r}"
        )
    if then == "retrain" and prune.per == "epoch":
        raise ValueError(
            "prune must have per='step' with then='retrain', which makes as many steps but other epochs, got "
            f"{prune!r}"
        )
    check_pruning(prune, average, n_rows, epochs, batch_size, fresh)


def _validation_rows(model, validation_data):
    """The validation data as `Rows`; a ValueError says that it is of them."""
    if not isinstance(validation_data, tuple) or len(validation_data) not in (2, 3):
        got = type(validation_data).__name__
        if isinstance(validation_data, tuple):
            got += f" of length {len(validation_data)}"
        raise ValueError(f"validation_data must be a tuple (X, y) or (X, y, sample_weight), got {got}")
    try:
        for name, part in (("X", validation_data[0]), *named("y", validation_data[1])):
            assert_all_finite(part, input_name=name)
        return model.check_rows(*validation_data)
    except ValueError as error:
        raise ValueError(f"validation_data: {error}") from error
