"""Networks and estimators to and from other libraries' objects."""

from .sklearn import from_sklearn, to_sklearn

__all__ = ["from_sklearn", "to_sklearn"]
