"""A model's settings as text, for files of any format."""

import json
from collections.abc import Mapping

import numpy as np

from .. import initializers, layers, losses
from ..layers import RBF, Dense
from .model import SETTINGS


def is_pruned(model):
    """Whether weights have been left out that are there by the settings."""
    return not all(map(_are_layers, model.masks, model.graph.weights))


def to_json(model):
    """All settings of a model."""
    settings = {
        "format": _format_of(model.layers, is_pruned(model)),
        "layers": [layers.to_json(layer) for layer in model.layers],
        "n_inputs": model.n_inputs,
        "loss": _loss_to_json(model.loss),
        "l1": model.l1,
        "l2": model.l2,
        "dtype": model.dtype.name,
        "initializer": initializers.to_json(model.initializer),
        "input_dropout": model.input_dropout,
        "input_noise": model.input_noise,
        "ties": model.ties,
    }
    if model.loss_weights is not None:
        settings["loss_weights"] = dict(model.loss_weights)
    if model.checkpoint_every is not None:
        settings["checkpoint_every"] = model.checkpoint_every
    if model.connection_seed is not None:
        settings["connection_seed"] = model.connection_seed
    return json.dumps(settings)


def from_json(text, pruned):
    """The settings, arguments of `Model`, with all objects among them made; `pruned` is whether the file has masks.

    Raises
    ------
    ValueError, KeyError, TypeError
        If this is not what `to_json` makes.
    """
    settings = json.loads(text)
    settings["initializer"] = initializers.from_json(settings["initializer"], initializers.CLASSES)
    settings["loss"] = _loss_from_json(settings["loss"])
    settings["layers"] = [layers.from_json(layer) for layer in settings["layers"]]
    if settings.pop("format") != _format_of(settings["layers"], pruned):
        raise ValueError("unknown format")
    settings = {"loss_weights": None, "checkpoint_every": None, "connection_seed": None, **settings}
    if settings.keys() != set(SETTINGS):
        raise ValueError(f"settings must be {SETTINGS}, got {tuple(settings)}")
    return settings


def _loss_to_json(loss):
    """Of several heads a list of names and losses: a dict is one loss."""
    if isinstance(loss, Mapping):
        return [[name, initializers.to_json(its)] for name, its in loss.items()]
    return initializers.to_json(loss)


def _loss_from_json(loss):
    if isinstance(loss, list):
        return {name: initializers.from_json(its, losses.CLASSES) for name, its in loss}
    return initializers.from_json(loss, losses.CLASSES)


def _are_layers(mask, weights):
    """Whether a mask is that of the layer, which is among the settings."""
    if mask is None or weights.mask is None:
        return mask is None
    return np.array_equal(mask, weights.mask.array)


def _format_of(sequence, pruned):
    """1 for what version 0.1.0 has, which can read it; 2 for all else."""
    known = all(isinstance(layer, Dense | RBF) and getattr(layer, "mask", None) is None for layer in sequence)
    return 1 if known and not pruned else 2
