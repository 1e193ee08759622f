"""The network behind the attributes `coefs_` and `intercepts_`.

What describes its hidden layers is kept as `_fitted_hidden`: a tuple of layers if they were given as `hidden_layers`;
else a list of numbers of units, and then arrays of other shapes may be put in the attributes.
"""

import operator
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..layers import Dense
from ..losses import OUTPUT_UNITS, kernel_of
from ..network import Model, connection_seed, draw, views_of

# The network's loss by output activation, for estimators whose attributes were set by hand.
_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "logistic": "cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}


def model_of(estimator):
    """The network of a fitted estimator, a `Model`.

    Raises
    ------
    TypeError
        If it is another object than one of ours.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    if not isinstance(estimator, FittedModelMixin):
        raise TypeError(f"estimator must be an MLPClassifier or MLPRegressor of fastbp, got {estimator!r}")
    check_is_fitted(estimator)
    return estimator._model()


class FittedModelMixin:
    """Makes and keeps the network, whose parameters the attributes are views of, and pickles it."""

    n_layers_: int

    def _bind(self, model):
        """Make the parameters of `model` the fitted attributes."""
        weights, biases = list(model.weights), list(model.biases)
        bound = model, self._model_settings(), [*weights, *biases], model.parameters
        state = model.layer_state if model.graph.states else None
        vars(self).update(coefs_=weights, intercepts_=biases, _layer_state=state, _bound=bound)
        return model

    def _model_settings(self):
        """What a network has to be made anew for when it changes."""
        return self.activation, self.dropout, self._fitted_loss()

    def _model(self, train=False):
        """Network that holds what `coefs_` and `intercepts_` hold; one whose parameters can be written to if `train`.

        They are views of its parameters, except when the user has put other arrays in their place; those are copied,
        and give way to views with the same values. What can't be written to, as a memory map of a file that several
        processes predict from, is not copied before it is to be trained.
        """
        model, settings, views, flat = vars(self).get("_bound", (None, None, [], None))
        arrays = [*self.coefs_, *self.intercepts_]
        same = len(arrays) == len(views) and all(map(operator.is_, arrays, views))
        if same and settings == self._model_settings() and not (train and not flat.flags.writeable):
            return model
        if same:
            ours = model is not None or not flat.flags.writeable
            new = flat.copy() if not ours or (train and not flat.flags.writeable) else flat
        else:
            new = self._flattened(arrays, views, flat)
        like = [np.shape(view) for view in views] == [np.shape(a) for a in arrays] and flat.dtype == new.dtype
        state = model.optimizer_state if model is not None and like else None
        model = self._fitted_model(new.dtype, new)
        model.optimizer_state = state and state.copy()
        return self._bind(model)

    def _flattened(self, arrays, views, flat):
        """A new flat array of parameters with what arrays hold, some of which may be views of the one before."""
        dtype = np.float32 if getattr(arrays[0], "dtype", None) == np.float32 else np.float64
        if self._has_layers():
            return self._flattened_places(arrays, views, flat, dtype)
        n_layers, n_in = len(self.coefs_), len(arrays[0])
        pairs = list(zip(arrays[:n_layers], arrays[n_layers:], strict=True))
        for i, (W, b) in enumerate(pairs):
            if np.ndim(W) != 2 or len(W) != n_in or np.shape(b) != np.shape(W)[1:]:
                raise ValueError(
                    f"coefs_[{i}] of shape {np.shape(W)} and intercepts_[{i}] of shape {np.shape(b)} don't"
                    f" make a layer with {n_in} inputs."
                )
            n_in = np.shape(W)[1]
        return np.concatenate([np.asarray(array, dtype).ravel() for pair in pairs for array in pair])

    def _flattened_places(self, arrays, views, flat, dtype):
        """The same for a network of `hidden_layers`: what is put in one place of shared weights counts in all."""
        model = self._fitted_model(dtype)
        if flat is not None:
            model.parameters[:] = flat
        places = [*model.weights, *model.biases]
        shapes = [array if array is None else np.shape(array) for array in places]
        given = [array if array is None else np.shape(array) for array in arrays]
        if given != shapes:
            raise ValueError(f"coefs_ and intercepts_ must have the shapes {shapes}, got {given}.")
        old = views or [None] * len(places)
        changed = [(place, a) for place, a, view in zip(places, arrays, old, strict=True) if a is not view]
        for place, array in changed:
            place[:] = array
        for place, array in changed:
            if not np.array_equal(place, np.asarray(array, dtype), equal_nan=True):
                raise ValueError("coefs_ and intercepts_ must hold the same in all places of shared weights.")
        return model.parameters

    def _has_layers(self):
        """Whether the network was made of `hidden_layers`."""
        return isinstance(vars(self).get("_fitted_hidden"), tuple)

    def _fitted_model(self, dtype, parameters=None):
        """A network like the one that was fitted, or what has been put in the place of its parameters."""
        if self._has_layers():
            hidden, n_inputs, n_outputs = self._fitted_hidden, self.n_features_in_, len(self.intercepts_[-1])
        else:
            *hidden, n_outputs = map(len, self.intercepts_)
            n_inputs = len(self.coefs_[0])
        state = vars(self).get("_layer_state")
        return self._new_model(hidden, n_inputs, n_outputs, dtype, parameters, state)

    def _new_model(self, hidden, n_inputs, n_outputs, dtype, parameters=None, layer_state=None):
        """A network whose hidden layers `hidden` describes."""
        loss = self._fitted_loss()
        unit = "identity" if kernel_of(loss)[0] in OUTPUT_UNITS else self.out_activation_
        layers = hidden if isinstance(hidden, tuple) else self._dense_layers(hidden)
        return Model(
            [*layers, Dense(n_outputs, unit)], n_inputs, loss, dtype=dtype, parameters=parameters,
            layer_state=layer_state, connection_seed=vars(self).get("_connection_seed"),
        )  # fmt: skip

    def _fitted_loss(self):
        """The network's loss, which `loss` may have been when it was trained."""
        attributes = vars(self)
        return attributes["_loss"] if "_loss" in attributes else _LOSSES.get(self.out_activation_)

    def _dense_layers(self, units):
        rates = self.dropout
        rates = [rates] * len(units) if isinstance(rates, Real) else list(rates)
        if len(rates) != len(units) or not all(isinstance(p, Real) and 0 <= p < 1 for p in rates):
            raise ValueError(
                "dropout must be a number in [0, 1), or one for each of the hidden layers, of which"
                f" there are {len(units)}, got {self.dropout!r}."
            )
        return [Dense(n, self.activation, dropout=p) for n, p in zip(units, rates, strict=True)]

    def _model_to_train(self, X, hidden, first):
        """A new network if `first`, else the one to go on from; ValueError if X, y or parameters need another one."""
        if first:
            self.n_iter_ = self.t_ = 0
            self.n_layers_ = len(hidden) + 2
            self._fitted_hidden = hidden
            dtype = np.float32 if X.dtype == np.float32 else np.float64
            self._connection_seed = connection_seed(hidden if isinstance(hidden, tuple) else (), self._random_state)
            model = self._new_model(hidden, X.shape[1], self.n_outputs_, dtype)
            draw(model, self._random_state)
            if self.activation in ("logistic", "sigmoid") and model.layers[0].activation != "logistic":
                model.parameters[:] *= np.sqrt(2 / 6)  # scikit-learn's range, though no unit has it
            self._bind(model)
        if len(self.intercepts_[-1]) != self.n_outputs_:
            raise ValueError(
                f"y and loss need {self.n_outputs_} outputs, but the network was fitted with"
                f" {len(self.intercepts_[-1])}."
            )
        model = self._model(train=True)
        known = "_fitted_hidden" in vars(self)  # as it is not where attributes were set by hand
        fitted = self._fitted_hidden if known else [len(b) for b in self.intercepts_[:-1]]
        if hidden != fitted:
            name = "hidden_layers" if isinstance(hidden, tuple) else "hidden_layer_sizes"
            raise ValueError(
                f"{name} is {hidden}, but the network to go on from was fitted with {fitted}; only a fit with"
                " warm_start=False makes a new one."
            )
        if X.dtype == np.float64 and model.dtype == np.float32:
            raise ValueError(
                "X is float64, but the network to go on from was fitted in float32, to which X would be rounded;"
                " convert X, or fit a new network with warm_start=False."
            )
        return model

    def __getstate__(self):
        """The parameters are one array, so that a memory map of it is what a network can work on."""
        state = dict(super().__getstate__())
        state.pop("_quick", None)
        model, _, views, flat = state.pop("_bound", (None, None, [], None))
        if model is not None and "_optimizer" in state and "_optimizer_state" not in state:
            state["_optimizer_state"] = model.optimizer_state and vars(model.optimizer_state)
        arrays = [*state.get("coefs_", []), *state.get("intercepts_", [])]
        if views and len(arrays) == len(views) and all(map(operator.is_, arrays, views)):
            state["_parameters"] = flat, [W.shape for W in state.pop("coefs_")]
            del state["intercepts_"]
        return state

    def __setstate__(self, state):
        state = {"hidden_layers": None, "average": None, "prune": None, **state}  # of version 0.1.0, without these
        if "_best_parameters" in state:  # of version 0.1.0, whose layers had no state
            best = state.pop("_best_parameters")
            state["_best"] = best if best is None else (best, np.empty(0), None)
        flat, shapes = state.pop("_parameters", (None, []))
        super().__setstate__(state)
        if flat is not None:
            flat = np.require(np.asarray(flat), flat.dtype.newbyteorder("="), ["C", "A"])  # a copy in odd files only
            if self._has_layers():
                n_outputs = shapes[-1][1]
                model = self._new_model(self._fitted_hidden, self.n_features_in_, n_outputs, flat.dtype, flat)
                weights, biases = model.weights, model.biases
            else:
                weights, biases = views_of(flat, shapes)
            bound = None, None, [*weights, *biases], flat
            vars(self).update(coefs_=list(weights), intercepts_=list(biases), _bound=bound)
