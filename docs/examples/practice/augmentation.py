"""
Augmentation of images
======================

An image that is shifted, turned or bent a little shows the same digit. `ImageAugmentation` distorts each image anew
every time it is trained on, so that the network never sees the same one twice. The fewer images there are, the more it
helps.

How much is too much depends on the size of the images. An elastic distortion that is usual for digits of 28 x 28 pixels
makes those of 8 x 8 unreadable; `ImageAugmentation.resized` converts it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastbp import SGD, Dense, ImageAugmentation, Network

X, y = load_digits(return_X_y=True)
X_pool, X_test, y_pool, y_test = train_test_split(
    (X / 16).astype(np.float32), y, test_size=0.4, random_state=0, stratify=y
)
usual = ImageAugmentation((28, 28), rotation=10, elastic_alpha=34)
augmentations = {
    "as they are": None,
    "resized to 8 x 8": usual.resized((8, 8)),
    "as for 28 x 28": usual.set_params(image_shape=(8, 8)),
}

# %%
# The same network with each of them, for growing numbers of images, with the same number of steps.


def accuracy(n, seed, augmentation):
    net = Network(
        [Dense(128, "relu"), Dense(10)], n_inputs=64, loss="softmax_cross_entropy", dtype="float32", random_state=seed
    )
    net.fit(
        X_pool[:n], y_pool[:n], optimizer=SGD(0.1, momentum=0.9), epochs=40_000 // n, augmentation=augmentation
    )
    return 100 * np.mean(net.predict(X_test).argmax(axis=1) == y_test)


sizes = (50, 100, 200, 400, 800)
scores = {
    name: np.array([[accuracy(n, seed, augmentation) for seed in range(3)] for n in sizes])
    for name, augmentation in augmentations.items()
}

# %%
# `ImageAugmentation.apply` shows what the network sees.

figure = plt.figure(figsize=(8, 6))
grid = figure.add_gridspec(4, 1, height_ratios=[1, 1, 1, 4])
images = X_pool[:14]
for row, (name, augmentation) in enumerate(augmentations.items()):
    shown = images if augmentation is None else augmentation.apply(images, random_state=0)
    axis = figure.add_subplot(grid[row])
    axis.imshow(np.hstack(shown.reshape(-1, 8, 8)), cmap="gray_r", vmin=0, vmax=1)
    axis.set_yticks([3.5], [name])
    axis.set_xticks([])
    axis.grid(False)
axis = figure.add_subplot(grid[3])
for name, values in scores.items():
    axis.semilogx(sizes, values.mean(axis=1), "o-", label=name)
    axis.fill_between(sizes, values.min(axis=1), values.max(axis=1), alpha=0.2)
axis.set(xlabel="training images", ylabel="test accuracy, in %", xticks=sizes, xticklabels=sizes)
axis.minorticks_off()
axis.legend()
plt.show()
