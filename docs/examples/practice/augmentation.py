"""
Augmentation of images
======================

An image that is shifted or turned a little shows the same digit. `ImageAugmentation` distorts each image anew every
time it is trained on, so that the network never sees the same one twice. The fewer images there are, the more it helps.

Strengths are measured in pixels and degrees, and depend on the size of the images: these have 8 x 8 pixels only, of
which a shift by two would lose a quarter.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastbp import Adam, Dense, ImageAugmentation, Network

X, y = load_digits(return_X_y=True)
X_pool, X_test, y_pool, y_test = train_test_split(
    (X / 16).astype(np.float32), y, test_size=0.4, random_state=0, stratify=y
)
gentle = ImageAugmentation((8, 8), shift=0.7, rotation=12, scale=0.1, shear=0.1)

# %%
# The same network with and without, for growing numbers of images, each with the same number of steps.


def accuracy(n, seed, augmentation):
    net = Network(
        [Dense(128, "relu"), Dense(10)], n_inputs=64, loss="softmax_cross_entropy", dtype="float32", random_state=seed
    )
    net.fit(
        X_pool[:n], y_pool[:n], optimizer=Adam(0.003), epochs=60_000 // n, batch_size=32, augmentation=augmentation
    )
    return 100 * np.mean(net.predict(X_test).argmax(axis=1) == y_test)


sizes = (50, 100, 200, 400, 800)
figure, axis = plt.subplots()
for name, augmentation in {"as they are": None, "distorted anew each time": gentle}.items():
    scores = np.array([[accuracy(n, seed, augmentation) for seed in range(3)] for n in sizes])
    axis.semilogx(sizes, scores.mean(axis=1), "o-", label=name)
    axis.fill_between(sizes, scores.min(axis=1), scores.max(axis=1), alpha=0.2)
axis.set(xlabel="training images", ylabel="test accuracy, in %", xticks=sizes, xticklabels=sizes)
axis.minorticks_off()
axis.legend()
plt.show()
