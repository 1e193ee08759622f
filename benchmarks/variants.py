"""What units, costs, rules, averages, regularizers and layers take:
``python benchmarks/variants.py [--rounds 7] [--threads 1]``.

Prints as markdown the time of an epoch on 784-100-10 with batch 32 in float32, over that of SGD with momentum, ReLU and
log-likelihood: medians of the ratios in rounds in which all variants take turns, each beside the yardstick.
"""

import argparse
import time
from functools import partial
from statistics import median

import numpy as np

import fastbp
from fastbp import Dense
from fastbp.names import UNITS

N, BATCH = 3200, 32
YARDSTICK = "SGD, momentum; ReLU; log-likelihood"
RULES = {
    "SGD": fastbp.SGD(0.01),
    "SGD, Nesterov": fastbp.SGD(0.01, momentum=0.9, nesterov=True),
    "SGD, momentum, weight decay": fastbp.SGD(0.01, momentum=0.9, weight_decay=0.01),
    "SGD, momentum, clip_value": fastbp.SGD(0.01, momentum=0.9, clip_value=1.0),
    "SGD, momentum, clip_norm": fastbp.SGD(0.01, momentum=0.9, clip_norm=1.0),
    "Adam": fastbp.Adam(),
    "AdamW": fastbp.AdamW(),
    "RMSProp": fastbp.RMSProp(),
    "RMSProp, momentum": fastbp.RMSProp(momentum=0.9),
    "RMSProp, centered": fastbp.RMSProp(centered=True),
    "Adagrad": fastbp.Adagrad(),
    "SAM of SGD, momentum": fastbp.SAM(fastbp.SGD(0.01, momentum=0.9)),
}
COSTS = [
    "squared_error", "absolute_error", fastbp.Lp(1.5), "huber", "quantile", "gaussian", "cross_entropy", "poisson",
    fastbp.SoftmaxCrossEntropy(label_smoothing=0.1),
]  # fmt: skip
REGULARIZERS = {
    "L2": ({"l2": 1e-4}, {}),
    "L1 and L2": ({"l1": 1e-5, "l2": 1e-4}, {}),
    "max-norm": ({}, {"max_norm": 3.0}),
    "dropout of the hidden layer": ({}, {"dropout": 0.5}),
    "dropout of the inputs": ({"input_dropout": 0.2}, {}),
    "noise on the inputs": ({"input_noise": 0.1}, {}),
}
LAYERS = {
    "BatchNorm": [Dense(100), fastbp.BatchNorm(), fastbp.Activation("relu")],
    "LayerNorm": [Dense(100), fastbp.LayerNorm(), fastbp.Activation("relu")],
    "GroupNorm(10)": [Dense(100), fastbp.GroupNorm(10), fastbp.Activation("relu")],
    "Standardize": [fastbp.Standardize(), Dense(100, "relu")],
}


def epoch(
    X, labels, optimizer=None, activation="relu", loss="softmax_cross_entropy", network=None, dense=None, hidden=None,
    **fit,
):  # fmt: skip
    """A function that trains for one epoch."""
    optimizer = optimizer or fastbp.SGD(0.01, momentum=0.9)
    hidden, n_out = hidden or [Dense(100, activation, **(dense or {}))], 10
    y = labels
    if "softmax" not in str(loss).lower():
        y = np.eye(n_out, dtype=np.float32)[labels]
        n_out *= 2 if loss == "gaussian" else 1
    net = fastbp.Network(
        [*hidden, Dense(n_out)], n_inputs=X.shape[1], loss=loss, dtype="float32", random_state=0, **(network or {})
    )
    return partial(net.partial_fit, X, y, optimizer=optimizer, batch_size=BATCH, **fit)


def variants(X, y):
    make = partial(epoch, X, y)
    yield "rule", YARDSTICK, make()  # beside itself: the noise of the measurement
    for name, optimizer in RULES.items():
        yield "rule", name, make(optimizer)
    for activation in UNITS:
        if activation not in ("relu", "step"):
            yield "unit", activation, make(activation=activation)
    for loss in COSTS:
        yield "cost", str(loss), make(loss=loss)
    for name, (network, dense) in REGULARIZERS.items():
        yield "regularizer", name, make(network=network, dense=dense)
    for average in (fastbp.EMA(), fastbp.SWA(0)):
        yield "average", str(average), make(average=average)
    for name, hidden in LAYERS.items():
        yield "layer", name, make(hidden=hidden)
    images = fastbp.ImageAugmentation((28, 28), shift=1, rotation=10, scale=0.1, elastic_alpha=30)
    yield "regularizer", "images distorted elastically", make(augmentation=images)


def seconds(train, n_threads, least=0.05):
    repeats, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < least:
        train(n_threads=n_threads)
        repeats += 1
    return spent / repeats


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X, y = rng.random((N, 784), dtype=np.float32), rng.integers(0, 10, N)
    yardstick, contenders = epoch(X, y), list(variants(X, y))
    ratios = [[] for _ in contenders]
    for _ in range(options.rounds + 1):  # the first warms up
        for (_, _, train), values in zip(contenders, ratios, strict=True):
            values.append(seconds(train, options.threads) / seconds(yardstick, options.threads))
    print(f"fastbp {fastbp.__version__}, {fastbp.ISA}, {options.threads} threads; 1 is {YARDSTICK}\n")
    print("| kind | variant | time |\n|---|---|---:|")
    for (kind, name, _), values in zip(contenders, ratios, strict=True):
        print(f"| {kind} | {name} | {median(values[1:]):.2f} |")


if __name__ == "__main__":
    main()
