"""
Dropout and ensembles
=====================

Networks that start from different weights err in different places, so that the mean of their predictions is better
than most of them. Dropout trains an ensemble of subnetworks that share their weights, in a single network: in each
step a random half of the units is left out, and prediction takes all of them.

Both help most where a single network learns what it should not: here a fifth of the training labels are wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastbp import Adam, Dense, Network

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (X / 16).astype(np.float32), y, train_size=400, random_state=0, stratify=y
)
rng = np.random.default_rng(0)
y_train = np.where(rng.random(400) < 0.2, rng.integers(0, 10, 400), y_train)
MEMBERS = 20


def probabilities(seed, dropout):
    net = Network(
        [Dense(64, "relu", dropout=dropout), Dense(10)], n_inputs=64, loss="softmax_cross_entropy", dtype="float32",
        random_state=seed,
    )  # fmt: skip
    net.fit(X_train, y_train, optimizer=Adam(0.005), epochs=80, batch_size=20)
    return net.predict(X_test)


def accuracy(p):
    return 100 * np.mean(p.argmax(axis=-1) == y_test)


# %%
# Twenty networks without dropout and twenty with it; the ensemble of ``k`` networks has the mean of their
# probabilities.

figure, axis = plt.subplots()
for color, (name, dropout) in enumerate({"without dropout": 0.0, "with dropout of a half": 0.5}.items()):
    p = np.array([probabilities(seed, dropout) for seed in range(MEMBERS)])
    single = [accuracy(member) for member in p]
    ensemble = [accuracy(p[:k].mean(axis=0)) for k in range(1, MEMBERS + 1)]
    axis.scatter(np.full(MEMBERS, 1 + 0.2 * color), single, color=f"C{color}", alpha=0.4, s=18)
    axis.plot(range(1, MEMBERS + 1), ensemble, "o-", color=f"C{color}", markersize=4, label=name)
    print(f"{name}: single networks {np.mean(single):.1f} %, all {MEMBERS} together {ensemble[-1]:.1f} %")
axis.set(xlabel="networks in the ensemble (dots at 1: each by itself)", ylabel="test accuracy, in %")
axis.legend(loc="lower right")
plt.show()
