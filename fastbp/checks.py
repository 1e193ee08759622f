"""Checks of single settings, shared by all modules that take them."""

from numbers import Integral, Real


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


def check_real(name, array):
    """Raise TypeError unless the array is of integers, floats or booleans."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
