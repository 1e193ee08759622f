"""An estimator whose training raises is as it was before."""

import functools
from contextlib import nullcontext
from inspect import signature

import numpy as np

from .. import threads
from ..names import did_you_mean
from ..undo import Undo
from .records import CURVES

# Stack level of the line that calls fit or partial_fit, seen from what `_fit` calls: two decorators are in between.
USER = 6


def undone_on_error(method, shortcut=None):
    """Decorator that puts the estimator back as it was when the method raises.

    Attributes are bound anew by training, so that a shallow copy of them holds the old values; only what is changed in
    place (parameters of a model that is trained further, growing lists, the learning rate, a random generator) is saved
    by value. What Ctrl-C in `partial_fit` leaves is kept if the training says so.

    ``shortcut(self, *args, **kwargs)`` may do all of a call without that; it returns whether it did.
    """

    known = signature(method).parameters

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        if kwargs and not kwargs.keys() <= known.keys():
            name = next(name for name in kwargs if name not in known)
            raise TypeError(
                f"{type(self).__name__}.{method.__name__}() got an unexpected keyword argument {name!r}"
                f"{did_you_mean(name, known)}"
            )
        if shortcut is not None and shortcut(self, *args, **kwargs):
            return self
        further = "_bound" in vars(self) and (self.warm_start or method.__name__ == "partial_fit")
        model = self._model(train=True) if further else None
        with threads.exclusive(model.engine) if further else nullcontext(), Undo(_is_usable) as undo:
            if isinstance(self.random_state, np.random.RandomState):
                undo.save_draws(self.random_state)
            undo.save_attributes(self)
            if further:
                undo.save_values(model.parameters)
                undo.save_values(model.layer_state)
                if self.prune is not None:  # else they stay, and to put them back takes memory
                    undo.save_attribute(model, "masks")
                undo.save_attribute(model, "optimizer_state")
                model.optimizer_state = model.optimizer_state and model.optimizer_state.copy()
            for name in CURVES:
                if isinstance(vars(self).get(name), list):
                    undo.save_length(vars(self)[name])
            if "_optimizer" in vars(self):
                undo.save_attributes(self._optimizer)
            return method(self, *args, **kwargs)

    return wrapper


def _is_usable(error):
    """Whether it is Ctrl-C that has left something to keep."""
    return isinstance(error, KeyboardInterrupt) and getattr(error, "leaves_usable_model", False)
