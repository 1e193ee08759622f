"""Layers: immutable settings, of which `build` makes the graph of a network. A network owns the weights."""

from .activations import ACTIVATIONS, CLASSES, ELU, LeakyReLU, unit_of
from .as_json import from_json, to_json
from .build import build
from .connect import Activation, Dropout, Parallel, Residual
from .dense import Dense
from .layer import Layer, draws_connections
from .low_rank import LowRank
from .rbf import RBF
from .scale import Scale
from .shared import Shared, Transposed
from .sparse import Sparse

__all__ = [
    "ACTIVATIONS", "CLASSES", "ELU", "RBF", "Activation", "Dense", "Dropout", "Layer", "LeakyReLU", "LowRank",
    "Parallel", "Residual", "Scale", "Shared", "Sparse", "Transposed", "build", "draws_connections",
    "from_json", "to_json", "unit_of",
]  # fmt: skip

# pickles name the package, as those of version 0.1.0 do, and not the file that a class happens to be in
for _class in (
    ELU, RBF, Activation, Dense, Dropout, LeakyReLU, LowRank, Parallel, Residual, Scale, Shared, Sparse, Transposed
):  # fmt: skip
    _class.__module__ = __name__
