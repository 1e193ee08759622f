"""The regressor: outputs as predictions, and their scores."""

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils._param_validation import StrOptions

from ..losses import OUTPUT_UNITS, HistogramLoss, Huber, Lp, Quantile, kernel_of, output_units, outputs_per_target
from .base import BaseMLP
from .docstrings import AGREEMENT, ATTRIBUTES, AVERAGE, DROPOUT, HIDDEN_LAYERS, PARAMETERS
from .inputs import check_numeric
from .parameters import set_parameters


class MLPRegressor(RegressorMixin, BaseMLP):
    __doc__ = f"""Multilayer perceptron regressor, a drop-in for scikit-learn's.

{AGREEMENT}

    Parameters
    ----------
    loss : str, Huber, Lp, Quantile or HistogramLoss, default='squared_error'
        Half the squared error of linear outputs, or half the Poisson deviance of exponential
        outputs (for y that is not negative) for 'poisson'; 'absolute_error'; 'huber' or a
        `fastbp.Huber` with its delta; a `fastbp.Lp` with its exponent; 'quantile' (the median) or a
        `fastbp.Quantile` of one level or several; 'gaussian', which learns mean and standard
        deviation; a `fastbp.HistogramLoss` (for one target), which predicts the mean of a
        distribution over bins. `fastbp.Network` has the formulas. They are summed over outputs; only
        'squared_error' is averaged, as scikit-learn's is, in what solvers by name report.
{PARAMETERS}
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend
        on it.
{DROPOUT}
{HIDDEN_LAYERS}
{AVERAGE}

    Attributes
    ----------
{ATTRIBUTES}

    Examples
    --------
    >>> from fastbp import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> reg = MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.99
    True

    An autoencoder, whose code are the features:

    >>> from fastbp import Dense
    >>> auto = MLPRegressor(hidden_layers=[Dense(2, "tanh")], solver="lbfgs", random_state=0).fit(X, X)
    >>> auto.transform(X).shape
    (200, 2)
    """

    _y_numeric = True
    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [
            StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile", "gaussian"}),
            Huber,
            Lp,
            Quantile,
            HistogramLoss,
        ],
    }

    def __init__(
        self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto",
        learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
        random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9,
        beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000, l1_ratio=0.0,
        n_threads=None, dropout=0.0, hidden_layers=None, average=None,
    ):  # fmt: skip
        set_parameters(locals())

    def _encode(self, y, incremental):
        return self._encode_known(y)

    def _encode_known(self, y):
        """Float array of shape (n_samples, n_targets)."""
        y = y.toarray() if issparse(y) else y
        if y.dtype not in (np.float32, np.float64):
            y = y.astype(np.float64)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(
                "Some value(s) of y are negative which is not allowed for Poisson regression."
            )
        return y.reshape(len(y), -1)

    def _encode_plain(self, y):
        return self._encode_known(y) if y.dtype in (np.float32, np.float64) and y.ndim in (1, 2) else None

    def _output(self):
        """Activation of the outputs, and the network's loss."""
        unit = OUTPUT_UNITS.get(kernel_of(self.loss)[0], "identity")
        return unit, self.loss

    def _n_outputs(self, target):
        return output_units(self.loss, target.shape[1])

    def _loss_scale(self):
        """scikit-learn reports squared errors per output."""
        return self.n_outputs_ if self._loss == "squared_error" else 1

    def _class_weighting(self, target, weight):
        return lambda target, weight: weight

    def _score_outputs(self, target, outputs, weight):
        if not np.isfinite(outputs).all():
            return np.nan
        return self._score(target, self._predictions(outputs), weight)

    def _score(self, y, predictions, weight):
        # in single precision squares of large numbers overflow, and sums of many lose digits
        y, predictions = map(np.asarray, (y, predictions))
        y, predictions = (a.astype(np.float64) if a.dtype == np.float32 else a for a in (y, predictions))
        loss = self._fitted_loss()
        if not isinstance(loss, Quantile) or np.size(loss.levels) == 1:
            return r2_score(y, predictions, sample_weight=weight)
        pairs = zip(loss.levels, np.moveaxis(predictions, -1, 0), strict=True)
        return float(np.mean([d2_pinball_score(y, p, alpha=q, sample_weight=weight) for q, p in pairs]))

    def _predictions(self, outputs):
        """What `predict` returns for these outputs of the network."""
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        loss = self._fitted_loss()
        n_groups = outputs_per_target(loss)
        if n_groups == 1:
            return outputs
        groups = outputs.reshape(len(outputs), n_groups, -1).transpose(0, 2, 1)
        groups = groups[..., 0] if loss == "gaussian" else groups
        return groups[:, 0] if groups.shape[1] == 1 else groups

    def predict(self, X, return_std=False):
        """Predict target values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return standard deviations as well, which only loss='gaussian' learns.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
            The means for loss='gaussian' and `HistogramLoss`. With several levels of a `Quantile`
            their values are along a further, last axis: (n_samples, n_levels) or
            (n_samples, n_targets, n_levels).
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        ValueError
            If X is unusable, or `return_std` is True for another loss.
        """
        outputs = self._outputs(X)
        if not return_std:
            return self._predictions(outputs)
        if self._fitted_loss() != "gaussian":
            raise ValueError(f"return_std=True needs loss='gaussian', got {self._fitted_loss()!r}.")
        std = np.exp(outputs[:, outputs.shape[1] // 2 :] / 2)
        return self._predictions(outputs), std[:, 0] if std.shape[1] == 1 else std

    def score(self, X, y, sample_weight=None):
        """The coefficient of determination R^2 of the predictions.

        With several levels of a `Quantile` it is the mean over them (and over targets) of D^2, the
        share ``1 - L / L_0`` of the pinball loss ``L_0`` of the best constant that the predictions
        spare: see scikit-learn's `d2_pinball_score`. Either is 1 at best, and early stopping watches it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        return self._score(check_numeric("y", y), self.predict(X), check_numeric("sample_weight", sample_weight))
