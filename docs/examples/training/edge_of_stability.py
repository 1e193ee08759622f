"""
Learning rates, momentum, and the edge of stability
===================================================

On a quadratic cost gradient descent converges if the learning rate is below 2 divided by the largest eigenvalue of the
Hessian. In a neural network this eigenvalue, the sharpness, changes while it learns, and something remarkable
happens: it grows until it reaches ``2 / rate``, and stays about there while the loss goes on falling, no longer at
every step. With momentum ``m`` the bound is ``2 (1 + m) / rate``, and training ends at that edge.

This was found by J. Cohen and others, "Gradient descent on neural networks typically occurs at the edge of stability",
ICLR 2021.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from fastbp import SGD, Dense, Network

X = np.linspace(-1, 1, 40)[:, np.newaxis]
y = np.polynomial.chebyshev.chebval(X, [0, 0, 0, 0, 1])  # a polynomial with four ups and downs


def sharpness(net):
    """The largest eigenvalue of the Hessian, from products with vectors alone."""
    n = net.parameters.size
    product = LinearOperator((n, n), matvec=lambda v: net.hessian_vector_product(X, y, v.ravel()), dtype=np.float64)
    start = np.random.default_rng(0).normal(size=n)
    return eigsh(product, k=1, which="LA", tol=1e-2, v0=start, return_eigenvectors=False).item()


# %%
# Gradient descent on all rows, with three learning rates, and one of them with momentum.

rules = {
    "rate 0.08": SGD(0.08),
    "rate 0.12": SGD(0.12),
    "rate 0.2": SGD(0.2),
    "rate 0.08, momentum 0.3": SGD(0.08, momentum=0.3),
}
losses, curves = {}, {}
for name, rule in rules.items():
    net = Network([Dense(24, "tanh"), Dense(24, "tanh"), Dense(1)], n_inputs=1, random_state=0)
    values = []

    def watch(epoch, history, net=net, values=values):
        if epoch % 80 == 0:
            values.append((epoch, sharpness(net)))

    losses[name] = net.fit(X, y, optimizer=rule, epochs=4000, batch_size=len(X), callback=watch).loss
    curves[name] = np.transpose(values)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for color, (name, rule) in enumerate(rules.items()):
    left.semilogy(losses[name], color=f"C{color}", linewidth=1, label=name)
    right.plot(*curves[name], color=f"C{color}", label=name)
    right.axhline(2 * (1 + rule.momentum) / rule.learning_rate, color=f"C{color}", linestyle="--", linewidth=1)
left.set(title="loss", xlabel="step")
right.set(title="sharpness, and the edges (dashed)", xlabel="step", ylabel="largest eigenvalue of the Hessian")
right.legend()
plt.show()
