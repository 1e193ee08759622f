"""
L1 and L2: how weights shrink
=============================

An L2 penalty shrinks weights in proportion, L1 all by the same amount, until they are exactly 0. In a linear model this
gives the familiar paths of ridge regression and of the lasso. In a network, L1 leaves a part of the weights, and often
loses little by that.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from fastbp import LBFGS, SGD, Dense, Network

# %%
# A linear unit on ten standardised columns: each curve is a weight. `LBFGS` reaches zeros of L1 exactly.

X, y = load_diabetes(return_X_y=True)
X, y = X / X.std(axis=0), (y - y.mean()) / y.std()
strengths = np.logspace(-4, 1, 30)
paths = {"l2": [], "l1": []}
for penalty, path in paths.items():
    for strength in strengths:
        net = Network([Dense(1)], n_inputs=10, initializer="zeros", **{penalty: strength})
        net.fit(X, y, optimizer=LBFGS(gtol=1e-8, ftol=0), epochs=500)
        path.append(net.weights[0].ravel().copy())

# %%
# A network of 64 hidden units on digits, with penalties from weak to strong. Among the rules for mini-batches, those
# with ``proximal=True`` reach zeros exactly.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X / 16).astype(np.float32), y, random_state=0, stratify=y)
shares, accuracies = [], []
for strength in np.logspace(-5.5, -2, 12):
    net = Network(
        [Dense(64, "relu"), Dense(10)], n_inputs=64, loss="softmax_cross_entropy", l1=strength, dtype="float32",
        random_state=0,
    )  # fmt: skip
    net.fit(X_train, y_train, optimizer=SGD(0.1, proximal=True), epochs=60)
    shares.append(np.mean([(weights == 0).mean() for weights in net.weights]))
    accuracies.append(np.mean(net.predict(X_test).argmax(axis=1) == y_test))

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6))
for axis, (penalty, path) in zip((left, middle), paths.items(), strict=True):
    axis.semilogx(strengths, path, linewidth=1.2)
    axis.set(title=f"linear model, {penalty}", xlabel=f"strength of {penalty}", ylabel="weight")
right.plot(np.multiply(shares, 100), np.multiply(accuracies, 100), "o-")
right.set(title="network on digits, l1", xlabel="weights that are 0, in %", ylabel="test accuracy, in %")
plt.show()
