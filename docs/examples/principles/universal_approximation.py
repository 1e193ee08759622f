"""
Approximation by width, by depth, and by fixed features
=======================================================

One hidden layer approximates any continuous function on a bounded set, if it is wide enough. That says nothing about
how many units it takes. Three experiments: how the fit improves with width; a zigzag, for which depth is worth more
than width; and a function of one direction in ten dimensions, which features that are learnt find while random ones,
those of a kernel method, don't.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from fastbp import LBFGS, Dense, Network

rng = np.random.default_rng(0)


def rms(prediction, y):
    return float(np.sqrt(np.mean((np.ravel(prediction) - y) ** 2)))


# %%
# **Width.** A smooth function with a jump in its slope, and tanh units.

x = np.linspace(-1, 1, 200)[:, np.newaxis]
curve = np.sin(6 * x[:, 0]) * np.exp(-x[:, 0]) + np.abs(x[:, 0] - 0.3)
fits = {}
for width in (2, 3, 20):
    net = Network([Dense(width, "tanh"), Dense(1)], n_inputs=1, random_state=1)
    net.fit(x, curve, optimizer=LBFGS(ftol=0), epochs=600)
    fits[width] = net.predict(x).ravel()

# %%
# **Depth.** Two ReLU units can fold the line, ``2 max(0, h) - 4 max(0, h - 1/2)``, and ``k`` layers of them make
# ``2^k`` pieces. One layer needs a unit for each piece. The weights of the deep network are written down, as training
# hardly finds them; the wide ones are as good as can be with kinks spread evenly, for their output weights come from
# least squares.

PIECES = 64
line = np.linspace(0, 1, 16 * PIECES + 1)[:, np.newaxis]
zigzag = 1 - np.abs(1 - PIECES * line[:, 0] % 2)
deep = Network([*[Dense(2, "relu")] * 6, Dense(1)], n_inputs=1)
deep.weights[0][:] = [[1, 1]]
for weights in deep.weights[1:6]:
    weights[:] = [[2, 2], [-4, -4]]
for biases in deep.biases[:6]:
    biases[:] = [0, -0.5]
deep.weights[6][:], deep.biases[6][:] = [[2], [-4]], 0
shallow = []
for width in (4, 8, 16, 32, 48, 64):
    features = np.c_[np.ones(len(line)), np.maximum(0, line - np.arange(width) / width)]
    weights = np.linalg.lstsq(features, zigzag)[0]
    shallow.append((3 * width + 1, rms(features @ weights, zigzag)))

# %%
# **Learnt features beside fixed ones.** The target depends on one direction of ten. Random Fourier features are fixed
# before y is seen; only the weights of their sum are learnt.

X, X_test = rng.normal(size=(2000, 10)), rng.normal(size=(2000, 10))
direction = rng.normal(size=10) / np.sqrt(10)
y, y_test = np.sin(2 * X @ direction), np.sin(2 * X_test @ direction)
sizes = (4, 8, 16, 32, 64, 128)
learned, fixed = [], []
for size in sizes:
    net = Network([Dense(size, "tanh"), Dense(1)], n_inputs=10, l2=1e-4, random_state=0)
    net.fit(X, y, optimizer=LBFGS(), epochs=100)
    learned.append(rms(net.predict(X_test), y_test))
    kernel = make_pipeline(RBFSampler(gamma=0.05, n_components=size, random_state=0), Ridge(1e-3)).fit(X, y)
    fixed.append(rms(kernel.predict(X_test), y_test))

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6))
left.plot(x, curve, "k", alpha=0.3, linewidth=5, label="target")
for width, fit in fits.items():
    left.plot(x, fit, label=f"{width} units")
left.set(title="width")
left.legend()
middle.plot(*zip(*shallow, strict=True), "o-", label="one layer")
middle.plot(deep.parameters.size, rms(deep.predict(line), zigzag), "C1s", label="six layers of two units")
middle.set(title=f"depth: a zigzag of {PIECES} pieces", xlabel="parameters", ylabel="root mean squared error")
middle.legend()
right.loglog(sizes, learned, "o-", label="learnt features")
right.loglog(sizes, fixed, "o-", label="random Fourier features")
right.set(title="one direction of ten", xlabel="hidden units or features", ylabel="test error")
right.legend()
plt.show()
