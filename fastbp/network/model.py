"""Settings, parameters and the engine that computes with them: what `Network`, the estimators and the full-batch rules
work on."""

from dataclasses import replace
from itertools import pairwise
from numbers import Integral

import numpy as np

from .. import threads
from .._core import Data, Engine
from ..checks import check_in_dtype, check_number, check_size
from ..initializers import check_initializer
from ..layers import RBF, Dense, unit_of
from ..losses import HistogramLoss, check_loss, check_targets, kernel_of
from ..undo import Undo
from .inputs import Rows, check_order, check_out, check_sample_weight, readable
from .state import OptimizerState

SETTINGS = ("layers", "n_inputs", "loss", "l1", "l2", "dtype", "initializer", "input_dropout", "input_noise", "ties")


class Model:
    """A network without what its users call: all that other modules may ask of one is a method or an attribute here.

    Nothing random is in it: parameters are drawn by `draw` of start.py, and `train_epoch` is given what it draws from.

    Parameters
    ----------
    layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties
        As of `Network`.
    parameters : ndarray of shape (n_parameters,), default=None
        Not copied; one that can't be written to is for prediction alone. None: zeros.

    Attributes
    ----------
    layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties
        The settings, checked. `l1` and `l2` may be set.
    parameters, weights, biases : ndarray and tuples of its views
        As of `Network`.
    optimizer_state : OptimizerState or None
        None before the first update. May be set.
    engine : Engine
        The compiled core's part, which owns the workspace; ``threads.exclusive(model.engine)`` is around all that
        changes the model.
    """

    def __init__(
        self, layers, n_inputs, loss="squared_error", l1=0.0, l2=0.0, dtype="float64", initializer="sklearn",
        input_dropout=0.0, input_noise=0.0, ties=(), parameters=None,
    ):  # fmt: skip
        layers = tuple(layers)
        if not layers or not all(isinstance(layer, Dense | RBF) for layer in layers):
            raise ValueError(f"layers must be a non-empty sequence of Dense and RBF, got {layers!r}")
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        check_loss(loss, layers[-1])
        if layers[-1].dropout:
            raise ValueError(f"layers: the output layer must have dropout=0, got {layers[-1]!r}")
        self.layers = layers
        self.n_inputs = check_size("n_inputs", n_inputs)
        self.loss = loss
        self.dtype = np.dtype(np.dtype(dtype).name)  # native byte order
        self.l1 = l1
        self.l2 = l2
        self.initializer = check_initializer(initializer)
        self.input_dropout = check_number("input_dropout", input_dropout, "[0, 1)")
        self.input_noise = check_number("input_noise", input_noise, "[0, inf)")
        check_in_dtype(self.dtype, layers=layers, loss=loss, initializer=initializer, input_noise=input_noise)
        self.engine = Engine(
            self.n_inputs,
            [(layer.n_units, *unit_of(layer.activation), layer.max_norm) for layer in layers],
            self.dtype.name,
            kernel_of(loss),
        )  # fmt: skip
        self.parameters = np.zeros(self.engine.n_parameters, self.dtype) if parameters is None else parameters
        self.weights, self.biases = self.views(self.parameters)
        self.ties = _check_ties(ties, layers, self.weights)
        self.optimizer_state = None
        self._linear = None  # see before_output_unit

    @property
    def l1(self):
        return self._l1

    @l1.setter
    def l1(self, value):
        check_in_dtype(self.dtype, l1=check_number("l1", value, "[0, inf)"))
        self._l1 = float(value)

    @property
    def l2(self):
        return self._l2

    @l2.setter
    def l2(self, value):
        check_in_dtype(self.dtype, l2=check_number("l2", value, "[0, inf)"))
        self._l2 = float(value)

    def __getstate__(self):
        state = {name: getattr(self, name) for name in (*SETTINGS, "parameters")}
        return state | {"optimizer_state": self.optimizer_state and vars(self.optimizer_state)}

    def __setstate__(self, state):
        self.__init__(**{name: state[name] for name in SETTINGS})
        self.parameters[:] = state["parameters"]
        self.optimizer_state = OptimizerState.copy_of(state["optimizer_state"])

    def views(self, flat):
        """Weights and biases as views of a flat array like `parameters`, in two tuples."""
        units = [self.n_inputs, *(layer.n_units for layer in self.layers)]
        return views_of(flat, pairwise(units))

    def before_output_unit(self):
        """A model on the same parameters that predicts the last layer's z."""
        if self._linear is None:
            layers = [*self.layers[:-1], replace(self.layers[-1], activation="identity")]
            self._linear = Model(layers, self.n_inputs, None, dtype=self.dtype, parameters=self.parameters)
        return self._linear

    # ---- inputs -----------------------------------------------------------------------------------------------------

    def check_X(self, X):
        """X as the core reads it: unchanged if it is float32, float64, uint8 or bool, whatever its strides."""
        return X if self.engine.reads(X) else readable(X, self.n_inputs, self.dtype, self.layers[0])

    def check_rows(self, X, y, sample_weight=None):
        """X, y and weights as `Rows`, checked but for NaN and inf in X and y; nothing is copied that need not be."""
        X = self.check_X(X)
        n = X.shape[0]
        if n == 0:
            raise ValueError("X must have at least one row, got 0")
        y, labels = check_targets(self.loss, y, n, self.layers[-1].n_units)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, n)
        return Rows(X, y, labels, sample_weight)

    # ---- costs ------------------------------------------------------------------------------------------------------

    def evaluate(self, data, order=None, gradient=None, n_threads=None):
        """Weighted mean data loss over the rows in `order`; its gradient to the flat array `gradient`."""
        _n_rows(data, order)
        with threads.exclusive(self.engine), threads.team(n_threads, uses_blas=False) as n_threads:
            return self.engine.evaluate(self.parameters, data, order, gradient, n_threads)

    @property
    def penalties(self):
        """Strengths of L1 and L2 as pairs, one a layer."""
        return [
            (self.l1 if layer.l1 is None else layer.l1, self.l2 if layer.l2 is None else layer.l2)
            for layer in self.layers
        ]

    def flat_penalties(self):
        """Strengths of L1 and L2 for each parameter, (2, n_parameters)."""
        flat = np.zeros((2, self.parameters.size))
        for kind, row in enumerate(flat):
            for penalties, w in zip(self.penalties, self.views(row)[0], strict=True):
                w[:] = penalties[kind]
        return flat

    def penalize(self, cost, gradient, l1=True):
        """Cost and gradient with L2 and ties and, if asked for, L1; the gradient changes in place."""
        for penalties, w, g in zip(self.penalties, self.weights, self.views(gradient)[0], strict=True):
            l1_, l2 = penalties[0] * l1, penalties[1]
            size = np.abs(w).sum(dtype=np.float64)
            cost += l1_ * float(size) + l2 / 2 * float(np.square(w, dtype=np.float64).sum())
            g += l1_ * np.sign(w) + l2 * w
        return cost + self.add_ties(self.parameters, gradient), gradient

    def penalized_cost(self, data, n_threads=None):
        """The cost with all penalties, at the present parameters."""
        return self.penalize(self.evaluate(data, n_threads=n_threads), np.zeros_like(self.parameters))[0]

    def add_ties(self, parameters, gradient):
        """Add the gradient of the ties' penalty at these parameters, which is linear in them, to a flat array; returns
        the penalty."""
        penalty, W, G = 0.0, self.views(parameters)[0], self.views(gradient)[0]
        for i, j, strength in self.ties:
            difference = np.subtract(W[i], W[j], dtype=np.float64)
            G[i][:] += strength * difference
            G[j][:] -= strength * difference
            penalty += strength / 2 * float(np.square(difference).sum())
        return penalty

    # ---- updates ----------------------------------------------------------------------------------------------------

    def state_of(self, optimizer):
        """The optimizer's state, new if the last update was by another rule."""
        if self.optimizer_state is None or not self.optimizer_state.fits(optimizer):
            self.optimizer_state = OptimizerState.of(optimizer, self.parameters)
        return self.optimizer_state

    def train_epoch(
        self, data, order, batch_size, optimizer, *, learning_rate=None, penalty_over_weight=False, n_threads=None,
        random_state=None, augmentation=None, guarded=False,
    ):  # fmt: skip
        """One epoch over the rows in `order` (int64; None: all as they stand).

        The seed for what is random is drawn from `random_state`, if anything is.

        Returns a float64 array (n_batches, 3): data loss, penalty, and sum of weights S of each batch, all before its
        update; and the mean of loss and penalty, NaN if it or a parameter is not finite. If `guarded` (X is dense),
        parameters and the optimizer's state are left as they were then, as they are if an error other than
        KeyboardInterrupt ends the epoch. With `penalty_over_weight` the penalty is divided by S, as scikit-learn's
        alpha is.
        """
        n = _n_rows(data, order)
        batch_size = min(batch_size, n)
        record = np.empty((-(-n // batch_size), 3))
        with threads.exclusive(self.engine), threads.team(n_threads, uses_blas=False) as n_threads:
            state = self.state_of(optimizer)
            if learning_rate is None:
                rates = state.learning_rates(optimizer, len(record))
            else:
                rates = np.full(len(record), learning_rate, dtype=np.float64)
            loss = self.engine.train(
                self.parameters, data, order, batch_size, optimizer.settings, rates, state.arrays, state.t,
                self.penalties, self.ties, penalty_over_weight, record, n_threads,
                self._randomness(random_state, augmentation), guarded,
            )  # fmt: skip
        return record, loss

    def _randomness(self, random_state, augmentation):
        """A seed and the settings of what is random, as the engine takes them; None where nothing is."""
        rates = [self.input_dropout, *(layer.dropout for layer in self.layers)]
        if not any(rates) and not self.input_noise and augmentation is None:
            return None
        seed = random_state.randint(2**32, size=2, dtype=np.uint32).tolist()
        return seed, rates, self.input_noise, augmentation and augmentation.settings

    def step(self, gradient, optimizer):
        """One update by a rule for mini-batches from a gradient (n_parameters,) of the cost without penalties."""
        def keep(error):
            """Unless the state is a new one, which has made no step."""
            return self.optimizer_state is None or self.optimizer_state.t[0] > 0

        with threads.exclusive(self.engine), Undo(keep) as undo:
            undo.save_attribute(self, "optimizer_state")
            state = self.state_of(optimizer)
            rate = state.learning_rates(optimizer, 1)[0]
            if self.ties:
                gradient = gradient.copy()
                self.add_ties(self.parameters, gradient)
            self.engine.step(
                self.parameters, gradient, optimizer.settings, rate, state.arrays, state.t, self.penalties
            )  # fmt: skip

    def start_from(self, parameters):
        """Take the values of these parameters, and drop what belongs to those before."""
        self.parameters[:] = parameters
        self.engine.forget()
        self.optimizer_state = None

    # ---- passes -----------------------------------------------------------------------------------------------------

    def predict(self, X, order=None, out=None, n_threads=None):
        """What `Network.predict` returns."""
        X = self.check_X(X)
        n = X.shape[0]
        if order is not None:
            order = check_order(order, n)
            n = len(order)
        histogram = isinstance(self.loss, HistogramLoss)
        if out is not None:
            check_out(out, (n, 1 if histogram else self.layers[-1].n_units), self.dtype, X)
        if not histogram:
            return self._outputs(X, order, out, n, n_threads)
        means = self.loss.means(self._outputs(X, order, None, n, n_threads))
        if out is None:
            return means
        out[:] = means
        return out

    def _outputs(self, X, order, out, n, n_threads):
        """Activations of the output layer for n rows."""
        engine = self.engine
        if engine.predicts_alone(n):
            threads.check_n_threads(n_threads)
            return engine.predict(self.parameters, X, order, out, 1)
        with threads.team(n_threads, False) as n_threads:
            return engine.predict(self.parameters, X, order, out, n_threads)

    def forward(self, X, n_threads=None):
        """What `Network.forward` returns; the engine keeps the activations, and as `kept` whose they are."""
        data = Data(self.check_X(X))
        if data.n_rows == 0:
            raise ValueError("X must have at least one row, got 0")
        out = np.empty((data.n_rows, self.layers[-1].n_units), self.dtype)
        with threads.exclusive(self.engine), threads.team(n_threads, uses_blas=False) as n_threads:
            self.engine.forward(self.parameters, data, out, n_threads)
        return out

    def backward(self, data, dz, n_threads=None):
        """What `Network.backward` returns; the data are those that the engine has kept."""
        gradient = np.empty_like(self.parameters)
        input_gradient = np.empty((data.n_rows, self.n_inputs), self.dtype)
        # the input gradient's product goes to BLAS
        with threads.exclusive(self.engine), threads.team(n_threads, uses_blas=True) as n_threads:
            self.engine.backward(self.parameters, data, dz, gradient, input_gradient, n_threads)
        return gradient, input_gradient


def views_of(flat, shapes):
    """Weights of these shapes (n_in, n_out) and biases, as views of the flat array that holds them."""
    weights, biases, at = [], [], 0
    for n_in, n_out in shapes:
        weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
        at += n_in * n_out
        biases.append(flat[at : at + n_out])
        at += n_out
    return tuple(weights), tuple(biases)


def _check_ties(ties, layers, weights):
    """The ties as tuples; ValueError unless each names two layers of the same shape and kind."""
    checked = []
    if not isinstance(ties, tuple | list):
        raise ValueError(f"ties must be a sequence of tuples (i, j, strength), got {ties!r}")
    for tie in ties:
        if not isinstance(tie, tuple | list) or len(tie) != 3:
            raise ValueError(f"ties must be tuples (i, j, strength), got {tie!r}")
        i, j, strength = tie
        for place in (i, j):
            if not isinstance(place, Integral) or isinstance(place, bool) or not 0 <= place < len(layers):
                raise ValueError(f"ties must name layers from 0 to {len(layers) - 1}, got {tie!r}")
        if i == j or weights[i].shape != weights[j].shape or type(layers[i]) is not type(layers[j]):
            raise ValueError(
                f"ties must name two layers with weights of the same shape and kind, got {tie!r}: {layers[i]!r} with "
                f"{weights[i].shape} and {layers[j]!r} with {weights[j].shape}"
            )
        strength = check_number("strength of ties", strength, "[0, inf)")
        check_in_dtype(weights[i].dtype, **{"strength of ties": strength})
        checked.append((int(i), int(j), strength))
    return tuple(checked)


def _n_rows(data, order):
    n = data.n_rows if order is None else len(order)
    if n == 0:
        raise ValueError("order must name at least one row, got 0")
    return n
