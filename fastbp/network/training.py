"""Training: epochs with early stopping, what `then` asks for after it, and undoing when something goes wrong."""

import math
import time
import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite

from .. import threads
from .._core import Data
from ..augmentation import ImageAugmentation
from ..checks import check_in_dtype
from ..full_batch import FullBatch, Objective
from ..optimizers import UpdateRule
from ..schedules import Schedule
from .model import copied_state


@dataclass
class History:
    """What happened in a fit, epoch by epoch.

    Attributes
    ----------
    loss : ndarray of shape (n_epochs,)
        Mean training loss over the epoch's batches, each as it was before its update, penalties included. A full-batch
        rule that ends by itself ends with an epoch that made no progress, whose loss is the final one.
    validation_loss : ndarray of shape (n_epochs,)
        Loss on the validation data after the epoch, without penalties; empty without validation data.
    seconds : ndarray of shape (n_epochs,)
        Wall-clock time of the epoch's training.
    second : History or None
        The training on all data after early stopping that ``then`` asked for.
    """

    loss: np.ndarray
    validation_loss: np.ndarray
    seconds: np.ndarray
    second: "History | None" = None


class _Best(NamedTuple):
    """The epoch with the least validation loss: what to return to."""

    n_steps: int
    parameters: np.ndarray
    optimizer_state: dict | None


def fit(
    net, X, y, fresh, optimizer, epochs, batch_size, sample_weight, shuffle, validation_data, early_stopping, callback,
    verbose, n_threads, then, augmentation,
):  # fmt: skip
    """What `Network.fit` does, and `Network.partial_fit` with the optimizer's state that there is (not `fresh`)."""
    _check_settings(net, optimizer, epochs, batch_size, validation_data, early_stopping, n_threads, then)
    callbacks = _callbacks_of(callback)
    rows = net._rows(X, y, sample_weight)
    _check_randomness(net, optimizer, X, augmentation)
    validation = None if validation_data is None else _validation_rows(net, validation_data)
    if then is not None and (rows[2] is None) != (validation[2] is None):
        raise ValueError("then needs validation_data with a y like y: both class indices or both probabilities")

    with threads.exclusive(net):
        # one epoch alone is guarded by the engine, and nothing of ours that may fail comes after it
        alone = (
            epochs == 1 and validation is None and not callbacks and not verbose and not issparse(X)
            and not isinstance(optimizer, FullBatch) and not isinstance(optimizer.learning_rate, Schedule)
        )  # fmt: skip
        parameters = None if alone else net._parameters.copy()
        state, draws = net._optimizer_state, net._random_state.get_state()
        n_steps = int(state["t"][0]) if state else 0
        net._optimizer_state = None if fresh else state if alone else copied_state(state)
        arguments = optimizer, batch_size, shuffle, callbacks, verbose, n_threads, augmentation, alone
        try:
            history, best = _train(net, X, y, rows, validation, early_stopping, epochs, *arguments)
            if early_stopping is not None and best is None and not np.isfinite(history.validation_loss).any():
                skipped = "" if then is None else f", and then={then!r} was skipped"
                warnings.warn(
                    "no epoch had a finite validation loss: there are no best parameters for early_stopping to "
                    f"return to, those of the last epoch stay{skipped}",
                    ConvergenceWarning,
                    stacklevel=3,  # the caller of fit or partial_fit
                )
            if then is None or best is None:
                return history
            X, y = (X, validation_data[0]), (y, validation_data[1])
            limit = {"below": _cost(net, Data(*rows), n_threads)} if then == "continue" else {}
            rows = _joined(net, rows, validation)
            net._optimizer_state = best.optimizer_state
            if then == "retrain":
                net._parameters[:] = parameters
                net._optimizer_state = None if fresh else copied_state(state)
                limit = {"n_steps": best.n_steps}
            history.second, _ = _train(net, X, y, rows, None, None, epochs, *arguments, **limit)
            return history
        except BaseException as error:
            # Ctrl-C leaves what was learnt, anything else the network as it was; an epoch alone has been written
            # back, or not, when an error arrives.
            if alone:
                now = net._optimizer_state
                keep = now is not None and now["t"][0] != (n_steps if now is state else 0)
            else:
                keep = isinstance(error, KeyboardInterrupt) and np.isfinite(net._parameters).all()
                if not keep:
                    net._parameters[:] = parameters
            if not keep:
                net._optimizer_state = state
                net._random_state.set_state(draws)
            raise


def _train(
    net, X, y, rows, validation, early_stopping, epochs, optimizer, batch_size, shuffle, callbacks, verbose, n_threads,
    augmentation, guarded, n_steps=None, below=None,
):  # fmt: skip
    """Train for so many epochs or steps, or until the cost of all rows is below the one given, or the rule, early
    stopping or a callback ends it. X and y are what `rows` were made from, for messages.

    Returns the history, and the best epoch if there was early stopping and no callback ended it.
    """
    losses, validation_losses, seconds = [], [], []
    best, best_loss, since_best, ended = None, np.inf, 0, False
    validation = None if validation is None else Data(*validation)
    start = time.perf_counter()

    def end_epoch(loss):
        """Take down an epoch that had this loss; whether to stop. Raises if it is not finite."""
        nonlocal start, best, best_loss, since_best, ended
        epoch = len(losses)
        seconds.append(time.perf_counter() - start)
        losses.append(float(loss))
        _check_finite(losses[-1], epoch, X, y)
        if validation is not None:
            validation_losses.append(net._evaluate(validation, n_threads=n_threads))
        if not isinstance(optimizer, FullBatch):
            net._end_epoch(optimizer, losses[-1] if validation is None else validation_losses[-1])
        if early_stopping is not None:
            since_best += 1
            if validation_losses[-1] < best_loss:
                state = copied_state(net._optimizer_state)
                best, since_best = _Best(steps_made(), net._parameters.copy(), state), 0
                best_loss = validation_losses[-1]
        if verbose:
            tail = f", validation loss {validation_losses[-1]:.6f}" if validation is not None else ""
            of = f"/{epochs}" if n_steps is None else ""
            print(f"epoch {epoch + 1}{of}: loss {losses[-1]:.6f}{tail}, {seconds[-1]:.3f} s")
        if callbacks:
            now = history()
            results = [callback(epoch, now) for callback in callbacks]  # all of them, whichever ends it
            ended = any(isinstance(result, bool | np.bool_) and bool(result) for result in results)
        start = time.perf_counter()
        if ended or since_best == early_stopping:
            return True
        return below is not None and _cost(net, data, n_threads) < below

    def history():
        return History(np.array(losses), np.array(validation_losses), np.array(seconds))

    def steps_made():
        """Updates since the beginning; a batch without weight makes none."""
        return len(losses) if isinstance(optimizer, FullBatch) else int(net._optimizer_state["t"][0]) - t_0

    n_rows, data = rows[0].shape[0], Data(*rows)
    if n_steps is not None:
        epochs = n_steps  # at most: each makes a step
    if isinstance(optimizer, FullBatch):
        optimizer.train(
            Objective(net, rows, n_threads), epochs,
            lambda loss: end_epoch(loss if np.isfinite(net._parameters).all() else np.nan),
        )  # fmt: skip
    else:
        batch_size = min(batch_size or 32, n_rows)
        t_0 = int(net._state_of(optimizer)[-1][0])
        order = np.arange(n_rows, dtype=np.int64) if shuffle or n_steps is not None else None
        for _ in range(epochs):
            if shuffle:
                net._random_state.shuffle(order)
            if n_steps is not None:  # the last epoch may be a part of one
                order = order[: _rows_of_steps(n_steps - steps_made(), order, batch_size, rows[3])]
            _, loss = net._train_epoch(
                data, order, batch_size, optimizer, n_threads=n_threads, augmentation=augmentation, guarded=guarded
            )
            if end_epoch(loss) or (n_steps is not None and steps_made() == n_steps):
                break
    if best is not None:
        net._parameters[:] = best.parameters
    return history(), None if ended else best


def _check_finite(loss, epoch, X, y):
    """Raise unless the epoch's loss is finite: ValueError if X or y, or a part of them, is not."""
    if np.isfinite(loss):
        return
    for name, parts in (("X", X), ("y", y)):
        for part in parts if isinstance(parts, tuple) else (parts,):
            assert_all_finite(part, input_name=name)
    raise FloatingPointError(
        f"the training loss, a parameter or a square that the rule divides by is not finite after epoch {epoch}; the "
        "parameters are those before the call. A smaller learning_rate or scaled inputs may help."
    )


def _cost(net, data, n_threads):
    """The cost with penalties, at the present parameters."""
    return net._penalize(net._evaluate(data, n_threads=n_threads), np.zeros_like(net._parameters))[0]


def _joined(net, *parts):
    """Rows of several parts, each as `Model._rows` has them, as one."""
    X, y, labels, weights = zip(*parts, strict=True)
    if any(map(issparse, X)):
        X = net._check_X(vstack(list(map(csr_array, X)), format="csr"))
    else:
        X = np.concatenate(X)
    if any(w is not None for w in weights):
        weights = [np.ones(x.shape[0]) if w is None else w for (x, *_), w in zip(parts, weights, strict=True)]
    y = [a if a is None else a.reshape(len(a), -1) for a in y]
    y, labels, weights = (None if a[0] is None else np.concatenate(a) for a in (y, labels, weights))
    return X, y, labels, weights


def _rows_of_steps(n_steps, order, batch_size, sample_weight):
    """How many of the rows, in this order, make so many steps: a batch without weight makes none."""
    if sample_weight is not None:
        makes_step = np.logical_or.reduceat(sample_weight[order] > 0, np.arange(0, len(order), batch_size))
        n_steps = np.searchsorted(makes_step.cumsum(), n_steps) + 1
    return n_steps * batch_size


# ---- checks of the arguments ----------------------------------------------------------------------------------------


def check_optimizer(optimizer, dtype):
    """TypeError or ValueError unless it is a rule, with settings that are possible in a network's dtype."""
    if not isinstance(optimizer, UpdateRule | FullBatch):
        raise TypeError(
            "optimizer must be an SGD, Adam, AdamW, RMSProp or Adagrad, or Rprop, Quickprop, Newton, NewtonCG, BFGS or "
            f"LBFGS, got {optimizer!r}"
        )
    check_in_dtype(dtype, optimizer=optimizer)


def _check_settings(net, optimizer, epochs, batch_size, validation_data, early_stopping, n_threads, then):
    """TypeError or ValueError unless each setting is possible, also with the others and for this network."""
    check_optimizer(optimizer, net.dtype)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("early_stopping", early_stopping)):
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if early_stopping is not None and validation_data is None:
        raise ValueError("early_stopping needs validation_data, got None")
    if then not in (None, "retrain", "continue"):
        raise ValueError(f"then must be 'retrain', 'continue' or None, got {then!r}")
    if then is not None and early_stopping is None:
        raise ValueError(f"then={then!r} needs early_stopping, got None")
    if net.loss is None:
        raise ValueError("fit needs a network with a loss; with loss=None use forward, backward and step")
    threads.check_n_threads(n_threads)
    if isinstance(optimizer, FullBatch):
        if batch_size is not None:
            raise ValueError(
                f"batch_size must be None for {type(optimizer).__name__}, which takes all rows at once, got "
                f"{batch_size}"
            )
        optimizer.check(net)


def _callbacks_of(callback):
    """The callbacks as a tuple; TypeError if one can't be called."""
    callbacks = tuple(callback) if isinstance(callback, list | tuple) else () if callback is None else (callback,)
    if not all(map(callable, callbacks)):
        raise TypeError(f"callback must be a callable, a list of them or None, got {callback!r}")
    return callbacks


def _check_randomness(net, optimizer, X, augmentation):
    """ValueError or TypeError if what is random in training does not fit the arguments."""
    if augmentation is not None and not isinstance(augmentation, ImageAugmentation):
        raise TypeError(f"augmentation must be an ImageAugmentation or None, got {augmentation!r}")
    if augmentation is not None and math.prod(augmentation.image_shape) != net.n_inputs:
        raise ValueError(
            f"augmentation must be of images with {net.n_inputs} pixels, the network's inputs, got image_shape="
            f"{augmentation.image_shape}"
        )
    of_inputs = {"input_dropout": net.input_dropout, "input_noise": net.input_noise, "augmentation": augmentation}
    dropouts = {f"dropout of layers[{i}]": layer.dropout for i, layer in enumerate(net.layers)}
    used = [f"{name}={value}" for name, value in (of_inputs | dropouts).items() if value]
    if used and isinstance(optimizer, FullBatch):
        raise ValueError(
            f"optimizer must be a rule for mini-batches with {used[0]}: a full-batch rule needs a cost that is "
            f"the same at each evaluation, got {optimizer!r}"
        )
    if issparse(X) and any(of_inputs.values()):
        raise ValueError(f"X must be dense with {used[0]}, got a sparse matrix")


def _validation_rows(net, validation_data):
    """The validation data as `Model._rows` has them; a ValueError says that it is of them."""
    if not isinstance(validation_data, tuple) or len(validation_data) not in (2, 3):
        raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
    try:
        for part in validation_data[:2]:
            assert_all_finite(part)
        return net._rows(*validation_data)
    except ValueError as error:
        raise ValueError(f"validation_data: {error}") from error
