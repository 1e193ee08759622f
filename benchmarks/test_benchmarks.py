"""pytest-benchmark over grid × contenders, and the proof that all contenders do the same work.

``pytest benchmarks --benchmark-only`` times each alone, with as many threads as the environment
gives; for the comparison of libraries see ``table.py``. Without the option the tests of
correctness run too.
"""

from dataclasses import replace
from importlib.util import find_spec

import layers
import numpy as np
import pytest
from contenders import CONTENDERS, CompiledPyTorch, takes, work
from grid import PREDICTION, STEPS, TRAINING, cross_entropy, data, initial_parameters, shortened
from online import LIBRARY, Fann, OnlineFastbp, online, rows

CHOSEN = [c for c in CONTENDERS.values() if c is not CompiledPyTorch]


def pairs(cases):
    return [
        pytest.param(contender, case, id=f"{case} x{case.n_samples} {contender.name}")
        for case in cases
        for contender in CHOSEN
        if takes(contender, case)
    ]


@pytest.mark.parametrize("contender, case", pairs(TRAINING + STEPS + PREDICTION))
def test_speed(benchmark, contender, case):
    benchmark.group = f"{case.task}: {case}, {case.n_samples} samples"
    call = work(contender, case)
    call()  # compiles, where the library does
    benchmark(call)


def check_losses_fall_alike(case, X, y, train, rtol):
    """From one start, `train` lowers the losses of all contenders alike."""
    falls = {}
    for contender in CHOSEN:
        if takes(contender, case):
            model = contender(case, X, y)
            start = cross_entropy(model.predict(X), y)
            train(model)
            falls[contender.name] = start - cross_entropy(model.predict(X), y)
    assert min(falls.values()) > 0.04 * start
    np.testing.assert_allclose([*falls.values()], np.median([*falls.values()]), rtol=rtol)


@pytest.mark.parametrize("case", TRAINING, ids=str)
def test_losses_fall_alike(case):
    """Up to 100 steps in orders of their own, within 15%."""
    case = shortened(case, n_batches=20)
    check_losses_fall_alike(case, *data(case), lambda model: [model.train_epoch() for _ in range(5)], rtol=0.15)


@pytest.mark.parametrize("case", [case for case in STEPS if case.task == "partial_fit"], ids=str)
def test_steps_lower_the_loss_alike(case):
    """Within 25%: the single output that estimators have for two classes moves half as fast as two do."""
    X, y = data(case)
    check_losses_fall_alike(case, X, y, lambda model: [model.partial_fit(X, y) for _ in range(10)], rtol=0.25)


@pytest.mark.parametrize("case", [case for case in STEPS if case.task == "by_hand"], ids=str)
def test_steps_by_hand_shrink_the_outputs_alike(case):
    X, y = data(case)

    def length(model):
        """Of the outputs less their mean in each row: what the logarithm of softmax is too, up to that mean."""
        a = model.predict(X) if model.name == "fastbp" else np.log(model.predict(X))
        return np.linalg.norm(a - a.mean(axis=1, keepdims=True))

    shrunk = {}
    for contender in CHOSEN:
        if takes(contender, case):
            model = contender(case, X, y)
            start = length(model)
            for _ in range(10):
                model.by_hand(X)
            shrunk[contender.name] = length(model) / start
    assert max(shrunk.values()) < 0.9
    np.testing.assert_allclose([*shrunk.values()], np.median([*shrunk.values()]), rtol=0.02)


@pytest.mark.skipif(not LIBRARY, reason="FANN's library is not there")
def test_fann_learns_the_same():
    case = online((5, 7, 3), 200)
    X, y = rows(case)
    mine, theirs = (contender(case, X, y) for contender in (OnlineFastbp, Fann))
    start = mine.predict(X)
    np.testing.assert_allclose(theirs.predict(X), start, atol=1e-6)
    for model in mine, theirs:
        model.learn_online()
    assert np.abs(mine.predict(X) - start).max() > 0.1
    np.testing.assert_allclose(theirs.predict(X), mine.predict(X), atol=1e-5)


@pytest.mark.parametrize("contender, case", pairs(PREDICTION))
def test_predictions_are_those_of_plain_numpy(contender, case):
    case = replace(case, n_samples=min(case.n_samples, 300))
    X, y = data(case)
    weights, biases = initial_parameters(case)
    a = X
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        a = np.maximum(a @ W + b, 0)
    p = np.exp(a @ weights[-1] + biases[-1])
    p /= p.sum(axis=1, keepdims=True)
    found = work(contender, case)()
    if case.task == "classify":
        np.testing.assert_array_equal(found, p.argmax(axis=1))
    else:
        np.testing.assert_allclose(found, p, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("case", layers.CASES)
@pytest.mark.parametrize("name", [name for name, (module, _) in layers.CONTENDERS.items() if find_spec(module)])
def test_all_contenders_train_other_layers(name, case):
    assert 0 < layers.seconds(name, replace(layers.CASES[case], n_samples=256), 1, least=0.01)
