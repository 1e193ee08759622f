"""Layers: immutable settings. A network owns the weights."""

from dataclasses import dataclass
from numbers import Integral, Real

from .initializers import Orthogonal, VarianceScaling, check_initializer

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
    dropout : float, default=0.0
        Probability, in [0, 1), with which each of the layer's outputs is set to 0 in training, for each row of each
        batch anew; the others are divided by ``1 - dropout``, so that prediction, which drops nothing, has nothing to
        make up for ("inverted" dropout). Not for the output layer.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    Weighted input and activation are the notes' ``z^l`` and ``a^l`` (001), with samples in rows. Dropout is from
    N. Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
    """

    n_units: int
    activation: str = "identity"
    l1: float | None = None
    l2: float | None = None
    initializer: str | VarianceScaling | Orthogonal | None = None
    dropout: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "n_units", check_size("n_units", self.n_units))
        activation = _ALIASES.get(self.activation, self.activation)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, got {self.activation!r}")
        object.__setattr__(self, "activation", activation)
        for name in ("l1", "l2"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_penalty(name, getattr(self, name)))
        if self.initializer is not None:
            check_initializer(self.initializer)
        object.__setattr__(self, "dropout", check_dropout("dropout", self.dropout))


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


def check_dropout(name, value):
    """The value as a float; ValueError unless it is a number from 0 to below 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")
    return float(value)
