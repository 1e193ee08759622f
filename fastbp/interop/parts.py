"""Layers with what is in them, of which a network is made that another library has trained."""

from dataclasses import dataclass, field, replace
from typing import Any

from ..layers import ELU, Activation, LeakyReLU, build
from ..losses import OUTPUT_UNITS, SoftmaxCrossEntropy, kernel_of


@dataclass
class Part:
    """A layer, and what is in it.

    Attributes
    ----------
    layer : layer
    places : list of tuple (W, b)
        Of weights, in their order; b is None where the layer has none, or there was none.
    states : list of ndarray
        What it keeps and does not learn.
    """

    layer: object
    places: list = field(default_factory=list)
    states: list = field(default_factory=list)


class OutputUnit:
    """In the place of a layer: a unit that a loss brings along and no layer has."""


class Exponential(OutputUnit):
    """That of "poisson"."""

    activation = "exp"


class FixedSoftmax(OutputUnit):
    """Softmax of outputs of which the last is taken as 0: that of `SoftmaxCrossEntropy` with a fixed logit."""

    activation = "fixed softmax"


def leaky_relu(slope):
    """The unit, by its name where that says it all."""
    return "leaky_relu" if slope == LeakyReLU().slope else LeakyReLU(slope)


def elu(alpha):
    """The same of this unit."""
    return "elu" if alpha == ELU().alpha else ELU(alpha)


def network_of(network, parts, n_inputs, loss, dtype):
    """A network of parts; `network` is its class.

    Raises
    ------
    ValueError
        If the parts don't make one.
    """
    layers = [part.layer for part in parts]
    places = [place for part in parts for place in part.places]
    states = [state for part in parts for state in part.states]
    _check_sizes(build(layers, n_inputs), places, states)
    net = network(layers, n_inputs=n_inputs, loss=loss, dtype=dtype)
    for W, b, (W_new, b_new) in zip(net.weights, net.biases, places, strict=True):
        W[:] = W_new
        if b is not None:
            b[:] = 0 if b_new is None else b_new
    for state, new in zip(net.layer_state.values(), states, strict=True):
        state[:] = new
    return net


def _check_sizes(graph, places, states):
    """ValueError unless these are the sizes of a graph's weights and states, before memory is taken for them."""
    for (number, _, transposed), (W, b) in zip(graph.places, places, strict=True):
        w = graph.weights[number]
        shape = (w.n_out, w.n_in) if transposed else (w.n_in, w.n_out)
        fits = W.shape == shape if w.role != "scale" else W.size in (1, w.n_out)
        if not fits or (b is not None and b.size not in (1, shape[1])):
            shapes = [array if array is None else array.shape for array in (W, b)]
            raise ValueError(f"weights and biases of shapes {shapes} must be those of a layer with weights of {shape}")
    for state, new in zip(graph.states, states, strict=True):
        if new.size not in (1, state.n):
            raise ValueError(f"{state.name} must have {state.n} elements, got {new.size}")


LOSSES: dict[Any, Any] = {unit: loss for loss, unit in OUTPUT_UNITS.items()}
LOSSES[FixedSoftmax.activation] = SoftmaxCrossEntropy(fixed_logit=True)


def with_unit(part, other):
    """The part that two are together if the second is the unit of the first; else None."""
    if type(other.layer) is not Activation or type(part.layer) is Activation:
        return None
    if getattr(part.layer, "activation", None) != "identity" or getattr(part.layer, "dropout", 0):
        return None
    return replace(part, layer=replace(part.layer, activation=other.layer.activation))


def joined(parts, join):
    """The parts with neighbours joined for which ``join(part, other)`` is not None."""
    new = []
    for part in parts:
        joint = join(new[-1], part) if new else None
        if joint is None:
            new.append(part)
        else:
            new[-1] = joint
    return new


def without_output_unit(parts, loss, name="loss"):
    """The parts without the unit that a loss brings along, and the loss; `name` is that of the argument.

    A loss from logits takes an output without a unit for them.
    """
    *before, last = parts or [Part(Activation("identity"))]
    unit = getattr(last.layer, "activation", "identity")
    if loss == "auto":
        loss = LOSSES.get(unit, "squared_error")
    kernel, _, _, fixed_logit = kernel_of(loss)
    wanted = FixedSoftmax.activation if fixed_logit else OUTPUT_UNITS.get(kernel)
    alone = isinstance(last.layer, OutputUnit)
    if wanted != unit and (alone or (wanted is not None and unit != "identity")):
        raise ValueError(f"{name} must go with the unit of the model's output, {unit!r}, got {loss!r}")
    if wanted != unit:
        return parts, loss
    if alone or isinstance(last.layer, Activation):
        return before, loss
    return [*before, replace(last, layer=replace(last.layer, activation="identity"))], loss
