"""
Saturation: the quadratic cost and the cross-entropy
====================================================

A sigmoid unit that is badly wrong should learn fast. With the quadratic cost it learns slowly: its error is multiplied
by the slope of the sigmoid, which is almost 0 where the unit is saturated. The cross-entropy has the derivative
``a - y``, without that factor: the larger the error, the larger the step.

The unit here has to turn the input 1 into the output 0, from a start that is moderately wrong and from one that is very
wrong.
"""

import matplotlib.pyplot as plt

from fastbp import SGD, Dense, Network

X, y = [[1.0]], [[0.0]]
losses = {
    "quadratic cost": (Dense(1, "sigmoid"), "squared_error"),
    "cross-entropy": (Dense(1), "cross_entropy"),  # which brings its own sigmoid output
}

# %%
# One neuron, one example, three hundred steps with the same learning rate.

figure, axes = plt.subplots(1, 2, sharey=True)
for axis, (w, b) in zip(axes, ((0.6, 0.9), (2.0, 2.0)), strict=True):
    for name, (layer, loss) in losses.items():
        net = Network([layer], n_inputs=1, loss=loss)
        net.parameters[:] = w, b
        outputs = [net.predict(X).item()]
        for _ in range(300):
            net.partial_fit(X, y, optimizer=SGD(0.15))
            outputs.append(net.predict(X).item())
        axis.plot(outputs, label=name)
    axis.set(title=f"from an output of {outputs[0]:.2f}", xlabel="step")
axes[0].set_ylabel("output (the target is 0)")
axes[0].legend()
plt.show()
