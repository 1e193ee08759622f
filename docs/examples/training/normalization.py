"""
Normalisation: scales and learning rates that work
==================================================

`BatchNorm` gives each unit's weighted inputs mean 0 and variance 1 over the rows of a batch, `LayerNorm` those of each
row over its units. What follows no longer sees how large the weights are: training does not depend on a good start any
more, and bears learning rates at which a plain network diverges. The place of the layer is between the weights and the
activation.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastbp import SGD, Activation, BatchNorm, Dense, LayerNorm, Network, Standardize, VarianceScaling

X, y = load_digits(return_X_y=True)
X, y = X[:1792].astype(np.float32), y[:1792]  # whole batches of 64
DEPTH = 8


def hidden(normalisation):
    """Eight hidden layers, each with a normalisation or with none."""
    return [layer for _ in range(DEPTH) for layer in (Dense(64), *normalisation, Activation("relu"))]


# %%
# The inputs are standardised by the first layer in all cases. Where training fails, the loss stops being finite.


def final_loss(normalisation, rate, scale):
    net = Network(
        [Standardize(), *hidden(normalisation), Dense(10)], n_inputs=64, loss="softmax_cross_entropy",
        dtype="float32", initializer=VarianceScaling(scale), random_state=0,
    )  # fmt: skip
    try:
        return net.fit(X, y, optimizer=SGD(rate), epochs=10, batch_size=64).loss[-1]
    except FloatingPointError:
        return np.nan


kinds = {"none": (), "BatchNorm": (BatchNorm(),), "LayerNorm": (LayerNorm(),)}
scales, rates = np.logspace(-2, 2, 9), np.logspace(-3, 1, 9)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for name, normalisation in kinds.items():
    left.loglog(scales, [final_loss(normalisation, 0.05, scale) for scale in scales], "o-", label=name)
    right.loglog(rates, [final_loss(normalisation, rate, 2.0) for rate in rates], "o-", label=name)
for axis in (left, right):
    axis.axhline(np.log(10), color="gray", linestyle=":", label="guessing")
left.set(
    title=f"{DEPTH} hidden layers, learning rate 0.05", xlabel="variance of the initial weights times the fan-in",
    ylabel="training loss after ten epochs",
)  # fmt: skip
right.set(title="initial weights by He's rule", xlabel="learning rate")
left.legend(loc="lower left")
plt.show()
