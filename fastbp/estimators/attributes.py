"""Types of the estimators' parameters and of what a fit leaves; the estimators' docstrings say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..averaging import EMA, SWA
from ..hints import Floats, Integers
from ..layers import Layer, Unit
from ..names import ScheduleName
from ..network import Optimizer
from ..pruning import Prune
from ..schedules import Schedule

Sizes = int | Sequence[int] | Integers
Seed = int | np.random.RandomState | None


class Attributes:
    """Attributes of both estimators."""

    hidden_layer_sizes: Sizes
    activation: Unit
    solver: Optimizer
    alpha: float
    batch_size: int | Literal["auto"]
    learning_rate: ScheduleName | Schedule
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Seed
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    l1_ratio: float
    n_threads: int | None
    dropout: float | Sequence[float]
    hidden_layers: Sequence[Layer] | None
    average: EMA | SWA | None
    prune: Prune | None

    coefs_: list[Floats]
    intercepts_: list[Any]
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    validation_loss_curve_: list[float] | None
    converged_: bool
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    n_features_in_: int
    feature_names_in_: NDArray[Any]
