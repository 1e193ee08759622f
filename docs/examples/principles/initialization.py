"""
Initial weights and the variance of signals
===========================================

If each layer multiplies the variance of what passes through it by ``c``, then ``L`` layers multiply it by ``c^L``:
signals, and on the way back gradients, vanish or explode. The usual rules choose the variance of the weights so that
``c`` is 1: ``1 / n_in`` for linear and tanh units (LeCun), ``2 / n_in`` for ReLU, of which half the inputs are cut off
(He), and ``2 / (n_in + n_out)`` between what forwards and backwards need (Glorot).
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import Dense, Network, VarianceScaling

DEPTH, WIDTH = 30, 200
rng = np.random.default_rng(0)
X, dz = rng.normal(size=(200, WIDTH)), rng.normal(size=(200, WIDTH)) / 200
rules = {
    "relu, he_normal": ("relu", "he_normal"),
    "relu, glorot_normal": ("relu", "glorot_normal"),
    "relu, variance 3 / n_in": ("relu", VarianceScaling(3.0)),
    "tanh, lecun_normal": ("tanh", "lecun_normal"),
    "tanh, variance 0.5 / n_in": ("tanh", VarianceScaling(0.5)),
}

# %%
# Forwards, the mean square of each layer's activations; backwards, that of the gradient with respect to each layer's
# weights, for random errors at the outputs.

forwards, backwards = {}, {}
for name, (activation, initializer) in rules.items():
    net = Network(
        [Dense(WIDTH, activation)] * DEPTH, n_inputs=WIDTH, loss=None, initializer=initializer, random_state=0
    )
    forwards[name] = [np.mean(layer.a**2) for layer in net.activations(X).values()]
    net.forward(X)
    gradient, _ = net.backward(dz)
    backwards[name] = [np.mean(layer.weights**2) for layer in net.unflatten(gradient).values()]

# %%
# Where the rule fits the unit, curves stay level. A factor of 2 that is missing makes a factor of a billion over thirty
# layers. tanh bounds what is too large; what is too small dies out with it, too.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for axis, title, series in zip(axes, ("activations", "gradients"), (forwards, backwards), strict=True):
    for name, values in series.items():
        axis.semilogy(range(1, DEPTH + 1), values, label=name)
    axis.set(title=f"mean square of {title}", xlabel="layer")
axes[0].legend(fontsize="small", loc="lower left")
plt.show()
