"""Costs: names for those without settings, immutable objects for those with, and the targets they take.

src_c/ops/loss.h has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from ._arrays import class_indices
from .checks import check_flag, check_number, check_real, make_plain
from .hints import Floats
from .names import LOSSES, LossName, did_you_mean
from .settings import Settings


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Settings):
    """The log-likelihood cost ``-sum_j t_j ln a_j`` of softmax outputs, with label smoothing.

    For classes of which each row has one. Some label smoothing, usually 0.05 to 0.2, makes for probabilities that are
    less sure, and often for better accuracy.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        ``s`` in ``t = (1 - s) y + s / K`` for K classes, in [0, 1).
    fixed_logit : bool, default=False
        Whether the last output's ``z`` is taken as 0, since K probabilities that sum to 1 need K - 1 numbers only
        (Notes 004). Its weights then count for nothing and get no gradient.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    MLPClassifier : Takes it as `loss`.
    Network : Lists the losses that are names.

    Notes
    -----
    "softmax_cross_entropy" is the default. ``dC/dz = softmax(z) - t``.

    References
    ----------
    Notes 001 and 004. C. Szegedy and others, "Rethinking the Inception architecture for computer vision", CVPR 2016.

    Examples
    --------
    >>> from fastbp import MLPClassifier, SoftmaxCrossEntropy
    >>> clf = MLPClassifier(loss=SoftmaxCrossEntropy(label_smoothing=0.1), solver="lbfgs", random_state=0)
    >>> clf.fit([[0.0], [1.0], [2.0]], ["a", "b", "c"]).predict_proba([[0.0]]).shape
    (1, 3)
    """

    label_smoothing: float = 0.0
    fixed_logit: bool = False

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("label_smoothing", self.label_smoothing, "[0, 1)")
        check_flag("fixed_logit", self.fixed_logit)


@dataclass(frozen=True)
class Lp(Settings):
    """The L_p error ``|a - y|^p / p``; ``dC/da = |a - y|^(p - 1) sign(a - y)``, 0 at 0.

    An exponent from 1 to 2 gives outliers less weight than the squared error does, one above 2 gives them more.

    Parameters
    ----------
    p : float
        At least 1. 2 is "squared_error" and 1 "absolute_error", which are faster.

    Raises
    ------
    ValueError
        If p is out of range.

    See Also
    --------
    Huber : Squared for small errors, absolute for large ones.
    Network : Lists the losses that are names.

    References
    ----------
    Notes 000 (L_p objective functions).

    Examples
    --------
    >>> from fastbp import Dense, Lp, Network
    >>> net = Network([Dense(1)], n_inputs=1, loss=Lp(3), initializer="zeros", random_state=0)
    >>> net.value_and_gradient([[1.0]], [2.0])[0]  # 2^3 / 3
    2.6666666666666665
    """

    p: float

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("p", self.p, "[1, 1000]")


@dataclass(frozen=True)
class Huber(Settings):
    """``e^2 / 2`` for errors ``e = a - y`` up to delta in size, ``delta (|e| - delta / 2)`` for larger ones.

    For regression with outliers. `delta` is the size of errors that are still usual, in units of y.

    Parameters
    ----------
    delta : float, default=1.0
        Above 0. "huber" is the default.

    Raises
    ------
    ValueError
        If delta is out of range.

    See Also
    --------
    Lp : Powers of the error.
    Quantile : With level 0.5 the absolute error, halved.

    References
    ----------
    P. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> from fastbp import Dense, Huber, Network
    >>> net = Network([Dense(1)], n_inputs=1, loss=Huber(delta=1.0), initializer="zeros", random_state=0)
    >>> net.value_and_gradient([[1.0], [1.0]], [0.5, 3.0])[0]  # the mean of 0.5^2 / 2 and 3 - 1 / 2
    1.3125
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("delta", self.delta, "(0, inf)")


@dataclass(frozen=True)
class Quantile(Settings):
    """The pinball loss ``max(q (y - a), (1 - q) (a - y))``, on average least where ``a`` is the q-quantile of y.

    For prediction intervals, as ``[0.1, 0.5, 0.9]`` for one that 80% of the targets are in, and for medians.

    Its derivative at ``a = y`` is taken as 0.

    Parameters
    ----------
    levels : float or sequence of float, default=0.5
        One q or several, in (0, 1). "quantile" is the default, the median. Of Q levels and k targets, the network has
        ``Q k`` outputs: first those of all targets for the first level, then for the next.

    Raises
    ------
    ValueError
        If a level is out of range, or there is none.

    See Also
    --------
    MLPRegressor : Predicts all levels at once.
    HistogramLoss : A whole distribution, of a single target.

    References
    ----------
    R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import MLPRegressor, Quantile
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = X.ravel() + np.random.default_rng(0).normal(size=200)
    >>> reg = MLPRegressor(Quantile([0.1, 0.5, 0.9]), hidden_layer_sizes=8, solver="lbfgs", random_state=0).fit(X, y)
    >>> low, median, high = reg.predict(X).T
    >>> bool(0.7 < np.mean((low <= y) & (y <= high)) < 0.9)
    True
    """

    levels: float | Sequence[float] = 0.5

    def __post_init__(self) -> None:
        make_plain(self)
        for q in self.levels if isinstance(self.levels, tuple) and self.levels else (self.levels,):
            check_number("levels", q, "(0, 1)")


@dataclass(frozen=True)
class HistogramLoss(Settings):
    """Regression as classification: softmax outputs are probabilities of bins, `Network.predict` gives the mean.

    For targets within known bounds, above all where their distribution has several peaks. Some 20 to 100 bins are
    usual.

    A target y is replaced by a distribution over the bins: that of a normal variable with mean y and deviation sigma,
    cut off at the outer edges, or, where sigma is 0, the bin that y is in. The cost is the cross-entropy with it; the
    mean is the sum of the bins' centres times their probabilities.

    Parameters
    ----------
    edges : sequence of float
        Ascending, the borders of the bins; one more than the network has outputs. Targets lie between the outer ones.
    sigma : float, default=0.0
        At least 0; of the order of a bin's width. Above 0 the targets take memory for a row of probabilities each.

    Raises
    ------
    ValueError
        If edges don't ascend or are fewer than three, or sigma is out of range.

    See Also
    --------
    Quantile : Some quantiles instead of the distribution.
    MLPRegressor : Takes it as `loss`.

    References
    ----------
    Notes 000 ("continuous response can be replaced with discrete"). E. Imani and M. White, "Improving regression
    performance with distributional losses", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import HistogramLoss, MLPRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> loss = HistogramLoss(np.linspace(-1.5, 1.5, 31), sigma=0.2)
    >>> reg = MLPRegressor(loss, 10, solver="lbfgs", max_iter=1000, random_state=0).fit(X, X.ravel())
    >>> bool(reg.score(X, X.ravel()) > 0.9)
    True
    """

    edges: Sequence[float]
    sigma: float = 0.0

    def __post_init__(self) -> None:
        make_plain(self)
        if not isinstance(self.edges, tuple) or len(self.edges) < 3:
            raise ValueError(f"edges must be at least three finite numbers that ascend, got {self.edges!r}")
        edges = tuple(check_number("edges", edge, "(-inf, inf)") for edge in self.edges)
        if any(a >= b for a, b in pairwise(edges)):
            raise ValueError(f"edges must be at least three finite numbers that ascend, got {self.edges!r}")
        object.__setattr__(self, "edges", edges)
        check_number("sigma", self.sigma, "[0, inf)")

    def means(self, probabilities: Floats) -> Floats:
        """Means (n, 1) of distributions over the bins (n, n_bins)."""
        edges = np.array(self.edges) / 2  # halved first: their sum may overflow
        return probabilities @ (edges[1:] + edges[:-1]).astype(probabilities.dtype)[:, None]

    def targets(self, y: Floats) -> NDArray[Any]:
        """Bins (n,) or, if sigma is above 0, their probabilities (n, n_bins) for targets (n,)."""
        edges = np.array(self.edges)
        inside = (y >= edges[0]) & (y <= edges[-1])  # as NaN is not
        _refuse(~inside, f"y must lie between the outer edges {edges[0]} and {edges[-1]} for HistogramLoss", y)
        if self.sigma == 0:
            return np.minimum(np.searchsorted(edges, y, side="right") - 1, len(edges) - 2)
        # erf, unlike the distribution function, does not cancel near 0; the density is flat for larger sigma
        with np.errstate(over="ignore"):
            sigma = np.sqrt(2) * min(self.sigma, 1e9 * (edges[-1] - edges[0]))
            p = np.diff(erf((edges - y[:, None]) / sigma), axis=1)
        return p / p.sum(axis=1, keepdims=True)


Loss = LossName | SoftmaxCrossEntropy | Lp | Huber | Quantile | HistogramLoss
# Costs computed from z, and the output unit each brings along.
OUTPUT_UNITS = {
    "cross_entropy": "logistic", "softmax_cross_entropy": "softmax", "poisson": "exp", "perceptron": "step",
}  # fmt: skip
# How far the sum of a row of probabilities may be from 1: in half precision each is rounded by up to 2^-11 of it.
SUM_TOLERANCE = 1e-3
CLASSES = {cls.__name__: cls for cls in (SoftmaxCrossEntropy, Lp, Huber, Quantile, HistogramLoss)}
_FOR_LABELS = (
    "; a Network takes class indices from 0 (numpy.unique(y, return_inverse=True) makes them), MLPClassifier labels as "
    "they are"
)
_DEFAULTS = {"softmax_cross_entropy": SoftmaxCrossEntropy(), "huber": Huber(), "quantile": Quantile()}


@lru_cache
def kernel_of(loss):
    """Name of the kernel, its parameter, levels (float64) and fixed_logit."""
    loss = _DEFAULTS.get(loss, loss) if isinstance(loss, str) else loss
    none = np.zeros(0)
    match loss:
        case SoftmaxCrossEntropy():
            return "softmax_cross_entropy", loss.label_smoothing, none, loss.fixed_logit
        case HistogramLoss():
            return "softmax_cross_entropy", 0.0, none, False
        case Lp():
            return "lp", loss.p, none, False
        case Huber():
            return "huber", loss.delta, none, False
        case Quantile():
            return "quantile", 0.0, np.array(loss.levels, dtype=np.float64).reshape(-1), False
        case _:
            return loss, 0.0, none, False


def outputs_per_target(loss):
    """Groups of outputs, in each of which there is one for each target."""
    name, _, levels, _ = kernel_of(loss)
    return {"gaussian": 2, "quantile": len(levels)}.get(name, 1)


@lru_cache  # targets are checked in each call
def _targets_of(loss):
    """Of a loss the name of the kernel, whether its targets are classes, and the groups of outputs."""
    name = kernel_of(loss)[0]
    of_classes = name == "softmax_cross_entropy" and not isinstance(loss, HistogramLoss)
    return name, of_classes, outputs_per_target(loss)


def output_units(loss, n_targets):
    """Number of outputs of a network for so many targets."""
    return len(loss.edges) - 1 if isinstance(loss, HistogramLoss) else outputs_per_target(loss) * n_targets


def check_loss(loss, output):
    """Raise ValueError unless loss is known and fits the output, a value of a network's graph."""
    if loss is not None and not isinstance(loss, tuple(CLASSES.values())) and loss not in LOSSES:
        raise ValueError(
            f"loss must be one of {LOSSES}, one of {tuple(CLASSES)} or None, got {loss!r}{did_you_mean(loss, LOSSES)}"
        )
    name, n_units = kernel_of(loss)[0], output.n
    if name in OUTPUT_UNITS and output.unit != "identity":
        raise ValueError(
            f"loss={loss!r} brings its own output unit ({OUTPUT_UNITS[name]}): the last layer's activation must be "
            f"'identity', got {output.unit!r}"
        )
    if name == "softmax_cross_entropy" and n_units < 2:
        raise ValueError(f"loss={loss!r} needs at least two outputs, got 1")
    if isinstance(loss, HistogramLoss) and n_units != len(loss.edges) - 1:
        raise ValueError(f"HistogramLoss with {len(loss.edges)} edges needs one output less, got {n_units}")
    n_groups = outputs_per_target(loss)
    if n_units % n_groups:
        raise ValueError(f"loss={loss!r} needs {n_groups} outputs for each target, got {n_units} in all")


def _check_sums(loss, y):
    """Raise ValueError unless each row of y sums to 1; rows with NaN are left to others."""
    for start in range(0, len(y), 1 << 16):  # a vector of the sums of all rows would be as large as some y
        sums = y[start : start + (1 << 16)].sum(axis=1, dtype=np.float64)
        far = np.abs(sums - 1) > SUM_TOLERANCE
        if far.any():
            i = int(far.argmax())
            raise ValueError(
                f"y must have rows that sum to 1 (within {SUM_TOLERANCE}) for loss={loss!r}, got {sums[i]} in row "
                f"{start + i}; loss='cross_entropy' is for several labels at once"
            )


def _refuse(wrong, message, y):
    """Raise ValueError with the first number of y that is wrong, if one is."""
    if wrong.any():
        at = np.unravel_index(wrong.argmax(), y.shape)
        raise ValueError(f"{message}, got {y[at]} in row {at[0]}")


def check_targets(loss, y, n_samples, n_outputs):
    """Targets as the core reads them.

    Returns
    -------
    y : ndarray of shape (n_samples, n_outputs) or None
        float32, float64, uint8 or bool.
    labels : int64 ndarray of shape (n_samples,) or None
        Class indices.

    Raises
    ------
    ValueError
        If y has the wrong length, shape, dtype or values. NaN is not looked for in float targets.
    """
    name, of_classes, n_groups = _targets_of(loss)
    y = check_real("y", y, for_strings=_FOR_LABELS if of_classes or name in ("cross_entropy", "perceptron") else "")
    if y.ndim not in (1, 2) or y.shape[0] != n_samples:
        raise ValueError(f"y must have {n_samples} rows, one for each row of X, got shape {y.shape}")
    if isinstance(loss, HistogramLoss):
        if y.shape not in ((n_samples,), (n_samples, 1)):
            raise ValueError(f"y must have shape ({n_samples},) for HistogramLoss, got {y.shape}")
        y = loss.targets(y.reshape(-1))
    if name == "softmax_cross_entropy" and y.ndim == 1:
        labels = class_indices(y, n_outputs)  # a copy that is ours alone: they index memory, and must stay as checked
        if labels is not None:
            return None, labels
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("y must hold class indices, got NaN or infinity")
        labels = np.array(y, dtype=np.int64)
        wrong = (labels != y) | (labels < 0) | (labels >= n_outputs)
        _refuse(wrong, f"y must hold class indices from 0 to {n_outputs - 1}", y)
        return None, labels
    n_targets = n_outputs // n_groups
    if y.shape[1:] != (n_targets,) and not (y.ndim == 1 and n_targets == 1):
        indices = f", or ({n_samples},) for class indices" if of_classes else ""
        raise ValueError(f"y must have shape ({n_samples}, {n_targets}){indices}, got {y.shape}")
    if y.dtype.char not in "fdB?" or not y.dtype.isnative or not y.flags.aligned:  # the core reads those as they are
        y = y.astype(np.float64)
    if name == "cross_entropy" and y.dtype.kind != "b":
        _refuse((y < 0) | (y > 1), "y must lie between 0 and 1 for loss='cross_entropy'", y)
    if name == "perceptron":
        _refuse((y != 0) & (y != 1), "y must hold 0 and 1 for loss='perceptron'", y)
    if name in ("softmax_cross_entropy", "poisson") and y.dtype.kind == "f":
        _refuse(y < 0, f"y must not be negative for loss={loss!r}", y)
    if of_classes:
        _check_sums(loss, y)
    if n_groups > 1:  # the targets again for each group of outputs; a view for a single one
        y = np.broadcast_to(y.reshape(n_samples, 1, -1), (n_samples, n_groups, n_targets)).reshape(n_samples, -1)
    return y, None
