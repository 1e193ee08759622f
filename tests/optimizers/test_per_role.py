"""Learning rates that differ by the roles of parameters."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import reference
from network_cases import OPTIMIZERS
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

from fastbp import (
    LBFGS,
    RBF,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Exponential,
    MLPClassifier,
    Network,
    PReLU,
    Rprop,
    Scale,
)

FACTORS = {"weight": 0.5, "bias": 0.1, "scale": 6.0, "centre": 2.0}
LAYERS = [Scale(), Dense(6, "tanh"), RBF(5), Dense(4), PReLU(), Dense(3)]


def make(layers=LAYERS, **settings):
    return Network(layers, n_inputs=4, random_state=0, **settings)


def problem(rng, n=50):
    return rng.normal(size=(n, 4)), rng.random((n, 3))


def by_role(net, values):
    """A flat array with the value of each parameter's role."""
    flat = np.empty_like(net.parameters)
    for w, (W, b) in zip(net._model.graph.weights, net._model.sets(flat), strict=True):
        W[:], b[:] = values.get(w.role, 1), values.get("centre" if w.role == "centre" else "bias", 1)
    return flat


@pytest.mark.parametrize("factors", [FACTORS, {"bias": 0.0, "scale": 2.0}, {"weight": 0.0}, {}], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_updates(rng, optimizer, factors):
    """`fit`, `step` and `step_with` against the twin, whose rates are arrays."""
    l1, l2 = 0.003, 0.02
    net, by_hand, by_step, with_cost = (make(l1=l1, l2=l2) for _ in range(4))
    rule = replace(optimizer, per_role=factors)
    X, y = problem(rng)
    w, is_weight = net.parameters.copy(), by_role(net, {"weight": 1, "bias": 0, "scale": 0, "centre": 0})
    state = [np.zeros_like(w) for _ in range(optimizer.n_states)]
    for t in range(1, 4):
        by_hand.parameters[:] = w
        w = reference.update(
            optimizer.settings, w, by_hand.value_and_gradient(X, y)[1], state, t, optimizer.learning_rate,
            l1 * is_weight, l2 * is_weight, is_weight, by_role(net, factors),
        )  # fmt: skip
        by_step.step(by_step.value_and_gradient(X, y)[1], rule)
        with_cost.step_with(X, lambda a: (a - y) / len(a), rule)
    history = net.fit(X, y, optimizer=rule, epochs=3, batch_size=50, shuffle=False)
    for one in (net, by_step, with_cost):
        assert_allclose(one.parameters, w, rtol=1e-9, atol=1e-12)
    assert_allclose(history.loss[0], make(l1=l1, l2=l2).value_and_gradient(X, y, penalty=True)[0])


@pytest.mark.parametrize("optimizer", [
    SGD(0.1), SGD(0.1, momentum=0.9, clip_norm=0.1), Adam(0.1, proximal=True), AdamW(0.1, weight_decay=0.5),
    Adagrad(0.1),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("role", FACTORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_factor_of_0_keeps_every_bit(rng, optimizer, role, dtype):
    """Of parameters and state, whatever pulls at them, in batches of all sizes; penalties are counted all the same."""
    layers = [layer if not isinstance(layer, Dense) else replace(layer, max_norm=0.01) for layer in LAYERS]
    net, rule = make(layers, dtype=dtype, l1=0.1, l2=0.1), replace(optimizer, per_role={role: 0})
    X, y = problem(rng, 700)
    net.parameters[::3] = -0.0
    penalty = net.value_and_gradient(X[:20], y[:20], penalty=True)[0] - net.value_and_gradient(X[:20], y[:20])[0]
    before, kept = net.parameters.copy(), by_role(net, {name: name == role for name in FACTORS}) == 1
    record = net._model.train_epoch(net._model.check_rows(X[:20], y[:20]).data(), None, 20, rule)[0]
    assert_allclose(record[0, 1], penalty, rtol=1e-5)
    for batch_size in (1, 8, 64, 700):
        net.partial_fit(X, y, optimizer=rule, batch_size=batch_size, n_threads=2)
    net.step(rng.normal(size=net.parameters.size), rule)
    assert net.parameters[kept].tobytes() == before[kept].tobytes()
    assert (net.parameters[~kept] != before[~kept]).mean() > 0.5
    assert not any(array[kept].any() for array in net._model.optimizer_state.arrays)


def test_factors_of_1_change_no_bit(rng):
    X, y = problem(rng, 90)
    results = []
    for per_role in (None, {}, dict.fromkeys(FACTORS, 1.0)):
        for layers in (LAYERS, [Dense(5, "relu"), Dense(3)]):
            net = make(layers, l2=0.01)
            for batch_size in (1, 16, 90):
                net.partial_fit(X, y, optimizer=Adam(0.01, per_role=per_role), batch_size=batch_size, shuffle=False)
            results.append(net.parameters)
    for other in (results[2:4], results[4:]):
        for a, b in zip(results[:2], other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("batch_size", [1, 4, 32, 40])
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01), Adagrad(0.1)], ids=str)
def test_wherever_weights_lie(rng, batch_size, optimizer):
    """Chains with batches of few rows, and of all, for which weights are used where they lie; CSR, of many columns too.
    """
    rule, y = replace(optimizer, per_role={"bias": 3.0, "weight": 0.5}), rng.random((40, 3))
    for n_inputs, kind in ((7, np.asarray), (30, csr_array), (3000, csr_array)):
        X = rng.normal(size=(40, n_inputs)) * (rng.random((40, n_inputs)) < min(1, 20 / n_inputs))
        net, by_step = (Network([Dense(5, "tanh"), Dense(3)], n_inputs=n_inputs, random_state=0) for _ in range(2))
        assert net.program("train", batch_size=1).online
        net.fit(kind(X), y, optimizer=rule, batch_size=batch_size, shuffle=False, epochs=2)
        for _ in range(2):
            for i in range(0, 40, batch_size):
                part = slice(i, i + batch_size)
                by_step.step(by_step.value_and_gradient(kind(X[part]), y[part])[1], rule)
        assert_allclose(net.parameters, by_step.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_schedules_and_estimators(rng):
    X, y = rng.normal(size=(80, 4)), rng.integers(0, 2, 80)
    rule = SGD(Exponential(0.1), momentum=0.9, per_role={"scale": 6.0, "bias": 0})
    clf = MLPClassifier(hidden_layers=[Scale(), Dense(5, "relu")], solver=rule, max_iter=3, random_state=0)
    assert clf.get_params()["solver__per_role__scale"] == 6
    start = clone(clf).set_params(solver__learning_rate=1e-300).fit(X, y)
    clf.fit(X, y)
    for a, b in zip(clf.intercepts_, start.intercepts_, strict=True):
        assert_array_equal(a, b)
    assert (clf.coefs_[0] != start.coefs_[0]).all()
    assert dict(clf.set_params(solver__per_role__scale=0).solver.per_role) == {"bias": 0, "scale": 0}
    assert (clf.fit(X, y).coefs_[0] == 1).all()


def test_settings():
    rule = Adam(per_role={"scale": np.float32(6), "bias": 1})
    assert rule == eval(repr(rule)) == pickle.loads(pickle.dumps(rule)) == Adam(per_role={"bias": 1.0, "scale": 6.0})
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule))) and rule != Adam() and "per_role" not in repr(Adam())
    assert rule.set_params(per_role__bias=2).per_role["bias"] == 2 and rule.per_role["bias"] == 1
    for bad in ({"weights": 1}, [("bias", 1)], 3, {None: 1}):
        with pytest.raises(ValueError, match=r"per_role must be None or a dict with keys among \('weight', 'bias', "):
            SGD(per_role=bad)
    for bad in (-1, np.inf, np.nan, "1", None):
        with pytest.raises(ValueError, match=r"per_role\['bias'\] must be a number in \[0, inf\), got"):
            AdamW(per_role={"bias": bad})
    for full_batch in (LBFGS, Rprop):
        with pytest.raises(TypeError, match="per_role"):
            full_batch(per_role={"bias": 1})
