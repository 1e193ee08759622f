"""
Columns of numbers as units
===========================

Targets in tables often change in steps or oscillate along one column. Networks learn smooth functions first, and take
long for what changes fast. It helps to give each column several units of its own before the first dense layer:
`Periodic`, sines and cosines of frequencies that are learnt, or `PiecewiseLinear`, bins at quantiles of the training
data.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import Adam, Dense, Network, Periodic, PiecewiseLinear

rng = np.random.default_rng(0)


def target(x):
    """Steps on the left, a wave on the right."""
    return np.where(x < 0, np.floor(4 * x) % 2, np.sin(16 * x))


x, x_test = np.sort(rng.uniform(-2, 2, size=(2, 1500)), axis=1)
y = target(x) + 0.2 * rng.normal(size=1500)
first_layers = {
    "Dense alone": [],
    "Periodic": [Periodic(24, 1.0, dim=24)],
    "PiecewiseLinear": [PiecewiseLinear(48)],
}

# %%
# The same layers behind each of them, and the same training.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
for axis, (name, first) in zip(axes, first_layers.items(), strict=True):
    net = Network([*first, Dense(64, "relu"), Dense(64, "relu"), Dense(1)], n_inputs=1, random_state=0)
    net.fit(x[:, np.newaxis], y, optimizer=Adam(0.003), epochs=60)
    predicted = net.predict(x_test[:, np.newaxis])[:, 0]
    axis.plot(x, y, "k.", markersize=2, alpha=0.2)
    axis.plot(x_test, predicted, "C1")
    error = np.sqrt(np.mean((predicted - target(x_test)) ** 2))
    axis.set(title=f"{name}: error {error:.2f}", xlabel="x")
plt.show()
