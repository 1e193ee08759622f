"""Layers beyond dense ones: epochs of training beside PyTorch, eager and compiled, and JAX.

    python benchmarks/layers.py [--rounds 3] [--threads 1 2] [--rows residual]

Batch normalisation and dropout in a wide network, beside the same network without; and a stack of residual layers with
layer normalisation. SGD with momentum, float32. Each contender has a process of its own, which they take in turn.
Printed are medians over the rounds of the fastest epoch's milliseconds, and in brackets how many times as long as
fastbp it takes. JAX has the whole epoch in one jitted `lax.scan`, shuffling inside.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Case:
    """A network as a tuple of layers: ``("dense", n)``, ``("batch",)``, ``("layer",)``, ``("relu",)``,
    ``("dropout", rate)`` and ``("residual", layers)``."""

    n_inputs: int
    layers: tuple
    batch_size: int
    n_samples: int


def wide(*between):
    hidden = (("dense", 512), *between)
    return Case(784, (*hidden, *hidden, ("dense", 10)), 128, 12_800)


BLOCK = ("residual", (("layer",), ("dense", 64), ("relu",)))
CASES = {
    "784-512-512-10": wide(("relu",)),
    "784-512-512-10, BatchNorm": wide(("batch",), ("relu",)),
    "784-512-512-10, BatchNorm and Dropout": wide(("batch",), ("relu",), ("dropout", 0.2)),
    "16 residual layers of 64, LayerNorm": Case(32, (("dense", 64), *[BLOCK] * 16, ("dense", 10)), 64, 12_800),
}


def data(case):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(case.n_samples, case.n_inputs)).astype("f"), rng.integers(0, 10, case.n_samples)


def fastbp_epoch(case, n_threads):
    import fastbp

    make = {
        "dense": fastbp.Dense, "batch": fastbp.BatchNorm, "layer": fastbp.LayerNorm, "dropout": fastbp.Dropout,
        "relu": lambda: fastbp.Activation("relu"),
        "residual": lambda layers: fastbp.Residual([make[kind](*rest) for kind, *rest in layers]),
    }  # fmt: skip
    X, y = data(case)
    net = fastbp.Network(
        [make[kind](*rest) for kind, *rest in case.layers], n_inputs=case.n_inputs, dtype="float32", random_state=0,
        loss="softmax_cross_entropy",
    )  # fmt: skip
    sgd = fastbp.SGD(0.01, momentum=0.9)
    return lambda: net.partial_fit(X, y, optimizer=sgd, batch_size=case.batch_size, n_threads=n_threads)


def torch_epoch(case, n_threads, compiled=False):
    import torch
    from torch import nn

    torch.set_num_threads(n_threads)

    class Residual(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, h):
            return h + self.inner(h)

    def sequential(layers, n):
        modules = []
        for kind, *rest in layers:
            if kind == "dense":
                modules.append(nn.Linear(n, rest[0]))
                n = rest[0]
            elif kind == "residual":
                modules.append(Residual(sequential(rest[0], n)))
            else:
                modules.append(
                    {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind](n) if kind in ("batch", "layer")
                    else nn.ReLU() if kind == "relu" else nn.Dropout(*rest)
                )  # fmt: skip
        return nn.Sequential(*modules)

    net = sequential(case.layers, case.n_inputs)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, fused=True)
    loss = nn.CrossEntropyLoss()
    forward = torch.compile(net) if compiled else net
    X, y = map(torch.from_numpy, data(case))

    def epoch():
        for rows in torch.randperm(len(X)).split(case.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(forward(X[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def jax_epoch(case, n_threads):
    several = "true" if n_threads > 1 else "false"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={n_threads}"
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)

    def parameters(layers, n):
        made = []
        for kind, *rest in layers:
            if kind == "dense":
                made.append((rng.normal(size=(n, rest[0])).astype("f") / n**0.5, np.zeros(rest[0], "f")))
                n = rest[0]
            elif kind in ("batch", "layer"):
                made.append((np.ones(n, "f"), np.zeros(n, "f")))
            else:
                made.append(parameters(rest[0], n) if kind == "residual" else ())
        return made

    def running(layers, n):
        """Statistics of batch normalisation, in turn."""
        made = []
        for kind, *rest in layers:
            n = rest[0] if kind == "dense" else n
            if kind == "batch":
                made.append((np.zeros(n, "f"), np.ones(n, "f")))
        return made

    def apply(layers, ps, state, h, key):
        new = []
        for (kind, *rest), p in zip(layers, ps, strict=True):
            if kind == "dense":
                h = h @ p[0] + p[1]
            elif kind == "relu":
                h = jax.nn.relu(h)
            elif kind == "dropout":
                key, used = jax.random.split(key)
                h = jnp.where(jax.random.bernoulli(used, 1 - rest[0], h.shape), h / (1 - rest[0]), 0)
            elif kind == "residual":
                h = h + apply(rest[0], p, (), h, key)[0]
            else:
                axis = 0 if kind == "batch" else 1
                mean, variance = h.mean(axis, keepdims=True), h.var(axis, keepdims=True)
                h = (h - mean) * jax.lax.rsqrt(variance + 1e-5) * p[0] + p[1]
                if kind == "batch":
                    m, v = state[len(new)]
                    correction = len(h) / (len(h) - 1)
                    new.append((0.9 * m + 0.1 * mean[0], 0.9 * v + 0.1 * correction * variance[0]))
        return h, new

    def cost(ps, state, x, y, key):
        z, state = apply(case.layers, ps, state, x, key)
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean(), state

    def step(carry, rows):
        ps, velocity, state, key = carry
        key, used = jax.random.split(key)
        g, state = jax.grad(cost, has_aux=True)(ps, state, X[rows], y[rows], used)
        velocity = jax.tree.map(lambda v, d: 0.9 * v + d, velocity, g)
        return (jax.tree.map(lambda p, v: p - 0.01 * v, ps, velocity), velocity, state, key), None

    @jax.jit
    def whole(carry):
        key, used = jax.random.split(carry[-1])
        order = jax.random.permutation(used, case.n_samples).reshape(-1, case.batch_size)
        return jax.lax.scan(step, (*carry[:-1], key), order)[0]

    X, y = map(jnp.asarray, data(case))
    ps = jax.tree.map(jnp.asarray, parameters(case.layers, case.n_inputs))
    state = [ps, jax.tree.map(jnp.zeros_like, ps), running(case.layers, case.n_inputs), jax.random.key(0)]

    def epoch():
        state[:] = jax.block_until_ready(whole(tuple(state)))

    return epoch


CONTENDERS = {
    "fastbp": ("fastbp", fastbp_epoch),
    "PyTorch": ("torch", torch_epoch),
    "PyTorch compiled": ("torch", lambda *a: torch_epoch(*a, compiled=True)),
    "JAX": ("jax", jax_epoch),
}


def seconds(contender, case, n_threads, least=2.0):
    """Of the fastest epoch in some seconds, after the first."""
    epoch = CONTENDERS[contender][1](case, n_threads)
    epoch()
    times, end = [], perf_counter() + least
    while perf_counter() < end or len(times) < 3:
        start = perf_counter()
        epoch()
        times.append(perf_counter() - start)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", default="")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        contender, case, n_threads = arguments.serve
        if hasattr(os, "sched_setaffinity"):  # JAX takes all processors that it finds
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(n_threads)])
        print(seconds(contender, CASES[case], int(n_threads)))
        return
    names = [name for name, (module, _) in CONTENDERS.items() if find_spec(module)]
    for n_threads in arguments.threads:
        print(f"\nAn epoch of training, milliseconds; {n_threads} thread{'s' * (n_threads > 1)}\n")
        print(f"{'':40}" + "".join(f"{name:>24}" for name in names))
        for case in (case for case in CASES if arguments.rows in case):
            found = {name: [] for name in names}
            for i in range(arguments.rounds):
                for name in names if i % 2 == 0 else names[::-1]:
                    command = [sys.executable, __file__, "--serve", name, case, str(n_threads)]
                    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    found[name].append(float(out.split()[-1]))
            medians = {name: median(times) for name, times in found.items()}
            cells = [f"{1e3 * t:.1f} ({t / medians['fastbp']:.2f})" for t in medians.values()]
            print(f"{case:40}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
