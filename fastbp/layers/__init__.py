"""Layers: immutable settings, of which `build` makes the graph of a network. A network owns the weights."""

from .activations import CLASSES, ELU, LeakyReLU, Unit, unit_of
from .as_json import from_json, to_json
from .build import build
from .checkpoint import Checkpoint
from .connect import Activation, Dropout, Parallel, Residual
from .dense import Dense
from .embed import Embed
from .layer import Layer, Place, draws_connections, places_of
from .low_rank import LowRank
from .normalization import BatchNorm, GroupNorm, LayerNorm, Standardize
from .numerical import Periodic, PiecewiseLinear
from .rbf import RBF
from .scale import PReLU, Scale
from .shared import Shared, Transposed
from .sparse import Sparse
from .weight_norm import SpectralNorm, WeightNorm

__all__ = [
    "CLASSES", "ELU", "RBF", "Activation", "BatchNorm", "Checkpoint", "Dense", "Dropout", "Embed",
    "GroupNorm", "Layer", "LayerNorm", "LeakyReLU", "LowRank", "PReLU", "Parallel", "Periodic", "PiecewiseLinear",
    "Place", "Residual", "Scale", "Shared", "Sparse", "SpectralNorm", "Standardize", "Transposed", "Unit", "WeightNorm",
    "build", "draws_connections", "from_json", "places_of", "to_json", "unit_of",
]  # fmt: skip

# pickles name the package, as those of version 0.1.0 do, and not the file that a class happens to be in
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
