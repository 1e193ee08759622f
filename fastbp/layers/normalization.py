"""Normalisation: of columns, over the rows of a batch or of all training data, and of rows over their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import check_flag, check_number, check_size, make_plain
from .layer import Layer


class _Normalization(Layer):
    """What the layers have in common: with `affine`, a scale and a shift for each feature after what they do."""

    def _finish(self, graph, z, name):
        graph.finish(z)
        return graph.finish(graph.scale(name, z, self)) if self.affine else z

    def _inner_name(self, name):
        """Of the value that is scaled."""
        return f"{name}.normalized" if self.affine else name


@dataclass(frozen=True)
class BatchNorm(_Normalization):
    """Batch normalisation, ``A = gamma * (H - mean) / sqrt(variance + epsilon) + beta``, of each column by itself.

    Makes deep networks easier to train, above all with large learning rates; it needs batches of about ten rows at
    least.

    In training, mean and variance are those of the mini-batch; the layer keeps moving averages of them, which it takes
    in everything else: predictions, validation, `Network.value_and_gradient` unless it is told otherwise, and steps by
    hand. Its place is before the unit (Notes 003): ``Dense(64), BatchNorm(), Activation("relu")``, where the bias of
    the dense layer does nothing.

    Parameters
    ----------
    momentum : float, default=0.1
        In (0, 1], usually 0.01 to 0.1: after each step
        ``average <- (1 - momentum) average + momentum * that of the batch``.
    epsilon : float, default=1e-5
        Added to the variance, above 0.
    affine : bool, default=True
        Whether ``gamma``, from 1, and ``beta``, from 0, are learnt for each column. They have no penalties.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    LayerNorm, GroupNorm : Normalise each row by itself, in training as in prediction.

    Notes
    -----
    With weights ``w_i`` of samples and their shares ``p_i = w_i / sum(w)`` of the batch, ``mean = sum_i p_i h_i`` and
    ``variance = sum_i p_i (h_i - mean)^2``; the moving average takes the variance divided by ``1 - sum_i p_i^2``,
    which without weights is ``(n - 1) / n``, as PyTorch does. A batch in which fewer than two rows have weight, such as
    a last one of a single row, takes the moving averages and leaves them as they are.

    With ``Z`` what is scaled and ``D = dC/dZ``, ``dC/dh_i = (d_i - p_i (sum_k d_k + z_i sum_k d_k z_k)) / deviation``;
    with the moving averages, ``dC/dH = D / deviation``.

    The statistics are those of the whole batch, however large it is: all rows of a batch are in memory at once, with
    what each layer makes of them. The rules for all rows (`LBFGS` and the like) take statistics of all rows, as which
    they leave the moving averages; to an average of parameters, as of `EMA`, belong some of its own. Each place of a
    `Shared` layer has moving averages of its own. The network has them in `Network.layer_state`, under the layer's name
    with ".mean" and ".variance".

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", ICML 2015. Notes 003.

    Examples
    --------
    >>> from fastbp import Activation, BatchNorm, Dense, Network
    >>> net = Network([Dense(3), BatchNorm(), Activation("relu"), Dense(1)], n_inputs=2, random_state=0)
    >>> net.layer_state["1.variance"]
    array([1., 1., 1.])
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "momentum", check_number("momentum", self.momentum, "(0, 1]"))
        object.__setattr__(self, "epsilon", check_number("epsilon", self.epsilon, "(0, inf)"))
        check_flag("affine", self.affine)

    def build(self, graph: Any, h: int, name: str) -> Any:
        z = graph.batch_norm(self._inner_name(name), h, name, self.epsilon, self.momentum)
        return self._finish(graph, z, name)


@dataclass(frozen=True)
class GroupNorm(_Normalization):
    """Group normalisation: each row by itself, ``A = gamma * (H - mean) / sqrt(variance + epsilon) + beta``, with mean
    and variance over groups of columns side by side.

    For wide layers, or batches that are too small for `BatchNorm`; 4 to 32 groups are usual.

    Parameters
    ----------
    n_groups : int
        A divisor of the number of columns.
    epsilon : float, default=1e-5
        Added to the variance, above 0.
    affine : bool, default=True
        As of `BatchNorm`.

    Raises
    ------
    ValueError
        If a setting is out of range, or the groups don't fit the columns.

    See Also
    --------
    LayerNorm : The same with one group.
    BatchNorm : Normalises each column over the rows of a batch.

    Notes
    -----
    With ``Z`` what is scaled, ``D = dC/dZ`` and means over the group,
    ``dC/dH = (D - mean(D) - Z * mean(D * Z)) / deviation``.

    References
    ----------
    Y. Wu and K. He, "Group normalization", ECCV 2018. Notes 003.

    Examples
    --------
    >>> from fastbp import Activation, Dense, GroupNorm
    >>> layers = [Dense(64), GroupNorm(8), Activation("relu"), Dense(1)]
    """

    n_groups: int
    epsilon: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("n_groups", self.n_groups)
        object.__setattr__(self, "epsilon", check_number("epsilon", self.epsilon, "(0, inf)"))
        check_flag("affine", self.affine)

    def build(self, graph: Any, h: int, name: str) -> Any:
        n = graph.values[h].n
        if n % self.n_groups:
            raise ValueError(f"layers[{name}] must have n_groups that divides {n}, its columns, got {self!r}")
        z = graph.group_norm(self._inner_name(name), h, self.n_groups, self.epsilon)
        return self._finish(graph, z, name)


@dataclass(frozen=True)
class LayerNorm(_Normalization):
    """Layer normalisation: each row by itself, ``A = gamma * (H - mean) / sqrt(variance + epsilon) + beta``, with mean
    and variance over its columns.

    For deep networks and small batches: nothing depends on the other rows, and training and prediction do the same.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance, above 0.
    affine : bool, default=True
        As of `BatchNorm`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    GroupNorm : Has the formulas of the gradient.
    BatchNorm : Normalises each column over the rows of a batch.

    References
    ----------
    J. Ba, J. Kiros and G. Hinton, "Layer normalization", 2016. Notes 003.

    Examples
    --------
    Residual blocks that normalise what they take:

    >>> from fastbp import Dense, LayerNorm, Residual
    >>> layers = [Dense(64)] + [Residual([LayerNorm(), Dense(64, "relu"), Dense(64)])] * 8 + [Dense(1)]
    """

    epsilon: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "epsilon", check_number("epsilon", self.epsilon, "(0, inf)"))
        check_flag("affine", self.affine)

    def build(self, graph: Any, h: int, name: str) -> Any:
        return self._finish(graph, graph.group_norm(self._inner_name(name), h, 1, self.epsilon), name)


@dataclass(frozen=True)
class Standardize(Layer):
    """A first layer ``A = (X - mean) / deviation``, of each column by itself, with mean and standard deviation of the
    training data.

    In the place of a StandardScaler before the network: saved and loaded with it, and without a copy of X.

    They are taken from the rows of the first training, in one pass, and stay what they are: a later `fit` or
    `partial_fit` of a network, `partial_fit` of an estimator and its `fit` with ``warm_start=True`` go on from them;
    any other fit of an estimator, and `Network.init_lsuv`, take them anew. Before that the layer does nothing.

    Raises
    ------
    ValueError
        In a network, if it is not the first layer.

    See Also
    --------
    Whitening : Takes correlations out too, as a transformer of scikit-learn.
    BatchNorm : As a first layer it takes statistics of batches, and learns a scale.

    Notes
    -----
    Samples count by their weights. A column without variance is divided by 1, as scikit-learn's StandardScaler has it.
    CSR keeps its zeros: it is divided by the standard deviation, and the mean is taken as 0. A network that has learnt
    means other than 0, from dense X, takes no CSR; nor does one in which anything but a product with weights follows.
    Means, variances and the number of rows that they are of are in `Network.layer_state`, as "0.mean", "0.variance" and
    "0.n_samples".

    References
    ----------
    Notes 003: inputs of zero mean and unit variance, by which the Hessian's condition number is reduced.

    Examples
    --------
    >>> from fastbp import Dense, Network, Standardize
    >>> net = Network([Standardize(), Dense(1)], n_inputs=1, random_state=0)
    >>> history = net.fit([[1.0], [3.0]], [0.0, 1.0])
    >>> net.layer_state["0.mean"], net.activations([[3.0]])["0"].a
    (array([2.]), array([[1.]]))
    """

    def build(self, graph: Any, h: int, name: str) -> Any:
        if h != 0:
            raise ValueError(f"layers[{name}] must be the first layer, which takes X, got {self!r} behind others")
        return graph.finish(graph.standardize(name))
