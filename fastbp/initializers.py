"""Initial weights: names for rules without settings, immutable objects for those with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .checks import check_number, make_plain
from .names import INITIALIZERS, InitializerName, did_you_mean
from .settings import Settings

_FANS = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}


@dataclass(frozen=True)
class VarianceScaling(Settings):
    """Independent draws with mean 0 and ``Var(w) = scale / fan``; biases are 0.

    With ``fan_in`` the variance of weighted inputs stays the same from layer to layer, with ``fan_out`` that of the
    deltas on their way back, for linear units with scale 1, for ReLU, which lets half through, with 2. All named rules
    but "sklearn", "orthogonal" and "zeros" are settings of this one.

    Parameters
    ----------
    scale : float, default=1.0
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}, default="fan_in"
        Which ``fan``: inputs of the layer, its units, or the mean of the two.
    distribution : {"normal", "uniform"}, default="normal"
        ``N(0, scale / fan)`` or ``U(-b, b)`` with ``b = sqrt(3 scale / fan)``.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Orthogonal : All singular values are the same.
    Network : Lists the names, such as "he_normal".
    Network.init_lsuv : Takes the scale of each layer from data.

    References
    ----------
    Notes 003 (initialization). Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998: 1 / fan_in.
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010
    ("Xavier"): 1 / fan_avg. K. He and others, "Delving deep into rectifiers", ICCV 2015 ("Kaiming"): 2 / fan_in or
    2 / fan_out.

    Examples
    --------
    >>> from fastbp import Dense, Network, VarianceScaling
    >>> rule = VarianceScaling(2.0, mode="fan_out", distribution="uniform")
    >>> net = Network([Dense(100, "relu"), Dense(1)], n_inputs=50, initializer=rule, random_state=0)
    >>> round(float(net.weights[0].var()), 3)  # 2 / 100
    0.02
    """

    scale: float = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("scale", self.scale, "(0, inf)")
        if self.mode not in _FANS:
            raise ValueError(f"mode must be one of {tuple(_FANS)}, got {self.mode!r}")
        if self.distribution not in ("normal", "uniform"):
            raise ValueError(f"distribution must be 'normal' or 'uniform', got {self.distribution!r}")

    def draw(
        self, random_state: np.random.RandomState, shape: tuple[int, int], fans: Any = None
    ) -> NDArray[np.float64]:
        """Weights of the shape (n_in, n_out), of a layer that may have other fans."""
        deviation = np.sqrt(self.scale / _FANS[self.mode](*(fans or shape)))
        if self.distribution == "normal":
            return random_state.normal(0, deviation, shape)
        bound = np.sqrt(3) * deviation
        return random_state.uniform(-bound, bound, shape)


@dataclass(frozen=True)
class Orthogonal(Settings):
    """A random matrix with orthonormal columns (or rows, if they are fewer), times a gain; biases are 0.

    For deep networks, through which signals and gradients then go without growing or vanishing.

    All its singular values are the gain, so that a deep linear network with gain 1 is an isometry; for ReLU the gain
    ``sqrt(2)`` keeps the mean square. "orthogonal" is gain 1.

    Parameters
    ----------
    gain : float, default=1.0
        Above 0.

    Raises
    ------
    ValueError
        If the gain is out of range.

    See Also
    --------
    VarianceScaling : Independent weights.
    Network.init_lsuv : Orthogonal weights whose scale is taken from data.

    Notes
    -----
    ``Q`` of the QR decomposition of a Gaussian matrix, with the signs that make the diagonal of ``R`` positive: then it
    is uniformly distributed.

    References
    ----------
    Notes 003 (dynamical isometry). A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", ICLR 2014. F. Mezzadri, "How to generate random matrices from the
    classical compact groups", Notices of the AMS 54 (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Network, Orthogonal
    >>> net = Network([Dense(8, "tanh"), Dense(1)], n_inputs=20, initializer=Orthogonal(2.0), random_state=0)
    >>> bool(np.allclose(net.weights[0].T @ net.weights[0], 4 * np.eye(8)))
    True
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("gain", self.gain, "(0, inf)")

    def draw(
        self, random_state: np.random.RandomState, shape: tuple[int, int], fans: Any = None
    ) -> NDArray[np.float64]:
        """Weights of the shape (n_in, n_out), with the mean square of a matrix whose shape is the fans."""
        Q, R = np.linalg.qr(random_state.normal(size=(max(shape), min(shape))))
        Q *= self.gain * np.where(np.diag(R) < 0, -1, 1)
        Q = Q if Q.shape == shape else Q.T
        return Q if fans is None else Q * np.sqrt(max(shape) / np.maximum(*fans))


_NAMED = {
    "lecun_normal": VarianceScaling(1.0, "fan_in", "normal"),
    "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "fan_avg", "normal"),
    "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
    "he_normal": VarianceScaling(2.0, "fan_in", "normal"),
    "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
    "orthogonal": Orthogonal(),
}
Initializer = InitializerName | VarianceScaling | Orthogonal
CLASSES = {"VarianceScaling": VarianceScaling, "Orthogonal": Orthogonal}


def initialize(initializer, random_state, weights, biases, activation, fans=None, gain=1.0):
    """Fill a layer's weights and biases.

    "sklearn" draws both from ``U(-b, b)``, ``b = sqrt(6 / (fan_in + fan_out))``, where for the logistic sigmoid, whose
    slope at 0 is 1/4, the 6 is a 2. Draws are made in float64, weights first, as scikit-learn makes them, so that the
    same seed gives the same network.

    Parameters
    ----------
    initializer : str, VarianceScaling or Orthogonal
    random_state : numpy.random.RandomState
    weights : ndarray of shape (n_in, n_out)
    biases : ndarray of shape (n_out,)
    activation : str
        Name of the hidden units' activation, for "sklearn".
    fans : tuple of float, default=None
        fan_in and fan_out, where they are not n_in and n_out.
    gain : float, default=1.0
        What weights, but not biases, are multiplied by.
    """
    if initializer == "sklearn":
        bound = np.sqrt((2 if activation == "logistic" else 6) / sum(fans or weights.shape))
        weights[:] = random_state.uniform(-bound, bound, weights.shape)
        if len(biases):  # else there may be a bound for each unit all the same
            biases[:] = random_state.uniform(-bound, bound, biases.shape)
    else:
        weights[:] = 0 if initializer == "zeros" else _NAMED.get(initializer, initializer).draw(
            random_state, weights.shape, fans
        )
        biases[:] = 0
    weights *= gain


def check_initializer(initializer):
    """The initializer; ValueError unless it is one of the names or objects."""
    if not isinstance(initializer, VarianceScaling | Orthogonal) and initializer not in INITIALIZERS:
        raise ValueError(
            f"initializer must be one of {INITIALIZERS}, a VarianceScaling or an Orthogonal, got {initializer!r}"
            f"{did_you_mean(initializer, INITIALIZERS)}"
        )
    return initializer


def to_json(setting):
    """What JSON can hold: a name or None as it is, an immutable object as ``{class: settings}``."""
    if setting is None or isinstance(setting, str):
        return setting
    return {type(setting).__name__: asdict(setting)}


def from_json(setting, classes):
    """The setting of what `to_json` made of it; only the classes given by name are looked up."""
    if not isinstance(setting, dict):
        return setting
    ((name, settings),) = setting.items()
    return classes[name](**settings)
