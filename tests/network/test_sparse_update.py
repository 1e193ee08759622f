"""Of a first layer on CSR with many columns only those weights are updated whose columns have nonzeros, if nothing but
the rule moves the others: they make up for the steps that they have missed when they are read again."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import SGD, Adagrad, Adam, AdamW, Dense, Network, RMSProp, StepDecay

pytestmark = pytest.mark.once

N = 70_000  # columns, so many that W is used where it lies with any rule


def rows(rng, n=50):
    """A few nonzeros a row, explicit zeros and frequent columns among them, and some rows without any."""
    counts = rng.integers(0, 9, n)
    columns = [np.sort(rng.choice(np.r_[0:20, N - 20 : N, 1000:1200], c, replace=False)) for c in counts]
    indices = np.concatenate(columns)
    return sparse.csr_array((rng.integers(-1, 3, len(indices)) / 4, indices, np.r_[0, counts.cumsum()]), (n, N))


def net_of(dtype, n_inputs=N, **settings):
    return Network(
        [Dense(17, "tanh", **settings), Dense(2)], n_inputs=n_inputs, loss="softmax_cross_entropy", dtype=dtype,
        random_state=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "rule",
    [
        SGD(0.5), SGD(0.5, clip_value=0.01), Adagrad(0.1), SGD(0.5, momentum=0.9), Adam(0.01),
        SGD(0.5, momentum=0.9, nesterov=True, clip_value=0.01), RMSProp(0.01, momentum=0.8),
        AdamW(0.01, weight_decay=0.1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_bits(rng, rule, dtype, batch_size):
    """Those of the update of all weights, which a bound on their norm that nothing reaches asks for."""
    X, y = rows(rng), rng.integers(0, 2, 50)
    everything = net_of(dtype, max_norm=1e9)
    assert not everything.program("train", X=X, batch_size=batch_size).sparse_update
    kwargs = {"optimizer": rule, "epochs": 3, "batch_size": batch_size, "sample_weight": rng.integers(0, 3, 50)}
    expected = everything.fit(X, y, **kwargs)
    for n_threads in (1, 2, 3):
        net = net_of(dtype)
        assert net.program("train", X=X, batch_size=batch_size, optimizer=rule).sparse_update
        history = net.fit(X, y, n_threads=n_threads, **kwargs)
        assert_array_equal(net.parameters, everything.parameters)
        assert_array_equal(history.loss, expected.loss)


@pytest.mark.parametrize(
    "rule",
    [
        SGD(StepDecay(0.1), momentum=0.5), SGD(0.1, weight_decay=0.01), RMSProp(0.001),
        Adagrad(0.01, weight_decay=0.01),
        Adam(StepDecay(0.001), beta_1=0.3, beta_2=0.9), Adam(0.0001, beta_1=0.5, beta_2=0.1),
        AdamW(0.001, beta_1=0.3, weight_decay=0.1), RMSProp(0.001, momentum=0.3, centered=True),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float64", 1e-10)])
def test_long_rests(rng, rule, dtype, rtol):
    """Steps by which a row of weights does not move any more are made up for at once."""
    n, n_inputs = 600, 2000
    columns = rng.integers(0, 3, n)
    columns[:: n // 5] = n_inputs - 1 - np.arange(5)  # each but once
    X = sparse.csr_array((rng.normal(size=n), columns, np.arange(n + 1)), (n, n_inputs))
    y, kwargs = rng.integers(0, 2, n), {"optimizer": rule, "epochs": 2, "batch_size": 1, "shuffle": False}
    everything, net = net_of(dtype, n_inputs, max_norm=1e9), net_of(dtype, n_inputs)
    assert net.program("train", X=X, batch_size=1, optimizer=rule).sparse_update
    everything.fit(X, y, **kwargs)
    net.fit(X, y, **kwargs)
    assert_allclose(net.parameters, everything.parameters, rtol, rtol * 1e-2)
    for own, expected in zip(net._model.optimizer_state.arrays, everything._model.optimizer_state.arrays, strict=True):
        assert_allclose(own, expected, 10 * rtol, 1e-30)


def test_only_where_nothing_else_changes_weights(rng):
    """Other settings update all weights: what they do to those without nonzeros is not lost."""
    X, y = rows(rng), rng.integers(0, 2, 50)
    untouched = np.setdiff1d(np.arange(N), X.indices)[:100]
    for rule, l2 in ((SGD(0.5), 0.1), (SGD(0.5, weight_decay=0.1), 0), (Adam(), 0.1)):
        net = net_of("float32", l2=l2)
        before = net.weights[0][untouched].copy()
        net.fit(X, y, optimizer=rule, epochs=1, batch_size=10)
        assert (net.weights[0][untouched] != before).all()
        assert not net.program("train", X=X, batch_size=10).sparse_update or not l2
    momentum = net_of("float32")
    momentum.fit(X, y, optimizer=SGD(0.5, momentum=0.9), epochs=1, batch_size=50)
    before = momentum.weights[0].copy()
    momentum.partial_fit(X[:1], y[:1], optimizer=SGD(0.5, momentum=0.9))
    moved = np.setdiff1d(X.indices[X.data != 0], X[:1].indices)
    assert (momentum.weights[0][moved] != before[moved]).any(axis=1).mean() > 0.9
    few_columns = net_of("float32").program("train", X=sparse.csr_array(np.ones((3, N))), batch_size=3)
    assert not few_columns.sparse_update
