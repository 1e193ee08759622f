"""Every kernel against NumPy: the chosen instruction set, both dtypes, awkward sizes, NaN and inf."""

from ctypes import byref, c_double

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

import fastbp

SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 80.0, -80.0, 1e30, -1e30]


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    return kt.build_wide(tmp_path_factory.mktemp("wide"))


@pytest.fixture(params=[fastbp.ISA, "wide"] if fastbp.ISA == "avx2" else [fastbp.ISA])
def isa(request):
    return request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def k(isa, dtype, wide):
    if isa == "wide":
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
            k.transpose(m, pointer(stripes), pointer(t), 2 * lanes * lanes)
            flat = t.swapaxes(0, 1).reshape(2 * lanes, len(t) * lanes)
            assert_array_equal(flat[:lanes, :m], stripes[0].T)
            assert (flat[lanes:] == 7).all() and (flat[:, m:] == 7).all()
            check()
        row = rng.normal(size=n).astype(dtype)
        for source, expected in ((row, np.tile(row, (m, 1))), (None, np.zeros((m, n)))):
            c, check = guarded((m, n), dtype)
            k.fill_rows(m, n, pointer(source), pointer(c), n)
            assert_array_equal(c, expected)
            check()
        for accumulate in (0, 1):
            s, check = guarded((n,), dtype)
            s[:] = row
            k.column_sums(m, n, pointer(a), n + 2, accumulate, pointer(s))
            assert_allclose(s, a.sum(axis=0, dtype=float) + accumulate * row, **tolerance(dtype, m + 1))
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
@pytest.mark.parametrize("source", ["float32", "float64"])
def test_csr(k, dtype, rng, index, source):
    for n in (0, 1, 5, 8, 17):
        dense = (rng.normal(size=(9, 13)) * (rng.random((9, 13)) < 0.4)).astype(source)
        x = csr_array(dense)
        x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
        w, bias = rng.normal(size=(13, n)).astype(dtype), rng.normal(size=n).astype(dtype)
        d = rng.normal(size=(4, n)).astype(dtype)
        order = np.array([8, 2, 2, 0], np.int64)
        for rows, first, part in ((order, 0, dense[order]), (None, 5, dense[5:9])):
            c, check = guarded((4, n), dtype)
            csr = kt.Csr.of(x)
            k.csr_matmul(4, n, byref(csr), pointer(rows), first, pointer(w), n, pointer(bias), pointer(c), n)
            assert_allclose(c, part @ w + bias, **tolerance(dtype, 13))
            check()
            for accumulate in (0, 1):
                g, check = guarded((6, n), dtype)
                g[:] = 1
                k.csr_gradient(
                    4, n, byref(csr), pointer(rows), first, 3, 9, pointer(d), n, accumulate, pointer(g), n
                )  # fmt: skip
                assert_allclose(g, (part.T @ d)[3:9] + accumulate, **tolerance(dtype, 8))
                check()


def ulps(actual, exact, dtype):
    """Error in units in the last place of the exact (long double) value's neighbourhood."""
    return np.abs(actual.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)


FUNCTIONS = {
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_accuracy(k, dtype, rng, name):
    """The error of the vector functions stays below the number of ULP that README.md states."""
    most = {"exp": 1.5, "logistic": 3, "tanh": 3}[name]
    low, high = {"float32": (-87, 88), "float64": (-708, 709)}[dtype.name]
    x = np.concatenate(
        [rng.uniform(low, high, 200_000), rng.uniform(-3, 3, 200_000), rng.normal(size=50_000) * 1e-3]
    ).astype(dtype)
    if name == "logistic":
        x = x[x > low / 2]
    y = x.copy()
    function = k.exp if name == "exp" else k.activate[kt.ACTIVATIONS.index(name)]
    function(1, len(y), pointer(y), len(y))
    assert ulps(y, FUNCTIONS[name](x.astype(np.longdouble)), dtype).max() <= most


@pytest.mark.parametrize("name", kt.ACTIVATIONS)
@pytest.mark.parametrize("gap", [0, 3])
def test_activations(k, dtype, rng, name, gap):
    """Rows next to each other and with a gap between them, which stays as it was."""
    m = 3
    for n in SIZES:
        z = np.resize([*SPECIAL, *rng.normal(size=9)], (m, n)).astype(dtype)
        whole, check = guarded((m, n + gap), dtype)
        whole[:] = 99
        a = whole[:, :n]
        a[:] = z
        k.activate[kt.ACTIVATIONS.index(name)](m, n, pointer(whole), n + gap)
        with np.errstate(all="ignore"):
            assert_allclose(a, reference.ACTIVATIONS[name](z), rtol=16 * np.finfo(dtype).eps, atol=1e-37)
        assert (whole[:, n:] == 99).all()
        check()
        whole_d, check = guarded((m, n + gap), dtype)
        whole_d[:] = 99
        d = whole_d[:, :n]
        d[:] = rng.normal(size=(m, n))
        with np.errstate(all="ignore"):
            expected = d * reference.DERIVATIVES[name](a)
        k.derivative[kt.ACTIVATIONS.index(name)](m, n, pointer(whole), pointer(whole_d), n + gap)
        assert_allclose(d, expected, **tolerance(dtype))
        assert (whole_d[:, n:] == 99).all()
        check()


def test_exp_edges(k, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1000, -1000, 89, -104, 709.7, -745], dtype)
    y = x.copy()
    k.exp(1, len(y), pointer(y), len(y))
    with np.errstate(over="ignore"):
        assert_allclose(y, np.exp(x), rtol=4 * np.finfo(dtype).eps, atol=float(np.finfo(dtype).smallest_subnormal))


@pytest.mark.parametrize("n", [1, 2, 10, 16, 17])
def test_softmax_of_a_row_does_not_depend_on_the_others(k, dtype, rng, n):
    z = (rng.normal(size=(37, n)) * 10).astype(dtype)
    z[5, 0], z[20, -1] = np.nan, np.inf
    together = z.copy()
    k.softmax(37, n, pointer(together))
    for row in z:
        k.softmax(1, n, pointer(row))
    assert_array_equal(together, z)
    assert np.isnan(z[[5, 20]]).all()
    assert_allclose(np.delete(z, [5, 20], axis=0).sum(axis=1), 1, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", SIZES[1:])
def test_softmax(k, dtype, rng, n):
    z = (rng.normal(size=(6, n)) * 30 - 500).astype(dtype)
    z[1] = z[1, 0]
    z[2, n // 2] = np.nan
    z[3] = -np.inf
    z[3, n - 1] = 0
    a, check = guarded(z.shape, dtype)
    a[:] = z
    k.softmax(6, n, pointer(a))
    rows = [0, 1, 3, 4, 5]
    expected = reference.softmax(z[rows].astype(float), axis=1)
    assert_allclose(a[rows], expected, rtol=200 * np.finfo(dtype).eps, atol=1e-37)
    assert np.isnan(a[2]).all()
    check()


@pytest.mark.parametrize("loss", kt.LOSSES[1:])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17])
def test_loss(k, dtype, rng, loss, n):
    m, scale = 19, 0.25
    z = (rng.normal(size=(m, n)) * 5).astype(dtype)
    y = rng.random((m, n)).astype(dtype)
    labels = rng.integers(0, n, m)
    for weights in (None, rng.integers(0, 3, m).astype(float)):
        for by_label in (False, True) if loss == "softmax_cross_entropy" else (False,):
            target = reference.one_hot(labels, n) if by_label else y.astype(float)
            w = np.ones(m) if weights is None else weights
            mass = target.sum(axis=1, keepdims=True) if loss == "softmax_cross_entropy" else 1
            zz = z.astype(float)
            expected = (reference.OUTPUT_UNITS[loss](zz) * mass - target) * w[:, None] * scale
            whole, check = guarded((m, n + 2), dtype)
            whole[:] = 99
            d = whole[:, :n]
            scratch = np.full((m, n + 2), 99, dtype)
            scratch[:, :n] = z
            value = k.loss(
                kt.LOSSES.index(loss), m, n, pointer(scratch), n + 2, None if by_label else pointer(y),
                pointer(labels) if by_label else None, pointer(weights), scale, pointer(whole),
            )  # fmt: skip
            assert (whole[:, n:] == 99).all() and (scratch[:, n:] == 99).all()
            assert_allclose(value, (w * reference.losses(loss, zz, target)).sum(), **tolerance(dtype, 20))
            assert_allclose(d, expected, rtol=50 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)
            check()


def test_loss_from_extreme_logits(k, dtype):
    """Stable from logits: no log(0), however wrong the prediction; a weight of zero silences even that."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = np.array([[0, 1], [0, 1]], dtype)
    for loss, expected in (("cross_entropy", 2e4), ("softmax_cross_entropy", 2e4)):
        for weights, value in ((None, expected), (np.array([0.0, 1.0]), 0.0)):
            scratch, d = z.copy(), np.empty_like(z)
            got = k.loss(
                kt.LOSSES.index(loss), 2, 2, pointer(scratch), 2, pointer(y), None, pointer(weights), 1.0, pointer(d)
            )
            assert_allclose(got, value)
            assert np.isfinite(d).all()


@pytest.mark.parametrize("rule", kt.RULES)
@pytest.mark.parametrize("penalty", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.1, 0.4)])
def test_update(k, dtype, rng, rule, penalty):
    l1, l2 = penalty
    settings = {"momentum": 0.8, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}
    u = kt.Update(kt.RULES.index(rule), 0.1, *settings.values(), l1, l2)
    for n in SIZES:
        w, g = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)
        if n:
            w[n // 2] = 0  # where sign(w) is 0
        states = [rng.random(n).astype(dtype) for _ in range(2)]
        expected_states = [s.astype(float) for s in states]
        total = g + l2 * w.astype(float) + l1 * np.sign(w)
        n_states = {"gradient_descent": 0, "adam": 2}.get(rule, 1)
        rate = 0.1
        if rule == "adam":  # the kernel's rate has the bias correction of the step in it
            rate = 0.1 / (np.sqrt(1 - 0.9**3) / (1 - 0.7**3))
        expected = reference.update(rule, w.astype(float), total, expected_states[:n_states], 3, rate, **settings)
        new, check = guarded((n,), dtype)
        new[:] = w
        cost = c_double(1.5)
        s1, s2 = [*states[:n_states], None, None][:2]
        k.update(byref(u), n, pointer(new), pointer(g), pointer(s1), pointer(s2), byref(cost))
        assert_allclose(new, expected, **tolerance(dtype, 4))
        for s, e in zip(states[:n_states], expected_states[:n_states], strict=True):
            assert_allclose(s, e, **tolerance(dtype, 4))
        ww = w.astype(float)
        assert_allclose(cost.value, 1.5 + l1 * np.abs(ww).sum() + l2 / 2 * (ww**2).sum(), rtol=1e-5)
        check()


def test_update_nonfinite(k, dtype):
    u = kt.Update(kt.RULES.index("gradient_descent"), 1.0, 0, 0, 0, 0, 0, 0)
    w, g = np.ones(9, dtype), np.zeros(9, dtype)
    g[[1, 8]] = np.nan, np.inf
    k.update(byref(u), 9, pointer(w), pointer(g), None, None, byref(c_double(0)))
    assert_array_equal(w, [1, np.nan, 1, 1, 1, 1, 1, 1, -np.inf])


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


def test_scaled(k, dtype, rng):
    for n in SIZES:
        a = rng.normal(size=n).astype(dtype)
        out, check = guarded(n, dtype)
        k.scaled(n, 0.7, pointer(a), pointer(out))
        check()
        assert_array_equal(out, a * dtype.type(0.7))
