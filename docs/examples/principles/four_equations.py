"""
The four equations of backpropagation by hand
=============================================

Backpropagation is the chain rule, applied from the last layer to the first. With samples in rows, weighted inputs
``Z = H W + b`` and activations ``A = f(Z)``, it takes four equations:

1. the error of the output layer, ``D = (A - Y) * f'(Z)`` for the quadratic cost;
2. the error of the layer before, ``D W^T * f'(Z)``;
3. the derivatives with respect to the biases, the sums of the rows of ``D``;
4. the derivatives with respect to the weights, ``H^T D``.

Here they are in NumPy, beside what the library computes and beside finite differences.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastbp

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
net = fastbp.Network([fastbp.Dense(5, "tanh"), fastbp.Dense(2, "sigmoid")], n_inputs=3, random_state=0)

# %%
# Forwards, every layer keeps its activations. The derivative of tanh is ``1 - a^2``, that of the sigmoid ``a (1 - a)``.

(W1, W2), (b1, b2) = net.weights, net.biases
A1 = np.tanh(X @ W1 + b1)
A2 = 1 / (1 + np.exp(-(A1 @ W2 + b2)))
cost = ((A2 - Y) ** 2).sum() / 2 / len(X)

# %%
# Backwards, the four equations. The cost is the mean over samples, hence the division.

D2 = (A2 - Y) * A2 * (1 - A2) / len(X)  # (1)
D1 = D2 @ W2.T * (1 - A1**2)  # (2)
by_hand = np.concatenate([
    (X.T @ D1).ravel(), D1.sum(axis=0),  # (4) and (3)
    (A1.T @ D2).ravel(), D2.sum(axis=0),
])  # fmt: skip

library_cost, gradient = net.value_and_gradient(X, Y)
print(f"costs: {cost:.12f} by hand, {library_cost:.12f} from the library")
print(f"largest difference between the gradients: {np.abs(by_hand - gradient).max():.1e}")

# %%
# Finite differences need two evaluations of the cost for each parameter, and are never exact: with a large step the
# curvature is in the way, with a small one rounding is. Backpropagation costs about as much as two evaluations in all,
# and only rounds.


def central_difference(step):
    """The gradient from ``(C(w + h) - C(w - h)) / 2h``, one parameter at a time."""
    result = np.empty_like(net.parameters)
    for i, w in enumerate(net.parameters.copy()):
        costs = []
        for sign in (1, -1):
            net.parameters[i] = w + sign * step
            costs.append(net.value_and_gradient(X, Y)[0])
        net.parameters[i] = w
        result[i] = (costs[0] - costs[1]) / (2 * step)
    return result


steps = np.logspace(-12, 0, 40)
errors = [np.abs(central_difference(step) - gradient).max() for step in steps]

plt.loglog(steps, errors, label="finite differences")
plt.axhline(max(np.abs(by_hand - gradient).max(), 1e-18), color="C1", label="the four equations by hand")
plt.xlabel("step of the finite differences")
plt.ylabel("largest difference from the library")
plt.legend(loc="center left")
plt.show()
