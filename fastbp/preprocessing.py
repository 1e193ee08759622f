"""Whitening of inputs, as a scikit-learn transformer."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .checks import check_real, checks_parameters
from .documentation import DocumentationLinkMixin
from .hints import Floats


def _floats(name, array):
    """A validated array of numbers, as float32 if it was that, else as float64."""
    check_real(name, array, TypeError)
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


class Whitening(DocumentationLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Make features uncorrelated, with mean 0 and variance 1.

    Networks learn faster from such features. "zca" is a good choice for images, "pca" where there are many features.

    With mean ``m`` and covariance ``S = U diag(l) U^T`` of the training rows, a row becomes ``z = W (x - m)``:

    - "pca": ``W = diag(l)^(-1/2) U^T``, the principal components by decreasing variance, each scaled;
    - "zca": ``W = S^(-1/2) = U diag(l)^(-1/2) U^T``, of all whitenings the one that changes the data least: images
      stay images;
    - "cholesky": ``W = L^T`` with ``L L^T = S^(-1)``, upper triangular: a feature is freed of those after it.

    Parameters
    ----------
    method : {"pca", "zca", "cholesky"}, default="pca"
        Which of the whitenings.
    reg_covar : float, default=0.0
        Added to the diagonal of ``S``, so that directions of little variance, which may be noise, are not blown up. A
        direction of variance ``l`` then comes out with variance ``l / (l + reg_covar)``.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        ``m``.
    components_ : ndarray of shape (n_components, n_features)
        ``W``.
    mixing_ : ndarray of shape (n_features, n_components)
        The (pseudo-)inverse of ``W``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, when all are strings.

    See Also
    --------
    Standardize : A first layer of a network that scales features alone.
    sklearn.decomposition.PCA : Has a `whiten`, and leaves out components of little variance.

    Notes
    -----
    The covariance has the divisor ``n_samples - 1``, as in scikit-learn's PCA. It is never formed: ``R^T R = S`` comes
    from a QR decomposition of the centered rows and everything else from ``R``, which keeps twice the digits.

    Where there is no variance in some directions, as with fewer rows than features, and `reg_covar` is 0, these
    directions are left out: "pca" has fewer components, "zca" uses the pseudo-inverse, and for "cholesky", which needs
    an inverse, it is an error. A direction counts as having none if its standard deviation is below ``n_features``
    times the rounding error of X's dtype times the largest one. Features in very different units are best scaled first.

    References
    ----------
    Notes 000 (whitening transformation). A. Kessy, A. Lewin and K. Strimmer, "Optimal whitening and decorrelation", The
    American Statistician 72 (2018). A. Bell and T. Sejnowski, "The 'independent components' of natural scenes are edge
    filters", Vision Research 37 (1997), for ZCA.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import Whitening
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) @ [[2, 1], [0, 1]] + 5
    >>> Z = Whitening("zca").fit_transform(X)
    >>> bool(np.allclose(np.cov(Z.T), np.eye(2)))
    True
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"pca", "zca", "cholesky"})],
        "reg_covar": [Interval(Real, 0, None, closed="left")],
    }

    method: Literal["pca", "zca", "cholesky"]
    reg_covar: float
    mean_: Floats
    components_: Floats
    mixing_: Floats
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def __init__(self, method: Literal["pca", "zca", "cholesky"] = "pca", *, reg_covar: float = 0.0) -> None:
        self.method = method
        self.reg_covar = reg_covar

    @checks_parameters
    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn mean and whitening matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows. float32 stays, all else becomes float64.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a setting or X is unusable, all features are constant, or the covariance is singular for "cholesky".
        TypeError
            If X holds dates or the like.

        See Also
        --------
        transform : Whitens rows with what was learnt.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import Whitening
        >>> X = np.random.default_rng(0).normal(size=(50, 3)) * [1, 10, 100]
        >>> whitening = Whitening().fit(X)
        >>> whitening.components_.shape
        (3, 3)
        """
        checked = check_array(X, dtype="numeric", ensure_min_samples=2, estimator=self, input_name="X")
        x: Any = _floats("X", checked)
        n, n_features = x.shape
        rows = np.subtract(x, x[0], dtype=np.float64)  # constant features become zeros without rounding
        shift = rows.mean(axis=0)
        rows -= shift
        rows /= np.sqrt(n - 1)
        # Columns from last to first and back: R is lower triangular, as Cholesky whitening wants it.
        R: Any = np.linalg.qr(rows[:, ::-1], mode="r")
        if self.reg_covar:
            R = np.linalg.qr(np.vstack([R, np.sqrt(self.reg_covar) * np.eye(n_features)]), mode="r")
        R = R[::-1, ::-1]
        _, deviations, Ut = np.linalg.svd(R, full_matrices=False)
        rank = int((deviations > deviations[0] * n_features * np.finfo(x.dtype).eps).sum())
        if rank == 0:
            raise ValueError("X must have a feature that is not constant")
        if self.method == "cholesky":
            if rank < n_features:
                raise ValueError(
                    f"method='cholesky' needs a covariance of full rank: X has {n_features} features and rank {rank}; "
                    "reg_covar > 0 helps"
                )
            mixing = R.T * np.sign(np.diag(R))
            components = solve_triangular(mixing, np.eye(n_features))
        else:
            deviations, U = deviations[:rank], svd_flip(None, Ut[:rank], u_based_decision=False)[1].T
            mixing, components = U * deviations, (U / deviations).T
            if self.method == "zca":
                mixing, components = mixing @ U.T, U @ components
        validate_data(self, X, skip_check_array=True)  # names and number of features, now that nothing can fail
        self.mean_ = (x[0] + shift).astype(x.dtype)
        self.components_, self.mixing_ = components.astype(x.dtype), mixing.astype(x.dtype)
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Whiten rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)

        See Also
        --------
        inverse_transform : The way back.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import Whitening
        >>> X = np.random.default_rng(0).normal(size=(50, 3)) * [1, 10, 100]
        >>> whitening = Whitening().fit(X)
        >>> whitening.transform(X).std(axis=0, ddof=1).round(6)
        array([1., 1., 1.])
        """
        check_is_fitted(self)
        x: Any = _floats("X", validate_data(self, X, dtype="numeric", reset=False))
        return (x - self.mean_) @ self.components_.T

    def inverse_transform(self, Z: ArrayLike) -> Floats:
        """Undo `transform`, up to directions that were left out.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If Z does not have `n_components` columns.

        See Also
        --------
        transform : The way there.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import Whitening
        >>> X = np.random.default_rng(0).normal(size=(50, 3)) * [1, 10, 100]
        >>> whitening = Whitening().fit(X)
        >>> bool(np.allclose(whitening.inverse_transform(whitening.transform(X)), X))
        True
        """
        check_is_fitted(self)
        z: Any = _floats("Z", check_array(Z, dtype="numeric", input_name="Z"))
        if z.shape[1] != self._n_features_out:
            raise ValueError(f"Z must have {self._n_features_out} columns, got {z.shape[1]}")
        return z @ self.mixing_.T + self.mean_

    @property
    def _n_features_out(self):
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
