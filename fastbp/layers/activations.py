"""Units, the functions of z that layers apply: names where there is nothing to set, else objects."""

from dataclasses import dataclass

from ..checks import check_number, make_plain
from ..settings import Settings

ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "hard_tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "mish", "relu2", "hard_sigmoid", "hard_swish", "step", "softmax",
)  # fmt: skip
_ALIASES = {"sigmoid": "logistic", "linear": "identity", "swish": "silu"}


@dataclass(frozen=True)
class LeakyReLU(Settings):
    """The unit ``max(0, z) + slope min(0, z)``; its derivative at 0 is taken as the slope.

    Parameters
    ----------
    slope : float, default=0.01
        For ``z < 0``, in [0, 1]. "leaky_relu" is the default.

    Raises
    ------
    ValueError
        If the slope is out of range.

    References
    ----------
    A. Maas, A. Hannun and A. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.
    """

    slope: float = 0.01

    def __post_init__(self):
        make_plain(self)
        check_number("slope", self.slope, "[0, 1]")


@dataclass(frozen=True)
class ELU(Settings):
    """The unit ``z`` for ``z > 0``, else ``alpha (exp(z) - 1)``; its derivative at 0 is taken as alpha.

    Parameters
    ----------
    alpha : float, default=1.0
        Above 0. "elu" is the default.

    Raises
    ------
    ValueError
        If alpha is out of range.

    References
    ----------
    D. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016.
    """

    alpha: float = 1.0

    def __post_init__(self):
        make_plain(self)
        check_number("alpha", self.alpha, "(0, inf)")


CLASSES = {"LeakyReLU": LeakyReLU, "ELU": ELU}


def check_activation(activation):
    """The activation, by its own name if it is another name; ValueError unless it is one of the names or objects."""
    if isinstance(activation, str):
        activation = _ALIASES.get(activation, activation)
    if not isinstance(activation, LeakyReLU | ELU) and activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}, a LeakyReLU or an ELU, got {activation!r}")
    return activation


def unit_of(activation):
    """Name of the kernel and its parameter (0 where it has none)."""
    if isinstance(activation, str):
        activation = {"leaky_relu": LeakyReLU(), "elu": ELU()}.get(activation, activation)
    if isinstance(activation, LeakyReLU):
        return "leaky_relu", activation.slope
    if isinstance(activation, ELU):
        return "elu", activation.alpha
    return activation, 0.0
