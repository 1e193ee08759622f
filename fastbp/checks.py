"""Checks of single settings, shared by all modules that take them."""

from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from numbers import Integral, Real

import numpy as np


def check_number(name, value, interval):
    """The value as a float; ValueError unless it is a number in an interval like "[0, 1)"."""
    low, high = map(float, interval[1:-1].split(","))
    inside = isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high
    if not inside or (interval[0] == "(" and value == low) or (interval[-1] == ")" and value == high):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return float(value)


def check_size(name, value):
    """The value as an int; ValueError unless it is an integer from 1 to the largest int of BLAS."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be an integer of at least 1 (and below 2**31), got {value!r}")
    return int(value)


def check_in_dtype(dtype, **settings):
    """Raise ValueError unless all settings, by their names, are in their intervals as numbers of a network's dtype too.

    A setting is a number that may be 0, an immutable object, a tuple of them, or something to pass over. If an object
    has the names ``in_dtype``, a network computes with these alone of its settings in its dtype, else with all of them.
    """
    if dtype != np.float64:
        for name, setting in settings.items():
            _check_in_dtype(dtype, name, setting)


@lru_cache  # an optimizer is checked each time it is used
def _check_in_dtype(dtype, name, setting):
    with np.errstate(all="ignore"):
        rounded = _rounded(setting, dtype)
    if rounded == np.inf:
        raise ValueError(f"{name} must be finite in the network's dtype, {dtype}, got {setting!r}")


def _rounded(setting, dtype):
    """The setting, with 0, 1 and infinity, where intervals end, for all numbers that become so in this dtype."""
    if isinstance(setting, tuple):
        return tuple(_rounded(part, dtype) for part in setting)
    if isinstance(setting, Real):
        number = float(dtype.type(setting))
        return number if abs(number) in (0, 1, np.inf) else setting
    if is_dataclass(setting):
        names = getattr(setting, "in_dtype", None)
        if names is None:
            names = [field.name for field in fields(setting)]
        given = {name: getattr(setting, name) for name in names if hasattr(setting, name)}
        rounded = {name: _rounded(part, dtype) for name, part in given.items()}
        if rounded != given:
            try:
                replace(setting, **rounded)
            except ValueError as error:
                raise ValueError(f"{setting!r} is not for a network's dtype {dtype}: {error}") from None
    return setting
