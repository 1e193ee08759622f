"""
Intervals: quantiles and a predicted variance
=============================================

A regressor that predicts the mean does not say how sure it is. Two losses change that. `Quantile` estimates as many
quantiles as are asked for, whatever the distribution. ``loss="gaussian"`` estimates a mean and a standard deviation.
Both learn where the noise is large; where it is skewed, only quantiles can follow.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import MLPRegressor, Quantile

rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, size=(5000, 1))
y = np.sin(2 * X[:, 0]) + (0.1 + 0.15 * (X[:, 0] + 3)) * rng.gumbel(size=5000)  # skewed, and wider to the right
X_test = rng.uniform(-3, 3, size=(5000, 1))
y_test = np.sin(2 * X_test[:, 0]) + (0.1 + 0.15 * (X_test[:, 0] + 3)) * rng.gumbel(size=5000)
settings = {"hidden_layer_sizes": (64, 64), "alpha": 0.1, "random_state": 0}

# %%
# Quantiles of 5, 50 and 95 %: predictions have a column for each.

reg = MLPRegressor(loss=Quantile([0.05, 0.5, 0.95]), **settings).fit(X, y)
low, _, high = reg.predict(X_test).T
quantile_shares = np.mean(y_test < low), np.mean(y_test > high)

# %%
# A normal distribution: 1.645 standard deviations on either side of the mean hold 90 %.

normal = MLPRegressor(loss="gaussian", **settings).fit(X, y)
mean, std = normal.predict(X_test, return_std=True)
gaussian_shares = np.mean(y_test < mean - 1.645 * std), np.mean(y_test > mean + 1.645 * std)

# %%
# Of the test data, 5 % should lie below the interval and 5 % above it.

grid = np.linspace(-3, 3, 200)[:, np.newaxis]
low, median, high = reg.predict(grid).T
mean, std = normal.predict(grid, return_std=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
left.plot(grid, median, "C1", label="median")
left.fill_between(grid[:, 0], low, high, color="C1", alpha=0.3, label="5 to 95 %")
left.set_title("quantiles: {:.1%} below, {:.1%} above".format(*quantile_shares))
right.plot(grid, mean, "C2", label="mean")
right.fill_between(grid[:, 0], mean - 1.645 * std, mean + 1.645 * std, color="C2", alpha=0.3, label="90 %")
right.set_title("normal distribution: {:.1%} below, {:.1%} above".format(*gaussian_shares))
for axis in (left, right):
    axis.scatter(X[:600], y[:600], s=4, color="k", alpha=0.4)
    axis.set_xlabel("x")
    axis.legend(loc="upper left")
plt.show()
