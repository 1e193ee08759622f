"""Checks of arguments and single settings, shared by all modules that take them."""

from dataclasses import fields
from numbers import Integral, Real

import numpy as np


def check_number(name, value, interval):
    """The value as a float; ValueError unless it is a number in an interval like "[0, 1)"."""
    low, high = map(float, interval[1:-1].split(","))
    try:
        number = float(value) if _is_number(value, Real) else np.nan
    except OverflowError:  # an int can be larger than all floats
        number = np.nan
    if not low <= number <= high or (interval[0] == "(" and number == low) or (interval[-1] == ")" and number == high):
        raise ValueError(f"{name} must be a number in {interval}, got {value!r}")
    return number


def check_size(name, value):
    """The value as an int; ValueError unless it is an integer from 1 to the largest int of BLAS."""
    if not _is_number(value, Integral) or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be an integer of at least 1 (and below 2**31), got {value!r}")
    return int(value)


def check_real(name, array):
    """The argument as an array; ValueError unless it holds real numbers: no dates, strings or objects."""
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def _is_number(value, kind):
    """Whether it is a number of that kind, among which Python counts bool, and NumPy spans of time."""
    return isinstance(value, kind) and not isinstance(value, bool | np.timedelta64)


def make_plain(settings):
    """Make numbers among the fields of an immutable object Python's own, which a file can hold; NumPy's are not."""
    for field in fields(settings):
        object.__setattr__(settings, field.name, _plain(getattr(settings, field.name)))


def _plain(value):
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if _is_number(value, Integral):
        return int(value)
    if _is_number(value, Real):
        return float(value)
    if isinstance(value, list | tuple | np.ndarray) and np.ndim(value) == 1:
        return tuple(map(_plain, value))
    return value
