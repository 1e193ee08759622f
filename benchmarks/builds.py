"""Two builds of fastbp in pairs: what a change costs or gains in each row of the table.

    python benchmarks/builds.py OLD/bin/python NEW/bin/python [--rounds 7] [--threads 1 2] [--rows 784]

Each interpreter has a fastbp installed. For each row and number of threads three processes take turns: one of the old
build, one of the new and another of the old, then in reverse. Printed are medians over the rounds of the rate of the
new one over that of the old ones (above 1 it is faster), and of that of the old one over its own, which tells how much
the machine was disturbed. Beside the rows of the table stand calls of one step, as in `online.py`, and gradients of all
rows.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from statistics import geometric_mean, median
from timeit import Timer

from grid import PREDICTION, STEPS, TRAINING

LEAST_SECONDS = 0.1


def calls():
    """For each row its name, and a function from dtype to a timer."""
    import numpy as np
    from contenders import CONTENDERS, takes, work

    import fastbp

    rows = {}
    for name in ("fastbp", "fastbp MLPClassifier"):
        for case in (*TRAINING, *STEPS, *PREDICTION):
            if takes(CONTENDERS[name], case):
                label = str(case) if case in STEPS else f"{case.task} {case}, of {case.n_samples} rows"
                rows[f"{label}, {name}"] = (
                    lambda dtype, name=name, case=case: Timer(work(CONTENDERS[name], replace(case, dtype=dtype)))
                )

    def gradient(sizes, n):
        def timer(dtype):
            layers = [*(fastbp.Dense(size, "relu") for size in sizes[1:-1]), fastbp.Dense(sizes[-1])]
            net = fastbp.Network(layers, n_inputs=sizes[0], loss="softmax_cross_entropy", dtype=dtype, random_state=0)
            rng = np.random.default_rng(0)
            X, y = rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(sizes[-1], size=n)
            return Timer(lambda: net.value_and_gradient(X, y))

        return timer

    rows |= {
        f"{'-'.join(map(str, sizes))} value_and_gradient of {n} rows": gradient(sizes, n)
        for sizes, n in (((784, 100, 10), 20_000), ((8, 32, 2), 100_000), ((512, 1024, 1024, 10), 2_000))
    }
    return rows


def serve():
    """Answer lines [row, dtype] by timing: the rate of the calls, or 0 if this build has no such network; null by the
    names of all rows."""
    rows, timers = calls(), {}
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            answer = list(rows)
        else:
            name, dtype = request
            if name not in timers:
                timers.clear()
                try:
                    timers[name] = [rows[name](dtype), 1]
                except AttributeError:  # of a layer that came later
                    print(0, flush=True)
                    continue
            timer, repeats = timers[name]
            while (seconds := timer.timeit(repeats)) < LEAST_SECONDS:
                repeats *= 2
            timers[name][1] = repeats
            answer = repeats / seconds
        print(json.dumps(answer), flush=True)


class Build:
    """A process of one build, held to some processors before it imports anything."""

    def __init__(self, python, n_threads):
        cpus = sorted(os.sched_getaffinity(0))[-n_threads:]
        folder = os.path.dirname(os.path.abspath(__file__))
        self.process = subprocess.Popen(
            [python, "-P", "-W", "ignore", __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
            env={**os.environ, "OMP_NUM_THREADS": str(n_threads), "PYTHONPATH": folder},
        )

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", default="", help="only rows that have this in their name")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    options = parser.parse_args()
    for n_threads in options.threads:
        old, new, again = (Build(python, n_threads) for python in (options.old, options.new, options.old))
        ratios = []
        print(f"{n_threads} threads: new / old, old / old", flush=True)
        for name in old.ask(None):
            if options.rows not in name:
                continue
            request = name, options.dtype
            rates = [build.ask(request) for build in (old, new, again)]
            if not all(rates):
                print(f"not in both builds: {name}", flush=True)
                continue
            pairs, selves = [], []
            for turn in range(options.rounds):
                order = (old, new, again) if turn % 2 else (again, new, old)
                rates = {build: build.ask(request) for build in order}
                pairs.append(rates[new] / (rates[old] * rates[again]) ** 0.5)
                selves.append(rates[again] / rates[old])
            ratios.append(median(pairs))
            print(f"{ratios[-1]:6.3f} {median(selves):6.3f}  {name}", flush=True)
        if ratios:
            print(f"{geometric_mean(ratios):6.3f} geometric mean", flush=True)


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else main()
