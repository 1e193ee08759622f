"""What files of skops hold of this library."""

import fastbp

from ..estimators.optimizer import _Optimizer
from ..network.state import AverageState
from ..settings import FrozenArray, FrozenDict, Settings

_CLASSES = [value for name in fastbp.__all__ if isinstance(value := getattr(fastbp, name), type)]
_HELD = [
    fastbp.MLPClassifier, fastbp.MLPRegressor, fastbp.Whitening, _Optimizer, AverageState, FrozenArray, FrozenDict,
    *(cls for cls in _CLASSES if issubclass(cls, Settings)),
]  # fmt: skip
# Names of all types that fitted estimators may hold: these themselves, immutable settings, and the state of training.
# Loading them runs no code from a file.
TRUSTED_TYPES: list[str] = [f"{cls.__module__}.{cls.__qualname__}" for cls in _HELD]
