"""What layers have in common, and sequences of them."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from ..settings import FrozenDict, Settings

DEPTH = 20  # of layers within layers


class Layer(Settings, ABC):
    """Base class of layers: immutable settings, of which a network makes values, ops and weights.

    A layer has no weights itself. The same object may be in several places of a network, and in several networks: each
    place has weights of its own, unless it is a `Shared`.

    See Also
    --------
    Dense : The usual layer.
    Network : Takes a list of layers.

    Examples
    --------
    >>> from fastbp import Dense, Layer
    >>> layer = Dense(64, "relu", dropout=0.1)
    >>> isinstance(layer, Layer)
    True
    >>> layer.set_params(n_units=32).n_units  # another layer
    32
    """

    heads: Any = ()  # names of its outputs, if it has several
    sequences: Any = FrozenDict({})  # of layers within this one, by the names that their layers' names begin with
    draws: Any = False  # whether it has connections that are drawn when a network is made

    @property
    def inner(self) -> tuple[Layer, ...]:
        """The layers within this one."""
        return tuple(layer for layers in self.sequences.values() for layer in layers)

    @abstractmethod
    def build(self, graph: Any, h: int, name: str) -> Any:
        """Emit forward ops.

        Parameters
        ----------
        graph : Graph
        h : int
            Number of the value that the layer takes.
        name : str
            Of the layer, its path in the network: layer 2 within layer 1 is "1.2".

        Returns
        -------
        a : int, or dict of int
            Number of the value that the layer makes; of a layer with several heads the numbers by their names.

        Raises
        ------
        ValueError
            If the layer can't follow what is there.
        """


def check_layers(name, layers, least=1, heads=False):
    """The layers as a tuple; ValueError unless they are that many layers, of which only the last may have `heads`."""
    if not isinstance(layers, list | tuple) or len(layers) < least:
        what = "layers" if least == 0 else "at least one layer"
        raise ValueError(f"{name} must be a list or tuple of {what}, got {reprlib.repr(layers)}")
    for i, layer in enumerate(layers):
        check_layer(f"{name}[{i}]", layer, heads and i == len(layers) - 1)
    return tuple(layers)


def check_layer(name, layer, heads=False):
    """ValueError unless it is a layer, which may have `heads` or not."""
    if not isinstance(layer, Layer):
        raise ValueError(f"{name} must be a layer, got {reprlib.repr(layer)}")
    if layer.heads and not heads:
        raise ValueError(f"{name} must have no heads, which are for the network's last layer, got {layer!r}")
    if _depth([layer]) > DEPTH:
        raise ValueError(f"{name} must have layers within layers at most {DEPTH} deep, got more")


def build_in_turn(layers, graph, h, prefix="", first=0):
    """Emit the ops of layers, each of which takes the value that the one before has made; returns the last one.

    They are named by the prefix and their places, from `first` on.
    """
    for i, layer in enumerate(layers, first):
        h = layer.build(graph, h, f"{prefix}{i}")
    return h


class Place(NamedTuple):
    """A layer in its place in a network.

    Attributes
    ----------
    name : str
        As `Layer.build` is given it.
    layer : layer
    sequences : dict of list of Place
        Those of the layers within it.
    """

    name: str
    layer: Layer
    sequences: dict


def places_of(layers, prefix=""):
    """The places of layers one after the other, and of all layers within them, in a list."""
    places = []
    for i, layer in enumerate(layers):
        name = f"{prefix}{i}"
        within = {
            key: places_of(inner, f"{name}.{key}." if key else f"{name}.") for key, inner in layer.sequences.items()
        }
        places.append(Place(name, layer, within))
    return places


def draws_connections(layers):
    """Whether any of the layers, or of those within them, has connections that are to be drawn."""
    return any(isinstance(layer, Layer) and (layer.draws or draws_connections(layer.inner)) for layer in layers)


def _depth(layers):
    return max((1 + _depth(layer.inner) for layer in layers), default=0)
