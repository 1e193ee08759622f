"""The network. Users call `Network`; other packages work on the `Model` in it, by what has no underscore there."""

from .activations import Activations
from .history import History
from .model import Model, views_of
from .network import Network
from .plan import Plan
from .pruned_epoch import check_pruning, is_pruning, train_pruned_epoch
from .rules import Optimizer, rule_of
from .start import connection_seed, draw, learn_inputs
from .state import OptimizerState
from .summary import LayerParameters, LayerSummary, Summary

__all__ = [
    "Activations", "History", "LayerParameters", "LayerSummary", "Model", "Network", "Optimizer", "OptimizerState",
    "Plan", "Summary", "check_pruning", "connection_seed", "draw", "is_pruning", "learn_inputs", "rule_of",
    "train_pruned_epoch", "views_of",
]  # fmt: skip
