"""Layers: immutable settings. A network owns the weights."""

from dataclasses import dataclass
from typing import ClassVar

from .checks import check_number, check_size, make_plain
from .initializers import Orthogonal, VarianceScaling, check_initializer
from .settings import Settings

ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "hard_tanh", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
    "step", "softmax",
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


@dataclass(frozen=True)
class Dense(Settings):
    """A fully connected layer, ``A = f(H W + b)``.

    Parameters
    ----------
    n_units : int
        Number of units, the columns of ``W (n_in, n_units)``.
    activation : str, LeakyReLU or ELU, default="identity"
        The unit ``f``:

        - "identity" ("linear"): ``z``;
        - "logistic" ("sigmoid"): ``1 / (1 + exp(-z))``;
        - "tanh": ``tanh(z)``;
        - "hard_tanh": ``max(-1, min(1, z))``; the derivative at -1 and 1 is taken as 0;
        - "relu": ``max(0, z)``; the derivative at 0 is taken as 0;
        - "leaky_relu", or `LeakyReLU` with a slope: ``max(0, z) + 0.01 min(0, z)``;
        - "elu", or `ELU` with an alpha: ``z`` for ``z > 0``, else ``exp(z) - 1``;
        - "selu": 1.0507... times the ELU with alpha 1.6732..., constants for which layers of independent inputs of mean
          0 and variance 1 have such outputs [1]_; the derivative at 0 is taken as that for ``z < 0``;
        - "softplus": ``ln(1 + exp(z))``;
        - "gelu": ``z / (1 + exp(-2u))``, ``u = sqrt(2 / pi) (z + 0.044715 z^3)``, the form with tanh of [2]_, which is
          within 0.0005 of ``z`` times the normal distribution function and as fast as a logistic unit;
        - "silu" ("swish"): ``z / (1 + exp(-z))``;
        - "step": 1 for ``z > 0``, else 0, the notes' perceptron. Its derivative is taken as 0, so that nothing below it
          learns, nor do its own weights: it is for weights that are set or learnt otherwise. The cost "perceptron"
          trains an output layer of such units;
        - "softmax": ``exp(z_j) / sum_k exp(z_k)`` over the layer's units, a choice among them: "useful as a way to
          learn to manipulate memory" (Notes 004). With ``e = dC/da``, ``delta_j = a_j (e_j - sum_k e_k a_k)``.
    l1, l2 : float or None, default=None
        Penalties ``l1 sum|w| + l2/2 sum w^2`` on this layer's weights; None takes the network's.
    initializer : str, VarianceScaling, Orthogonal or None, default=None
        Rule for the initial parameters, see `Network`; None takes the network's.
    dropout : float, default=0.0
        Probability, in [0, 1), with which each of the layer's outputs is set to 0 in training, for each row of each
        batch anew; the others are divided by ``1 - dropout``, so that prediction, which drops nothing, has nothing to
        make up for ("inverted" dropout). Not for the output layer [3]_.
    max_norm : float or None, default=None
        Bound of the norm of each unit's incoming weights, above 0: after each update (by a rule for mini-batches, the
        only ones to have it) columns ``w`` of ``W`` with ``|w| > max_norm`` are multiplied by ``max_norm / |w|``
        ([3]_, section 5.1).

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    Weighted input and activation are the notes' ``z^l`` and ``a^l`` (001), with samples in rows. Softplus and hard tanh
    are in notes 004.

    References
    ----------
    .. [1] G. Klambauer and others, "Self-normalizing neural networks", NIPS 2017.
    .. [2] D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", 2016. They have SiLU too.
    .. [3] N. Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.
    """

    n_units: int
    activation: str | LeakyReLU | ELU = "identity"
    l1: float | None = None
    l2: float | None = None
    initializer: str | VarianceScaling | Orthogonal | None = None
    dropout: float = 0.0
    max_norm: float | None = None

    def __post_init__(self):
        make_plain(self)
        check_size("n_units", self.n_units)
        if isinstance(self.activation, str):
            object.__setattr__(self, "activation", _ALIASES.get(self.activation, self.activation))
        if not isinstance(self.activation, LeakyReLU | ELU) and self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, a LeakyReLU or an ELU, got {self.activation!r}")
        for name, interval in (("l1", "[0, inf)"), ("l2", "[0, inf)"), ("dropout", "[0, 1)"), ("max_norm", "(0, inf)")):
            if name == "dropout" or getattr(self, name) is not None:
                object.__setattr__(self, name, check_number(name, getattr(self, name), interval))
        if self.initializer is not None:
            check_initializer(self.initializer)


@dataclass(frozen=True)
class RBF(Settings):
    """A layer of radial basis functions, ``a_j = exp(-beta_j |h - c_j|^2)``: units that respond near their centres.

    Centres ``C (n_in, n_units)``, one a column, and ``b``, which makes ``beta_j = exp(b_j)`` positive, are learnt. In a
    network they are in the place of weights and biases. Below a linear output layer it makes the interpolator of [1]_.

    Parameters
    ----------
    n_units : int
        Number of units.
    dropout : float, default=0.0
        As of `Dense`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    Notes 004 name these units for "focussed activation", and that they are difficult to train, for gradients vanish far
    from the centres. With ``e = dC/da`` and ``s = 2 beta e a``, all for one sample,

    ``dC/dc_j = s_j (h - c_j)``, ``dC/db_j = -s_j |h - c_j|^2 / 2``, ``dC/dh = -sum_j s_j (h - c_j)``.

    Distances are computed by differences, so that no offset of the data makes them inexact. L1, L2 and an optimizer's
    weight decay, all of which pull towards 0, are for weights: centres and widths have none of them.

    Before training, centres are drawn from N(0, 1), and ``beta = 1 / (2 n_in)``: inputs of mean 0 and variance 1 then
    give activations around ``1/e``. `Network.init_centres` takes both from data. A first layer of this kind needs
    dense inputs.

    References
    ----------
    .. [1] D. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive networks", Complex Systems 2,
       1988.
    """

    n_units: int
    dropout: float = 0.0

    # what a network asks of any layer
    activation: ClassVar[str] = "rbf"
    l1: ClassVar[float] = 0.0
    l2: ClassVar[float] = 0.0
    max_norm: ClassVar[None] = None

    def __post_init__(self):
        make_plain(self)
        check_size("n_units", self.n_units)
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))


def unit_of(activation):
    """Name of the kernel and its parameter (0 where it has none)."""
    if isinstance(activation, str):
        activation = {"leaky_relu": LeakyReLU(), "elu": ELU()}.get(activation, activation)
    if isinstance(activation, LeakyReLU):
        return "leaky_relu", activation.slope
    if isinstance(activation, ELU):
        return "elu", activation.alpha
    return activation, 0.0
