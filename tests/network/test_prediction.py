"""predict, and what a network shows of itself."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from network_cases import expected_output, make
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import Dense, Network, Parallel, Residual, Shared
from fastbp.graph.reference import predicted
from fastbp.losses import kernel_of


def test_predict_arguments(rng):
    net = make([4, 5, 2])
    X = rng.normal(size=(7, 4))
    out = np.empty((7, 2))
    assert net.predict(X, out=out) is out
    assert_array_equal(out, net.predict(X))
    assert net.predict(X[:0]).shape == (0, 2)
    overlap = X.reshape(-1)[:14].reshape(7, 2)
    for bad in (np.empty((6, 2)), np.empty((7, 2), "f4"), np.empty((7, 4))[:, ::2], [1], overlap):
        with pytest.raises(ValueError, match=r"out must be .* \(7, 2\)"):
            net.predict(X, out=bad)
    for order in ([7], [-1], [[1]], [0.5], [True, False]):
        with pytest.raises(ValueError, match="order must be .*, got "):
            net.predict(X, order=order)
    assert np.isnan(net.predict(np.full((1, 4), np.nan))).all()


def test_predict_checks_n_threads_of_small_work():
    for n_threads in (0, True, 1.5, 257):
        with pytest.raises(ValueError, match="n_threads must be"):
            make([4, 5, 2]).predict(np.ones((1, 4)), n_threads=n_threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [[4, 64, 64, 2], [7, 11, 5, 300], [300, 130, 17], [3, 1], [5, *[6] * 150, 2]])
def test_prediction_of_a_row_does_not_depend_on_the_others(rng, dtype, sizes):
    """Whether weights are packed, how rows are blocked and where the workspace lies do not change a bit."""
    loss = "softmax_cross_entropy" if sizes[-1] > 1 else "squared_error"
    net = make(sizes, "tanh", loss, dtype)
    X = rng.normal(size=(500, sizes[0])).astype(dtype)
    a = net.predict(X)
    expected = predicted(kernel_of(loss), expected_output(net, X))
    assert_allclose(a, expected, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-5 if dtype == "float32" else 1e-12)
    for n in (1, 2, 23, 47, 48, 49, 385):
        assert_array_equal(net.predict(X[:n]), a[:n])
        assert_array_equal(net.predict(X, order=np.arange(n) + 7), a[7 : n + 7])
        assert_array_equal(net.predict(X[:n], out=np.empty((n, sizes[-1]), dtype)), a[:n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_of_wide_layers_have_the_bits_of_single_ones(rng, dtype):
    """By columns or by rows, of weights read in parts, with branches that share buffers, and X that is copied first."""
    n = 1100 if dtype == "float32" else 520  # whose rows are far from each other
    shared = Shared(Dense(n, "tanh"), name="shared")
    branches = Parallel([[Dense(70, "relu"), Dense(n)], [Dense(30)]])
    residual = Residual([Dense(n, "softmax"), Dense(n)])
    layers = [shared, residual, branches, Dense(400, "elu"), shared.transposed(), Dense(3)]
    for network in (layers[:4] + layers[5:], layers[:3] + [Dense(n)] + layers[4:]):
        net = Network(network, n_inputs=300, loss="softmax_cross_entropy", dtype=dtype, random_state=0)
        X = rng.normal(size=(200, 300)).astype(dtype)
        a = np.concatenate([net.predict(X[i : i + 1]) for i in range(len(X))])
        for kind in (np.asarray, np.asfortranarray, sparse.csr_array):
            for m in (1, 2, 3, 6, 7, 8, 9, 25, 96, 97, 200):
                for n_threads in (1, 2, 3):
                    assert_array_equal(net.predict(kind(X[:m]), n_threads=n_threads), a[:m])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row_has_the_same_bits_for_any_number_of_threads(rng, dtype):
    """Sums in one part, two, three and four, of which members make as many each, or columns."""
    depth = 256 if dtype == "float32" else 128
    n = [4 * depth - 3, 3 * depth, 2 * depth + 1, 2 * depth, depth, 257]
    layers = [Dense(n[0], "tanh"), Residual([Dense(n[0])]), *(Dense(k, "relu") for k in n[1:])]
    net = Network(layers, n_inputs=n[0], loss="squared_error", dtype=dtype, random_state=0)
    X = rng.normal(size=(40, n[0])).astype(dtype)
    X[1, 40:] = 0
    a = net.predict(X, n_threads=1)
    for i in (0, 1, 39):
        for kind in (np.asarray, np.asfortranarray, sparse.csr_array):
            for n_threads in (1, 2, 3, 4):
                assert_array_equal(net.predict(kind(X[i : i + 1]), n_threads=n_threads), a[i : i + 1])
    for other in {"float32", "float64", "uint8"} - {dtype}:
        row = X[:1].astype(other)
        assert_array_equal(net.predict(row, n_threads=2), net.predict(row, n_threads=1))


def test_a_plan_that_is_kept_is_of_calls_alike(rng):
    """Other rows, numbers of them and of threads, types, strides, zeros and parameters in turn."""
    net = make([784, 800, 700, 3], "tanh", dtype="float32")
    X = rng.normal(size=(60, 784)).astype("float32")
    zeros = np.where(rng.random(X.shape) < 0.02, X, 0)
    kinds = [X, zeros, X[::2], X[:, ::-1], np.asfortranarray(X), X.astype(float), sparse.csr_array(zeros)]
    calls = [(n, n_threads, i) for n in (1, 2, 25) for n_threads in (2, 3) for i in range(len(kinds))]
    for _ in range(3):
        for n, n_threads, i in rng.permutation(calls).tolist():
            for start in (0, 1, 0):  # alike
                rows, out = kinds[i][start : start + n], np.empty((n, 3), "float32")
                alone = net.predict(rows, n_threads=1)
                assert_array_equal(net.predict(rows, n_threads=n_threads), alone)
                assert_array_equal(net.predict(rows, n_threads=n_threads, out=out), alone)
        net.parameters[:] = rng.normal(size=net.parameters.size) / 20


def test_threads_that_predict_at_once_have_plans_of_their_own(rng):
    net = make([784, 700, 700, 5], dtype="float32")
    X = rng.normal(size=(40, 784)).astype("float32")
    expected = net.predict(X, n_threads=1)
    with ThreadPoolExecutor(3) as pool:
        parts = [slice(i % 37, i % 37 + 1 + i % 3) for i in range(600)]
        for part, rows in zip(parts, pool.map(lambda part: net.predict(X[part], n_threads=2), parts), strict=True):
            assert_array_equal(rows, expected[part])


def test_parameters_are_views():
    net = make([3, 4, 2])
    assert net.parameters.size == 3 * 4 + 4 + 4 * 2 + 2
    assert [w.shape for w in net.weights] == [(3, 4), (4, 2)]
    net.parameters[:] = np.arange(net.parameters.size)
    assert_array_equal(net.weights[1], np.arange(16, 24).reshape(4, 2))
    net.biases[1][:] = 7
    assert_array_equal(net.parameters[-2:], 7)
    net.parameters[:] = 0
    assert_array_equal(net.predict(np.ones((2, 3))), 0)


def test_settings_that_shape_the_network_are_read_only():
    net = make([4, 2])
    for name in ("layers", "n_inputs", "loss", "dtype", "parameters"):
        with pytest.raises(AttributeError):
            setattr(net, name, getattr(net, name))
    with pytest.raises(TypeError):
        net.weights[0] = np.ones((4, 2))
    net.l2 = 0.5
    with pytest.raises(ValueError, match="l2 must be"):
        net.l2 = -1
