"""Networks and estimators to and from other libraries' objects."""

from .sklearn import from_sklearn, to_sklearn
from .torch import from_torch, to_torch
from .trusted import TRUSTED_TYPES

__all__ = ["TRUSTED_TYPES", "from_sklearn", "from_torch", "to_sklearn", "to_torch"]
