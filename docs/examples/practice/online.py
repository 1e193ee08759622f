"""
A stream learnt online
======================

Data that come one row at a time, from a source that changes: a model that was trained once gets worse, one that goes on
learning adapts. `Network.partial_fit` takes the rows as they come; with a single row a call takes about ten
microseconds. Each row is predicted first and learnt afterwards, so that every prediction is an honest test.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from fastbp import SGD, Dense, Network

rng = np.random.default_rng(0)
N = 20_000
X = rng.normal(size=(N, 2))
angle = np.clip((np.arange(N) - 5000) / 5000, 0, 2) * np.pi / 2  # a border that turns, from row 5,000 to row 15,000
direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
y = ((X * direction).sum(axis=1) + 0.5 * (X**2).sum(axis=1) > 0.8).astype(float)


def new_network():
    return Network([Dense(16, "tanh"), Dense(1)], n_inputs=2, loss="cross_entropy", random_state=0)


# %%
# One network learns from the first 5,000 rows only, the other one goes on.

online, rule = new_network(), SGD(0.05)
correct = np.empty(N, bool)
start = time.perf_counter()
for i in range(N):
    row, target = X[i : i + 1], y[i : i + 1]
    correct[i] = (online.predict(row).item() > 0.5) == target
    online.partial_fit(row, target, optimizer=rule, batch_size=1)
seconds = time.perf_counter() - start
print(f"{1e6 * seconds / N:.0f} microseconds for a row, predicted and learnt")

once = new_network()
for i in range(5000):
    once.partial_fit(X[i : i + 1], y[i : i + 1], optimizer=rule, batch_size=1)
frozen = (once.predict(X[5000:])[:, 0] > 0.5) == y[5000:]

# %%
# The accuracy over the last thousand rows.

window = np.ones(1000) / 1000
plt.plot(np.arange(1000, N + 1), 100 * np.convolve(correct, window, "valid"), label="goes on learning")
plt.plot(np.arange(6000, N + 1), 100 * np.convolve(frozen, window, "valid"), label="trained on the first 5,000 rows")
plt.axvspan(5000, 15_000, color="gray", alpha=0.15, label="the border turns")
plt.xlabel("row")
plt.ylabel("accuracy, in %")
plt.legend(loc="lower left")
plt.show()
