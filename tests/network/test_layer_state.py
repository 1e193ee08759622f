"""What layers keep and do not learn: names and views, copies, files, and that it goes back where parameters do."""

import copy
import io
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastbp import SGD, Dense, MLPRegressor, Network, Residual, Shared
from fastbp.layers import Layer, as_json

pytestmark = pytest.mark.once


@dataclass(frozen=True)
class Counter(Layer):
    """Passes on what it takes, and has counts for a test to change."""

    start: float = 0.0

    def build(self, graph, h, name):
        n = graph.values[h].n
        graph.new_state(f"{name}.counts", n, self.start)
        graph.new_state(f"{name}.two", 2, np.array([3.0, 4.0]))
        z = graph.value(name, n)
        graph.move(h, z)
        return graph.finish(z)


LAYERS = [Dense(3, "tanh"), Counter(1.0), Residual([Shared(Counter(), name="a"), Dense(3)]), Dense(1)]


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(as_json._LAYERS, "Counter", Counter)


def make(**settings):
    return Network(LAYERS, n_inputs=2, random_state=0, **settings)


def flat(net):
    return np.concatenate(list(net.layer_state.values()))


def count(net):
    """Change the state, from now on and each epoch."""

    def callback(epoch, history):
        for state in net.layer_state.values():
            state += 1

    return callback


X, y = np.random.default_rng(0).normal(size=(40, 2)), np.random.default_rng(1).normal(size=40)


def test_names_views_and_start():
    net = make(dtype="float32")
    assert list(net.layer_state) == ["1.counts", "1.two", "2.0.counts", "2.0.two"]
    assert flat(net).tolist() == [1, 1, 1, 3, 4, 0, 0, 0, 3, 4] and flat(net).dtype == np.float32
    net.layer_state["1.two"][:] = 7
    assert flat(net)[3] == 7
    with pytest.raises(TypeError):
        net.layer_state["1.two"] = 8
    assert dict(Network([Dense(1)], n_inputs=2).layer_state) == {}


def test_copies_and_files():
    net = make()
    net.fit(X, y, callback=count(net), epochs=3)
    file = io.BytesIO()
    net.save(file)
    file.seek(0)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(file)):
        assert_array_equal(flat(other), flat(net))
        other.layer_state["1.two"][:] = 0
        assert net.layer_state["1.two"].all()
    assert flat(net)[0] == 4
    net.init_centres(X)
    assert flat(net)[0] == 4
    net.init_lsuv(X)
    assert_array_equal(flat(net), flat(make()))


def test_files_whose_state_does_not_fit():
    net = make()
    net._model.layer_state = np.zeros(9)
    file = io.BytesIO()
    net.save(file)
    file.seek(0)
    with pytest.raises(ValueError, match=r"layer_state of float64 in shape \(9,\) do not fit"):
        Network.load(file)


@pytest.mark.parametrize("batch_size", [1, 16, 40])
def test_training_leaves_what_no_op_changes(batch_size):
    net = make()
    before = flat(net)
    net.partial_fit(X, y, batch_size=batch_size)
    net.fit(X, y, batch_size=batch_size, epochs=2)
    assert_array_equal(flat(net), before)


def test_best_epoch_has_its_state():
    net = make()
    losses = iter([3.0, 1.0, 2.0, 2.0])
    net._model.evaluate = lambda *args, **settings: next(losses)
    net.fit(X, y, epochs=9, validation_data=(X, y), early_stopping=2, callback=count(net))
    assert flat(net)[0] == 2  # as it was when the second epoch had been trained


def test_retraining_begins_with_the_state_before():
    net = make()
    seen = []
    net.fit(
        X, y, epochs=3, validation_data=(X, y), early_stopping=9, then="retrain",
        callback=[lambda epoch, history: seen.append(flat(net)[0]), count(net)],
    )  # fmt: skip
    assert seen[0] == seen[3] == 1


def test_a_call_that_fails_leaves_the_state():
    net = make()
    before = flat(net)

    def fail(epoch, history):
        net.layer_state["1.two"][:] = 9
        if epoch == 1:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        net.fit(X, y, epochs=3, callback=fail)
    assert_array_equal(flat(net), before)
    net.layer_state["1.two"][0] = np.inf
    with pytest.raises(FloatingPointError):
        net.fit(X, y)
    with pytest.raises(FloatingPointError):
        net.fit(X, y, optimizer=SGD(1e-3), epochs=2, batch_size=40)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators():
    est = MLPRegressor(hidden_layers=[Dense(3), Counter(1.0)], random_state=0, max_iter=2, tol=0)
    est.fit(X, y)

    def state():
        return est._model().layer_state

    assert state().tolist() == [1, 1, 1, 3, 4]
    state()[0] = 5
    assert pickle.loads(pickle.dumps(est))._model().layer_state[0] == 5
    twin = copy.copy(est)
    twin._model().layer_state[0] = 6
    assert state()[0] == 5
    est.partial_fit(X, y)
    est.coefs_[0] = est.coefs_[0].copy()
    assert state()[0] == 5
    est.set_params(warm_start=True)
    est.fit(X, y)
    assert state()[0] == 5
    with pytest.raises(ValueError, match="NaN"):
        est.fit(X * np.nan, y)
    assert state()[0] == 5
    est.set_params(warm_start=False)
    est.fit(X, y)
    assert state()[0] == 1


