"""
XOR: what a hidden layer is for
===============================

No straight line separates the two classes of XOR, so that a linear model can only answer 1/2 everywhere. Two hidden
ReLU units are enough to solve it, with weights that can be written down. Training finds such weights by itself, more
reliably with more units than are needed.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import Adam, Dense, Network, Newton

X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([0.0, 1, 1, 0])

# %%
# A linear unit: Newton's method finds the best one in a single step. Its weights are 0 and its bias is 1/2.

linear = Network([Dense(1)], n_inputs=2, random_state=0)
linear.fit(X, y, optimizer=Newton(damping=0), epochs=2)
print(linear.weights[0].ravel().round(6), linear.biases[0].round(6))

# %%
# Two ReLU units with weights set by hand: one counts the ones, the other is above 0 only if there are two of them.

by_hand = Network([Dense(2, "relu"), Dense(1)], n_inputs=2)
by_hand.weights[0][:], by_hand.biases[0][:] = [[1, 1], [1, 1]], [0, -1]
by_hand.weights[1][:], by_hand.biases[1][:] = [[1], [-2]], 0
print(by_hand.predict(X).ravel())

# %%
# Sixteen units, trained from random weights.

trained = Network([Dense(16, "relu"), Dense(1)], n_inputs=2, random_state=0)
history = trained.fit(X, y, optimizer=Adam(0.02), epochs=1000, batch_size=4)
print(trained.predict(X).ravel().round(3), f"after a final loss of {history.loss[-1]:.1e}")

# %%
# What the three say between and around the four points:

grid = np.linspace(-0.5, 1.5, 101)
points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
titles = ("a linear unit", "two ReLU units, by hand", "sixteen ReLU units, trained")
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), sharey=True)
for axis, title, net in zip(axes, titles, (linear, by_hand, trained), strict=True):
    image = axis.contourf(
        grid, grid, net.predict(points).reshape(101, 101), levels=np.linspace(-1, 2, 13), cmap="RdBu_r", extend="both"
    )
    axis.scatter(*X.T, c=y, cmap="gray", edgecolors="k", s=60, zorder=2)
    axis.set(title=title, aspect="equal", xticks=[0, 1], yticks=[0, 1])
    axis.grid(False)
figure.colorbar(image, ax=axes, label="output", ticks=[-1, 0, 1, 2])
plt.show()
