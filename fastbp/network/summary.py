"""What a network consists of, layer by layer, to be read: names, shapes, numbers of parameters, bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from ..layers import Layer, places_of
from ..settings import arguments_of
from .model import Model


class LayerParameters(NamedTuple):
    """The parameters of a layer, or an array's elements in their places.

    Attributes
    ----------
    weights : ndarray of shape (n_in, n_out)
    biases : ndarray of shape (n_out,) or None
        None where the layer has no biases.

    See Also
    --------
    Network.unflatten : Makes them of a flat vector.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(3)], n_inputs=2, random_state=0)
    >>> weights, biases = net.unflatten(net.parameters)["0"]
    >>> weights.shape, biases.shape
    ((2, 3), (3,))
    """

    weights: np.ndarray
    biases: np.ndarray | None


@dataclass(frozen=True)
class LayerSummary:
    """A layer in its place in a network.

    Attributes
    ----------
    name : str
        Its path, as in `Network.activations`: of layer 2 "2", of the first layer within it "2.0".
    layer : Layer
    n_units : int or None
        Columns of what it makes; None of several heads.
    shapes : dict of tuple
        Those of its own weights and biases, by the names of both, as "2.weights" and "2.biases"; not those of layers
        within it. Weights that it shares with a layer before are in it too.
    n_parameters : int
        Number of its own parameters; of `Shared` ones only in the first place.
    n_bytes : int
        Their size in memory.
    n_state : int
        Number of elements that it keeps and does not learn.
    sequences : dict of tuple of LayerSummary
        Layers within it, by the names of branches; "" for a single sequence.

    See Also
    --------
    Network.summary : Has one for each layer.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Residual([fastbp.Dense(4)]), fastbp.Dense(3)], n_inputs=4)
    >>> residual, dense = net.summary().layers
    >>> dense.name, dense.kind, dense.shapes, dense.n_parameters
    ('1', 'Dense(n_units=3)', {'1.weights': (4, 3), '1.biases': (3,)}, 15)
    >>> residual.sequences[""][0].name
    '0.0'
    """

    name: str
    layer: Layer
    n_units: int | None
    shapes: dict[str, tuple[int, ...]]
    n_parameters: int
    n_bytes: int
    n_state: int
    sequences: "dict[str, tuple[LayerSummary, ...]]"

    @property
    def kind(self) -> str:
        """The layer in a few words: its class and settings, without the layers within it."""
        return _kind(self.layer)


@dataclass(frozen=True)
class Summary:
    """What a network consists of; as a string, and in a notebook, a table of its layers.

    Attributes
    ----------
    layers : tuple of LayerSummary
        One after the other; those within them are in their `sequences`.
    n_inputs : int
    loss : str
        The cost, or the costs of several heads.
    dtype : numpy.dtype
    n_parameters : int
    n_bytes : int
        Size of the parameters in memory.
    n_state : int
        Number of elements that layers keep and do not learn, such as means and variances of `BatchNorm`.
    n_masked : int
        How many of the parameters are 0 for good, by a layer's mask or by pruning.

    See Also
    --------
    Network.program : What is done with them.
    fastbp.display.ArchitectureDisplay : The same as a drawing.

    Examples
    --------
    >>> import fastbp
    >>> summary = fastbp.Network([fastbp.Dense(4), fastbp.Dense(3)], n_inputs=4, dtype="float32").summary()
    >>> summary.n_parameters, summary.n_bytes
    (35, 140)
    """

    layers: tuple[LayerSummary, ...]
    n_inputs: int
    loss: str
    dtype: np.dtype
    n_parameters: int
    n_bytes: int
    n_state: int
    n_masked: int

    def __str__(self) -> str:
        table = [list(HEAD), *_rows(self.layers), self._total()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i in NUMBERS else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:-1], rule, lines[-1], *self.remarks])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='{_align(i)}'>{cell}</th>" for i, cell in enumerate(HEAD))
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in _rows(self.layers))
        return (
            f"<table><caption style='text-align:left'>{escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody><tfoot><tr>{_cells(self._total())}</tr></tfoot></table>"
            + "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks)
        )

    @property
    def title(self) -> str:
        """Inputs, loss and dtype, in a line."""
        return f"Network: {self.n_inputs:,} inputs, loss {self.loss}, {self.dtype.name}"

    @property
    def remarks(self) -> list[str]:
        """Lines on what is not in the table."""
        remarks = []
        if self.n_state:
            size = self.n_state * self.dtype.itemsize
            remarks.append(f"kept by layers and not learnt: {self.n_state:,} numbers, {size:,} bytes")
        if self.n_masked:
            remarks.append(f"{self.n_masked:,} of the parameters are 0 for good, by masks")
        return remarks

    def _total(self):
        return ["", "total", "", "", "", f"{self.n_parameters:,}", f"{self.n_bytes:,}"]


HEAD = ("name", "layer", "units", "weights", "biases", "parameters", "bytes")
NUMBERS = (2, 5, 6)  # columns of the table


def summary_of(model: Model) -> Summary:
    """What `Network.summary` returns."""
    graph, itemsize = model.graph, model.dtype.itemsize
    units = {value.name: value.n for value in graph.values}
    seen: set[int] = set()
    uses = dict(zip(names_of_places(graph), graph.places, strict=True))
    views = unflattened(model, model.parameters)

    def summary(place):
        sequences = {key: tuple(map(summary, inner)) for key, inner in place.sequences.items()}
        within = tuple(f"{one.name}." for inner in sequences.values() for one in inner)
        own = [
            name for name in uses
            if f"{name}.".startswith(f"{place.name}.") and not f"{name}.".startswith(within)
        ]  # fmt: skip
        n_units = units.get(place.name)
        if n_units is None and not place.layer.heads:
            n_units = list(sequences.values())[-1][-1].n_units
        shapes, n_parameters = {}, 0
        for name in own:
            for part, array in zip(("weights", "biases"), views[name], strict=True):
                if array is not None:
                    shapes[f"{name}.{part}"] = array.shape
            weights, bias, _ = uses[name]
            for number in {weights, bias} - seen - {-1}:
                n_parameters += graph.weights[number].size
            seen.update((weights, bias))
        n_state = sum(state.n for state in graph.states if state.name.startswith(f"{place.name}.")) - sum(
            one.n_state for one in all_layers(sequences)
        )
        return LayerSummary(
            place.name, place.layer, n_units, shapes, n_parameters, n_parameters * itemsize, n_state, sequences
        )

    return Summary(
        layers=tuple(map(summary, places_of(model.layers))),
        n_inputs=model.n_inputs,
        loss=_loss_of(model.loss),
        dtype=model.dtype,
        n_parameters=graph.n_parameters,
        n_bytes=graph.n_parameters * itemsize,
        n_state=graph.n_state,
        n_masked=sum(int((mask == 0).sum()) for mask in model.masks if mask is not None),
    )


def all_layers(sequences):
    """The layers of sequences by their names and all that are within them, one after the other."""
    for layers in sequences.values():
        for one in layers:
            yield one
            yield from all_layers(one.sequences)


def unflattened(model: Model, flat: np.ndarray) -> dict[str, LayerParameters]:
    """What `Network.unflatten` returns."""
    pairs = zip(*model.views(flat), strict=True)
    return {name: LayerParameters(*pair) for name, pair in zip(names_of_places(model.graph), pairs, strict=True)}


def names_of_places(graph):
    """Names of a graph's `places`, in a list: of the values that they make, of a table of `Embed` with its column."""
    uses = [op for op in graph.forward if op.weights >= 0 and op.kind != "unit"]
    return [graph.values[op.output].name + (f".{op.source}" if op.kind == "embed" else "") for op in uses]


def _rows(layers, depth=0):
    """Rows of the table: the layers and those within them, which are indented."""
    rows = []
    for one in layers:
        shapes = {
            part: " ".join(str(shape) for name, shape in one.shapes.items() if name.endswith(part))
            for part in ("weights", "biases")
        }
        units = "" if one.n_units is None else f"{one.n_units:,}"
        numbers = [f"{n:,}" if one.shapes else "" for n in (one.n_parameters, one.n_bytes)]
        rows.append([one.name, "  " * depth + one.kind, units, *shapes.values(), *numbers])
        for inner in one.sequences.values():
            rows += _rows(inner, depth + 1)
    return rows


def _cells(row):
    return "".join(f"<td style='{_align(i)}'>{escape(cell)}</td>" for i, cell in enumerate(row))


def _align(column):
    return f"text-align:{'right' if column in NUMBERS else 'left'};white-space:pre;padding:2px 8px"


def _loss_of(loss):
    return ", ".join(f"{name}: {its}" for name, its in loss.items()) if isinstance(loss, Mapping) else str(loss)


def _kind(layer):
    inner = getattr(layer, "layer", None)  # of a Shared
    if inner is not None:
        return f"{_kind(inner)}, shared"
    settings = {
        name: value for name, value in arguments_of(layer).items()
        if not (layer.inner and isinstance(value, tuple | Mapping))
    }  # fmt: skip
    arguments = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f"{type(layer).__name__}({arguments})" if arguments else type(layer).__name__
