"""What all immutable settings share: parameters by name, as scikit-learn's searches read and set them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

import numpy as np

WIDTH = 88  # of lines, where a repr has several


class Settings:
    """Base of the frozen dataclasses that hold settings: rules, schedules, units, losses, initializers, layers."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__repr__" not in vars(cls):  # else `dataclass` puts another one there, and IPython calls that
            cls.__repr__ = Settings.__repr__  # type: ignore[method-assign]
            cls._repr_pretty_ = Settings._repr_pretty_  # type: ignore[method-assign]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in arguments_of(self).items())
        return f"{type(self).__name__}({arguments})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show."""
        printer.text(written(self, printer.indentation, printer.output_width))

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

        See Also
        --------
        set_params : Makes a copy with others.

        Examples
        --------
        >>> from fastbp import SGD, OneCycle
        >>> SGD(OneCycle(0.1, total=100)).get_params()["learning_rate__maximum"]
        0.1
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

        See Also
        --------
        get_params : Lists them.

        Examples
        --------
        >>> from fastbp import SGD
        >>> SGD(0.5).set_params(momentum=0.9)
        SGD(learning_rate=0.5, momentum=0.9)
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


def arguments_of(settings):
    """Settings that are not what they are by default, by their names: what they can be made from again."""
    if not is_dataclass(settings):  # what users derive from a schedule or a layer may be anything
        return {}
    changed = [field for field in fields(settings) if getattr(settings, field.name) != field.default]
    changed.sort(key=lambda field: bool(field.kw_only))
    return {field.name: getattr(settings, field.name) for field in changed}


def written(value, column=0, first=0):
    """`repr(value)`, but settings, sequences and dicts with a line for each part where they are longer than a line.

    Parameters
    ----------
    value : object
    column : int, default=0
        By how much the lines after the first are indented.
    first : int, default=0
        How many characters stand before the value in its line.
    """
    line = repr(value)
    if first + len(line) < WIDTH:
        return line
    if isinstance(value, Settings):
        return called(type(value).__name__, arguments_of(value), column)
    if isinstance(value, Mapping):
        return _broken("{", [(f"{key!r}: ", part) for key, part in value.items()], "}", column)
    if isinstance(value, list | tuple):
        start, end = "[]" if isinstance(value, list) else "()"
        return _broken(start, [("", part) for part in value], end, column)
    return line


def called(name, arguments, column=0):
    """A call of this name, with a line for each of its arguments, which are in a dict."""
    return _broken(f"{name}(", [(f"{key}=", value) for key, value in arguments.items()], ")", column)


def _broken(start, parts, end, column):
    inner = column + 4
    lines = [f"{' ' * inner}{name}{written(part, inner, inner + len(name))},\n" for name, part in parts]
    return f"{start}\n{''.join(lines)}{' ' * column}{end}"


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
