"""Units, the functions of z that layers apply: names where there is nothing to set, else objects."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_number, make_plain
from ..names import ACTIVATIONS, UNIT_ALIASES, UNITS, ActivationName, did_you_mean
from ..settings import Settings


@dataclass(frozen=True)
class LeakyReLU(Settings):
    """The unit ``max(0, z) + slope min(0, z)``; its derivative at 0 is taken as the slope.

    Where units of ReLU would die, that is, be 0 for all rows: these always have a gradient.

    Parameters
    ----------
    slope : float, default=0.01
        For ``z < 0``, in [0, 1]; usual values are 0.01 to 0.3. "leaky_relu" is the default.

    Raises
    ------
    ValueError
        If the slope is out of range.

    See Also
    --------
    PReLU : Learns the slope of each unit.
    ELU : Smooth where it can be.
    Dense : Lists the units that are names.

    References
    ----------
    A. Maas, A. Hannun and A. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> from fastbp import Dense, LeakyReLU
    >>> layers = [Dense(64, LeakyReLU(0.2)), Dense(1)]
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("slope", self.slope, "[0, 1]")


@dataclass(frozen=True)
class ELU(Settings):
    """The unit ``z`` for ``z > 0``, else ``alpha (exp(z) - 1)``; its derivative at 0 is taken as alpha.

    Its outputs have a mean nearer to 0 than those of ReLU.

    Parameters
    ----------
    alpha : float, default=1.0
        Above 0. "elu" is the default.

    Raises
    ------
    ValueError
        If alpha is out of range.

    See Also
    --------
    LeakyReLU : Cheaper, and with a gradient everywhere.
    Dense : Lists the units that are names, "selu" among them.

    References
    ----------
    D. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential linear units
    (ELUs)", ICLR 2016.

    Examples
    --------
    >>> from fastbp import Dense, ELU
    >>> layers = [Dense(64, ELU(0.5)), Dense(1)]
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("alpha", self.alpha, "(0, inf)")


Unit = ActivationName | LeakyReLU | ELU
CLASSES = {"LeakyReLU": LeakyReLU, "ELU": ELU}


def check_activation(activation):
    """The activation, by its own name if it is another name; ValueError unless it is one of the names or objects."""
    if isinstance(activation, str):
        activation = UNIT_ALIASES.get(activation, activation)
    if not isinstance(activation, LeakyReLU | ELU) and activation not in UNITS:
        raise ValueError(
            f"activation must be one of {ACTIVATIONS}, a LeakyReLU or an ELU, got {activation!r}"
            f"{did_you_mean(activation, ACTIVATIONS)}"
        )
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
