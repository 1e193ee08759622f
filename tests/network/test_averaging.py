"""Averages of the parameters that training goes through."""

import copy
import io
import os
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
import reference
from network_cases import FULL_BATCH, OPTIMIZERS, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from runtime_cases import NETWORKS, data, posix
from runtime_cases import make as make_large
from scipy import sparse

from fastbp import (
    EMA,
    SGD,
    SWA,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    Network,
    Residual,
    Scale,
    Shared,
    Standardize,
)

pytestmark = pytest.mark.once


def state(net):
    return net._model.optimizer_state.average


def learnt_by_steps(net, X, y, optimizer, batch_size, decay, n_epochs=1, **settings):
    """Train without an average, a call for each step; returns what the average is to be."""
    average, n = net.parameters.astype(float), 0
    for _ in range(n_epochs):
        for first in range(0, X.shape[0], batch_size):
            rows = slice(first, first + batch_size)
            size = X[rows].shape[0]
            net.partial_fit(X[rows], y[rows], optimizer=optimizer, batch_size=size, shuffle=False, **settings)
            n += 1
            average = reference.average(average, net.parameters, reference.average_share(decay, n))
    return average


def assert_alike(ours, theirs, dtype="float64"):
    eps = np.finfo(dtype).eps
    assert_allclose(ours, theirs, rtol=3e3 * eps, atol=3e2 * eps)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ema_is_that_of_steps_by_hand(rng, optimizer, dtype):
    """By every rule; what is learnt is the same as without an average."""
    X, y, _ = problem(rng, 60, 5, 3, "squared_error")
    X, y = X.astype(dtype), y.astype(dtype)
    net, other = (make([5, 20, 3], l1=0.001, l2=0.01, dtype=dtype) for _ in range(2))
    net.fit(X, y, optimizer=optimizer, batch_size=10, epochs=3, shuffle=False, average=EMA(0.8))
    expected = learnt_by_steps(other, X, y, optimizer, 10, 0.8, 3)
    tolerance = {"rtol": 1e-2, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-11}
    assert_allclose(state(net).learnt[0], other.parameters, **tolerance)
    assert_allclose(net.parameters, expected, **tolerance)
    assert abs(net.parameters - other.parameters).max() > 1e-3


def bounded(n, **settings):
    return Dense(n, "tanh", max_norm=0.4, **settings)


@pytest.mark.parametrize(
    ("layers", "rows", "batch_size", "settings"),
    [
        ([Dense(20, "tanh"), Dense(1)], 12, 1, {}),  # online
        ([Dense(20, "tanh", dropout=0.0), Dense(3)], 12, 3, {}),
        ([Dense(20, "tanh"), Dense(3)], 40, 40, {}),  # weights where they lie
        ([Dense(20, "tanh"), Dense(3)], 40, 15, {"clip_norm": 0.1}),
        ([bounded(20), bounded(3)], 40, 15, {}),
        ([bounded(20), bounded(3)], 40, 40, {}),
        ([Dense(70, "relu"), Residual([Dense(70, "relu")]), Dense(3)], 40, 15, {}),
        ([Shared(Dense(5, "tanh"), name="s"), Shared(Dense(5, "tanh"), name="s"), Dense(3)], 40, 15, {}),
        ([Dense(256, "relu"), Dense(3)], 1500, 1500, {}),  # in chunks
        ([Dense(20, "tanh", mask=np.arange(100).reshape(5, 20) % 3 > 0), Dense(3)], 40, 15, {}),
        ([Checkpoint([Dense(20, "tanh"), Dense(30, "tanh")]), Dense(20, "tanh"), Dense(3)], 40, 15, {}),
        ([Dense(20, "tanh"), Scale(), Dense(3)], 40, 15, {"per_role": {"scale": 0, "bias": 0.5}}),
    ],
)
def test_ema_on_every_path(rng, layers, rows, batch_size, settings):
    X = rng.normal(size=(rows, 5))
    nets = [Network(layers, n_inputs=5, random_state=0) for _ in range(2)]
    y = rng.random((rows, nets[0].predict(X).shape[1]))
    rule = SGD(0.2, momentum=0.9, **settings)
    nets[0].fit(X, y, optimizer=rule, batch_size=batch_size, epochs=2, shuffle=False, average=EMA(0.7))
    assert_alike(nets[0].parameters, learnt_by_steps(nets[1], X, y, rule, batch_size, 0.7, 2))


@pytest.mark.parametrize("n_inputs", [30, 40_000])
@pytest.mark.parametrize("max_norm", [None, 0.2])
def test_ema_of_csr(rng, n_inputs, max_norm):
    """Also where W is large and used where it lies, and updates would touch few of its rows without an average."""
    X = sparse.random_array((50, n_inputs), density=60 / 50 / n_inputs**0.9, format="csr", rng=rng)
    y = rng.random((50, 2))
    layers = [Dense(17, "tanh", max_norm=max_norm), Dense(2)]
    nets = [Network(layers, n_inputs=n_inputs, random_state=0) for _ in range(2)]
    assert nets[0].program(X=X, batch_size=10).sparse_update == (n_inputs == 40_000 and max_norm is None)
    nets[0].fit(X, y, optimizer=SGD(0.5), batch_size=10, epochs=2, shuffle=False, average=EMA(0.7))
    assert_alike(nets[0].parameters, learnt_by_steps(nets[1], X, y, SGD(0.5), 10, 0.7, 2))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_bits_do_not_depend_on_threads(name, max_norm):
    sizes, batch_size, n = NETWORKS[name]
    X, y = data(sizes, n)
    found = []
    for n_threads in (1, 2, 3):
        net = make_large(sizes, max_norm=max_norm)
        net.fit(X, y, optimizer=Adam(), batch_size=batch_size, epochs=2, average=EMA(0.9), n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        found.append((net.parameters, state(net).learnt[0]))
    for one in found[1:]:
        assert_array_equal(one, found[0])


def test_training_is_what_it_is_without_an_average(rng):
    """Bit by bit: the losses, the rows' order, and what is learnt."""
    X, y, _ = problem(rng, 50, 5, 3, "softmax_cross_entropy")
    for batch_size in (1, 7, 50):
        for average in (EMA(0.9), SWA(1)):
            nets = [
                make([5, 20, 3], loss="softmax_cross_entropy", input_noise=0.0 if batch_size == 1 else 0.1)
                for _ in range(2)
            ]
            settings = {"optimizer": Adam(0.01), "epochs": 4, "batch_size": batch_size}
            plain = nets[0].fit(X, y, **settings)
            averaged = nets[1].fit(X, y, **settings, average=average)
            assert_array_equal(averaged.loss, plain.loss)
            assert_array_equal(state(nets[1]).learnt[0], nets[0].parameters)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 2, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swa_is_the_mean_of_epochs(rng, start, every, dtype):
    """Also in a loop of partial_fit. Before there is a mean the network has what is learnt."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    nets = [make([5, 8, 2], dtype=dtype) for _ in range(3)]
    rule = SGD(0.3, momentum=0.5)
    taken, seen = [], []
    for epoch in range(8):
        nets[0].partial_fit(X, y, optimizer=rule, shuffle=False)
        if epoch >= start and (epoch - start) % every == 0:
            taken.append(nets[0].parameters.astype(float))
        seen.append(np.mean(taken, axis=0) if taken else nets[0].parameters.copy())

    def look(epoch, history):
        assert_allclose(nets[1].parameters, seen[epoch], rtol=1e-5 if dtype == "float32" else 1e-12)

    average = SWA(start=start, every=every)
    nets[1].fit(X, y, optimizer=rule, epochs=8, shuffle=False, average=average, callback=look)
    for _ in range(8):
        nets[2].partial_fit(X, y, optimizer=rule, shuffle=False, average=average)
    assert_array_equal(nets[1].parameters, nets[2].parameters)
    assert_array_equal(state(nets[1]).learnt[0], nets[0].parameters)
    look(7, None)


@pytest.mark.parametrize("average", [EMA(0.9), SWA(1, 2)])
def test_partial_fit_goes_on(rng, average):
    """As one fit would; through pickles and copies too."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    rule, settings = Adam(0.01), {"batch_size": 10, "shuffle": False, "average": average}
    whole, parts = make([5, 8, 2]), make([5, 8, 2])
    whole.fit(X, y, optimizer=rule, epochs=6, **settings)
    parts.fit(X, y, optimizer=rule, epochs=2, **settings)
    parts = pickle.loads(pickle.dumps(parts))
    parts.partial_fit(X, y, optimizer=rule, epochs=1, **settings)
    parts = copy.deepcopy(parts)
    parts.partial_fit(X, y, optimizer=rule, epochs=3, **settings)
    assert_array_equal(parts.parameters, whole.parameters)
    assert_array_equal(state(parts).learnt[0], state(whole).learnt[0])


def test_a_stream_of_rows(rng):
    """One call for each batch is one average of all steps."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    whole, stream = make([5, 8, 2]), make([5, 8, 2])
    whole.fit(X, y, optimizer=SGD(0.1), batch_size=4, shuffle=False, average=EMA(0.9))
    for i in range(0, 40, 4):
        stream.partial_fit(X[i : i + 4], y[i : i + 4], optimizer=SGD(0.1), average=EMA(0.9))
    assert_alike(stream.parameters, whole.parameters)
    assert state(stream).n == state(whole).n == 10


@pytest.mark.parametrize("change", ["parameters", "step", "average", "rule", "without", "fit"])
def test_what_begins_a_new_average(rng, change):
    """With the parameters that the network has then."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    net, rule, average = make([5, 8, 2]), SGD(0.1, momentum=0.9), EMA(0.9)
    settings = {"batch_size": 10, "shuffle": False}
    net.fit(X, y, optimizer=rule, average=average, epochs=2, **settings)
    if change == "parameters":
        net.parameters[3] += 1
    elif change == "step":
        net.step(np.ones_like(net.parameters), rule)
    elif change == "average":
        average = EMA(0.8)
    elif change == "rule":
        rule = Adam(0.01)
    elif change == "without":
        net.partial_fit(X, y, optimizer=rule, **settings)
    other = copy.deepcopy(net)
    other._model.optimizer_state.average = None
    before = net.parameters.copy()
    for twin in (net, other):
        (twin.fit if change == "fit" else twin.partial_fit)(X, y, optimizer=rule, average=average, **settings)
    assert_array_equal(net.parameters, other.parameters)
    assert state(net).n == 4
    again = make([5, 8, 2])
    again.parameters[:] = before
    if change in ("rule", "fit"):
        assert_alike(net.parameters, learnt_by_steps(again, X, y, rule, 10, 0.9))


def test_batches_without_weight_are_not_averaged(rng):
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    weight = np.repeat([1.0, 0.0, 2.0, 0.0], 10)
    chosen = np.repeat([True, False], 10).tolist() * 2
    for batch_size, large in ((1, 10), (10, 1)):
        net, other = make([5, 8, 2]), make([5, 8, 2])
        net.fit(X, y, optimizer=SGD(0.1), batch_size=batch_size, shuffle=False, sample_weight=weight, average=EMA(0.9))
        other.fit(
            X[chosen], y[chosen], optimizer=SGD(0.1), batch_size=batch_size, shuffle=False, average=EMA(0.9),
            sample_weight=weight[chosen],
        )  # fmt: skip
        assert state(net).n == 2 * large
        assert_array_equal(net.parameters, other.parameters)


@pytest.fixture
def noisy(rng):
    """Data with so much noise that the validation loss, of the rows from 60 on, has its minimum early on."""
    X = rng.normal(size=(85, 8))
    y = X[:, :2] @ rng.normal(size=(2, 2)) + 2 * rng.normal(size=(85, 2))
    y[60:] += 2
    return X, y


@pytest.mark.parametrize("average", [EMA(0.9), SWA(2)])
def test_early_stopping_is_by_the_average(noisy, average):
    X, y = noisy
    net, settings = make([8, 40, 2]), {"optimizer": SGD(0.05, momentum=0.9), "batch_size": 10, "average": average}
    seen, costs, validation = [], [], (X[60:], y[60:])

    def look(epoch, history):
        seen.append(net.parameters.copy())
        costs.append(net.value_and_gradient(*validation)[0])

    history = net.fit(
        X[:60], y[:60], epochs=100, validation_data=validation, early_stopping=5, callback=look, **settings
    )
    n = len(history.loss)
    best = history.validation_loss.argmin()
    assert n == best + 6
    assert_allclose(history.validation_loss, costs[:n], rtol=1e-12)
    assert_array_equal(net.parameters, seen[best])


@pytest.mark.parametrize("average", [EMA(0.9), SWA(2)])
@pytest.mark.parametrize("then", ["continue", "retrain"])
def test_what_follows_early_stopping(noisy, average, then):
    """On from what was learnt at the best epoch, and with the average of then; or from the start, with a new one."""
    X, y = noisy
    settings = {"optimizer": SGD(0.01, momentum=0.9), "batch_size": 10, "shuffle": False, "average": average}
    net, other = make([8, 40, 2]), make([8, 40, 2])
    history = net.fit(
        X[:60], y[:60], epochs=300, validation_data=(X[60:], y[60:]), early_stopping=5, then=then, **settings
    )
    best = history.validation_loss.argmin() + 1
    if then == "continue":
        other.fit(X[:60], y[:60], epochs=best, **settings)
        other.partial_fit(X, y, epochs=len(history.second.loss), **settings)
    else:  # as many steps: of 10 rows each, of which there are 60, then 85
        whole, rest = divmod(6 * best, 9)
        other.fit(X, y, epochs=whole, **settings)
        if rest:
            other.partial_fit(X[: 10 * rest], y[: 10 * rest], **settings)
    assert_array_equal(net.parameters, other.parameters)
    assert_array_equal(state(net).learnt[0], state(other).learnt[0])


@pytest.mark.parametrize("average", [EMA(0.5), SWA(0)])
@pytest.mark.parametrize("batch_size", [1, 5, 20])
@pytest.mark.parametrize("epochs", [1, 3])
def test_an_error_leaves_all_as_it_was(rng, average, batch_size, epochs):
    """What is learnt and the average too: the next call goes on as if there had been none."""
    X, y, _ = problem(rng, 20, 5, 2, "squared_error")
    settings = {"optimizer": SGD(0.1, momentum=0.9), "batch_size": batch_size, "average": average}
    net = make([5, 8, 2])
    net.fit(X, y, epochs=2, **settings)
    before, bad = pickle.dumps(net), X.copy()
    bad[17, 2] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        net.partial_fit(bad, y, epochs=epochs, **settings)
    assert pickle.dumps(net) == before
    for change in ({"average": EMA(0.25)}, {"average": None}, {"optimizer": SGD(1e30, momentum=0.9)}):
        other = settings | change
        rows = (X, y * 1e300) if "optimizer" in change else (bad, y)
        with pytest.raises((ValueError, FloatingPointError)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.partial_fit(*rows, epochs=epochs, **other)
        assert pickle.dumps(net) == before

    def fail(epoch, history):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        net.partial_fit(X, y, callback=fail, **settings)
    assert pickle.dumps(net) == before


@posix
@pytest.mark.parametrize("average", [EMA(0.9), SWA(0)])
def test_ctrl_c_leaves_the_average(rng, average):
    """And what is learnt, which goes on."""
    X, y, _ = problem(rng, 20_000, 30, 2, "squared_error")
    net = make([30, 100, 2])
    settings = {"optimizer": SGD(0.1), "batch_size": 10, "average": average}
    net.fit(X, y, epochs=1, **settings)
    mean = net.parameters.copy()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        net.partial_fit(X, y, epochs=10**6, **settings)
    assert np.isfinite(net.parameters).all()
    assert_array_equal(net.parameters, state(net).values[0])
    assert abs(net.parameters - state(net).learnt[0]).max() > 0
    assert state(net).n > (2000 if average == EMA(0.9) else 0)
    learnt = state(net).learnt[0].copy()
    net.partial_fit(X[:10], y[:10], **{**settings, "optimizer": SGD(1e-300)})
    assert_array_equal(state(net).learnt[0], learnt)
    assert abs(mean - net.parameters).max() > 0


@pytest.mark.parametrize("optimizer", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_not_for_full_batch_rules(rng, optimizer):
    X, y, _ = problem(rng, 20, 5, 2, "squared_error")
    net = make([5, 4, 2])
    before = pickle.dumps(net)
    with pytest.raises(ValueError, match=f"average must be None for {type(optimizer).__name__}"):
        net.fit(X, y, optimizer=optimizer, average=EMA())
    assert pickle.dumps(net) == before


def test_bad_settings(rng):
    X, y, _ = problem(rng, 20, 5, 2, "squared_error")
    net = make([5, 4, 2])
    before = pickle.dumps(net)
    for average in (0.9, "EMA", EMA, True):
        with pytest.raises(TypeError, match="average must be an EMA, a SWA or None, got"):
            net.fit(X, y, average=average)
    assert pickle.dumps(net) == before
    for decay in (1, -0.1, np.nan, "0.9", True, None):
        with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\), got"):
            EMA(decay)
    for start in (-1, 0.5, True, None):
        with pytest.raises(ValueError, match="start must be an integer of at least 0, got"):
            SWA(start)
    for every in (0, 1.5, True, None):
        with pytest.raises(ValueError, match="every must be an integer of at least 1"):
            SWA(0, every)
    assert EMA(np.float32(0.5)) == EMA(0.5) and SWA(np.int64(3)) == SWA(3, 1)


def test_extreme_decays(rng):
    """Of 0, the average is what is learnt; close to 1, the polynomial-decay average of all steps."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    for decay, same in ((0.0, 0.0), (1 - 2**-53, 1.0)):
        net, other = make([5, 4, 2]), make([5, 4, 2])
        net.fit(X, y, optimizer=SGD(0.1), batch_size=5, epochs=9, shuffle=False, average=EMA(decay))
        assert_alike(net.parameters, learnt_by_steps(other, X, y, SGD(0.1), 5, same, 9))
        assert_alike(other.parameters, state(net).learnt[0])


def test_an_average_is_better_than_what_it_is_made_of(rng):
    """With noisy gradients and a large rate, as on the notes' paraboloids: the mean of the walk around a minimum."""
    X = rng.normal(size=(500, 10))
    y = X @ rng.normal(size=(10, 1)) + rng.normal(size=(500, 1))
    best = np.linalg.lstsq(np.c_[X, np.ones(500)], y, rcond=None)[0]
    least = ((np.c_[X, np.ones(500)] @ best - y) ** 2).mean() / 2
    excess = {}
    for average in (None, EMA(0.99), SWA(10)):
        net = Network([Dense(1)], n_inputs=10, random_state=0)
        net.fit(X, y, optimizer=SGD(0.05), batch_size=2, epochs=40, average=average)
        excess[average] = net.value_and_gradient(X, y)[0] - least
    assert 0 < excess[EMA(0.99)] < excess[None] / 10
    assert 0 < excess[SWA(10)] < excess[None] / 10


def test_any_layers(rng):
    """Dropout too: an average is of parameters, whatever the graph."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    layers = [Dense(12, "tanh"), Dropout(0.3), Residual([Dense(6, "relu"), Dense(12)]), Dense(2)]
    nets = [Network(layers, n_inputs=5, random_state=0) for _ in range(2)]
    nets[0].fit(X, y, optimizer=Adam(0.01), batch_size=10, epochs=3, average=EMA(0.9))
    nets[1].fit(X, y, optimizer=Adam(0.01), batch_size=10, epochs=3)
    assert_array_equal(state(nets[0]).learnt[0], nets[1].parameters)


# ---- with batch normalisation ---------------------------------------------------------------------------------------


def normalized(seed=0, dtype="float64", n_inputs=5, n_outputs=2, width=12, dropout=0.0):
    layers = [Dense(width), BatchNorm(), Activation("tanh"), Dropout(dropout), Dense(7), BatchNorm(), Dense(n_outputs)]
    return Network(layers, n_inputs=n_inputs, dtype=dtype, random_state=seed)


def batch_statistics(net, X):
    """What each of the layers has of one batch: [mean, variance], the latter without bias."""
    h, found = X @ net.weights[0] + net.biases[0], []
    for i in (1, 3):
        mean, variance = h.mean(axis=0), h.var(axis=0)
        found += [mean, variance * len(h) / (len(h) - 1)]
        z = net.weights[i] * (h - mean) / np.sqrt(variance + 1e-5) + net.biases[i]
        h = np.tanh(z) @ net.weights[2] + net.biases[2] if i == 1 else None
    return np.concatenate(found)


def kept(net):
    return np.concatenate([*net.layer_state.values()])


@pytest.mark.parametrize("average", [EMA(0.9), SWA(1)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_statistics_are_made_anew_for_the_average(rng, average, dropout):
    """The means over the batches of an epoch, without dropout, after each, for all who look; what is learnt keeps its
    moving averages."""
    X, y, _ = problem(rng, 300, 5, 2, "squared_error")
    net, plain = normalized(dropout=dropout), normalized(dropout=dropout)
    seen, costs = [], []
    settings = {"optimizer": Adam(0.01), "epochs": 4, "batch_size": 60, "shuffle": False}

    def look(epoch, history):
        means = np.mean([batch_statistics(net, X[i : i + 60]) for i in range(0, 300, 60)], axis=0)
        seen.append(abs(kept(net) - means).max())
        costs.append(net.value_and_gradient(X, y)[0])

    history = net.fit(X, y, validation_data=(X, y), callback=look, average=average, **settings)
    plain.fit(X, y, **settings)
    assert_allclose(history.validation_loss, costs, rtol=1e-12)
    assert max(seen[isinstance(average, SWA) :]) < 1e-12  # before it begins a SWA has no average
    assert_array_equal(state(net).learnt[0], plain.parameters)
    assert_array_equal(state(net).learnt[1], kept(plain))
    again = pickle.loads(pickle.dumps(net))
    net.save(file := io.BytesIO())
    file.seek(0)
    for twin in (again, Network.load(file)):
        assert_array_equal(twin.predict(X), net.predict(X))
    for twin in (again, net):
        twin.partial_fit(X, y, average=average, **settings)
    plain.partial_fit(X, y, **settings)
    assert_array_equal(again.predict(X), net.predict(X))
    assert_array_equal(state(net).learnt[1], kept(plain))


def test_statistics_of_a_stream(rng):
    """Of few rows a call they are those of 256, with rows before."""
    X, y, _ = problem(rng, 800, 5, 2, "squared_error")
    net, expected = normalized(), None
    for k in range(20):
        rows = slice(32 * k, 32 * k + 32)
        net.partial_fit(X[rows], y[rows], optimizer=SGD(0.01), average=EMA(0.9))
        new = batch_statistics(net, X[rows])
        expected = new if k == 0 else expected + (new - expected) / min(k + 1, 8)
        assert_allclose(kept(net), expected, rtol=1e-10, atol=1e-12)
    net.partial_fit(X[:1], y[:1], optimizer=SGD(0.01), average=EMA(0.9))  # without a variance
    assert_allclose(kept(net), expected, rtol=1e-10, atol=1e-12)


def test_batches_without_a_variance_have_no_statistics(rng):
    """Of one row with weight, or none."""
    X, y, _ = problem(rng, 50, 5, 2, "squared_error")
    weight = np.ones(50)
    weight[:9] = 0
    weight[20:30] = 0
    net = normalized()
    net.fit(X, y, sample_weight=weight, batch_size=10, shuffle=False, average=EMA(0.9))
    expected = np.mean([batch_statistics(net, X[i : i + 10]) for i in (10, 30, 40)], axis=0)
    assert_allclose(kept(net), expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_do_not_depend_on_threads(rng, dtype):
    X, y, _ = problem(rng, 1500, 200, 3, "squared_error")
    X, y, found = X.astype(dtype), y.astype(dtype), []
    for n_threads in (1, 2, 3):
        net = normalized(dtype=dtype, n_inputs=200, n_outputs=3, width=150)
        net.fit(X, y, optimizer=Adam(), batch_size=150, epochs=2, average=EMA(0.9), n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        found.append((net.parameters, kept(net)))
    for one in found[1:]:
        for ours, theirs in zip(one, found[0], strict=True):
            assert_array_equal(ours, theirs)


def test_layers_state_that_was_changed_begins_a_new_average(rng):
    X, y, _ = problem(rng, 50, 5, 2, "squared_error")
    net = normalized()
    net.fit(X, y, optimizer=SGD(0.1), average=EMA(0.9))
    net.layer_state["1.mean"][0] += 1
    other = copy.deepcopy(net)
    other._model.optimizer_state.average = None
    for twin in (net, other):
        twin.partial_fit(X, y, optimizer=SGD(0.1), average=EMA(0.9), shuffle=False)
    assert_array_equal(net.parameters, other.parameters)
    assert_array_equal(kept(net), kept(other))


def test_statistics_of_inputs_go_on(rng):
    """Those of a first layer are of the first rows, and change nothing about the average."""
    X, y, _ = problem(rng, 40, 5, 2, "squared_error")
    net = Network([Standardize(), Dense(8, "tanh"), Dense(2)], n_inputs=5, random_state=0)
    for _ in range(3):
        net.partial_fit(3 * X + 1, y, optimizer=SGD(0.1), average=EMA(0.9))
    assert state(net).n == 6
    assert_allclose(net.layer_state["0.mean"], (3 * X + 1).mean(axis=0))


@posix
def test_ctrl_c_in_the_first_epoch(rng):
    """The average has the moving averages of what is learnt then."""
    X, y, _ = problem(rng, 200_000, 30, 2, "squared_error")
    net = normalized(n_inputs=30, width=100)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, optimizer=SGD(0.01), batch_size=3, epochs=10**6, average=EMA(0.9))
    assert state(net).n > 10 and state(net).n_batches == 0
    assert_array_equal(kept(net), state(net).learnt[1])
    assert abs(net.parameters - state(net).learnt[0]).max() > 0
