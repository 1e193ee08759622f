"""Losses and their gradients, also of large and small numbers."""

from ctypes import byref

import kernel_table as kt
import numpy as np
import pytest
import reference
from kernel_cases import guarded, softmax, tolerance
from kernel_table import pointer
from numpy.testing import assert_allclose, assert_array_equal

from fastbp import Huber, Lp, Quantile, SoftmaxCrossEntropy
from fastbp.graph.reference import loss_gradient, losses
from fastbp.losses import kernel_of

COSTS = [
    "squared_error", "cross_entropy", "softmax_cross_entropy", "poisson", "absolute_error", "huber", Huber(0.3), Lp(1),
    Lp(1.5), Lp(4), "quantile", Quantile(0.2), "gaussian", "perceptron", SoftmaxCrossEntropy(0.1),
    SoftmaxCrossEntropy(0.1, fixed_logit=True),
]  # fmt: skip


@pytest.mark.parametrize("loss", COSTS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 8, 16, 17])
def test_loss(k, dtype, rng, loss, n):
    m, scale, cost = 19, 0.25, kt.Cost.of(loss)
    n *= 2 if loss == "gaussian" else 1
    z = (rng.normal(size=(m, n)) * 5).astype(dtype)
    y = rng.random((m, n)).astype(dtype)
    y[0] = 0
    if loss == "gaussian":
        z[:, n // 2 :] /= 5
    if loss == "perceptron":
        y, z[1] = y.round(), 0
    labels = rng.integers(0, n, m)
    for weights in (None, rng.integers(0, 3, m).astype(float)):
        for by_label in (False, True) if kt.LOSSES[cost.kind] == "softmax_cross_entropy" else (False,):
            target = reference.one_hot(labels, n) if by_label else y.astype(float)
            target = target[:, : n // 2] if loss == "gaussian" else target
            w = np.ones(m) if weights is None else weights
            zz = z.astype(float)
            expected = loss_gradient(kernel_of(loss), zz, target) * w[:, None] * scale
            expected_loss = (w * losses(kernel_of(loss), zz, target)).sum()
            whole, check = guarded((m, n + 2), dtype)
            whole[:] = 99
            d = whole[:, :n]
            for gradient in (whole, None):
                scratch = np.full((m, n + 2), 99, dtype)
                scratch[:, :n] = z
                value = k.loss(
                    byref(cost), m, n, pointer(scratch), n + 2, None if by_label else pointer(y),
                    pointer(labels) if by_label else None, pointer(weights), scale, pointer(gradient),
                )  # fmt: skip
                assert (scratch[:, n:] == 99).all()
                assert_allclose(value, expected_loss, **tolerance(dtype, 20))
            assert (whole[:, n:] == 99).all()
            assert_allclose(d, expected, rtol=50 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)
            check()


@pytest.mark.parametrize("level", [1e4, 1e12, 1e15, 1e16, -1e16])
def test_softmax_cross_entropy_of_large_logits(k, dtype, level):
    """No digit of the loss is lost to the size of what all logits have in common."""
    for loss, target in (("softmax_cross_entropy", [1.0, 0.0]), (SoftmaxCrossEntropy(0.5), [0.75, 0.25])):
        for gap in (0.0, float(np.spacing(np.array(level, dtype)))):
            z = np.tile(np.array([level, level + gap], dtype), (k.lanes + 1, 1))
            exact = losses(kernel_of("softmax_cross_entropy"), np.array([[0.0, gap]]), np.array([target]))[0]
            rows = np.tile(np.array([1, 0], dtype), (len(z), 1))
            for y, labels in ((rows, None), (None, np.zeros(len(z), np.int64))):
                scratch, d = z.copy(), np.empty_like(z)
                value = k.loss(
                    byref(kt.Cost.of(loss)), len(z), 2, pointer(scratch), 2, pointer(y), pointer(labels), None, 1.0,
                    pointer(d),
                )  # fmt: skip
                assert_allclose(value, len(z) * exact, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("y", [1e-30, 1e-3, 1.0, 12345.0, 1e6, 1e30])
def test_poisson_deviance_near_its_least_value(k, dtype, y):
    """It is not negative, and about y r^2 / 2 for a small r = z - ln y."""
    y = np.array([y], dtype)
    log_y = np.log(y.astype(np.longdouble))
    eps = np.finfo(dtype).eps
    for r in (0.0, 1e-6, -1e-6, 1e-3, -1e-3, 0.3, -0.3, 0.9, 1.1, -5.0):
        z, d = (log_y + r).astype(dtype), np.empty(1, dtype)
        value = k.loss(byref(kt.Cost.of("poisson")), 1, 1, pointer(z), 1, pointer(y), None, None, 1.0, pointer(d))
        exact = float((z.astype(np.longdouble) - log_y)[0])
        error = 2 * eps * (1 + abs(exact))  # of r
        slope = np.expm1(exact)
        assert value >= 0
        rest = slope - exact if abs(exact) > 1e-4 else exact**2 / 2 + exact**3 / 6
        assert_allclose(value / float(y[0]), rest, rtol=20 * eps, atol=abs(slope) * error + error**2)
        assert_allclose(d / y, slope, rtol=20 * eps, atol=np.exp(r) * error)


def test_poisson_deviance_far_from_its_least_value(k, dtype):
    for y, z, value, slope in (
        (0.0, 0.0, 1.0, 1.0), (0.0, -80.0, np.exp(-80), np.exp(-80)), (1.0, 50.0, np.exp(50) - 51, np.exp(50) - 1),
        (1.0, -50.0, 49.0, -1.0), (1e-30, 80.0, np.exp(80), np.exp(80)),
    ):  # fmt: skip
        y, z, d = np.array([y], dtype), np.array([z], dtype), np.empty(1, dtype)
        got = k.loss(byref(kt.Cost.of("poisson")), 1, 1, pointer(z), 1, pointer(y), None, None, 1.0, pointer(d))
        assert_allclose([got, d[0]], [value, slope], rtol=8 * np.finfo(dtype).eps)


def test_gaussian_loss_of_no_residual(k, dtype):
    """0 times an infinite precision is 0: the loss is (s + ln 2 pi) / 2, its derivatives 0 and 1/2."""
    for s in (-90.0, -200.0, -900.0, -3000.0, 900.0):
        z, y, d = np.array([0.5, s], dtype), np.array([0.5, 0.5], dtype), np.empty(2, dtype)
        value = k.loss(byref(kt.Cost.of("gaussian")), 1, 2, pointer(z), 2, pointer(y), None, None, 1.0, pointer(d))
        assert_allclose(value, (s + np.log(2 * np.pi)) / 2)
        assert_array_equal(d, [0, 0.5])


def test_gaussian_loss_of_small_residuals(k, dtype):
    z, y, d = np.array([1e-18, -80.0], dtype), np.zeros(2, dtype), np.empty(2, dtype)
    value = k.loss(byref(kt.Cost.of("gaussian")), 1, 2, pointer(z), 2, pointer(y), None, None, 1.0, pointer(d))
    square = 1e-36 * np.exp(80)
    assert_allclose(value, (square - 80 + np.log(2 * np.pi)) / 2, rtol=1e-5)
    assert_allclose(d, [1e-18 * np.exp(80), (1 - square) / 2], rtol=2e-5)


@pytest.mark.parametrize("n", [3, 17, 5000, 70_000])
def test_sums_over_many_outputs(k, dtype, n):
    """Losses and the softmax of a row of many outputs: errors of a few ULP, not of n."""
    few = 4 * np.finfo(dtype).eps * np.log2(n)
    z, y = np.full((1, n), 0.1, dtype), np.zeros((1, n), dtype)
    exact = n * float(z[0, 0]) ** 2 / 2
    value = k.loss(byref(kt.Cost.of("squared_error")), 1, n, pointer(z), n, pointer(y), None, None, 1.0, None)
    assert_allclose(value, exact, rtol=few)
    softmax(k, z)
    assert_allclose(z, 1 / n, rtol=few)


def test_loss_of_several_quantiles(k, dtype, rng):
    z, y = rng.normal(size=(5, 21)).astype(dtype), np.tile(rng.normal(size=(5, 7)).astype(dtype), 3)
    loss, d = Quantile([0.1, 0.5, 0.8]), np.empty((5, 21), dtype)
    value = k.loss(byref(kt.Cost.of(loss)), 5, 21, pointer(z), 21, pointer(y), None, None, 1.0, pointer(d))
    assert_allclose(value, losses(kernel_of(loss), z, y[:, :7]).sum(), **tolerance(dtype, 20))
    assert_allclose(d, loss_gradient(kernel_of(loss), z, y[:, :7]), rtol=2 * np.finfo(dtype).eps)


def test_nan_in_a_loss_is_not_lost(k, dtype):
    for loss in COSTS:
        for z, y in ((np.nan, 1), (1, np.nan)):
            z, y, d = np.full(18, z, dtype), np.full(18, y, dtype), np.zeros(18, dtype)
            value = k.loss(byref(kt.Cost.of(loss)), 1, 18, pointer(z), 18, pointer(y), None, None, 1.0, pointer(d))
            assert np.isnan(value), loss


def test_loss_from_extreme_logits(k, dtype):
    """Stable from logits: no log(0), however wrong the prediction; a weight of zero silences even that."""
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    y = np.array([[0, 1], [0, 1]], dtype)
    for loss, expected in (("cross_entropy", 2e4), ("softmax_cross_entropy", 2e4)):
        for weights, value in ((None, expected), (np.array([0.0, 1.0]), 0.0)):
            scratch, d = z.copy(), np.empty_like(z)
            got = k.loss(
                byref(kt.Cost.of(loss)), 2, 2, pointer(scratch), 2, pointer(y), None, pointer(weights), 1.0, pointer(d)
            )
            assert_allclose(got, value)
            assert np.isfinite(d).all()
