"""What a network computes, as data: values and ops, their gradients, and the same in plain NumPy."""

from .fused import fused
from .gradient import backward_of
from .graph import Graph, Op, Value, Weights

__all__ = ["Graph", "Op", "Value", "Weights", "backward_of", "fused"]
