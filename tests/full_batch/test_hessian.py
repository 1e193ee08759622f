"""Hessians and products with them against central differences."""

import numpy as np
import pytest
from network_cases import ACTIVATIONS, LOSSES, check_hessian, make, problem, relative_error
from numpy.testing import assert_allclose
from scipy import sparse

from fastbp import HistogramLoss, Quantile


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hessian_by_central_differences(rng, loss, activation):
    net = make([3, 5, 4, 2], activation, loss, l1=0.01, l2=0.1)
    X, y, _ = problem(rng, 11, 3, 2, loss)
    check_hessian(rng, net, X, y, rng.random(11))


@pytest.mark.parametrize("output", ACTIVATIONS)
def test_hessian_of_squared_error_through_an_output_unit(rng, output):
    X, y, _ = problem(rng, 9, 3, 2, "squared_error")
    check_hessian(rng, make([3, 4, 2], "tanh", output=output), X, y)


def test_hessian_with_probabilities_and_for_one_output(rng):
    X, y = rng.normal(size=(9, 3)), rng.random((9, 4))
    check_hessian(rng, make([3, 4, 4], "tanh", "softmax_cross_entropy"), X, y / y.sum(axis=1, keepdims=True))
    check_hessian(rng, make([3, 4, 1], "tanh", "cross_entropy"), X, y[:, 0])
    check_hessian(rng, make([3, 4, 4], "tanh", "gaussian"), X, y[:, :2])
    check_hessian(rng, make([3, 4, 4], "tanh", Quantile([0.1, 0.6])), X, y[:, :2])
    check_hessian(rng, make([3, 4, 4], "tanh", HistogramLoss([0, 0.1, 0.5, 0.7, 1], 0.2)), X, y[:, 0])


def test_hessian_of_many_rows_in_parts(rng):
    X, y, _ = problem(rng, 2500, 20, 5, "softmax_cross_entropy")
    weight, net = rng.random(2500), make([20, 20, 5], "logistic", "softmax_cross_entropy")
    v = rng.normal(size=net.parameters.size)
    assert_allclose(net.hessian(X, y, weight) @ v, net.hessian_vector_product(X, y, v, weight), atol=1e-12)


def test_hessian_of_all_kinds_of_input(rng):
    X = (rng.random((30, 6)) < 0.3) * rng.integers(1, 255, (30, 6))
    y, v = rng.integers(0, 3, 30), rng.normal(size=53)
    for dtype, tolerance in (("float64", 1e-11), ("float32", 1e-4)):
        net = make([6, 5, 3], "tanh", "softmax_cross_entropy", dtype, l2=0.1)
        net.weights[0][:] /= 100
        expected = net.hessian(X.astype(float), y, penalty=True)
        assert expected.dtype == net.dtype
        for kind in (X.astype(np.uint8), X.astype(np.float32)[:, ::1], np.asfortranarray(X), sparse.csr_array(X)):
            assert relative_error(net.hessian(kind, y, penalty=True), expected) < tolerance
            product = net.hessian_vector_product(kind, y, v, penalty=True)
            assert product.dtype == net.dtype
            assert relative_error(product, expected @ v) < tolerance


def test_hessian_arguments(rng):
    X, y, _ = problem(rng, 10, 4, 2, "squared_error")
    net = make([4, 2])
    with pytest.raises(ValueError, match=r"v must hold real numbers in shape \(10,\), got dtype float64, shape \(9,\)"):
        net.hessian_vector_product(X, y, np.ones(9))
    with pytest.raises(ValueError, match="Input v contains NaN"):
        net.hessian_vector_product(X, y, np.full(10, np.nan))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        net.hessian(X * np.nan, y)
    with pytest.raises(ValueError, match="hessian is for networks of at most 5000 parameters, got 5010"):
        make([500, 10]).hessian(np.ones((1, 500)), np.ones((1, 10)))
    own = make([4, 2], loss=None)
    for call in (own.hessian, lambda X, y: own.hessian_vector_product(X, y, np.ones(10))):
        with pytest.raises(ValueError, match="needs a network with a loss"):
            call(X, y)
