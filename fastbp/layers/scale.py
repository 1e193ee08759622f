"""Layers that multiply each feature by a number of its own, which is learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import check_flag, check_number, make_plain
from .layer import Layer


@dataclass(frozen=True)
class Scale(Layer):
    """A layer ``A = H * w + b``: each feature times a number of its own, plus another one.

    Behind the inputs it learns how much each of them counts; at the end of a block, ``Residual([..., Scale()])``, how
    much the block does.

    Parameters
    ----------
    bias : bool, default=True
        Whether there is a ``b``.

    Raises
    ------
    ValueError
        If a setting is of another type.

    See Also
    --------
    PReLU : Multiplies negative values alone.

    Notes
    -----
    ``w``, of shape ``(1, n)`` in a network's `weights`, starts from 1, ``b`` from 0. L1, L2, an optimizer's weight
    decay and max-norm are for weights of products: scales have none of them. With ``D = dC/dA``,

    ``dC/dH = D * w``, ``dC/dw = sum of the rows of D * H``, ``dC/db = sum of the rows of D``.

    A first layer of this kind needs dense inputs; [1]_ has one for tabular data, that learns at a larger rate than the
    other parameters. Scales at the end of residual branches are those of [2]_.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on
       tabular data", NeurIPS 2024.
    .. [2] H. Touvron and others, "Going deeper with image transformers", ICCV 2021.

    Examples
    --------
    >>> from fastbp import Dense, Network, Scale
    >>> net = Network([Scale(), Dense(16, "relu"), Dense(1)], n_inputs=3, random_state=0)
    >>> net.weights[0]
    array([[1., 1., 1.]])
    """

    bias: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        check_flag("bias", self.bias)

    def build(self, graph: Any, h: int, name: str) -> Any:
        return graph.finish(graph.scale(name, h, self, self.bias))


@dataclass(frozen=True)
class PReLU(Layer):
    """A layer of units ``A = max(0, H) + w * min(0, H)``: a leaky ReLU whose slope for each feature is learnt.

    Where a fixed slope, as of `LeakyReLU`, is a guess; it costs a parameter for each unit.

    Parameters
    ----------
    initial : float, default=0.25
        What the slopes ``w`` start from.

    Raises
    ------
    ValueError
        If it is not a finite number.

    See Also
    --------
    LeakyReLU : The unit with a slope that is given.
    Scale : Multiplies all values.

    Notes
    -----
    ``w``, of shape ``(1, n)`` in `Network.weights`, has no penalties, no weight decay and no max-norm, as all scales:
    they would make ReLUs of these units [1]_. With ``D = dC/dA``,

    ``dC/dH = D`` where ``H > 0``, else ``D * w``; ``dC/dw = sum of the rows of D * min(0, H)``.

    A first layer of this kind needs dense inputs.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.

    Examples
    --------
    >>> from fastbp import Dense, Network, PReLU
    >>> net = Network([Dense(16), PReLU(), Dense(1)], n_inputs=3, random_state=0)
    >>> float(net.weights[1].min())
    0.25
    """

    initial: float = 0.25

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "initial", check_number("initial", self.initial, "(-inf, inf)"))

    def build(self, graph: Any, h: int, name: str) -> Any:
        return graph.finish(graph.scale(name, h, self, has_bias=False, start=self.initial, kind="prelu"))
