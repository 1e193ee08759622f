"""One set of weights in several places."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from ..checks import check_number, make_plain
from .activations import Unit, check_activation, unit_of
from .dense import Dense
from .layer import Layer, check_layer


@dataclass(frozen=True)
class Shared(Layer):
    """A layer whose weights are the same in all its places: the gradient is the sum over the places.

    For things that are to be looked at in the same way, and for layers that are applied again and again.

    Put one object in several places of a network. What makes them one is the name: copies, from pickles, files or
    `sklearn.base.clone`, have it too, another object made with the same layer has not.

    Parameters
    ----------
    layer : layer
        Any, of layers too, but for several heads. Its weights are drawn, penalized and bounded once.
    name : str or None, default=None
        Layers of the same name are the same; None draws one that no other has.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Transposed : The same weights, transposed.
    Network : Its `ties` penalise the difference between the weights of two layers.

    Notes
    -----
    With weights W in places p, which take ``H_p`` and make ``Z_p``, ``dC/dW = sum_p H_p^T dC/dZ_p``; in a `Transposed`
    place the term is ``(dC/dZ_p)^T H_p``. Dropout is drawn for each place by itself. Notes 004 name parameter sharing
    beside tying; networks that apply one layer again and again, or to two things to be compared, are made so [1]_.

    References
    ----------
    .. [1] J. Bromley and others, "Signature verification using a siamese time delay neural network", NIPS 1993.

    Examples
    --------
    The same three layers one after the other, with the weights of one:

    >>> from fastbp import Dense, Shared
    >>> step = Shared(Dense(8, "tanh"), name="step")
    >>> layers = [Dense(8), step, step, step, Dense(1)]
    """

    layer: Layer
    name: str | None = None

    def __post_init__(self) -> None:
        check_layer("layer", self.layer)
        if self.name is None:
            object.__setattr__(self, "name", secrets.token_hex(8))
        _check_name(self.name)

    @property
    def inner(self) -> tuple[Layer, ...]:
        return (self.layer,)

    @property
    def sequences(self) -> dict[str, tuple[Layer, ...]]:
        return self.layer.sequences

    def transposed(
        self, activation: Unit = "identity", dropout: float = 0.0
    ) -> Transposed:
        """The layer ``A = f(H W^T + b)`` with the weights of this one, a Dense, and a bias of its own.

        Parameters
        ----------
        activation, dropout
            As of `Dense`.

        Returns
        -------
        layer : Transposed

        Raises
        ------
        ValueError
            If this is not a Dense, or a setting is out of range.

        See Also
        --------
        Transposed : The layer that it makes.

        Examples
        --------
        >>> from fastbp import Dense, Shared
        >>> Shared(Dense(32, "tanh"), name="code").transposed("logistic")
        Transposed(name='code', activation='logistic', dropout=0.0)
        """
        if not isinstance(self.layer, Dense):
            raise ValueError(f"layer must be a Dense to be transposed, got {self.layer!r}")
        return Transposed(str(self.name), activation, dropout)

    def build(self, graph: Any, h: int, name: str) -> Any:
        with graph.sharing(name, self.name, self.layer):
            return self.layer.build(graph, h, name)


@dataclass(frozen=True)
class Transposed(Layer):
    """A layer ``A = f(H W^T + b)`` with the weights ``W (n_in, n_out)`` of a `Shared` Dense that comes before it.

    For decoders of autoencoders, which then have half as many weights.

    It takes ``n_out`` columns and has ``n_in`` units, with a bias of its own, which starts from 0. `Shared.transposed`
    makes it.

    Parameters
    ----------
    name : str
        That of the `Shared`.
    activation : str, LeakyReLU or ELU, default="identity"
        As of `Dense`.
    dropout : float, default=0.0
        As of `Dense`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Shared : The layer that has the weights.
    MLPRegressor.transform : The code of an autoencoder.

    Notes
    -----
    With the weighted input ``Z = H W^T + b`` and ``D = dC/dZ``: ``dC/dH = D W``, ``dC/dW = D^T H``, which is added to
    the gradient from the other places, and ``dC/db`` is the sum of the rows of D.

    An autoencoder of which the decoder has the encoder's weights is "tied" [1]_; in the terms of notes 004 that is
    parameter sharing.

    References
    ----------
    .. [1] P. Vincent and others, "Stacked denoising autoencoders: learning useful representations in a deep network
       with a local denoising criterion", JMLR 11, 2010.

    Examples
    --------
    >>> from fastbp import Dense, Shared
    >>> encoder = Shared(Dense(32, "tanh"))
    >>> layers = [encoder, encoder.transposed()]
    """

    name: str
    activation: Unit = "identity"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        _check_name(self.name)
        object.__setattr__(self, "activation", check_activation(self.activation))
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))

    def build(self, graph: Any, h: int, name: str) -> Any:
        number, shared = graph.shared_weights(self.name), graph.shared.get(self.name)
        if number is None or not isinstance(shared, Dense):
            raise ValueError(
                f"layers[{name}] is {self!r}, which must come after a Shared Dense of this name, got "
                f"{'none' if shared is None else repr(shared)}"
            )
        z = graph.transposed(name, h, self, number)
        return graph.finish(z, *unit_of(self.activation), self.dropout)


def _check_name(name):
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a string that is not empty, got {name!r}")
