"""Pruning: weights that are made 0 for good while a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from .checks import check_number, make_plain
from .settings import Settings


@dataclass(frozen=True)
class Prune(Settings):
    """Gradual pruning by magnitude: now and then in training the smallest weights of each layer are made 0, for good.

    After pruning at ``k``, this share of the weights of each layer is 0 [1]_:

    ``s_k = s_f + (s_i - s_f) (1 - (k - begin) / (end - begin))^3``

    with ``s_i`` the `initial_sparsity` and ``s_f`` the `final_sparsity`. Many weights go while the network has many to
    spare, few at the end, and between the prunings those that remain learn to do without the others.

    Parameters
    ----------
    final_sparsity : float, default=0.9
        In [0, 1). Of large layers 0.8 to 0.95 often costs little accuracy.
    begin : int, default=0
        When to prune for the first time: ``k = begin``, before the epoch, or step, of this number, counted as a
        schedule of learning rates counts. At least 0.
    end : int, default=10
        When to prune for the last time, not before `begin`. Training should go on from there for a while.
    every : int, default=1
        Between two prunings, at least 1. If it does not divide ``end - begin``, the last one is so much sooner.
    initial_sparsity : float, default=0.0
        In [0, `final_sparsity`].
    per : {"step", "epoch"}, default="epoch"
        Whether `begin`, `end` and `every` are numbers of steps or of epochs.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Dense : Its `mask` is for weights that are not there from the beginning.
    Sparse : Stores and multiplies few weights, and so takes less time.
    Network.fit : Takes it as `prune`.

    Notes
    -----
    Layers are all that have weights of products: `Dense`, U and V of `LowRank`, projections. Of weights with the same
    magnitude those with the smaller index in ``W.ravel()`` go first. Weights that a mask has left out count as pruned.
    The optimizer's state of a pruned weight becomes 0, and so does its gradient, as with a mask: what is pruned remains
    0 in all further training, in copies and in files, and ``net.masks`` tells what is left.

    References
    ----------
    .. [1] M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
       2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbp
    >>> net = fastbp.Network([fastbp.Dense(50, "relu"), fastbp.Dense(1)], n_inputs=10, random_state=0)
    >>> X = np.random.default_rng(0).normal(size=(200, 10))
    >>> history = net.fit(X, X[:, :1], epochs=10, prune=fastbp.Prune(0.8, end=6))
    >>> float((net.weights[0] == 0).mean())
    0.8
    """

    final_sparsity: float = 0.9
    begin: int = 0
    end: int = 10
    every: int = 1
    initial_sparsity: float = 0.0
    per: Literal["step", "epoch"] = "epoch"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("final_sparsity", self.final_sparsity, "[0, 1)")
        check_number("initial_sparsity", self.initial_sparsity, f"[0, {self.final_sparsity}]")
        for name, least in (("begin", 0), ("end", self.begin), ("every", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        if self.per not in ("step", "epoch"):
            raise ValueError(f"per must be 'step' or 'epoch', got {self.per!r}")

    @property
    def last(self) -> int:
        """When to prune for the last time."""
        return self.end - (self.end - self.begin) % self.every

    def sparsity(self, k: int) -> float:
        """The share of weights that is 0 after the last pruning up to ``k``; 0 before the first."""
        if k < self.begin:
            return 0.0
        k = min(k - (k - self.begin) % self.every, self.last)
        rest = (self.last - k) / (self.last - self.begin) if k < self.last else 0.0
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * rest**3

    def until_next(self, k: int) -> int | None:
        """How long after ``k`` is the next pruning; None if there is none."""
        if k < self.begin:
            return self.begin - k
        return self.every - (k - self.begin) % self.every if k < self.last else None


def remaining(W, sparsity, mask):
    """The mask of W once this share of it is gone.

    Parameters
    ----------
    W : ndarray of shape (n_in, n_out)
    sparsity : float
    mask : ndarray of shape (n_in, n_out) or None
        0 where weights are gone already.

    Returns
    -------
    mask : ndarray of bool, shape (n_in, n_out), or the one that was given if no more are to go
    """
    size = np.abs(W.ravel())
    gone = np.zeros(size.shape, bool) if mask is None else mask.ravel() == 0
    n = round(sparsity * size.size)
    if n <= gone.sum():
        return mask
    size[gone] = -1
    bound = np.partition(size, n - 1)[n - 1]
    gone = size < bound
    gone[np.flatnonzero(size == bound)[: n - gone.sum()]] = True
    return ~gone.reshape(W.shape)
