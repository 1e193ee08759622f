"""Whitening: what it promises, scikit-learn's contract, and data of less than full rank."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp import MLPRegressor, Whitening

METHODS = ["pca", "zca", "cholesky"]


def correlated(rng, n=200, p=5):
    return rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) + 10 * rng.normal(size=p)


@parametrize_with_checks([Whitening(method) for method in METHODS] + [Whitening(reg_covar=0.1)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_there_and_back(rng, method, dtype):
    X = correlated(rng).astype(dtype)
    whitening = Whitening(method).fit(X)
    Z, tolerance = whitening.transform(X), 2e-5 if dtype == "float32" else 1e-12
    assert Z.dtype == whitening.inverse_transform(Z).dtype == dtype
    assert_allclose(whitening.inverse_transform(Z), X, atol=10 * tolerance)
    assert_allclose(whitening.components_ @ whitening.mixing_, np.eye(5), atol=tolerance)
    assert list(whitening.get_feature_names_out()) == [f"whitening{i}" for i in range(5)]


def test_pca_is_scikit_learns(rng):
    X = correlated(rng)
    assert_allclose(Whitening("pca").fit_transform(X), PCA(whiten=True).fit_transform(X), atol=1e-12)


@pytest.mark.parametrize("reg_covar", [0.0, 0.3])
def test_matrices(rng, reg_covar):
    """By their definitions, from the covariance."""
    X = correlated(rng)
    S = np.cov(X.T) + reg_covar * np.eye(5)
    eigenvalues, U = np.linalg.eigh(S)
    W = {method: Whitening(method, reg_covar=reg_covar).fit(X).components_ for method in METHODS}
    assert_allclose(W["pca"] @ S @ W["pca"].T, np.eye(5), atol=1e-10)
    assert_allclose(np.abs(W["pca"] @ U[:, ::-1]), np.diag(eigenvalues[::-1] ** -0.5), atol=1e-10)
    assert_allclose(W["zca"], (U * eigenvalues**-0.5) @ U.T, atol=1e-10)
    assert_allclose(W["cholesky"], np.linalg.cholesky(np.linalg.inv(S)).T, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [4, 50])
def test_directions_without_variance(rng, n, dtype):
    """Fewer rows than features, or features that are constant or follow from others."""
    X = rng.normal(size=(n, 5)).astype(dtype)
    X = np.c_[X, X[:, 0] + X[:, 1], np.full(n, 0.1, dtype)]
    rank = min(n - 1, 5)
    Z = Whitening("pca").fit_transform(X)
    assert_allclose(np.cov(Z.T), np.eye(rank), atol=1e-4)
    zca = Whitening("zca").fit(X)
    Z = zca.transform(X)
    assert np.linalg.matrix_rank(np.cov(Z.T), 1e-3) == rank
    assert_allclose(np.linalg.eigvalsh(np.cov(Z.T))[-rank:], 1, atol=1e-4)
    assert_allclose(zca.inverse_transform(Z), X, atol=1e-5)
    with pytest.raises(ValueError, match=f"full rank: X has 7 features and rank {rank}; reg_covar > 0 helps"):
        Whitening("cholesky").fit(X)
    for method in METHODS:
        whitening = Whitening(method, reg_covar=0.1).fit(X)
        assert whitening.components_.shape == (7, 7)
        variances = np.linalg.eigvalsh(np.cov(X.T))
        Z = whitening.transform(X)
        assert_allclose(np.linalg.eigvalsh(np.cov(Z.T)), variances / (variances + 0.1), atol=1e-5)
        assert_allclose(whitening.inverse_transform(Z), X, atol=1e-4)


def test_units_differ_a_lot(rng):
    """Standard deviations from 1 to 1e10, where a covariance matrix in float64 would have lost the least."""
    X = correlated(rng) * 10.0 ** np.arange(0, 11, 2.5)
    for method in METHODS:
        assert_allclose(np.cov(Whitening(method).fit_transform(X).T), np.eye(5), atol=1e-4)


def test_in_a_pipeline(rng):
    X = correlated(rng)
    y = Whitening("zca").fit_transform(X)[:, 0] ** 2
    model = make_pipeline(Whitening(), MLPRegressor(learning_rate_init=0.01, max_iter=50, random_state=0))
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"method": "svd"}, "'method' parameter"), ({"reg_covar": -1}, "'reg_covar' parameter")],
)
def test_bad_settings(rng, setting, message):
    with pytest.raises(ValueError, match=message):
        Whitening(**setting).fit(rng.normal(size=(9, 2)))


def test_bad_data(rng):
    with pytest.raises(ValueError, match="X must have a feature that is not constant"):
        Whitening().fit(np.full((4, 2), 0.1))
    whitening = Whitening().fit(rng.normal(size=(9, 2)))
    before = whitening.components_.copy()
    with pytest.raises(ValueError, match="Z must have 2 columns, got 3"):
        whitening.inverse_transform(np.ones((1, 3)))
    with pytest.raises(ValueError, match="NaN"):
        whitening.fit(np.full((9, 2), np.nan))
    with pytest.raises(ValueError, match="full rank"):
        whitening.set_params(method="cholesky").fit(np.outer(np.arange(9), np.ones(3)))
    assert whitening.n_features_in_ == 2
    assert_array_equal(whitening.components_, before)


@pytest.mark.parametrize("kind", ["M8[ns]", "m8[s]", complex, str, "S"])
def test_what_is_not_a_number_is_refused(kind):
    X = np.arange(60).reshape(20, 3) ** 2 % 17
    bad = X.astype(kind)
    whitening = Whitening().fit(X)
    before = whitening.components_.copy()
    for call in (Whitening().fit, whitening.fit, whitening.transform, whitening.inverse_transform):
        with pytest.raises((TypeError, ValueError), match="real numbers|Complex data|dtype='numeric'"):
            call(bad)
    np.testing.assert_array_equal(whitening.components_, before)
    for dtype in (np.uint8, np.int64, bool, np.float16, np.longdouble, object):
        same = Whitening().fit(X.astype(dtype)).transform(X.astype(dtype))
        np.testing.assert_allclose(same, Whitening().fit_transform(X.astype(dtype).astype(float)))
        assert same.dtype == np.float64
