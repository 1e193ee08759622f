"""Draw training speed against batch size, width and depth, predict few rows: ``python benchmarks/sweep.py``.

A curve should have no cliffs: the points whose share of gemm is less than 0.7 of what the points
beside them suggest are listed and circled. Wide networks predict from 1 to 256 rows: listed are the
numbers of rows of which each takes more than 1.2 times as long as at the number before. Then come
epochs over X that does not lie row by row, as of data frames. Measured as
in ``table.py``: a process for each library, alternating rounds, medians, the product of two matrices
as the yardstick. Tables go to the standard output, the picture to a file whose ending says what it
is, ``.png`` or ``.svg``. Of JAX's two variants the better counts.

An epoch lasts some 0.1 s where a step is slowest, in PyTorch. That makes it short at small batches:
the data then stay in the cache, for all libraries. The learning rate is small, so that no network
blows up or dies, which could change speeds.

Needs matplotlib for the picture, and what ``table.py`` needs.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

from contenders import CONTENDERS
from grid import Case, training
from table import DISTURBED, YARDSTICK, cpu_model, measure, section

LIBRARIES = {"fastbp": ["fastbp"], "JAX": ["JAX", "JAX tuned"], "PyTorch": ["PyTorch"]}
COLOURS = {"fastbp": "#c03a2b", "JAX": "#2f6fab", "PyTorch": "#808080"}
CLIFF = 0.7
PREDICTORS = ["fastbp", "PyTorch", "ONNX Runtime", "OpenVINO", "LiteRT"]
ROWS = (1, 2, 3, 7, 8, 24, 25, 47, 48, 100, 200, 256)
WIDE = [(784, 512, 512, 10), (2048, 2048, 2048, 10)]
STEP = 1.2
EPOCHS = 10**3, 10**4, 10**5, 10**6  # rows of X


@dataclass(frozen=True)
class Panel:
    """What varies, from `low` to `high`, and the network and batch size that a value gives."""

    axis: str
    network: str
    low: int
    high: int
    setting: Callable

    def values(self, points):
        """Whole numbers from low to high, as even on a logarithmic axis as these can be."""
        ratio = self.high / self.low
        return sorted({round(self.low * ratio ** (i / (points - 1))) for i in range(points)})

    def case(self, value):
        sizes, batch_size = self.setting(value)
        flops = Case("train_epoch", sizes, 1).flops * batch_size
        slowest_step = 2e-4 + 1e-4 * (len(sizes) - 1) + flops / 5e10
        n_batches = 4 * max(1, round(0.1 / slowest_step / 4))  # JAX tuned unrolls four
        return training(sizes, batch_size, n_batches * batch_size, learning_rate=1e-4)


PANELS = [
    Panel("batch size", "784-100-10", 1, 4096, lambda n: ((784, 100, 10), n)),
    Panel("units of each hidden layer, w", "64-w-w-10, batch 128", 8, 4096, lambda w: ((64, w, w, 10), 128)),
    Panel("hidden layers", "64 units each, batch 64", 1, 32, lambda n: ((64, *[64] * n, 10), 64)),
]


def cliffs(points):
    """The points (x, y) lower than `CLIFF` times the line between their neighbours on log axes: (x, y, ratio)."""
    found = []
    for (x0, y0), (x, y), (x1, y1) in zip(points, points[1:], points[2:], strict=False):
        t = math.log(x / x0) / math.log(x1 / x0)
        ratio = y / (y0 ** (1 - t) * y1**t)
        if ratio < CLIFF:
            found.append((x, y, ratio))
    return found


def curve(cases, names, rates, gemm, n_threads):
    """Points (value, share of gemm) of a library, the better of its names; `cases` by value."""
    peak = gemm[n_threads] * YARDSTICK.flops
    return [
        (value, max(rates[case, name, n_threads] for name in names) * case.flops / peak)
        for value, case in cases.items()
    ]


def draw(file, title, gflops, curves):
    """One panel for each of `curves`, dicts of points by library."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    pyplot.rcParams |= {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(13, 4.6), sharey=True, layout="constrained")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    shares = [y for lines in curves for points in lines.values() for _, y in points]
    for ax, panel, lines in zip(axes, PANELS, curves, strict=True):
        ax.set(xscale="log", yscale="log", xlabel=panel.axis, ylim=(min(shares) / 1.3, max(1.15, *shares)))
        ax.set_title(panel.network, fontsize=10, loc="left")
        ax.grid(which="major", color="#e4e4e4", linewidth=0.7)
        ax.axhline(1, color="black", linewidth=0.8, linestyle=(0, (5, 3)))
        for library, points in lines.items():
            style = {"linewidth": 2.2, "zorder": 3} if library == "fastbp" else {"linewidth": 1.4}
            ax.plot(*zip(*points, strict=True), "o-", label=library, color=COLOURS[library], markersize=3.5, **style)
        for x, y, _ in cliffs(lines["fastbp"]):
            ax.plot(x, y, "o", color="black", markerfacecolor="none", markersize=13)
        octaves = round(math.log2(panel.high / panel.low))
        ticks = [panel.low * 2**i for i in range(0, octaves + 1, 2 if octaves > 5 else 1)]
        ax.set_xticks(ticks, labels=map(str, ticks))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g}%"))
        ax.yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"share of gemm ({gflops:.0f} GFLOP/s)")
    axes[-1].legend(loc="lower right", frameon=False)
    figure.savefig(file, dpi=150)


def training_curves(plot, points, rounds, n_threads):
    """Measure, print and draw all panels."""
    libraries = {library: [n for n in names if n in CONTENDERS] for library, names in LIBRARIES.items()}
    libraries = {library: names for library, names in libraries.items() if names}
    names = [name for names in libraries.values() for name in names]
    panels = [{value: panel.case(value) for value in panel.values(points)} for panel in PANELS]
    cases = [case for cases in panels for case in cases.values()]
    contenders = [CONTENDERS[name] for name in names]
    rates, gemm, others, versions = measure(cases, contenders, [n_threads], rounds, "float32")

    gflops = gemm[n_threads] * YARDSTICK.flops / 1e9
    print(f"- gemm {gflops:.0f} GFLOP/s; {named(versions)}\n")
    curves = [
        {library: curve(cases, names, rates, gemm, n_threads) for library, names in libraries.items()}
        for cases in panels
    ]
    for panel, cases, lines in zip(PANELS, panels, curves, strict=True):
        title = f"Training, thousand samples per second, by {panel.axis}"
        print(*section(title, list(cases.values()), names, [n_threads], rates, gemm, others), sep="\n")
        for value, share, ratio in cliffs(lines["fastbp"]):
            print(f"- CLIFF at {value}: {share:.1%} of gemm, {ratio:.2f} of the line between its neighbours")
    if not any(cliffs(lines["fastbp"]) for lines in curves):
        print("No cliffs.")
    threads = "one thread" if n_threads == 1 else f"{n_threads} threads"
    draw(
        plot, f"Training speed on {cpu_model()}, {threads}: float32, softmax cross-entropy, ReLU, SGD with momentum, "
        f"shuffled", gflops, curves,
    )  # fmt: skip
    print(f"{plot} written", file=sys.stderr)


def predictions_of_few_rows(rounds, n_threads):
    """Measure and print a table for each wide network, and where more rows take much more time each."""
    names = [name for name in PREDICTORS if name in CONTENDERS]
    networks = {sizes: [Case("predict", sizes, n) for n in ROWS] for sizes in WIDE}
    cases = [case for cases in networks.values() for case in cases]
    contenders = [CONTENDERS[name] for name in names]
    rates, _, others, versions = measure(cases, contenders, [n_threads], rounds, "float32")
    print(f"- {named(versions)}")
    for sizes, cases in networks.items():
        print(f"\n### Prediction of few rows by {'-'.join(map(str, sizes))}, microseconds a row\n")
        print("| " + " | ".join(["rows", *names, "× best peer"]) + " |")
        print("|---" + "|---:" * (len(names) + 1) + "|")
        for case in cases:
            mine, *theirs = (1e6 / rates[case, name, n_threads] for name in names)
            cells = [f"{time:,.1f}" for time in (mine, *theirs)] + [f"{min(theirs) / mine:.2f}" if theirs else "–"]
            print(f"| {case.n_samples}{' †' * (others[case] > DISTURBED)} | " + " | ".join(cells) + " |")
        print()
        for fewer, more in pairwise(cases):
            ratio = rates[fewer, "fastbp", n_threads] / rates[more, "fastbp", n_threads]
            if ratio > STEP:
                print(f"- CLIFF at {more.n_samples} rows: each takes {ratio:.2f} times one of {fewer.n_samples}")


def orders_of_inputs(rounds, n_threads):
    """Print how long an epoch takes whose X lies column by column, or in other ways, relative to one in C order."""
    import numpy as np

    import fastbp

    layouts = {
        "C": np.ascontiguousarray,
        "Fortran": np.asfortranarray,
        "reversed columns": lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
        "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    }
    print("\n### An epoch of 50-64-64-1 in batches of 200, C order in milliseconds, others relative to it\n")
    print("| rows | " + " | ".join(layouts) + " |\n|---" + "|---:" * len(layouts) + "|")
    rng = np.random.default_rng(0)
    for n in EPOCHS:
        X, y = rng.normal(size=(n, 50)).astype("f"), rng.normal(size=n).astype("f")
        net = fastbp.Network([fastbp.Dense(64, "relu")] * 2 + [fastbp.Dense(1)], n_inputs=50, dtype="float32")
        arrays = {name: layout(X) for name, layout in layouts.items()}
        seconds = {name: [] for name in layouts}
        for _ in range(rounds + 1):
            for name, a in arrays.items():
                start = perf_counter()
                for _ in range(max(1, 20_000 // n)):
                    net.partial_fit(a, y, optimizer=fastbp.SGD(1e-4), batch_size=200, n_threads=n_threads)
                seconds[name].append((perf_counter() - start) / max(1, 20_000 // n))
        c, *others = (median(times[1:]) for times in seconds.values())
        print(f"| {n:,} | {1e3 * c:.2f} | " + " | ".join(f"{other / c:.2f}" for other in others) + " |")


def named(versions):
    return ", ".join(f"{module} {version}" for module, version in sorted(versions.items()))


def main():
    n_cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = ["training", "prediction", "inputs"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="default: all")
    parser.add_argument("--points", type=int, default=14, help="values on each axis at most (default 14)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each point (default 3)")
    parser.add_argument("--threads", type=int, default=n_cpus, help=f"default: all, {n_cpus}")
    parser.add_argument("--plot", type=Path, default=Path("sweep.png"), help="default: sweep.png")
    options = parser.parse_args()
    if options.points < 2 or options.rounds < 1:
        parser.error(f"--points must be at least 2 and --rounds 1, got {options.points} and {options.rounds}")
    if not 1 <= options.threads <= n_cpus:
        parser.error(f"--threads {options.threads}: this process may use {n_cpus} CPUs")
    if options.plot.suffix not in (".png", ".svg") or not options.plot.parent.is_dir():
        parser.error(f"--plot must be a .png or .svg in a folder that exists, got {options.plot}")
    if "training" in options.parts and not find_spec("matplotlib"):
        parser.error("the picture needs matplotlib, which is not installed")

    print(f"- {cpu_model()}, {options.threads} of {n_cpus} CPUs; float32; medians of {options.rounds} rounds")
    print(f"- † others kept more than {DISTURBED} CPUs busy during the row")
    if "training" in options.parts:
        training_curves(options.plot, options.points, options.rounds, options.threads)
    if "prediction" in options.parts:
        predictions_of_few_rows(options.rounds, options.threads)
    if "inputs" in options.parts:
        orders_of_inputs(options.rounds, options.threads)


if __name__ == "__main__":
    main()
