"""The way back: what a call changes in place is saved before, and put back if the call fails."""

import ctypes
import operator
from functools import cache

import numpy as np

_WORDS = ctypes.c_uint32 * 625  # of the Mersenne twister, and how many of them are used up


def state_setter(random_state):
    """A function and its arguments that put a RandomState back to its present place in its sequence, but for the
    Gaussian that it may have in reserve.

    Of the Mersenne twister the words themselves are copied, which takes a microsecond where `get_state` takes fifty, as
    it makes each of them an integer first.
    """
    generator = random_state._bit_generator
    if type(generator) is not np.random.MT19937 or not _words_are_the_state():
        return random_state.set_state, (random_state.get_state(legacy=False),)
    words = _WORDS.from_address(generator.ctypes.state_address)
    return ctypes.memmove, (words, bytes(words), ctypes.sizeof(words))


@cache
def _words_are_the_state():
    """Whether NumPy keeps the state where `state_setter` looks for it."""
    generator = np.random.MT19937(0)
    np.random.RandomState(generator).randint(9, size=9)
    state = generator.state["state"]
    words = np.frombuffer(_WORDS.from_address(generator.ctypes.state_address), np.uint32)
    return state["pos"] == words[-1] and np.array_equal(state["key"], words[:-1])


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

    def save_attributes(self, holder, names=None):
        """All of them; those that are new go. Or those with these names, which it has."""
        attributes = vars(holder)
        if names is None:
            self.actions.append((setattr, (holder, "__dict__", dict(attributes))))
        else:
            self.actions.append((attributes.update, ({name: attributes[name] for name in names},)))

    def save_length(self, items):
        """Of a list that grows."""
        self.actions.append((operator.delitem, (items, slice(len(items), None))))

    def save_draws(self, random_state, *, uniform=False):
        """The place of a RandomState in its sequence; `uniform`: nothing but uniform numbers is drawn from there on."""
        self.actions.append(
            state_setter(random_state) if uniform else (random_state.set_state, (random_state.get_state(legacy=False),))
        )

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
