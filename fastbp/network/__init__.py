"""The network: its parameters, and the training loop as Python sees it."""

from .model import views_of
from .network import Network
from .training import History

__all__ = ["History", "Network", "views_of"]
