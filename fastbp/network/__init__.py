"""The network. Users call `Network`; other packages work on the `Model` in it, by what has no underscore there."""

from .model import Model, views_of
from .network import Network
from .one_epoch import History
from .start import connection_seed, draw, learn_inputs
from .state import OptimizerState

__all__ = [
    "History", "Model", "Network", "OptimizerState", "connection_seed", "draw", "learn_inputs", "views_of",
]  # fmt: skip
