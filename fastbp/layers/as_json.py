"""Layers as what JSON can hold, and back; nothing that is read can name anything but these classes."""

import base64
import math
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from .. import initializers
from ..settings import FrozenArray, Settings
from . import activations
from .checkpoint import Checkpoint
from .connect import Activation, Dropout, Parallel, Residual
from .dense import Dense
from .embed import Embed
from .layer import DEPTH, Layer
from .low_rank import LowRank
from .normalization import BatchNorm, GroupNorm, LayerNorm, Standardize
from .numerical import Periodic, PiecewiseLinear
from .rbf import RBF
from .scale import PReLU, Scale
from .shared import Shared, Transposed
from .sparse import Sparse
from .weight_norm import SpectralNorm, WeightNorm

_LAYERS = {
    cls.__name__: cls
    for cls in (
        RBF, Activation, BatchNorm, Checkpoint, Dropout, Embed, GroupNorm, LayerNorm, LowRank, Parallel, Periodic,
        PiecewiseLinear, PReLU, Residual, Scale, Shared, Sparse, SpectralNorm, Standardize, Transposed, WeightNorm,
    )
}  # fmt: skip


def to_json(layer):
    """``{class: settings}``; of a Dense the settings alone, as in files of version 0.1.0."""
    settings = {field.name: _to_json(getattr(layer, field.name)) for field in fields(layer)}
    if settings.get("mask", 0) is None:
        del settings["mask"]
    return settings if type(layer) is Dense else {type(layer).__name__: settings}


def _to_json(value):
    if isinstance(value, Layer):
        return to_json(value)
    if isinstance(value, FrozenArray) and value.array.dtype != bool:
        return value.array.tolist()
    if isinstance(value, FrozenArray):
        bits = base64.b64encode(np.packbits(value.array)).decode()
        return {"shape": list(value.array.shape), "bits": bits}
    if isinstance(value, tuple):
        return [_to_json(part) for part in value]
    if isinstance(value, Mapping):
        return {name: _to_json(part) for name, part in value.items()}
    if isinstance(value, Settings):
        return initializers.to_json(value)
    return value


def from_json(data, depth=DEPTH):
    """The layer of what `to_json` made of it.

    Parameters
    ----------
    data : dict
    depth : int, default=20
        How many layers within each other it may be at most.

    Returns
    -------
    layer : layer

    Raises
    ------
    ValueError
        If it is not what `to_json` makes.
    """
    if not isinstance(data, dict) or depth == 0:
        raise ValueError(f"layers within layers must be dicts, at most {DEPTH} deep, got {type(data).__name__}")
    cls, settings = Dense, data
    if len(data) == 1 and (name := next(iter(data))) in _LAYERS:
        cls, settings = _LAYERS[name], data[name]
    try:
        return cls(**{name: _from_json(name, value, depth - 1) for name, value in settings.items()})
    except (AttributeError, KeyError, TypeError) as error:  # not a dict of settings, or of others
        raise ValueError(f"{cls.__name__}: {error}") from error


def _from_json(name, value, depth):
    """The setting of this name."""
    if name == "activation":
        return initializers.from_json(value, activations.CLASSES)
    if name == "initializer":
        return initializers.from_json(value, initializers.CLASSES)
    if name == "mask" and isinstance(value, dict):
        return _mask_from_json(**value)
    if name == "layer":
        return from_json(value, depth)
    if name == "layers":
        return [from_json(layer, depth) for layer in value]
    if name in ("columns", "dim") and isinstance(value, dict):  # whose keys are integers, which JSON's are not
        return {int(column): n for column, n in value.items()}
    if name == "branches" and isinstance(value, dict):
        return {head: _from_json("layers", layers, depth) for head, layers in value.items()}
    if name == "branches":
        return [_from_json("layers", layers, depth) for layers in value]
    return value


def _mask_from_json(shape, bits):
    """A mask from its shape and base64 of its elements as bits; ValueError unless there are as many."""
    bits, size = np.frombuffer(base64.b64decode(bits, validate=True), np.uint8), math.prod(shape)
    if not all(type(n) is int and n >= 0 for n in shape) or len(bits) != -(-size // 8):
        raise ValueError(f"mask must have as many bits as its shape says, got {8 * len(bits)} for {shape}")
    return FrozenArray(np.unpackbits(bits, count=size).view(bool).reshape(shape))
