"""
A custom loss: a differential equation
======================================

A loss that the library does not have needs its derivative with respect to the network's outputs, and nothing else:
`Network.forward` gives the outputs, `Network.backward` turns that derivative into the gradient with respect to all
parameters. Here the loss is how badly a network satisfies the equation of a pendulum, ``u'' = -sin u``, which swings
from an angle of 2.5 at rest. There are no data.
"""

import matplotlib.pyplot as plt
import numpy as np
from numpy.polynomial import chebyshev
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from fastbp import Dense, Network

T, ANGLE = 6.0, 2.5
n = 40

# %%
# Derivatives with respect to time are those of the polynomial through the outputs at ``n`` points, which makes them a
# product with a matrix: ``u'' = D u``.

s = -np.cos(np.pi * np.arange(n) / (n - 1))  # Chebyshev points, from -1 to 1
second = np.stack([chebyshev.chebval(s, chebyshev.chebder(c, 2)) for c in np.eye(n)], axis=1)
D = second @ np.linalg.inv(chebyshev.chebvander(s, n - 1)) * (2 / T) ** 2
t = (s + 1) * T / 2
X = 3 * s[:, np.newaxis]

# %%
# ``u(t) = 2.5 + f(t) N(t)`` with ``f(t) = t^2 / (1 + t^2)`` starts right, whatever the network ``N`` is. With the
# residual ``r = D u + sin u`` the loss is the mean of ``r^2 / 2``. By the chain rule its derivative with respect to
# ``u`` is ``(D^T r + r cos u) / n``, and that with respect to ``N`` has another factor ``f``.

net = Network([Dense(30, "tanh"), Dense(30, "tanh"), Dense(1)], n_inputs=1, loss=None, random_state=0)
f, losses = t**2 / (1 + t**2), []


def solution():
    return ANGLE + f * net.forward(X)[:, 0]


def loss_and_gradient(parameters):
    net.parameters[:] = parameters
    u = solution()
    r = D @ u + np.sin(u)
    gradient, _ = net.backward((f * (D.T @ r + r * np.cos(u)) / n)[:, np.newaxis])
    losses.append(np.mean(r**2) / 2)
    return losses[-1], gradient


# %%
# The parameters are one vector, so that any optimizer can have them; here it is one of scipy's. For `fastbp.Adam` and
# the like there is `Network.step`.

options = {"maxfun": 2500, "ftol": 0, "gtol": 1e-7}
minimize(loss_and_gradient, net.parameters.copy(), jac=True, method="L-BFGS-B", options=options)
u = solution()
exact = solve_ivp(lambda t, v: [v[1], -np.sin(v[0])], (0, T), [ANGLE, 0], t_eval=t, rtol=1e-10, atol=1e-10).y[0]
print(f"loss {losses[-1]:.1e}, largest error of the angle {np.abs(u - exact).max():.1e}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
left.semilogy(losses, linewidth=1)
left.set(title="loss", xlabel="evaluation")
right.plot(t, exact, "k", alpha=0.3, linewidth=6, label="numerical integration")
right.plot(t, u, "C1", label="network")
right.set(title="angle of the pendulum", xlabel="time")
right.legend(loc="upper right")
plt.show()
