"""pytest-benchmark over grid × contenders, and the proof that all contenders do the same work.

``pytest benchmarks --benchmark-only`` times each alone, with as many threads as the environment
gives; for the comparison of libraries see ``table.py``. Without the option the tests of
correctness run too.
"""

from dataclasses import replace

import numpy as np
import pytest
from contenders import CONTENDERS, CompiledPyTorch, takes, work
from grid import PREDICTION, TRAINING, cross_entropy, data, initial_parameters, shortened

CHOSEN = [c for c in CONTENDERS.values() if c is not CompiledPyTorch]


def pairs(cases):
    return [
        pytest.param(contender, case, id=f"{case} x{case.n_samples} {contender.name}")
        for case in cases
        for contender in CHOSEN
        if takes(contender, case)
    ]


@pytest.mark.parametrize("contender, case", pairs(TRAINING + PREDICTION))
def test_speed(benchmark, contender, case):
    benchmark.group = f"{case.task}: {case}, {case.n_samples} samples"
    call = work(contender, case)
    call()  # compiles, where the library does
    benchmark(call)


@pytest.mark.parametrize("case", TRAINING, ids=str)
def test_losses_fall_alike(case):
    """From one start, up to 100 steps in orders of their own lower all losses alike, within 15%."""
    case = shortened(case, n_batches=20)
    X, y = data(case)
    falls = {}
    for contender in CHOSEN:
        if takes(contender, case):
            model = contender(case, X, y)
            start = cross_entropy(model.predict(X), y)
            for _ in range(5):
                model.train_epoch()
            falls[contender.name] = start - cross_entropy(model.predict(X), y)
    assert min(falls.values()) > 0.04 * start
    np.testing.assert_allclose([*falls.values()], np.median([*falls.values()]), rtol=0.15)


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
