"""
Learning-rate schedules
=======================

With a large learning rate gradient descent moves fast, and ends in a wide neighbourhood of the minimum, in which the
noise of the mini-batches keeps it. With a small one it comes close, and takes long. Schedules begin with one and end
with the other. They are settings: what they do can be looked at before training.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbp import SGD, CosineWarmRestarts, Cyclical, Dense, Network, OneCycle, StepDecay, WarmUp

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, size=(1000, 2))
y = np.sin(2 * X[:, 0]) * X[:, 1] + 0.3 * rng.normal(size=1000)
EPOCHS, BATCH_SIZE = 40, 8
per_epoch = len(X) // BATCH_SIZE  # steps

schedules = {
    "constant, 0.1": 0.1,
    "constant, 0.01": 0.01,
    "StepDecay": StepDecay(0.1, factor=0.3, every=10),
    "Cyclical": Cyclical(0.005, 0.1, half_cycle=5 * per_epoch),
    "CosineWarmRestarts": WarmUp(2 * per_epoch, then=CosineWarmRestarts(0.1, t_0=10 * per_epoch)),
    "OneCycle": OneCycle(0.2, total=EPOCHS * per_epoch),
}

# %%
# The rates of every step come from the schedule itself.


def rates(schedule):
    n_steps = EPOCHS * per_epoch
    if isinstance(schedule, float):
        return np.full(n_steps, schedule)
    return schedule.preview(n_steps, steps_per_epoch=per_epoch)


# %%
# The same network with each of them, and its loss on all the data after every epoch. Half the variance of the noise,
# 0.045, is about what a network can reach.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for name, schedule in schedules.items():
    net = Network([Dense(32, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    history = net.fit(
        X, y, optimizer=SGD(schedule, momentum=0.5), epochs=EPOCHS, batch_size=BATCH_SIZE, validation_data=(X, y)
    )
    left.plot(np.arange(EPOCHS * per_epoch) / per_epoch, rates(schedule), label=name)
    right.semilogy(np.arange(1, EPOCHS + 1), history.validation_loss)
left.set(title="learning rate", xlabel="epoch")
left.legend(fontsize="small")
right.set(title="loss", xlabel="epoch")
plt.show()
