"""Rows of any dtype and layout, dense and sparse, are the same rows."""

import itertools

import numpy as np
import pytest
from network_cases import expected_gradient, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import LBFGS, SGD, Dense, Network
from fastbp.network import inputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinds_of_input(rng, tmp_path, dtype):
    """All kinds of X and y give the bits of the C-contiguous array of the network's dtype."""
    X = (rng.random((40, 9)) * 255 * (rng.random((40, 9)) < 0.5)).astype(np.uint8)
    y = rng.integers(0, 3, 40)
    X_plain = X.astype(dtype)
    memmap = np.memmap(tmp_path / "X", dtype, "w+", shape=X.shape)
    memmap[:] = X_plain
    read_only = X_plain.copy()
    read_only.flags.writeable = False
    kinds = {
        "uint8": X, "float32": X.astype("f4"), "float64": X.astype("f8"), "int64": X.astype(int),
        "float16": X.astype("f2"), "big-endian": X.astype(">f8"), "Fortran": np.asfortranarray(X_plain),
        "strided": np.repeat(np.repeat(X_plain, 2, 0), 2, 1)[::2, ::2],
        "reversed": X_plain[::-1, ::-1].copy()[::-1, ::-1],
        "memmap": memmap, "read-only": read_only, "list": X.tolist(),
        "unaligned": np.frombuffer(b"x" + X_plain.tobytes(), np.uint8)[1:].view(dtype).reshape(X.shape),
    }  # fmt: skip

    def train(X, y):
        net = make([9, 8, 3], "relu", "softmax_cross_entropy", dtype)
        net.fit(X, y, optimizer=SGD(1e-4, momentum=0.9), epochs=3, batch_size=16)
        return net.parameters, net.predict(X), net.predict(X, order=[3, 1, 1])

    expected = train(X_plain, y)
    assert_array_equal(expected[2], expected[1][[3, 1, 1]])
    for name, kind in kinds.items():
        for a, b in zip(train(kind, y), expected, strict=True):
            assert_array_equal(a, b, err_msg=name)
    assert_array_equal(train(X > 0, y)[0], train((X > 0).astype(dtype), y)[0])
    for targets in (y.astype("u1"), y.astype("f8"), y.tolist(), np.repeat(y, 2)[::2]):
        assert_array_equal(train(X_plain, targets)[0], expected[0])
    assert_allclose(train(X_plain, np.eye(3)[y])[0], expected[0], rtol=1e-4)
    def wide(X):
        X = sparse.csr_array(X)
        return sparse.csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)

    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array, sparse.lil_array, wide):
        for source in (X_plain, X.astype("f4"), X):
            for a, b in zip(train(kind(source), y), expected, strict=True):
                assert_allclose(a, b, rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-5 if dtype == "float32" else 0)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_data_frames_and_series(rng, loss):
    """X, targets, weights and validation data of pandas give the bits of the arrays that they hold."""
    pd = pytest.importorskip("pandas")
    n_outputs = 3 if loss == "softmax_cross_entropy" else 1
    X, y, weight = rng.normal(size=(40, 9)), rng.integers(0, n_outputs, 40), rng.random(40)
    results = []
    for frame, series in ((np.asarray, np.asarray), (pd.DataFrame, pd.Series)):
        net = make([9, 8, n_outputs], "relu", loss)
        data = frame(X), series(y), series(weight)
        history = net.fit(*data[:2], sample_weight=data[2], optimizer=SGD(0.01), epochs=2, validation_data=data)
        net.partial_fit(frame(X[:1]), series(y[:1]), optimizer=SGD(0.01), batch_size=1)
        results.append((net.predict(data[0]), history.validation_loss, *net.value_and_gradient(*data[:2])))
    for plain, found in zip(*results, strict=True):
        assert_array_equal(found, plain)


def test_objects_that_are_numbers(rng):
    """What frames of several types, as `get_dummies` makes them, and columns of objects give."""
    pd = pytest.importorskip("pandas")
    X, y = rng.normal(size=(30, 3)).round(2), rng.integers(0, 3, 30)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": X[:, 2]})
    assert np.asarray(frame).dtype == object
    plain, objects = (make([3, 4, 3], loss="softmax_cross_entropy") for _ in range(2))
    plain.fit(frame.to_numpy(np.float64), y, sample_weight=abs(X[:, 0]), epochs=2)
    objects.fit(frame, pd.Series(y, dtype=object), sample_weight=abs(frame["a"]).astype(object), epochs=2)
    assert_array_equal(plain.parameters, objects.parameters)
    assert_array_equal(plain.predict(frame), objects.predict(frame.astype("float64")))


def test_objects_that_are_no_numbers():
    pd = pytest.importorskip("pandas")
    net = make([2, 1])
    frame = pd.DataFrame({"size": [1.0, 2.0], "color": ["red", "blue"]})
    for X, got in (
        (frame, "'red' in row 0, column 'color'"),
        (pd.DataFrame({"a": [1, 2], "b": [True, None]}).astype({"b": "boolean"}), "<NA> in row 1, column 'b'"),
        (np.array([[1, 2], [None, 3]]), "None in row 1, column 0"),
        (np.array([[1, 2], [3, np.timedelta64(1)]], object), r"timedelta64\(1\) in row 1, column 1"),
        (frame["color"], "'red' in row 0"),
        (np.ma.masked_invalid([[1.0, np.nan], [np.inf, 2.0]]), r"got 2 masked elements \(X.filled\(\) has values"),
        ({"a": np.ones((2, 10**4))}, "got {'a': array.{1,40}$"),
        ("X.csv", "got 'X.csv'"),
        ([[1, 10**400], [1, 1]], ""),
    ):
        with pytest.raises(ValueError, match=f"^X must hold real numbers.*{got}"):
            net.fit(X, [1.0, 2.0])


def test_arrays_of_other_classes():
    """Without anything masked they are the numbers that they hold, of which matrices have no other shapes."""
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    nets = [make([2, 3, 1]) for _ in range(3)]
    kinds = [np.asarray, np.ma.masked_invalid, np.matrix]
    for net, kind in zip(nets, kinds, strict=True):
        net.fit(kind(X), y, epochs=2)
        assert type(net.predict(kind(X))) is np.ndarray
    for net in nets[1:]:
        assert_array_equal(net.parameters, nets[0].parameters)


def test_masked_elements_are_not_predicted_from():
    net, X = make([2, 1]), np.ma.masked_greater([[1.0, 2.0], [3.0, 4.0]], 3)
    for call in (net.predict, net.forward, net.activations, lambda X: net.value_and_gradient(X, [1, 2])):
        with pytest.raises(ValueError, match="X must hold real numbers, got 1 masked element"):
            call(X)


def test_unsorted_csr_is_not_modified(rng):
    X = sparse.csr_array((np.arange(1.0, 5), [3, 0, 2, 1], [0, 2, 4]), shape=(2, 4))
    before = X.indices.copy()
    net = make([4, 3, 1])
    assert_allclose(net.predict(X), net.predict(X.toarray()))
    for a, b in zip(net.value_and_gradient(X, [1, 2]), net.value_and_gradient(X.toarray(), [1, 2]), strict=True):
        assert_allclose(a, b)
    assert_array_equal(X.indices, before)


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("value", [-1, 99])
def test_corrupt_csr_is_an_error(part, value):
    X = sparse.csr_array(np.eye(4))
    getattr(X, part)[1] = value
    net = make([4, 3, 1])
    for call in (lambda: net.predict(X), lambda: net.fit(X, np.ones(4))):
        with pytest.raises(ValueError, match="X must be a valid CSR matrix"):
            call()


def test_unusual_csr(rng):
    """Strided and narrow index arrays, and rows that were reordered behind scipy's back."""
    X = sparse.csr_array(rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.4))
    y, net = rng.normal(size=30), make([20, 8, 1])
    expected = net.value_and_gradient(X.toarray(), y)
    strided, narrow, reordered = X.copy(), X.copy(), X.copy()
    strided.indices, strided.data = np.repeat(X.indices, 2)[::2], np.repeat(X.data, 2)[::2]
    narrow.indices = X.indices.astype(np.int16)
    assert reordered.has_sorted_indices
    for a in (reordered.indices, reordered.data):
        for begin, end in itertools.pairwise(X.indptr):
            a[begin:end] = a[begin:end][::-1]
    for kind in (strided, narrow, reordered):
        for a, b in zip(net.value_and_gradient(kind, y), expected, strict=True):
            assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_data_are_not_changed(rng):
    X, y, _ = problem(rng, 50, 6, 2, "squared_error")
    before = X.copy(), y.copy()
    make([6, 5, 2]).fit(X, y, epochs=2, batch_size=8, validation_data=(X, y))
    assert_array_equal(X, before[0])
    assert_array_equal(y, before[1])


@pytest.mark.parametrize("sizes", [[300, 100, 5], [40, 8, 5], [70, 5]])
@pytest.mark.parametrize("kind", ["float64", "uint8", "sparse"])
def test_gradient_of_inputs_that_are_mostly_zeros(rng, sizes, kind):
    """The products that skip zeros against the reference, with rows and columns that have nothing else."""
    X, y = rng.integers(1, 9, (90, sizes[0])) * (rng.random((90, sizes[0])) < 0.05), rng.integers(0, 5, 90)
    X[::7], X[:, ::5] = 0, 0
    layers = [*(Dense(n, "tanh") for n in sizes[1:-1]), Dense(sizes[-1])]
    net = Network(layers, n_inputs=sizes[0], loss="softmax_cross_entropy", random_state=0)
    weights, rows = rng.random(90), sparse.csr_array(X, dtype="float64") if kind == "sparse" else X.astype(kind)
    assert net.program("gradient", X=rows).x_as_nonzeros == (kind == "sparse" or sizes[0] >= 64)
    cost, gradient = net.value_and_gradient(rows, y, weights)
    expected = expected_gradient(net, X, np.eye(5)[y], weights)
    assert_allclose(cost, expected[0], rtol=1e-12)
    assert_allclose(gradient, expected[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "sparse"])
@pytest.mark.parametrize("sizes", [[300, 100, 5], [64, 200, 5], [70, 5]])
def test_prediction_from_inputs_that_are_mostly_zeros(rng, sizes, kind):
    """Skipping zeros does not change a bit: `forward` does not skip those of dense inputs."""
    X = rng.integers(1, 9, (300, sizes[0])) * (rng.random((300, sizes[0])) < 0.03)
    rows = sparse.csr_array(X, dtype="float64") if kind == "sparse" else X.astype(kind)
    layers = [*(Dense(n, "tanh") for n in sizes[1:-1]), Dense(sizes[-1])]
    net = Network(layers, n_inputs=sizes[0], dtype="float32", random_state=0)
    expected = net.forward(X.astype("float32"))
    assert net.program("predict", X=rows).x_as_nonzeros
    assert not net.program("forward", X=X.astype("float32")).x_as_nonzeros
    assert_array_equal(net.predict(rows), expected)
    assert_array_equal(net.predict(rows, order=[7, 7, 3]), expected[[7, 7, 3]])
    for i in range(5):
        assert_array_equal(net.predict(rows[[i]]), expected[[i]])
    hidden = np.flatnonzero(X[0] == 0)[0]
    X = X.astype("float64")
    X[0, hidden] = np.nan  # however few elements are looked at, NaN is not a zero
    assert np.isnan(net.predict(X)[0]).all() and np.isfinite(net.predict(X)[1:]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("source", ["float32", "float64", "uint8", "bool"])
def test_columns_that_lie_together(rng, dtype, source):
    """What a data frame gives has the bits of the same in C order, whether it is copied or read in place."""
    X = (rng.random((403, 37)) * 200 % (2 if source == "bool" else 256)).astype(source)
    y = rng.integers(0, 3, len(X))

    def results(X):
        nets = [make([37, 20, 3], "tanh", "softmax_cross_entropy", dtype) for _ in range(4)]
        rule = SGD(1e-3, momentum=0.9)
        nets[0].fit(X, y, optimizer=rule, epochs=2, batch_size=50)
        nets[1].fit(X, y, optimizer=rule, epochs=2, batch_size=50, shuffle=False)
        nets[2].fit(X, y, optimizer=LBFGS(), epochs=2)
        nets[3].fit(
            X[:300], y[:300], optimizer=rule, epochs=2, validation_data=(X[300:], y[300:]), early_stopping=1,
            then="retrain",
        )  # fmt: skip
        cost, gradient = nets[0].value_and_gradient(X, y)
        predictions = nets[0].predict(X), nets[0].predict(X, order=[5, 3, 3])
        return [*(net.parameters for net in nets), cost, gradient, *predictions]

    expected = results(X)
    many = np.zeros((37 * 3, 403), source)
    many[::3] = X.T
    for kind in (np.asfortranarray(X), np.asfortranarray(X[::-1, ::-1])[::-1, ::-1], many.T[:, ::3]):
        assert_array_equal(kind, X)
        for a, b in zip(results(kind), expected, strict=True):
            assert_array_equal(a, b)


def test_what_is_copied_to_be_shuffled(rng, tmp_path, monkeypatch):
    """Columns that lie together, if large and if there is memory; in a smaller dtype if the network's is."""
    X = rng.random((500, 20))
    F = np.asfortranarray(X)
    mapped = np.memmap(tmp_path / "X", X.dtype, "w+", shape=X.shape, order="F")
    small, f4, f8 = np.asfortranarray(X[:400]), np.dtype("f4"), np.dtype("f8")
    for same in (X, X[:, ::-1], np.repeat(X, 3, 1)[:, ::3], mapped, mapped[1:], np.asarray(mapped), small, X[:, :1]):
        assert inputs.row_major(same, f8) is same
    for kind, dtype, expected in (
        (F, f8, f8), (F, f4, f4), (F.astype(f4), f8, f4), (np.asfortranarray(X > 0.5), f8, bool),
        (np.asfortranarray(255 * X, np.uint8), f4, np.uint8), (F[::-1, ::-1], f8, f8),
    ):  # fmt: skip
        copy = inputs.row_major(kind, dtype)
        assert copy.dtype == expected
        assert copy.flags.c_contiguous
        assert_array_equal(copy, kind.astype(expected))
    large = np.zeros((5, 1 << 21)).T
    monkeypatch.setattr(inputs, "_available_memory", lambda: 4 * large.nbytes - 4)
    assert inputs.row_major(large, f8) is large
    assert inputs.row_major(large, f4) is not large

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(np, "empty", no_memory)
    assert inputs.row_major(F, f8) is F


def test_available_memory():
    assert 1 << 20 < inputs._available_memory() < 1 << 50
