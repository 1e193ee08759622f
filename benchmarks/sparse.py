"""From which density sparse layers are faster: ``python benchmarks/sparse.py [--rounds 5] [--threads 1]``.

Two hidden layers of n units behind n inputs, ReLU, and 10 outputs, in float32: the time of a layer of `Dense` with all
weights over that of `Sparse` with a share of them, of an epoch of SGD with momentum with batch 128, of the prediction
of 20,000 rows and of one. Above 1 the sparse network is faster. Prints medians of the ratios, as markdown, of rounds in
which the two take turns.
"""

import argparse
from statistics import median

import numpy as np
from variants import seconds

import fastbp
from fastbp import Dense, Network, Sparse

DENSITIES = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
RULE = fastbp.SGD(0.01, momentum=0.9)


def network(n, density):
    layer = Dense(n, "relu") if density == 1 else Sparse(n, max(1, round(density * n)), "relu")
    return Network(
        [layer, layer, Dense(10)], n_inputs=n, loss="softmax_cross_entropy", dtype="float32", random_state=0
    )  # fmt: skip


def tasks(n, density):
    """Functions of the number of threads, by what they do."""
    net, rng = network(n, density), np.random.default_rng(0)
    X, y = rng.normal(size=(1024, n)).astype("f"), rng.integers(0, 10, 1024)
    many = np.tile(X, (20, 1))[:20000]
    return {
        "training": lambda n_threads: net.partial_fit(X, y, optimizer=RULE, batch_size=128, n_threads=n_threads),
        "20,000 rows": lambda n_threads: net.predict(many, n_threads=n_threads),
        "one row": lambda n_threads: net.predict(X[:1], n_threads=n_threads),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--units", type=int, nargs="+", default=[64, 256, 512, 1024])
    options = parser.parse_args()
    print(f"fastbp {fastbp.__version__}, {fastbp.ISA}, {options.threads} threads; dense over sparse\n")
    print("| units | task | " + " | ".join(f"1/{round(1 / d)}" for d in DENSITIES) + " |")
    print("|---:|---|" + "---:|" * len(DENSITIES))
    for n in options.units:
        dense, sparse = tasks(n, 1), [tasks(n, density) for density in DENSITIES]
        for name, run in dense.items():
            ratios = [[] for _ in sparse]
            for _ in range(options.rounds + 1):  # the first warms up
                yardstick = seconds(run, options.threads)
                for values, contender in zip(ratios, sparse, strict=True):
                    values.append(yardstick / seconds(contender[name], options.threads))
            cells = " | ".join(f"{median(values[1:]):.2f}" for values in ratios)
            print(f"| {n} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
