"""Layers: immutable settings. A network owns the weights."""

from dataclasses import dataclass
from numbers import Integral, Real

from .initializers import Orthogonal, VarianceScaling, check_initializer
from .schedules import _check

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_ALIASES = {"sigmoid": "logistic", "linear": "identity"}


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``A = f(H W + b)``.

    Parameters
    ----------
    n_units : int
        Number of units, the columns of ``W (n_in, n_units)``.
    activation : {"identity", "logistic", "tanh", "relu"}, default="identity"
        The unit ``f``: ``z``, ``1 / (1 + exp(-z))`` (also called "sigmoid"), ``tanh(z)`` or ``max(0, z)``. The
        derivative of ReLU at 0 is taken as 0.
    l1, l2 : float or None, default=None
        Penalties ``l1 sum|w| + l2/2 sum w^2`` on this layer's weights; None takes the network's.
    initializer : str, VarianceScaling, Orthogonal or None, default=None
        Rule for the initial parameters, see `Network`; None takes the network's.

    max_norm : float or None, default=None
        Bound of the norm of each unit's incoming weights, above 0: after each update (by a rule for mini-batches, the
        only ones to have it) columns ``w`` of ``W`` with ``|w| > max_norm`` are multiplied by ``max_norm / |w|``.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    Max-norm: N. Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15,
    2014, section 5.1.

    Notes
    -----
    Weighted input and activation are the notes' ``z^l`` and ``a^l`` (001), with samples in rows.
    """

    n_units: int
    activation: str = "identity"
    l1: float | None = None
    l2: float | None = None
    initializer: str | VarianceScaling | Orthogonal | None = None
    max_norm: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "n_units", check_size("n_units", self.n_units))
        activation = _ALIASES.get(self.activation, self.activation)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, got {self.activation!r}")
        object.__setattr__(self, "activation", activation)
        for name in ("l1", "l2"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_penalty(name, getattr(self, name)))
        if self.max_norm is not None:
            _check("max_norm", self.max_norm, "(0, inf)")
            object.__setattr__(self, "max_norm", float(self.max_norm))
        if self.initializer is not None:
            check_initializer(self.initializer)


def check_size(name, value):
    """The value as an int; ValueError unless it is an integer from 1 to the largest int of BLAS."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be an integer of at least 1 (and below 2**31), got {value!r}")
    return int(value)


def check_penalty(name, value):
    """The value as a float; ValueError unless it is a finite number of at least 0."""
    if not isinstance(value, Real) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
