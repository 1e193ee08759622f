"""fit and partial_fit: updates step by step, what ends them, and what they leave when they fail."""

import copy
import pickle

import numpy as np
import pytest
import reference
from network_cases import OPTIMIZERS, expected_gradient, make, problem
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import SGD, Adam, Dense, Network


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 7, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_updates(rng, optimizer, batch_size, weighted):
    """Three epochs, step by step, with L1 and L2 and per-layer penalties."""
    net = Network(
        [Dense(6, "tanh", l2=0.02), Dense(3, l1=0.01)], n_inputs=5, loss="softmax_cross_entropy", l1=0.003, l2=0.004,
        random_state=0,
    )  # fmt: skip
    X, y, Y = problem(rng, 50, 5, 3, "softmax_cross_entropy")
    weight = rng.random(50) if weighted else None
    twin = copy.deepcopy(net)
    l1, l2 = (np.zeros_like(net.parameters) for _ in range(2))
    l1[:30], l2[:30], l1[36:54], l2[36:54] = 0.003, 0.02, 0.01, 0.004
    state, t, losses = [np.zeros_like(net.parameters) for _ in range(optimizer.n_states)], 0, []
    is_weight = np.concatenate([np.repeat([1, 0], part) for part in ((30, 6), (18, 3))])
    for _ in range(3):
        batches = []
        for i in range(0, 50, batch_size):
            part = slice(i, i + batch_size)
            s = None if weight is None else weight[part]
            value, g = expected_gradient(twin, X[part], Y[part], s)
            w, t = twin.parameters, t + 1
            mass = len(X[part]) if s is None else s.sum()
            batches.append((mass, value + (l1 * np.abs(w) + l2 / 2 * w**2).sum()))
            w[:] = reference.update(optimizer.settings, w, g, state, t, optimizer.learning_rate, l1, l2, is_weight)
        mass, value = np.transpose(batches)
        losses.append(np.average(value, weights=mass))
    history = net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=batch_size, sample_weight=weight, shuffle=False)
    assert_allclose(net.parameters, twin.parameters, rtol=1e-9, atol=1e-12)
    assert_allclose(history.loss, losses, rtol=1e-10)


def test_shuffled_batches_are_drawn_without_replacement(rng):
    """With W = 0, b = 0, linear output and a tiny rate, the first epoch's update is the sum over all samples."""
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    net = make([4, 1])
    net.parameters[:] = 0
    net.fit(X, y, optimizer=SGD(1e-9), batch_size=1)
    assert_allclose(net.weights[0].ravel() / 1e-9, X.T @ y, rtol=1e-5)


def test_batch_without_weight_makes_no_update(rng):
    X, y, _ = problem(rng, 20, 4, 2, "squared_error")
    X[10:] = 1e300  # would overflow if it were looked at
    weight = np.r_[np.ones(10), np.zeros(10)]
    for optimizer in OPTIMIZERS:
        nets = [make([4, 5, 2]) for _ in range(2)]
        nets[0].fit(X, y, optimizer=optimizer, batch_size=10, sample_weight=weight, shuffle=False)
        nets[1].fit(X[:10], y[:10], optimizer=optimizer, batch_size=10, shuffle=False)
        assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_fit_is_fresh_and_partial_fit_goes_on(rng):
    X, y, _ = problem(rng, 30, 4, 2, "squared_error")
    for optimizer in OPTIMIZERS:
        settings = {"optimizer": optimizer, "batch_size": 10, "shuffle": False}
        a, b, c = (make([4, 5, 2]) for _ in range(3))
        a.fit(X, y, epochs=4, **settings)
        for _ in range(2):
            b.partial_fit(X, y, epochs=2, **settings)
            c.fit(X, y, epochs=2, **settings)
        assert_array_equal(a.parameters, b.parameters)
        if optimizer.n_states:
            assert not np.array_equal(a.parameters, c.parameters)


def test_validation_and_early_stopping(rng):
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    net = make([5, 40, 1])
    history = net.fit(
        X[:30], y[:30], optimizer=Adam(0.01), epochs=500, validation_data=(X[30:], y[30:]), early_stopping=5
    )
    n = len(history.loss)
    best = history.validation_loss.argmin()
    assert n < 500
    assert best == n - 6
    assert len(history.validation_loss) == len(history.seconds) == n
    assert_allclose(net.value_and_gradient(X[30:], y[30:])[0], history.validation_loss[best])


def test_callback_and_verbose(rng, capsys):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    seen = []

    def callback(epoch, history):
        seen.append((epoch, len(history.loss)))
        return epoch == 2

    make([3, 1]).fit(X, y, epochs=10, callback=callback, verbose=True)
    assert seen == [(0, 1), (1, 2), (2, 3)]
    validation = rng.normal(size=(20, 3)), rng.normal(size=20)
    net = make([3, 1])
    history = net.fit(
        X, y, optimizer=SGD(0.01), epochs=10, early_stopping=5, validation_data=validation,
        callback=lambda epoch, history: epoch == 3,
    )  # fmt: skip
    assert net.value_and_gradient(*validation)[0] == history.validation_loss.min()
    assert capsys.readouterr().out.count("loss") == 3


@pytest.mark.parametrize("result", [1, 2.5, "stop", [0], np.int64(1), np.float64(0.5), np.ones(2), 0, None, False])
def test_only_true_ends_training(rng, result):
    """A progress bar's update returns what it likes, and so does a lambda that notes the loss."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    for callback in (lambda epoch, history: result, [lambda epoch, history: result]):
        assert len(make([3, 1]).fit(X, y, epochs=4, callback=callback).loss) == 4


@pytest.mark.parametrize("true", [True, np.True_])
def test_a_list_of_callbacks(rng, true):
    """Each is called after each epoch, also after that for which one of them ends the training."""
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    seen = []
    callbacks = [lambda epoch, history: true if epoch == 2 else None, lambda *arguments: seen.append(arguments)]
    history = make([3, 1]).fit(X, y, epochs=10, callback=callbacks)
    assert [epoch for epoch, _ in seen] == [0, 1, 2] and len(history.loss) == 3
    assert_array_equal(seen[-1][1].loss, history.loss)
    assert len(make([3, 1]).fit(X, y, epochs=3, callback=[]).loss) == 3
    for bad in (3, "print", [print, 3], [None]):
        with pytest.raises(TypeError, match="callback must be a callable, a list of them or None"):
            make([3, 1]).fit(X, y, callback=bad)


def test_failing_callback_leaves_the_network_alone(rng):
    net = make([4, 2])
    before = pickle.dumps(net)
    with pytest.raises(ZeroDivisionError):
        net.fit(np.ones((3, 4)), np.ones((3, 2)), callback=lambda epoch, history: 1 / 0)
    assert pickle.dumps(net) == before


def test_callback_may_evaluate_the_network(rng):
    X, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    net, costs = make([3, 1]), []
    net.fit(X, y, epochs=3, callback=lambda epoch, history: costs.append(net.value_and_gradient(X, y)[0]))
    assert costs == sorted(costs, reverse=True)


def test_labels_are_not_read_after_they_were_checked(rng):
    """A callback that spoils y does no harm."""
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, 20)

    def spoil(epoch, history):
        y[:] = 10**9

    make([3, 2], loss="softmax_cross_entropy").fit(X, y, epochs=3, callback=spoil)


@pytest.mark.parametrize("epochs", [1, 50])
@pytest.mark.parametrize("as_input", [np.asarray, sparse.csr_array])
def test_nonfinite_training_restores_the_network(rng, epochs, as_input):
    """An epoch alone is undone in another way than several."""
    X, y = rng.normal(size=(50, 5)) * 100, rng.normal(size=50)
    bad = as_input(np.where(X < X.max(), X, np.inf))
    X = as_input(X)
    net = make([5, 4, 1], "relu")
    net.fit(X, y, optimizer=SGD(1e-6, momentum=0.9))
    before = pickle.dumps(net)
    rate = 1e6 if epochs > 1 else 1e60
    for method in (net.partial_fit, net.fit):
        with pytest.raises(FloatingPointError, match="not finite after epoch"):
            method(X, y, optimizer=SGD(rate, momentum=0.9), batch_size=10, epochs=epochs)
        assert pickle.dumps(net) == before
    with pytest.raises(ValueError, match="Input X contains infinity"):
        net.partial_fit(bad, y, optimizer=SGD(1e-6, momentum=0.9), epochs=epochs)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("n_threads", [1, 3])
def test_nonfinite_epoch_of_a_team_restores_the_network(rng, n_threads):
    X, y = rng.normal(size=(2000, 300)), rng.integers(0, 10, 2000)
    net = make([300, 100, 10], "relu", loss="softmax_cross_entropy")
    net.fit(X, y, optimizer=Adam())
    before = pickle.dumps(net)
    for optimizer in (Adam(1e300), SGD(1e300)):
        with pytest.raises(FloatingPointError, match="not finite after epoch"):
            net.partial_fit(X, y, optimizer=optimizer, batch_size=1000, n_threads=n_threads)
        assert net._model.engine.n_members == n_threads
        assert pickle.dumps(net) == before


@pytest.mark.once
def test_mnist(mnist):
    """784-128-10, ten epochs of SGD with momentum: 97.5% of the test set."""
    X, y, X_test, y_test = mnist
    net = make([784, 128, 10], "relu", "softmax_cross_entropy", "float32")
    scale = np.float32(1 / 255)
    net.fit(X * scale, y, optimizer=SGD(0.05, momentum=0.9), epochs=10, batch_size=64)
    assert (net.predict(X_test * scale).argmax(axis=1) == y_test).mean() >= 0.975
