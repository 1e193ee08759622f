"""Settings, parameters and the engine that computes with them: what `Network`, the estimators and the full-batch rules
work on."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral

import numpy as np
from scipy.sparse import issparse

from .. import threads
from .._core import Engine
from ..checks import check_in_dtype, check_number, check_size
from ..graph import fused, program_of
from ..initializers import check_initializer
from ..layers import build
from ..layers.layer import check_layers
from ..losses import HistogramLoss
from .activations import LayerActivations
from .heads import check_outs, joined, outputs_of, settings_of, targets_of
from .inputs import Rows, check_categories, check_order, check_out, check_sample_weight, readable
from .norms import n_samples_of, norm_ops
from .prediction import engine_of, predicted
from .rules import update_settings
from .state import OptimizerState, constant

ALONE = nullcontext(1)
SETTINGS = (
    "layers", "n_inputs", "loss", "l1", "l2", "dtype", "initializer", "input_dropout", "input_noise", "ties",
    "loss_weights", "checkpoint_every", "connection_seed",
)  # fmt: skip


def _zeros(n, dtype):
    """A vector that begins with a cache line: rows of W whose vectors straddle two are read at half the speed."""
    space = np.zeros(n * dtype.itemsize + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + n * dtype.itemsize].view(dtype)


def layers_of(layers):
    """The layers as a tuple; ValueError if they are none."""
    return check_layers("layers", tuple(layers) if isinstance(layers, Iterable) else layers, heads=True)


class Model:
    """A network without what its users call: all that other modules may ask of one is a method or an attribute here.

    Nothing random is in it: parameters and the seed of connections are drawn by start.py, and `train_epoch` is given
    what it draws from.

    Parameters
    ----------
    layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties, loss_weights,
    checkpoint_every
        As of `Network`.
    connection_seed : int or None, default=None
        From which the connections of sparse layers are drawn that don't bring their own.
    parameters : ndarray of shape (n_parameters,), default=None
        Not copied; one that can't be written to is for prediction alone. None: zeros.
    layer_state : ndarray of shape (n_state,), default=None
        Copied. None: what layers begin with.

    Attributes
    ----------
    layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties, loss_weights, connection_seed
        The settings, checked. `l1` and `l2` may be set.
    layer_penalty_divisor : float
        What the layers' own `l1` and `l2` are divided by, 1 unless it is set: the estimators' are for a sum over rows.
    parameters, weights, biases : ndarray and tuples of its views
        As of `Network`, one for each place of weights in the network.
    layer_state : ndarray of shape (n_state,)
        What layers keep and do not learn, changed in place by training.
    graph, fused : Graph
        Of the layers, with a value for each; and what the engine runs, with fewer.
    outputs : tuple of Output
        One, or one for each head, with its loss.
    optimizer : UpdateRule or None
        That of the last update, which has been checked.
    masks : tuple of ndarray of shape (n_in, n_out) or None
        For each of the graph's weights 1 where there is one, 0 where there is none and its gradient is 0; None: all.
        May be set, to arrays of bool too.
    is_masked : bool
        Whether any has a mask.
    is_random : bool
        Whether training is, with dropout or noise.
    normalizes_batches, follows_steps : bool
        Whether there is batch normalisation; whether what layers keep follows steps, as that has or spectral norms.
    learns_inputs, starts_from_data : bool
        Whether layers learn statistics of X, or norms of weights from it, see `learn_inputs` in start.py.
    categories : dict of int
        How many values each column of X may have that is a category.
    optimizer_state : OptimizerState or None
        None before the first update. May be set.
    again : Again or None
        Of the last call of one epoch what the next may go on from; see again.py. May be set.
    engine : Engine
        The compiled core's part, which owns the workspace; ``threads.exclusive(model.engine)`` is around all that
        changes the model.
    """

    def __init__(
        self, layers, n_inputs, loss="squared_error", l1=0.0, l2=0.0, dtype="float64", initializer="sklearn",
        input_dropout=0.0, input_noise=0.0, ties=(), loss_weights=None, checkpoint_every=None, connection_seed=None,
        parameters=None, layer_state=None,
    ):  # fmt: skip
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        layers = self.layers = layers_of(layers)
        self.n_inputs = check_size("n_inputs", n_inputs)
        self.checkpoint_every, self.connection_seed = checkpoint_every, connection_seed
        self.graph = build(layers, n_inputs, checkpoint_every, connection_seed)
        self.outputs = outputs_of(self.graph, loss, loss_weights)
        self.loss, self.loss_weights = settings_of(self.outputs)
        self.dtype = np.dtype(np.dtype(dtype).name)  # native byte order
        self.l1 = l1
        self.l2 = l2
        self.layer_penalty_divisor = 1.0
        self.initializer = check_initializer(initializer)
        self.input_dropout = check_number("input_dropout", input_dropout, "[0, 1)")
        self.input_noise = check_number("input_noise", input_noise, "[0, inf)")
        check_in_dtype(
            self.dtype, layers=layers, loss=self.loss, initializer=initializer, input_noise=input_noise,
            **{f"loss_weights[{output.name!r}]": output.weight for output in self.outputs},
        )  # fmt: skip
        self.fused = fused(self.graph)
        self.categories = _categories_of(self.graph)
        for name in ("input_dropout", "input_noise"):
            if self.categories and getattr(self, name):
                raise ValueError(
                    f"{name} must be 0 with Embed, for which columns of X hold integers, got {getattr(self, name)}"
                )
        self.engine = Engine(program_of(self.fused, [output.cost for output in self.outputs]), self.dtype.name)
        self.parameters = _zeros(self.graph.n_parameters, self.dtype) if parameters is None else parameters
        self.weights, self.biases = self.views(self.parameters)
        self.layer_state = self.graph.initial_state(self.dtype)
        if layer_state is not None:
            self.layer_state[:] = layer_state
        self.masks = tuple(w.mask and w.mask.array for w in self.graph.weights)
        self.ties = _check_ties(ties, self.graph, self.dtype)
        self.optimizer_state = None
        self.optimizer = self._settings = None
        self.is_random = bool(
            self.input_dropout or self.input_noise or any(value.dropout for value in self.graph.values)
        )
        self.normalizes_batches = any(op.momentum for op in self.graph.forward)
        self.follows_steps = any(op.momentum or op.n_iterations for op in self.graph.forward)
        self.learns_inputs = bool(self.graph.standardizing or self.graph.binning)
        states = self.graph.state_views(self.layer_state)
        self.starts_from_data = any(n_samples_of(self.graph, states, op) is not None for op in norm_ops(self.graph))
        self._predicts_by_output = any(
            output.name is not None or isinstance(output.loss, HistogramLoss) for output in self.outputs
        )
        self._linear = None  # see before_output_unit
        self._layer_activations = None
        self._layer_engines = {}  # see layer_output
        self.again = None

    @property
    def l1(self):
        return self._l1

    @l1.setter
    def l1(self, value):
        check_in_dtype(self.dtype, l1=check_number("l1", value, "[0, inf)"))
        self._l1, self._penalties = float(value), None

    @property
    def l2(self):
        return self._l2

    @l2.setter
    def l2(self, value):
        check_in_dtype(self.dtype, l2=check_number("l2", value, "[0, inf)"))
        self._l2, self._penalties = float(value), None

    @property
    def layer_penalty_divisor(self):
        return self._layer_penalty_divisor

    @layer_penalty_divisor.setter
    def layer_penalty_divisor(self, value):
        self._layer_penalty_divisor, self._penalties = value, None

    @property
    def masks(self):
        return self._masks

    @masks.setter
    def masks(self, masks):
        self._masks = tuple(None if mask is None else np.ascontiguousarray(mask, self.dtype) for mask in masks)
        self.is_masked = any(mask is not None for mask in self._masks)
        self.engine.set_masks(self._masks)

    def columns_of_places(self):
        """What `Network.columns` is."""
        connections = [self.graph.weights[w].connections for w, _, _ in self.graph.places]
        return tuple(its and its.columns.array for its in connections)

    def masks_of_places(self):
        """What `Network.masks` is."""
        masks = [mask if mask is None else mask != 0 for mask in self.masks]
        return tuple(
            masks[w].T if transposed and masks[w] is not None else masks[w] for w, _, transposed in self.graph.places
        )

    def apply_masks(self, flat):
        """Make a flat array 0 where masks have no weights, or several in its rows."""
        for mask, w in zip(self.masks, self.graph.weights, strict=True):
            if mask is not None:
                flat[..., w.offset : w.offset + mask.size][..., mask.ravel() == 0] = 0

    def __getstate__(self):
        state = {name: getattr(self, name) for name in (*SETTINGS, "parameters", "layer_state", "masks")}
        return state | {"optimizer_state": self.optimizer_state and vars(self.optimizer_state)}

    def __setstate__(self, state):
        self.__init__(**{name: state[name] for name in SETTINGS if name in state})
        self.restore((
            state["parameters"], state.get("layer_state", self.layer_state), state.get("masks", self.masks)
        ))  # fmt: skip
        self.optimizer_state = OptimizerState.copy_of(state["optimizer_state"])

    def views(self, flat):
        """Weights and biases of all places as views of a flat array like `parameters`, in two tuples."""
        sets = self.sets(flat)
        return (
            tuple(sets[w][0].T if transposed else sets[w][0] for w, _, transposed in self.graph.places),
            tuple(None if b < 0 else sets[b][1] for _, b, _ in self.graph.places),
        )

    def sets(self, flat):
        """Pairs of W and b, of length 0 where there is none, as views of a flat array: one for each of the graph's
        weights, whatever the number of their places."""
        sets = []
        for w in self.graph.weights:
            end = w.offset + w.n_in * w.n_out
            sets.append((flat[w.offset : end].reshape(w.n_in, w.n_out), flat[end : w.offset + w.size]))
        return sets

    def before_output_unit(self):
        """A model on the same parameters and state that predicts the last layer's z."""
        if self._linear is None:
            layers = [*self.layers[:-1], replace(self.layers[-1], activation="identity")]
            self._linear = Model(
                layers, self.n_inputs, None, dtype=self.dtype, parameters=self.parameters,
                connection_seed=self.connection_seed,
            )  # fmt: skip
            self._linear.layer_state = self.layer_state
        return self._linear

    # ---- inputs -----------------------------------------------------------------------------------------------------

    def check_X(self, X):
        """X as the core reads it: unchanged if it is float32, float64, uint8 or bool, whatever its strides. ValueError
        if a column of categories holds anything else."""
        if self.engine.reads(X):
            return X
        X = readable(X, self.n_inputs, self.dtype, self._dense_only())
        if self.categories:
            check_categories(X, self.categories, self.engine.has_categories)
        return X

    def _dense_only(self):
        """What needs X to be dense, or None. All that takes it is in the first layer."""
        graph = self.graph
        found = graph.needs_dense_inputs
        if found is not None:
            name = graph.values[found].name
            within = f", {name} in it" if self.layers[0].inner and name != "0" else ""
            return f"a first layer {self.layers[0]!r}{within}"
        views = list(graph.state_views(self.layer_state).values())
        if any(views[op.state].any() for op in graph.standardizing):
            return f"a first layer {self.layers[0]!r} that has learnt means other than 0"
        return None

    def check_rows(self, X, y, sample_weight=None):
        """X, y and weights as `Rows`, checked but for NaN and inf in X and y; nothing is copied that need not be."""
        X = self.check_X(X)
        n = X.shape[0]
        if n == 0:
            raise ValueError("X must have at least one row, got 0")
        y, labels = targets_of(y, n, self.outputs)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, n)
        return Rows(X, y, labels, sample_weight)

    # ---- costs ------------------------------------------------------------------------------------------------------

    def evaluate(self, data, order=None, gradient=None, n_threads=None, batch_statistics=False):
        """Weighted mean data loss over the rows in `order`; its gradient to the flat array `gradient`.

        Batch normalisation takes the layers' own statistics, or with `batch_statistics` those of the rows.
        """
        n = _n_rows(data, order)
        with threads.exclusive(self.engine), self.team(n_threads, n, n) as n_threads:
            return self.engine.evaluate(
                self.parameters, self.layer_state, data, order, gradient, n_threads, batch_statistics
            )

    def renew_statistics(self, data, order=None, batch_size=None, n_threads=None, n_before=0):
        """Give batch normalisation the means of statistics of batches of these rows (None: all in one), and of
        `n_before` batches, those of which are what it has; returns of how many batches they are then. Vectors of
        spectral norms follow the weights at each batch."""
        if not self.follows_steps:
            return 0
        n = _n_rows(data, order)
        batch_size = min(batch_size or n, n)
        with threads.exclusive(self.engine), self.team(n_threads, batch_size, n) as n_threads:
            return self.engine.renew(
                self.parameters, self.layer_state, data, order, batch_size, n_before, n_threads
            )  # fmt: skip

    @property
    def penalties(self):
        """Strengths of L1 and L2 as pairs, one for each of the graph's weights; 0 unless their role is "weight"."""
        if self._penalties is None:
            l1, l2, own = self._l1, self._l2, self._layer_penalty_divisor
            self._penalties = [
                (l1 if w.layer.l1 is None else w.layer.l1 / own, l2 if w.layer.l2 is None else w.layer.l2 / own)
                if w.role == "weight"
                else (0.0, 0.0)
                for w in self.graph.weights
            ]
        return self._penalties

    def flat_penalties(self):
        """Strengths of L1 and L2 for each parameter, (2, n_parameters)."""
        flat = np.zeros((2, self.parameters.size))
        for kind, row in enumerate(flat):
            for penalties, (w, _) in zip(self.penalties, self.sets(row), strict=True):
                w[:] = penalties[kind]
        return flat

    def penalize(self, cost, gradient, l1=True):
        """Cost and gradient with L2 and ties and, if asked for, L1; the gradient changes in place."""
        sets = zip(self.penalties, self.sets(self.parameters), self.sets(gradient), strict=True)
        for penalties, (w, _), (g, _) in sets:
            l1_, l2 = penalties[0] * l1, penalties[1]
            size = np.abs(w).sum(dtype=np.float64)
            cost += l1_ * float(size) + l2 / 2 * float(np.square(w, dtype=np.float64).sum())
            g += l1_ * np.sign(w) + l2 * w
        return cost + self.add_ties(self.parameters, gradient), gradient

    def penalized_cost(self, data, n_threads=None):
        """The cost with all penalties, at the present parameters."""
        return self.penalize(self.evaluate(data, n_threads=n_threads), np.zeros_like(self.parameters))[0]

    def add_ties(self, parameters, gradient):
        """Add the gradient of the ties' penalty at these parameters, which is linear in them, to a flat array, which is
        masked; returns the penalty."""
        penalty, sets, gradients = 0.0, self.sets(parameters), self.sets(gradient)
        for i, j, strength in self.tied_sets:
            difference = np.subtract(sets[i][0], sets[j][0], dtype=np.float64)
            gradients[i][0][:] += strength * difference
            gradients[j][0][:] -= strength * difference
            penalty += strength / 2 * float(np.square(difference).sum())
        self.apply_masks(gradient)
        return penalty

    @property
    def tied_sets(self):
        """The ties, by numbers of the graph's weights."""
        if not self.ties:
            return ()
        places = self.graph.places
        return [(places[i][0], places[j][0], strength) for i, j, strength in self.ties]

    # ---- updates ----------------------------------------------------------------------------------------------------

    def settings_of(self, optimizer):
        """The optimizer's settings as the engine takes them: the same dict for as long as it is the same one."""
        if optimizer is not self.optimizer:
            self.optimizer, self._settings = optimizer, update_settings(optimizer)
        return self._settings

    def state_of(self, optimizer):
        """The optimizer's state, new if the last update was by another rule."""
        if self.optimizer_state is None or not self.optimizer_state.fits(optimizer):
            self.optimizer_state = OptimizerState.of(optimizer, self.parameters)
        return self.optimizer_state

    def train_epoch(
        self, data, order, batch_size, optimizer, *, learning_rate=None, penalty_over_weight=False, n_threads=None,
        random_state=None, augmentation=None, guarded=False, average=None,
    ):  # fmt: skip
        """One epoch over the rows in `order` (int64; None: all as they stand).

        The seed for what is random is drawn from `random_state`, if anything is.

        Returns a float64 array (n_batches, 3): data loss, penalty, and sum of weights S of each batch, all before its
        update; and the mean of loss and penalty, NaN if it, a parameter or the layers' state is not finite. If
        `guarded` (X is dense), all of these and the optimizer's state are left as they were then, as they are if an
        error other than KeyboardInterrupt ends the epoch. With `penalty_over_weight` the penalty is divided by S, as
        scikit-learn's alpha is. An `average`, by EMA or SWA, is what the network has after the epoch, whatever ended
        it; the optimizer's state has the parameters to go on from.
        """
        n = _n_rows(data, order)
        batch_size = min(batch_size, n)
        record = np.empty((-(-n // batch_size), 3))
        with threads.exclusive(self.engine), self.team(n_threads, batch_size, n) as n_threads:
            state = self.state_of(optimizer)
            if learning_rate is None:
                rates = state.learning_rates(optimizer, len(record))
            else:
                rates = constant(learning_rate, len(record))
            settings, randomness = self.settings_of(optimizer), self._randomness(random_state, augmentation)
            own = self.parameters, self.layer_state
            averaged, t = state.begin_average(average, own), state.t[0]
            try:
                loss = self.engine.train(
                    self.parameters, self.layer_state, data, order, batch_size, settings, rates, state.arrays, state.t,
                    self.penalties, self.tied_sets, penalty_over_weight, record, n_threads, randomness, guarded,
                    averaged and averaged.of_steps,
                )  # fmt: skip
                if averaged is not None and loss == loss:  # not NaN
                    averaged.add_epoch(state.epochs, self.parameters)
            finally:
                if averaged is not None:
                    averaged.end_epoch(int(state.t[0]) - t, own)
            if averaged is not None and averaged.n and loss == loss:
                self._renew_averaged(averaged, data, order, batch_size, n_threads)
        return record, loss

    def _renew_averaged(self, averaged, data, order, batch_size, n_threads):
        """Give batch normalisation statistics that go with the average, those of an epoch's batches."""
        n_before = averaged.n_batches_before(_n_rows(data, order), batch_size)
        try:
            averaged.n_batches = self.renew_statistics(data, order, batch_size, n_threads, n_before)
        finally:
            averaged.values[1][:] = self.layer_state

    def team(self, n_threads, batch_size, n, uses_blas=False):
        """Context of a call for so many rows in batches: gives the number of threads, one where more don't repay."""
        if self.engine.alone(batch_size, n):
            threads.check_n_threads(n_threads)
            return threads.alone_with_blas() if uses_blas else ALONE
        return threads.team(n_threads, uses_blas)

    def _randomness(self, random_state, augmentation):
        """A seed and the settings of what is random, as the engine takes them; None where nothing is."""
        if not self.is_random and augmentation is None:
            return None
        seed = random_state.randint(2**32, size=2, dtype=np.uint32).tolist()
        return seed, self.input_dropout, self.input_noise, augmentation and augmentation.settings

    def snapshot(self):
        """What training changes in the network itself, for `restore`: copies of parameters and layers' state, masks."""
        return self.parameters.copy(), self.layer_state.copy(), self.masks

    def restore(self, snapshot):
        """Take the values of a snapshot; None for masks: those that are there."""
        self.parameters[:], self.layer_state[:], masks = snapshot
        if masks is not None and masks is not self.masks:
            self.masks = masks

    def start_from(self, snapshot):
        """Take the values of a snapshot, and drop what belongs to those before."""
        self.restore(snapshot)
        self.engine.forget()
        self.optimizer_state = None

    # ---- passes -----------------------------------------------------------------------------------------------------

    def predict(self, X, order=None, out=None, n_threads=None):
        """What `Network.predict` returns."""
        if order is None and out is None and n_threads is None and not self._predicts_by_output:
            found = self.engine.predict_few(self.parameters, self.layer_state, X)
            if found is not None:
                return found
        X = self.check_X(X)
        n = X.shape[0]
        if order is not None:
            order = check_order(order, n)
            n = len(order)
        if self._predicts_by_output:
            return self._predict_by_output(X, order, out, n, n_threads)
        if out is not None:
            check_out(out, (n, self.outputs[0].n), self.dtype, X)
        return predicted(self.engine, self.parameters, self.layer_state, X, order, out, n, n_threads)

    def _predict_by_output(self, X, order, out, n, n_threads):
        """Predictions of heads, and of distributions, whose means they are."""
        places = None
        if out is not None:
            outs = check_outs(out, n, self.dtype, X, self.outputs)
            places = tuple(
                np.empty((n, output.n), self.dtype) if isinstance(output.loss, HistogramLoss) else array
                for output, array in zip(self.outputs, outs, strict=True)
            )
        alone = len(self.outputs) == 1
        place = places[0] if places and alone else places
        found = predicted(
            self.engine, self.parameters, self.layer_state, X, order, place, n, n_threads
        )  # fmt: skip
        found = [
            output.loss.means(a) if isinstance(output.loss, HistogramLoss) else a
            for output, a in zip(self.outputs, (found,) if alone else found, strict=True)
        ]
        if out is None:
            return joined(found, self.outputs)
        for array, a in zip(outs, found, strict=True):
            if array is not a:
                array[:] = a
        return out

    def activations(self, X, n_threads=None):
        """What `Network.activations` returns."""
        if self._layer_activations is None:
            self._layer_activations = LayerActivations(self)
        return self._layer_activations.of(X, n_threads)

    def layer_output(self, X, name, n_threads=None):
        """Activations of an inner layer, by its name in `activations`; what comes after it is not computed."""
        X = self.check_X(X)
        value = [value.name for value in self.graph.values].index(name)
        if issparse(X) and any(op.output == value for op in self.graph.standardizing):
            X = X.toarray()
        if name not in self._layer_engines:
            self._layer_engines[name] = engine_of(self.graph, [(value, "a")], self.dtype)
        engine, n = self._layer_engines[name], X.shape[0]
        return predicted(engine, self.parameters, self.layer_state, X, None, None, n, n_threads)


def views_of(flat, shapes):
    """Weights of these shapes (n_in, n_out) and biases, as views of the flat array that holds them."""
    weights, biases, at = [], [], 0
    for n_in, n_out in shapes:
        weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
        at += n_in * n_out
        biases.append(flat[at : at + n_out])
        at += n_out
    return tuple(weights), tuple(biases)


def _check_ties(ties, graph, dtype):
    """The ties as tuples; ValueError unless each names two places whose weights have the same shape and kind."""
    checked, places = [], graph.places
    if not isinstance(ties, tuple | list):
        raise ValueError(f"ties must be a sequence of tuples (i, j, strength), got {ties!r}")
    for tie in ties:
        if not isinstance(tie, tuple | list) or len(tie) != 3:
            raise ValueError(f"ties must be tuples (i, j, strength), got {tie!r}")
        i, j, strength = tie
        for place in (i, j):
            if not isinstance(place, Integral) or isinstance(place, bool) or not 0 <= place < len(places):
                raise ValueError(f"ties must name layers from 0 to {len(places) - 1}, got {tie!r}")
        if i != j and places[i][0] == places[j][0]:
            raise ValueError(f"ties must name two layers that don't share their weights anyway, got {tie!r}")
        a, b = (graph.weights[places[place][0]] for place in (i, j))
        kinds = [(w.role, w.n_in, w.n_out, w.connections, places[p][2]) for w, p in ((a, i), (b, j))]
        if i == j or kinds[0] != kinds[1]:
            shapes = [(w.n_in, w.n_out) for w in (a, b)]
            raise ValueError(
                f"ties must name two layers with weights of the same shape and kind, got {tie!r}: {a.layer!r} with "
                f"{shapes[0]} and {b.layer!r} with {shapes[1]}"
            )
        strength = check_number("strength of ties", strength, "[0, inf)")
        check_in_dtype(dtype, **{"strength of ties": strength})
        checked.append((int(i), int(j), strength))
    return tuple(checked)


def _categories_of(graph):
    """The columns of X that are read as categories, with how many values each may have."""
    categories = {}
    for op in graph.forward:
        if op.kind == "embed":
            n = graph.weights[op.weights].n_in
            categories[op.source] = min(n, categories.get(op.source, n))
    return categories


def _n_rows(data, order):
    n = data.n_rows if order is None else len(order)
    if n == 0:
        raise ValueError("order must name at least one row, got 0")
    return n
