"""The regressor: outputs as predictions, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils._param_validation import StrOptions

from ..averaging import EMA, SWA
from ..hints import Matrix
from ..layers import Layer, Unit
from ..losses import OUTPUT_UNITS, HistogramLoss, Huber, Lp, Quantile, kernel_of, output_units, outputs_per_target
from ..names import REGRESSOR_LOSSES, RegressorLossName, ScheduleName
from ..network import Optimizer
from ..pruning import Prune
from ..schedules import Schedule
from .attributes import Seed, Sizes
from .base import BaseMLP
from .inputs import check_numeric
from .parameters import set_parameters


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron regressor, a drop-in for scikit-learn's.

    The same seed gives the same network as in scikit-learn, to rounding. It differs where the arithmetic does:
    ``solver='lbfgs'`` is float32 for float32 X, where scikit-learn goes over to float64. Features and targets of a mean
    near 0 and a variance near 1 are learnt best: see scikit-learn's StandardScaler and TransformedTargetRegressor.

    Parameters
    ----------
    loss : str, Huber, Lp, Quantile or HistogramLoss, default='squared_error'
        The cost, summed over outputs; `fastbp.Network` has the formulas:

        - 'squared_error': half the squared error of linear outputs. It alone is averaged over outputs, as
          scikit-learn's is, in what solvers by name report;
        - 'absolute_error', 'huber' or a `fastbp.Huber` with its delta, for y with outliers; a `fastbp.Lp` with its
          exponent;
        - 'quantile' (the median) or a `fastbp.Quantile` of one level or several, for intervals;
        - 'gaussian': mean and standard deviation are learnt, see `predict`;
        - 'poisson': half the Poisson deviance of exponential outputs, for counts and other y that are not negative;
        - a `fastbp.HistogramLoss` (for one target) predicts the mean of a distribution over bins.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; empty for none. One or two layers of 50 to 500 units are a usual start.
    activation : str, LeakyReLU or ELU, default='relu'
        Activation of the hidden layers: 'identity', 'logistic', 'tanh', 'relu', or another of those that `fastbp.Dense`
        describes (but for 'step', which has no derivative).
    solver : str, UpdateRule, SAM or FullBatch, default='adam'
        Names of stochastic solvers, which go through mini-batches, are 'sgd', 'adam', 'adamw', 'rmsprop' and 'adagrad'.
        The full-batch solvers 'lbfgs', 'rprop', 'quickprop', 'newton', 'newton_cg' and 'bfgs' take all rows at once, an
        iteration an epoch. 'adam' is a good choice for large data, 'lbfgs' for up to a few thousand rows.

        An object such as ``fastbp.RMSProp(0.01, momentum=0.9)`` has all its settings with it, its learning rate among
        them: the parameters below that name solvers are then not used. By name 'rmsprop' and 'adagrad' have the default
        settings but for the learning rate, and full-batch solvers other than 'lbfgs' have them all. ``fastbp.SAM`` of
        an object looks for flat minima. Settings of objects are parameters too, for `set_params` and grid searches:
        ``solver__learning_rate``, ``learning_rate__maximum``, ``activation__slope``, ``loss__delta``.

        With full-batch solvers there are no `partial_fit`, no dropout and no early stopping; all but 'lbfgs', 'rprop'
        and 'quickprop' need ``l1_ratio=0``.
    alpha : float, default=0.0001
        Strength of the penalty on the weights (biases have none). It is divided by the sum of the sample weights of the
        batch. Usual values are 1e-6 to 10, to be searched on a logarithmic scale.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is ``min(200, n_samples)``. 32 to 256 are usual; smaller ones make more steps of an
        epoch, which takes longer.
    learning_rate : {'constant', 'invscaling', 'adaptive'} or Schedule, default='constant'
        Schedule of 'sgd': the initial rate throughout; ``learning_rate_init / (t_ + 1)**power_t`` after each epoch; or
        a fifth of it each time that training has stopped improving. An object such as `fastbp.OneCycle` is for all
        stochastic solvers, and has all its rates with it. One that reduces the rate on a plateau watches the training
        loss, with early stopping the validation loss. Must be 'constant' if `solver` is an object, whose rate may be a
        schedule.
    learning_rate_init : float, default=0.001
        Initial learning rate of the stochastic solvers; not used if `learning_rate` or `solver` is an object. Usual
        values are 0.0001 to 0.01 for 'adam', 0.001 to 0.1 for 'sgd'.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs of stochastic solvers, iterations of full-batch solvers at most.
    shuffle : bool, default=True
        Whether each epoch of a stochastic solver takes the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters, the validation split and the order of the rows. An integer makes results
        reproducible.
    tol : float, default=1e-4
        Least improvement of loss or validation score that counts as one; gradient tolerance of 'lbfgs'. Not used by
        full-batch rules that end by themselves, all but 'rprop' and 'quickprop'.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the fit before. As with `partial_fit`, the structure is then that of
        the first fit: other `hidden_layer_sizes` or `hidden_layers`, classes or numbers of features or targets, and
        float64 X for a network of float32, are errors.
    momentum : float, default=0.9
        Momentum of 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether the momentum of 'sgd' is Nesterov's.
    early_stopping : bool, default=False
        Whether stochastic solvers watch the score on a validation set rather than the training loss, and end with the
        parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows set aside for validation when `fit` gets no `X_val`.
    beta_1 : float, default=0.9
        Decay rate of the running average of gradients of 'adam' and 'adamw', in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the running average of their squares, in [0, 1).
    epsilon : float, default=1e-8
        Added to the denominator of 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training ends after more than that many epochs in a row without improvement (stochastic solvers, 'rprop',
        'quickprop').
    max_fun : int, default=15000
        Evaluations of the loss by 'lbfgs' at most.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty ``alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|_2^2)``. With 'lbfgs', and with
        rules that have ``proximal=True``, weights reach zero exactly.
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend on it.
    dropout : float, or list or tuple of float, default=0.0
        Probability, in [0, 1), with which stochastic solvers set an output of a hidden unit to zero for a row in
        training: one for all hidden layers, or one for each. Usual values are 0.1 to 0.5. See `fastbp.Dense`.
    hidden_layers : list or tuple of layers or None, default=None
        The hidden layers themselves, of any kind that `fastbp.Network` takes, instead of what `hidden_layer_sizes`,
        `activation` and `dropout` describe, which must have their defaults then. The output layer, a `fastbp.Dense`,
        comes after them. Their settings are parameters too, for `set_params` and grid searches:
        ``hidden_layers__0__n_units``, ``hidden_layers__1__layers__0__dropout``. `l1` and `l2` of a layer count instead
        of its shares of `alpha`, and divided as it is; dropout and `max_norm` are for stochastic solvers. Sparse X is
        for layers that begin with a `fastbp.Dense`.
    average : EMA or SWA or None, default=None
        An average of the parameters that a stochastic solver goes through, `fastbp.EMA` over steps or `fastbp.SWA` over
        epochs, which the network has after each epoch and in the end: scores of early stopping and `coefs_` are those
        of the average, `loss_curve_` is not. `partial_fit` goes on from the parameters that are learnt, and with the
        average, unless the ones in `coefs_` were changed; with `warm_start`, `fit` goes on from `coefs_`.
    prune : Prune or None, default=None
        Makes the smallest weights 0 for good while a stochastic solver trains, more and more of them, `fastbp.Prune`.
        It must be over before `max_iter` epochs are; until then no epoch counts as the best, and none as one without
        improvement.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer. They are live: what is assigned or written to them counts. With `hidden_layers` they are
        those of each place that has some, in the order of the layers, as in `fastbp.Network`: shared ones are there for
        each of their places, transposed where they are so.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer, or place; None for a projection, which has none.
    loss_ : float
        Training loss of the last epoch, including the penalty; with 'lbfgs' that at the end.
    loss_curve_ : list of float
        Training loss of each epoch, before its updates (not with 'lbfgs'). A full-batch rule that ends by itself ends
        with an epoch that made no progress, whose loss is that at the end.
    best_loss_ : float or None
        Least of `loss_curve_`; None with early stopping.
    validation_scores_ : list of float or None
        Score on the validation set after each epoch; None without early stopping.
    best_validation_score_ : float or None
        Best of `validation_scores_`.
    validation_loss_curve_ : list of float or None
        Loss on the validation set after each epoch, without penalty; None without early stopping.
    converged_ : bool
        Whether the last call ended because there was no further improvement.
    n_iter_ : int
        Epochs, or iterations of full-batch solvers, of the last call.
    t_ : int
        Training rows seen by stochastic solvers, counting repetitions.
    n_layers_ : int
        Number of layers including input and output; layers within one of `hidden_layers` are not counted.
    n_outputs_ : int
        Number of output units.
    out_activation_ : str
        Activation of the output units.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, when all are strings.

    See Also
    --------
    MLPClassifier : For targets that are classes.
    Network : The network itself, for full control: custom losses, several heads, gradients.
    Quantile : A loss for prediction intervals.

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

    loss: RegressorLossName | Huber | Lp | Quantile | HistogramLoss

    _y_numeric = True
    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [
            StrOptions(set(REGRESSOR_LOSSES)),
            Huber,
            Lp,
            Quantile,
            HistogramLoss,
        ],
    }

    def __init__(
        self,
        loss: RegressorLossName | Huber | Lp | Quantile | HistogramLoss = "squared_error",
        hidden_layer_sizes: Sizes = (100,),
        activation: Unit = "relu",
        *,
        solver: Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: ScheduleName | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Seed = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        l1_ratio: float = 0.0,
        n_threads: int | None = None,
        dropout: float | Sequence[float] = 0.0,
        hidden_layers: Sequence[Layer] | None = None,
        average: EMA | SWA | None = None,
        prune: Prune | None = None,
    ) -> None:
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

    def predict(self, X: Matrix, return_std: bool = False) -> Any:
        """Predict target values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.
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

        See Also
        --------
        score : How good predictions are.
        Quantile : Intervals.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import MLPRegressor
        >>> X = np.linspace(-1, 1, 300)[:, None]
        >>> y = X.ravel() + np.random.default_rng(0).normal(0, 0.1, size=300)
        >>> reg = MLPRegressor("gaussian", 4, solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> mean, std = reg.predict(X, return_std=True)
        >>> bool(0.9 < np.mean(np.abs(y - mean) < 2 * std) < 1)
        True
        """
        outputs = self._outputs(X)
        if not return_std:
            return self._predictions(outputs)
        if self._fitted_loss() != "gaussian":
            raise ValueError(f"return_std=True needs loss='gaussian', got {self._fitted_loss()!r}.")
        std = np.exp(outputs[:, outputs.shape[1] // 2 :] / 2)
        return self._predictions(outputs), std[:, 0] if std.shape[1] == 1 else std

    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The coefficient of determination R^2 of the predictions.

        With several levels of a `Quantile` it is the mean over them (and over targets) of D^2, the
        share ``1 - L / L_0`` of the pinball loss ``L_0`` of the best constant that the predictions
        spare: see scikit-learn's `d2_pinball_score`. Either is 1 at best, and early stopping watches it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The true values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative.

        Returns
        -------
        score : float

        See Also
        --------
        predict : The predictions that it judges.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import MLPRegressor
        >>> X = np.linspace(-1, 1, 100)[:, None]
        >>> y = X.ravel() ** 2
        >>> reg = MLPRegressor(hidden_layer_sizes=8, activation="tanh", solver="lbfgs", random_state=0).fit(X, y)
        >>> reg.score(X, y) > 0.99
        True
        """
        return self._score(check_numeric("y", y), self.predict(X), check_numeric("sample_weight", sample_weight))
