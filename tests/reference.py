"""Plain NumPy forward and backward passes and updates: the specification that the compiled core is tested against."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit, log_softmax, softmax, xlogy
from scipy.stats import norm

from fastbp.layers import unit_of
from fastbp.losses import kernel_of

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
    "softmax": lambda z, p: softmax(z, axis=1),
}
# f'(z) of units that are functions of one z, where possible in terms of a = f(z)
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
    "cross_entropy": expit,
    "softmax_cross_entropy": lambda z: softmax(z, axis=1),
    "poisson": np.exp,
    "perceptron": lambda z: np.heaviside(z, 0),
}


def one_hot(labels, k):
    return np.eye(k)[labels]


def smoothed(y, s):
    return (1 - s) * y + s * y.mean(axis=1, keepdims=True)


def fix_last(z, fixed):
    z = z.copy()
    if fixed:
        z[:, -1] = 0
    return z


# Loss of each output, from the last layer's output z (n, k) and targets y, with settings (kernel, parameter, levels,
# fixed_logit)
LOSSES = {
    "squared_error": lambda z, y, s: 0.5 * (y - z) ** 2,
    "absolute_error": lambda z, y, s: abs(y - z),
    "lp": lambda z, y, s: abs(y - z) ** s[1] / s[1],
    "huber": lambda z, y, s: np.where(abs(y - z) <= s[1], (y - z) ** 2 / 2, s[1] * (abs(y - z) - s[1] / 2)),
    "quantile": lambda z, y, s: sum(
        np.maximum(q * (y - a), (1 - q) * (a - y)) for q, a in zip(s[2], np.hsplit(z, len(s[2])), strict=True)
    ),
    "gaussian": lambda z, y, s: -norm.logpdf(y, z[:, : y.shape[1]], np.exp(z[:, y.shape[1] :] / 2)),
    "cross_entropy": lambda z, y, s: np.logaddexp(0, z) - y * z,
    "softmax_cross_entropy": lambda z, y, s: -smoothed(y, s[1]) * log_softmax(fix_last(z, s[3]), axis=1),
    "poisson": lambda z, y, s: np.exp(z) - y * z + xlogy(y, y) - y,
    "perceptron": lambda z, y, s: np.maximum(0, (1 - 2 * y) * z),
}
# and their derivatives by z
DELTAS = {
    "squared_error": lambda z, y, s: z - y,
    "absolute_error": lambda z, y, s: np.sign(z - y),
    "lp": lambda z, y, s: np.sign(z - y) * abs(z - y) ** (s[1] - 1),
    "huber": lambda z, y, s: np.clip(z - y, -s[1], s[1]),
    "quantile": lambda z, y, s: np.hstack([
        np.where(a > y, 1 - q, np.where(a < y, -q, 0)) for q, a in zip(s[2], np.hsplit(z, len(s[2])), strict=True)
    ]),
    "gaussian": lambda z, y, s: np.hstack([
        (z[:, : y.shape[1]] - y) / np.exp(z[:, y.shape[1] :]),
        (1 - (z[:, : y.shape[1]] - y) ** 2 / np.exp(z[:, y.shape[1] :])) / 2,
    ]),
    "cross_entropy": lambda z, y, s: expit(z) - y,
    "softmax_cross_entropy": lambda z, y, s: fix_last(
        softmax(fix_last(z, s[3]), axis=1) * y.sum(axis=1, keepdims=True) - smoothed(y, s[1]), s[3]
    ),
    "poisson": lambda z, y, s: np.exp(z) - y,
    "perceptron": lambda z, y, s: np.heaviside(z, 0) - y,
}  # fmt: skip


def losses(loss, z, y):
    """Loss of each sample."""
    settings = kernel_of(loss)
    return LOSSES[settings[0]](z, y, settings).sum(axis=1)


def deltas(loss, z, y):
    """dC/dz of each sample."""
    settings = kernel_of(loss)
    return DELTAS[settings[0]](z, y, settings)


def outputs(loss, z):
    """Activations of the output unit that the loss brings along."""
    name, _, _, fixed = kernel_of(loss)
    return OUTPUT_UNITS.get(name, lambda z: z)(fix_last(z, fixed))


def forward(X, weights, biases, activations):
    """Activations of all layers, X first, and all z."""
    layers, zs = [X], []
    for W, b, activation in zip(weights, biases, activations, strict=True):
        name, p = unit_of(activation)
        if name == "rbf":
            zs.append(-np.exp(b) * np.array([((h[:, None] - W) ** 2).sum(axis=0) for h in layers[-1]]))
            layers.append(np.exp(zs[-1]))
        else:
            zs.append(layers[-1] @ W + b)
            layers.append(ACTIVATIONS[name](zs[-1], p))
    return layers, zs


def times_slope(z, a, activation, e):
    """dC/dz of a layer from e = dC/da."""
    name, p = unit_of(activation)
    if name == "rbf":
        return e * a
    if name == "softmax":
        return np.stack([(np.diag(row) - np.outer(row, row)) @ e_row for row, e_row in zip(a, e, strict=True)])
    return e * DERIVATIVES[name](z, a, p)


def backward(layers, zs, weights, biases, activations, delta):
    """The four equations: gradients of W and b from the last layer's delta = dC/dz, and dC/dX."""
    gradients = []
    for layer in range(len(weights) - 1, -1, -1):
        if activations[layer] == "rbf":
            W_gradient, H_gradient = np.zeros_like(weights[layer]), []
            for h, s in zip(layers[layer], 2 * np.exp(biases[layer]) * delta, strict=True):
                part = s * (h[:, None] - weights[layer])
                W_gradient += part
                H_gradient.append(-part.sum(axis=1))
            gradients.append((W_gradient, (delta * zs[layer]).sum(axis=0)))
            delta = np.array(H_gradient)
        else:
            gradients.append((layers[layer].T @ delta, delta.sum(axis=0)))
            delta = delta @ weights[layer].T
        if layer:
            delta = times_slope(zs[layer - 1], layers[layer], activations[layer - 1], delta)
    return gradients[::-1], delta


def value_and_gradient(X, y, weights, biases, activations, loss, sample_weight=None):
    """Weighted mean loss and its gradient, flat: W then b, layer by layer."""
    s = np.ones(len(X)) if sample_weight is None else sample_weight
    layers, zs = forward(X, weights, biases, activations)
    z = layers[-1]
    value = np.average(losses(loss, z, y), weights=s)
    delta = deltas(loss, z, y) * (s / s.sum())[:, None]
    delta = times_slope(zs[-1], z, activations[-1], delta)
    gradients, _ = backward(layers, zs, weights, biases, activations, delta)
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
