"""Units and losses in plain NumPy: values, first and second derivatives.

Second derivatives are finite wherever the first are, unless they are too large for the dtype. Where they have no bound,
as that of ``|e|^1.5`` at 0, they are taken as 0 at the place itself, as at a kink.
"""

import numpy as np
from scipy.special import expit, log_softmax, softmax, xlogy

GELU_SCALE, GELU_CUBIC = 2 * np.sqrt(2 / np.pi), 0.044715
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def most(dtype):
    """What still is finite when it is doubled or added to itself; 0 times it is 0."""
    return 2.0 ** (126 if dtype == np.float32 else 1022)


def bounded(a):
    """a where it is finite, else what is nearly as large."""
    return np.clip(a, -most(a.dtype), most(a.dtype))


def weighted(s, E):
    """s * E; rows without weight are 0 whatever E is."""
    return np.where(s == 0, 0, s * E)


# ---- units ----------------------------------------------------------------------------------------------------------


def _zeros(z, a, p):
    return np.zeros_like(a)


def _elu(z, p):
    return np.where(z > 0, z, p * np.expm1(np.minimum(z, 0)))


def _gelu(z):
    """u(z), u' and u'' of GELU, which is ``z logistic(u)``; beyond ``|z| = 1000`` nothing changes."""
    z, c, b = z.clip(-1000, 1000), GELU_SCALE, GELU_CUBIC
    return c * (z + b * z**3), c * (1 + 3 * b * z**2), c * 6 * b * z


def _gate(z, u):
    """z logistic(u), which is 0 at -inf."""
    return np.where(z == -np.inf, 0, z * expit(u))


def _gated(z, u, first, second):
    """First and second derivative of ``z s(u)``, where ``s' = s (1 - s)``, from u and its derivatives."""
    z = z.clip(-1000, 1000)
    s, slope = expit(u), expit(u) * expit(-u)
    bend = slope * (1 - 2 * s)
    return s + z * slope * first, 2 * slope * first + z * (bend * first**2 + slope * second)


def _mish(z):
    """``tanh(s)`` and ``1 / cosh(s)``, with ``s = ln(1 + exp(z))``, from ``t = exp(-|z|)``, which does not overflow."""
    t, above = np.exp(-abs(z)), z > 0
    divisor = np.where(above, 1 + 2 * t + 2 * t * t, t * t + 2 * t + 2)
    return np.where(above, 1 + 2 * t, t * (t + 2)) / divisor, 2 * (1 + t) * np.where(above, t, 1) / divisor


def _mish_slope(z):
    z = z.clip(-1000, 1000)
    w, q = _mish(z)
    return w + z * (q * q * expit(z))


def _mish_bend(z):
    z = z.clip(-1000, 1000)
    (w, q), s = _mish(z), expit(z)
    return q * q * s * (2 + z * (expit(-z) - 2 * w * s))


def _hard_sigmoid(z):
    return np.clip(z + 3, 0, 6) / 6


# Unit with parameter p: f(z), and f' and f'' from z and a = f(z).
UNITS = {
    "identity": (lambda z, p: z, lambda z, a, p: np.ones_like(a), _zeros),
    "logistic": (lambda z, p: expit(z), lambda z, a, p: a * (1 - a), lambda z, a, p: a * (1 - a) * (1 - 2 * a)),
    "tanh": (lambda z, p: np.tanh(z), lambda z, a, p: 1 - a * a, lambda z, a, p: -2 * a * (1 - a * a)),
    "relu": (lambda z, p: np.maximum(z, 0), lambda z, a, p: (a != 0).astype(a.dtype), _zeros),
    "hard_tanh": (lambda z, p: np.clip(z, -1, 1), lambda z, a, p: (abs(a) != 1).astype(a.dtype), _zeros),
    "leaky_relu": (
        lambda z, p: np.where(z < 0, p * z, z), lambda z, a, p: np.where(z > 0, 1, p).astype(a.dtype), _zeros
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
        lambda z, p: _gate(z, _gelu(z)[0]),
        lambda z, a, p: _gated(z, *_gelu(z))[0],
        lambda z, a, p: _gated(z, *_gelu(z))[1],
    ),
    "silu": (
        lambda z, p: _gate(z, z), lambda z, a, p: _gated(z, z, 1, 0)[0], lambda z, a, p: _gated(z, z, 1, 0)[1]
    ),
    "mish": (
        lambda z, p: np.where(z == -np.inf, 0, z * _mish(z)[0]), lambda z, a, p: _mish_slope(z),
        lambda z, a, p: _mish_bend(z),
    ),
    "relu2": (
        lambda z, p: np.maximum(z, 0) ** 2, lambda z, a, p: 2 * np.maximum(z, 0),
        lambda z, a, p: np.where(z > 0, 2, 0).astype(a.dtype),
    ),
    "hard_sigmoid": (
        lambda z, p: _hard_sigmoid(z), lambda z, a, p: np.where((a == 0) | (a == 1), 0, 1 / 6).astype(a.dtype), _zeros
    ),
    "hard_swish": (
        lambda z, p: np.where(z < -3, 0, z) * _hard_sigmoid(z),
        lambda z, a, p: np.where(z <= -3, 0, np.where(z >= 3, 1, (2 * z + 3) / 6)),
        lambda z, a, p: np.where(abs(z) < 3, 1 / 3, 0).astype(a.dtype),
    ),
    "sin": (lambda z, p: np.sin(z), lambda z, a, p: np.cos(z), lambda z, a, p: -a),
    "cos": (lambda z, p: np.cos(z), lambda z, a, p: -np.sin(z), lambda z, a, p: -a),
    "rbf": (lambda z, p: np.exp(z), lambda z, a, p: a, lambda z, a, p: a),
}  # fmt: skip

# ---- losses ---------------------------------------------------------------------------------------------------------


def _diagonal(h):
    """The Hessian of a loss whose columns have nothing to do with each other."""
    return lambda r: h * r


def _flat(z, y, s):
    return np.zeros_like


def _sum(a):
    return a.sum(axis=-1, keepdims=True)


def _smoothed(y, smoothing):
    return (1 - smoothing) * y + smoothing * y.mean(axis=1, keepdims=True)


def _fix(z, fixed):
    """z with the last column 0, where it is fixed."""
    return np.where(np.arange(z.shape[-1]) < z.shape[-1] - 1, z, 0) if fixed else z


def _softmax(z, y, s):
    return _fix(softmax(_fix(z, s[3]), axis=1) * _sum(y) - _smoothed(y, s[1]), s[3])


def _softmax_hessian(z, y, s):
    p = softmax(_fix(z, s[3]), axis=1)
    times = p * _sum(y)

    def product(r):
        r = _fix(r, s[3])
        return _fix(times * (r - _sum(p * r)), s[3])

    return product


def _levels(z, s):
    """The level of each column."""
    return np.repeat(s[2], z.shape[1] // len(s[2])).astype(z.dtype)


def _quantile(z, y, s):
    q = _levels(z, s)
    return np.where(z > y, 1 - q, np.where(z < y, -q, 0))


def _lp_hessian(z, y, s):
    e, p = np.abs(z - y), s[1]
    e = np.where(e < np.finfo(e.dtype).tiny, 0, e)
    return _diagonal(np.where(e == 0, p == 2, np.minimum((p - 1) * e ** (p - 2), most(e.dtype))))


def _halves(a):
    return np.split(a, 2, axis=-1)


def _scaled(z, y):
    """1 / deviation and error / deviation of a normal distribution."""
    mean, log_variance = _halves(z)
    inverse = bounded(np.exp(-log_variance / 2))
    return inverse, (mean - _halves(y)[0]) * inverse


def _gaussian_loss(z, y, s):
    return (_scaled(z, y)[1] ** 2 + _halves(z)[1] + np.log(2 * np.pi)) / 2


def _gaussian(z, y, s):
    inverse, e = _scaled(z, y)
    return np.concatenate([e * inverse, (1 - e * e) / 2], axis=-1)


def _gaussian_hessian(z, y, s):
    inverse, e = _scaled(z, y)
    precision, slope, square = bounded(inverse * inverse), e * inverse, e * e

    def product(r):
        r, r_log = _halves(r)
        return np.concatenate([precision * r - slope * r_log, square * r_log / 2 - slope * r], axis=-1)

    return product


# From a network's output z and targets y, with one for each column of z: the loss in the columns, whose sum is that of
# a sample, its gradient by z, and its Hessian, a function of what it is multiplied by. s are the loss's settings as
# `kernel_of` gives them.
LOSSES = {
    "squared_error": (lambda z, y, s: 0.5 * (z - y) ** 2, lambda z, y, s: z - y, lambda z, y, s: lambda r: r),
    "absolute_error": (lambda z, y, s: abs(z - y), lambda z, y, s: np.sign(z - y), _flat),
    "lp": (
        lambda z, y, s: abs(z - y) ** s[1] / s[1],
        lambda z, y, s: np.sign(z - y) * np.abs(z - y) ** (s[1] - 1),
        _lp_hessian,
    ),
    "huber": (
        lambda z, y, s: np.where(abs(z - y) <= s[1], (z - y) ** 2 / 2, s[1] * (abs(z - y) - s[1] / 2)),
        lambda z, y, s: np.clip(z - y, -s[1], s[1]),
        lambda z, y, s: _diagonal(abs(z - y) <= s[1]),
    ),
    "quantile": (lambda z, y, s: np.maximum(_levels(z, s) * (y - z), (1 - _levels(z, s)) * (z - y)), _quantile, _flat),
    "gaussian": (_gaussian_loss, _gaussian, _gaussian_hessian),
    "cross_entropy": (
        lambda z, y, s: np.logaddexp(0, z) - y * z,
        lambda z, y, s: expit(z) - y,
        lambda z, y, s: _diagonal(expit(z) * expit(-z)),
    ),
    "softmax_cross_entropy": (
        lambda z, y, s: -_smoothed(y, s[1]) * log_softmax(_fix(z, s[3]), axis=1),
        _softmax,
        _softmax_hessian,
    ),
    "poisson": (
        lambda z, y, s: np.exp(z) - y * z + xlogy(y, y) - y,
        lambda z, y, s: np.exp(z) - y,
        lambda z, y, s: _diagonal(np.exp(z)),
    ),
    "perceptron": (lambda z, y, s: np.maximum(0, (1 - 2 * y) * z), lambda z, y, s: np.heaviside(z, 0) - y, _flat),
}
# and what predictions are in the place of z
OUTPUT_UNITS = {
    "cross_entropy": lambda z, s: expit(z),
    "softmax_cross_entropy": lambda z, s: softmax(_fix(z, s[3]), axis=1),
    "poisson": lambda z, s: np.exp(z),
    "perceptron": lambda z, s: np.heaviside(z, 0),
}
