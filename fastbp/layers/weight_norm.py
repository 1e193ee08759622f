"""Layers whose weights are divided by norms of their own."""

from dataclasses import dataclass
from typing import Any

from ..checks import check_flag, check_size, make_plain
from .activations import unit_of
from .dense import Dense
from .layer import Layer
from .sparse import Sparse


class _Normalized(Layer):
    """What the layers have in common."""

    layer: Layer

    @property
    def inner(self) -> tuple[Layer, ...]:
        return (self.layer,)

    def _check_layer(self, *kinds):
        make_plain(self)
        if not isinstance(self.layer, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"layer must be a {names}, got {self.layer!r}")
        if self.layer.max_norm is not None:
            raise ValueError(f"layer must have max_norm=None, as norms are divided by, got {self.layer!r}")

    def _product(self, graph, h, name):
        u, number = self.layer.product(graph, h, f"{name}.product", has_bias=False)
        return graph.finish(u), number

    def _finish(self, graph, z):
        return graph.finish(z, *unit_of(self.layer.activation), self.layer.dropout)


@dataclass(frozen=True)
class WeightNorm(_Normalized):
    """Weight normalisation: norm and direction of each unit's weights are learnt apart,
    ``A = f((H V) * g / |V_j| + b)``, with ``|V_j|`` the norms of the columns of V.

    Parameters
    ----------
    layer : Dense or Sparse
        Of which V are the weights; it must have no `max_norm`.
    data_init : bool, default=True
        Whether the first training starts from data: g and b become those with which, on up to 1,024 of its rows, each
        ``z_j`` has mean 0 and variance 1, layer by layer. Else g starts from ``|V_j|``, which makes the layer what it
        would be without normalisation.

    Raises
    ------
    ValueError
        If the layer is another one, or a setting is of another type.

    See Also
    --------
    SpectralNorm : Divides all weights by one number.
    BatchNorm : Divides by standard deviations, those of each batch.

    Notes
    -----
    With ``s_j = g_j / |V_j|``, ``D = dC/dZ`` and ``t`` the sums of the columns of ``D * (H V)``,

    ``dC/dg = t / |V_j|``, ``dC/dV = H^T (D * s) - V diag(t * s / |V_j|^2)``, ``dC/dH = (D * s) V^T``:

    the gradient of ``V_j`` is orthogonal to it, so that steps make it longer, and the direction learns more slowly
    [1]_. Scales and b have no penalties and no weight decay; L1 and L2 of V change its length, not what the layer is.
    The gradient of a unit whose weights are all 0 is taken as 0. In a network's `weights`, g (1, n_units) follows V.

    A second start from data takes `Network.init_lsuv`. What a first training has started from is counted in
    `Network.layer_state`, under the layer's name with ".n_samples".

    References
    ----------
    .. [1] T. Salimans and D. Kingma, "Weight normalization: a simple reparameterization to accelerate training of deep
       neural networks", NIPS 2016. Notes 003.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Network, WeightNorm
    >>> net = Network([WeightNorm(Dense(3, "relu")), Dense(1)], n_inputs=2, random_state=0)
    >>> V, g, _ = net.weights
    >>> np.allclose(g, np.linalg.norm(V, axis=0))
    True
    """

    layer: Layer
    data_init: bool = True

    def __post_init__(self) -> None:
        self._check_layer(Dense, Sparse)
        check_flag("data_init", self.data_init)

    def build(self, graph: Any, h: int, name: str) -> Any:
        u, number = self._product(graph, h, name)
        z = graph.weight_norm(name, u, self, number)
        if self.data_init:
            graph.new_state(f"{name}.n_samples", 1)
        return self._finish(graph, z)


@dataclass(frozen=True)
class SpectralNorm(_Normalized):
    """Spectral normalisation: the largest singular value of the weights is 1, ``A = f(H V / sigma(V) + b)``.

    With units of slope 1 at most the layer is 1-Lipschitz: no change of its input changes its output by more.

    Parameters
    ----------
    layer : Dense
        Of which V are the weights; it must have no `max_norm`.
    n_iterations : int, default=1
        Of power iteration in each step of training.

    Raises
    ------
    ValueError
        If the layer is another one, or `n_iterations` is out of range. From rules for all rows, such as `LBFGS`, which
        make no steps of that kind.

    See Also
    --------
    WeightNorm : Divides by the norm of each unit's weights.
    Dense : Its `max_norm` bounds these norms.

    Notes
    -----
    ``sigma = u^T V v`` with unit vectors u and v. They start as the singular vectors of the initial weights, and each
    step begins with ``v <- V^T u / |V^T u|``, ``u <- V v / |V v|`` [1]_; everything else takes them as they are. They
    are constants to the gradient: with ``D = dC/dZ`` and t the sum of all elements of ``D * (H V)``,

    ``dC/dV = H^T D / sigma - u v^T t / sigma^2``, ``dC/dH = D V^T / sigma``.

    A network has them in `Network.layer_state`, under the layer's name with ".u" and ".v". Weights that are written to
    by hand have other ones, which the next steps find. Each place of a `Shared` layer has its own.

    References
    ----------
    .. [1] T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida, "Spectral normalization for generative adversarial
       networks", ICLR 2018. Notes 003.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Dense, Network, SpectralNorm
    >>> net = Network([SpectralNorm(Dense(3, "relu")), Dense(1)], n_inputs=2, random_state=0)
    >>> sigma = net.layer_state["0.u"] @ net.weights[0] @ net.layer_state["0.v"]
    >>> np.allclose(sigma, np.linalg.svd(net.weights[0])[1][0])
    True
    """

    layer: Layer
    n_iterations: int = 1

    def __post_init__(self) -> None:
        self._check_layer(Dense)
        check_size("n_iterations", self.n_iterations)

    def build(self, graph: Any, h: int, name: str) -> Any:
        u, number = self._product(graph, h, name)
        return self._finish(graph, graph.spectral_norm(name, u, self, number, self.n_iterations))
