"""Epochs over CSR with very many columns, such as hashed words, whose steps update few rows of W.

    python benchmarks/hashed.py [--columns 100000 1000000] [--threads 1] [--rounds 3]

10,000 rows have 100 nonzeros each, in columns that are the rarer the higher their number (log-uniform); 64 hidden
units, batches of 100, float32. For each number of columns and rule two networks take turns, of which one has a penalty
of 1e-12, for which each step walks over all of W. Printed are medians of the seconds of an epoch, and their ratio.
"""

import argparse
import time
from statistics import median

import numpy as np
from scipy import sparse

from fastbp import SGD, Adagrad, Adam, AdamW, Dense, Network, RMSProp

RULES = {
    "sgd": SGD(0.1), "momentum": SGD(0.1, momentum=0.9), "adam": Adam(), "adamw": AdamW(weight_decay=0.01),
    "adagrad": Adagrad(), "rmsprop": RMSProp(momentum=0.9),
}  # fmt: skip
N_ROWS, N_NONZEROS = 10_000, 100


def rows(n_columns):
    """X and y."""
    rng = np.random.default_rng(0)
    columns = (n_columns ** rng.random(N_ROWS * N_NONZEROS)).astype(np.int64) % n_columns
    starts = np.arange(0, columns.size + 1, N_NONZEROS)
    X = sparse.csr_array((np.ones(columns.size, np.float32), columns, starts), (N_ROWS, n_columns))
    X.sum_duplicates()
    return X, rng.integers(0, 2, N_ROWS)


def seconds(n_columns, rule, n_threads, rounds):
    """Medians of an epoch's: as it is, and over all of W."""
    X, y = rows(n_columns)
    networks = [
        Network(
            [Dense(64, "relu", l2=l2), Dense(2)], n_inputs=n_columns, loss="softmax_cross_entropy", dtype="float32",
            random_state=0,
        )
        for l2 in (0, 1e-12)
    ]  # fmt: skip
    taken = [[], []]
    for turn in range(rounds + 1):
        for net, its in zip(networks, taken, strict=True):
            started = time.perf_counter()
            net.partial_fit(X, y, optimizer=rule, batch_size=100, n_threads=n_threads)
            if turn:  # the first is slower
                its.append(time.perf_counter() - started)
    return map(median, taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.threads} threads; seconds an epoch: few rows of W, all rows, ratio")
    for n_columns in options.columns:
        for name in options.rules:
            few, all_ = seconds(n_columns, RULES[name], options.threads, options.rounds)
            print(f"{few:8.3f} {all_:8.3f} {all_ / few:6.1f}  {n_columns:,} columns, {name}", flush=True)


if __name__ == "__main__":
    main()
