"""Plain NumPy forward and backward passes and updates: the specification that the compiled core is tested against."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
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


def threefry(key, x0, x1, rounds=13):
    """Threefry-2x32 of the counters (x0, x1) with a key of two words, as src_c/kernels.c has it."""
    x0, x1 = np.broadcast_arrays(np.asarray(x0, np.uint32), np.asarray(x1, np.uint32))
    k0, k1 = (np.asarray(k, np.uint32) for k in key)
    schedule = [k0, k1, np.uint32(0x1BD11BDA) ^ k0 ^ k1]
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for i in range(rounds):
        r = np.uint32([13, 15, 26, 6, 17, 29, 16, 24][i % 8])
        x0 = x0 + x1
        x1 = ((x1 << r) | (x1 >> (np.uint32(32) - r))) ^ x0
        if i % 4 == 3:
            j = i // 4 + 1
            x0, x1 = x0 + schedule[j % 3], x1 + schedule[(j + 1) % 3] + np.uint32(j)
    return x0, x1


def random_words(seed, step, rows, stream, n):
    """The first n words of these rows (an array) of a step's batch and a stream: (rows, n) of uint32."""
    key = threefry(seed, np.uint32(step), np.asarray(rows, np.uint32)[:, None])
    pair = np.arange(-(-n // 32) * 16, dtype=np.uint32)
    words = np.stack(threefry(key, pair, np.uint32(stream)))  # (2, rows, pairs)
    m, blocks = len(key[0]), len(pair) // 16
    return words.reshape(2, m, blocks, 16).transpose(1, 2, 0, 3).reshape(m, 32 * blocks)[:, :n]


def normal_numbers(seed, step, rows, n):
    """Input noise of standard deviation 1: (rows, n)."""
    blocks = -(-n // 32)
    words = random_words(seed, step, rows, 2**32 - 1, 32 * blocks).reshape(len(rows), blocks, 2, 16)
    radius = np.sqrt(-2 * np.log((words[:, :, 0] >> np.uint32(1)) * 2.0**-31 + 2.0**-32))
    word = words[:, :, 1]
    angle = ((word >> np.uint32(2)) * 2.0**-30 - 0.5) * np.pi / 2 + (word & np.uint32(1)) * np.pi / 2
    angle += (word >> np.uint32(1) & np.uint32(1)) * np.pi
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(len(rows), -1)[:, :n]


def distorted(image, s, seed, step, row):
    """An image (height, width) as fastbp.ImageAugmentation `s` distorts it."""
    height, width = image.shape
    n = -(-image.size // 32) * 32
    words = random_words(seed, step, [row], 2**32 - 2, 32 + 2 * n)[0].astype(np.int32) * 2.0**-31
    angle, size, k = np.radians(s.rotation) * words[2], 1 + s.scale * words[3], s.shear * words[4]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.array([height - 1, width - 1])[:, None, None] / 2
    p = np.indices(image.shape) - center
    at = np.tensordot(rotation @ [[1, k], [0, 1]] / size, p, 1) + center + s.shift * words[:2, None, None]
    if s.elastic_alpha:
        for axis in range(2):
            u = words[32 + axis * n :][: image.size].reshape(image.shape)
            at[axis] += s.elastic_alpha * gaussian_filter(u, s.elastic_sigma, mode="constant", truncate=3)
    return map_coordinates(image, at, order=1, mode="grid-constant")


def dropout_mask(seed, step, rows, stream, n, rate):
    """Factors of inverted dropout, 0 or 1 / (1 - rate): (rows, n)."""
    return (random_words(seed, step, rows, stream, n) >= int(rate * 2**32)) / (1 - rate)
