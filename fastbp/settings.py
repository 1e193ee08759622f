"""What all immutable settings share: parameters by name, as scikit-learn's searches read and set them."""

from collections import defaultdict
from dataclasses import fields, replace


class Settings:
    """Base of the frozen dataclasses that hold settings: rules, schedules, units, losses, initializers, layers."""

    def get_params(self, deep=True):
        """Settings by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add those of settings that have settings of their own, as ``learning_rate__maximum``.

        Returns
        -------
        params : dict
        """
        params = {}
        for field in fields(self):
            params[field.name] = value = getattr(self, field.name)
            if deep and isinstance(value, Settings):
                params |= {f"{field.name}__{name}": inner for name, inner in value.get_params().items()}
        return params

    def set_params(self, **params):
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
        changes = changed(self, params)
        names = list(self.get_params(deep=False))
        for name in changes:
            if name not in names:
                raise ValueError(f"Invalid parameter {name!r} for {self!r}. Valid parameters are: {names!r}.")
        return replace(self, **changes)

    def __sklearn_clone__(self):
        return self  # immutable


def changed(holder, params):
    """New values of a holder's parameters, where ``a__b`` names parameter b of the settings that are its parameter a.

    Raises
    ------
    ValueError
        If ``a`` has no parameters, or not this one.
    """
    changes, inner = {}, defaultdict(dict)
    for name, value in params.items():
        name, nested, rest = name.partition("__")
        if nested:
            inner[name][rest] = value
        else:
            changes[name] = value
    for name, settings in inner.items():
        value = changes.get(name, getattr(holder, name, None))
        if not isinstance(value, Settings):
            raise ValueError(
                f"Invalid parameter {name + '__' + next(iter(settings))!r} for {type(holder).__name__}: {name} is "
                f"{value!r}, which has no parameters of its own."
            )
        changes[name] = value.set_params(**settings)
    return changes
