"""`partial_fit` of one batch goes a short way with the settings of the call before, on which nothing is different."""

import copy
import threading

import numpy as np
import pytest
from network_cases import OPTIMIZERS
from numpy.testing import assert_array_equal

from fastbp import (
    EMA,
    SAM,
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Dropout,
    HistogramLoss,
    Network,
    OneCycle,
    Parallel,
    Residual,
    SpectralNorm,
    Standardize,
    WeightNorm,
)  # fmt: skip
from fastbp.network import one_epoch, training

CROSS = {"loss": "softmax_cross_entropy"}
NETWORKS = {
    "dense": ([Dense(6, "tanh"), Dense(3)], CROSS),
    "penalties": ([Dense(6, "relu", l1=0.01), Dense(3)], {"l2": 0.1, **CROSS}),
    "batches": ([Dense(6), BatchNorm(), Dense(3)], CROSS),
    "residual": ([Residual([Dense(4, "relu")]), Dense(3)], CROSS),
    "ties": ([Dense(4, "tanh"), Dense(4, "tanh"), Dense(3)], {"ties": [(0, 1, 0.1)], **CROSS}),
    "norms": ([WeightNorm(Dense(4, "tanh")), SpectralNorm(Dense(5)), Dense(3)], CROSS),
    "standardized": ([Standardize(), Dense(3)], CROSS),
    "dropout": ([Dense(6), Dropout(0.5), Dense(3)], CROSS),
    "numbers": ([Dense(6, "tanh"), Dense(1)], {}),
    "bins": ([Dense(6, "tanh"), Dense(8)], {"loss": HistogramLoss(np.linspace(-3, 3, 9))}),
    "heads": (
        [Dense(5, "relu"), Parallel({"a": [Dense(1)], "b": [Dense(3)]})],
        {"loss": {"a": "huber", "b": "softmax_cross_entropy"}},
    ),
}  # fmt: skip
LONG = {"dropout"}  # in these something is random in each step


def network(name, dtype="float64"):
    layers, settings = NETWORKS[name]
    return Network(layers, n_inputs=4, dtype=dtype, random_state=0, **settings)


def rows(rng, name, n, dtype="float64"):
    X, numbers, classes = rng.normal(size=(n, 4)).astype(dtype), rng.normal(size=n), rng.integers(0, 3, n)
    return X, {"numbers": numbers, "bins": numbers, "heads": {"a": numbers, "b": classes}}.get(name, classes)


@pytest.fixture
def long_calls(monkeypatch):
    """Of each call that goes the long way its batch size."""
    calls = []

    def fit_epoch(*args):
        calls.append(args[6])
        return one_epoch.fit_epoch(*args)

    monkeypatch.setattr(training, "fit_epoch", fit_epoch)
    return calls


def state_of(net):
    model = net._model
    state = model.optimizer_state
    return [model.parameters, model.layer_state, *state.arrays, state.t, np.array(state.epochs)]


def assert_same(one, other):
    for a, b in zip(state_of(one), state_of(other), strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_short_way_is_no_other(rng, long_calls, name, dtype):
    nets, optimizer = [network(name, dtype), network(name, dtype)], Adam(0.01)
    for n in (5, 5, 1, 8, 3):
        X, y = rows(rng, name, n, dtype)
        histories = []
        for net, short in zip(nets, (True, False), strict=True):
            if not short:
                net._model.again = None
            before = len(long_calls)
            histories.append(net.partial_fit(X, y, optimizer=optimizer, batch_size=8))
            gone_short = len(long_calls) == before
            assert gone_short == (short and name not in LONG and net._model.optimizer_state.epochs > 1)
        assert histories[0].loss[0] == histories[1].loss[0] and histories[0].seconds[0] > 0
        assert histories[0].validation_loss.shape == (0,) and histories[0].second is None
        assert_same(*nets)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SAM(SGD(0.1)), "adam"], ids=str)
def test_every_rule(rng, long_calls, optimizer):
    nets = network("dense"), network("dense")
    for _ in range(4):
        X, y = rows(rng, "dense", 6)
        nets[1]._model.again = None
        for net in nets:
            net.partial_fit(X, y, optimizer=optimizer)
        assert_same(*nets)
    assert len(long_calls) == 1 + 4


def test_what_has_changed_between_calls(rng):
    """Each of these goes the long way once more, or has its effect on the short one."""
    X, y = rows(rng, "dense", 6)
    optimizer = SGD(0.1, momentum=0.9)

    def penalty(net):
        net.l2 = 0.5

    def other_rule(net):
        net.partial_fit(X, y, optimizer=Adam(0.01))

    def average(net):
        net.partial_fit(X, y, optimizer=optimizer, average=EMA(0.5))

    def fresh(net):
        net.fit(X, y, optimizer=optimizer, epochs=3)

    def parameters(net):
        net.parameters[:] = 0.25

    def a_copy(net):
        net.__setstate__(copy.deepcopy(net).__getstate__())

    for change in (penalty, other_rule, average, fresh, parameters, a_copy):
        nets = network("dense"), network("dense")
        for net in nets:
            net.partial_fit(X, y, optimizer=optimizer)
            net.partial_fit(X, y, optimizer=optimizer)
            change(net)
        nets[1]._model.again = None
        for net in nets:
            net.partial_fit(X, y, optimizer=optimizer)
        assert_same(*nets)


def test_more_rows_than_a_batch_and_other_settings_go_the_long_way(rng, long_calls):
    net, optimizer = network("dense"), SGD(0.1)
    X, y = rows(rng, "dense", 8)
    net.partial_fit(X, y, optimizer=optimizer, batch_size=8)
    for settings in (
        {"batch_size": 4}, {"batch_size": 8, "sample_weight": np.ones(8)}, {"batch_size": 8, "optimizer": SGD(0.1)},
        {"batch_size": 8, "optimizer": SGD(OneCycle(0.1, total=9))}, {"batch_size": 8, "average": EMA(0.9)},
    ):  # fmt: skip
        n, before = len(long_calls), net.parameters.copy()
        assert net._model.again is not None
        net.partial_fit(X, y, **{"optimizer": optimizer, **settings})
        scheduled = isinstance(settings.get("optimizer", optimizer).learning_rate, OneCycle)  # which is no epoch alone
        assert len(long_calls) == n + (not scheduled) and not np.array_equal(net.parameters, before)
        net.partial_fit(X, y, optimizer=optimizer, batch_size=8)
    assert net.partial_fit(X.tolist(), y, optimizer=optimizer, batch_size=8).loss.shape == (1,)
    with pytest.raises(ValueError, match="epochs must be an integer"):
        net.partial_fit(X, y, optimizer=optimizer, batch_size=8, epochs=True)


@pytest.mark.parametrize("wrong", ["NaN", "width", "labels", "none", "overflow"])
def test_errors_leave_the_network_as_it_was(rng, wrong):
    net, optimizer = network("penalties"), SGD(0.1, momentum=0.9)
    X, y = rows(rng, "dense", 6)
    for _ in range(2):
        net.partial_fit(X, y, optimizer=optimizer)
    before = [a.copy() for a in state_of(net)]
    if wrong == "NaN":
        X[2, 1] = np.nan
    elif wrong == "width":
        X = X[:, :3]
    elif wrong == "labels":
        y = y + 7
    elif wrong == "none":
        X, y = X[:0], y[:0]
    else:
        X[:] = 1e308
    kind = FloatingPointError if wrong == "overflow" else ValueError
    with pytest.raises(kind, match="not finite" if wrong == "overflow" else "^(Input )?[Xy] "):
        net.partial_fit(X, y, optimizer=optimizer)
    for a, b in zip(state_of(net), before, strict=True):
        assert_array_equal(a, b)


def test_another_thread_has_the_network(rng):
    net, optimizer = network("dense"), SGD(0.1)
    X, y = rows(rng, "dense", 6)
    net.partial_fit(X, y, optimizer=optimizer)
    entered, left, errors = threading.Event(), threading.Event(), []

    def hold(epoch, history):
        entered.set()
        left.wait(20)

    thread = threading.Thread(target=lambda: net.fit(X, y, optimizer=optimizer, epochs=1, callback=hold))
    thread.start()
    entered.wait(20)
    try:
        net.partial_fit(X, y, optimizer=optimizer)
    except RuntimeError as error:
        errors.append(error)
    left.set()
    thread.join()
    assert len(errors) == 1 and "another call" in str(errors[0])


def test_what_is_known_of_the_states_is_of_the_last_step():
    """A step says whether it has left them small, so that the next need not look; nothing is known of others."""
    rng = np.random.default_rng(0)
    net = network("numbers")
    engine, rule = net._model.engine, Adam(1e-3)

    def learn(scale=1.0, optimizer=rule, n=3):
        net.partial_fit(rng.normal(size=(n, 4)), scale * rng.normal(size=n), optimizer=optimizer, batch_size=3)
        t = net._model.optimizer_state.t
        return engine.moderate_t is t and bool(engine.moderate_steps == t[0])

    assert [learn() for _ in range(3)] == [True, True, True]
    assert not learn(n=6) and learn()  # two steps of a call, which packs its weights
    assert not learn(1e4) and not learn()  # of whose squares the mean stays large
    assert learn(optimizer=SGD(1e-3, momentum=0.9))  # with a state of its own
    before = copy.deepcopy(net)
    with pytest.raises(FloatingPointError):
        learn(1e160, SGD(1e160, momentum=0.9))
    assert_array_equal(net.parameters, before.parameters)
