"""What a network lets be read: its settings, and views of what it has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..hints import Bools, Floats, Integers
from ..initializers import Initializer
from ..layers import Layer
from ..losses import Loss
from .model import Model


class Attributes:
    """Attributes of `Network`, whose docstring says more of them."""

    _model: Model

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the first hidden one to the output layer."""
        return self._model.layers

    @property
    def n_inputs(self) -> int:
        """Number of features."""
        return self._model.n_inputs

    @property
    def loss(self) -> Loss | Mapping[str, Loss] | None:
        """The loss, of several heads a dict of them; None for a custom one."""
        return self._model.loss

    @property
    def l1(self) -> float:
        """Strength of the L1 penalty; may be set."""
        return self._model.l1

    @l1.setter
    def l1(self, value: float) -> None:
        self._model.l1 = value

    @property
    def l2(self) -> float:
        """Strength of the L2 penalty; may be set."""
        return self._model.l2

    @l2.setter
    def l2(self, value: float) -> None:
        self._model.l2 = value

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Of parameters and arithmetic."""
        return self._model.dtype

    @property
    def initializer(self) -> Initializer:
        """Rule for the initial parameters of layers that don't bring their own."""
        return self._model.initializer

    @property
    def input_dropout(self) -> float:
        """Probability with which each input is set to 0 in training."""
        return self._model.input_dropout

    @property
    def input_noise(self) -> float:
        """Standard deviation of the noise on inputs in training."""
        return self._model.input_noise

    @property
    def ties(self) -> tuple[tuple[int, int, float], ...]:
        """Which weights are tied to each other, and how strongly."""
        return self._model.ties

    @property
    def loss_weights(self) -> Mapping[str, float] | None:
        """Weights of the losses of several heads."""
        return self._model.loss_weights

    @property
    def checkpoint_every(self) -> int | None:
        """Of how many layers only the last one's activations are kept."""
        return self._model.checkpoint_every

    @property
    def parameters(self) -> Floats:
        """All parameters, (n_parameters,); writing to it changes the network."""
        return self._model.parameters

    @property
    def layer_state(self) -> Mapping[str, Floats]:
        """What layers keep and do not learn, by names such as "1.mean"; writing to the arrays changes it."""
        return MappingProxyType(self._model.graph.state_views(self._model.layer_state))

    @property
    def weights(self) -> tuple[Floats, ...]:
        """Views of `parameters`, one for each place where the network has weights."""
        return self._model.weights

    @property
    def biases(self) -> tuple[Any, ...]:
        """Views of `parameters`; None where there are no biases."""
        return self._model.biases

    @property
    def masks(self) -> tuple[Bools | None, ...]:
        """For each of `weights` which of them there are; None for all."""
        return self._model.masks_of_places()

    @property
    def columns(self) -> tuple[Integers | None, ...]:
        """For each of `weights` of a `Sparse` layer the inputs that these are for; None of other layers."""
        return self._model.columns_of_places()
