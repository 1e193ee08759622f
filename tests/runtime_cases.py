"""What tests of threads, interrupts and forks share."""

import itertools
import os
import platform
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fastbp import Dense, Network

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and processes")
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="stands before the GNU C library")

# name: sizes, batch, rows: enough for several threads; see test_teams.py for the path that each of them takes. 36 units
# are an odd number of vectors, whatever their width.
NETWORKS = {
    "one hidden layer": ([120, 100, 10], 50, 1010),
    "narrow": ([300, 30, 3], 1000, 2100),
    "deep": ([64, *[64] * 5, 10], 96, 610),
    "wide": ([300, 500, 400, 7], 150, 310),
    "many inputs": ([4000, 300, 3], 50, 110),
    "middle stripe in halves": ([1200, 36, 20, 5], 80, 410),
    "wide, then halves": ([300, 256, 100, 20], 80, 410),
}


def make(sizes, dtype="float32", **settings):
    units = itertools.cycle(["gelu", "relu"])  # the first keeps its slopes
    layers = [
        *(Dense(n, f, **settings) for n, f in zip(sizes[1:-1], units, strict=False)), Dense(sizes[-1], **settings)
    ]  # fmt: skip
    return Network(layers, n_inputs=sizes[0], loss="softmax_cross_entropy", l2=1e-3, dtype=dtype, random_state=0)


def data(sizes, n, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)


def blas_numbers():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def shared_library(folder, source):
    """What this C source gives, to be loaded before the C library: its functions come before that one's."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("what it loads before the C library needs a C compiler to be built")
    (folder / "shim.c").write_text(source)
    library = folder / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", folder / "shim.c", "-o", library], check=True)
    return library


def run_alone(code, *arguments):
    """What a program prints, which may crash or hang."""
    run = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False,
        timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout
