"""What all immutable settings share: parameters by name, as scikit-learn's searches read and set them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np


class Settings:
    """Base of the frozen dataclasses that hold settings: rules, schedules, units, losses, initializers, layers."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Settings by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add those of settings that have settings of their own, as ``learning_rate__maximum``; of
            sequences and dicts of settings by place and key, as ``layers__0__activation``.

        Returns
        -------
        params : dict
        """
        params = {}
        for name, value in parts_of(self).items():
            params[name] = value
            if deep:
                params |= params_within(name, value)
        return params

    def set_params(self, **params: Any) -> Self:
        """A copy with other settings. This object, which others may hold too, stays as it is.

        Parameters
        ----------
        **params
            Settings by the names that `get_params` gives.

        Returns
        -------
        settings : object of the same class

        Raises
        ------
        ValueError
            If a name is unknown or a value out of range.
        """
        return _replaced(self, changed(self, params))

    def __sklearn_clone__(self) -> Self:
        return self  # immutable


class FrozenDict(Mapping):
    """An immutable dict, to be one of the settings: it has a hash, and is equal to one in the same order."""

    def __init__(self, items):
        self._items = dict(items)

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)

    def __eq__(self, other):
        return isinstance(other, FrozenDict) and tuple(self.items()) == tuple(other.items())

    def __hash__(self):
        return hash(tuple(self.items()))

    def __repr__(self):
        return repr(self._items)


class FrozenArray:
    """An immutable array, to be one of the settings: it has a hash, and is equal to one that holds the same.

    Parameters
    ----------
    array : array-like
        Copied.
    """

    def __init__(self, array):
        array = np.array(array)
        array.flags.writeable = False
        self.array, self._key = array, (array.shape, array.dtype.str, array.tobytes())
        self._hash = hash(self._key)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype) if copy or dtype not in (None, self.array.dtype) else self.array

    def __reduce__(self):
        return FrozenArray, (self.array,)

    def __eq__(self, other):
        return isinstance(other, FrozenArray) and self._key == other._key

    def __hash__(self):
        return self._hash

    def __repr__(self):
        return f"<{self.array.dtype} array of shape {self.array.shape}>"


def parts_of(value):
    """What of a value has a name of its own: settings by their names, items of sequences and dicts that have some."""
    if isinstance(value, Settings):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: part for name, part in value.items() if isinstance(name, str)}
    if isinstance(value, list | tuple):
        return {str(i): v for i, v in enumerate(value) if isinstance(v, Settings | Mapping | list | tuple)}
    return {}


def params_within(name, value):
    """Parameters of what is itself the parameter of this name, by names ``name__part``."""
    params = {}
    for part, inner in parts_of(value).items():
        params[f"{name}__{part}"] = inner
        params |= params_within(f"{name}__{part}", inner)
    return params


def changed(holder, params):
    """New values of a holder's parameters, where ``a__b`` names part b of the settings that are its parameter a.

    Raises
    ------
    ValueError
        If ``a`` has no parts, or not this one.
    """
    changes, inner = {}, defaultdict(dict)
    for name, value in params.items():
        name, nested, rest = name.partition("__")
        if nested:
            inner[name][rest] = value
        else:
            changes[name] = value
    for name, within in inner.items():
        value = changes.get(name, parts_of(holder).get(name, getattr(holder, name, None)))
        if not parts_of(value):
            raise ValueError(
                f"Invalid parameter {name + '__' + next(iter(within))!r} for {type(holder).__name__}: {name} is "
                f"{value!r}, which has no parameters of its own."
            )
        changes[name] = _replaced(value, changed(value, within))
    return changes


def _replaced(value, changes):
    """A copy of settings, or of a sequence or dict of them, with other parts; ValueError for one that it has not."""
    parts = parts_of(value)
    for name in changes:
        if name not in parts:
            raise ValueError(f"Invalid parameter {name!r} for {value!r}. Valid parameters are: {list(parts)!r}.")
    if isinstance(value, Settings):
        return replace(value, **changes)
    if isinstance(value, Mapping):
        return type(value)(parts | changes)
    return type(value)(changes.get(str(i), part) for i, part in enumerate(value))
