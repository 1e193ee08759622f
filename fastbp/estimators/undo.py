"""An estimator whose training raises is as it was before."""

import copy
import functools
from contextlib import nullcontext

import numpy as np

from .. import threads
from .records import CURVES

# Stack level of the line that calls fit or partial_fit, seen from what `_fit` calls: two decorators are in between.
USER = 6


def undone_on_error(method):
    """Decorator that puts the estimator back as it was when the method raises.

    Attributes are rebound by training, so a shallow copy of them holds the old values; only what is
    changed in place (parameters and optimizer of a network that is trained further, growing lists,
    the learning rate, a random generator) is saved by value. What Ctrl-C in `partial_fit` leaves is
    kept if the training says so.
    """

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        further = "_bound" in vars(self) and (self.warm_start or method.__name__ == "partial_fit")
        net = self._network(train=True) if further else None
        with threads.exclusive(net) if further else nullcontext():  # refuses before anything is touched
            if further:
                parameters, moments = net.parameters, copy.deepcopy(net._optimizer_state)
                values = parameters.copy()
            attributes = dict(vars(self))
            curves = [attributes[name] for name in CURVES if isinstance(attributes.get(name), list)]
            curves = [(curve, slice(len(curve), None)) for curve in curves]
            optimizer = attributes.get("_optimizer")
            settings = None if optimizer is None else dict(vars(optimizer))
            seeded = isinstance(self.random_state, np.random.RandomState)
            draws = self.random_state.get_state() if seeded else None
            try:
                return method(self, *args, **kwargs)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and getattr(error, "leaves_usable_model", False):
                    raise
                # There may be no memory left: nothing before set_state needs any.
                self.__dict__ = attributes
                if net is not None:
                    np.copyto(parameters, values)
                    net._optimizer_state = moments
                if optimizer is not None:
                    optimizer.__dict__ = settings
                while curves:
                    curve, tail = curves.pop()
                    del curve[tail]
                if seeded:
                    self.random_state.set_state(draws)
                raise

    return wrapper
