"""Plain NumPy forward and backward passes and updates: the specification that the compiled core is tested against."""

import numpy as np
from scipy.special import expit, log_softmax, softmax, xlogy

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}
# f'(z) in terms of a = f(z)
DERIVATIVES = {
    "identity": np.ones_like,
    "logistic": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a**2,
    "relu": lambda a: (a != 0).astype(a.dtype),
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
    """Activations of all layers, X first."""
    layers = [X]
    for W, b, activation in zip(weights, biases, activations, strict=True):
        layers.append(ACTIVATIONS[activation](layers[-1] @ W + b))
    return layers


def backward(layers, weights, activations, delta):
    """The four equations: gradients of W and b from the last layer's delta = dC/dz, and dC/dX."""
    gradients = []
    for layer in range(len(weights) - 1, -1, -1):
        gradients.append((layers[layer].T @ delta, delta.sum(axis=0)))
        delta = delta @ weights[layer].T
        if layer:
            delta = delta * DERIVATIVES[activations[layer - 1]](layers[layer])
    return gradients[::-1], delta


def value_and_gradient(X, y, weights, biases, activations, loss, sample_weight=None):
    """Weighted mean loss and its gradient, flat: W then b, layer by layer."""
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    layers = forward(X, weights, biases, activations)
    z = layers[-1]
    value = np.average(losses(loss, z, y), weights=s)
    mass = y.sum(axis=1, keepdims=True) if loss == "softmax_cross_entropy" else 1
    delta = (OUTPUT_UNITS[loss](z) * mass - y) * (s / s.sum())[:, None]
    delta = delta * DERIVATIVES[activations[-1]](z)
    gradients, _ = backward(layers, weights, activations, delta)
    return value, np.concatenate([np.concatenate([gw.ravel(), gb]) for gw, gb in gradients])


def update(settings, w, g, state, t, rate, l1=0.0, l2=0.0, weights=1.0):
    """New parameters from the gradient without penalties, by an optimizer's `settings`.

    `state` is a list of arrays that changes in place; t counts from 1; `weights` is 0 for parameters without decay.
    """
    rule, momentum, epsilon = settings["rule"], settings["momentum"], settings["epsilon"]
    beta_1, beta_2 = settings["beta_1"], settings["beta_2"]
    g = g + l2 * w + (0 if settings["proximal"] else l1 * np.sign(w))
    if settings["clip_value"]:
        g = np.clip(g, -settings["clip_value"], settings["clip_value"])
    if settings["clip_norm"]:
        g = g * min(1, settings["clip_norm"] / np.linalg.norm(g))
    new = w - rate * settings["weight_decay"] * weights * w
    root, velocity = 1.0, None
    if rule == "gradient_descent":
        new = new - rate * g
    elif rule in ("momentum", "nesterov"):
        share = 1 - settings["dampening"] if t > 1 else 1
        velocity = state[0]
        velocity[:] = momentum * velocity - rate * share * g
        new = new + (velocity if rule == "momentum" else momentum * velocity - rate * g)
        rate = rate * share
    elif rule in ("adam", "adamw"):
        m, r = state
        m[:] = beta_1 * m + (1 - beta_1) * g
        r[:] = beta_2 * r + (1 - beta_2) * g**2
        correction = np.sqrt(1 - beta_2**t)
        root = np.sqrt(r) / correction + (epsilon if rule == "adamw" else epsilon / correction)
        new = new - rate * m / (1 - beta_1**t) / root
    elif rule == "adagrad":
        state[0][:] += g**2
        root = np.sqrt(state[0]) + epsilon
        new = new - rate * g / root
    else:
        state[0][:] = beta_2 * state[0] + (1 - beta_2) * g**2
        variance = state[0]
        if rule == "rmsprop_centered":
            state[2][:] = beta_2 * state[2] + (1 - beta_2) * g
            variance = np.maximum(variance - state[2] ** 2, 0)
        root = np.sqrt(variance) + epsilon
        if rule == "rmsprop":
            new = new - rate * g / root
        else:
            velocity = state[1]
            velocity[:] = momentum * velocity - rate * g / root
            new = new + velocity
    if settings["proximal"]:
        new = np.sign(new) * np.maximum(np.abs(new) - rate * l1 / root, 0)
        if velocity is not None:
            velocity[:] = np.where(np.asarray(l1) > 0, new - w, velocity)
    return new
