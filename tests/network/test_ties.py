"""Tied weights: gradients, training, files."""

import copy
import io
import pickle

import numpy as np
import pytest
import reference
from network_cases import FULL_BATCH, OPTIMIZERS, central_differences, check_hessian, relative_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastbp import BFGS, RBF, SGD, Adam, Dense, Network


def problem(rng, n, n_outputs=3):
    return rng.normal(size=(n, 4)), rng.random((n, n_outputs))


def tied(ties=((0, 1, 0.3), (1, 4, 0.2), (4, 0, 0.1)), layers=None, n_inputs=4, **settings):
    layers = layers or [Dense(4, "tanh"), Dense(4, "elu", l1=0.01), Dense(3), Dense(4, "logistic"), Dense(4)]
    return Network(layers, n_inputs=n_inputs, random_state=0, ties=ties, **{"l2": 0.1, **settings})


def pull(net):
    """Penalty of the ties and its gradient, in the words of the definition."""
    penalty, gradient = 0.0, np.zeros_like(net.parameters)
    places = net._model.views(np.arange(net.parameters.size))[0]
    for i, j, strength in net.ties:
        difference = net.weights[i] - net.weights[j]
        penalty += strength / 2 * np.linalg.norm(difference) ** 2
        gradient[places[i]] += strength * difference
        gradient[places[j]] -= strength * difference
    return penalty, gradient


@pytest.mark.parametrize("layers", [None, [RBF(4), Dense(4), RBF(4), RBF(4), Dense(4)]], ids=["Dense", "RBF"])
def test_gradient_and_hessian_with_ties(rng, layers):
    ties = ((0, 1, 0.3), (1, 4, 0.2), (4, 0, 0.1)) if layers is None else [(0, 2, 0.3), (4, 1, 0.5), (3, 2, 0.1)]
    net, weight = tied(ties, layers), rng.random(11)
    X, y = problem(rng, 11, 4)
    cost, gradient = net.value_and_gradient(X, y, weight, penalty=True)
    untied = tied((), layers).value_and_gradient(X, y, weight, penalty=True)
    assert_allclose(cost - untied[0], pull(net)[0])
    assert_allclose(gradient - untied[1], pull(net)[1], atol=1e-14)
    numeric = central_differences(lambda: net.value_and_gradient(X, y, weight, penalty=True)[0], net.parameters)
    assert relative_error(gradient, numeric) < 1e-6
    check_hessian(rng, net, X, y, weight)
    for data_only, other in zip(
        net.value_and_gradient(X, y), tied((), layers).value_and_gradient(X, y), strict=True
    ):
        assert_array_equal(data_only, other)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_updates_with_ties(rng, optimizer, kind):
    """Steps that take all weights as they were before; layers that lie in stripes tied to one that does not."""
    sizes = (4, 4, 3, 4, 4)
    penalized = [np.repeat([1.0, 0.0], (n * m, m)) for n, m in zip((4, *sizes), sizes, strict=False)]
    is_weight = np.concatenate(penalized)
    net, by_step, twin = tied(), tied(), tied()
    X, y = problem(rng, 50, 4)
    l1 = np.concatenate([p * 0.01 * (i == 1) for i, p in enumerate(penalized)])
    state, t, losses = [np.zeros_like(is_weight) for _ in range(optimizer.n_states)], 0, []
    for _ in range(2):
        for i in range(0, 50, 16):
            part, t = slice(i, i + 16), t + 1
            losses.append(twin.value_and_gradient(X[part], y[part], penalty=True)[0])
            g = twin.value_and_gradient(X[part], y[part])[1] + pull(twin)[1]
            twin.parameters[:] = reference.update(
                optimizer.settings, twin.parameters, g, state, t, optimizer.learning_rate, l1, 0.1 * is_weight,
                is_weight,
            )  # fmt: skip
            by_step.step(by_step.value_and_gradient(X[part], y[part])[1], optimizer)
    history = net.fit(kind(X), y, optimizer=optimizer, epochs=2, batch_size=16, shuffle=False)
    assert_allclose(net.parameters, twin.parameters, rtol=1e-9, atol=1e-12)
    assert_allclose(by_step.parameters, twin.parameters, rtol=1e-9, atol=1e-12)
    assert_allclose(history.loss, [np.average(part, weights=[16, 16, 16, 2]) for part in np.reshape(losses, (2, 4))])


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_large_batch_in_chunks_with_ties(rng, clip_norm):
    net = tied([(0, 1, 0.3), (2, 0, 0.2)], [Dense(500, "tanh"), Dense(500, "tanh"), Dense(500, "tanh"), Dense(3)], 500)
    X, y = rng.normal(size=(700, 500)), rng.random((700, 3))  # chunks are of 256 rows at least
    before, (cost, gradient) = net.parameters.copy(), net.value_and_gradient(X, y, penalty=True)
    assert_allclose(cost, tied((), net.layers, 500).value_and_gradient(X, y, penalty=True)[0] + pull(net)[0])
    if clip_norm:
        gradient *= clip_norm / np.linalg.norm(gradient)
    history = net.fit(X, y, optimizer=SGD(0.5, clip_norm=clip_norm), batch_size=700, shuffle=False)
    assert_allclose(net.parameters, before - 0.5 * gradient, atol=1e-12)
    assert_allclose(history.loss, [cost])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [90, 301])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_same_bits_with_ties_for_any_number_of_threads(rng, dtype, units, kind):
    X, y, results = kind(rng.normal(size=(600, units)).astype(dtype)), rng.random((600, 3)), []
    for n_threads in (1, 2, 3):
        layers = [*(Dense(units, f, max_norm=1.5) for f in ("relu", "tanh", "gelu")), Dense(3)]
        net = tied([(0, 1, 0.3), (2, 1, 0.2), (0, 2, 0.01)], layers, units, dtype=dtype)
        results.append([net.parameters])
        for clip_norm in (None, 0.5):
            optimizer = Adam(clip_norm=clip_norm)
            history = net.partial_fit(X, y, optimizer=optimizer, batch_size=150, n_threads=n_threads)
            results[-1].append(history.loss)
        assert net._model.engine.n_members == n_threads
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("rule", FULL_BATCH, ids=lambda rule: type(rule).__name__)
def test_full_batch_rules_with_ties(rng, rule):
    net = tied(layers=[Dense(4, "tanh"), Dense(4, "tanh"), Dense(4), Dense(4, "elu"), Dense(4)])
    X, y = problem(rng, 40, 4)
    before = net.value_and_gradient(X, y, penalty=True)[0]
    losses = net.fit(X, y, optimizer=rule, epochs=5).loss
    assert losses[0] == pytest.approx(before) and net.value_and_gradient(X, y, penalty=True)[0] < before
    if hasattr(rule, "update"):
        by_step = tied(layers=net.layers)
        for _ in range(len(losses)):
            by_step.step(by_step.value_and_gradient(X, y)[1], rule)
        assert_allclose(by_step.parameters, net.parameters, rtol=1e-9)


def test_tied_weights_become_similar(rng):
    X, y = problem(rng, 60, 4)
    distances = []
    for strength in (0.0, 0.1, 100.0):
        net = tied([(0, 1, strength)], [Dense(4, "tanh"), Dense(4, "tanh"), Dense(4)], l2=0.0)
        net.fit(X, y, optimizer=BFGS(), epochs=2000)  # which converges with any scipy
        distances.append(np.linalg.norm(net.weights[0] - net.weights[1]))
    assert distances[0] > 2 * distances[1] > 200 * distances[2]


@pytest.mark.parametrize(("ties", "message"), [
    (3, "ties must be a sequence of tuples"),
    ([3], r"ties must be tuples \(i, j, strength\), got 3"),
    ([(0, 1)], r"ties must be tuples \(i, j, strength\), got \(0, 1\)"),
    ([(0, 5, 1.0)], r"ties must name layers from 0 to 4, got \(0, 5, 1.0\)"),
    ([(-1, 0, 1.0)], "ties must name layers"),
    ([(True, 0, 1.0)], "ties must name layers"),
    ([(0.0, 1, 1.0)], "ties must name layers"),
    ([(0, 0, 1.0)], "ties must name two layers with weights of the same shape and kind"),
    ([(0, 2, 1.0)], r"of the same shape and kind, got \(0, 2, 1.0\): .* with \(4, 4\) and .* with \(4, 3\)"),
    ([(0, 1, -1.0)], r"strength of ties must be a number in \[0, inf\), got -1.0"),
    ([(0, 1, np.nan)], "strength of ties must be"),
])  # fmt: skip
def test_bad_ties(ties, message):
    with pytest.raises(ValueError, match=message):
        tied(ties)


def test_ties_of_different_kinds():
    with pytest.raises(ValueError, match="of the same shape and kind"):
        tied([(0, 1, 1.0)], [Dense(4), RBF(4)])


def test_ties_are_kept(rng):
    X, y = problem(rng, 30, 4)
    net, stream = tied([[0, 1, 1], (1, 4, 0.2)]), io.BytesIO()
    assert net.ties == ((0, 1, 1.0), (1, 4, 0.2)) and "ties=((0, 1, 1.0), (1, 4, 0.2))" in repr(net)
    with pytest.raises(AttributeError):
        net.ties = ()
    net.save(stream)
    stream.seek(0)
    copies = [Network.load(stream), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)]
    for one in (*copies, net):
        assert repr(one) == repr(net)
        one.fit(X, y, epochs=3, shuffle=False)
        assert_array_equal(one.parameters, copies[0].parameters)
