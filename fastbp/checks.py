"""Checks of arguments and single settings, shared by all modules that take them."""

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils import assert_all_finite

NUMBER = Real | np.bool_  # and, for NumPy, spans of time
Method = TypeVar("Method", bound=Callable[..., Any])


def checks_parameters(method: Method) -> Method:
    """scikit-learn's decorator for methods that fit: the estimator's parameters are checked before."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


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


def check_flag(name, value):
    """ValueError unless the value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_kind(name, value, kind):
    """TypeError unless the value is of this class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {reprlib.repr(value)}")


def check_real(name, array, error=ValueError, for_strings=""):
    """The argument as an array, of SciPy's if it is sparse, else of NumPy's; an error unless it holds real numbers: no
    dates, no strings, for which there may be some advice, nothing that is masked, and of objects, as a data frame of
    several types gives, none that are no numbers."""
    if type(array) is np.ndarray and array.dtype.kind in "biuf":
        return array
    given = array
    if isinstance(array, np.ma.MaskedArray) and (n_masked := np.ma.count_masked(array)):
        raise error(f"{name} must hold real numbers, got {n_masked} masked elements ({name}.filled() has values there)")
    if not issparse(array):
        try:
            array = np.asarray(array)
        except ValueError as reason:  # rows of different lengths
            raise error(f"{name} must hold real numbers in one array: {reason}") from reason
    if array.dtype == object and not issparse(array):
        kinds = set(map(type, array.flat))
        wrong = {kind for kind in kinds if not issubclass(kind, NUMBER) or issubclass(kind, np.timedelta64)}
        if not wrong:
            try:
                return array.astype(np.float64)
            except OverflowError as reason:  # an int can be larger than all floats
                raise error(f"{name} must hold real numbers that floats can be: {reason}") from reason
        place, value = next((at, value) for at, value in np.ndenumerate(array) if type(value) in wrong)
        advice = for_strings if isinstance(value, str) else ""
        raise error(f"{name} must hold real numbers, got {reprlib.repr(value)}{_in_place(place, given)}{advice}")
    if array.dtype.kind not in "biuf":
        advice = for_strings if array.dtype.kind in "USO" else ""
        got = repr(array.item()) if not issparse(array) and not array.ndim else f"dtype {array.dtype}"
        raise error(f"{name} must hold real numbers, got {got}{advice}")
    return array


def _in_place(place, given):
    """In words, where in an array something is; columns of a data frame have names."""
    if not place:
        return ""
    row, *column = place
    if len(column) != 1:
        return f" in row {row}" if not column else f" at {place}"
    names = getattr(given, "columns", None)
    return f" in row {row}, column {column[0] if names is None else repr(names[column[0]])}"


def check_finite(result, error=None, inputs=()):
    """The result of a computation with inputs, pairs of an argument's name and the array.

    If it is not finite, ValueError names an argument that is not either; else what `error`, a function, returns is
    raised, unless it is None.
    """
    if not (math.isfinite(result) if isinstance(result, float) else np.isfinite(result).all()):
        for name, array in inputs:
            assert_all_finite(array, input_name=name)
        if error is not None:
            raise error()
    return result


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


def check_in_dtype(dtype, **settings):
    """Raise ValueError unless all settings, by their names, are in their intervals as numbers of a network's dtype too.

    A setting is a number that may be 0, an immutable object, a tuple or dict of them, or something to pass over. If an
    object has the names ``in_dtype``, a network computes with these alone of its settings in its dtype, else with all.
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
    if isinstance(setting, Mapping):
        return type(setting)({name: _rounded(part, dtype) for name, part in setting.items()})
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
