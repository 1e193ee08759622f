"""Learning from few rows at a time: ``python benchmarks/online.py [--rounds 7] [--rows 784]``.

Prints as markdown, for one thread and float32,

- a step of one row inside an epoch (``batch_size=1``, in order; logistic units, squared error, SGD), beside FANN's
  incremental training through Debian's libfann, on random data and on data sets of FANN (PROBEN1 and DELVE) where
  ``../shared/data/fann.npz`` is there. Both make the same updates from the same start;
- calls of one step with Adam, on rows as they come in a stream: `partial_fit`, and `forward`, `backward` and `step`
  for a cost of one's own (``by_hand``), beside one jitted step of JAX, PyTorch's eager mode and scikit-learn, as far as
  they are installed. "inside" is a step of ours of as many rows in the middle of an epoch.

Measured as in ``table.py``: a process for each contender, alternating rounds, medians. A ratio is the median over the
rounds of the peer's time over that of fastbp's Network (scikit-learn's over that of our MLPClassifier): above 1 fastbp
is faster.

FANN spends little beside its arithmetic. So does genann, measured by hand from its public source (commit 8dcd1db, gcc
12.2 -O3 -march=native; double, the only type it has; logistic units from its table; an epoch of `genann_train` in a
loop in C, the least of many epochs), on an AMD EPYC of the fourth generation, in nanoseconds a step:

    4-8-1 107       16-16-1 235    21-20-3 401    784-30-10 23,300
    building 274    thyroid 332    gene 1,440     soybean 2,400
    mushroom 2,960  robot 3,130    kin32fm 468    census_house 277
"""

import argparse
import ctypes
import sys
from ctypes.util import find_library
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import contenders
import numpy as np
from contenders import CONTENDERS, Fastbp, takes
from grid import STEPS, Case, initial_parameters
from table import Worker, cpu_model, prepare

DATA_SETS = Path(__file__).parents[2] / "shared" / "data" / "fann.npz"
HIDDEN = {
    "building": 16, "thyroid": 16, "gene": 16, "soybean": 32, "mushroom": 32, "robot": 96, "kin32fm": 20,
    "census_house": 20,
}  # fmt: skip
LEARNING_RATE = 0.1
LIBRARY = find_library("floatfann")


@dataclass(frozen=True)
class Online(Case):
    """An epoch of steps of one row, on a data set or random data."""

    data_set: str | None = None

    def __str__(self):
        sizes = "-".join(map(str, self.sizes))
        return f"{self.data_set}, {sizes}" if self.data_set else sizes


def online(sizes, n_samples, data_set=None):
    return Online("learn_online", sizes, n_samples, 1, learning_rate=LEARNING_RATE, data_set=data_set)


def online_cases():
    cases = [online(sizes, 10_000) for sizes in ((4, 8, 1), (16, 16, 1), (21, 20, 3))] + [online((784, 30, 10), 1000)]
    if DATA_SETS.is_file():
        with np.load(DATA_SETS) as arrays:
            for name, n_hidden in HIDDEN.items():
                (n, n_inputs), n_outputs = arrays[f"{name}_X_train"].shape, arrays[f"{name}_y_train"].shape[1]
                cases.append(online((n_inputs, n_hidden, n_outputs), n, name))
    else:
        print("FANN's data sets are left out: ../shared/data/fann.npz is not there", file=sys.stderr)
    return cases


def rows(case):
    """X (n, n_inputs) and y (n, n_outputs) in [0, 1], float32."""
    if case.data_set:
        with np.load(DATA_SETS) as arrays:
            return arrays[f"{case.data_set}_X_train"], arrays[f"{case.data_set}_y_train"]
    rng = np.random.default_rng(0)
    return (rng.random((case.n_samples, n), dtype=np.float32) for n in (case.sizes[0], case.sizes[-1]))


class OnlineFastbp:
    """`Network.fit`, one row a batch."""

    name, module = "fastbp", "fastbp"

    def __init__(self, case, X, y):
        import fastbp

        layers = [fastbp.Dense(n, "logistic") for n in case.sizes[1:]]
        self.net = fastbp.Network(layers, n_inputs=case.sizes[0], loss="squared_error", dtype="float32")
        for mine, given in zip(self.net.weights + self.net.biases, sum(initial_parameters(case), []), strict=True):
            mine[:] = given
        self.X, self.y, self.optimizer = X, y, fastbp.SGD(case.learning_rate)
        self.predict = self.net.predict

    def learn_online(self):
        self.net.fit(self.X, self.y, optimizer=self.optimizer, epochs=1, batch_size=1, shuffle=False)


class Connection(ctypes.Structure):
    _fields_ = [("origin", ctypes.c_uint), ("to", ctypes.c_uint), ("weight", ctypes.c_float)]


class Fann:
    """`fann_train_epoch`, a whole epoch in one call of the library for single precision."""

    name, module = "FANN", "ctypes"
    INCREMENTAL, SIGMOID, PLAIN_ERROR = 0, 3, 0

    def __init__(self, case, X, y):
        fann = ctypes.CDLL(LIBRARY)
        c_reals = ctypes.POINTER(ctypes.c_float)
        filler = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, c_reals, c_reals)
        fann.fann_create_standard_array.restype = ctypes.c_void_p
        fann.fann_create_train_from_callback.restype = ctypes.c_void_p
        fann.fann_train_epoch.restype = ctypes.c_float
        fann.fann_run.restype = c_reals

        net = ctypes.c_void_p(fann.fann_create_standard_array(len(case.sizes), as_c(case.sizes)))
        fann.fann_set_training_algorithm(net, self.INCREMENTAL)
        fann.fann_set_train_error_function(net, self.PLAIN_ERROR)
        fann.fann_set_learning_rate(net, ctypes.c_float(case.learning_rate))
        for layers in "hidden", "output":
            getattr(fann, f"fann_set_activation_function_{layers}")(net, self.SIGMOID)
            # 1 / (1 + exp(-2 steepness z))
            getattr(fann, f"fann_set_activation_steepness_{layers}")(net, ctypes.c_float(0.5))

        connections = (Connection * fann.fann_get_total_connections(net))()
        fann.fann_get_connection_array(net, connections)
        # To each unit in turn from all before it, the bias last.
        start = [np.vstack(pair).T.ravel() for pair in zip(*initial_parameters(case), strict=True)]
        for connection, weight in zip(connections, np.concatenate(start), strict=True):
            connection.weight = weight
        fann.fann_set_weight_array(net, connections, len(connections))

        X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)

        def fill(i, n_inputs, n_outputs, inputs, outputs):
            ctypes.memmove(inputs, X[i].ctypes.data, X[i].nbytes)
            ctypes.memmove(outputs, y[i].ctypes.data, y[i].nbytes)

        data = ctypes.c_void_p(fann.fann_create_train_from_callback(*X.shape, y.shape[1], filler(fill)))
        self.learn_online = lambda: fann.fann_train_epoch(net, data)
        self.predict = lambda X: np.array([fann.fann_run(net, as_c(x, ctypes.c_float))[: y.shape[1]] for x in X])


def as_c(numbers, c_type=ctypes.c_uint):
    return (c_type * len(numbers))(*numbers)


def learn_online(contender, case):
    """The call to be timed, without arguments."""
    return contender(case, *rows(case)).learn_online


class Inside(Fastbp):
    """Steps of as many rows in the middle of an epoch."""

    name = "inside"


# Whose time a peer's is divided by.
RIVALS = {
    Fann.name: OnlineFastbp.name,
    "JAX": Fastbp.name,
    "PyTorch": Fastbp.name,
    "scikit-learn": "fastbp MLPClassifier",
}


def asked(contender, case):
    """The case that a contender gets: for `Inside` an epoch of steps."""
    return replace(case, task="train_epoch", n_samples=200 * case.batch_size) if contender is Inside else case


def seconds_a_step(workers, case, rounds):
    """For each contender's name one time a round."""
    for worker in workers:
        prepare([worker], asked(worker.contender, case))
    times = [[case.batch_size / worker.rate() for worker in workers] for _ in range(rounds)]
    return {w.contender.name: column for w, column in zip(workers, zip(*times, strict=True), strict=True)}


def show(title, unit, cases, contending, work, rounds):
    """Measure and print a table; `unit` in seconds, `work(contender, case)` gives the call."""
    workers = [Worker(contender, 1, work) for contender in contending]
    names = [contender.name for contender in contending]
    peers = [name for name in names if name in RIVALS]
    print(f"\n### {title}\n")
    print("| " + " | ".join(["network", *names, *(f"× {peer}" for peer in peers)]) + " |")
    print("|---" + "|---:" * (len(names) + len(peers)) + "|")
    for case in cases:
        racing = [w for w in workers if work is not contenders.work or takes(w.contender, case)]
        times = seconds_a_step(racing, case, rounds)
        cells = [f"{median(times[name]) / unit:,.0f}" if name in times else "–" for name in names]
        for peer in peers:
            pairs = zip(times[peer], times[RIVALS[peer]], strict=True) if peer in times else ()
            ratios = [theirs / mine for theirs, mine in pairs]
            cells.append(f"{median(ratios):.2f}" if ratios else "–")
        print(f"| {case} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each row (default 7)")
    parser.add_argument("--rows", default="", help="only rows with this in their label")
    options = parser.parse_args()
    epochs, steps = ([c for c in cases if options.rows in str(c)] for cases in (online_cases(), STEPS))
    if not epochs + steps:
        parser.error(f"no row has {options.rows!r} in its label")
    if not LIBRARY:
        print("FANN is left out: its library is not there (Debian: libfann2)", file=sys.stderr)

    names = "fastbp", "JAX", "PyTorch", "fastbp MLPClassifier", "scikit-learn"
    installed = [CONTENDERS[name] for name in names if name in CONTENDERS]
    print(f"{cpu_model()}, one thread, float32; medians of {options.rounds} rounds")
    if epochs:
        title = "A step of one row inside an epoch, nanoseconds"
        show(title, 1e-9, epochs, [OnlineFastbp, Fann] if LIBRARY else [OnlineFastbp], learn_online, options.rounds)
    if steps:
        title = "Calls of one step, Adam, microseconds"
        show(title, 1e-6, steps, [Inside, *installed], contenders.work, options.rounds)


if __name__ == "__main__":
    main()
