"""Dense layers of few parameters: weights that are products of two thin matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..checks import check_size
from ..initializers import Initializer
from .activations import Unit, unit_of
from .dense import check_product_settings
from .layer import Layer


@dataclass(frozen=True)
class LowRank(Layer):
    """A dense layer of low rank, ``A = f(H U V + b)``.

    For large layers, where most of the time and memory goes.

    With ``U (n_in, rank)`` and ``V (rank, n_units)`` in the place of ``W (n_in, n_units)`` it has, and multiplies by,
    ``rank (n_in + n_units)`` weights, which is less than ``n_in n_units`` for a rank below half their harmonic mean.

    Parameters
    ----------
    n_units : int
        Number of units.
    rank : int
        Columns of U and rows of V: the rank of ``U V`` at most. An eighth to a quarter of the units is a usual start.
    activation : str, LeakyReLU or ELU, default="identity"
        The unit ``f``, as of `Dense`.
    l1, l2 : float or None, default=None
        Penalties on the elements of U and of V, as of `Dense`; None takes the network's.
    initializer : str, VarianceScaling, Orthogonal or None, default=None
        Rule for the initial ``U V``, see below; None takes the network's.
    dropout : float, default=0.0
        As of `Dense`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Dense : Its `mask` leaves out single weights.
    Sparse : Few inputs for each unit.

    Notes
    -----
    With ``D = dC/dZ``: ``dC/dV = (H U)^T D``, ``dC/dU = H^T D V^T`` and ``dC/dH = D V^T U^T``. Notes 004 have it under
    linear units: a linear layer before another one needs fewer parameters.

    Elements of U have mean 0 and variance ``1 / n_in`` before training ("lecun_normal"), so that ``H U`` has the
    variance of H. Those of V are drawn by the rule for a `Dense` of n_in inputs and n_units units, and multiplied by
    ``sqrt(n_in / rank)``: then elements of ``U V`` have the variance that weights of that layer would have.

    References
    ----------
    T. Sainath and others, "Low-rank matrix factorization for deep neural network training with high-dimensional output
    targets", ICASSP 2013. M. Denil and others, "Predicting parameters in deep learning", NIPS 2013.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.LowRank(64, 4, "relu"), fastbp.Dense(1)], n_inputs=100, random_state=0)
    >>> [W.shape for W in net.weights]
    [(100, 4), (4, 64), (64, 1)]
    """

    n_units: int
    rank: int
    activation: Unit = "identity"
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer | None = None
    dropout: float = 0.0

    max_norm: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_product_settings(self)
        check_size("rank", self.rank)

    def build(self, graph: Any, h: int, name: str) -> Any:
        n_in = graph.values[h].n
        reduce = replace(self, initializer="lecun_normal")
        r, _ = graph.dense(f"{name}.reduced", h, reduce, self.rank, has_bias=False)
        r = graph.finish(r)
        start = {"fans": (n_in, self.n_units), "start": (n_in / self.rank) ** 0.5}
        z, _ = graph.dense(name, r, self, self.n_units, **start)
        return graph.finish(z, *unit_of(self.activation), self.dropout)
