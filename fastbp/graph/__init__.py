"""What a network computes, as data: values and ops, their gradients, and the same in plain NumPy."""

from .fused import fused
from .gradient import backward_of
from .graph import Graph, Op, Value, Weights
from .program import Program, connections_of, program_of
from .sections import sections_of, weights_of_sections

__all__ = [
    "Graph", "Op", "Program", "Value", "Weights", "backward_of", "connections_of", "fused", "program_of", "sections_of",
    "weights_of_sections",
]  # fmt: skip
