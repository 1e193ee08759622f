"""Layers without weights of their own, and those that connect layers otherwise than one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..checks import check_number, make_plain
from ..settings import FrozenDict
from .activations import Unit, check_activation, unit_of
from .dense import Dense
from .layer import Layer, build_in_turn, check_layers


@dataclass(frozen=True)
class Activation(Layer):
    """A layer ``A = f(H)``: units alone.

    For units that don't come directly after weights, as behind `BatchNorm` or after a `Residual`. Behind a layer with
    identity units it is the same as that layer with this activation, in speed too.

    Parameters
    ----------
    activation : str, LeakyReLU or ELU
        The unit ``f``, as of `Dense`.

    Raises
    ------
    ValueError
        If the activation is unknown.

    See Also
    --------
    Dense : Has an activation of its own, and lists the units.
    PReLU : A unit that is learnt.

    Notes
    -----
    With ``e = dC/da``, ``dC/dh = e f'(h)``.

    Examples
    --------
    >>> from fastbp import Activation, BatchNorm, Dense
    >>> layers = [Dense(64), BatchNorm(), Activation("relu"), Dense(1)]
    """

    activation: Unit

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", check_activation(self.activation))

    def build(self, graph: Any, h: int, name: str) -> Any:
        z = graph.value(name, graph.values[h].n)
        graph.move(h, z)
        return graph.finish(z, *unit_of(self.activation))


@dataclass(frozen=True)
class Dropout(Layer):
    """A layer that drops what it takes, in training: ``a_j = h_j m_j / (1 - rate)``, ``m_j`` being 0 or 1.

    Against overfitting of large networks: units can't rely on each other.

    Behind a layer without dropout it is the same as that layer with this dropout, in speed too.

    Parameters
    ----------
    rate : float
        Probability of ``m_j = 0``, in [0, 1), usually 0.1 to 0.5, for each row of each batch anew. As the others are
        divided by ``1 - rate`` ("inverted" dropout), prediction, which drops nothing, has nothing to make up for. Not
        for the last layer [1]_.

    Raises
    ------
    ValueError
        If the rate is out of range.

    See Also
    --------
    Dense : Has a dropout of its own.
    Network : Its `input_dropout` is for the inputs.

    Notes
    -----
    With ``e = dC/da``, ``dC/dh_j = e_j m_j / (1 - rate)``.

    References
    ----------
    .. [1] N. Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> from fastbp import Dense, Dropout, LayerNorm
    >>> layers = [Dense(64, "relu"), LayerNorm(), Dropout(0.2), Dense(1)]
    """

    rate: float

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "rate", check_number("rate", self.rate, "[0, 1)"))

    def build(self, graph: Any, h: int, name: str) -> Any:
        z = graph.value(name, graph.values[h].n)
        graph.move(h, z)
        return graph.finish(z, dropout=self.rate)


@dataclass(frozen=True)
class Residual(Layer):
    """Layers ``F`` with a connection that skips them: ``A = H + F(H)``, or ``A = H P + F(H)``.

    For deep networks: from about ten layers on they are hard to train without such connections.

    Parameters
    ----------
    layers : sequence of layers
        ``F``, one after the other; they may be `Residual` too.
    projection : {None, "linear"}, default=None
        "linear" adds ``H P`` instead of H where F has another number of units than H has columns. The weights ``P``
        have no bias; penalties and initializer are the network's.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network without the projection, if F changes the number of columns.

    See Also
    --------
    Parallel : Branches that are put side by side or added.
    LayerNorm : Normalises what a block takes.
    Checkpoint : Deep networks in less memory.

    Notes
    -----
    With ``E = dC/dA``, ``dC/dH = E + E J``, ``J`` being the Jacobian of F: the gradient reaches H also where that of F
    vanishes. Notes 004: "skip connections are used sometimes for specific tasks. This helps faster flow of gradients
    while training."

    The blocks of [1]_ have a unit after the addition: ``Residual([Dense(64, "relu"), Dense(64)]), Activation("relu")``;
    those of [2]_ have units before the weights, and nothing after the addition:
    ``Residual([Activation("relu"), Dense(64, "relu"), Dense(64)])``.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition", CVPR 2016. Equation (2)
       has the projection.
    .. [2] The same, "Identity mappings in deep residual networks", ECCV 2016.

    Examples
    --------
    Four blocks of two layers, with a projection in the first, which makes 64 columns of 10:

    >>> from fastbp import Dense, Network, Residual
    >>> first = Residual([Dense(64, "relu"), Dense(64)], projection="linear")
    >>> layers = [first] + [Residual([Dense(64, "relu"), Dense(64)])] * 3 + [Dense(1)]
    >>> len(Network(layers, n_inputs=10, random_state=0).weights)
    10
    """

    layers: Sequence[Layer]
    projection: Literal["linear"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers("layers", self.layers))
        if self.projection not in (None, "linear"):
            raise ValueError(f"projection must be None or 'linear', got {self.projection!r}")

    @property
    def sequences(self) -> dict[str, tuple[Layer, ...]]:
        return {"": tuple(self.layers)}

    def build(self, graph: Any, h: int, name: str) -> Any:
        f = build_in_turn(self.layers, graph, h, f"{name}.")
        n, n_out = graph.values[h].n, graph.values[f].n
        if n != n_out:
            if self.projection is None:
                raise ValueError(
                    f"layers[{name}] must have as many units at its end as it takes, {n}, unless projection='linear', "
                    f"got {n_out} for {self!r}"
                )
            p, _ = graph.dense(f"{name}.projection", h, Dense(n_out), n_out, has_bias=False)
            h = graph.finish(p)
        return _combined(graph, name, [h, f], add=True)


@dataclass(frozen=True)
class Parallel(Layer):
    """Branches of layers that all take the same: ``A = [F_1(H), F_2(H), ...]``, their sum, or heads.

    For inputs of different kinds, for a wide part beside a deep one, and for several targets that have layers in
    common.

    Parameters
    ----------
    branches : sequence of sequences of layers, or dict of them
        ``F_1, F_2, ...``, each of them layers one after the other, none for the identity. A dict gives the network
        several outputs, heads, with these names: then it must be the network's last layer, and no branch may be empty.
    combine : {"concatenate", "add"}, default="concatenate"
        Whether the branches' outputs are put side by side, or added; the latter needs the same number of units in all
        of them. Not for heads, which stay apart.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if outputs to be added have different numbers of units.

    See Also
    --------
    Residual : A branch beside the identity, added.
    Network : Takes a loss for each head, and weights of losses.

    Notes
    -----
    With ``E_i``, branch i's columns of ``dC/dA``, or all of it if outputs are added, ``dC/dH = sum_i E_i J_i``, where
    ``J_i`` is the Jacobian of ``F_i``. Branches that are concatenated are those of [1]_; heads that share what is below
    them, "hard parameter sharing", are those of [2]_.

    References
    ----------
    .. [1] C. Szegedy and others, "Going deeper with convolutions", CVPR 2015.
    .. [2] R. Caruana, "Multitask learning", Machine Learning 28, 1997.

    Examples
    --------
    A wide part beside a deep one, and two heads:

    >>> from fastbp import Dense, Parallel
    >>> wide_and_deep = Parallel([[], [Dense(32, "relu"), Dense(32, "relu")]])
    >>> layers = [wide_and_deep, Parallel({"price": [Dense(1)], "kind": [Dense(4)]})]
    """

    branches: Sequence[Sequence[Layer]] | Mapping[str, Sequence[Layer]]
    combine: Literal["concatenate", "add"] = "concatenate"

    def __post_init__(self) -> None:
        branches = self.branches
        if not isinstance(branches, list | tuple | Mapping) or not branches:
            raise ValueError(f"branches must be a list or dict of lists of layers, got {branches!r}")
        if self.combine not in ("concatenate", "add"):
            raise ValueError(f"combine must be 'concatenate' or 'add', got {self.combine!r}")
        if not isinstance(branches, Mapping):
            checked: Any = tuple(check_layers(f"branches[{i}]", layers, least=0) for i, layers in enumerate(branches))
        else:
            if self.combine != "concatenate":
                raise ValueError(f"combine is not for heads, which stay apart, got {self.combine!r}")
            for name in branches:
                if not isinstance(name, str) or not name or "." in name or "__" in name:
                    raise ValueError(f"names of heads must be strings, not empty, without '.' and '__', got {name!r}")
            checked = FrozenDict({name: check_layers(f"branches[{name!r}]", at) for name, at in branches.items()})
        object.__setattr__(self, "branches", checked)

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(self.branches) if isinstance(self.branches, Mapping) else ()

    @property
    def sequences(self) -> dict[str, tuple[Layer, ...]]:
        named = self.branches if isinstance(self.branches, Mapping) else dict(enumerate(self.branches))
        return {str(name): tuple(layers) for name, layers in named.items()}

    def build(self, graph: Any, h: int, name: str) -> Any:
        if isinstance(self.branches, Mapping):
            return {head: build_in_turn(layers, graph, h, f"{name}.{head}.") for head, layers in self.branches.items()}
        outputs = [build_in_turn(layers, graph, h, f"{name}.{i}.") for i, layers in enumerate(self.branches)]
        sizes = [graph.values[value].n for value in outputs]
        if self.combine == "add" and len(set(sizes)) > 1:
            raise ValueError(
                f"layers[{name}] must have the same number of units in all branches to add, got {sizes} for {self!r}"
            )
        return _combined(graph, name, outputs, self.combine == "add")


def _combined(graph, name, values, add):
    """The sum of values, or all of them side by side."""
    sizes = [graph.values[value].n for value in values]
    z = graph.value(name, sizes[0] if add else sum(sizes))
    column = 0
    for i, (value, n) in enumerate(zip(values, sizes, strict=True)):
        graph.move(value, z, column, add=add and i > 0)
        column += 0 if add else n
    return graph.finish(z)
