"""
Looking at a network
====================

What a network consists of, how its training went and what its first layer has learnt, each in a line.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastbp import Activation, Adam, BatchNorm, Dense, Network, Residual
from fastbp.display import ArchitectureDisplay, WeightsDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split((X / 16).astype(np.float32), y, random_state=0, stratify=y)
net = Network(
    [Dense(24, "relu", l2=0.03), Residual([Dense(24), BatchNorm(), Activation("relu"), Dense(24)]), Dense(10)],
    n_inputs=64, loss="softmax_cross_entropy", dtype="float32", random_state=0,
)  # fmt: skip

# %%
# A table of the layers, with shapes, numbers of parameters and bytes. In a notebook ``net`` alone shows it.

net.summary()

# %%
# A drawing of the layers.

ArchitectureDisplay.from_network(net)

# %%
# Training returns the losses of the epochs, and `History.plot` draws them. `WeightsDisplay` shows with which weights
# each unit of the first layer takes the pixels of the images: some look for strokes; those that the penalty has
# switched off are blank.

history = net.fit(
    X_train, y_train, optimizer=Adam(0.003), epochs=40, validation_data=(X_test, y_test), batch_size=64
)
print(history)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=[1, 1.3])
history.plot(ax=left)
left.set_yscale("log")
WeightsDisplay.from_network(net, image_shape=(8, 8), ax=right)
right.grid(False)
plt.show()
