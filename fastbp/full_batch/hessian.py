"""The Hessian of a data cost and its products with vectors, exact, in plain NumPy.

``R{.}`` is the derivative along ``(V, c)``, a direction in the space of weights and biases. Samples are rows, ``*`` is
elementwise, ``S`` holds the sample weights divided by their sum. With the passes of backpropagation

    ``A_0 = X``, ``Z_l = A_(l-1) W_l + b_l``, ``A_l = f_l(Z_l)``
    ``E_L = S * dC/dA_L``, ``D_l = E_l * f_l'(Z_l)``, ``E_(l-1) = D_l W_l^T``
    ``dC/dW_l = A_(l-1)^T D_l``, ``dC/db_l = sum of rows of D_l``

differentiating each line gives

    ``R{A_0} = 0``, ``R{Z_l} = R{A_(l-1)} W_l + A_(l-1) V_l + c_l``, ``R{A_l} = f_l'(Z_l) * R{Z_l}``
    ``R{E_L} = S * d2C/dA_L2 R{A_L}``, ``R{D_l} = R{E_l} * f_l'(Z_l) + E_l * f_l''(Z_l) * R{Z_l}``,
    ``R{E_(l-1)} = R{D_l} W_l^T + D_l V_l^T``
    ``R{dC/dW_l} = R{A_(l-1)}^T D_l + A_(l-1)^T R{D_l}``, ``R{dC/db_l} = sum of rows of R{D_l}``

and the last line is the product ``H (V, c)``, at about twice the cost of a gradient. For softmax units ``f'(Z)``
is a matrix ``diag(a) - a a^T`` for each row: with ``J(E) = A * (E - <A, E>)``, the scalar products taken row by row,

    ``D = J(E)``, ``R{A} = J(R{Z})``, ``R{D} = J(R{E}) + R{A} * (E - <A, E>) - A * <R{A}, E>``

For radial basis functions, ``z_j = -beta_j |h - w_j|^2`` with ``beta = exp(b)``, and ``a = exp(z)``. With ``H`` for
``A_(l-1)`` and ``S = 2 beta * D``, ``R{S} = 2 beta * (R{D} + D * c)``,

    ``E_(l-1) = S W^T - H * sum of columns of S``,
    ``dC/dW = H^T S - W * sum of rows of S``, ``dC/db = sum of rows of D * Z``,
    ``R{Z} = 2 beta * (R{H} W - <H, R{H}> + H V - sum of rows of W * V) + Z * c``,
    ``R{E_(l-1)} = R{S} W^T + S V^T - R{H} * sum of columns of S - H * sum of columns of R{S}``,
    ``R{dC/dW} = R{H}^T S + H^T R{S} - V * sum of rows of S - W * sum of rows of R{S}``,
    ``R{dC/db} = sum of rows of R{D} * Z + D * R{Z}``

Second derivatives are finite wherever the first are, unless they are too large for the dtype. Where they have no bound,
as that of ``|e|^1.5`` at 0, they are taken as 0 at the place itself, as at a kink.

References
----------
B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. C. Bishop, "Exact calculation of
the Hessian matrix for the multilayer perceptron", Neural Computation 4, 1992. Notes 001 (Hessian technique).
"""

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, softmax

from ..layers import unit_of
from ..losses import kernel_of

# Largest network whose Hessian, a dense matrix, is formed: 200 MB in float64.
MAX_PARAMETERS = 5000

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _most(dtype):
    """What still is finite when it is doubled or added to itself; 0 times it is 0."""
    return 2.0 ** (126 if dtype == np.float32 else 1022)


def _bounded(a):
    return np.clip(a, -_most(a.dtype), _most(a.dtype))


def _column_sums(a):
    """The sum of all rows, added up in double."""
    return a.sum(axis=0, dtype=np.float64).astype(a.dtype)


def _product_over_rows(A, B):
    """``A^T B``; in single precision it is added up in double from block to block of rows."""
    if B.dtype == np.float64 or (len(B) <= 512 and not issparse(A)):
        return A.T @ B
    total = np.zeros((A.shape[1], B.shape[1]))
    for i in range(0, len(B), 512):
        a, b = A[i : i + 512], B[i : i + 512]
        total += a.T @ (b.astype(np.float64) if issparse(a) else b)  # SciPy adds up row by row
    return total.astype(B.dtype)


def _zeros(z, a, p):
    return np.zeros_like(z)


def _elu(z, p):
    return np.where(z > 0, z, p * np.expm1(np.minimum(z, 0)))


def _gelu(z):
    """u(z), u' and u'' of GELU, which is ``z logistic(u)``; beyond ``|z| = 1000`` nothing changes."""
    z, c = z.clip(-1000, 1000), 2 * np.sqrt(2 / np.pi)
    return c * (z + 0.044715 * z**3), c * (1 + 3 * 0.044715 * z**2), c * 6 * 0.044715 * z


def _gated(z, u, first, second):
    """First and second derivative of ``z s(u)``, where ``s' = s (1 - s)``, from u and its derivatives."""
    z = z.clip(-1000, 1000)
    s, slope = expit(u), expit(u) * expit(-u)
    bend = slope * (1 - 2 * s)
    return s + z * slope * first, 2 * slope * first + z * (bend * first**2 + slope * second)


# Unit with parameter p: f(z), and f' and f'' from z and a = f(z).
UNITS = {
    "identity": (lambda z, p: z, lambda z, a, p: np.ones_like(z), _zeros),
    "logistic": (lambda z, p: expit(z), lambda z, a, p: a * (1 - a), lambda z, a, p: a * (1 - a) * (1 - 2 * a)),
    "tanh": (lambda z, p: np.tanh(z), lambda z, a, p: 1 - a * a, lambda z, a, p: -2 * a * (1 - a * a)),
    "relu": (lambda z, p: np.maximum(z, 0), lambda z, a, p: (z > 0).astype(z.dtype), _zeros),
    "hard_tanh": (lambda z, p: np.clip(z, -1, 1), lambda z, a, p: (abs(z) < 1).astype(z.dtype), _zeros),
    "leaky_relu": (
        lambda z, p: np.where(z < 0, p * z, z), lambda z, a, p: np.where(z > 0, 1, p).astype(z.dtype), _zeros
    ),
    "step": (lambda z, p: np.heaviside(z, 0), _zeros, _zeros),
    "softplus": (lambda z, p: np.logaddexp(0, z), lambda z, a, p: expit(z), lambda z, a, p: expit(z) * expit(-z)),
    "elu": (_elu, lambda z, a, p: np.where(z > 0, 1, a + p), lambda z, a, p: np.where(z > 0, 0, a + p)),
    "selu": (
        lambda z, p: SELU_SCALE * _elu(z, SELU_ALPHA),
        lambda z, a, p: np.where(z > 0, SELU_SCALE, a + SELU_SCALE * SELU_ALPHA),
        lambda z, a, p: np.where(z > 0, 0, a + SELU_SCALE * SELU_ALPHA),
    ),
    "gelu": (
        lambda z, p: z * expit(_gelu(z)[0]),
        lambda z, a, p: _gated(z, *_gelu(z))[0],
        lambda z, a, p: _gated(z, *_gelu(z))[1],
    ),
    "silu": (
        lambda z, p: z * expit(z), lambda z, a, p: _gated(z, z, 1, 0)[0], lambda z, a, p: _gated(z, z, 1, 0)[1]
    ),
    "rbf": (lambda z, p: np.exp(z), lambda z, a, p: a, lambda z, a, p: a),
}  # fmt: skip


def _unit(activation, Z):
    """A = f(Z), and two functions: E to f'(Z) E, and E to the map from R{Z} to R{f'(Z)} E."""
    name, p = unit_of(activation)
    if name == "softmax":
        A = softmax(Z, axis=1)

        def slope(E):
            return A * (E - _sum(A * E))

        def bend(E):
            centred = E - _sum(A * E)

            def product(RZ):
                RA = slope(RZ)
                return RA * centred - A * _sum(RA * E)

            return product

        return A, slope, bend
    f, first, second = UNITS[name]
    A = f(Z, p)
    first, second = first(Z, A, p), second(Z, A, p)

    def elementwise_bend(E):
        factor = E * second
        return lambda RZ: factor * RZ

    return A, lambda E: first * E, elementwise_bend


def _smoothed(y, smoothing):
    return (1 - smoothing) * y + smoothing * y.mean(axis=1, keepdims=True)


def _fix(z, fixed):
    """z with the last column 0, where it is fixed."""
    return np.where(np.arange(z.shape[1]) < z.shape[1] - fixed, z, 0)


def _softmax(z, y, s):
    return _fix(softmax(_fix(z, s[3]), axis=1) * _sum(y) - _smoothed(y, s[1]), s[3])


def _softmax_product(z, y, r, s):
    p, r = softmax(_fix(z, s[3]), axis=1), _fix(r, s[3])
    return _fix(p * (r - _sum(p * r)) * _sum(y), s[3])


def _quantile(z, y, s):
    q = np.repeat(s[2], z.shape[1] // len(s[2])).astype(z.dtype)
    return np.where(z > y, 1 - q, np.where(z < y, -q, 0))


def _lp_product(z, y, r, s):
    e, p = np.abs(z - y), s[1]
    e = np.where(e < np.finfo(e.dtype).tiny, 0, e)
    return np.where(e == 0, p == 2, np.minimum((p - 1) * e ** (p - 2), _most(e.dtype))) * r


def _scaled(z, y):
    """1 / deviation and error / deviation of a normal distribution."""
    mean, log_variance = np.hsplit(z, 2)
    inverse = _bounded(np.exp(-log_variance / 2))
    return inverse, (mean - np.hsplit(y, 2)[0]) * inverse


def _gaussian(z, y, s):
    inverse, e = _scaled(z, y)
    return np.hstack([e * inverse, (1 - e * e) / 2])


def _gaussian_product(z, y, r, s):
    inverse, e = _scaled(z, y)
    r, r_log = np.hsplit(r, 2)
    slope = e * inverse
    return np.hstack([_bounded(inverse * inverse) * r - slope * r_log, e * e * r_log / 2 - slope * r])


# Loss of a sample as a function of z, what the last layer returns: its gradient, and its Hessian times r. s are the
# loss's settings as `kernel_of` gives them.
LOSSES = {
    "squared_error": (lambda z, y, s: z - y, lambda z, y, r, s: r),
    "absolute_error": (lambda z, y, s: np.sign(z - y), lambda z, y, r, s: np.zeros_like(z)),
    "lp": (
        lambda z, y, s: np.sign(z - y) * np.abs(z - y) ** (s[1] - 1),
        _lp_product,
    ),
    "huber": (lambda z, y, s: np.clip(z - y, -s[1], s[1]), lambda z, y, r, s: np.where(np.abs(z - y) <= s[1], r, 0)),
    "quantile": (_quantile, lambda z, y, r, s: np.zeros_like(z)),
    "gaussian": (_gaussian, _gaussian_product),
    "cross_entropy": (lambda z, y, s: expit(z) - y, lambda z, y, r, s: expit(z) * expit(-z) * r),
    "softmax_cross_entropy": (_softmax, _softmax_product),
    "poisson": (lambda z, y, s: np.exp(z) - y, lambda z, y, r, s: np.exp(z) * r),
    "perceptron": (lambda z, y, s: np.heaviside(z, 0) - y, lambda z, y, r, s: np.zeros_like(z)),
}


def _sum(a):
    return a.sum(axis=1, keepdims=True)


def _weighted(s, E):
    """s * E; rows without weight are 0 whatever E is."""
    return np.where(s == 0, 0, s * E)


class _Dense:
    """The passes through a layer ``Z = H W + b``, ``A = f(Z)`` whose inputs are H."""

    def __init__(self, H, W, b, activation):
        self.H, self.W, self.Z = H, W, self.weighted_inputs(H, W, b)
        self.A, self.slope, self.bend = _unit(activation, self.Z)

    def backward(self, E):
        """D, from ``E = dC/dA``; from here on `bend` is the map from R{Z} to R{f'(Z)} E."""
        self.D, self.bend = self.slope(E), self.bend(E)

    def weighted_inputs(self, H, W, b):
        return H @ W + b

    def below(self):
        """dC/dH"""
        return self.D @ self.W.T

    def along_inputs(self, RH):
        """R{Z} where H changes by RH."""
        return RH @ self.W

    def along(self, V, c):
        """R{Z} where the parameters change by (V, c)."""
        return self.H @ V + c

    def R_below(self, RD, RH, V=None, c=0):
        """R{dC/dH}, for parameters that change or do not."""
        RE = RD @ self.W.T
        return RE if V is None else RE + self.D @ V.T

    def R_gradient(self, RD, RZ, RH, V, c):
        """R{dC/dW} and R{dC/db}; RH is None for 0."""
        RG = _product_over_rows(self.H, RD)
        return RG if RH is None else RG + _product_over_rows(RH, self.D), _column_sums(RD)

    def factors(self):
        """dZ_j/d(column j of W, b_j) of each sample and unit j, (n_samples, n_in + 1, n_units)."""
        F = np.hstack([self.H, np.ones((len(self.H), 1), self.W.dtype)])[:, :, None]
        return np.broadcast_to(F, (*F.shape[:2], self.W.shape[1]))

    def R_factors(self, RZ, RH):
        """What becomes of them where H changes by RH, or what can be broadcast to that."""
        return np.hstack([RH, np.zeros_like(RH[:, :1])])[:, :, None]

    def curvature(self, j):
        """Sum over samples of D_j d2Z_j/d(column j of W, b_j)^2."""
        return 0


class _RBF(_Dense):
    """The same for ``z_j = -beta_j |h - w_j|^2``, ``beta = exp(b)``, ``A = exp(Z)``."""

    def __init__(self, H, W, b, activation):
        origin = W.mean(axis=1)  # products of numbers with a common offset would lose digits
        super().__init__(H - origin, W - origin[:, None], b, activation)

    def weighted_inputs(self, H, W, b):
        most = _most(b.dtype)  # distances and beta are bounded as in the core
        self.scale = np.minimum(2 * np.exp(b), most)
        half = np.stack([((H - w) ** 2).sum(axis=1) for w in W.T], axis=1) * -0.5
        self.reach = np.where(half == 0, 0, self.scale)  # on a centre the derivatives of z are 0 without rounding
        return np.maximum(self.scale * np.maximum(half, -most), -1000)  # where exp is 0

    def _to_inputs(self, S):
        return S @ self.W.T - self.H * _sum(S)

    def below(self):
        return self._to_inputs(self.scale * self.D)

    def along_inputs(self, RH):
        return _bounded(self.reach * (RH @ self.W - _sum(self.H * RH)))

    def along(self, V, c):
        return _bounded(self.reach * (self.H @ V - (self.W * V).sum(axis=0))) + self.Z * c

    def R_below(self, RD, RH, V=None, c=0):
        S, RS = self.scale * self.D, self.scale * (RD + self.D * c)
        RE = self._to_inputs(RS) - RH * _sum(S)
        return RE if V is None else RE + S @ V.T

    def R_gradient(self, RD, RZ, RH, V, c):
        S, RS = self.scale * self.D, self.scale * (RD + self.D * c)
        RG = _product_over_rows(self.H, RS) - self.W * _column_sums(RS) - V * _column_sums(S)
        return RG if RH is None else RG + _product_over_rows(RH, S), _column_sums(RD * self.Z + self.D * RZ)

    def factors(self):
        return np.concatenate([_bounded(self.scale * (self.H[:, :, None] - self.W)), self.Z[:, None, :]], axis=1)

    def R_factors(self, RZ, RH):
        return np.concatenate([_bounded(self.scale * RH[:, :, None]), RZ[:, None, :]], axis=1)

    def curvature(self, j):
        d, f = self.D[:, j], self.factors()[:, :, j]
        n_in = len(self.W)
        block = np.zeros((n_in + 1, n_in + 1), self.W.dtype)
        block[:n_in, :n_in] = np.eye(n_in) * (-self.scale[j] * d.sum())
        block[n_in] = block[:, n_in] = _product_over_rows(f, d[:, None])[:, 0]
        return block


def _passes(weights, biases, activations, loss, X, y, s):
    """The layers, after a pass forward and one backward."""
    layers, A, settings = [], X, kernel_of(loss)
    for W, b, activation in zip(weights, biases, activations, strict=True):
        layers.append((_RBF if activation == "rbf" else _Dense)(A, W, b, activation))
        A = layers[-1].A
    E = _weighted(s, LOSSES[settings[0]][0](A, y, settings))
    for layer in layers[::-1]:
        layer.backward(E)
        if layer is not layers[0]:
            E = layer.below()
    return layers


def _converted(dtype, n_outputs, X, y, labels, sample_weight):
    """X, targets (n, n_outputs) and S (n, 1) in one dtype."""
    n = X.shape[0]
    if labels is not None:
        y = np.zeros((n, n_outputs), dtype)
        y[np.arange(n), labels] = 1
    s = np.full(n, 1 / n) if sample_weight is None else sample_weight / sample_weight.sum()
    X, y, s = (a.astype(dtype, copy=False) for a in (X, y, s))
    return X, y.reshape(n, -1), s[:, None]


def hessian_products(weights, biases, activations, loss, X, y, labels=None, sample_weight=None):
    """The Hessian as a linear map; the passes that all products share are made once.

    Parameters
    ----------
    weights, biases : sequences of ndarray
        Of all layers; their dtype is that of the arithmetic. Not to be changed while the map is in use.
    activations : sequence of str, LeakyReLU and ELU
    loss : str, or one of the classes in losses.py
    X : ndarray or CSR matrix of shape (n_samples, n_inputs)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None if there are labels
    labels : int ndarray of shape (n_samples,), default=None
        Class indices.
    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    product : callable
        ``product(V, c)`` takes a direction as sequences of arrays like weights and biases, and returns ``H (V, c)``
        as two lists of such arrays.
    """
    X, y, s = _converted(weights[0].dtype, biases[-1].size, X, y, labels, sample_weight)
    layers, settings = _passes(weights, biases, activations, loss, X, y, s), kernel_of(loss)

    def product(V, c):
        RA, RH, RZ = None, [], []
        for layer, *direction in zip(layers, V, c, strict=True):
            RH.append(RA)
            RZ.append(layer.along(*direction) if RA is None else layer.along(*direction) + layer.along_inputs(RA))
            RA = layer.slope(RZ[-1])
        RE = _weighted(s, LOSSES[settings[0]][1](layers[-1].A, y, RA, settings))
        HV, Hc = [None] * len(layers), [None] * len(layers)
        for i in range(len(layers) - 1, -1, -1):
            RD = layers[i].slope(RE) + layers[i].bend(RZ[i])
            HV[i], Hc[i] = layers[i].R_gradient(RD, RZ[i], RH[i], V[i], c[i])
            if i:
                RE = layers[i].R_below(RD, RH[i], V[i], c[i])
        return HV, Hc

    return product


def hessian(weights, biases, activations, loss, X, y, labels=None, sample_weight=None):
    """The Hessian itself, with a pass per unit instead of one per parameter.

    The direction that is 1 at the weight from unit i of layer m - 1 to unit j of layer m has ``R{Z_m}`` equal to
    ``A_(m-1)[:, i]`` in column j and 0 elsewhere. All that follows is linear in it, sample by sample: one pass that
    starts with ones in column j does for all i, and ``A_(m-1)^T`` times its gradients, one of each sample, gives
    the rows of H that belong to them. Layers before m follow from symmetry. (A column of ones in A: b is a row of W.)
    Where z is not linear in the parameters, ``dz_j/d(w_j, b_j)`` is in the place of A, and its derivative adds to H.

    Parameters
    ----------
    weights, biases, activations, loss, X, y, labels, sample_weight
        As in `hessian_products`.

    Returns
    -------
    H : ndarray of shape (n_parameters, n_parameters)
        In the order of the flat vector: layer by layer, weights then biases.
    """
    dtype, n_layers, settings = weights[0].dtype, len(weights), kernel_of(loss)
    X, y, s = _converted(dtype, biases[-1].size, X, y, labels, sample_weight)
    at = np.cumsum([0, *((len(W) + 1) * W.shape[1] for W in weights)])
    H = np.zeros((at[-1], at[-1]))  # sums over parts in double
    n_rows = max(1, 2**20 // at[-1])  # of a part, whose gradients of the samples stay in cache
    for part in (slice(i, i + n_rows) for i in range(0, len(y), n_rows)):
        x = X[part].toarray() if issparse(X) else X[part]
        layers = _passes(weights, biases, activations, loss, x, y[part], s[part])
        factors = [layer.factors() for layer in layers]
        for m in range(n_layers):
            for j in range(biases[m].size):
                RZ = {m: np.zeros_like(layers[m].Z)}
                RZ[m][:, j] = 1
                RH = {m + 1: layers[m].slope(RZ[m])}
                for i in range(m + 1, n_layers):
                    RZ[i] = layers[i].along_inputs(RH[i])
                    RH[i + 1] = layers[i].slope(RZ[i])
                RE = _weighted(s[part], LOSSES[settings[0]][1](layers[-1].A, y[part], RH[n_layers], settings))
                rows = H[at[m] + j : at[m + 1] : biases[m].size]
                rows[:, at[m] + j : at[m + 1] : biases[m].size] += layers[m].curvature(j)
                for i in range(n_layers - 1, m - 1, -1):
                    RD = layers[i].slope(RE) + layers[i].bend(RZ[i])
                    G = factors[i] * RD[:, None, :]  # dC/d(W_i, b_i) of each sample, differentiated
                    if i > m:
                        G += layers[i].R_factors(RZ[i], RH[i]) * layers[i].D[:, None, :]
                        RE = layers[i].R_below(RD, RH[i])
                    rows[:, at[i] : at[i + 1]] += _product_over_rows(factors[m][:, :, j], G.reshape(len(x), -1))
    H = H.astype(dtype, copy=False)
    upper = np.triu(H)
    return upper + np.triu(H, 1).T
