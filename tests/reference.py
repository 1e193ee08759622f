"""Plain NumPy forward and backward passes and updates: the specification that the compiled core is tested against."""

import numpy as np
from scipy.special import expit, log_softmax, softmax, xlogy

from fastbp.layers import unit_of

C, B = 2 * np.sqrt(2 / np.pi), 0.044715  # of GELU
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


def elu(z, p):
    return np.where(z > 0, z, p * np.expm1(np.minimum(z, 0)))


def gate(z, u):
    """z expit(u), which is 0 at -inf."""
    return np.where(z == -np.inf, 0, z * expit(u))


def gate_slope(z, u, slope):
    return expit(u) + np.clip(z, -1e3, 1e3) * expit(u) * expit(-u) * np.clip(slope, -1e9, 1e9)


# f(z) with a parameter p
ACTIVATIONS = {
    "identity": lambda z, p: z,
    "logistic": lambda z, p: expit(z),
    "tanh": lambda z, p: np.tanh(z),
    "relu": lambda z, p: np.maximum(z, 0),
    "hard_tanh": lambda z, p: np.clip(z, -1, 1),
    "leaky_relu": lambda z, p: np.maximum(z, 0) + p * np.minimum(z, 0),
    "step": lambda z, p: np.heaviside(z, 0),
    "softplus": lambda z, p: np.logaddexp(0, z),
    "elu": elu,
    "selu": lambda z, p: SCALE * elu(z, ALPHA),
    "exp": lambda z, p: np.exp(z),
    "gelu": lambda z, p: gate(z, C * (z + B * z**3)),
    "silu": lambda z, p: gate(z, z),
}
# f'(z), where possible in terms of a = f(z)
DERIVATIVES = {
    "identity": lambda z, a, p: np.ones_like(a),
    "logistic": lambda z, a, p: a * (1 - a),
    "tanh": lambda z, a, p: 1 - a**2,
    "relu": lambda z, a, p: (a != 0) * 1.0,
    "hard_tanh": lambda z, a, p: (abs(a) != 1) * 1.0,
    "leaky_relu": lambda z, a, p: np.where(z > 0, 1, p),
    "step": lambda z, a, p: np.zeros_like(a),
    "softplus": lambda z, a, p: expit(z),
    "elu": lambda z, a, p: np.where(z > 0, 1, a + p),
    "selu": lambda z, a, p: np.where(z > 0, SCALE, a + SCALE * ALPHA),
    "gelu": lambda z, a, p: gate_slope(z, C * (z + B * z**3), C * (1 + 3 * B * z**2)),
    "silu": lambda z, a, p: gate_slope(z, z, 1),
}
OUTPUT_UNITS = {
    "squared_error": lambda z: z,
    "cross_entropy": expit,
    "softmax_cross_entropy": lambda z: softmax(z, axis=1),
    "poisson": np.exp,
}


def one_hot(labels, k):
    return np.eye(k)[labels]


def losses(name, z, y):
    """Loss of each sample from the last layer's output z (n, k) and targets y (n, k)."""
    if name == "squared_error":
        return 0.5 * ((y - z) ** 2).sum(axis=1)
    if name == "cross_entropy":
        return (np.logaddexp(0, z) - y * z).sum(axis=1)
    if name == "softmax_cross_entropy":
        return -(y * log_softmax(z, axis=1)).sum(axis=1)
    return (np.exp(z) - y * z + xlogy(y, y) - y).sum(axis=1)


def forward(X, weights, biases, activations):
    """Activations of all layers, X first, and all z."""
    layers, zs = [X], []
    for W, b, activation in zip(weights, biases, activations, strict=True):
        name, p = unit_of(activation)
        zs.append(layers[-1] @ W + b)
        layers.append(ACTIVATIONS[name](zs[-1], p))
    return layers, zs


def slopes(z, a, activation):
    """f'(z) of a layer."""
    name, p = unit_of(activation)
    return DERIVATIVES[name](z, a, p)


def backward(layers, zs, weights, activations, delta):
    """The four equations: gradients of W and b from the last layer's delta = dC/dz, and dC/dX."""
    gradients = []
    for layer in range(len(weights) - 1, -1, -1):
        gradients.append((layers[layer].T @ delta, delta.sum(axis=0)))
        delta = delta @ weights[layer].T
        if layer:
            delta = delta * slopes(zs[layer - 1], layers[layer], activations[layer - 1])
    return gradients[::-1], delta


def value_and_gradient(X, y, weights, biases, activations, loss, sample_weight=None):
    """Weighted mean loss and its gradient, flat: W then b, layer by layer."""
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    layers, zs = forward(X, weights, biases, activations)
    z = layers[-1]
    value = np.average(losses(loss, z, y), weights=s)
    mass = y.sum(axis=1, keepdims=True) if loss == "softmax_cross_entropy" else 1
    delta = (OUTPUT_UNITS[loss](z) * mass - y) * (s / s.sum())[:, None]
    delta = delta * slopes(zs[-1], z, activations[-1])
    gradients, _ = backward(layers, zs, weights, activations, delta)
    return value, np.concatenate([np.concatenate([gw.ravel(), gb]) for gw, gb in gradients])


def update(rule, w, g, state, t, rate, momentum=0.0, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """New parameters; `state` is a list of arrays that changes in place; t counts from 1."""
    if rule == "gradient_descent":
        return w - rate * g
    if rule in ("momentum", "nesterov"):
        state[0][:] = momentum * state[0] - rate * g
        return w + (state[0] if rule == "momentum" else momentum * state[0] - rate * g)
    m, v = state
    m[:] = beta_1 * m + (1 - beta_1) * g
    v[:] = beta_2 * v + (1 - beta_2) * g**2
    return w - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
