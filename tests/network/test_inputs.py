"""What comes in: only numbers, however they lie in memory; and nothing that others write to leads out of bounds."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from fastbp import (
    LBFGS,
    SGD,
    Adam,
    Dense,
    HistogramLoss,
    Network,
    Newton,
    NewtonCG,
    SoftmaxCrossEntropy,
)  # fmt: skip


def make(n_inputs=4, n_outputs=2, **settings):
    return Network([Dense(5, "tanh"), Dense(n_outputs)], n_inputs=n_inputs, random_state=0, **settings)


# ---- kinds of numbers ------------------------------------------------------------------------------------------------

NO_NUMBERS = {
    "date": np.datetime64("2020-01-01"), "span": np.timedelta64(1, "D"), "str": "1", "bytes": b"1", "complex": 1j,
    "object": object(), "None": None,
}  # fmt: skip
X, Y, N = np.ones((6, 4)), np.ones((6, 2)), 37
ARGUMENTS = {
    "predict X": (X.shape, lambda net, bad: net.predict(bad)),
    "predict order": ((2,), lambda net, bad: net.predict(X, order=bad)),
    "predict out": (Y.shape, lambda net, bad: net.predict(X, out=bad)),
    "fit X": (X.shape, lambda net, bad: net.fit(bad, Y)),
    "fit y": (Y.shape, lambda net, bad: net.fit(X, bad)),
    "fit weight": ((6,), lambda net, bad: net.fit(X, Y, sample_weight=bad)),
    "validation X": (X.shape, lambda net, bad: net.fit(X, Y, validation_data=(bad, Y))),
    "validation y": (Y.shape, lambda net, bad: net.fit(X, Y, validation_data=(X, bad))),
    "validation weight": ((6,), lambda net, bad: net.fit(X, Y, validation_data=(X, Y, bad))),
    "partial_fit X": (X.shape, lambda net, bad: net.partial_fit(bad, Y)),
    "partial_fit y": (Y.shape, lambda net, bad: net.partial_fit(X, bad)),
    "value_and_gradient X": (X.shape, lambda net, bad: net.value_and_gradient(bad, Y)),
    "value_and_gradient y": (Y.shape, lambda net, bad: net.value_and_gradient(X, bad)),
    "value_and_gradient weight": ((6,), lambda net, bad: net.value_and_gradient(X, Y, bad)),
    "hessian X": (X.shape, lambda net, bad: net.hessian(bad, Y)),
    "hessian y": (Y.shape, lambda net, bad: net.hessian(X, bad)),
    "hessian_vector_product v": ((N,), lambda net, bad: net.hessian_vector_product(X, Y, bad)),
    "forward X": (X.shape, lambda net, bad: net.forward(bad)),
    "backward dz": (Y.shape, lambda net, bad: net.backward(bad)),
    "step gradient": ((N,), lambda net, bad: net.step(bad, SGD())),
    "init_lsuv X": (X.shape, lambda net, bad: net.init_lsuv(bad)),
    "init_centres X": (X.shape, lambda net, bad: net.init_centres(bad)),
}


@pytest.mark.once
@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_number_does_not_become_one(argument, kind):
    shape, call = ARGUMENTS[argument]
    net = make()
    net.forward(X)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="must hold real numbers|order must be|out must be"):
        call(net, np.full(shape, NO_NUMBERS[kind]))
    assert_array_equal(net.parameters, before)


def test_numbers_of_all_kinds_are_taken():
    for dtype in (bool, np.int8, np.uint16, np.int64, np.uint64, np.float16, np.float32, np.longdouble):
        net, expected = make(), make()
        for each, a in ((net, np.ones((6, 4), dtype)), (expected, X)):
            each.fit(a, a[:, :2], sample_weight=a[:, 0], validation_data=(a, a[:, :2], a[:, 0]))
            each.forward(a)
            each.step(each.backward(a[:, :2])[0].astype(dtype) if dtype == np.longdouble else np.ones(N, dtype), SGD())
            each.hessian_vector_product(a, a[:, :2], np.ones(N, dtype))
        if dtype != np.longdouble:
            assert_array_equal(net.parameters, expected.parameters)


# ---- memory ----------------------------------------------------------------------------------------------------------


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    b = raw[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    assert not b.flags.aligned
    return b


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def apart(a):
    return np.repeat(a, 2)[::2]


@pytest.mark.parametrize("lie", [unaligned, swapped, apart])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_csr_arrays_as_they_lie(rng, lie, index, dtype):
    X = sparse.csr_array(rng.normal(size=(30, 4)) * (rng.random((30, 4)) < 0.5), dtype=dtype)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    y, v = rng.normal(size=(30, 2)), rng.normal(size=N)
    net = make(dtype=dtype)
    for parts in (("data",), ("indices",), ("indptr",), ("data", "indices", "indptr")):
        other = X.copy()
        for part in parts:
            setattr(other, part, lie(getattr(other, part)))
        assert_array_equal(net.predict(other), net.predict(X))
        assert_array_equal(net.value_and_gradient(other, y)[1], net.value_and_gradient(X, y)[1])
        assert_array_equal(net.hessian_vector_product(other, y, v), net.hessian_vector_product(X, y, v))
        for part in parts:
            assert getattr(other, part).flags.aligned == (lie is not unaligned)  # nothing was changed


@pytest.mark.parametrize("lie", [unaligned, swapped])
def test_vectors_and_targets_as_they_lie(rng, lie):
    X, y, weight = rng.normal(size=(30, 4)), rng.normal(size=(30, 2)), rng.random(30)
    nets = [make() for _ in range(2)]
    for net, as_it_is in zip(nets, (np.asarray, lie), strict=True):
        net.fit(as_it_is(X), as_it_is(y), sample_weight=as_it_is(weight), epochs=3)
        net.forward(as_it_is(X))
        net.step(as_it_is(net.backward(as_it_is(y))[0]), SGD())
    assert_array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize("optimizer", [SGD(0.01), LBFGS(), Newton(), NewtonCG()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("part", ["indptr", "indices"])
def test_csr_that_changes_during_training(rng, optimizer, index, part):
    """The rows' bounds are ours alone, and so they change nothing; columns may change the result, but no more."""
    X = sparse.csr_array(rng.normal(size=(60, 4)) * (rng.random((60, 4)) < 0.5))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    y, net, expected = rng.normal(size=(60, 2)), make(), make()
    expected.fit(X, y, optimizer=optimizer, epochs=4)

    def spoil(epoch, history):
        getattr(X, part)[:] = (-(10**9), 2**31 - 1, 10**9, -7)[epoch]

    net.fit(X, y, optimizer=optimizer, epochs=4, callback=spoil)
    if part == "indptr":
        assert_array_equal(net.parameters, expected.parameters)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    ("kind", "part"),
    [("csc", "indices"), ("csc", "indptr"), ("coo", "row"), ("coo", "col"), ("bsr", "indices"), ("bsr", "indptr")],
)
@pytest.mark.parametrize("value", [10**9, -1])
def test_other_sparse_matrices_that_lead_out_of_bounds(kind, part, value):
    X = sparse.random(300, 40, 0.2, format=kind, random_state=0)
    whole = X.toarray()
    assert_array_equal(make(40).predict(X), make(40).predict(sparse.csr_array(whole)))
    getattr(X, part)[5] = value
    with pytest.raises(ValueError, match=f"X must be a valid {kind.upper()} matrix"):
        make(40).predict(X)


ANOTHER_THREAD_WRITES = """
import sys, threading, time
import numpy as np
from scipy import sparse
from fastbp import Dense, Network, NewtonCG, SGD

part, index, hidden = sys.argv[1], sys.argv[2], int(sys.argv[3])
X = sparse.random(400, 300, 0.1, format="csr", random_state=0, dtype="float32")
X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
y, labels = np.zeros((400, 3)), np.zeros(400, int)
array, whole, done = getattr(X, part), getattr(X, part).copy(), False

def write():
    rng = np.random.default_rng(0)
    while not done:
        i = rng.integers(len(array), size=5)
        array[i] = rng.choice([-(10**9), 10**9, 2**31 - 1, 5000, 400, -1], 5)
        for _ in range(20):
            array[i[1:]] = whole[i[1:]]
        array[i] = whole[i]
        time.sleep(1e-3)

writer = threading.Thread(target=write, daemon=True)
writer.start()
end, small = time.perf_counter() + 1.5, hidden < 100
net = Network([Dense(hidden, "tanh"), Dense(3)], n_inputs=300, dtype="float32", random_state=0)
calls = [
    lambda: net.fit(X, y, optimizer=SGD(1e-6), epochs=2, validation_data=(X, y)),
    lambda: net.predict(X), lambda: net.predict(X, order=[3, 1, 399]),
    lambda: net.value_and_gradient(X, y, n_threads=2), lambda: net.backward(net.forward(X)),
    lambda: net.fit(X, y, optimizer=NewtonCG(), epochs=1) if small else None,
    lambda: net.fit(X, y, validation_data=(np.ones((3, 300)), np.ones((3, 3))), early_stopping=1, then="retrain"),
]
made = 0
while time.perf_counter() < end or (made <= 5 and time.perf_counter() < end + 60):
    for call in calls:
        try:
            call()
            made += 1
        except (ValueError, FloatingPointError):
            pass
done = True
writer.join()
assert made > 5, made
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("part", "index", "hidden"),
    [("indptr", "int32", 20), ("indptr", "int64", 4000), ("indices", "int64", 20), ("indices", "int32", 4000)],
)
def test_another_thread_writes_to_csr(part, index, hidden):
    subprocess.run([sys.executable, "-P", "-c", ANOTHER_THREAD_WRITES, part, index, str(hidden)], check=True)


# ---- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coo", "csr", "csc", "bsr"])
@pytest.mark.parametrize("dtype, first, second", [("uint8", 200, 100), ("bool", True, True), ("int8", 100, 100)])
def test_repeated_entries_are_added_as_numbers(kind, dtype, first, second):
    """Not in their own integers: 200 + 100 is 300 and not 44, true and true are 2."""
    X = sparse.coo_array((np.array([first, second], dtype), ([0, 0], [1, 1])), shape=(2, 4))
    if kind != "coo":
        repeated = {"csr": ([1, 1], [0, 2, 2]), "csc": ([0, 0], [0, 0, 2, 2, 2])}
        data, (indices, indptr) = X.data, repeated.get(kind, repeated["csr"])
        if kind == "bsr":
            data, indptr = data.reshape(-1, 1, 1), repeated["csr"][1]
        X = getattr(sparse, f"{kind}_array")((data, indices, indptr), shape=(2, 4))
    net = make()
    dense = np.zeros((2, 4))
    dense[0, 1] = float(first) + float(second)
    assert_array_equal(net.predict(X), net.predict(dense))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", SoftmaxCrossEntropy(0.1)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "bool", "int64"])
def test_rows_of_probabilities_sum_to_1(rng, loss, dtype):
    X = rng.normal(size=(70_000, 2)).astype("f4")
    one_hot, net = np.eye(3, dtype=dtype)[rng.integers(0, 3, 70_000)], make(2, 3, loss=loss)
    net.fit(X[:50], one_hot[:50])
    net.value_and_gradient(X, one_hot)
    before = net.parameters.copy()
    for row, bad, total in ((1, [1, 1, 0], "2.0"), (49, [0, 0, 0], "0.0"), (69_999, [1, 1, 1], "3.0")):
        y = one_hot.copy()
        y[row] = bad
        for call in (
            lambda y=y: net.fit(X, y), lambda y=y: net.partial_fit(X, y, optimizer=Adam()),
            lambda y=y: net.value_and_gradient(X, y), lambda y=y: net.fit(X, one_hot, validation_data=(X, y)),
            lambda y=y, row=row: net.fit(X, y, sample_weight=np.arange(70_000) != row),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=f"y must have rows that sum to 1 .*{total} in row {row}; .*cross_e"):
                call()
    assert_array_equal(net.parameters, before)


def test_probabilities_are_taken_as_they_are_rounded(rng):
    p = rng.dirichlet(np.ones(200), size=1000)
    X, net = rng.normal(size=(1000, 2)), make(2, 200, loss="softmax_cross_entropy")
    for dtype in ("float64", "float32", "float16"):
        net.fit(X, p.astype(dtype))
    with pytest.raises(ValueError, match="sum to 1"):
        net.fit(X, p * 1.002)
    net = make(2, 30, loss=HistogramLoss(np.linspace(-9, 9, 31), 0.01))
    net.fit(X, X[:, 0])
