"""Plain NumPy updates and random numbers: the specification that the compiled core is tested against.

The passes have theirs in fastbp/graph/reference.py.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates


def one_hot(labels, k):
    return np.eye(k)[labels]


def update(settings, w, g, state, t, rate, l1=0.0, l2=0.0, weights=1.0, factors=1.0):
    """New parameters from the gradient without penalties, by an optimizer's `settings`.

    `state` is a list of arrays that changes in place; t counts from 1; `weights` is 0 for parameters without decay;
    `factors` of the learning rate are those of `per_role`.
    """
    rate, kept, before = rate * factors, np.asarray(factors) == 0, [s.copy() for s in state]
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
    for s, old in zip(state, before, strict=True):
        s[:] = np.where(kept, old, s)
    return np.where(kept, w, new)


def average(a, w, share):
    """The new average of parameters that have become w, which has this share in it."""
    return a + share * (w - a)


def average_share(decay, n):
    """That share after the n-th step, from 1, of an exponential moving average."""
    return 1 - min(decay, (1 + n) / (10 + n))


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
