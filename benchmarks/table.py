"""Print the table of benchmarks as markdown: ``python benchmarks/table.py``.

Each contender runs in a process of its own for each number of threads, held to that many CPUs
before it imports anything, so that no library's thread pool or settings touch another's. For each
row all processes take turns, round by round (A B C A B C ...); a process hands over only when its
threads have stopped spinning. Quoted are medians over the rounds. Every measurement repeats its
call until 150 ms have passed, after 150 ms that do not count: caches and processors that have
rested begin slowly.

The yardstick, a product of two 2048×2048 matrices through SciPy's BLAS, takes its turn in every
round; a share is the rate of the arithmetic of the network's products (`grid.Case.flops`) over the
median of the yardstick's with as many threads.

`× scikit-learn` is fastbp's MLPClassifier over scikit-learn's. `× best peer` and the share are
those of fastbp's Network; the peers are all other libraries in the table.

Needs Linux, for the affinity of processes.
"""

import argparse
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from statistics import geometric_mean, median
from timeit import Timer

from contenders import CONTENDERS, CompiledPyTorch, Gemm, LiteRT, OpenVino, takes, work
from grid import PREDICTION, TRAINING, Case

LEAST_SECONDS = 0.15
DISTURBED = 0.1
YARDSTICK = Case("predict", (2048, 2048), 2048)
SECTIONS = {
    "Training, thousand samples per second": TRAINING,
    "Prediction of one row, microseconds": [c for c in PREDICTION if c.n_samples == 1],
    "Prediction of 20,000 rows, thousand rows per second": [c for c in PREDICTION if c.n_samples > 1],
}


@contextmanager
def threads_limited(n_threads):
    """Environment and CPU affinity as processes started meanwhile shall inherit them."""
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))
    environment, cpus = os.environ.copy(), os.sched_getaffinity(0)
    os.environ.update(variables)
    os.sched_setaffinity(0, sorted(cpus)[-n_threads:])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.sched_setaffinity(0, cpus)


def settle(patience=5.0):
    """Wait until the threads of this process have stopped spinning, as OpenBLAS' do for a while."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        used = time.process_time()
        time.sleep(0.01)
        if time.process_time() - used < 0.001:
            return
    raise RuntimeError(f"threads still spin {patience} s after their work")


def serve(connection, contender, work):
    """Build and warm up each case received and answer the library's version; for None time it: samples/s."""
    library = import_module(contender.module)
    with suppress(EOFError, BrokenPipeError):  # until the parent has gone
        while True:
            case = connection.recv()
            try:
                if case is not None:
                    timer, repeats, n_samples = Timer(work(contender, case)), 1, case.n_samples
                    timer.timeit(1)
                    answer = library.__version__
                else:
                    warm = False
                    while (seconds := timer.timeit(repeats)) < LEAST_SECONDS or not warm:
                        warm = seconds >= LEAST_SECONDS
                        repeats *= 1 if warm else 2
                    answer = n_samples * repeats / seconds
                settle()
            except Exception:
                answer = RuntimeError(f"{contender.name}: {traceback.format_exc()}")
            connection.send(answer)


class Worker:
    """A process running one contender with a number of threads; `work(contender, case)` is the call to be timed."""

    def __init__(self, contender, n_threads, work=work):
        self.contender, self.n_threads = contender, n_threads
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, contender, work), daemon=True)
        with threads_limited(n_threads):
            self.process.start()
        theirs.close()

    def send(self, request):
        self.connection.send(request)

    def receive(self):
        answer = self.connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rate(self):
        self.send(None)
        return self.receive()


def prepare(workers, case):
    """Have all workers build a case side by side; their libraries' versions by module."""
    for worker in workers:
        worker.send(case)
    return {worker.contender.module: worker.receive() for worker in workers}


def cpu_seconds_of_others(workers):
    """CPU seconds that the machine has spent on anything but this process and the workers."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, *rest = map(int, stat.readline().split()[1:9])
    ticks = user + nice + system + sum(rest)
    for pid in [os.getpid(), *(worker.process.pid for worker in workers)]:
        with open(f"/proc/{pid}/stat") as stat:
            ticks -= sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(cases, contenders, threads, rounds, dtype):
    """Measure the cases one by one; dicts of

    - median samples/s by (case, name, threads)
    - the yardstick's by threads
    - the CPUs that others kept busy during the rounds, by case
    - the libraries' versions by module
    """
    contending = [Worker(c, n) for n in threads for c in contenders]
    yardsticks = [Worker(Gemm, n) for n in threads]
    workers = contending + yardsticks
    versions = prepare(yardsticks, replace(YARDSTICK, dtype=dtype))
    rates, gemm, others = defaultdict(list), defaultdict(list), {}
    for i, case in enumerate(cases, 1):
        begin = time.monotonic()
        racing = [w for w in contending if takes(w.contender, case)]
        versions |= prepare(racing, replace(case, dtype=dtype))
        start, used = time.monotonic(), cpu_seconds_of_others(workers)
        for _ in range(rounds):
            for worker in racing:
                rates[case, worker.contender.name, worker.n_threads].append(worker.rate())
            if case.n_samples > 1:
                for yardstick in yardsticks:
                    gemm[yardstick.n_threads].append(yardstick.rate())
        end = time.monotonic()
        others[case] = (cpu_seconds_of_others(workers) - used) / (end - start)
        print(f"{i}/{len(cases)} {case}: {start - begin:.0f} + {end - start:.0f} s", file=sys.stderr)
    rates, gemm = ({key: median(values) for key, values in d.items()} for d in (rates, gemm))
    return rates, gemm, others, versions


def section(title, cases, names, threads, rates, gemm, others):
    """Lines of a markdown table, each cell with the best of the given numbers of threads."""

    def best(case, *names):
        found = [(rates[key], key[2]) for key in rates if key[0] == case and key[1] in names and key[2] in threads]
        return max(found, default=None)

    def number(x):
        return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"

    one_row = cases[0].n_samples == 1
    names = [name for name in names if any(best(case, name) for case in cases)]
    peers = [name for name in names if CONTENDERS[name].module != "fastbp"]
    sides = {"× scikit-learn": (["fastbp MLPClassifier"], ["scikit-learn"]), "× best peer": (["fastbp"], peers)}
    sides = {title: pair for title, pair in sides.items() if all(set(side) & set(names) for side in pair)}
    ratios = {title: [] for title in sides}
    head = ["network, batch" if cases[0].task == "train_epoch" else "network", *names, *ratios]
    head += [] if one_row else ["share of gemm"]
    lines = [
        f"### {title}",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
    ]
    for case in cases:
        row, fastest = [f"{case}{' †' * (others[case] > DISTURBED)}"], best(case, *names)
        for name in names:
            found = best(case, name)
            text = number(1e6 / found[0] if one_row else found[0] / 1e3) if found else "–"
            row.append(f"**{text}**" if found and found == fastest else text)
        for title, values in ratios.items():
            mine, theirs = (best(case, *side) for side in sides[title])
            if mine and theirs:
                values.append(mine[0] / theirs[0])
            row.append(f"{values[-1]:.2f}" if mine and theirs else "–")
        if not one_row:
            rate, n = best(case, "fastbp") or (None, None)
            share = rate and rate * case.flops / (gemm[n] * YARDSTICK.flops)
            row.append(f"{share:.0%} of {n}" if share else "–")
        lines.append("| " + " | ".join(row) + " |")
    means = [f"{geometric_mean(values):.2f}" if values else "–" for values in ratios.values()]
    row = ["geometric mean", *[""] * len(names), *means, *([] if one_row else [""])]
    return [*lines, "| " + " | ".join(row) + " |", ""]


def cpu_model():
    with open("/proc/cpuinfo") as info:
        models = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return models[0] if models else platform.machine()


def main():
    n_cpus = len(os.sched_getaffinity(0))
    peers = [name for name, c in CONTENDERS.items() if c.module != "fastbp"]
    default = [name for name in peers if CONTENDERS[name] is not CompiledPyTorch]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row (default 5)")
    parser.add_argument("--rows", default="", help="only rows with this in their section's title or label")
    parser.add_argument("--peers", nargs="*", choices=peers, default=default, help=f"default: {default}")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, n_cpus}), help="default: 1 and all")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    options = parser.parse_args()

    sections = {
        title: [c for c in cases if options.rows.lower() in f"{title}: {c}".lower()]
        for title, cases in SECTIONS.items()
    }
    sections = {title: cases for title, cases in sections.items() if cases}
    if not sections:
        parser.error(f"no row has {options.rows!r} in its section's title or its label")
    if max(options.threads) > n_cpus:
        parser.error(f"--threads {max(options.threads)}: this process may use {n_cpus} CPUs")
    if options.dtype == "float64":
        options.peers = [name for name in options.peers if CONTENDERS[name] not in (LiteRT, OpenVino)]  # float32 alone
    names = [name for name, c in CONTENDERS.items() if c.module == "fastbp" or name in options.peers]

    load, start = os.getloadavg()[0], time.monotonic()
    cases = [case for cases in sections.values() for case in cases]
    contenders = [CONTENDERS[name] for name in names]
    rates, gemm, others, versions = measure(cases, contenders, options.threads, options.rounds, options.dtype)

    speeds = [f"{rate * YARDSTICK.flops / 1e9:.0f} with {n}" for n, rate in gemm.items()]
    disturbed = ", ".join(f"{x:.2f}" for x in others.values() if x > DISTURBED)
    libraries = [f"{module} {version}" for module, version in sorted(versions.items())]
    print(f"- {cpu_model()}, {n_cpus} CPUs, load {load:.2f} before the run")
    print(f"- Python {platform.python_version()}, {', '.join(libraries)}")
    print(f"- {options.dtype}; medians of {options.rounds} rounds; {time.monotonic() - start:.0f} s")
    if speeds:
        print(f"- gemm in GFLOP/s by threads: {', '.join(speeds)}")
    print(f"- † others kept more than {DISTURBED} CPUs busy during the row: {disturbed or 'none'}\n")
    for title, cases in sections.items():
        for n in options.threads:
            threads = "one thread" if n == 1 else f"{n} threads"
            print(*section(f"{title}; {threads}", cases, names, [n], rates, gemm, others), sep="\n")
        if len(options.threads) > 1:
            best = f"{title}; each library's best of these"
            print(*section(best, cases, names, options.threads, rates, gemm, others), sep="\n")


if __name__ == "__main__":
    main()
