"""Drawings of networks and of their training, after scikit-learn's `Display` objects.

`ArchitectureDisplay` needs nothing else, the others matplotlib: ``pip install 'fastbp[plot]'``. It is imported when
something is drawn.
"""

from .architecture import ArchitectureDisplay
from .loss_curve import LossCurveDisplay
from .schedule import ScheduleDisplay
from .weights import WeightsDisplay

__all__ = ["ArchitectureDisplay", "LossCurveDisplay", "ScheduleDisplay", "WeightsDisplay"]
