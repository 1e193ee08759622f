"""Settings, parameters and the engine that computes with them: a network without what its users call.

The checks in inputs.py come before it, training.py and start.py work on it, and network.py is its public face.
"""

from itertools import pairwise
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from .. import threads
from .._core import Data, Engine
from ..checks import check_in_dtype, check_number, check_size
from ..initializers import check_initializer
from ..graph import fused, program_of
from ..layers import RBF, Dense, build
from ..losses import check_loss, check_targets, kernel_of
from ..schedules import Schedule
from .inputs import check_sample_weight, readable

_NOT_PICKLED = ("_graph", "_engine", "weights", "biases", "_linear")


class Model:
    """What `Network` is made of; its docstring has the settings and attributes."""

    @classmethod
    def _undrawn(cls, parameters, **settings):
        """A network on this flat array (None: of zeros), which is not copied: one that can't be written to is for
        prediction alone."""
        net = cls.__new__(cls)
        net._random_state = check_random_state(None)
        net._set_up(parameters, **settings)
        return net

    @classmethod
    def _plain(cls, parameters, layers, n_inputs, loss):
        """The same, but for these settings with the defaults."""
        return cls._undrawn(
            parameters, layers=layers, n_inputs=n_inputs, loss=loss, l1=0.0, l2=0.0, dtype=parameters.dtype.name,
            initializer="sklearn", input_dropout=0.0, input_noise=0.0, ties=(),
        )  # fmt: skip

    def _set_up(self, parameters, layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties):
        """Check the settings, and make a network of them without drawing its parameters."""
        layers = tuple(layers)
        if not layers or not all(isinstance(layer, Dense | RBF) for layer in layers):
            raise ValueError(f"layers must be a non-empty sequence of Dense and RBF, got {layers!r}")
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        check_loss(loss, layers[-1])
        if layers[-1].dropout:
            raise ValueError(f"layers: the output layer must have dropout=0, got {layers[-1]!r}")
        self._layers = layers
        self._n_inputs = check_size("n_inputs", n_inputs)
        self._loss = loss
        self._dtype = np.dtype(np.dtype(dtype).name)  # native byte order
        self.l1 = l1
        self.l2 = l2
        self._initializer = check_initializer(initializer)
        self._input_dropout = check_number("input_dropout", input_dropout, "[0, 1)")
        self._input_noise = check_number("input_noise", input_noise, "[0, inf)")
        check_in_dtype(self.dtype, layers=layers, loss=loss, initializer=initializer, input_noise=input_noise)
        self._build(parameters)
        self._ties = _check_ties(ties, layers, self.weights)

    def _build(self, parameters=None):
        """The engine, and parameters (None: of zero) with their views."""
        self._graph = build(self.layers, self.n_inputs)
        program = program_of(fused(self._graph), [(*kernel_of(self.loss), 1.0)])
        self._engine = Engine(program, self.dtype.name)
        self._parameters = np.zeros(self._engine.n_parameters, self.dtype) if parameters is None else parameters
        self.weights, self.biases = self._views(self._parameters)
        self._optimizer_state = None
        self._linear = None  # see Network._before_output_unit

    def _views(self, flat):
        units = [self.n_inputs, *(layer.n_units for layer in self.layers)]
        return views_of(flat, pairwise(units))

    layers = property(lambda self: self._layers)
    n_inputs = property(lambda self: self._n_inputs)
    loss = property(lambda self: self._loss)
    dtype = property(lambda self: self._dtype)
    initializer = property(lambda self: self._initializer)
    input_dropout = property(lambda self: self._input_dropout)
    input_noise = property(lambda self: self._input_noise)
    ties = property(lambda self: self._ties)
    parameters = property(lambda self: self._parameters)

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

    def __repr__(self):
        layers = ", ".join(map(repr, self.layers))
        return (
            f"Network([{layers}], n_inputs={self.n_inputs}, loss={self.loss!r}, l1={self.l1}, l2={self.l2}, "
            f"dtype={self.dtype.name!r}, initializer={self.initializer!r}, input_dropout={self.input_dropout}, "
            f"input_noise={self.input_noise}, ties={self.ties})"
        )

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k not in _NOT_PICKLED}

    def __setstate__(self, state):
        self.__dict__.update(state)
        parameters, optimizer_state = self._parameters, self._optimizer_state
        self._build()
        self._parameters[:] = parameters
        self._optimizer_state = copied_state(optimizer_state)

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def _check_X(self, X):
        """X as the core reads it: unchanged if it is float32, float64, uint8 or bool, whatever its strides."""
        return X if self._engine.reads(X) else readable(X, self.n_inputs, self.dtype, self.layers[0])

    def _rows(self, X, y, sample_weight=None):
        """X, y or labels, and weights, checked but for NaN and inf in X and y; nothing is copied that need not be."""
        X = self._check_X(X)
        n = X.shape[0]
        if n == 0:
            raise ValueError("X must have at least one row, got 0")
        y, labels = check_targets(self.loss, y, n, self.layers[-1].n_units)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, n)
        return X, y, labels, sample_weight

    def _data(self, X, y, sample_weight=None):
        """Training data for the engine, checked as by `_rows`."""
        return Data(*self._rows(X, y, sample_weight))

    # ---- penalties --------------------------------------------------------------------------------------------------

    @property
    def _penalties(self):
        return [
            (self.l1 if layer.l1 is None else layer.l1, self.l2 if layer.l2 is None else layer.l2)
            for layer in self.layers
        ]

    def _flat_penalties(self):
        """Strengths of L1 and L2 for each parameter, (2, n_parameters)."""
        flat = np.zeros((2, self._parameters.size))
        for kind, row in enumerate(flat):
            for penalties, w in zip(self._penalties, self._views(row)[0], strict=True):
                w[:] = penalties[kind]
        return flat

    def _penalize(self, cost, gradient, l1=True):
        """Cost and gradient with L2 and ties and, if asked for, L1; the gradient changes in place."""
        for penalties, w, g in zip(self._penalties, self.weights, self._views(gradient)[0], strict=True):
            l1_, l2 = penalties[0] * l1, penalties[1]
            size = np.abs(w).sum(dtype=np.float64)
            cost += l1_ * float(size) + l2 / 2 * float(np.square(w, dtype=np.float64).sum())
            g += l1_ * np.sign(w) + l2 * w
        return cost + self._add_ties(self._parameters, gradient), gradient

    def _add_ties(self, parameters, gradient):
        """Add the gradient of the ties' penalty at these parameters, which is linear in them, to a flat array; returns
        the penalty."""
        penalty, W, G = 0.0, self._views(parameters)[0], self._views(gradient)[0]
        for i, j, strength in self.ties:
            difference = np.subtract(W[i], W[j], dtype=np.float64)
            G[i][:] += strength * difference
            G[j][:] -= strength * difference
            penalty += strength / 2 * float(np.square(difference).sum())
        return penalty

    # ---- the optimizer's state --------------------------------------------------------------------------------------

    def _state_of(self, optimizer):
        """The optimizer's arrays of state and number of steps so far, new if the last update was by another rule."""
        state, kind = self._optimizer_state, type(optimizer).__name__
        if state is None or state["kind"] != kind or len(state["arrays"]) != optimizer.n_states:
            arrays = [np.zeros_like(self._parameters) for _ in range(optimizer.n_states)]
            state = self._optimizer_state = {
                "kind": kind, "arrays": arrays, "t": np.zeros(1, np.int64), "epochs": 0, "memory": None,
            }  # fmt: skip
        return [*state["arrays"], state["t"]]

    def _learning_rates(self, optimizer, n_steps):
        """Learning rates of the next steps (float64), all of one epoch. The optimizer must have state.

        A batch without weight makes no step, but has its rate: the position is set right at the next epoch.
        """
        rate, state = optimizer.learning_rate, self._optimizer_state
        if isinstance(rate, Schedule):
            return rate.rates(state["t"] + np.arange(n_steps), state["epochs"], state["memory"])
        return np.full(n_steps, rate, dtype=np.float64)

    def _end_epoch(self, optimizer, loss):
        """Count an epoch, and let a schedule see its loss."""
        state, rate = self._optimizer_state, optimizer.learning_rate
        state["epochs"] += 1
        if isinstance(rate, Schedule):
            state["memory"] = rate.observe(state["memory"], loss)

    def _reset_optimizer(self):
        self._optimizer_state = None

    # ---- what the engine does ---------------------------------------------------------------------------------------

    def _train_epoch(
        self, data, order, batch_size, optimizer, learning_rate=None, penalty_over_weight=False, n_threads=None,
        random_state=None, augmentation=None, guarded=False,
    ):  # fmt: skip
        """One epoch over the rows in `order` (int64; None: all as they stand).

        The seed for what is random is drawn from `random_state` (None: the network's), if anything is.

        Returns a float64 array (n_batches, 3): data loss, penalty, and sum of weights S of each batch, all before its
        update; and the mean of loss and penalty, NaN if it or a parameter is not finite. If `guarded` (X is dense),
        parameters and the optimizer's state are left as they were then, as they are if an error other than
        KeyboardInterrupt ends the epoch. With `penalty_over_weight` the penalty is divided by S, as scikit-learn's
        alpha is.
        """
        n = _n_rows(data, order)
        batch_size = min(batch_size, n)
        record = np.empty((-(-n // batch_size), 3))
        with threads.exclusive(self), threads.team(n_threads, uses_blas=False) as n_threads:
            *states, t = self._state_of(optimizer)
            if learning_rate is None:
                rates = self._learning_rates(optimizer, len(record))
            else:
                rates = np.full(len(record), learning_rate, dtype=np.float64)
            loss = self._engine.train(
                self._parameters, data, order, batch_size, optimizer.settings, rates, states, t, self._penalties,
                self.ties, penalty_over_weight, record, n_threads,
                self._randomness(random_state or self._random_state, augmentation), guarded,
            )  # fmt: skip
        return record, loss

    def _randomness(self, random_state, augmentation):
        """A seed and the settings of what is random, as the engine takes them; None where nothing is."""
        random_units = any(value.dropout for value in self._graph.values)
        if not random_units and not self.input_dropout and not self.input_noise and augmentation is None:
            return None
        seed = random_state.randint(2**32, size=2, dtype=np.uint32).tolist()
        return seed, self.input_dropout, self.input_noise, augmentation and augmentation.settings

    def _evaluate(self, data, order=None, gradient=None, n_threads=None):
        """Weighted mean data loss over the rows in `order`; its gradient to the flat array `gradient`."""
        _n_rows(data, order)
        with threads.exclusive(self), threads.team(n_threads, uses_blas=False) as n_threads:
            return self._engine.evaluate(self._parameters, data, order, gradient, n_threads)

    def _outputs(self, X, order, out, n, n_threads):
        """Activations of the output layer for n rows."""
        engine = self._engine
        if engine.predicts_alone(n):
            threads.check_n_threads(n_threads)
            return engine.predict(self._parameters, X, order, out, 1)
        with threads.team(n_threads, False) as n_threads:
            return engine.predict(self._parameters, X, order, out, n_threads)


def views_of(flat, shapes):
    """Weights of these shapes (n_in, n_out) and biases, as views of the flat array that holds them."""
    weights, biases, at = [], [], 0
    for n_in, n_out in shapes:
        weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
        at += n_in * n_out
        biases.append(flat[at : at + n_out])
        at += n_out
    return tuple(weights), tuple(biases)


def copied_state(state):
    """A copy of an optimizer's state, or None."""
    return state and {**state, "arrays": [a.copy() for a in state["arrays"]], "t": state["t"].copy()}


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
