"""The network behind the attributes `coefs_` and `intercepts_`."""

import operator
from numbers import Real

import numpy as np

from ..layers import Dense
from ..losses import OUTPUT_UNITS, kernel_of
from ..network import Model, draw, views_of

# The network's loss by output activation, for estimators whose attributes were set by hand.
_LOSSES = {
    "softmax": "softmax_cross_entropy",
    "logistic": "cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}


class FittedModelMixin:
    """Makes and keeps the network, whose parameters the attributes are views of, and pickles it."""

    def _bind(self, model):
        """Make the parameters of `model` the fitted attributes."""
        weights, biases = list(model.weights), list(model.biases)
        bound = model, self._model_settings(), [*weights, *biases], model.parameters
        vars(self).update(coefs_=weights, intercepts_=biases, _bound=bound)
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
        n_layers = len(self.coefs_)
        pairs = list(zip(arrays[:n_layers], arrays[n_layers:], strict=True))
        n_inputs = len(arrays[0])
        if same:
            ours = model is not None or not flat.flags.writeable
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
        state = model.optimizer_state if model is not None and fits else None
        layers = self._layers([len(b) for _, b in pairs])
        model = Model(layers, n_inputs, self._fitted_loss(), dtype=flat.dtype, parameters=flat)
        model.optimizer_state = state and state.copy()
        return self._bind(model)

    def _new_model(self, n_inputs, units, dtype, random_state):
        model = Model(self._layers(units), n_inputs, self._fitted_loss(), dtype=dtype)
        draw(model, random_state)
        return model

    def _layers(self, units):
        unit = "identity" if kernel_of(self._fitted_loss())[0] in OUTPUT_UNITS else self.out_activation_
        return [*self._hidden_layers(units[:-1]), Dense(units[-1], unit)]

    def _fitted_loss(self):
        """The network's loss, which `loss` may have been when it was trained."""
        attributes = vars(self)
        return attributes["_loss"] if "_loss" in attributes else _LOSSES.get(self.out_activation_)

    def _hidden_layers(self, units):
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
            units = [*hidden, self.n_outputs_]
            model = self._new_model(X.shape[1], units, dtype, self._random_state)
            if self.activation == "logistic" != model.layers[0].activation:
                model.parameters[:] *= np.sqrt(2 / 6)  # scikit-learn's range, though no unit has it
            self._bind(model)
        if len(self.intercepts_[-1]) != self.n_outputs_:
            raise ValueError(
                f"y and loss need {self.n_outputs_} outputs, but the network was fitted with"
                f" {len(self.intercepts_[-1])}."
            )
        model = self._model(train=True)
        fitted = getattr(self, "_fitted_hidden", [len(b) for b in self.intercepts_[:-1]])
        if hidden != fitted:
            raise ValueError(
                f"hidden_layer_sizes is {hidden}, but the network to go on from was fitted with {fitted}; only a fit"
                " with warm_start=False makes a new one."
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
        model, _, views, flat = state.pop("_bound", (None, None, [], None))
        if model is not None and "_optimizer" in state and "_optimizer_state" not in state:
            state["_optimizer_state"] = model.optimizer_state and vars(model.optimizer_state)
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
