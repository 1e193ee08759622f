"""No allocation in an epoch, and no copy of the data."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from runtime_cases import glibc, shared_library

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>
static long count;
long allocations(void) { return __atomic_load_n(&count, __ATOMIC_SEQ_CST); }
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
#define COUNT __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST)
void *malloc(size_t n) { COUNT; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { COUNT; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { COUNT; return __libc_realloc(p, n); }
"""

COUNTER = """
import ctypes, sys
import numpy as np
from scipy import sparse
import fastbp
from fastbp import RBF, SGD, Adam, Dense, Network, RMSProp

shim = ctypes.CDLL(sys.argv[1])
rng = np.random.default_rng(0)
calls = 0

def profile(frame, event, arg):
    global calls
    calls += 1

def measure(sizes, n, optimizer, dtype, kind, n_threads):
    "Allocations and Python calls of one epoch of n rows in batches of 64, after one epoch to warm up."
    global calls
    X = rng.random((n, sizes[0]))
    X = {"dense": X.astype(dtype), "other dtype": X.astype("f8" if dtype == "float32" else "f4"),
         "uint8": (X * 255).astype("u1"), "Fortran": np.asfortranarray(X, dtype=dtype),
         "mostly zeros": (X * (X > 0.95)).astype(dtype),
         "csr": sparse.csr_array(X * (X > 0.8)).astype(dtype)}[kind]
    y = rng.integers(0, sizes[-1], n)
    net = Network([*(Dense(m, "tanh") for m in sizes[1:-1]), Dense(sizes[-1])], n_inputs=sizes[0],
                  loss="softmax_cross_entropy", l1=1e-6, l2=1e-6, dtype=dtype, random_state=0)
    data, order = net._model.check_rows(X, y, np.ones(n)).data(), rng.permutation(n)
    out = []
    for _ in range(2):
        calls = 0
        before = shim.allocations()
        sys.setprofile(profile)
        net._model.train_epoch(data, order, 64, optimizer, n_threads=n_threads)
        sys.setprofile(None)
        out.append((shim.allocations() - before, calls))
    return out[-1]

small, large = [30, 20, 3], [100, 260, 260, 3]  # large enough for two threads, and for H^T
for optimizer in (SGD(0.01, momentum=0.9), Adam(clip_norm=0.1), RMSProp(momentum=0.9, centered=True, proximal=True)):
    for dtype in ("float32", "float64"):
        for kind in ("dense", "other dtype", "uint8", "Fortran", "mostly zeros", "csr"):
            for sizes, n, n_threads in ((small, 250, 1), (large, 192, 2)):
                few = measure(sizes, n, optimizer, dtype, kind, n_threads)
                many = measure(sizes, 2 * n, optimizer, dtype, kind, n_threads)
                assert few == many, (optimizer, dtype, kind, sizes, few, many)
print("counted", few)
"""


@glibc
def test_no_allocation_and_no_python_within_an_epoch(tmp_path):
    """Twice as many steps make no more allocations and Python calls, for every rule, dtype and kind of input."""
    shim = shared_library(tmp_path, SHIM)
    run = subprocess.run(
        [sys.executable, "-c", COUNTER, shim], env={**os.environ, "LD_PRELOAD": str(shim)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert re.search(r"counted \([1-9]", run.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_map_is_not_copied(tmp_path):
    """Training and prediction take no anonymous memory to speak of, not even for a moment; a copy would be seen."""
    code = textwrap.dedent("""
        import re, sys, threading
        import numpy as np
        from fastbp import LBFGS, SGD, Dense, MLPClassifier, Network

        X = np.memmap(sys.argv[1], "float32", "w+", shape=(200_000, 100))  # 80 MB
        y = np.arange(len(X)) % 3
        net = Network([Dense(8, "relu"), Dense(3)], n_inputs=100, loss="softmax_cross_entropy", dtype="float32")
        clf = MLPClassifier(8, max_iter=1)

        def anonymous():
            return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

        def growth(call):
            seen, done = [anonymous()], threading.Event()
            def sample():
                while not done.wait(0.001):
                    seen.append(anonymous())
            sampler = threading.Thread(target=sample)
            sampler.start()
            call()
            done.set()
            sampler.join()
            return max(seen) - seen[0]

        def work(X, y):
            net.fit(X, y, optimizer=SGD(0.1), batch_size=100)
            net.fit(X, y, optimizer=SGD(0.1), batch_size=len(X))
            net.fit(X, y, optimizer=LBFGS())
            net.predict(X)
            clf.fit(X, y).predict(X)

        work(X[:100], y[:100])
        print(growth(lambda: work(X, y)), growth(lambda: X.copy()))
    """)
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "X"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    ours, copy = map(float, run.stdout.split())
    assert ours < 30 < copy, run.stdout
