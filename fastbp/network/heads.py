"""The outputs of a network, each with its loss: one, or several heads, of which users have dicts by name."""

from collections.abc import Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..checks import check_number, check_real
from ..losses import HistogramLoss, check_loss, check_targets, kernel_of
from ..settings import FrozenDict
from .inputs import check_out, contiguous


class Output(NamedTuple):
    """An output ``(n_samples, n)`` and its part of the cost, ``weight * loss``; None is the name of a single one."""

    name: str | None
    n: int
    loss: object
    weight: float

    @property
    def n_predicted(self):
        """Columns of what `Network.predict` gives."""
        return 1 if isinstance(self.loss, HistogramLoss) else self.n

    @property
    def cost(self):
        """The loss as the core takes it."""
        return *kernel_of(self.loss), self.weight


def outputs_of(graph, loss, loss_weights):
    """The outputs of a network.

    Parameters
    ----------
    graph : Graph
    loss, loss_weights
        As of `Network`.

    Returns
    -------
    outputs : tuple of Output

    Raises
    ------
    ValueError
        If losses or weights don't fit the outputs.
    """
    if None in graph.outputs:
        if isinstance(loss, Mapping):
            raise ValueError(f"loss must be one for the output, as there are no heads, got {loss!r}")
        if loss_weights is not None:
            raise ValueError(f"loss_weights must be None for a network with one output, got {loss_weights!r}")
        losses, weights = {None: loss}, {None: 1.0}
    else:
        losses = dict.fromkeys(graph.outputs)
        if loss is not None:
            losses = _by_name("loss", loss, graph.outputs)
            for name, its in losses.items():
                if its is None:
                    raise ValueError(f"loss must be one for each head, or None for all, got None for {name!r}")
        given = {} if loss_weights is None else loss_weights
        if not isinstance(given, Mapping) or not given.keys() <= graph.outputs.keys():
            raise ValueError(f"loss_weights must be a dict by names among {[*graph.outputs]}, got {loss_weights!r}")
        weights = {
            name: check_number(f"loss_weights[{name!r}]", given.get(name, 1.0), "[0, inf)") for name in graph.outputs
        }
    outputs = []
    for name, number in graph.outputs.items():
        value = graph.values[number]
        with _of(name, "loss"):
            check_loss(losses[name], value)
        outputs.append(Output(name, value.n, losses[name], weights[name]))
    return tuple(outputs)


def settings_of(outputs):
    """Loss and loss_weights, the settings of a network with these outputs: immutable dicts if it has heads."""
    if outputs[0].name is None:
        return outputs[0].loss, None
    losses = FrozenDict({output.name: output.loss for output in outputs})
    weights = FrozenDict({output.name: output.weight for output in outputs})
    return None if None in losses.values() else losses, weights


def by_output(argument, given, outputs):
    """A part for each output, a list, of what was given: the one thing, or those in a dict by the names of heads.

    Raises
    ------
    ValueError
        If it is not a dict where there are heads, or has not the names of all of them, or others.
    """
    if outputs[0].name is None:
        return [given]
    return list(_by_name(argument, given, [output.name for output in outputs]).values())


def joined(parts, outputs):
    """What the user has of parts, one of each output: the one, or a dict."""
    if outputs[0].name is None:
        return parts[0]
    return {output.name: part for output, part in zip(outputs, parts, strict=True)}


def named(argument, given):
    """Pairs of name and array of an argument that may be a dict of them: "y", or "y['price']" and so on."""
    if isinstance(given, Mapping):
        return [(f"{argument}[{name!r}]", array) for name, array in given.items()]
    return [(argument, given)]


def targets_of(y, n, outputs):
    """Targets and labels as the core takes them: arrays or None, of heads tuples of them; see `check_targets`."""
    if outputs[0].name is None:
        return check_targets(outputs[0].loss, y, n, outputs[0].n)
    targets = []
    for output, part in zip(outputs, by_output("y", y, outputs), strict=True):
        with _of(output.name, "y"):
            targets.append(check_targets(output.loss, part, n, output.n))
    return tuple(zip(*targets, strict=True))


def output_gradients_of(dz, n, dtype, outputs):
    """Gradients with respect to the outputs as the core takes them, a tuple."""
    if outputs[0].name is None:
        return (_output_gradient(dz, n, dtype, outputs[0]),)
    parts = []
    for output, part in zip(outputs, by_output("dz", dz, outputs), strict=True):
        with _of(output.name, "dz"):
            parts.append(_output_gradient(part, n, dtype, output))
    return tuple(parts)


def _output_gradient(dz, n, dtype, output):
    dz = contiguous(check_real("dz", dz), dtype)
    if dz.shape != (n, output.n):
        raise ValueError(f"dz must have the shape of what forward returned, {(n, output.n)}, got {dz.shape}")
    return dz


def check_outs(out, n, dtype, X, outputs):
    """ValueError unless predictions of n rows can be written to `out`; its arrays, one of each output."""
    if outputs[0].name is None:
        check_out(out, (n, outputs[0].n_predicted), dtype, X)
        return [out]
    outs = by_output("out", out, outputs)
    for output, array in zip(outputs, outs, strict=True):
        with _of(output.name, "out"):
            check_out(array, (n, output.n_predicted), dtype, X)
    for i, array in enumerate(outs):
        if any(np.may_share_memory(array, other) for other in outs[:i]):
            raise ValueError("out must be arrays apart from each other")
    return outs


def _by_name(argument, given, names):
    """The dict's parts in the order of these names, which must be its keys."""
    if not isinstance(given, Mapping):
        got = repr(given) if isinstance(given, str) else type(given).__name__
        raise ValueError(f"{argument} must be a dict by the names of the heads, {[*names]}, got {got}")
    missing, unknown = [name for name in names if name not in given], [name for name in given if name not in names]
    if missing or unknown:
        raise ValueError(
            f"{argument} must be a dict by the names of the heads, {[*names]}; missing are {missing}, unknown {unknown}"
        )
    return {name: given[name] for name in names}


@contextmanager
def _of(name, argument):
    """Say in the message of a ValueError of which head it is; of a single output there is none."""
    try:
        yield
    except ValueError as error:
        if name is None:
            raise
        message = str(error).removeprefix(f"{argument} ")
        raise ValueError(f"{argument}[{name!r}]{' ' if message != str(error) else ': '}{message}") from error
