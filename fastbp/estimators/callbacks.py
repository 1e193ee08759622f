"""scikit-learn's callbacks."""

import copy
from functools import partial

from ..full_batch import Objective
from .records import CURVES

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""


class Tasks:
    """Reports a fit and its epochs to scikit-learn's callbacks; idle when there are none.

    Tearing them down after the fit, or after an error in it, is the work of `_fit_context`.
    """

    def __init__(self, estimator, X, y, sample_weight, max_subtasks):
        self.root = self.epoch = None
        if hasattr(estimator, "_init_callback_context"):
            self.root = estimator._init_callback_context(max_subtasks=max_subtasks)
        self.active = self.root is not None and hasattr(estimator, "_skl_callbacks")
        self.arguments = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self.fitted = {"reconstruction_attributes": partial(_checkpoint, estimator)}
        if self.active:
            self.root.call_on_fit_task_begin(**self.arguments)

    def begin(self, name):
        """Begin an epoch or iteration, unless one is under way."""
        if self.active and self.epoch is None:
            self.epoch = self.root.subcontext(task_name=name)
            self.epoch.call_on_fit_task_begin(**self.arguments, **self.fitted)

    def end(self):
        """End the epoch or iteration under way; whether a callback asks to stop."""
        epoch, self.epoch = self.epoch, None
        return epoch is not None and epoch.call_on_fit_task_end(**self.arguments, **self.fitted)

    def close(self):
        """End what is under way and the fit."""
        if self.active:
            self.end()
            self.root.call_on_fit_task_end(**self.arguments, **self.fitted)


class ReportedObjective(Objective):
    """An objective that begins an iteration for scikit-learn's callbacks when it is evaluated."""

    def __init__(self, model, rows, n_threads, tasks):
        super().__init__(model, rows, n_threads, batch_statistics=True)
        self.tasks = tasks

    def value_and_gradient(self, l1=True):
        self.tasks.begin("iteration")
        return super().value_and_gradient(l1)


def _checkpoint(estimator):
    """Attributes of an estimator as if training ended now."""
    names = ("coefs_", "intercepts_", "_layer_state", "_optimizer", "_optimizer_state", *CURVES)
    state = vars(estimator) | estimator.__getstate__()
    return {name: copy.deepcopy(state[name]) for name in names if name in state}
