"""Every kernel against NumPy: the chosen instruction set, both dtypes, awkward sizes, NaN and inf."""

import ctypes
from ctypes import byref, c_double

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

import fastbp
from fastbp import Huber, Lp, Quantile, SoftmaxCrossEntropy

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 80.0, -80.0, 1e30, -1e30]


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    return kt.build_wide(tmp_path_factory.mktemp("wide"))


# where AVX-512 cannot be had itself, its width is tested beside AVX2
@pytest.fixture(params=[fastbp.ISA, "wide"] if fastbp.ISA == "avx2" == fastbp._core.isas()[1][-1] else [fastbp.ISA])
def isa(request):
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def k(isa, dtype, request):
    if isa == "wide":
        wide = request.getfixturevalue("wide")
        if wide is None:
            pytest.skip("64-byte vectors need a compiler and the source folder to be built for the test")
        return wide[kt.DTYPES[dtype]]
    return kt.table(isa, dtype)


def tolerance(dtype, n=1):
    return {"rtol": 8 * np.finfo(dtype).eps * max(n, 1) ** 0.5, "atol": 4 * np.finfo(dtype).eps * max(n, 1)}


def guarded(shape, dtype):
    """An array with sentinels behind it, and a function that checks them."""
    size = int(np.prod(shape))
    memory = np.full(size + 64, 12345.0, dtype)

    def check():
        assert (memory[size:] == 12345.0).all(), "written beyond the end"

    return memory[:size].reshape(shape), check


def test_structs_have_the_sizes_that_they_have_in_c():
    assert {name: ctypes.sizeof(struct) for name, struct in kt.STRUCTS.items()} == kt.SIZES


@pytest.mark.parametrize("m", [0, 1, 2, 5, 6, 7, 12, 13, 25])
@pytest.mark.parametrize("n", SIZES)
def test_matmul(k, dtype, rng, m, n):
    """A and A^T by row pointers, B and C row-major and packed, with a bias, without, and accumulating."""
    lanes = k.lanes
    for depth in (0, 1, 3, 17):
        a = rng.normal(size=(m, depth + 2)).astype(dtype)[:, 1:-1]
        at = np.ascontiguousarray(a.T)
        b = rng.normal(size=(depth, n + 3)).astype(dtype)[:, :n]
        stripes = kt.packed(b, lanes)
        bias = rng.normal(size=n).astype(dtype)
        packed_bias = kt.packed(bias[None], lanes)
        old = rng.normal(size=(m, n)).astype(dtype)
        product = a.astype(float) @ b.astype(float)
        for x, transposed in ((a, 0), (at, 1)):
            cases = ((None, 0, product), (bias, 0, product + bias), (bias, 1, product + old))
            for start, accumulate, expected in cases:
                c, check = guarded((m, n), dtype)
                c[:] = old
                pointers = kt.rows(x)
                k.matmul(
                    m, n, depth, pointer(pointers), 0, transposed, pointer(b), n + 3, lanes, pointer(start), accumulate,
                    pointer(c), n, lanes,
                )  # fmt: skip
                assert_allclose(c, expected, **tolerance(dtype, depth + 1))
                check()
                # the same bits from packed B to packed C
                c_packed, check = guarded((len(stripes), m, lanes), dtype)
                c_packed[:] = kt.packed(old, lanes)
                k.matmul(
                    m, len(stripes) * lanes, depth, pointer(pointers), 0, transposed, pointer(stripes), lanes,
                    depth * lanes, pointer(packed_bias) if start is bias else None, accumulate,
                    pointer(c_packed), lanes, m * lanes,
                )  # fmt: skip
                assert_array_equal(c_packed, kt.packed(c, lanes))
                check()


@pytest.mark.parametrize("m, n, depth", [(1, 256, 512), (1, 301, 611), (7, 5, 600), (400, 19, 3), (201, 9, 530)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_matmul_in_blocks(k, dtype, rng, m, n, depth, transposed):
    """Sizes beyond the blocks, with an offset into the rows of A; each element has the bits of a single sum."""
    a = rng.normal(size=(depth, m + 5) if transposed else (m, depth + 5)).astype(dtype)
    b = rng.normal(size=(depth, n)).astype(dtype)
    bias = rng.normal(size=n).astype(dtype)
    pointers, part = kt.rows(a), (a[:, 5:].T if transposed else a[:, 5:]).astype(float)
    for start in (bias, None):
        c, check = guarded((m, n), dtype)
        k.matmul(
            m, n, depth, pointer(pointers), 5, transposed, pointer(b), n, k.lanes, pointer(start), 0, pointer(c), n,
            k.lanes,
        )  # fmt: skip
        assert_allclose(c, part @ b.astype(float) + (0 if start is None else start), **tolerance(dtype, depth))
        check()
        one = np.zeros(1, dtype)
        k.matmul(
            1, 1, depth, pointer(pointers if transposed else pointers[-1:]), 5 + (m - 1) * transposed, transposed,
            pointer(b[:, -1:]), n, k.lanes, pointer(None if start is None else start[-1:]), 0, pointer(one), 1, k.lanes,
        )  # fmt: skip
        assert one[0] == c[-1, -1]


@pytest.mark.parametrize("vectors", [8, 9, 12, 13, 14, 16, 21, 22])
def test_matmul_of_one_row(k, dtype, rng, vectors):
    """Strips of every width, with the bits of the same row in a product of two."""
    for n in (vectors * k.lanes - 1, vectors * k.lanes, vectors * k.lanes + 1):
        for depth in (0, 3, 40):
            a, b = rng.normal(size=(2, depth)).astype(dtype), rng.normal(size=(depth, n)).astype(dtype)
            bias = rng.normal(size=n).astype(dtype)
            pointers, two = kt.rows(a), np.empty((2, n), dtype)
            one, check = guarded((n,), dtype)
            for m, c in ((2, two), (1, one)):
                k.matmul(
                    m, n, depth, pointer(pointers), 0, 0, pointer(b), n, k.lanes, pointer(bias), 0, pointer(c), n,
                    k.lanes,
                )  # fmt: skip
            assert_allclose(one, a[0].astype(float) @ b.astype(float) + bias, **tolerance(dtype, depth + 1))
            assert_array_equal(one, two[0])
            check()


@pytest.mark.parametrize("depth", [100, 256, 257, 1000, 17_000, 100_000, 1_000_000])
def test_long_sums(k, dtype, depth):
    """The error of a sum of equal terms, whose roundings all have the same sign, is a few ULP times the logarithm of
    their number; and all ways to the same product have the same bits."""
    few = 4 * np.finfo(dtype).eps * np.log2(depth)
    n, zeros = 3, np.zeros((1, depth), dtype)
    a, b = np.full((1, depth), 0.1, dtype), np.full((depth, n), 0.3, dtype)
    tall, wide, stripes = np.repeat(a.T, 7, 1), np.repeat(a, 7, 0), kt.packed(b, k.lanes)
    results = []
    for m, x, transposed in ((1, wide, 0), (7, wide, 0), (7, tall, 1)):
        pointers = kt.rows(x)
        for factor, ldb, stripe_b in ((b, n, k.lanes), (stripes, k.lanes, depth * k.lanes)):
            c = np.empty((m, n), dtype)
            k.matmul(
                m, n, depth, pointer(pointers), 0, transposed, pointer(factor), ldb, stripe_b, None, 0, pointer(c), n,
                k.lanes,
            )  # fmt: skip
            results.append(c)
    x, c = nonzeros_of(k, dtype, wide), np.empty((7, n), dtype)
    k.nonzeros_matmul(7, n, depth, byref(x), 0, pointer(b), n, k.lanes, None, 0, pointer(c), n, k.lanes)
    results.append(c)
    for c in results:
        assert_allclose(c, depth * float(a[0, 0]) * float(b[0, 0]), rtol=few)
        assert (c == results[0][0, 0]).all()
    squares = (a.astype(float) ** 2).sum()
    for other, exact in ((None, a.astype(float).sum()), (a, squares)):
        sums = np.empty(1, dtype)
        k.column_sums(depth, 1, pointer(a), pointer(other), 1, 0, pointer(sums))
        blocks = depth * dtype.itemsize / 1024  # which the callers bound, one after the other
        assert_allclose(sums, exact, rtol=few + max(0, blocks - 64) * np.finfo(dtype).eps / 4)
    g = zeros.copy()
    assert_allclose(k.tie(depth, 1, 1.0, pointer(a), 1, pointer(zeros), 1, pointer(g), 1), squares, rtol=few)
    penalty, u = c_double(0), kt.Update("gradient_descent", learning_rate=0.0, l1=1.0, l2=2.0)
    k.update(byref(u), depth, pointer(a), pointer(zeros), pointer(kt.states([])), byref(penalty))
    assert_allclose(penalty.value, squares + a.astype(float).sum(), rtol=few)


@pytest.mark.parametrize("n", [0, 1, 7, 16, 17, 100])
def test_fold(k, dtype, rng, n):
    """A hundred thousand additions, with an error of one ULP."""
    total, error, g = np.full(n, 99, dtype), np.full(n, 99, dtype), np.empty(n, dtype)
    terms = rng.normal(size=(50, n)).astype(dtype) + 1
    exact = np.zeros(n, np.longdouble)
    for i in range(2000):
        g[:] = terms[i % 50]
        exact += g
        k.fold(n, pointer(g), pointer(total), pointer(error), i == 0, i == 1999)
    assert_allclose(g, exact.astype(float), rtol=2 * np.finfo(dtype).eps)


def test_matmul_nonfinite(k, dtype):
    a = np.array([[1, np.inf], [np.nan, 1], [0, 1]], dtype)
    b = np.ones((2, 9), dtype)
    c = np.empty((3, 9), dtype)
    pointers = kt.rows(a)
    k.matmul(3, 9, 2, pointer(pointers), 0, 0, pointer(b), 9, k.lanes, None, 0, pointer(c), 9, k.lanes)
    assert_array_equal(c, np.repeat([[np.inf], [np.nan], [1]], 9, axis=1))


@pytest.mark.parametrize("n", SIZES)
def test_moves(k, dtype, rng, n):
    lanes = k.lanes
    for m in (0, 1, 5, 9, 33):
        a = rng.normal(size=(m, n + 2)).astype(dtype)[:, :n]
        stripes, check = guarded((-(-n // lanes), m, lanes), dtype)
        k.pack(m, n, pointer(a), n + 2, pointer(stripes), m * lanes)
        assert_array_equal(stripes, kt.packed(a, lanes))
        check()
        b, check = guarded((m, n), dtype)
        k.unpack(m, n, pointer(stripes), m * lanes, pointer(b), n)
        assert_array_equal(b, a)
        check()
        if n:  # the transpose of the first stripe, one row of squares in a packed matrix of 2 lanes rows
            t, check = guarded((-(-m // lanes), 2 * lanes, lanes), dtype)
            t[:] = 7
            k.transpose(m, pointer(stripes), lanes, pointer(t), lanes, 2 * lanes * lanes)
            flat = t.swapaxes(0, 1).reshape(2 * lanes, len(t) * lanes)
            assert_array_equal(flat[:lanes, :m], stripes[0].T)
            assert (flat[lanes:] == 7).all() and (flat[:, m:] == 7).all()
            check()
        if n >= lanes:  # and of the first columns of rows that lie apart, to rows that lie apart
            t, check = guarded((lanes, m + 3), dtype)
            t[:] = 7
            k.transpose(m, pointer(a), n + 2, pointer(t), m + 3, lanes)
            assert_array_equal(t[:, :m], a[:, :lanes].T)
            assert (t[:, m:] == 7).all()
            check()
        row = rng.normal(size=n).astype(dtype)
        for source, expected in ((row, np.tile(row, (m, 1))), (None, np.zeros((m, n)))):
            c, check = guarded((m, n), dtype)
            k.fill_rows(m, n, pointer(source), pointer(c), n)
            assert_array_equal(c, expected)
            check()
        both, check = guarded((m, n + 2), dtype)
        both[:] = 7
        k.add(m, n, pointer(both), pointer(a), n + 2)
        assert_array_equal(both[:, :n], a + dtype.type(7))
        assert (both[:, n:] == 7).all()
        check()
        for accumulate in (0, 1):
            s, check = guarded((n,), dtype)
            s[:] = row
            k.column_sums(m, n, pointer(a), None, n + 2, accumulate, pointer(s))
            assert_allclose(s, a.sum(axis=0, dtype=float) + accumulate * row, **tolerance(dtype, m + 1))
            s[:] = row
            k.column_sums(m, n, pointer(a), pointer(a), n + 2, accumulate, pointer(s))
            assert_allclose(s, (a.astype(float) ** 2).sum(axis=0) + accumulate * row, **tolerance(dtype, m + 1))
            check()


@pytest.mark.parametrize("source", ["float32", "float64", "uint8", "bool"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "broadcast"])
def test_gather(k, dtype, rng, source, layout):
    for n in SIZES:
        x = (rng.random((11, n)) * 200 % (2 if source == "bool" else 256)).astype(source)
        x = {
            "C": x, "F": np.asfortranarray(x), "strided": np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3],
            "reversed": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
            "broadcast": np.broadcast_to(x[:1], x.shape),
        }[layout]  # fmt: skip
        order = np.array([3, 0, 10, 10, 7], np.int64)
        strided = kt.Strided.of(x)
        for rows, first, expected in ((order, 99, x[order]), (None, 4, x[4:9])):
            out, check = guarded((5, n), dtype)
            k.gather(5, n, byref(strided), pointer(rows), first, pointer(out), n)
            assert_array_equal(out, expected.astype(dtype))
            check()


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("source", ["float32", "float64", "uint8"])
def test_gather_csr(k, dtype, rng, index, source):
    dense = (100 * rng.random((9, 13)) * (rng.random((9, 13)) < 0.4)).astype(source)
    dense[3] = 0
    x = csr_array(dense)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(np.int64)
    order = np.array([8, 3, 2, 2, 0], np.int64)
    for rows, first, expected in ((order, 99, dense[order]), (None, 3, dense[3:8])):
        out = kt.Nonzeros(7, 7 * 13, dtype)
        k.gather_csr(5, byref(kt.Csr.of(x)), pointer(rows), first, 7, 1, byref(out))
        assert (out.column[:7] == -1).all()
        assert (out.bounds[:, [0, 6]] == -1).all()
        out.bounds[:, [0, 6]] = 0
        assert_array_equal(out.dense(13)[1:6], expected.astype(dtype))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("spoilt", [[7, 3, 9], [0, 1, 13], [-1, 2, 3], [-5, 99, -5], [2**31 - 1, -(2**31), 4]])
def test_gather_csr_keeps_columns_in_bounds(k, dtype, index, spoilt):
    """Columns that another thread has written to while they are read: any that ascend and lie in the matrix."""
    x = csr_array(np.ones((1, 3), dtype))
    x.indices, x.indptr = np.array(spoilt, index), x.indptr.astype(np.int64)
    csr, out = kt.Csr.of(x), kt.Nonzeros(1, 3, dtype)
    csr.n_columns = 13
    k.gather_csr(1, byref(csr), pointer(None), 0, 0, 0, byref(out))
    assert 0 <= out.column[0] <= out.column[1] <= out.column[2] < 13 and (out.value == 1).all()


def nonzeros_of(k, dtype, a):
    x = kt.Nonzeros(len(a), a.size, dtype)
    k.find_nonzeros(len(a), a.shape[1], pointer(kt.rows(a)), 0, byref(x))
    return x


def mostly_zeros(rng, shape, density, dtype):
    a = (rng.normal(size=shape) * (rng.random(shape) < density)).astype(dtype)
    a[rng.random(shape) < 0.1] = -0.0
    a[1::3] = 0
    return a


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 200])
@pytest.mark.parametrize("density", [0, 0.2, 1])
def test_find_and_transpose_nonzeros(k, dtype, rng, n, density):
    a = mostly_zeros(rng, (5, n), density, dtype)
    a[0, : min(n, 2)] = [np.nan, np.inf][: min(n, 2)]
    x = nonzeros_of(k, dtype, a)
    assert_array_equal(x.dense(n), a)
    assert (x.bounds[1] - x.bounds[0] == (a != 0).sum(axis=1)).all()
    for row, m in ((0, 5), (2, 3), (1, 0)):
        t = kt.Nonzeros(n, (row + m) * n, dtype)
        for begin, end in ((n // 3, n), (0, n // 3)):  # in parts, as the members of a team do it
            k.transpose_nonzeros(m, byref(x), row, begin, end, byref(t))
        assert_array_equal(t.dense(m), a[row : row + m].T)
        assert (t.column[: row * n] == -1).all()


@pytest.mark.parametrize("vectors", [1, 2, 4, 7, 8, 13, 16, 17, 22])
@pytest.mark.parametrize("k_, density", [(0, 1), (1, 1), (40, 0.1), (700, 0.02), (700, 0.5)])
def test_nonzeros_matmul(k, dtype, rng, vectors, k_, density):
    """With B packed and row-major, the bits of the dense product."""
    a = mostly_zeros(rng, (35, k_), density, dtype)
    x, rows = nonzeros_of(k, dtype, a), kt.rows(a)
    for n in (vectors * k.lanes - 1, vectors * k.lanes):
        b, bias = rng.normal(size=(k_, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        stripes = kt.packed(b, k.lanes)
        for row, m in ((0, 35), (3, 1), (2, 0)):
            for start, accumulate in ((bias, 0), (None, 0), (None, 1)):
                expected = rng.normal(size=(m, n)).astype(dtype)
                plain, check = guarded((m, n), dtype)
                plain[:] = expected
                packed = kt.packed(expected, k.lanes)
                k.matmul(
                    m, n, k_, pointer(rows[row:]), 0, 0, pointer(b), n, k.lanes, pointer(start), accumulate,
                    pointer(expected), n, k.lanes,
                )  # fmt: skip
                k.nonzeros_matmul(
                    m, n, k_, byref(x), row, pointer(b), n, k.lanes, pointer(start), accumulate, pointer(plain), n,
                    k.lanes,
                )  # fmt: skip
                assert_array_equal(plain, expected)
                check()
                k.nonzeros_matmul(
                    m, n, k_, byref(x), row, pointer(stripes), k.lanes, k_ * k.lanes, pointer(start), accumulate,
                    pointer(packed), k.lanes, m * k.lanes,
                )  # fmt: skip
                assert_array_equal(np.hstack(list(packed))[:, :n], expected)


def ulps(actual, exact, dtype):
    """Error in units in the last place of the exact (long double) value's neighbourhood."""
    return np.abs(actual.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)


# the most ULP that README.md states, and the function
FUNCTIONS = {
    "exp": (1.5, np.exp),
    "logistic": (3, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (3, np.tanh),
    "softplus": (3, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))),
    "elu": (3, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "selu": (4, lambda x: np.where(x > 0, x, np.longdouble(reference.ALPHA) * np.expm1(np.minimum(x, 0))) * SCALE),
    "silu": (4, lambda x: x / (1 + np.exp(-x))),
    "gelu": (6, lambda x: x / (1 + np.exp(-C * (x + B * x**3)))),
}
SCALE, C, B = (np.longdouble(x) for x in (reference.SCALE, reference.C, reference.B))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_accuracy(k, dtype, rng, name):
    """The error of the vector functions stays below the number of ULP that README.md states, from where they are 0 or
    the like to where they overflow, subnormal results included."""
    most, function = FUNCTIONS[name]
    low, high = {"float32": (-112, 88), "float64": (-762, 709)}[dtype.name]
    x = np.concatenate(
        [
            rng.uniform(low, high, 200_000), rng.uniform(low, 0.8 * low, 100_000), rng.uniform(-3, 3, 200_000),
            rng.uniform(-15, 15, 100_000), rng.normal(size=50_000) * 1e-3,
        ]
    ).astype(dtype)  # fmt: skip
    y = x.copy()
    k.activate[kt.ACTIVATIONS.index(name)](1, len(y), pointer(y), len(y), 1.0, None)
    exact = x.astype(np.longdouble)
    if name == "gelu":  # below -1 rounding of the exponent shows, which is C (z + B z^3)
        most = most + np.where(x < -1, 3 * np.abs(C * (exact + B * exact**3)), 0)
    with np.errstate(over="ignore"):
        assert (ulps(y, function(exact), dtype) <= most).all()


@pytest.mark.parametrize("name", reference.DERIVATIVES)
@pytest.mark.parametrize("gap", [0, 3])
def test_activations(k, dtype, rng, name, gap):
    """Rows next to each other and with a gap between them, which stays as it was."""
    m, p = 3, 0.25
    activate, derivative = k.activate[kt.ACTIVATIONS.index(name)], k.derivative[kt.ACTIVATIONS.index(name)]
    for n in SIZES:
        z = np.resize([*SPECIAL, *rng.normal(size=9)], (m, n)).astype(dtype)
        whole, check = guarded((m, n + gap), dtype)
        whole[:] = 99
        a = whole[:, :n]
        a[:] = z
        source, again = whole, whole.copy()
        activate(m, n, pointer(whole), n + gap, p, None)
        if name in ("gelu", "silu"):  # with slopes it is the same
            source, check_slopes = guarded((m, n + gap), dtype)
            source[:] = 99
            activate(m, n, pointer(again), n + gap, p, pointer(source))
            assert_array_equal(again, whole)
            assert (source[:, n:] == 99).all()
            check_slopes()
        with np.errstate(all="ignore"):
            rtol = (64 if name == "gelu" else 16) * np.finfo(dtype).eps
            assert_allclose(a, reference.ACTIVATIONS[name](z.astype(float), p), rtol=rtol, atol=1e-37)
        assert (whole[:, n:] == 99).all()
        check()
        whole_d, check = guarded((m, n + gap), dtype)
        whole_d[:] = 99
        d = whole_d[:, :n]
        d[:] = rng.normal(size=(m, n))
        with np.errstate(all="ignore"):
            expected = d * reference.DERIVATIVES[name](z.astype(float), a, p)
        derivative(m, n, pointer(source), pointer(whole_d), n + gap, p)
        assert_allclose(d, expected, **tolerance(dtype))
        assert (whole_d[:, n:] == 99).all()
        check()


def test_exp_edges(k, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1000, -1000, 89, -104, 709.7, -745], dtype)
    y = x.copy()
    k.activate[kt.ACTIVATIONS.index("exp")](1, len(y), pointer(y), len(y), 0.0, None)
    with np.errstate(over="ignore"):
        assert_allclose(y, np.exp(x), rtol=4 * np.finfo(dtype).eps, atol=float(np.finfo(dtype).smallest_subnormal))


def softmax(k, a, ld=None, copy=None):
    k.activate[kt.ACTIVATIONS.index("softmax")](*a.shape, pointer(a), ld or a.shape[1], 0.0, pointer(copy))


@pytest.mark.parametrize("n", [1, 2, 10, 16, 17])
def test_softmax_of_a_row_does_not_depend_on_the_others(k, dtype, rng, n):
    z = (rng.normal(size=(37, n)) * 10).astype(dtype)
    z[5, 0], z[20, -1] = np.nan, np.inf
    together = z.copy()
    softmax(k, together)
    for i in range(37):
        softmax(k, z[i : i + 1])
    assert_array_equal(together, z)
    assert np.isnan(z[[5, 20]]).all()
    assert_allclose(np.delete(z, [5, 20], axis=0).sum(axis=1), 1, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("gap", [0, 3])
def test_softmax(k, dtype, rng, n, gap):
    z = (rng.normal(size=(6, n)) * 30 - 500).astype(dtype)
    z[1] = z[1, 0]
    z[2, n // 2] = np.nan
    z[3] = -np.inf
    z[3, n - 1] = 0
    whole, check = guarded((6, n + gap), dtype)
    copy, check_copy = guarded((6, n + gap), dtype)
    whole[:] = copy[:] = 99
    a = whole[:, :n]
    a[:] = z
    softmax(k, a, n + gap, copy)
    rows = [0, 1, 3, 4, 5]
    expected = reference.softmax(z[rows].astype(float), axis=1)
    assert_allclose(a[rows], expected, rtol=200 * np.finfo(dtype).eps, atol=1e-37)
    assert np.isnan(a[2]).all()
    assert_array_equal(copy, whole)
    d, check_d = guarded((6, n + gap), dtype)
    d[:] = rng.normal(size=d.shape)
    e = d.copy()
    k.derivative[kt.ACTIVATIONS.index("softmax")](6, n, pointer(whole), pointer(d), n + gap, 0.0)
    expected = reference.times_slope(z, a[rows].astype(float), "softmax", e[rows, :n].astype(float))
    assert_allclose(d[rows, :n], expected, **tolerance(dtype, n))
    assert np.isnan(d[2, :n]).all()
    assert_array_equal(d[:, n:], e[:, n:])
    assert (whole[:, n:] == 99).all()
    check()
    check_copy()
    check_d()


def test_softmax_of_nothing(k, dtype):
    for shape in ((0, 5), (5, 0)):
        a = np.zeros(shape, dtype)
        softmax(k, a)
        k.derivative[kt.ACTIVATIONS.index("softmax")](*shape, pointer(a), pointer(a.copy()), shape[1], 0.0)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m, depth", [(0, 3), (1, 1), (5, 0), (6, 7), (13, 300)])
def test_rbf(k, dtype, rng, m, n, depth):
    lanes, gap = k.lanes, 3
    h, centres = rng.normal(size=(m, depth)).astype(dtype) + 100, rng.normal(size=(depth, n)).astype(dtype) + 100
    b = (rng.normal(size=n) - np.log(depth + 1)).astype(dtype)
    distances = ((h.astype(float)[:, :, None] - centres) ** 2).sum(axis=1)
    beta = np.exp(b.astype(float))
    results = []
    stripes = kt.packed(centres, lanes)
    for c, ldc, stripe in ((centres, n, lanes), (stripes, lanes, depth * lanes)):
        for keep in (True, False):
            a, check = guarded((m, n + gap), dtype)
            y, check_y = guarded((m, n + gap), dtype)
            a[:] = y[:] = 99
            k.rbf(m, n, depth, pointer(kt.rows(h)), pointer(c), ldc, stripe, pointer(b), pointer(a),
                  pointer(y) if keep else None, n + gap)
            assert_allclose(a[:, :n], np.exp(-beta * distances), **tolerance(dtype, depth))
            assert_allclose(y[:, :n], -distances / 2 if keep else 99, **tolerance(dtype, depth))
            assert (a[:, n:] == 99).all() and (y[:, n:] == 99).all()
            check()
            check_y()
            results.append(a)
            if keep:
                kept = y
    for a in results[1:]:
        assert_array_equal(a, results[0])
    for i in range(m):  # a row, and a column, alone
        a = np.zeros((1, n), dtype)
        k.rbf(1, n, depth, pointer(kt.rows(h[i : i + 1])), pointer(centres), n, lanes, pointer(b), pointer(a), None, n)
        assert_array_equal(a[0], results[0][i, :n])
    if n:
        a = np.zeros((m, 1), dtype)
        k.rbf(m, 1, depth, pointer(kt.rows(h)), pointer(centres), n, lanes, pointer(b), pointer(a), None, 1)
        assert_array_equal(a[:, 0], results[0][:, 0])
    d, check = guarded((m, n + gap), dtype)
    d[:] = rng.normal(size=d.shape)
    e = d.copy()
    k.rbf_delta(m, n, pointer(kept), pointer(b), pointer(d), n + gap)
    assert_allclose(d[:, :n], 2 * beta * np.exp(-beta * distances) * e[:, :n], **tolerance(dtype, depth))
    assert_array_equal(d[:, n:], e[:, n:])
    check()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 6, 13])
def test_rbf_gradients(k, dtype, rng, m, n):
    """What is left of the gradients after the products, for inputs and for centres, a part of the rows of these."""
    for width in (0, 1, k.lanes + 1):
        h, s = rng.normal(size=(m, width + 2)).astype(dtype), rng.normal(size=(m, n + 1)).astype(dtype)
        d, check = guarded((m, width + 3), dtype)
        d[:] = rng.normal(size=d.shape)
        before = d.copy()
        k.rbf_inputs(m, width, n, pointer(s), n + 1, pointer(kt.rows(h)), 2, pointer(d), width + 3)
        expected = before[:, :width] - s[:, :n].sum(axis=1, keepdims=True) * h[:, 2:]
        assert_allclose(d[:, :width], expected, **tolerance(dtype, n + 1))
        assert_array_equal(d[:, width:], before[:, width:])
        check()
    lanes = k.lanes
    centres, sums = rng.normal(size=(m + 2, n)).astype(dtype), rng.normal(size=n + lanes).astype(dtype)
    c = kt.packed(centres, lanes)
    g, check = guarded((-(-n // lanes), m, lanes), dtype)
    g[:] = 5
    third_row = pointer(c) + 2 * lanes * dtype.itemsize
    k.rbf_centres(m, len(g) * lanes, third_row, (m + 2) * lanes, pointer(sums), pointer(g), m * lanes)
    expected = 5 - kt.packed((centres * sums[:n])[2:], lanes)
    assert_allclose(g, expected, **tolerance(dtype))
    check()


def test_rbf_nonfinite(k, dtype):
    h = np.array([[np.nan, 0], [1e30, 0], [np.inf, 0], [0, 0]], dtype)
    centres, b = np.zeros((2, 1), dtype), np.zeros(1, dtype)
    a, y = np.zeros((4, 1), dtype), np.zeros((4, 1), dtype)
    k.rbf(4, 1, 2, pointer(kt.rows(h)), pointer(centres), 1, k.lanes, pointer(b), pointer(a), pointer(y), 1)
    assert_array_equal(a.ravel(), [np.nan, 0, 0, 1])
    d = np.ones((4, 1), dtype)
    k.rbf_delta(4, 1, pointer(y), pointer(b), pointer(d), 1)
    assert_array_equal(d.ravel(), [np.nan, 0, 0, 2])
    assert_array_equal((d * y)[1:], np.zeros((3, 1)))  # no inf * 0


COSTS = [
    "squared_error", "cross_entropy", "softmax_cross_entropy", "poisson", "absolute_error", "huber", Huber(0.3), Lp(1),
    Lp(1.5), Lp(4), "quantile", Quantile(0.2), "gaussian", "perceptron", SoftmaxCrossEntropy(0.1),
    SoftmaxCrossEntropy(0.1, fixed_logit=True),
]  # fmt: skip


@pytest.mark.parametrize("loss", COSTS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 8, 16, 17])
def test_loss(k, dtype, rng, loss, n):
    m, scale, cost = 19, 0.25, kt.Cost.of(loss)
    n *= 2 if loss == "gaussian" else 1
    z = (rng.normal(size=(m, n)) * 5).astype(dtype)
    y = rng.random((m, n)).astype(dtype)
    y[0] = 0
    if loss == "gaussian":
        z[:, n // 2 :] /= 5
    if loss == "perceptron":
        y, z[1] = y.round(), 0
    labels = rng.integers(0, n, m)
    for weights in (None, rng.integers(0, 3, m).astype(float)):
        for by_label in (False, True) if kt.LOSSES[cost.kind] == "softmax_cross_entropy" else (False,):
            target = reference.one_hot(labels, n) if by_label else y.astype(float)
            target = target[:, : n // 2] if loss == "gaussian" else target
            w = np.ones(m) if weights is None else weights
            zz = z.astype(float)
            expected = reference.deltas(loss, zz, target) * w[:, None] * scale
            expected_loss = (w * reference.losses(loss, zz, target)).sum()
            whole, check = guarded((m, n + 2), dtype)
            whole[:] = 99
            d = whole[:, :n]
            for gradient in (whole, None):
                scratch = np.full((m, n + 2), 99, dtype)
                scratch[:, :n] = z
                value = k.loss(
                    byref(cost), m, n, pointer(scratch), n + 2, None if by_label else pointer(y),
                    pointer(labels) if by_label else None, pointer(weights), scale, pointer(gradient),
                )  # fmt: skip
                assert (scratch[:, n:] == 99).all()
                assert_allclose(value, expected_loss, **tolerance(dtype, 20))
            assert (whole[:, n:] == 99).all()
            assert_allclose(d, expected, rtol=50 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)
            check()


@pytest.mark.parametrize("level", [1e4, 1e12, 1e15, 1e16, -1e16])
def test_softmax_cross_entropy_of_large_logits(k, dtype, level):
    """No digit of the loss is lost to the size of what all logits have in common."""
    for loss, target in (("softmax_cross_entropy", [1.0, 0.0]), (SoftmaxCrossEntropy(0.5), [0.75, 0.25])):
        for gap in (0.0, float(np.spacing(np.array(level, dtype)))):
            z = np.tile(np.array([level, level + gap], dtype), (k.lanes + 1, 1))
            exact = reference.losses("softmax_cross_entropy", np.array([[0.0, gap]]), np.array([target]))[0]
            rows = np.tile(np.array([1, 0], dtype), (len(z), 1))
            for y, labels in ((rows, None), (None, np.zeros(len(z), np.int64))):
                scratch, d = z.copy(), np.empty_like(z)
                value = k.loss(
                    byref(kt.Cost.of(loss)), len(z), 2, pointer(scratch), 2, pointer(y), pointer(labels), None, 1.0,
                    pointer(d),
                )  # fmt: skip
                assert_allclose(value, len(z) * exact, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("y", [1e-30, 1e-3, 1.0, 12345.0, 1e6, 1e30])
def test_poisson_deviance_near_its_least_value(k, dtype, y):
    """It is not negative, and about y r^2 / 2 for a small r = z - ln y."""
    y = np.array([y], dtype)
    log_y = np.log(y.astype(np.longdouble))
    eps = np.finfo(dtype).eps
    for r in (0.0, 1e-6, -1e-6, 1e-3, -1e-3, 0.3, -0.3, 0.9, 1.1, -5.0):
        z, d = (log_y + r).astype(dtype), np.empty(1, dtype)
        value = k.loss(byref(kt.Cost.of("poisson")), 1, 1, pointer(z), 1, pointer(y), None, None, 1.0, pointer(d))
        exact = float((z.astype(np.longdouble) - log_y)[0])
        error = 2 * eps * (1 + abs(exact))  # of r
        slope = np.expm1(exact)
        assert value >= 0
        rest = slope - exact if abs(exact) > 1e-4 else exact**2 / 2 + exact**3 / 6
        assert_allclose(value / float(y[0]), rest, rtol=20 * eps, atol=abs(slope) * error + error**2)
        assert_allclose(d / y, slope, rtol=20 * eps, atol=np.exp(r) * error)


def test_poisson_deviance_far_from_its_least_value(k, dtype):
    for y, z, value, slope in (
        (0.0, 0.0, 1.0, 1.0), (0.0, -80.0, np.exp(-80), np.exp(-80)), (1.0, 50.0, np.exp(50) - 51, np.exp(50) - 1),
        (1.0, -50.0, 49.0, -1.0), (1e-30, 80.0, np.exp(80), np.exp(80)),
    ):  # fmt: skip
        y, z, d = np.array([y], dtype), np.array([z], dtype), np.empty(1, dtype)
        got = k.loss(byref(kt.Cost.of("poisson")), 1, 1, pointer(z), 1, pointer(y), None, None, 1.0, pointer(d))
        assert_allclose([got, d[0]], [value, slope], rtol=8 * np.finfo(dtype).eps)


def test_gaussian_loss_of_no_residual(k, dtype):
    """0 times an infinite precision is 0: the loss is (s + ln 2 pi) / 2, its derivatives 0 and 1/2."""
    for s in (-90.0, -200.0, -900.0, -3000.0, 900.0):
        z, y, d = np.array([0.5, s], dtype), np.array([0.5, 0.5], dtype), np.empty(2, dtype)
        value = k.loss(byref(kt.Cost.of("gaussian")), 1, 2, pointer(z), 2, pointer(y), None, None, 1.0, pointer(d))
        assert_allclose(value, (s + np.log(2 * np.pi)) / 2)
        assert_array_equal(d, [0, 0.5])


def test_gaussian_loss_of_small_residuals(k, dtype):
    z, y, d = np.array([1e-18, -80.0], dtype), np.zeros(2, dtype), np.empty(2, dtype)
    value = k.loss(byref(kt.Cost.of("gaussian")), 1, 2, pointer(z), 2, pointer(y), None, None, 1.0, pointer(d))
    square = 1e-36 * np.exp(80)
    assert_allclose(value, (square - 80 + np.log(2 * np.pi)) / 2, rtol=1e-5)
    assert_allclose(d, [1e-18 * np.exp(80), (1 - square) / 2], rtol=2e-5)


@pytest.mark.parametrize("n", [3, 17, 5000, 70_000])
def test_sums_over_many_outputs(k, dtype, n):
    """Losses and the softmax of a row of many outputs: errors of a few ULP, not of n."""
    few = 4 * np.finfo(dtype).eps * np.log2(n)
    z, y = np.full((1, n), 0.1, dtype), np.zeros((1, n), dtype)
    exact = n * float(z[0, 0]) ** 2 / 2
    value = k.loss(byref(kt.Cost.of("squared_error")), 1, n, pointer(z), n, pointer(y), None, None, 1.0, None)
    assert_allclose(value, exact, rtol=few)
    softmax(k, z)
    assert_allclose(z, 1 / n, rtol=few)


def test_loss_of_several_quantiles(k, dtype, rng):
    z, y = rng.normal(size=(5, 21)).astype(dtype), np.tile(rng.normal(size=(5, 7)).astype(dtype), 3)
    loss, d = Quantile([0.1, 0.5, 0.8]), np.empty((5, 21), dtype)
    value = k.loss(byref(kt.Cost.of(loss)), 5, 21, pointer(z), 21, pointer(y), None, None, 1.0, pointer(d))
    assert_allclose(value, reference.losses(loss, z, y[:, :7]).sum(), **tolerance(dtype, 20))
    assert_allclose(d, reference.deltas(loss, z, y[:, :7]), rtol=2 * np.finfo(dtype).eps)


def test_nan_in_a_loss_is_not_lost(k, dtype):
    for loss in COSTS:
        for z, y in ((np.nan, 1), (1, np.nan)):
            z, y, d = np.full(18, z, dtype), np.full(18, y, dtype), np.zeros(18, dtype)
            value = k.loss(byref(kt.Cost.of(loss)), 1, 18, pointer(z), 18, pointer(y), None, None, 1.0, pointer(d))
            assert np.isnan(value), loss


def test_loss_from_extreme_logits(k, dtype):
    """Stable from logits: no log(0), however wrong the prediction; a weight of zero silences even that."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = np.array([[0, 1], [0, 1]], dtype)
    for loss, expected in (("cross_entropy", 2e4), ("softmax_cross_entropy", 2e4)):
        for weights, value in ((None, expected), (np.array([0.0, 1.0]), 0.0)):
            scratch, d = z.copy(), np.empty_like(z)
            got = k.loss(
                byref(kt.Cost.of(loss)), 2, 2, pointer(scratch), 2, pointer(y), None, pointer(weights), 1.0, pointer(d)
            )
            assert_allclose(got, value)
            assert np.isfinite(d).all()


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize(
    ("l1", "l2", "extras"),
    [
        (0.0, 0.0, {}),
        (0.3, 0.0, {}),
        (0.0, 0.2, {}),
        (0.1, 0.4, {}),
        (0.1, 0.0, {"scale": 0.5}),
        (0.0, 0.0, {"clip": 0.4}),
        (0.0, 0.4, {"decay": 0.03}),
        (0.0, 0.4, {"proximal": 0.1}),
        (0.3, 0.0, {"proximal": 0.1}),
        (0.3, 0.4, {"proximal": 0.1, "decay": 0.03, "scale": 0.5, "clip": 0.1}),
    ],
)
def test_update(k, dtype, rng, rule, l1, l2, extras):
    if rule == "nesterov":
        extras = {name: value for name, value in extras.items() if name != "proximal"}  # which has no such form
    decay, proximal = extras.get("decay", 0), "proximal" in extras
    settings = {
        "rule": rule, "momentum": 0.8, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3, "dampening": 0,
        "weight_decay": decay / 0.1, "proximal": proximal, "clip_value": 0, "clip_norm": 0,
    }  # fmt: skip
    rate, epsilon, t = 0.1, 1e-3, 1
    if rule.startswith("adam"):  # the kernel's settings have the bias corrections of the step in them
        t, root = 3, np.sqrt(1 - 0.9**3)
        rate, epsilon = 0.1 * root / (1 - 0.7**3), epsilon * (root if rule == "adamw" else 1)
        extras = {name: value * (root if name == "proximal" else 1) for name, value in extras.items()}
    u = kt.Update(
        rule, learning_rate=rate, momentum=0.8, beta_1=0.7, beta_2=0.9, epsilon=epsilon, l1=l1, l2=l2, **extras
    )
    for n in SIZES:
        w, g = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
        w[n // 2 : n // 2 + 1] = 0  # where sign(w) is 0
        states = [rng.random(n).astype(dtype) for _ in range(kt.RULES[rule])]
        expected_states = [s.astype(float) for s in states]
        ww = w.astype(float)
        total = (g + l2 * ww + (0 if proximal else l1 * np.sign(w))) * extras.get("scale", 1)
        total = np.clip(total, -extras.get("clip", np.inf), extras.get("clip", np.inf))
        expected = reference.update(settings, ww, total, expected_states, t, 0.1, l1 * proximal)
        new, check = guarded((n,), dtype)
        new[:] = w
        cost = c_double(1.5)
        k.update(byref(u), n, pointer(new), pointer(g), pointer(kt.states(states)), byref(cost))
        # a centered average is a difference of nearly equal numbers at times
        close = tolerance(dtype, 400 if rule == "rmsprop_centered" else 4)
        assert_allclose(new, expected, **close)
        for s, e in zip(states, expected_states, strict=True):
            assert_allclose(s, e, **close)
        squares = (k.norm(byref(u), n, pointer(w), pointer(g)) * extras.get("scale", 1)) ** 2
        if "clip" not in extras:
            assert_allclose(squares, total @ total, rtol=1e-5)
        assert_allclose(cost.value, 1.5 + l1 * np.abs(ww).sum() + l2 / 2 * (ww**2).sum(), rtol=1e-5)
        check()


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("extras", [{}, {"clip": 1.0, "decay": 0.1, "proximal": 0.1}])
def test_update_nonfinite(k, dtype, rule, extras):
    """NaN stays NaN, whatever bounds there are, and spoils no other element."""
    u = kt.Update(rule, learning_rate=1.0, momentum=0.5, beta_1=0.5, beta_2=0.5, epsilon=1e-3, l1=0.5, **extras)
    results = []
    for bad in (0, np.nan):
        w, g = np.ones(19, dtype), np.zeros(19, dtype)
        states = [np.full(19, 0.25, dtype) for _ in range(kt.RULES[rule])]
        g[[1, 17]] = bad
        k.update(byref(u), 19, pointer(w), pointer(g), pointer(kt.states(states)), byref(c_double(0)))
        results.append(w)
    assert_array_equal(np.flatnonzero(np.isnan(results[1])), [1, 17])
    assert_array_equal(np.delete(results[0], [1, 17]), np.delete(results[1], [1, 17]))
    w, g = np.ones(9, dtype), np.full(9, -np.inf, dtype)
    u = kt.Update("gradient_descent", learning_rate=1.0, clip=2.0)
    k.update(byref(u), 9, pointer(w), pointer(g), pointer(kt.states([])), byref(c_double(0)))
    assert_array_equal(w, 3)


@pytest.mark.parametrize("m", [0, 1, 5, 40])
def test_tie(k, dtype, rng, m):
    for n in range(1, k.lanes + 1):
        a, b = rng.normal(size=(m, n + 3)).astype(dtype), rng.normal(size=(m, n + 1)).astype(dtype)
        g, check = guarded((m, n + 2), dtype)
        g[:] = rng.normal(size=g.shape)
        difference, before = a.astype(float)[:, :n] - b[:, :n], g.copy()
        squares = k.tie(m, n, 0.3, pointer(a), n + 3, pointer(b), n + 1, pointer(g), n + 2)
        assert_allclose(squares, (difference**2).sum(), **tolerance(dtype, m))
        assert_allclose(g[:, :n], before[:, :n] + 0.3 * difference, **tolerance(dtype))
        assert_array_equal(g[:, n:], before[:, n:])
        check()


@pytest.mark.parametrize("m", [0, 1, 5, 40])
def test_bound_columns(k, dtype, rng, m):
    for n in range(1, k.lanes + 1):
        w, check = guarded((m, n + 2), dtype)
        w[:] = rng.normal(size=w.shape)
        before = w.astype(float)
        norms = np.linalg.norm(before[:, :n], axis=0)
        most = float(np.median(norms)) * 1.01
        assert k.bound_columns(m, n, pointer(w), n + 2, most) == (norms > most).any()
        before[:, :n] *= np.where(norms > most, most / np.maximum(norms, 1e-30), 1)
        assert_allclose(w, before, **tolerance(dtype, 10))
        check()


@pytest.mark.parametrize("m", [2, 300])
def test_bound_of_columns_whose_squares_overflow(k, dtype, m):
    """As well as those whose squares underflow, beside each other; what is not finite stays as it is."""
    top = float(np.finfo(dtype).max) / 4
    for most in (1.0, 1e-25):
        scales = np.array([top, top**0.5 * 8, 1e-25, 3.0, 0.0, np.nan])[: k.lanes]
        unit = np.tile([3.0, 4.0], m // 2) / 5
        w = np.outer(unit, scales).astype(dtype)
        expected = w.copy()
        for j in np.flatnonzero(np.sqrt(m / 2) > most / scales.clip(1e-200)):
            expected[:, j] = unit * (most / np.sqrt(m / 2))
        assert k.bound_columns(m, w.shape[1], pointer(w), w.shape[1], most)
        assert_allclose(w, expected, rtol=20 * np.finfo(dtype).eps)


def test_norm_of_what_has_no_finite_square(k, dtype):
    u = kt.Update("gradient_descent", learning_rate=1.0)
    tiny, top = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    for size in (top / 256, top**0.5, 1.0, tiny**0.5, tiny, 0.0, np.inf):
        for n in (2, 64, 10_000):
            g = np.full(n, size, dtype)
            exact = float(g[0]) * np.sqrt(n)
            w = np.zeros(n, dtype)
            assert_allclose(k.norm(byref(u), n, pointer(w), pointer(g)), exact, rtol=40 * np.finfo(dtype).eps)
    g = np.array([1, np.nan, 1], dtype)
    assert np.isnan(k.norm(byref(u), 3, pointer(g), pointer(g)))


@pytest.mark.parametrize("rule", [rule for rule in kt.RULES if rule.startswith(("ada", "rms"))])
@pytest.mark.parametrize("epsilon", [0.0, 1e-50, 1e-44, 1e-30])
def test_epsilon_that_is_hardly_there(k, dtype, rule, epsilon):
    """A gradient of 0 makes no step, and one whose square underflows none that is larger than the rate."""
    g = np.array([0, 1e-30, 1e-24, 1e-18, 1], dtype)
    w, states = np.zeros(5, dtype), [np.zeros(5, dtype) for _ in range(kt.RULES[rule])]
    u = kt.Update(rule, learning_rate=0.5, beta_1=0.0, beta_2=0.0, epsilon=epsilon)
    k.update(byref(u), 5, pointer(w), pointer(g), pointer(kt.states(states)), byref(c_double(0)))
    assert w[0] == 0
    if rule != "rmsprop_centered":  # whose variance of one gradient is 0
        assert (abs(w) <= 0.5).all()
        assert_allclose(w[-1], -0.5)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_all_finite(k, dtype, bad):
    for n in (0, 1, 4 * k.lanes - 1, 4 * k.lanes, 4 * k.lanes + 1, 131):
        a = np.full(n + 1, np.finfo(dtype).max)
        a[n] = bad  # not to be looked at
        assert k.all_finite(n, pointer(a))
        for i in range(n):
            a[i] = bad
            assert not k.all_finite(n, pointer(a))
            a[i] = -np.finfo(dtype).tiny


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.999])
def test_dropout(k, dtype, rng, rate):
    """Any cut of rows and columns gives the masks of the reference."""
    seed = 12345, 0xFFFFFFFF
    cuts = (3, 100, 0, 0), (1, 1, 0, 7), (4, 37, 13, 2**32 - 2), (2, 64, 32, 5), (0, 4, 0, 0), (2, 0, 8, 0)
    for m, n, first, row in cuts:
        a = rng.normal(size=(m, n + 3)).astype(dtype)
        expected = a.copy()
        rows = (row + np.arange(m)) % 2**32
        mask = reference.dropout_mask(seed, 9, rows, 2, first + n, rate)[:, first:]
        expected[:, :n] = np.where(mask == 0, 0, a[:, :n] * dtype.type(1 / (1 - rate)))
        k.dropout(m, n, rate, byref(kt.Counter(seed, 9, row, 2)), first, pointer(a), n + 3)
        assert_array_equal(a, expected)


@pytest.mark.parametrize("n", [0, 1, 16, 31, 32, 100])
def test_noise(k, dtype, rng, n):
    a = rng.normal(size=(5, n + 2)).astype(dtype)
    expected = a.astype(float)
    expected[:, :n] += 0.3 * reference.normal_numbers((7, 8), 3, np.arange(40, 45), n)
    k.add_noise(5, n, 0.3, byref(kt.Counter((7, 8), 3, 40, 0)), pointer(a), n + 2)
    assert_allclose(a, expected, rtol=0, atol=3e-6 if dtype == "float32" else 1e-14)


AUGMENTATIONS = [
    {},
    {"shift": 3.0},
    {"rotation": 30.0, "scale": 0.3, "shear": 0.4},
    {"elastic_alpha": 34.0, "elastic_sigma": 4.0},
    {"elastic_alpha": 8.0, "elastic_sigma": 0.5, "shift": 100.0},
    {"shift": 1.5, "rotation": 15.0, "scale": 0.1, "shear": 0.1, "elastic_alpha": 20.0, "elastic_sigma": 2.5},
]


@pytest.mark.parametrize("settings", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (28, 28), (13, 3)])
def test_augment(k, dtype, rng, settings, shape):
    """Against scipy.ndimage, and within the scratch that it says it needs."""
    s = fastbp.ImageAugmentation(shape, **settings)
    n, r = shape[0] * shape[1], int(3 * s.elastic_sigma + 0.5)
    stride = shape[1] + r
    size = (shape[0] + 3) * (shape[1] + 3) + (shape[0] + 2 * r) * stride + 3 * shape[0] * stride + 2 * r + 64
    scratch, check = guarded(size, dtype)
    scratch[:] = np.nan
    a = rng.random((3, n + 1)).astype(dtype)
    expected = a.astype(float)
    for i in range(3):
        expected[i, :n] = reference.distorted(expected[i, :n].reshape(shape), s, (1, 2), 3, 4 + i).ravel()
    k.augment(3, kt.Augmentation(*s.settings), byref(kt.Counter((1, 2), 3, 4, 0)), pointer(a), n + 1, pointer(scratch))
    check()
    assert_allclose(a, expected, rtol=0, atol=3e-4 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.4, 0.75])
def test_undo_scale(k, dtype, rng, rate):
    for n in SIZES:
        a = rng.normal(size=n).astype(dtype)
        a[::3] = 1
        scale = dtype.type(1 / (1 - rate))
        out, check = guarded(n, dtype)
        k.undo_scale(n, rate, pointer(a * scale), pointer(out))
        check()
        assert_allclose(out, a, rtol=2 * np.finfo(dtype).eps)
        assert (out[::3] == 1).all()
