"""Fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_number, check_size, make_plain
from ..initializers import Initializer, check_initializer
from ..settings import FrozenArray
from .activations import Unit, check_activation, unit_of
from .layer import Layer


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer, ``A = f(H W + b)``.

    "relu" is a good first choice for hidden layers; "gelu" and "silu" are smooth and often somewhat better in deep
    networks, "tanh" in small ones, which learn functions that are smooth. Output layers are usually left without a
    unit, as the loss brings the one that it needs.

    Parameters
    ----------
    n_units : int
        Number of units, the columns of ``W (n_in, n_units)``. Hidden layers usually have ten to a thousand.
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
        - "mish": ``z tanh(ln(1 + exp(z)))`` [3]_;
        - "relu2": ``max(0, z)^2`` [4]_;
        - "hard_sigmoid": ``min(1, max(0, z / 6 + 1/2))``; the derivative at -3 and 3 is taken as 0;
        - "hard_swish": ``z min(1, max(0, z / 6 + 1/2))`` [5]_; the derivative at -3 is taken as 0, at 3 as 1;
        - "sin", "cos": ``sin(z)`` and ``cos(z)``, of sinusoidal networks [6]_ and random Fourier features [7]_;
        - "step": 1 for ``z > 0``, else 0, the notes' perceptron. Its derivative is taken as 0, so that nothing below it
          learns, nor do its own weights: it is for weights that are set or learnt otherwise. The cost "perceptron"
          trains an output layer of such units;
        - "softmax": ``exp(z_j) / sum_k exp(z_k)`` over the layer's units, a choice among them: "useful as a way to
          learn to manipulate memory" (Notes 004). With ``e = dC/da``, ``delta_j = a_j (e_j - sum_k e_k a_k)``.
    l1, l2 : float or None, default=None
        Penalties ``l1 sum|w| + l2/2 sum w^2`` on this layer's weights; None takes the network's. Usual values are 1e-6
        to 1e-2.
    initializer : str, VarianceScaling, Orthogonal or None, default=None
        Rule for the initial parameters, see `Network`; None takes the network's.
    dropout : float, default=0.0
        Probability, in [0, 1), with which each of the layer's outputs is set to 0 in training, for each row of each
        batch anew; the others are divided by ``1 - dropout``, so that prediction, which drops nothing, has nothing to
        make up for ("inverted" dropout). Usual values are 0.1 to 0.5. Not for the output layer [8]_.
    max_norm : float or None, default=None
        Bound of the norm of each unit's incoming weights, above 0: after each update (by a rule for mini-batches, the
        only ones to have it) columns ``w`` of ``W`` with ``|w| > max_norm`` are multiplied by ``max_norm / |w|``
        ([8]_, section 5.1). Usual values are 2 to 4.
    mask : array-like of bool, shape (n_in, n_units), or None, default=None
        Which weights there are, for a layer that is not fully connected: where it is False they are 0, and remain 0
        under every rule. None: all of them. The setting is an immutable copy, which ``np.asarray`` makes an array of.

    Raises
    ------
    ValueError
        If a setting is out of range; in a network, if the mask has not as many rows as the layer has inputs.

    See Also
    --------
    LowRank : Fewer weights in products that are smaller, too.
    Sparse : Few inputs for each unit, and a time that is less for that.
    Activation, Dropout, BatchNorm : What may follow as a layer of its own.

    Notes
    -----
    Weighted input and activation are the notes' ``z^l`` and ``a^l`` (001), with samples in rows. Softplus and hard tanh
    are in notes 004, and so are layers that are not fully connected.

    Masked weights start from 0, and their gradients are 0, penalties' and ties' included: with ``M`` the mask as 0 and
    1, ``A = f(H (M * W) + b)`` and ``dC/dW = M * (H^T D)``. Initializers count what there is: fan_in is that of each
    unit, fan_out the mean. Products are those of a full layer.

    References
    ----------
    .. [1] G. Klambauer and others, "Self-normalizing neural networks", NIPS 2017.
    .. [2] D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", 2016. They have SiLU too.
    .. [3] D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    .. [4] D. So and others, "Primer: searching for efficient transformers for language modeling", NeurIPS 2021.
    .. [5] A. Howard and others, "Searching for MobileNetV3", ICCV 2019.
    .. [6] V. Sitzmann and others, "Implicit neural representations with periodic activation functions", NeurIPS 2020.
    .. [7] A. Rahimi and B. Recht, "Random features for large-scale kernel machines", NIPS 2007.
    .. [8] N. Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Network
    >>> net = Network([Dense(32, "relu", dropout=0.2), Dense(1)], n_inputs=5, random_state=0)
    >>> [W.shape for W in net.weights]
    [(5, 32), (32, 1)]

    Units that see one half of the inputs each:

    >>> mask = np.kron(np.eye(2), np.ones((2, 3))).astype(bool)
    >>> net = Network([Dense(6, "tanh", mask=mask), Dense(1)], n_inputs=4, random_state=0)
    >>> int((net.weights[0] != 0).sum())
    12
    """

    n_units: int
    activation: Unit = "identity"
    l1: float | None = None
    l2: float | None = None
    initializer: Initializer | None = None
    dropout: float = 0.0
    max_norm: float | None = None
    mask: ArrayLike | None = None

    def __post_init__(self) -> None:
        check_product_settings(self)
        if self.mask is not None:
            object.__setattr__(self, "mask", _frozen_mask(self.mask, self.n_units))

    def build(self, graph: Any, h: int, name: str) -> Any:
        return graph.finish(self.product(graph, h, name)[0], *unit_of(self.activation), self.dropout)

    def product(self, graph: Any, h: int, name: str, has_bias: bool = True) -> Any:
        """Emit the product with weights; returns its value and the number of the weights."""
        n_in = graph.values[h].n
        if self.mask is not None and len(np.asarray(self.mask)) != n_in:
            raise ValueError(
                f"layers[{name}] must have a mask of shape (n_in, n_units) = ({n_in}, {self.n_units}), got "
                f"{np.shape(self.mask)} for {self!r}"
            )
        return graph.dense(name, h, self, self.n_units, has_bias, mask=self.mask)


def check_product_settings(layer, size="n_units"):
    """Check the settings that layers with products have in common, and make them Python's own numbers.

    `size` is the name of the one that says how many units there are.
    """
    make_plain(layer)
    check_size(size, getattr(layer, size))
    object.__setattr__(layer, "activation", check_activation(layer.activation))
    for name, interval in (("l1", "[0, inf)"), ("l2", "[0, inf)"), ("dropout", "[0, 1)"), ("max_norm", "(0, inf)")):
        if name == "dropout" or getattr(layer, name) is not None:
            object.__setattr__(layer, name, check_number(name, getattr(layer, name), interval))
    if layer.initializer is not None:
        check_initializer(layer.initializer)


def _frozen_mask(mask, n_units):
    """The mask as a `FrozenArray`; ValueError unless it is boolean, of shape (n_in, n_units)."""
    mask = mask if isinstance(mask, FrozenArray) else FrozenArray(mask)
    a = mask.array
    if a.dtype != bool or a.ndim != 2 or a.shape[1] != n_units:
        raise ValueError(
            f"mask must be a boolean array of shape (n_in, n_units), here (n_in, {n_units}), got dtype {a.dtype} in "
            f"shape {a.shape}"
        )
    return mask
