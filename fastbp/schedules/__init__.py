"""Learning-rate schedules: immutable settings. They make the rates of a whole epoch at once, before it begins."""

from .cycles import CosineWarmRestarts, Cyclical, OneCycle
from .decays import Exponential, InverseScaling, StepDecay
from .plateau import ReduceOnPlateau
from .schedule import Schedule, check_learning_rate
from .warm_up import WarmUp

__all__ = [
    "CosineWarmRestarts", "Cyclical", "Exponential", "InverseScaling", "OneCycle", "ReduceOnPlateau", "Schedule",
    "StepDecay", "WarmUp", "check_learning_rate",
]  # fmt: skip
