"""What the estimators share: scikit-learn's contract, and the way of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.metaestimators import available_if

from .. import threads
from ..checks import Method, check_finite, checks_parameters
from ..documentation import DocumentationLinkMixin
from ..hints import Matrix
from ..network import learn_inputs
from ..settings import changed, params_within
from . import quick
from .attributes import Attributes
from .callbacks import CallbackSupportMixin, Tasks
from .fitted import FittedModelMixin
from .held_out import hold_out, validation_set
from .inputs import check_weight, check_X, check_X_y, takes_sparse
from .parameters import CONSTRAINTS, check_network, check_parameters, hidden_of, is_stochastic, with_suggestion
from .quick import Quick
from .records import NOT_FINITE
from .training import fit_full_batch, fit_lbfgs, fit_stochastic
from .transform import HiddenLayerTransformMixin
from .undo import undone_on_error


def trains(method: Method, shortcut: Callable[..., bool] | None = None) -> Method:
    """Decorator of methods that train: parameters are validated, and an error leaves the estimator as it was."""
    return undone_on_error(checks_parameters(method), shortcut)


def trains_further(method: Method) -> Method:
    """Decorator of `partial_fit`, which only stochastic solvers have, and which has a shortcut for few rows."""
    return available_if(lambda self: self._check_solver())(trains(method, quick.partial_fit))


class BaseMLP(
    Attributes, DocumentationLinkMixin, CallbackSupportMixin, FittedModelMixin, HiddenLayerTransformMixin, BaseEstimator
):
    """What classifier and regressor share. Subclasses encode y, decode outputs and score them.

    They have ``_y_numeric``, whether y holds numbers, and the methods

    - ``_encode(y, incremental)`` and ``_encode_known(y)``: the network's targets, when training begins and when
      it has begun; ``_encode_plain(y)``: of an array the same, without a look at what it is, or None;
    - ``_output()`` and ``_n_outputs(target)``: the activation of the outputs and the network's loss; their number;
    - ``_class_weighting(target, weight)``: a function (target, weight) -> weight;
    - ``_score_outputs(target, outputs, weight)``: the score that early stopping watches.
    """

    _parameter_constraints: dict = CONSTRAINTS

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = takes_sparse(self)
        return tags

    def _check_solver(self):
        if not is_stochastic(self.solver):
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers."
                f" {self.solver} is not stochastic."
            )
        return True

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add the settings of parameters that have some, as ``solver__learning_rate``, and of layers, as
            ``hidden_layers__0__n_units``.

        Returns
        -------
        params : dict

        See Also
        --------
        set_params : Sets them.

        Examples
        --------
        >>> from fastbp import SGD, MLPClassifier
        >>> clf = MLPClassifier(solver=SGD(0.1, momentum=0.9))
        >>> clf.get_params()["solver__momentum"]
        0.9
        """
        params = super().get_params(deep)
        return params | params_within("hidden_layers", self.hidden_layers) if deep else params

    def set_params(self, **params: Any) -> Self:
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Names such as ``solver__learning_rate`` replace `solver`, which is immutable, by a copy that differs in its
            ``learning_rate``, and ``hidden_layers__0__n_units`` the list by one with another layer; they can be those
            of a grid search.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a name is unknown, or a value is out of range for `solver` and the like. No parameter has changed then.

        See Also
        --------
        get_params : Lists them.

        Examples
        --------
        >>> from fastbp import SGD, MLPClassifier
        >>> MLPClassifier(solver=SGD(0.1)).set_params(alpha=0.01, solver__momentum=0.9).solver
        SGD(momentum=0.9)
        """
        changes = changed(self, params)
        unknown = {name: value for name, value in changes.items() if name not in self._get_param_names()}
        if unknown:
            return super().set_params(**unknown)  # says so
        self.__dict__.update(changes)
        return self

    def _validate_params(self):
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise with_suggestion(self, error) from None

    # Training

    @trains
    def fit(
        self,
        X: Matrix,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Matrix | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train; unless `warm_start`, from new parameters.

        Ctrl-C ends the training with a warning, and leaves a usable model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows. The arithmetic is float32 for float32 and float64 for all else. Arrays of
            float32, float64, uint8 and bool with any strides, memory maps among them, and canonical
            CSR matrices of these types are read in place; but of X in Fortran order, as a data frame
            gives it, rows are shuffled in a copy, where memory allows: see `Network.fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Target values or class labels; for several labels per row a matrix of 0 and 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation set for early stopping, instead of one split off X.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If an argument is unusable, or training ends with parameters or a loss that are not finite.
            The estimator is then as it was before the call.
        TypeError
            If dates or the like are in the place of numbers. The estimator is as it was.

        See Also
        --------
        partial_fit : Trains for one epoch, going on from where the last call ended.
        predict : Predicts from what was learnt.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> clf.score(X, y) > 0.95
        True

        With a validation set that is given:

        >>> clf = MLPClassifier(early_stopping=True, random_state=0).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
        >>> len(clf.validation_scores_) == clf.n_iter_
        True
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @trains_further
    def partial_fit(
        self,
        X: Matrix,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Matrix | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch, going on from where the last call ended.

        Ctrl-C raises KeyboardInterrupt, and leaves the parameters after the last whole step; an epoch
        that was not completed is not in the records.

        With early stopping each call scores the validation set, which has to be given. The call
        after which there was no improvement for more than `n_iter_no_change` calls sets
        `converged_` and restores the best parameters; later calls go on from them.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As in `fit`.

        Returns
        -------
        self : object

        See Also
        --------
        fit : Trains until there is no more improvement.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import MLPRegressor
        >>> rng = np.random.default_rng(0)
        >>> reg = MLPRegressor(hidden_layer_sizes=16, learning_rate_init=0.01, random_state=0)
        >>> for _ in range(100):  # batches as they come
        ...     X = rng.normal(size=(32, 2))
        ...     reg = reg.partial_fit(X, X[:, 0] - X[:, 1])
        >>> reg.n_iter_, reg.t_
        (1, 3200)
        """
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _fit(self, X, y, sample_weight, validation, incremental=False):
        given = X, y, sample_weight
        hidden = hidden_of(self)
        stochastic = is_stochastic(self.solver)
        check_parameters(self, incremental, *validation)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        # One epoch shows whether X is finite: in H^T delta its rows meet every delta, and NaN and inf
        # remain even times 0. To look before would take a tenth of the epoch's time. Rows without
        # weight show nothing, and clipping makes inf finite.
        shown = (
            incremental
            and sample_weight is None
            and getattr(self, "class_weight", None) is None
            and getattr(self.solver, "clip_value", None) is None
        )
        X, y = check_X_y(self, X, y, reset=first, finite=not shown)
        target = self._encode(y, incremental)
        weight = check_weight(sample_weight, X)
        weigh = self._class_weighting(target, weight)
        weight = weigh(target, weight)

        self._random_state = check_random_state(self.random_state)
        self.out_activation_, self._loss = self._output()
        self.n_outputs_ = self._n_outputs(target)
        model = self._model_to_train(X, hidden, first)
        check_network(self, model)
        rows = model.check_rows(X, target, weight)
        if stochastic and (self.shuffle or (self.early_stopping and validation[0] is None)):
            rows = rows.row_major(model.dtype)
        # The kernels of stochastic solvers divide by the weight of the batch.
        divisor = 1 if stochastic else X.shape[0] if weight is None else weight.sum()
        strength = self.alpha / divisor
        model.l1 = strength * self.l1_ratio
        model.l2 = strength * (1 - self.l1_ratio)
        model.layer_penalty_divisor = float(divisor)

        data, order, held_out = rows.data(), np.arange(X.shape[0]), None
        if stochastic and self.early_stopping:
            if validation[0] is None:
                order, held_out = hold_out(self, rows.X, target, weight, data)
            else:
                held_out = validation_set(self, model, *validation, weigh)

        learn_inputs(model, rows, None if held_out is None or held_out.order is None else order)

        tasks = Tasks(self, *given, max_subtasks=1 if incremental else self.max_iter)
        with threads.exclusive(model.engine):
            if stochastic:
                fit_stochastic(self, model, data, order, held_out, incremental, tasks, X if shown else None)
            elif self.solver == "lbfgs":
                fit_lbfgs(self, model, data, tasks)
            else:
                fit_full_batch(self, model, rows, tasks)
        check_finite(model.parameters, lambda: ValueError(NOT_FINITE))
        self._quick = Quick.of(self, model) if incremental else None
        tasks.close()
        return self

    def _loss_scale(self):
        """What to divide a network's loss by."""
        return 1

    # Prediction

    def _outputs(self, X):
        X = check_X(self, X)
        return self._model().predict(X, n_threads=self.n_threads)
