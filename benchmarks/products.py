"""The three products of a layer by our kernels and by scipy's BLAS, one thread: why training calls no BLAS.

    python benchmarks/products.py [--dtype float32] [--rounds 9]

prints GFLOP/s (medians of alternating rounds) for H W, delta W^T and H^T delta at sizes of the training grid. Ours read
the second factor in packed stripes, and the first in rows that don't all begin in the same cache sets, as in training;
BLAS gets row-major matrices, which it packs in each call. A call through ctypes costs some microseconds, so tiny
products are left out.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from scipy.linalg import blas
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # for the kernel tables

import kernel_table as kt  # noqa: E402

import fastbp  # noqa: E402

# batch, n_in, n_out
SIZES = [
    (32, 784, 100), (128, 784, 128), (128, 784, 512), (128, 512, 512),
    (200, 784, 100), (256, 54, 256), (256, 256, 256), (256, 1024, 2048), (256, 2048, 2048), (2048, 2048, 2048),
]  # fmt: skip


def ours(k, a, transposed, b):
    """A function that computes A B (A^T B if transposed) from packed B, and its result."""
    m, depth, n = (a.shape[1] if transposed else a.shape[0]), b.shape[0], b.shape[1]
    padded = np.zeros((a.shape[0], a.shape[1] + 16), a.dtype)
    padded[:, :-16] = a
    rows, stripes = kt.rows(padded), kt.packed(b, k.lanes)
    c = np.empty((m, len(stripes) * k.lanes), b.dtype)

    def product(_alive=padded):  # what `rows` points to
        k.matmul(
            m,
            c.shape[1],
            depth,
            kt.Rows(rows.ctypes.data, 0, transposed),
            kt.Stripes(stripes.ctypes.data, k.lanes, depth * k.lanes),
            None,
            0,
            kt.Stripes(c.ctypes.data, c.shape[1], k.lanes),
        )

    return product, c[:, :n]


def seconds(function, repeat):
    start = time.perf_counter()
    for _ in range(repeat):
        function()
    return (time.perf_counter() - start) / repeat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    k = kt.table(fastbp.ISA, args.dtype)
    gemm = blas.sgemm if args.dtype == "float32" else blas.dgemm
    rng = np.random.default_rng(0)
    print(f"{args.dtype}, {fastbp.ISA}, one thread, GFLOP/s: ours / BLAS\n")
    print("| batch, n_in, n_out | H W | delta W^T | H^T delta |\n|---|---:|---:|---:|")
    for m, n_in, n_out in SIZES:
        h, d, w = (rng.normal(size=s).astype(args.dtype) for s in ((m, n_in), (m, n_out), (n_in, n_out)))
        cells = []
        for a, transposed, b in ((h, 0, w), (d, 0, np.ascontiguousarray(w.T)), (h, 1, d)):
            product, c = ours(k, a, transposed, b)
            a_t, b_t = a.T, b.T  # BLAS is column-major: C^T = B^T A^T, and it takes W^T as W transposed

            def by_blas(a_t=a_t, b_t=b_t, transposed=transposed):
                return gemm(1.0, b_t, a_t, trans_b=transposed)

            product()
            np.testing.assert_allclose(c, by_blas().T, rtol=1e-2, atol=1e-2)
            work = 2e-9 * m * n_in * n_out
            repeat = max(1, int(0.3 / work / 60))
            times = [(seconds(product, repeat), seconds(by_blas, repeat)) for _ in range(args.rounds)]
            cells.append(" / ".join(f"{work / statistics.median(t):.0f}" for t in zip(*times, strict=True)))
        print(f"| {m}, {n_in}, {n_out} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1, "blas"):
        main()
