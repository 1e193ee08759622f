"""scikit-learn estimators on top of `Network`: validation and the estimator contract."""

import copy
import functools
import math
import operator
import warnings
from contextlib import nullcontext
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.special import log_expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from . import threads
from ._core import Data
from .checks import check_in_dtype, check_real
from .full_batch import FullBatch, GradientRule, Objective, minimize_lbfgs
from .layers import ACTIVATIONS, ELU, Dense, LeakyReLU
from .losses import (
    OUTPUT_UNITS,
    HistogramLoss,
    Huber,
    Lp,
    Quantile,
    SoftmaxCrossEntropy,
    kernel_of,
    output_units,
    outputs_per_target,
)
from .network import Network, views_of
from .optimizers import SGD, Adagrad, Adam, AdamW, RMSProp, UpdateRule
from .schedules import Schedule
from .settings import changed

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """Nothing: this scikit-learn has no callbacks."""


# The network's loss by output activation, for estimators whose attributes were set by hand.
_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "logistic": "cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}

# What the core reads in place; anything else becomes float64.
_DTYPES = {np.dtype(t) for t in ("float64", "float32", "uint8", "bool")}

# Attributes that record the training of stochastic solvers; those that grow first.
_CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
_RECORDS = (*_CURVES, "best_loss_", "best_validation_score_", "_no_improvement_count")
_OPTIMIZER = ("_optimizer", "_optimizer_state", "_best_parameters")

_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_LOSS_NOT_FINITE = (
    "Solver produced a non-finite loss or non-finite parameter weights in {}. X or y may contain large values and need"
    " to be scaled."
)

# Stack level of the line that calls fit or partial_fit, seen from a solver.
_USER = 6

_AGREEMENT = """\
    The same seed gives the same network as there, to rounding. It is another one where arithmetic is:
    solver='lbfgs' is float32 for float32 X, where scikit-learn goes over to float64."""

_PARAMETERS = """\
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; empty for none.
    activation : str, LeakyReLU or ELU, default='relu'
        Activation of the hidden layers: 'identity', 'logistic', 'tanh', 'relu', or another of those
        that `fastbp.Dense` describes (but for 'step', which has no derivative).
    solver : {'lbfgs', 'sgd', 'adam', 'adamw', 'rmsprop', 'adagrad'} or rule, default='adam'
        'lbfgs' is quasi-Newton on all rows at once; the other names are stochastic solvers, which go
        through mini-batches. An object such as `fastbp.RMSProp(0.01, momentum=0.9)` brings all its
        settings along, its learning rate among them: the parameters below that name solvers are then
        not used. By name 'rmsprop' and 'adagrad' have the default settings but for the learning rate.
        Objects of `fastbp.Rprop`, `Quickprop`, `Newton`, `NewtonCG`, `BFGS` and `LBFGS` are
        full-batch rules: one epoch is one iteration on all rows. As with 'lbfgs' there are no
        `partial_fit`, no dropout and no early stopping; all but `LBFGS`, `Rprop` and `Quickprop`
        need ``l1_ratio=0``. Settings of objects are parameters too, for `set_params` and grid searches:
        ``solver__learning_rate``, ``learning_rate__maximum``, ``activation__slope``, ``loss__delta``.
    alpha : float, default=0.0001
        Strength of the penalty on the weights (biases are free). It is divided by the sum of the
        sample weights of the batch.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'} or schedule, default='constant'
        Schedule of 'sgd': the initial rate throughout; ``learning_rate_init / (t_ + 1)**power_t``
        after each epoch; or a fifth of it each time that training has stopped to improve. An object
        such as `fastbp.OneCycle` is for all stochastic solvers, and brings all its rates along. One
        that reduces the rate on a plateau watches the training loss, with early stopping the
        validation loss. Must be 'constant' if `solver` is an object, whose rate may be a schedule.
    learning_rate_init : float, default=0.001
        Initial learning rate of the stochastic solvers; not used if `learning_rate` or `solver` is
        an object.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs of stochastic solvers, iterations of 'lbfgs' and full-batch rules at most.
    shuffle : bool, default=True
        Whether each epoch of a stochastic solver takes the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters, the validation split and the order of the rows.
    tol : float, default=1e-4
        Least improvement of loss or validation score that counts as one; gradient tolerance of
        'lbfgs'. Not used by full-batch rules that end by themselves, all but `Rprop` and `Quickprop`.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the fit before. As with `partial_fit`, the structure is
        then that of the first fit: other `hidden_layer_sizes`, classes or numbers of features or targets,
        and float64 X for a network of float32, are errors.
    momentum : float, default=0.9
        Momentum of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether the momentum of 'sgd' is Nesterov's.
    early_stopping : bool, default=False
        Whether stochastic solvers watch the score on a validation set rather than the training
        loss, and end with the parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows set aside for validation when `fit` gets no `X_val`.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the first and second moments of 'adam' and 'adamw'.
    epsilon : float, default=1e-8
        Added to the denominator of 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training ends after more than that many epochs in a row without improvement (stochastic
        solvers, `Rprop`, `Quickprop`).
    max_fun : int, default=15000
        Evaluations of the loss by 'lbfgs' at most.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty ``alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|_2^2)``.
        With 'lbfgs', and with rules that have ``proximal=True``, weights reach zero exactly."""

_DROPOUT = """\
    dropout : float, or list or tuple of float, default=0.0
        Probability, in [0, 1), with which stochastic solvers set an output of a hidden unit to zero
        for a row in training: one for all hidden layers, or one for each. See `fastbp.Dense`."""

_ATTRIBUTES = """\
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer. They are live: what is assigned or written to them counts.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer.
    loss_ : float
        Training loss of the last epoch, including the penalty; with 'lbfgs' that at the end.
    loss_curve_ : list of float
        Training loss of each epoch, before its updates (not with 'lbfgs'). A full-batch rule that ends
        by itself ends with an epoch that made no progress, whose loss is that at the end.
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
        Epochs, or iterations of 'lbfgs' and full-batch rules, of the last call.
    t_ : int
        Training rows seen by stochastic solvers, counting repetitions.
    n_layers_ : int
        Number of layers including input and output.
    n_outputs_ : int
        Number of output units.
    out_activation_ : str
        Activation of the output units.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, when all are strings."""


def _set_parameters(arguments):
    """Store the arguments of an estimator's ``__init__``, given as its ``locals()``."""
    self = arguments.pop("self")
    arguments.pop("__class__", None)
    vars(self).update(arguments)


def _refuse_strings(name, array):
    """Raise ValueError for an array of strings, of which scikit-learn makes numbers in some methods alone."""
    dtype = getattr(array, "dtype", None)
    if getattr(dtype, "kind", None) in ("S", "U"):
        raise ValueError(f"{name} must hold real numbers, could not convert strings of dtype {dtype}")


def _given(X):
    """X before validation; if sparse in a format that has to be changed, in a dtype that holds sums.

    The change adds repeated entries up.
    """
    _refuse_strings("X", X)
    return X.astype(np.float64) if issparse(X) and X.format != "csr" and X.dtype.kind in "biu" else X


def _readable(X):
    """Validated X in a dtype that the core reads; CSR sorted and without repeated indices. Copied only if need be."""
    check_real("X", X, TypeError)
    if X.dtype not in _DTYPES:
        X = X.astype(np.float64)
        assert_all_finite(X.data if issparse(X) else X, input_name="X")  # a longdouble need not be finite here
    if issparse(X) and not X.has_canonical_format:
        X = X.copy() if X.dtype.kind == "f" else X.astype(np.float64)
        X.sum_duplicates()
    return X


def _log_softmax(z):
    """In place; for a single row several times as fast as scipy's."""
    z -= z.max(axis=1, keepdims=True)
    z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
    return z


def _real(name, array):
    """What scikit-learn takes for numbers, but for dates and strings: TypeError or ValueError for those."""
    if array is None or isinstance(array, Real) or (isinstance(array, np.ndarray) and array.dtype.kind in "biuf"):
        return array
    _refuse_strings(name, np.asarray(array))
    array = check_array(
        array, dtype="numeric", ensure_2d=False, allow_nd=True, ensure_all_finite=False, ensure_min_samples=0,
        input_name=name,
    )  # fmt: skip
    check_real(name, array, TypeError)
    return array


def _undone_on_error(method):
    """Decorator that puts the estimator back as it was when the method raises.

    Attributes are rebound by training, so a shallow copy of them holds the old values; only what is
    changed in place (parameters and optimizer of a network that is trained further, growing lists,
    the learning rate, a random generator) is saved by value. What Ctrl-C in `partial_fit` leaves is
    kept if the training says so.
    """

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        further = "_bound" in vars(self) and (self.warm_start or method.__name__ == "partial_fit")
        net = self._network(train=True) if further else None
        with threads.exclusive(net) if further else nullcontext():  # refuses before anything is touched
            if further:
                parameters, moments = net.parameters, copy.deepcopy(net._optimizer_state)
                values = parameters.copy()
            attributes = dict(vars(self))
            curves = [attributes[name] for name in _CURVES if isinstance(attributes.get(name), list)]
            curves = [(curve, slice(len(curve), None)) for curve in curves]
            optimizer = attributes.get("_optimizer")
            settings = None if optimizer is None else dict(vars(optimizer))
            seeded = isinstance(self.random_state, np.random.RandomState)
            draws = self.random_state.get_state() if seeded else None
            try:
                return method(self, *args, **kwargs)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt) and getattr(error, "leaves_usable_model", False):
                    raise
                # There may be no memory left: nothing before set_state needs any.
                self.__dict__ = attributes
                if net is not None:
                    np.copyto(parameters, values)
                    net._optimizer_state = moments
                if optimizer is not None:
                    optimizer.__dict__ = settings
                while curves:
                    curve, tail = curves.pop()
                    del curve[tail]
                if seeded:
                    self.random_state.set_state(draws)
                raise

    return wrapper


def _check_finite(net, loss):
    """Raise ValueError unless the loss is finite."""
    if not np.isfinite(loss):
        finite = np.isfinite(net.parameters).all()
        raise ValueError(_LOSS_NOT_FINITE.format(net.dtype) if finite else _NOT_FINITE)


class _Optimizer:
    """Update rule of a fit and its current learning rate."""

    def __init__(self, settings):
        solver, rate, self.schedule = settings.solver, settings.learning_rate, "constant"
        rate = rate if isinstance(rate, Schedule) else settings.learning_rate_init
        if isinstance(solver, UpdateRule):
            self.rule = solver
        elif solver == "sgd":
            nesterov = settings.nesterovs_momentum and settings.momentum > 0
            self.rule = SGD(rate, momentum=settings.momentum, nesterov=nesterov)
            self.schedule = settings.learning_rate
        elif solver in ("adam", "adamw"):
            rule = Adam if solver == "adam" else AdamW
            self.rule = rule(rate, settings.beta_1, settings.beta_2, settings.epsilon)
        else:
            self.rule = (RMSProp if solver == "rmsprop" else Adagrad)(rate)
        self.power_t = settings.power_t
        rate = self.rule.learning_rate
        self.learning_rate = None if isinstance(rate, Schedule) else float(rate)  # None: the rule's

    def end_epoch(self, t):
        """Follow the schedule; `t` is the number of rows seen so far."""
        if self.schedule == "invscaling":
            self.learning_rate = float(self.rule.learning_rate) / (t + 1) ** self.power_t

    def stop(self, message, verbose):
        """Whether to stop now that training doesn't improve; else the learning rate was lowered."""
        stop = self.schedule != "adaptive" or self.learning_rate <= 1e-6
        if not stop:
            self.learning_rate /= 5
            message += f" Setting learning rate to {self.learning_rate:f}"
        else:
            message += " Learning rate too small." if self.schedule == "adaptive" else ""
            message += " Stopping."
        if verbose:
            print(message)
        return stop


class _Tasks:
    """Reports a fit and its epochs to scikit-learn's callbacks; idle when there are none.

    Tearing them down after the fit, or after an error in it, is the work of `_fit_context`.
    """

    def __init__(self, estimator, X, y, sample_weight, max_subtasks):
        self.root = self.epoch = None
        if hasattr(estimator, "_init_callback_context"):
            self.root = estimator._init_callback_context(max_subtasks=max_subtasks)
        self.active = self.root is not None and hasattr(estimator, "_skl_callbacks")
        self.arguments = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self.fitted = {"reconstruction_attributes": estimator._checkpoint}
        if self.active:
            self.root.call_on_fit_task_begin(**self.arguments)

    def begin(self, name):
        """Begin an epoch or iteration, unless one is under way."""
        if self.active and self.epoch is None:
            self.epoch = self.root.subcontext(task_name=name)
            self.epoch.call_on_fit_task_begin(**self.arguments, **self.fitted)

    def end(self):
        """End the epoch or iteration under way; whether a callback asks to stop."""
        epoch, self.epoch = self.epoch, None
        return epoch is not None and epoch.call_on_fit_task_end(**self.arguments, **self.fitted)

    def close(self):
        """End what is under way and the fit."""
        if self.active:
            self.end()
            self.root.call_on_fit_task_end(**self.arguments, **self.fitted)


class _ReportedObjective(Objective):
    """An objective that begins an iteration for scikit-learn's callbacks when it is evaluated."""

    def __init__(self, net, rows, n_threads, tasks):
        super().__init__(net, rows, n_threads)
        self.tasks = tasks

    def value_and_gradient(self, l1=True):
        self.tasks.begin("iteration")
        return super().value_and_gradient(l1)


class _HeldOut(NamedTuple):
    """Validation set: rows `order` (None for all) of X, and all that belongs to them."""

    X: object
    order: object
    data: object
    target: np.ndarray
    weight: np.ndarray | None


class _BaseMLP(CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share. Subclasses encode y, decode outputs and score them."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS) - {"step"}), LeakyReLU, ELU],
        "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad"}), UpdateRule, FullBatch],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "n_threads": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _is_stochastic(self):
        return self.solver != "lbfgs" and not isinstance(self.solver, FullBatch)

    def _check_solver(self):
        if not self._is_stochastic():
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers."
                f" {self.solver} is not stochastic."
            )
        return True

    # The network behind coefs_ and intercepts_

    def _bind(self, net):
        """Make the parameters of `net` the fitted attributes."""
        weights, biases = list(net.weights), list(net.biases)
        bound = net, self._network_settings(), [*weights, *biases], net.parameters
        vars(self).update(coefs_=weights, intercepts_=biases, _bound=bound)
        return net

    def _network_settings(self):
        """What a network has to be made anew for when it changes."""
        return self.activation, self.dropout, self._fitted_loss()

    def _network(self, train=False):
        """Network that holds what `coefs_` and `intercepts_` hold; one whose parameters can be written to if `train`.

        They are views of its parameters, except when the user has put other arrays in their place; those are copied,
        and give way to views with the same values. What can't be written to, as a memory map of a file that several
        processes predict from, is not copied before it is to be trained.
        """
        net, settings, views, flat = vars(self).get("_bound", (None, None, [], None))
        arrays = [*self.coefs_, *self.intercepts_]
        same = len(arrays) == len(views) and all(map(operator.is_, arrays, views))
        if same and settings == self._network_settings() and not (train and not flat.flags.writeable):
            return net
        n_layers = len(self.coefs_)
        pairs = list(zip(arrays[:n_layers], arrays[n_layers:], strict=True))
        n_inputs = len(arrays[0])
        if same:
            ours = net is not None or not flat.flags.writeable
            flat = flat.copy() if not ours or (train and not flat.flags.writeable) else flat
        else:
            n_in = n_inputs
            for i, (W, b) in enumerate(pairs):
                if np.ndim(W) != 2 or len(W) != n_in or np.shape(b) != np.shape(W)[1:]:
                    raise ValueError(
                        f"coefs_[{i}] of shape {np.shape(W)} and intercepts_[{i}] of shape {np.shape(b)} don't"
                        f" make a layer with {n_in} inputs."
                    )
                n_in = np.shape(W)[1]
            dtype = np.float32 if getattr(arrays[0], "dtype", None) == np.float32 else np.float64
            flat = np.concatenate([np.asarray(array, dtype).ravel() for pair in pairs for array in pair])
        fits = same or [(v.shape, v.dtype) for v in views] == [(np.shape(a), flat.dtype) for a in arrays]
        state = copy.deepcopy(net._optimizer_state) if net is not None and fits else None
        net = Network._plain(flat, self._layers([len(b) for _, b in pairs]), n_inputs, self._fitted_loss())
        net._optimizer_state = state
        return self._bind(net)

    def _new_network(self, n_inputs, units, dtype, random_state):
        loss = self._fitted_loss()
        return Network(self._layers(units), n_inputs=n_inputs, loss=loss, dtype=dtype, random_state=random_state)

    def _layers(self, units):
        unit = "identity" if kernel_of(self._fitted_loss())[0] in OUTPUT_UNITS else self.out_activation_
        return [*self._hidden_layers(units[:-1]), Dense(units[-1], unit)]

    def _fitted_loss(self):
        """The network's loss, which `loss` may have been when it was trained."""
        return vars(self).get("_loss", _LOSSES.get(self.out_activation_))

    def _hidden_layers(self, units):
        rates = self.dropout
        rates = [rates] * len(units) if isinstance(rates, Real) else list(rates)
        if len(rates) != len(units) or not all(isinstance(p, Real) and 0 <= p < 1 for p in rates):
            raise ValueError(
                "dropout must be a number in [0, 1), or one for each of the hidden layers, of which"
                f" there are {len(units)}, got {self.dropout!r}."
            )
        return [Dense(n, self.activation, dropout=p) for n, p in zip(units, rates, strict=True)]

    def __getstate__(self):
        """The parameters are one array, so that a memory map of it is what a network can work on."""
        state = dict(super().__getstate__())
        net, _, views, flat = state.pop("_bound", (None, None, [], None))
        if net is not None and "_optimizer" in state and "_optimizer_state" not in state:
            state["_optimizer_state"] = net._optimizer_state
        arrays = [*state.get("coefs_", []), *state.get("intercepts_", [])]
        if views and len(arrays) == len(views) and all(map(operator.is_, arrays, views)):
            state["_parameters"] = flat, [W.shape for W in state.pop("coefs_")]
            del state["intercepts_"]
        return state

    def __setstate__(self, state):
        state = dict(state)
        flat, shapes = state.pop("_parameters", (None, []))
        if flat is not None:
            flat = np.require(np.asarray(flat), flat.dtype.newbyteorder("="), ["C", "A"])  # a copy in odd files only
            state["coefs_"], state["intercepts_"] = map(list, views_of(flat, shapes))
            state["_bound"] = None, None, [*state["coefs_"], *state["intercepts_"]], flat
        super().__setstate__(state)

    def _checkpoint(self):
        """Attributes of an estimator as if training ended now (for callbacks)."""
        names = ("coefs_", "intercepts_", "_optimizer", "_optimizer_state", *_CURVES)
        state = vars(self) | self.__getstate__()
        return {name: copy.deepcopy(state[name]) for name in names if name in state}

    def set_params(self, **params):
        """Set parameters.

        Parameters
        ----------
        **params : dict
            Names such as ``solver__learning_rate`` replace `solver`, which is immutable, by a copy that differs in its
            ``learning_rate``; they can be those of a grid search.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a name is unknown, or a value is out of range for `solver` and the like. No parameter has changed then.
        """
        changes = changed(self, params)
        unknown = {name: value for name, value in changes.items() if name not in self._get_param_names()}
        if unknown:
            return super().set_params(**unknown)  # says so
        vars(self).update(changes)
        return self

    # Validation of the arguments

    def _check_X(self, X):
        with np.errstate(invalid="ignore"):  # scikit-learn's sum of inf and -inf, before it says that they are there
            X = validate_data(self, _given(X), accept_sparse="csr", dtype="numeric", reset=False)
        return _readable(X)

    def _is_plain(self, X):
        """Whether X is small and `check_is_fitted` and `_check_X` would let it pass as it is.

        They take some hundred microseconds, the prediction of one row takes one or two. A sum of
        squares is finite only if all elements are; if it overflows, they are asked after all.
        """
        attributes = vars(self)
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and 0 < X.size <= 10_000
            and X.dtype in (np.float32, np.float64)
            and "_bound" in attributes
            and "feature_names_in_" not in attributes
            and X.shape[1] == attributes["n_features_in_"]
            and math.isfinite(np.vdot(X, X))
        )

    def _check_X_y(self, X, y, reset, finite=True):
        """X and y validated; whether X is finite only if `finite`."""
        with np.errstate(invalid="ignore"):  # as in `_check_X`
            X, y = validate_data(
                self,
                _given(X),
                y,
                accept_sparse="csr",
                dtype="numeric",
                reset=reset,
                multi_output=True,
                y_numeric=self._y_numeric,
                ensure_all_finite=finite,
            )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self._y_numeric:
            check_real("y", y, TypeError)
        return _readable(X), y

    def _check_weight(self, weight, X, name="sample_weight"):
        if weight is None:
            return None
        weight = _check_sample_weight(_real(name, weight), X, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(f"Negative values in data passed to `{name}`.")
        if not weight.any():  # scikit-learn < 1.9 doesn't say it
            raise ValueError(
                f"Sample weights must contain at least one non-zero number, `{name}` has none."
            )
        return weight

    def _validation_set(self, net, X, y, sample_weight, weigh):
        """The validation set that was given."""
        try:
            X, y = self._check_X_y(X, y, reset=False)
            target = self._encode_known(y)
            weight = weigh(target, self._check_weight(sample_weight, X, "sample_weight_val"))
            if X.shape[0] < 2:
                raise ValueError("at least 2 rows are needed, got 1.")
            return _HeldOut(X, None, net._data(X, target, weight), target, weight)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_val, y_val, sample_weight_val: {error}") from error

    def _check_early_stopping(self, X_val, y_val, sample_weight_val, incremental):
        if (X_val is None) != (y_val is None):
            given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"{given} is provided, but {missing} was not provided.")
        if X_val is None and sample_weight_val is not None:
            raise ValueError("sample_weight_val is provided, but X_val was not provided.")
        if isinstance(self.solver, FullBatch) and self.early_stopping:
            raise ValueError(f"early_stopping must be False, it needs a stochastic solver, got solver={self.solver!r}.")
        if X_val is not None and not (self._is_stochastic() and self.early_stopping):
            raise ValueError(
                "X_val and y_val are for early stopping, which needs early_stopping=True and a"
                f" stochastic solver, got early_stopping={self.early_stopping} and"
                f" solver={self.solver!r}."
            )
        if X_val is None and self.early_stopping and incremental:
            raise ValueError(
                "partial_fit does not support early_stopping=True unless X_val and y_val are given."
            )

    def _hidden_units(self):
        units = self.hidden_layer_sizes
        units = list(units) if hasattr(units, "__iter__") else [units]
        for problem, wrong in (("> 0", lambda n: n <= 0), ("integers", lambda n: n != int(n))):
            if any(map(wrong, units)):
                raise ValueError(f"hidden_layer_sizes must be {problem}, got {units}.")
        return [int(n) for n in units]

    # Training

    @_undone_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Train; unless `warm_start`, from new parameters.

        Ctrl-C ends the training with a warning, and leaves a usable model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows. The arithmetic is float32 for float32 and float64 for all else. Arrays of
            float32, float64, uint8 and bool with any strides, memory maps among them, and canonical
            CSR matrices of these types are read in place.
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
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(lambda self: self._check_solver())
    @_undone_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None
    ):
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
        """
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _fit(self, X, y, sample_weight, validation, incremental=False):
        given = X, y, sample_weight
        hidden = self._hidden_units()
        stochastic = self._is_stochastic()
        if any(layer.dropout for layer in self._hidden_layers(hidden)) and not stochastic:
            raise ValueError(
                f"dropout is for the stochastic solvers, got solver={self.solver!r} and dropout={self.dropout!r}."
            )
        self._check_early_stopping(*validation, incremental)
        if not isinstance(self.solver, str) and self.learning_rate != "constant":
            raise ValueError(
                "learning_rate must be 'constant' if solver is an object, which brings its own, got"
                f" {self.learning_rate!r}."
            )
        ignored = not isinstance(self.solver, str) or isinstance(self.learning_rate, Schedule)
        if ignored and self.learning_rate_init != 0.001:
            warnings.warn(
                f"learning_rate_init={self.learning_rate_init} is not used: solver={self.solver!r} with"
                f" learning_rate={self.learning_rate!r} brings its own rates.",
                stacklevel=_USER - 1,
            )
        if not stochastic and isinstance(self.learning_rate, Schedule):
            warnings.warn(
                f"learning_rate={self.learning_rate!r} is not used: solver={self.solver!r} has no learning rate.",
                stacklevel=_USER - 1,
            )
        if getattr(self.solver, "needs_derivative", False) and self.alpha * self.l1_ratio > 0:
            raise ValueError(
                f"l1_ratio must be 0 for solver={self.solver!r}, which needs a differentiable penalty, got"
                f" {self.l1_ratio}."
            )
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
        X, y = self._check_X_y(X, y, reset=first, finite=not shown)
        target = self._encode(y, incremental)
        weight = self._check_weight(sample_weight, X)
        weigh = self._class_weighting(target, weight)
        weight = weigh(target, weight)

        self._random_state = check_random_state(self.random_state)
        self.out_activation_, self._loss = self._output()
        self.n_outputs_ = self._n_outputs(target)
        if first:
            self.n_iter_ = self.t_ = 0
            self.n_layers_ = len(hidden) + 2
            self._fitted_hidden = hidden
            dtype = np.float32 if X.dtype == np.float32 else np.float64
            units = [*hidden, self.n_outputs_]
            net = self._new_network(X.shape[1], units, dtype, self._random_state)
            if self.activation == "logistic" != net.layers[0].activation:
                net.parameters[:] *= np.sqrt(2 / 6)  # scikit-learn's range, though no unit has it
            self._bind(net)
        if len(self.intercepts_[-1]) != self.n_outputs_:
            raise ValueError(
                f"y and loss need {self.n_outputs_} outputs, but the network was fitted with"
                f" {len(self.intercepts_[-1])}."
            )
        net = self._network(train=True)
        fitted = getattr(self, "_fitted_hidden", [len(b) for b in self.intercepts_[:-1]])
        if hidden != fitted:
            raise ValueError(
                f"hidden_layer_sizes is {hidden}, but the network to go on from was fitted with {fitted}; only a fit"
                " with warm_start=False makes a new one."
            )
        if X.dtype == np.float64 and net.dtype == np.float32:
            raise ValueError(
                "X is float64, but the network to go on from was fitted in float32, to which X would be rounded;"
                " convert X, or fit a new network with warm_start=False."
            )
        rows = net._rows(X, target, weight)
        strength = self.alpha
        if not stochastic:  # the kernels of the other solvers divide by the weight of the batch
            strength /= X.shape[0] if weight is None else weight.sum()
        net.l1 = strength * self.l1_ratio
        net.l2 = strength * (1 - self.l1_ratio)

        data, order, held_out = Data(*rows), np.arange(X.shape[0]), None
        if stochastic and self.early_stopping:
            if validation[0] is None:
                order, held_out = self._hold_out(X, target, weight, data)
            else:
                held_out = self._validation_set(net, *validation, weigh)

        tasks = _Tasks(self, *given, max_subtasks=1 if incremental else self.max_iter)
        with threads.exclusive(net):
            if stochastic:
                self._fit_stochastic(net, data, order, held_out, incremental, tasks, X if shown else None)
            elif self.solver == "lbfgs":
                self._fit_lbfgs(net, data, tasks)
            else:
                self._fit_full_batch(net, rows, tasks)
        if not np.isfinite(net.parameters).all():
            raise ValueError(_NOT_FINITE)
        tasks.close()
        return self

    def _hold_out(self, X, target, weight, data):
        """Rows to train on, and a validation set split off."""
        order, rows = train_test_split(
            np.arange(X.shape[0]),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            # scikit-learn stratifies for two classes only.
            stratify=target if target.dtype == bool and self.n_outputs_ == 1 else None,
        )
        if len(rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        if weight is None:
            return order, _HeldOut(X, rows, data, target[rows], None)
        if not weight[order].any() or not weight[rows].any():
            raise ValueError(
                "Sample weights must contain at least one non-zero number, both among the training"
                " and the validation rows; sample_weight has none in one of them."
            )
        return order, _HeldOut(X, rows, data, target[rows], weight[rows])

    def _loss_scale(self):
        """What to divide a network's loss by."""
        return 1

    def _no_progress(self, watched="Training loss"):
        return (
            f"{watched} did not improve more than tol={self.tol:f}"
            f" for {self.n_iter_no_change} consecutive epochs."
        )

    def _begin_curves(self, fresh, early_stopping):
        """Give the attributes that record the progress of training their initial values."""
        if fresh or not hasattr(self, "loss_curve_"):
            self.loss_curve_ = []
            self._no_improvement_count = 0
        if early_stopping:
            if fresh or getattr(self, "validation_scores_", None) is None:
                self.validation_scores_, self.validation_loss_curve_ = [], []
                self.best_validation_score_ = -np.inf
            self.best_loss_ = None
        else:
            if fresh or getattr(self, "best_loss_", None) is None:
                self.best_loss_ = np.inf
            self.validation_scores_ = self.validation_loss_curve_ = None
            self.best_validation_score_ = None

    def _fit_stochastic(self, net, data, order, held_out, incremental, tasks, unseen):
        """Train in epochs. `unseen` is X if nobody has looked yet whether it is finite, else None."""
        fresh = not incremental and not self.warm_start
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = _Optimizer(self)
            check_in_dtype(net.dtype, solver=self._optimizer.rule)
            self.__dict__.pop("_optimizer_state", None)
            net._reset_optimizer()
        elif "_optimizer_state" in vars(self):
            net._optimizer_state = copy.deepcopy(vars(self).pop("_optimizer_state"))
        self._begin_curves(fresh, held_out is not None)
        best = vars(self).pop("_best_parameters", None)
        best = best if incremental else None
        if held_out is not None:
            # As in scikit-learn, a warm start that never beats the best score of earlier fits keeps
            # the parameters it ends with: that score may be from other data.
            warm = not incremental and self.validation_scores_
            self._best_parameters = net.parameters.copy() if best is None and not warm else best

        n_samples = len(order)
        if self.batch_size == "auto":
            batch_size = min(200, n_samples)
        else:
            if self.batch_size > n_samples:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. "
                    "It is going to be clipped",
                    stacklevel=_USER,
                )
            batch_size = min(int(self.batch_size), n_samples)
        lengths = np.full(-(-n_samples // batch_size), batch_size)
        lengths[-1] = n_samples - lengths[:-1].sum()
        optimizer = self._optimizer
        message = self._no_progress("Training loss" if held_out is None else "Validation score")

        self.n_iter_, self.converged_ = 0, False
        try:
            for _ in range(1 if incremental else self.max_iter):
                tasks.begin("epoch")
                if self.shuffle:
                    order = order[self._random_state.permutation(n_samples)]
                record, loss = net._train_epoch(
                    data,
                    order,
                    batch_size,
                    optimizer.rule,
                    optimizer.learning_rate,
                    penalty_over_weight=True,
                    n_threads=self.n_threads,
                    random_state=self._random_state,
                )
                if unseen is not None and np.isnan(loss):
                    assert_all_finite(unseen, estimator_name=type(self).__name__, input_name="X")
                losses = record[:, 0] / self._loss_scale() + record[:, 1]
                self._end_epoch(net, float(losses @ lengths) / n_samples, held_out, n_samples)
                optimizer.end_epoch(self.t_)
                watched_loss = self.loss_ if held_out is None else self.validation_loss_curve_[-1]
                net._end_epoch(optimizer.rule, watched_loss)
                stop = tasks.end()
                if self._no_improvement_count > self.n_iter_no_change:
                    self.converged_ = optimizer.stop(message, self.verbose)
                    if not self.converged_:
                        self._no_improvement_count = 0
                if stop or self.converged_:
                    break
            else:
                if not incremental:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and "
                        "the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=_USER,
                    )
        except KeyboardInterrupt as interrupt:
            if incremental:  # one of a loop of calls, which is to end too
                interrupt.leaves_usable_model = bool(np.isfinite(net.parameters).all())
                raise
            warnings.warn("Training interrupted by user.", stacklevel=_USER)

        losses = self.loss_curve_[len(self.loss_curve_) - self.n_iter_ :]
        if losses and not np.isfinite(losses).any():  # with early stopping some may have been
            _check_finite(net, losses[-1])
        if held_out is not None and (self.converged_ or not incremental):
            best = vars(self).pop("_best_parameters")
            if best is not None:
                net.parameters[:] = best
            if incremental:
                self._no_improvement_count = 0
                if not all(np.isfinite(moments).all() for moments in net._optimizer_state["arrays"]):
                    net._reset_optimizer()  # training diverged after the best epoch

    def _end_epoch(self, net, loss, held_out=None, n_samples=0):
        """Record the loss and the validation score of an epoch, and whether it improved."""
        if held_out is None:
            _check_finite(net, loss)
            improved = not loss > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, loss)
        else:
            X, rows, data, target, weight = held_out
            validation_loss = net._evaluate(data, rows, n_threads=self.n_threads) / self._loss_scale()
            outputs = net.predict(X, order=rows, n_threads=self.n_threads)
            score = self._score_outputs(target, outputs, weight)
            improved = not score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                self._best_parameters = net.parameters.copy()
                self.best_validation_score_ = score
            self.validation_loss_curve_.append(validation_loss)
            self.validation_scores_.append(score)
        self.loss_ = loss
        self.loss_curve_.append(loss)
        self.n_iter_ += 1
        self.t_ += n_samples
        self._no_improvement_count = 0 if improved else self._no_improvement_count + 1
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
            if held_out is not None:
                print(f"Validation score: {score:f}")

    def _fit_full_batch(self, net, rows, tasks):
        """An iteration of the solver's rule, which ends by itself or without progress, for each epoch."""
        for name in _OPTIMIZER:
            vars(self).pop(name, None)  # of another solver's fit
        rule, fresh, stopped = self.solver, not self.warm_start, False
        rule.check(net)
        net._reset_optimizer()
        self._begin_curves(fresh, early_stopping=False)
        self.n_iter_, self.converged_ = 0, False

        def end_iteration(loss):
            nonlocal stopped
            tasks.begin("iteration")  # one without an evaluation has not begun yet
            self._end_epoch(net, float(loss))
            stopped = tasks.end()
            if isinstance(rule, GradientRule) and self._no_improvement_count > self.n_iter_no_change:
                self.converged_ = True
                if self.verbose:
                    print(f"{self._no_progress()} Stopping.")
            return stopped or self.converged_

        objective = _ReportedObjective(net, rows, self.n_threads, tasks)
        try:
            rule.train(objective, self.max_iter, end_iteration)
            if self.n_iter_ < self.max_iter and not stopped:
                self.converged_ = True
            elif not stopped and not self.converged_:
                warnings.warn(
                    f"{type(rule).__name__}: Maximum iterations ({self.max_iter}) reached and the optimization hasn't"
                    " converged yet.",
                    ConvergenceWarning,
                    stacklevel=_USER,
                )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_USER)
        net._reset_optimizer()

    def _fit_lbfgs(self, net, data, tasks):
        """Minimize mean loss plus penalty."""
        for name in (*_RECORDS, *_OPTIMIZER):
            vars(self).pop(name, None)  # of another solver's fit
        l1, l2 = net._flat_penalties()
        # scikit-learn's value, unlike its gradient, averages squared errors over outputs. That is
        # kept for equal results; L1, which it lacks, has the value that belongs to the gradient.
        scale = 1 if l1.any() else self._loss_scale()
        gradient = np.empty_like(net.parameters)
        start = net.parameters.astype(np.float64)
        lowest = np.inf, start
        self.n_iter_ = 0

        def cost(x):
            nonlocal lowest
            tasks.begin("iteration")
            net.parameters[:] = x
            value = net._evaluate(data, gradient=gradient, n_threads=self.n_threads) / scale
            value += (l2 * x) @ x / 2
            total = value + l1 @ np.abs(x)
            if total < lowest[0]:
                lowest = total, x.copy()
            return value, gradient + l2 * x

        def end_iteration(intermediate_result):
            net.parameters[:] = intermediate_result.x
            self.n_iter_ += 1
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {lowest[0]:.8f}")
            if tasks.end():
                raise StopIteration

        stopped = 99  # scipy's status when the callback raises StopIteration
        try:
            options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
            result = minimize_lbfgs(cost, start, l1, end_iteration, options)
            if result.status != stopped:
                self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
            self.loss_, self.converged_ = float(result.fun), result.status == 0
            net.parameters[:] = result.x
            _check_finite(net, self.loss_)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_USER)
            self.loss_, self.converged_ = float(lowest[0]), False
            net.parameters[:] = lowest[1]

    # Prediction

    def _outputs(self, X):
        X = self._validated(X)
        return self._network().predict(X, n_threads=self.n_threads)

    def _validated(self, X):
        if self._is_plain(X):
            return X
        check_is_fitted(self)
        return self._check_X(X)


class MLPClassifier(ClassifierMixin, _BaseMLP):
    __doc__ = f"""Multilayer perceptron classifier, a drop-in for scikit-learn's.

    By default it minimizes the cross-entropy: of softmax outputs for more than two classes, of one
    logistic output for two, of one logistic output per label for multilabel y.

{_AGREEMENT}
    scikit-learn bounds the probabilities in its loss away from 0, so that where a network is sure and
    wrong, as with features that are not scaled, it reports smaller losses and takes them for no
    improvement: for scikit-learn's wine data as they are, 30 hidden units and ``random_state=1``, it
    ends after 12 epochs with a loss of 26, these estimators, whose loss is exact, after 85 with 3.5.

    Parameters
    ----------
{_PARAMETERS}
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Factors ``{{class: weight}}`` on the sample weights, of training and of validation rows;
        'balanced' makes the weights of all classes in the training data sum to the same. For
        multilabel y a list with one dict ``{{0: weight, 1: weight}}`` per label.
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend
        on it.
{_DROPOUT}
    loss : {{'log_loss', 'cross_entropy', 'squared_error'}} or SoftmaxCrossEntropy, default='log_loss'
        The cost, summed over outputs, and with it the output units:

        - 'log_loss': scikit-learn's, as said above;
        - 'cross_entropy' (Notes 001): ``-y_j ln a_j - (1 - y_j) ln(1 - a_j)`` of one logistic output for
          each of more than two classes; otherwise the same as 'log_loss';
        - 'squared_error' (the quadratic cost of Notes 001): ``1/2 (y_j - a_j)^2`` of the same logistic
          outputs as for 'cross_entropy', with y 1 for the row's class and 0 for the others;
        - `fastbp.SoftmaxCrossEntropy` with its `label_smoothing` and `fixed_logit`: of one softmax output
          for each class, also if there are two. Not for multilabel y.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
{_ATTRIBUTES}

    Examples
    --------
    >>> from fastbp import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier(random_state=0).fit(X[:1000], y[:1000])
    >>> clf.score(X[1000:], y[1000:]) > 0.9
    True
    """

    _y_numeric = False
    _parameter_constraints: dict = {
        **_BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", "cross_entropy", "squared_error"}), SoftmaxCrossEntropy],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self, hidden_layer_sizes=(100,), activation="relu", *,
        solver="adam", alpha=0.0001, batch_size="auto",
        learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
        random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
        nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9,
        beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000, l1_ratio=0.0,
        class_weight=None, n_threads=None, dropout=0.0, loss="log_loss",
    ):  # fmt: skip
        _set_parameters(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = not isinstance(self.loss, SoftmaxCrossEntropy)
        return tags

    @available_if(lambda self: self._check_solver())
    @_undone_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X,
        y,
        sample_weight=None,
        classes=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Train for one epoch, going on from where the last call ended.

        Ctrl-C raises KeyboardInterrupt, and leaves the parameters after the last whole step; an epoch
        that was not completed is not in the records.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As in `fit`, and see `MLPRegressor.partial_fit` for early stopping.
        classes : array-like of shape (n_classes,), default=None
            All classes that will occur in any call; needed in the first.

        Returns
        -------
        self : object
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use"
                " 'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y) on"
                " a large enough sample of y, and pass the result as a dict."
            )
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _encode(self, y, incremental):
        """Class indices (softmax), or booleans of shape (n_samples, n_outputs) (logistic)."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            classes = unique_labels(y)
            if len(classes) != len(self.classes_) or not self._knows(classes):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        return self._encode_known(y)

    def _knows(self, labels):
        """Whether all these labels are classes, as they are: "1" is not 1, and no rounded integer is another."""
        ours, theirs = self.classes_.dtype.kind, labels.dtype.kind
        if {ours, theirs} <= set("biuf"):
            return set(labels.tolist()) <= set(self.classes_.tolist())
        comparable = ours == theirs or {ours, theirs} <= set("OU")
        return comparable and len(np.setdiff1d(labels, self.classes_, assume_unique=True)) == 0

    def _encode_known(self, y):
        # For integers a search will do; unique_labels can take as long as an epoch of a small network.
        integers = y.ndim == 1 and {y.dtype.kind, self.classes_.dtype.kind} <= set("biu")
        exact = integers and np.result_type(y, self.classes_).kind != "f"
        if not (exact and np.isin(y, self.classes_).all()):
            classes = unique_labels(y)
            if not self._knows(classes):
                raise ValueError(
                    "`y` has classes not in `self.classes_`. "
                    f"`self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        if y.ndim == 1:
            y = y if exact else y.astype(self.classes_.dtype)
            indices = np.searchsorted(self.classes_, y).astype(np.int64, copy=False)
            if self._output()[0] == "softmax":
                return indices
            if self._label_binarizer.y_type_ == "binary":
                return indices.astype(bool)[:, np.newaxis]
            return indices[:, np.newaxis] == np.arange(len(self.classes_))
        return self._label_binarizer.transform(y).astype(bool)

    def _is_multiclass(self):
        return self._label_binarizer.y_type_ == "multiclass"

    def _output(self):
        """Activation of the outputs, and the network's loss."""
        if isinstance(self.loss, SoftmaxCrossEntropy):
            if self._label_binarizer.y_type_.startswith("multilabel"):
                raise ValueError(f"loss={self.loss!r} needs y with one class for each row, got multilabel y.")
            if len(self.classes_) < 2:
                raise ValueError(
                    f"loss={self.loss!r} needs y with at least two classes, got one class: {self.classes_}."
                )
            return "softmax", self.loss
        if self.loss == "log_loss" and self._is_multiclass():
            return "softmax", "softmax_cross_entropy"
        return "logistic", "squared_error" if self.loss == "squared_error" else "cross_entropy"

    def _n_outputs(self, target):
        return target.shape[1] if target.ndim == 2 else len(self.classes_)

    def _class_weighting(self, target, weight):
        """Function (target, weight) -> weight times the class weights, learnt from these rows."""
        setting = self.class_weight
        if setting is None:
            return lambda target, weight: weight

        def columns(target):
            target = target.argmax(axis=1) if target.ndim == 2 and self._is_multiclass() else target
            return [target] if target.ndim == 1 else list(target.T.astype(np.intp))

        n = len(columns(target))
        multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        if setting != "balanced" and isinstance(setting, list) != multilabel:
            raise ValueError(
                "class_weight must be a list of dicts or 'balanced' for multilabel y, a dict or"
                f" 'balanced' for other y, got {setting!r}."
            )
        if multilabel and setting != "balanced" and len(setting) != n:
            raise ValueError(f"class_weight has {len(setting)} elements, but y has {n} labels.")
        classes = np.arange(2) if multilabel else self.classes_
        tables = []
        for k, column in enumerate(columns(target)):
            if setting == "balanced":
                count = np.bincount(column, weights=weight, minlength=len(classes))
                seen = count > 0
                table = np.zeros(len(classes))
                table[seen] = count.sum() / (seen.sum() * count[seen])
            else:
                factors = setting[k] if multilabel else setting
                weightless = [label for label in classes if label not in factors]
                if weightless and len(classes) - len(weightless) != len(factors):
                    raise ValueError(
                        f"class_weight has labels that are not classes: the classes {np.array(weightless)} are not in"
                        f" class_weight, {factors!r}."
                    )
                table = np.array([factors.get(label, 1) for label in classes])
                check_real("class_weight", table, TypeError)
            if not (np.isfinite(table) & (table >= 0)).all():
                raise ValueError(f"class_weight must be finite and not negative, got {setting!r}.")
            tables.append(table)

        def weigh(target, weight):
            weight = np.ones(len(target)) if weight is None else weight
            for table, column in zip(tables, columns(target), strict=True):
                weight = weight * table[column]
            return weight

        return weigh

    def _score_outputs(self, target, outputs, weight):
        if target.ndim == 1:
            hits = outputs.argmax(axis=1) == target
        elif self._is_multiclass():
            hits = outputs.argmax(axis=1) == target.argmax(axis=1)
        else:
            hits = ((outputs > 0.5) == target).all(axis=1) | (len(self.classes_) == 1)
        return float(np.average(hits, weights=weight))

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or 0/1 matrix of shape (n_samples, n_labels)
        """
        outputs = self._outputs(X)
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]
        if self.out_activation_ == "softmax" or self._is_multiclass():
            return self.classes_[outputs.argmax(axis=1)]
        return self._label_binarizer.inverse_transform(outputs)

    def score(self, X, y, sample_weight=None):
        """The accuracy of the predictions; for multilabel y the share of rows with all labels right.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        return super().score(X, y, _real("sample_weight", sample_weight))

    def predict_proba(self, X):
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. Softmax outputs as they are; ``[1 - a, a]`` for one logistic
            output. Of the logistic outputs of more than two classes, each of which estimates the
            probability of its class, the shares in their sum (equal ones if all are 0). For
            multilabel y, of each label for itself.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        if self.out_activation_ == "logistic" and self._is_multiclass():
            total = outputs.sum(axis=1, keepdims=True)
            return np.divide(outputs, total, out=np.full_like(outputs, 1 / self.n_outputs_), where=total > 0)
        return outputs

    def predict_log_proba(self, X):
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Of the probabilities, computed from the last layer's ``z``: finite also where `predict_proba` rounds to 0.
        """
        X = self._validated(X)
        net = self._network()
        z = net._before_output_unit().predict(X, n_threads=self.n_threads)
        if self.out_activation_ == "softmax":
            if getattr(net.loss, "fixed_logit", False):
                z[:, -1] = 0
            return _log_softmax(z)
        if self.n_outputs_ == 1:
            z = np.concatenate([-z, z], axis=1)
        log_a = log_expit(z, out=z)
        if self.n_outputs_ == 1:
            return log_a
        if self._is_multiclass():
            return _log_softmax(log_a)
        a = self.predict_proba(X)
        return np.log(a, out=log_a, where=a > 0.5)  # as exact as the probability, as scikit-learn's


class MLPRegressor(RegressorMixin, _BaseMLP):
    __doc__ = f"""Multilayer perceptron regressor, a drop-in for scikit-learn's.

{_AGREEMENT}

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
{_PARAMETERS}
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend
        on it.
{_DROPOUT}

    Attributes
    ----------
{_ATTRIBUTES}

    Examples
    --------
    >>> from fastbp import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> reg = MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", random_state=0).fit(X, y)
    >>> reg.score(X, y) > 0.99
    True
    """

    _y_numeric = True
    _parameter_constraints: dict = {
        **_BaseMLP._parameter_constraints,
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
        n_threads=None, dropout=0.0,
    ):  # fmt: skip
        _set_parameters(locals())

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
        return self._score(_real("y", y), self.predict(X), _real("sample_weight", sample_weight))
