"""Train and predict on a memory map of some gigabytes, and print the memory it takes.

    python benchmarks/memory.py [--gigabytes 4]

The file, float32 with 784 columns, lies in a temporary folder (``TMPDIR`` says where) and is sparse: random numbers in
one of eight blocks of rows, holes that read as zeros in the others. Counted is anonymous memory (RssAnon of
/proc/self/status, sampled every 5 ms): what a copy of the data would take. Pages of the file itself are not in it. More
than 600 MB in training is an error. The seconds of the first call are also those of reading the file.

Needs Linux.
"""

import argparse
import re
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastbp import SGD, Dense, MLPClassifier, Network

N_INPUTS, N_CLASSES, BATCH_SIZE = 784, 10, 200
BLOCK = 1024
LIMIT = 600


def anonymous():
    """Anonymous memory of this process that is resident, MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024 / 1e6


def peak_during(call):
    """Run the call: its seconds, and the most anonymous memory seen."""
    seen, done = [anonymous()], threading.Event()

    def sample():
        while not done.wait(0.005):
            seen.append(anonymous())

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    try:
        call()
        return time.perf_counter() - start, max(seen)
    finally:
        done.set()
        sampler.join()


def make(path, n):
    """Write the file of n rows."""
    X = np.memmap(path, np.float32, "w+", shape=(n, N_INPUTS))
    block = np.random.default_rng(0).standard_normal((BLOCK, N_INPUTS), dtype=np.float32)
    for start in range(0, n, 8 * BLOCK):
        rows = X[start : start + BLOCK]
        rows[:] = block[: len(rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the file (default 4)")
    n = int(parser.parse_args().gigabytes * 1e9 / (4 * N_INPUTS))
    if n < BLOCK:
        parser.error(f"--gigabytes must give at least {BLOCK} rows, got {n}")

    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "X"), n)
        X = np.memmap(Path(folder, "X"), np.float32, "r", shape=(n, N_INPUTS))
        y = np.random.default_rng(1).integers(0, N_CLASSES, n)
        out = np.memmap(Path(folder, "out"), np.float32, "w+", shape=(n, N_CLASSES))
        net = Network(
            [Dense(100, "relu"), Dense(N_CLASSES)], n_inputs=N_INPUTS, loss="softmax_cross_entropy", dtype="float32",
            random_state=0,
        )  # fmt: skip
        clf = MLPClassifier((100,), batch_size=BATCH_SIZE, max_iter=1, random_state=0)
        warnings.simplefilter("ignore", ConvergenceWarning)
        calls = {
            "Network.fit": lambda: net.fit(X, y, optimizer=SGD(0.01, momentum=0.9), batch_size=BATCH_SIZE),
            "MLPClassifier.fit": lambda: clf.fit(X, y),
            "Network.predict(out=memory map)": lambda: net.predict(X, out=out),
            "MLPClassifier.predict_proba": lambda: clf.predict_proba(X),
            "MLPClassifier.predict": lambda: clf.predict(X),
        }
        before = anonymous()
        print(f"{X.nbytes / 1e9:.1f} GB, {n:,} rows; {before:.0f} MB of anonymous memory before all calls\n")
        print("| call | seconds | thousand rows per second | peak anonymous memory, MB |\n|---|---:|---:|---:|")
        excess = []
        for name, call in calls.items():
            seconds, peak = peak_during(call)
            print(f"| {name} | {seconds:.2f} | {n / seconds / 1e3:,.0f} | {peak:.0f} |", flush=True)
            if name.endswith("fit") and peak > LIMIT:
                excess.append(name)
        if excess:
            sys.exit(f"more than {LIMIT} MB of anonymous memory: {', '.join(excess)}")


if __name__ == "__main__":
    main()
