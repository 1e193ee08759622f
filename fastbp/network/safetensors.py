"""Networks in files of safetensors: a tensor for each W and b, by the names of layers, and settings as metadata."""

import json

import numpy as np

from .. import layers
from . import saved
from .model import Model


def write(stream, model):
    """Write a model to a binary stream."""
    tensors = {}
    for names, (W, b), mask in zip(_names(model.graph), model.sets(model.parameters), model.masks, strict=True):
        tensors |= {name: array for name, array in zip(names, (W, b), strict=False) if array.size}
        if mask is not None and saved.is_pruned(model):
            tensors[names[2]] = mask != 0
    tensors |= model.graph.state_views(model.layer_state)
    stream.write(_library().numpy.save(tensors, {"settings": saved.to_json(model)}))


def is_one(stream):
    """Whether a stream, whose place stays, has this format."""
    place = stream.tell()
    start = stream.read(9)
    stream.seek(place)
    return start[8:] == b"{" and not start.startswith(b"PK")


def read(stream):
    """The model in a binary stream.

    Raises
    ------
    ValueError, KeyError, TypeError, SafetensorError
        If it is not what `write` has written.
    """
    data = stream.read()
    tensors = _library().numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    settings = saved.from_json(metadata["settings"], any(name.endswith(".mask") for name in tensors))
    graph = layers.build(settings["layers"], settings["n_inputs"])
    masks = [tensors.pop(mask, None) for _, _, mask in _names(graph)]
    dtype, shapes = np.dtype(settings["dtype"]), {state.name: (state.n,) for state in graph.states}
    for (weight, bias, _), w in zip(_names(graph), graph.weights, strict=True):
        if w.n_in:
            shapes[weight] = w.n_in, w.n_out
        if w.has_bias:
            shapes[bias] = (w.n_out,)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != shapes or any(tensor.dtype != dtype for tensor in tensors.values()):
        raise ValueError(f"tensors of {found} do not fit the settings, which need {shapes} of {dtype}")
    for mask, w in zip(masks, graph.weights, strict=True):
        if mask is not None and (mask.shape != (w.n_in, w.n_out) or mask.dtype != bool):
            raise ValueError(f"masks of {mask.dtype} in shape {mask.shape} do not fit the settings")
    model = Model(**settings)
    for (weight, bias, _), (W, b) in zip(_names(graph), model.sets(model.parameters), strict=True):
        W[:] = tensors.get(weight, W)
        b[:] = tensors.get(bias, b)
    for name, state in model.graph.state_views(model.layer_state).items():
        state[:] = tensors[name]
    if any(mask is not None for mask in masks):
        model.masks = masks
    return model


def _names(graph):
    """Names of W, of b and of the mask for each of a graph's weights: those of layers where they are first, with a
    number where a layer has several."""
    first = {}
    for op in graph.forward:
        for number in (op.weights, op.bias):
            if number >= 0 and op.kind != "unit":
                first.setdefault(number, graph.values[op.output].name)
    counts, names = {}, []
    for number in range(len(graph.weights)):
        layer = first[number]
        counts[layer] = n = counts.get(layer, 0) + 1
        end = "" if n == 1 else f"_{n}"
        names.append((f"{layer}.weight{end}", f"{layer}.bias{end}", f"{layer}.weight{end}.mask"))
    return names


def _library():
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        message = "files of safetensors need a package that is not here: pip install 'fastbp[safetensors]'"
        raise ImportError(message) from error
    return safetensors
