"""
An autoencoder
==============

A network that has to reproduce its inputs through a narrow layer learns a code for them. With linear units that is
principal component analysis; with a few nonlinear layers, two numbers keep far more of an image.
`MLPRegressor.transform` gives the code, the output of a hidden layer.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from fastbp import Dense, MLPRegressor

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)

# %%
# The hidden layers of the regressor, with the code in the middle; it learns X from X. The code is layer 2.

auto = MLPRegressor(
    hidden_layers=[Dense(128, "tanh"), Dense(64, "tanh"), Dense(2), Dense(64, "tanh"), Dense(128, "tanh")],
    learning_rate_init=0.003, batch_size=64, max_iter=500, random_state=0,
)  # fmt: skip
auto.fit(X, X)
code, restored = auto.transform(X, layer=2), auto.predict(X)
pca = PCA(2).fit(X)
projected = pca.transform(X)
errors = {
    "PCA": np.mean((X - pca.inverse_transform(projected)) ** 2),
    "autoencoder": np.mean((X - restored) ** 2),
}
print({name: f"{error / X.var(axis=0).mean():.0%} of the variance is lost" for name, error in errors.items()})

# %%
# Both codes have two numbers for each image, shown here with the digit as the colour; below, some images, what PCA
# makes of them and what the autoencoder does.

figure = plt.figure(figsize=(8, 6.5))
grid = figure.add_gridspec(4, 2, height_ratios=[5, 1, 1, 1])
for column, (name, points) in enumerate({"PCA": projected, "autoencoder": code}.items()):
    axis = figure.add_subplot(grid[0, column])
    image = axis.scatter(*points.T, c=y, cmap="tab10", s=6, vmin=-0.5, vmax=9.5)
    axis.set(title=name, xticks=[], yticks=[])
figure.colorbar(image, ax=axis, ticks=range(10))
shown = slice(10, 26)
for row, (name, images) in enumerate(
    {"image": X, "PCA": pca.inverse_transform(projected), "autoencoder": restored}.items(), start=1
):
    axis = figure.add_subplot(grid[row, :])
    axis.imshow(np.hstack(images[shown].reshape(-1, 8, 8)), cmap="gray_r", vmin=0, vmax=1)
    axis.set_yticks([3.5], [name])
    axis.set_xticks([])
    axis.grid(False)
plt.show()
