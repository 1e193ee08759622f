"""scikit-learn estimators on top of `Network`."""

from .classifier import MLPClassifier
from .optimizer import _Optimizer  # noqa: F401 (pickles of version 0.1.0 name it here)
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
