"""Numbers at the ends of a dtype's range: penalties, targets, settings."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import (
    ELU,
    LBFGS,
    SGD,
    Adam,
    AdamW,
    Cyclical,
    Dense,
    HistogramLoss,
    Huber,
    LeakyReLU,
    MLPRegressor,
    Network,
    OneCycle,
    Orthogonal,
    Quantile,
    Quickprop,
    ReduceOnPlateau,
    Rprop,
    StepDecay,
    VarianceScaling,
    WarmUp,
)

pytestmark = pytest.mark.once

DTYPES = ["float32", "float64"]


def test_penalties_in_single_precision():
    """Squares, sums of squares and differences that only double holds."""
    net = Network([Dense(2), Dense(2)], n_inputs=2, dtype="float32", l1=1e-3, l2=1e-20, ties=[(0, 1, 1e-21)])
    net.parameters[:] = 0
    net.weights[0][:], net.weights[1][:] = 1e25, -3e25
    zeros = np.zeros((1, 2))
    with np.errstate(all="ignore"):
        data = net.value_and_gradient(zeros, zeros)[0]
    cost, gradient = net.value_and_gradient(zeros, zeros, penalty=True)
    assert_allclose(cost - data, 1e-3 * 16e25 + 0.5e-20 * 40e50 + 0.5e-21 * 64e50, rtol=1e-5)
    assert_allclose(gradient[:4], 1e-3 + 1e-20 * 1e25 + 1e-21 * 4e25, rtol=1e-5)
    many = Network([Dense(1)], n_inputs=10**6, dtype="float32", l1=1, l2=1)
    many.weights[0][:] = 0.1
    cost = many.value_and_gradient(np.zeros((1, 10**6), "f"), many.biases[0][None], penalty=True)[0]
    w = float(np.float32(0.1))
    assert_allclose(cost, 1e6 * (w + w * w / 2), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_of_histograms(dtype):
    """A density that is flat over the bins gives their widths; the notes' mean of bins that add up to infinity."""
    y = np.array([0.2, 0.9, 1.0])
    for sigma in (1e7, 1e12, 1e200):
        assert_allclose(HistogramLoss([0, 0.1, 0.5, 1], sigma).targets(y), [[0.1, 0.4, 0.5]] * 3, rtol=1e-6)
    exact = np.array([0.25, 0.5, 0.25])  # a peak at the centre of three bins, of quartiles
    quartile = 0.6744897501960817
    assert_allclose(
        HistogramLoss([-60, -quartile, quartile, 60], 1.0).targets(np.zeros(1)), exact[None], rtol=1e-12
    )
    assert_allclose(HistogramLoss([0, 0.5, 1], 1e-320).targets(np.array([0.1, 0.7])), [[1, 0], [0, 1]])
    most = float(np.finfo(dtype).max)
    means = HistogramLoss([0, most * 0.9, most]).means(np.array([[0.5, 0.5]], dtype))
    assert_allclose(means / np.array(most, dtype), 0.7, rtol=1e-6)


def test_scores_of_large_targets_in_single_precision(rng):
    X = rng.normal(size=(100, 2)).astype("f")
    y = X.sum(axis=1)
    reg = MLPRegressor(hidden_layer_sizes=(), solver=LBFGS(), alpha=0).fit(X, y)
    for W, b in zip(reg.coefs_, reg.intercepts_, strict=True):
        W *= 1e25
        b *= 1e25
    noise = rng.normal(size=100)
    y = (y + noise) * 1e25
    expected = 1 - (noise**2).sum() / ((y - y.mean()) ** 2).sum() * 1e50
    assert_allclose(reg.score(X, y.astype("f")), expected, rtol=1e-4)


# ---- settings that a dtype does not hold ----------------------------------------------------------------------------


def net32(*layers, **settings):
    return Network(layers or [Dense(3, "tanh"), Dense(1)], n_inputs=2, dtype="float32", random_state=0, **settings)


NOT_IN_SINGLE = [
    (lambda: net32(loss=Huber(1e-50)), r"Huber\(delta=1e-50\).* float32: delta must be a number in \(0, inf\), got 0"),
    (lambda: net32(loss=Huber(1e39)), "float32: delta must be"),
    (lambda: net32(loss=Quantile(1e-50)), "float32: levels must be"),
    (lambda: net32(loss=Quantile([1 - 1e-10])), "float32: levels must be"),
    (lambda: net32(Dense(2), loss=HistogramLoss([0, 1, 1e39])), "float32: edges must be"),
    (lambda: net32(Dense(3, ELU(1e39))), "float32: alpha must be"),
    (lambda: net32(Dense(3, ELU(1e-50))), "float32: alpha must be"),
    (lambda: net32(Dense(3, l1=1e39)), "float32: l1 must be"),
    (lambda: net32(Dense(3, l2=1e39)), "float32: l2 must be"),
    (lambda: net32(Dense(3, max_norm=1e-50)), "float32: max_norm must be"),
    (lambda: net32(Dense(3, initializer=VarianceScaling(1e39))), "float32: scale must be"),
    (lambda: net32(initializer=Orthogonal(1e-50)), "float32: gain must be"),
    (lambda: net32(l1=1e39), "l1 must be finite in the network's dtype, float32, got 1e.39"),
    (lambda: net32(l2=1e39), "l2 must be finite"),
    (lambda: setattr(net32(), "l2", 1e39), "l2 must be finite"),
    (lambda: net32(input_noise=1e39), "input_noise must be finite"),
    (lambda: net32(Dense(2), Dense(2), ties=[(0, 1, 1e39)]), "strength of ties must be finite"),
]
RULES_NOT_IN_SINGLE = [
    (SGD(1e-50), "learning_rate must be"),
    (SGD(1e39, momentum=0.9), "learning_rate must be"),
    (Adam(OneCycle(1e39, 10)), "maximum must be"),
    (SGD(Cyclical(1e-50, 1, 5)), "minimum must be"),
    (SGD(WarmUp(5, then=1e39)), "then must be"),
    (SGD(clip_value=1e-50), "clip_value must be"),
    (SGD(clip_norm=1e39), "clip_norm must be"),
    (AdamW(weight_decay=1e39), "weight_decay must be"),
    (Rprop(1e-50), "learning_rate must be"),
    (Rprop(etas=(1 - 1e-10, 1.2)), r"etas\[0\] must be"),
    (Rprop(step_sizes=(1e-50, 1)), r"step_sizes\[0\] must be"),
    (Rprop(step_sizes=(1, 1e39)), r"step_sizes\[1\] must be"),
    (Quickprop(1e39), "learning_rate must be"),
]


@pytest.mark.parametrize(("make", "message"), NOT_IN_SINGLE)
def test_settings_that_are_zero_or_infinite_in_single_precision(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("rule", "message"), RULES_NOT_IN_SINGLE)
def test_rules_that_are_zero_or_infinite_in_single_precision(rng, rule, message):
    X, y, net = rng.normal(size=(20, 2)).astype("f"), rng.normal(size=20), net32()
    before = net.parameters.copy()
    calls = [
        lambda: net.fit(X, y, optimizer=rule),
        lambda: net.partial_fit(X, y, optimizer=rule),
        lambda: net.step(np.zeros_like(before), rule),
        lambda: MLPRegressor(solver=rule).fit(X, y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"float32: {message}"):
            call()
    assert_array_equal(net.parameters, before)
    Network([Dense(1)], n_inputs=2).fit(X * 1e-3, y, optimizer=Rprop(1e-50))  # double holds it


def test_solvers_by_name_in_single_precision(rng):
    X, y = rng.normal(size=(20, 2)).astype("f"), rng.normal(size=20)
    for solver, value in itertools.product(("sgd", "adam"), (1e-50, 1e39)):
        with pytest.raises(ValueError, match="float32: learning_rate must be"):
            MLPRegressor(solver=solver, learning_rate_init=value).fit(X, y)
    with pytest.raises(ValueError, match="l2 must be finite"):
        MLPRegressor(alpha=1e45).fit(X, y)


def test_settings_whose_zero_is_right_or_that_are_in_double_anyway(rng):
    X, y = rng.normal(size=(20, 2)).astype("f"), rng.normal(size=20)
    net = net32(Dense(3, LeakyReLU(1e-50)), Dense(1), l1=1e-50, l2=1e-50, input_noise=1e-50)
    schedule = StepDecay(0.1, factor=1e-60, every=1e39)
    for rate in (schedule, ReduceOnPlateau(0.1, threshold=1e-50, patience=1e40), WarmUp(1e39, 0.1, 1e-50)):
        for rule in (SGD(rate, momentum=1e-50), Adam(rate, beta_2=1 - 1e-10)):
            assert np.isfinite(net.fit(X, y, optimizer=rule, epochs=2).loss).all()
