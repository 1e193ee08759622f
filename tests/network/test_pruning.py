"""Gradual pruning: which weights go and when, and that they are gone for good."""

import copy
import io
import pickle

import numpy as np
import pytest
from network_cases import OPTIMIZERS
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import EMA, LBFGS, SGD, SWA, Adam, Dense, Dropout, LowRank, Network, Prune, Residual, Rprop, Shared
from fastbp.pruning import remaining

pytestmark = pytest.mark.once


def make(**settings):
    layers = [Dense(40, "tanh"), Residual([LowRank(30, 4)], "linear"), Dense(2)]
    return Network(layers, n_inputs=10, random_state=0, **settings)


@pytest.fixture
def problem(rng):
    X = rng.normal(size=(200, 10))
    return X, np.tanh(X[:, :2] - X[:, 2:4])


def zeros(net):
    return [int((W == 0).sum()) for W in net.weights]


def n_zeros(net, sparsity):
    return [round(sparsity * W.size) for W in net.weights]


# ---- which, and when ------------------------------------------------------------------------------------------------


def test_the_schedule():
    prune = Prune(0.8, begin=3, end=11, every=2, initial_sparsity=0.2)
    assert [prune.sparsity(k) for k in range(3)] == [0, 0, 0]
    expected = [0.8 - 0.6 * (1 - i / 4) ** 3 for i in range(5)]
    assert_allclose([prune.sparsity(k) for k in range(3, 20)], np.repeat([*expected, 0.8, 0.8, 0.8, 0.8], 2)[:17])
    assert [prune.until_next(k) for k in range(13)] == [3, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, None, None]
    assert Prune(0.5, 2, 7, every=3).last == 5 and Prune(0.5, 2, 7, every=3).sparsity(5) == 0.5
    once = Prune(0.5, begin=4, end=4)
    assert [once.sparsity(k) for k in (3, 4, 9)] == [0, 0.5, 0.5] and once.until_next(4) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_go_and_of_equal_ones_the_first(rng, dtype):
    W = np.array([[3, -1, 1, 0], [1, 2, -0.0, -1]], dtype)
    assert remaining(W, 0.0, None) is None and remaining(W, 0.05, None) is None
    for n, last in enumerate([3, 6, 1, 2, 4, 7, 5], 1):
        mask = remaining(W, n / 8, None)
        assert mask.sum() == 8 - n and not mask.ravel()[last]
    there = np.array([[0, 1, 1, 1], [1, 1, 1, 1]], dtype)  # one that is gone already comes first, whatever it holds
    assert remaining(W, 1 / 8, there) is there
    assert_array_equal(remaining(W, 2 / 8, there).ravel() == 0, np.isin(np.arange(8), [0, 3]))
    W = rng.normal(size=(50, 40)).astype(dtype).round(1)
    order = np.argsort(np.abs(W), axis=None, kind="stable")
    for n in (1, 1000, 1999):
        assert_array_equal(np.flatnonzero(~remaining(W, n / 2000, None)), np.sort(order[:n]))


def test_it_takes_place_before_epochs(problem):
    net, found = make(), []
    prune = Prune(0.75, begin=2, end=8, every=3, initial_sparsity=0.25)
    net.fit(*problem, epochs=10, prune=prune, callback=lambda epoch, history: found.append(zeros(net)))
    expected = [0, 0] + [0.25] * 3 + [0.75 - 0.5 / 8] * 3 + [0.75] * 2
    assert found == [n_zeros(net, s) for s in expected]


@pytest.mark.parametrize("batch_size", [30, 200])
def test_it_takes_place_before_steps(problem, batch_size):
    """Between the same steps as when these are made by hand."""
    net, by_hand = make(), make()
    prune, optimizer = Prune(0.75, begin=2, end=8, every=3, per="step"), SGD(0.1, momentum=0.9)
    history = net.fit(
        *problem, optimizer=optimizer, epochs=10, prune=prune, batch_size=batch_size, shuffle=False
    )  # fmt: skip
    X, y = problem
    model = by_hand._model
    for step, begin in enumerate([*range(0, 200, batch_size)] * 10):
        if prune.sparsity(step):
            masks = zip(by_hand.weights, model.masks, strict=True)
            model.masks = [remaining(W, prune.sparsity(step), mask) for W, mask in masks]
            for flat in (by_hand.parameters, *model.optimizer_state.arrays):
                model.apply_masks(flat)
        rows = slice(begin, begin + batch_size)
        by_hand.step(by_hand.value_and_gradient(X[rows], y[rows])[1], optimizer)
    assert_allclose(net.parameters, by_hand.parameters, rtol=1e-9, atol=1e-12)
    assert history.loss.shape == (10,) and history.loss[-1] < history.loss[0]
    assert zeros(net) == n_zeros(net, 0.75)


def test_the_loss_of_an_epoch_in_parts(problem, rng):
    X, y = problem
    weight = rng.random(200)
    weight[40:80] = 0  # a batch that makes no step
    plain, parts = make(l2=0.1), make(l2=0.1)
    for net, prune in ((plain, None), (parts, Prune(0.0, end=12, per="step"))):
        net.history = net.fit(X, y, epochs=5, prune=prune, batch_size=20, sample_weight=weight)
    assert_array_equal(plain.parameters, parts.parameters)
    assert_allclose(plain.history.loss, parts.history.loss, rtol=1e-12)


# ---- for good -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_stay_zero(problem, optimizer):
    net = make(l1=1e-3, l2=1e-3)
    net.fit(*problem, optimizer=optimizer, epochs=6, prune=Prune(0.8, begin=1, end=4))
    gone = [W == 0 for W in net.weights]
    assert [g.sum() for g in gone] == n_zeros(net, 0.8)
    for state in net._model.optimizer_state.arrays:
        for part, g in zip(net._model.views(state)[0], gone, strict=True):
            assert not part[g].any()
    for train in (
        lambda: net.partial_fit(*problem, optimizer=optimizer, epochs=2, batch_size=1),
        lambda: net.fit(*problem, optimizer=Adam(), epochs=2),
        lambda: net.fit(*problem, optimizer=Rprop(), epochs=3),
        lambda: net.fit(*problem, optimizer=LBFGS(), epochs=3),
        lambda: net.step(np.ones_like(net.parameters), optimizer),
        lambda: net.init_lsuv(problem[0]),
    ):
        train()
        for W, g, mask in zip(net.weights, gone, net.masks, strict=True):
            assert not W[g].any()
            assert_array_equal(mask, ~g)
    gradient = net._model.views(net.value_and_gradient(*problem)[1])[0]
    assert not any(part[g].any() for part, g in zip(gradient, gone, strict=True))


def test_files_and_copies(problem):
    net = make()
    assert net.masks == (None,) * 5
    net.fit(*problem, epochs=4, prune=Prune(0.7, end=2))
    dense = Network([Dense(8), Dense(2)], n_inputs=10, random_state=0)  # whose format is that of version 0.1.0
    dense.fit(*problem, epochs=4, prune=Prune(0.7, end=2))
    for one in (net, dense):
        stream = io.BytesIO()
        one.save(stream)
        stream.seek(0)
        for again in (Network.load(stream), pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
            for a, b in zip(again.masks, one.masks, strict=True):
                assert_array_equal(a, b)
            assert_array_equal(again.parameters, one.parameters)
            again.partial_fit(*problem)
            assert zeros(again) == zeros(one)


def test_what_is_in_a_file_must_fit(problem):
    net = make()
    net.fit(*problem, epochs=4, prune=Prune(0.7, end=2))
    stream = io.BytesIO()
    net.save(stream)
    stream.seek(0)
    arrays = dict(np.load(stream))
    for bad in (arrays["masks"][:-1], arrays["masks"].astype(float), arrays["masks"][:, None]):
        stream = io.BytesIO()
        np.savez(stream, **arrays | {"masks": bad})
        with pytest.raises(ValueError, match="masks of .* do not fit the settings"):
            Network.load(stream)


def test_masks_of_layers_and_of_places(problem, rng):
    """A layer's own mask counts; weights in several places are pruned once."""
    X, y = problem
    own, code = rng.random((10, 40)) < 0.3, Shared(Dense(10, "tanh"))
    net = Network([Dense(40, mask=own), Dense(10), code, code.transposed(), Dense(2)], n_inputs=10, random_state=0)
    assert_array_equal(net.masks[0], own)
    assert net.masks[1:] == (None,) * 4
    net.fit(X, y, epochs=3, prune=Prune(0.5, end=1))
    assert_array_equal(net.masks[0], own)  # of which more than half is gone
    assert zeros(net)[1:] == n_zeros(net, 0.5)[1:]
    assert_array_equal(net.masks[2], net.masks[3].T)
    net.fit(X, y, epochs=3, prune=Prune(0.9, end=1))
    assert zeros(net) == n_zeros(net, 0.9) and not (net.masks[0] & ~own).any()


def test_partial_fit_goes_on_in_the_schedule(problem):
    net, found = make(), []
    for _ in range(6):
        net.partial_fit(*problem, optimizer=SGD(0.1, momentum=0.5), prune=Prune(0.5, begin=2, end=4))
        found.append(zeros(net)[0] / net.weights[0].size)
    assert_allclose(found, [0, 0, 0, 0.5 * 7 / 8, 0.5, 0.5], atol=0.002)


def test_early_stopping(problem, rng):
    X, y = problem
    settings = {"validation_data": (X[:50], y[:50]), "early_stopping": 2, "epochs": 40}
    net = make()
    history = net.fit(X[50:], y[50:], optimizer=SGD(0.1), prune=Prune(0.9, end=12), **settings)
    assert zeros(net) == n_zeros(net, 0.9) and len(history.loss) > 14
    losses = history.validation_loss[12:]
    assert_allclose(net._model.evaluate(net._model.check_rows(X[:50], y[:50]).data()), losses.min(), rtol=1e-12)
    for then, prune in (("continue", Prune(0.9, end=3)), ("retrain", Prune(0.9, end=20, per="step"))):
        net = make()
        assert net.fit(X[50:], y[50:], optimizer=SGD(0.1), prune=prune, then=then, **settings).second is not None
        assert zeros(net) == n_zeros(net, 0.9)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_the_same_bits_for_any_number_of_threads(rng, kind):
    X, y = rng.normal(size=(600, 200)) * (rng.random((600, 200)) < 0.3), rng.random((600, 3))
    found = []
    for n_threads in (1, 2, 3):
        net = Network([Dense(300, "relu"), Dropout(0.2), Dense(3)], n_inputs=200, dtype="float32", random_state=0)
        net.fit(kind(X), y, optimizer=Adam(), epochs=4, batch_size=256, n_threads=n_threads,
                prune=Prune(0.9, end=7, per="step"))  # fmt: skip
        found.append(net.parameters)
        assert zeros(net) == n_zeros(net, 0.9)
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])


def test_a_call_that_fails_changes_nothing(problem):
    net = make()
    net.fit(*problem, epochs=3, prune=Prune(0.3, end=1))
    before = pickle.dumps(net)

    def fail(epoch, history):
        raise OSError if epoch == 3 else StopIteration

    for error, settings in (
        (StopIteration, {"callback": fail}), (FloatingPointError, {"optimizer": SGD(1e6)}),
        (ValueError, {"prune": Prune(0.9, end=6)}),
    ):  # fmt: skip
        with pytest.raises(error), np.errstate(all="ignore"):
            net.fit(*problem, **{"epochs": 6, "prune": Prune(0.9, end=4), **settings})
        assert pickle.dumps(net) == before

    def interrupt(epoch, history):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(*problem, epochs=6, prune=Prune(0.9, end=3), callback=interrupt)
    assert zeros(net) == n_zeros(net, 0.9)


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"final_sparsity": 1}, r"final_sparsity must be a number in \[0, 1\)"),
        ({"final_sparsity": 0.5, "initial_sparsity": 0.6}, r"initial_sparsity must be a number in \[0, 0.5\]"),
        ({"begin": -1}, "begin must be an integer of at least 0, got -1"),
        ({"begin": 5, "end": 4}, "end must be an integer of at least 5, got 4"),
        ({"end": 4.0}, "end must be an integer of at least 0, got 4.0"),
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"every": True}, "every must be an integer of at least 1, got True"),
        ({"per": "row"}, "per must be 'step' or 'epoch', got 'row'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Prune(**settings)


def test_bad_arguments(problem):
    net = make()
    for settings, error, message in (
        ({"prune": 0.9}, TypeError, "prune must be a Prune or None, got 0.9"),
        ({"prune": Prune(), "epochs": 10}, ValueError, "prune must end before training does, which has 10 epochs"),
        ({"prune": Prune(end=14, per="step"), "epochs": 2}, ValueError, "which has 14 steps, got Prune"),
        ({"prune": Prune(end=2), "epochs": 9, "optimizer": LBFGS()}, ValueError, "a rule for mini-batches with prune"),
        ({"prune": Prune(end=2), "epochs": 9, "validation_data": problem, "early_stopping": 1, "then": "retrain"},
         ValueError, "prune must have per='step' with then='retrain'"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            net.fit(*problem, **settings)
    assert not any(zeros(net))


def test_it_is_a_setting():
    prune = Prune(0.5, 1, 4, 2)
    assert prune == Prune(**prune.get_params()) and hash(prune) == hash(prune.set_params(every=2))
    assert pickle.loads(pickle.dumps(prune)) == prune and prune.set_params(end=9).end == 9


# ---- with averages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", [EMA(0.9), SWA(3)])
def test_averages_are_pruned_too(problem, average):
    """What is pruned is 0 in the average and in the parameters that are learnt, which go on together."""
    net = make()
    net.fit(*problem, epochs=10, prune=Prune(0.8, end=6), average=average)
    assert zeros(net) == n_zeros(net, 0.8)
    learnt = net._model.optimizer_state.average.learnt[0]
    assert_array_equal(learnt == 0, net.parameters == 0)
    assert (learnt != net.parameters).any()


def test_an_average_of_epochs_needs_prunings_between_epochs(problem):
    with pytest.raises(ValueError, match="prune must have per='epoch' with a SWA"):
        make().fit(*problem, epochs=10, prune=Prune(0.8, end=6, per="step"), average=SWA(3))
