"""The way back: what a call changes in place is saved before, and put back if the call fails."""

import operator

import numpy as np


class Undo:
    """Context that puts back what was saved in it when its block raises, the last first.

    That takes no memory, of which there may be none left, but for random numbers: they are to be saved first.

    Parameters
    ----------
    keep : callable, default=None
        From the error to whether everything is to stay as it is.
    """

    def __init__(self, keep=None):
        self.keep, self.arrays, self.actions = keep, [], []

    def save_values(self, array):
        """Of an array that is written to."""
        values = array.copy()
        self.arrays.append((array, values))
        self.actions.append((np.copyto, (array, values)))

    def save_attribute(self, holder, name):
        """One that is bound anew, not changed in place."""
        self.actions.append((setattr, (holder, name, getattr(holder, name))))

    def save_attributes(self, holder):
        """All of them; those that are new go."""
        self.actions.append((setattr, (holder, "__dict__", dict(vars(holder)))))

    def save_length(self, items):
        """Of a list that grows."""
        self.actions.append((operator.delitem, (items, slice(len(items), None))))

    def save_draws(self, random_state):
        """The place of a RandomState in its sequence."""
        self.actions.append((random_state.set_state, (random_state.get_state(),)))

    def renew_values(self):
        """Save the arrays' present values in the place of those before."""
        for array, values in self.arrays:
            np.copyto(values, array)

    def put_back(self):
        """Make everything what it was when it was saved."""
        i = len(self.actions)
        while i:  # an iterator would take memory
            i -= 1
            action, arguments = self.actions[i]
            action(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if error is not None and not (self.keep is not None and self.keep(error)):
            self.put_back()
