"""
Early stopping beside L2
========================

To stop gradient descent after ``t`` steps of size ``e`` does almost the same as an L2 penalty of strength
``1 / (t e)``. Both follow the directions in which the cost is curved first, and leave out the flat ones, of which the
data say little. Here are both for a linear model, whose best weights, and their ways there, are known.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import SGD, Dense, Network, Newton

# %%
# Data with uncorrelated columns, whose Hessian ``X^T X / n`` is diagonal, with eigenvalues 1 and 0.1. The best weights
# are ``(1, 1)``.

rng = np.random.default_rng(0)
Q = rng.normal(size=(50, 3))
Q, _ = np.linalg.qr(Q - Q.mean(axis=0))
X = np.sqrt(50 * np.array([1, 0.1])) * Q[:, :2]
y = X @ [1, 1] + Q[:, 2]


def linear(**settings):
    return Network([Dense(1)], n_inputs=2, initializer="zeros", **settings)


# %%
# The way of gradient descent, and the weights for penalties from strong to weak.

RATE = 0.05
steps = np.unique(np.logspace(0, 3.5, 60).astype(int))
net, descent = linear(), []
net.fit(
    X, y, optimizer=SGD(RATE), epochs=int(steps[-1]), batch_size=len(X),
    callback=lambda *_: descent.append(net.weights[0].ravel().copy()),
)  # fmt: skip
descent = np.array(descent)[steps - 1]
penalised = []
for t in steps:
    net = linear(l2=1 / (t * RATE))
    net.fit(X, y, optimizer=Newton(damping=0), epochs=3)
    penalised.append(net.weights[0].ravel().copy())
penalised = np.array(penalised)

# %%
# Both start at 0 and end at the best weights, on nearly the same way. Along an eigenvector with eigenvalue ``h``,
# stopping reaches ``1 - (1 - e h)^t`` of the best weight, the penalty ``h / (h + 1 / (t e))``; for small steps these
# differ by a fifth at most.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
a, b = np.meshgrid(np.linspace(-0.2, 1.6, 80), np.linspace(-0.2, 1.6, 80))
left.contour(a, b, (a - 1) ** 2 + 0.1 * (b - 1) ** 2, levels=12, colors="gray", linewidths=0.7)
for name, path in (("stopped after t steps", descent), ("L2 of strength 1 / (t e)", penalised)):
    left.plot(*path.T, ".-", label=name)
left.plot(1, 1, "k*", markersize=12)
left.set(title="weights", xlabel="eigenvalue 1", ylabel="eigenvalue 0.1")
left.legend(loc="lower right")
for column, style in ((0, "-"), (1, "--")):
    for color, path in (("C0", descent), ("C1", penalised)):
        right.semilogx(steps, path[:, column], style, color=color)
right.set(title="share of the best weight (dashed: eigenvalue 0.1)", xlabel="t")
plt.show()
