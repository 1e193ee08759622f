"""What the estimators share: scikit-learn's contract, the network behind the attributes, and training."""

import copy
import operator
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from .. import threads
from .._core import Data
from ..layers import Dense
from ..losses import OUTPUT_UNITS, kernel_of
from ..network import Network, views_of
from ..settings import changed
from .callbacks import CallbackSupportMixin, Tasks
from .held_out import hold_out, validation_set
from .inputs import check_weight, check_X, check_X_y
from .parameters import CONSTRAINTS, check_parameters, hidden_units, is_stochastic
from .records import CURVES, NOT_FINITE
from .training import fit_full_batch, fit_lbfgs, fit_stochastic
from .undo import undone_on_error

# The network's loss by output activation, for estimators whose attributes were set by hand.
_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "logistic": "cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}


class _BaseMLP(CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share. Subclasses encode y, decode outputs and score them."""

    _parameter_constraints: dict = CONSTRAINTS

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_solver(self):
        if not is_stochastic(self.solver):
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
        names = ("coefs_", "intercepts_", "_optimizer", "_optimizer_state", *CURVES)
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

    # Training

    @undone_on_error
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
    @undone_on_error
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
        hidden = hidden_units(self)
        stochastic = is_stochastic(self.solver)
        check_parameters(self, hidden, incremental, *validation)
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
        net = self._network_to_train(X, hidden, first)
        rows = net._rows(X, target, weight)
        strength = self.alpha
        if not stochastic:  # the kernels of the other solvers divide by the weight of the batch
            strength /= X.shape[0] if weight is None else weight.sum()
        net.l1 = strength * self.l1_ratio
        net.l2 = strength * (1 - self.l1_ratio)

        data, order, held_out = Data(*rows), np.arange(X.shape[0]), None
        if stochastic and self.early_stopping:
            if validation[0] is None:
                order, held_out = hold_out(self, X, target, weight, data)
            else:
                held_out = validation_set(self, net, *validation, weigh)

        tasks = Tasks(self, *given, max_subtasks=1 if incremental else self.max_iter)
        with threads.exclusive(net):
            if stochastic:
                fit_stochastic(self, net, data, order, held_out, incremental, tasks, X if shown else None)
            elif self.solver == "lbfgs":
                fit_lbfgs(self, net, data, tasks)
            else:
                fit_full_batch(self, net, rows, tasks)
        if not np.isfinite(net.parameters).all():
            raise ValueError(NOT_FINITE)
        tasks.close()
        return self

    def _network_to_train(self, X, hidden, first):
        """A new network if `first`, else the one to go on from; ValueError if X, y or parameters need another one."""
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
        return net

    def _loss_scale(self):
        """What to divide a network's loss by."""
        return 1

    # Prediction

    def _outputs(self, X):
        X = check_X(self, X)
        return self._network().predict(X, n_threads=self.n_threads)
