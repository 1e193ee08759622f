"""Memory for time: layers whose values are made again on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .layer import Layer, build_in_turn, check_layers


@dataclass(frozen=True)
class Checkpoint(Layer):
    """Layers of which only the last one's activations are kept for backpropagation; the others are made again.

    Training and gradients give the same bits as without, dropout included, and need the memory of the values within
    one such layer at a time. The time is that of one more pass forward through these layers, about a third of a step's.

    Parameters
    ----------
    layers : sequence of layers
        One after the other.

    Raises
    ------
    ValueError
        If these are not layers.

    See Also
    --------
    Network : Its `checkpoint_every` does this for all layers.
    Network.program : Shows the bytes of the workspace, and which ops run twice.

    Notes
    -----
    Nothing is saved by one layer alone, whose only value is the last. Of a Checkpoint within another the outer counts.
    Weights that are `Shared` with layers outside have one sum of gradients over all their places: the values of a
    Checkpoint with such are kept. In notes 004, storing or recomputing; by the name of gradient checkpointing [1]_.

    References
    ----------
    .. [1] T. Chen, B. Xu, C. Zhang and C. Guestrin, "Training deep nets with sublinear memory cost", arXiv 1604.06174,
       2016.

    Examples
    --------
    >>> from fastbp import Checkpoint, Dense
    >>> layers = [Checkpoint([Dense(64, "relu")] * 8) for _ in range(8)] + [Dense(1)]
    """

    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers("layers", self.layers))

    @property
    def sequences(self) -> dict[str, tuple[Layer, ...]]:
        return {"": tuple(self.layers)}

    def build(self, graph: Any, h: int, name: str) -> Any:
        return graph.recomputed(lambda: build_in_turn(self.layers, graph, h, f"{name}."))
