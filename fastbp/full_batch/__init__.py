"""Rules that see all rows at once: immutable settings, and the iteration each makes of gradient and Hessian."""

from .gradient_rules import GradientRule, Quickprop, Rprop
from .newton import Newton, NewtonCG
from .objective import Objective
from .quasi_newton import BFGS, LBFGS, minimize_lbfgs
from .rule import FullBatch

__all__ = [
    "BFGS", "LBFGS", "FullBatch", "GradientRule", "Newton", "NewtonCG", "Objective", "Quickprop", "Rprop",
    "minimize_lbfgs",
]  # fmt: skip
