"""The network: its parameters, and the training loop as Python sees it."""

import copy
import functools
import math
import time
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, issparse, vstack
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite, check_random_state

from . import files, threads
from ._core import Data, Engine, checked_bounds
from .augmentation import ImageAugmentation
from .checks import check_in_dtype, check_number, check_real, check_size
from .full_batch import FullBatch, GradientRule, Objective
from .full_batch.hessian import MAX_PARAMETERS
from .initializers import check_initializer, initialize
from .layers import RBF, Dense, unit_of
from .losses import HistogramLoss, check_loss, check_targets, kernel_of
from .optimizers import SGD, UpdateRule
from .schedules import Schedule

_NATIVE = {np.dtype(t) for t in ("float32", "float64", "uint8", "bool")}
_NOT_PICKLED = ("_engine", "weights", "biases", "_linear")


@dataclass
class History:
    """What happened in a fit, epoch by epoch.

    Attributes
    ----------
    loss : ndarray of shape (n_epochs,)
        Mean training loss over the epoch's batches, each as it was before its update, penalties included. A full-batch
        rule that ends by itself ends with an epoch that made no progress, whose loss is the final one.
    validation_loss : ndarray of shape (n_epochs,)
        Loss on the validation data after the epoch, without penalties; empty without validation data.
    seconds : ndarray of shape (n_epochs,)
        Wall-clock time of the epoch's training.
    second : History or None
        The training on all data after early stopping that ``then`` asked for.
    """

    loss: np.ndarray
    validation_loss: np.ndarray
    seconds: np.ndarray
    second: "History | None" = None


class _Best(NamedTuple):
    """The epoch with the least validation loss: what to return to."""

    n_steps: int
    parameters: np.ndarray
    optimizer_state: dict | None


class Network:
    """A multilayer perceptron.

    Parameters
    ----------
    layers : sequence of Dense and RBF
        From the first hidden layer to the output layer. Each place in the list has weights of its own.
    n_inputs : int
        Number of features.
    loss : str, SoftmaxCrossEntropy, Lp, Huber, Quantile, HistogramLoss or None, default="squared_error"
        The cost, averaged over samples (with their weights) and summed over outputs ``j``:

        - "squared_error": ``1/2 (y_j - a_j)^2``;
        - "absolute_error": ``|y_j - a_j|``; the derivative at 0 is taken as 0;
        - `Lp` with an exponent: ``|y_j - a_j|^p / p``;
        - "huber", or `Huber` with a delta: squared for errors up to 1, absolute for larger ones;
        - "quantile", or `Quantile` with one level or several: the pinball loss, whose least value is at a quantile;
        - "gaussian": ``((y_j - a_j)^2 exp(-s_j) + s_j + ln 2 pi) / 2``, minus the logarithm of a normal density. The
          first half of the outputs are the means ``a_j``, the second the logarithms ``s_j`` of the variances [1]_;
        - "cross_entropy": ``-y_j ln a_j - (1 - y_j) ln(1 - a_j)`` with logistic outputs, for y from 0 to 1;
        - "softmax_cross_entropy": ``-y_j ln a_j`` with softmax outputs (the log-likelihood cost);
          `SoftmaxCrossEntropy` has label smoothing;
        - `HistogramLoss`: regression as classification, softmax outputs for bins of y;
        - "poisson": half the Poisson deviance, with exponential outputs;
        - "perceptron": ``max(0, (1 - 2 y_j) z_j)`` for y 0 or 1 with step outputs. Its derivative by ``z_j`` is
          ``a_j - y_j``, so that gradient descent with batches of 1 is the perceptron's learning rule [2]_, which ends
          without a mistake if a plane separates the classes.

        From "cross_entropy" on, a cost brings its own output unit and is computed from the last layer's ``z``, which
        must have the activation "identity". None is for costs of one's own, see `backward`.
    l1, l2 : float, default=0.0
        Penalty ``l1 sum|w| + l2/2 sum w^2`` on weights, not biases. The notes' ``lambda/n`` is ``l2 = lambda/n``.
    dtype : {"float32", "float64"}, default="float64"
        Of parameters and arithmetic.
    random_state : int, RandomState or Generator instance or None, default=None
        For initial weights, for shuffling, and for what else is random in training. From a Generator a seed is drawn.
    initializer : str, VarianceScaling or Orthogonal, default="sklearn"
        Rule for the initial parameters of layers that don't bring their own:

        - "sklearn": weights and biases uniform, the range as for "glorot_uniform" (smaller for logistic units), draw
          by draw as scikit-learn's estimators do it;
        - "lecun_normal", "lecun_uniform": weights of variance ``1 / n_in``;
        - "glorot_normal", "glorot_uniform" ("Xavier"): of variance ``2 / (n_in + n_out)``;
        - "he_normal", "he_uniform" ("Kaiming"): of variance ``2 / n_in``;
        - `VarianceScaling` with other settings, such as ``2 / n_out``;
        - "orthogonal", or `Orthogonal` with a gain: orthonormal columns or rows;
        - "zeros": all units of a layer remain equal, to show that symmetry must be broken.

        Biases are 0 but for "sklearn". `init_lsuv` is a rule that needs data. `RBF` has its own start.
    input_dropout : float, default=0.0
        Probability with which each input is set to 0 in training, as `Dense` has it for outputs. X must be dense.
    input_noise : float, default=0.0
        Standard deviation of Gaussian noise added to the inputs in training, for each row of each batch anew (before
        dropout). X must be dense. For a linear network with squared error, the mean over the noise is the cost with
        ``l2 = input_noise^2`` (the notes' Tikhonov regularization, 004); for others it is so to first order in the
        noise's variance, with the derivatives of the outputs by the inputs in the place of the weights (C. Bishop,
        "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995).
    ties : sequence of tuple (i, j, strength), default=()
        Parameter tying (Notes 004): each tie adds ``strength/2 ||W_i - W_j||^2``, squares of all elements, to the
        penalty, for the weights of two layers of the same shape and kind, counted from 0. The notes' formula, which has
        no factor, is strength 2. Biases are free. A step takes all weights as they were before it.

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        All parameters; layer by layer, weights then biases. Writing to it changes the network.
    weights : tuple of ndarray of shape (n_in, n_out)
        Views of `parameters`. Of an `RBF`, its centres.
    biases : tuple of ndarray of shape (n_out,)
        Views of `parameters`. Of an `RBF`, the logarithms of its ``beta``.
    l1, l2 : float
        May be set. The other settings are readable as `layers`, `n_inputs`, `loss`, `dtype`, `initializer`,
        `input_dropout`, `input_noise` and `ties`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    With samples in rows the four equations of backpropagation (notes 001) are

    ``delta^L = (a - y) * f'(z^L)``, ``delta^l = (delta^(l+1) W^T) * f'(z^l)``, ``dC/db = sum of rows of delta``,
    ``dC/dW = H^T delta``,

    each divided by the weight of the batch.

    Nothing is random but in `fit` and `partial_fit`; costs and gradients elsewhere are those of the network as it
    predicts. A mask, noise or distortion is a function of a seed drawn for each epoch, the optimizer's steps so far,
    layer, row of the batch and unit (Threefry, a counter-based generator): it does not depend on the number of threads.

    References
    ----------
    .. [1] D. Nix and A. Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.
    .. [2] F. Rosenblatt, "The perceptron", Psychological Review 65, 1958. Notes 001 have the unit.

    Examples
    --------
    >>> import fastbp
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = fastbp.Network([fastbp.Dense(8, activation="tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=fastbp.SGD(0.3, momentum=0.9), epochs=500, batch_size=4)
    >>> (net.predict(X).ravel() > 0.5).tolist()
    [False, True, True, False]
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    def __init__(
        self, layers, *, n_inputs, loss="squared_error", l1=0.0, l2=0.0, dtype="float64", random_state=None,
        initializer="sklearn", input_dropout=0.0, input_noise=0.0, ties=(),
    ):  # fmt: skip
        self._set_up(None, layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties)
        self._random_state = _random_state_of(random_state)
        for layer, weights, biases in zip(self.layers, self.weights, self.biases, strict=True):
            if isinstance(layer, RBF):
                weights[:] = self._random_state.normal(size=weights.shape)
                biases[:] = -np.log(2 * len(weights))
            else:
                rule = layer.initializer or initializer
                initialize(rule, self._random_state, weights, biases, self.layers[0].activation)

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

    def _before_output_unit(self):
        """A network on the same parameters that predicts the last layer's z."""
        if self._linear is None:
            layers = [*self.layers[:-1], replace(self.layers[-1], activation="identity")]
            self._linear = Network._plain(self._parameters, layers, self.n_inputs, None)
        return self._linear

    def _build(self, parameters=None):
        """The engine, and parameters (None: of zero) with their views."""
        self._engine = Engine(
            self.n_inputs,
            [(layer.n_units, *unit_of(layer.activation), layer.max_norm) for layer in self.layers],
            self.dtype.name,
            kernel_of(self.loss),
        )  # fmt: skip
        self._parameters = np.zeros(self._engine.n_parameters, self.dtype) if parameters is None else parameters
        self.weights, self.biases = self._views(self._parameters)
        self._optimizer_state = None
        self._linear = None  # see _before_output_unit

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

    @property
    def _penalties(self):
        return [
            (self.l1 if layer.l1 is None else layer.l1, self.l2 if layer.l2 is None else layer.l2)
            for layer in self.layers
        ]

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
        self._optimizer_state = _copied(optimizer_state)

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def _check_X(self, X):
        """X as the core reads it: unchanged if it is float32, float64, uint8 or bool, whatever its strides."""
        if self._engine.reads(X):
            return X
        if issparse(X):
            if X.ndim != 2:
                raise ValueError(f"X must have two dimensions, got shape {X.shape}")
            if isinstance(self.layers[0], RBF):
                raise ValueError(f"X must be dense for a first layer {self.layers[0]!r}, got a sparse matrix")
            if X.dtype.kind not in "biuf":
                raise ValueError(f"X must hold real numbers, got dtype {X.dtype}")
            X = _readable_csr(_as_csr(X, self.dtype), self.dtype)
        else:
            X = check_real("X", X)
            if X.dtype not in _NATIVE or not X.flags.aligned:
                X = X.astype(self.dtype)
        if X.ndim != 2 or X.shape[1] != self.n_inputs:
            raise ValueError(f"X must have shape (n_samples, {self.n_inputs}), got {X.shape}")
        return X

    def _rows(self, X, y, sample_weight=None):
        """X, y or labels, and weights, checked but for NaN and inf in X and y; nothing is copied that need not be."""
        X = self._check_X(X)
        n = X.shape[0]
        if n == 0:
            raise ValueError("X must have at least one row, got 0")
        y, labels = check_targets(self.loss, y, n, self.layers[-1].n_units)
        if sample_weight is not None:
            sample_weight = _contiguous(check_real("sample_weight", sample_weight), np.float64)
            if sample_weight.shape != (n,):
                raise ValueError(f"sample_weight must have shape ({n},), got {sample_weight.shape}")
            if not np.isfinite(sample_weight).all() or (sample_weight < 0).any():
                raise ValueError("sample_weight must be finite and not negative")
            if not sample_weight.any():
                raise ValueError("sample_weight must not be zero for all samples")
            with np.errstate(over="ignore"):
                total = sample_weight.sum()
            if not 1e-300 < total < 1e300:
                raise ValueError(f"sample_weight must have a sum that is not extreme, got {total}")
        return X, y, labels, sample_weight

    def _data(self, X, y, sample_weight=None):
        """Training data for the engine, checked as by `_rows`."""
        return Data(*self._rows(X, y, sample_weight))

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

    def init_lsuv(self, X, *, n_threads=None):
        """New parameters by layer-sequential unit variance, which needs data.

        Orthonormal weights and biases of 0; then each layer's weights, from the first to the last, are divided by the
        standard deviation of its ``z = H W + b`` over all samples and units. Since ``b = 0`` that makes it 1 at once.
        The optimizer's state is dropped.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Typical inputs, scaled like those to train on; some hundred rows are enough.
        n_threads : int, default=None

        Raises
        ------
        ValueError
            If X does not fit, is not finite, or gives a ``z`` without variance, or if a layer is an `RBF`; the network
            is as it was.

        References
        ----------
        D. Mishkin and J. Matas, "All you need is a good init", ICLR 2016.
        """
        if not all(isinstance(layer, Dense) for layer in self.layers):
            raise ValueError(f"init_lsuv is for networks of Dense, init_centres for RBF, got {self.layers!r}")
        H = self._check_samples(X, n_threads)
        with threads.exclusive(self):
            draws = self._random_state.get_state()
            layers = [replace(layer, initializer="orthogonal") for layer in self.layers]
            new = Network(layers, n_inputs=self.n_inputs, dtype=self.dtype.name, random_state=self._random_state)
            for i, (layer, W, b) in enumerate(zip(layers, new.weights, new.biases, strict=True)):
                linear = _one_layer(replace(layer, activation="identity"), W, b)
                deviation = linear.predict(H, n_threads=n_threads).std(dtype=np.float64)
                if not np.finfo(self.dtype).tiny < deviation < np.inf:
                    self._random_state.set_state(draws)
                    raise ValueError(f"X must make every z vary; its variance is {deviation**2} in layer {i}")
                W /= deviation
                H = _one_layer(layer, W, b).predict(H, n_threads=n_threads)
            self._parameters[:] = new.parameters
            self._engine.forget()
            self._reset_optimizer()

    def init_centres(self, X, *, n_threads=None):
        """New centres and widths for all `RBF` layers, from data; the other layers keep their parameters.

        From the first layer to the last: centres are rows drawn from the layer's inputs, without replacement if there
        are enough, and ``beta`` is 1 divided by the mean squared distance of inputs and centres. The optimizer's state
        is dropped.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Typical inputs, scaled like those to train on; some hundred rows are enough. Dense if the first layer is an
            `RBF`.
        n_threads : int, default=None

        Raises
        ------
        ValueError
            If X does not fit, is not finite, or gives an `RBF` inputs that are all the same; the network is as it was.

        References
        ----------
        D. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive networks", Complex Systems 2,
        1988.
        """
        H = self._check_samples(X, n_threads)
        with threads.exclusive(self):
            draws, parameters = self._random_state.get_state(), self._parameters.copy()
            for i, (layer, W, b) in enumerate(zip(self.layers, *self._views(parameters), strict=True)):
                if isinstance(layer, RBF):
                    H = np.asarray(H, self.dtype)  # as the core sees it
                    few = len(H) < layer.n_units
                    W[:] = H[self._random_state.choice(len(H), layer.n_units, replace=few)].T
                    distance = cdist(H, W.T, "sqeuclidean").mean()
                    if not np.finfo(self.dtype).tiny < distance < np.inf:
                        self._random_state.set_state(draws)
                        raise ValueError(
                            f"X must make the inputs of an RBF vary; their mean squared distance from the centres is "
                            f"{distance} in layer {i}"
                        )
                    b[:] = -np.log(distance)
                H = _one_layer(layer, W, b).predict(H, n_threads=n_threads)
            self._parameters[:] = parameters
            self._engine.forget()
            self._reset_optimizer()

    def _check_samples(self, X, n_threads):
        """X as the core reads it, for new parameters from data."""
        X = self._check_X(X)
        assert_all_finite(X.data if issparse(X) else X, input_name="X")
        if X.shape[0] == 0:
            raise ValueError("X must have at least one row, got 0")
        threads.check_n_threads(n_threads)
        return X

    # ---- training ---------------------------------------------------------------------------------------------------

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
        rates = [self.input_dropout, *(layer.dropout for layer in self.layers)]
        if not any(rates) and not self.input_noise and augmentation is None:
            return None
        seed = random_state.randint(2**32, size=2, dtype=np.uint32).tolist()
        return seed, rates, self.input_noise, augmentation and augmentation.settings

    def _check_randomness(self, optimizer, X, augmentation):
        """ValueError or TypeError if what is random in training does not fit the arguments."""
        if augmentation is not None and not isinstance(augmentation, ImageAugmentation):
            raise TypeError(f"augmentation must be an ImageAugmentation or None, got {augmentation!r}")
        if augmentation is not None and math.prod(augmentation.image_shape) != self.n_inputs:
            raise ValueError(
                f"augmentation must be of images with {self.n_inputs} pixels, the network's inputs, got image_shape="
                f"{augmentation.image_shape}"
            )
        of_inputs = {"input_dropout": self.input_dropout, "input_noise": self.input_noise, "augmentation": augmentation}
        dropouts = {f"dropout of layers[{i}]": layer.dropout for i, layer in enumerate(self.layers)}
        used = [f"{name}={value}" for name, value in (of_inputs | dropouts).items() if value]
        if used and isinstance(optimizer, FullBatch):
            raise ValueError(
                f"optimizer must be a rule for mini-batches with {used[0]}: a full-batch rule needs a cost that is "
                f"the same at each evaluation, got {optimizer!r}"
            )
        if issparse(X) and any(of_inputs.values()):
            raise ValueError(f"X must be dense with {used[0]}, got a sparse matrix")

    def _evaluate(self, data, order=None, gradient=None, n_threads=None):
        """Weighted mean data loss over the rows in `order`; its gradient to the flat array `gradient`."""
        _n_rows(data, order)
        with threads.exclusive(self), threads.team(n_threads, uses_blas=False) as n_threads:
            return self._engine.evaluate(self._parameters, data, order, gradient, n_threads)

    def fit(
        self,
        X,
        y,
        *,
        optimizer=SGD(),  # noqa: B008 (immutable)
        epochs=1,
        batch_size=None,
        sample_weight=None,
        shuffle=True,
        validation_data=None,
        early_stopping=None,
        callback=None,
        verbose=False,
        n_threads=None,
        then=None,
        augmentation=None,
    ):
        """Train from the current parameters, with fresh optimizer state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            float32, float64, uint8 and bool arrays of any strides, memory maps among them, and CSR matrices are read
            in place, a batch at a time; anything else is converted first.
        y : array-like
            Class indices (n_samples,) or probabilities (n_samples, n_outputs), which sum to 1 in each row up to the
            rounding of half precision, for "softmax_cross_entropy"; else
            (n_samples, n_targets), or (n_samples,) for one target. There are as many targets as outputs, but for
            "gaussian" (half as many), several quantiles, and `HistogramLoss` (one).
        optimizer : UpdateRule or full-batch rule, default=SGD()
            SGD, Adam, AdamW, RMSProp and Adagrad go through mini-batches; Rprop, Quickprop, Newton, NewtonCG, BFGS and
            LBFGS are full-batch rules, one iteration on all rows an epoch, which end training before `epochs` when
            there is no further progress to make.
        epochs : int, default=1
        batch_size : int, default=None
            From 1 (online learning) to n_samples; larger values mean n_samples. None: 32 for mini-batches, and the
            only value for full-batch rules.
        sample_weight : array-like of shape (n_samples,), default=None
            A batch whose weights sum to zero makes no update.
        shuffle : bool, default=True
            Whether to draw the batches anew each epoch, without replacement. Full-batch rules see all rows anyway.
        validation_data : tuple (X, y) or (X, y, sample_weight), default=None
        early_stopping : int, default=None
            Stop when the validation loss has not improved for so many epochs, and return to the best parameters. If no
            epoch's is finite, there are none: a ConvergenceWarning says so.
        callback : callable or list of them, default=None
            ``callback(epoch, history)`` is called after each epoch (from 0). Training ends after an epoch for which one
            returned True; nothing else that it returns ends it.
        verbose : bool, default=False
            Print a line for each epoch.
        n_threads : int, default=None
            None: those that are free; -1: all. The result does not depend on it.
        then : {"retrain", "continue"} or None, default=None
            What to do after early stopping, to learn from the validation data as well, joined with the training data
            in a copy (Notes 004):

            - "retrain": start again from the parameters before this call, and make as many steps as had been made
              when the validation loss was least;
            - "continue": go on from the best parameters, and the optimizer's state then, until after an epoch the cost
              of all these data is below what the cost of the training data was at the best parameters. Both costs are
              those of `value_and_gradient`, with penalties. It may never happen: for `epochs` epochs at most.

            Either is a heuristic, with nothing left to validate it on. A callback that ended the training ends all of
            it; else it is called for these epochs too, from 0 on and with their own history.
        augmentation : ImageAugmentation, default=None
            How to distort the rows of X, which are images and must be dense, each time they are trained on.

        Returns
        -------
        history : History

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values; the network is as it was.
        FloatingPointError
            If loss or parameters stop being finite; the parameters are those before the call.
        KeyboardInterrupt
            On Ctrl-C, within a second; the parameters are those after the last whole step.
        RuntimeError
            As in `forward`; the network is as the other call has it.
        """
        return self._fit(
            X, y, True, optimizer, epochs, batch_size, sample_weight, shuffle, validation_data, early_stopping,
            callback, verbose, n_threads, then, augmentation,
        )  # fmt: skip

    def partial_fit(
        self,
        X,
        y,
        *,
        optimizer=SGD(),  # noqa: B008 (immutable)
        epochs=1,
        batch_size=None,
        sample_weight=None,
        shuffle=True,
        validation_data=None,
        early_stopping=None,
        callback=None,
        verbose=False,
        n_threads=None,
        then=None,
        augmentation=None,
    ):
        """Train on, with the optimizer's state, and the place in its schedule, as the last call left them.

        Newton, NewtonCG, BFGS and LBFGS have no state and start anew. Arguments, results and errors as in `fit`.
        """
        return self._fit(
            X, y, False, optimizer, epochs, batch_size, sample_weight, shuffle, validation_data, early_stopping,
            callback, verbose, n_threads, then, augmentation,
        )  # fmt: skip

    def _fit(
        self, X, y, fresh, optimizer, epochs, batch_size, sample_weight, shuffle, validation_data, early_stopping,
        callback, verbose, n_threads, then, augmentation,
    ):  # fmt: skip
        _check_optimizer(optimizer, self.dtype)
        for name, value in (("epochs", epochs), ("batch_size", batch_size), ("early_stopping", early_stopping)):
            if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
        if early_stopping is not None and validation_data is None:
            raise ValueError("early_stopping needs validation_data, got None")
        if then not in (None, "retrain", "continue"):
            raise ValueError(f"then must be 'retrain', 'continue' or None, got {then!r}")
        if then is not None and early_stopping is None:
            raise ValueError(f"then={then!r} needs early_stopping, got None")
        if self.loss is None:
            raise ValueError("fit needs a network with a loss; with loss=None use forward, backward and step")
        threads.check_n_threads(n_threads)
        callbacks = _callbacks_of(callback)
        if isinstance(optimizer, FullBatch):
            if batch_size is not None:
                raise ValueError(
                    f"batch_size must be None for {type(optimizer).__name__}, which takes all rows at once, got "
                    f"{batch_size}"
                )
            optimizer.check(self)
        rows = self._rows(X, y, sample_weight)
        self._check_randomness(optimizer, X, augmentation)
        validation = None if validation_data is None else self._validation(validation_data)
        if then is not None and (rows[2] is None) != (validation[2] is None):
            raise ValueError("then needs validation_data with a y like y: both class indices or both probabilities")

        with threads.exclusive(self):
            # one epoch alone is guarded by the engine, and nothing of ours that may fail comes after it
            alone = (
                epochs == 1 and validation is None and not callbacks and not verbose and not issparse(X)
                and not isinstance(optimizer, FullBatch) and not isinstance(optimizer.learning_rate, Schedule)
            )  # fmt: skip
            parameters = None if alone else self._parameters.copy()
            state, draws = self._optimizer_state, self._random_state.get_state()
            n_steps = int(state["t"][0]) if state else 0
            self._optimizer_state = None if fresh else state if alone else _copied(state)
            arguments = optimizer, batch_size, shuffle, callbacks, verbose, n_threads, augmentation, alone
            try:
                history, best = self._epochs(X, y, rows, validation, early_stopping, epochs, *arguments)
                if early_stopping is not None and best is None and not np.isfinite(history.validation_loss).any():
                    skipped = "" if then is None else f", and then={then!r} was skipped"
                    warnings.warn(
                        "no epoch had a finite validation loss: there are no best parameters for early_stopping to "
                        f"return to, those of the last epoch stay{skipped}",
                        ConvergenceWarning,
                        stacklevel=3,
                    )
                if then is None or best is None:
                    return history
                X, y = (X, validation_data[0]), (y, validation_data[1])
                limit = {"below": self._cost(Data(*rows), n_threads)} if then == "continue" else {}
                rows = self._joined(rows, validation)
                self._optimizer_state = best.optimizer_state
                if then == "retrain":
                    self._parameters[:] = parameters
                    self._optimizer_state = None if fresh else _copied(state)
                    limit = {"n_steps": best.n_steps}
                history.second, _ = self._epochs(X, y, rows, None, None, epochs, *arguments, **limit)
                return history
            except BaseException as error:
                # Ctrl-C leaves what was learnt, anything else the network as it was; an epoch alone has been written
                # back, or not, when an error arrives.
                if alone:
                    now = self._optimizer_state
                    keep = now is not None and now["t"][0] != (n_steps if now is state else 0)
                else:
                    keep = isinstance(error, KeyboardInterrupt) and np.isfinite(self._parameters).all()
                    if not keep:
                        self._parameters[:] = parameters
                if not keep:
                    self._optimizer_state = state
                    self._random_state.set_state(draws)
                raise

    def _epochs(
        self, X, y, rows, validation, early_stopping, epochs, optimizer, batch_size, shuffle, callbacks, verbose,
        n_threads, augmentation, guarded, n_steps=None, below=None,
    ):  # fmt: skip
        """Train for so many epochs or steps, or until the cost of all rows is below the one given, or the rule, early
        stopping or a callback ends it. X and y are what `rows` were made from, for messages.

        Returns the history, and the best epoch if there was early stopping and no callback ended it.
        """
        losses, validation_losses, seconds = [], [], []
        best, best_loss, since_best, ended = None, np.inf, 0, False
        validation = None if validation is None else Data(*validation)
        start = time.perf_counter()

        def end_epoch(loss):
            """Take down an epoch that had this loss; whether to stop. Raises if it is not finite."""
            nonlocal start, best, best_loss, since_best, ended
            epoch = len(losses)
            seconds.append(time.perf_counter() - start)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                for name, parts in (("X", X), ("y", y)):
                    for part in parts if isinstance(parts, tuple) else (parts,):
                        assert_all_finite(part, input_name=name)
                raise FloatingPointError(
                    f"the training loss, a parameter or a square that the rule divides by is not finite after epoch "
                    f"{epoch}; the parameters are those before the call. A smaller learning_rate or scaled inputs may "
                    "help."
                )
            if validation is not None:
                validation_losses.append(self._evaluate(validation, n_threads=n_threads))
            if not isinstance(optimizer, FullBatch):
                self._end_epoch(optimizer, losses[-1] if validation is None else validation_losses[-1])
            if early_stopping is not None:
                since_best += 1
                if validation_losses[-1] < best_loss:
                    state = _copied(self._optimizer_state)
                    best, since_best = _Best(steps_made(), self._parameters.copy(), state), 0
                    best_loss = validation_losses[-1]
            if verbose:
                tail = f", validation loss {validation_losses[-1]:.6f}" if validation is not None else ""
                of = f"/{epochs}" if n_steps is None else ""
                print(f"epoch {epoch + 1}{of}: loss {losses[-1]:.6f}{tail}, {seconds[-1]:.3f} s")
            if callbacks:
                now = history()
                results = [callback(epoch, now) for callback in callbacks]  # all of them, whichever ends it
                ended = any(isinstance(result, bool | np.bool_) and bool(result) for result in results)
            start = time.perf_counter()
            if ended or since_best == early_stopping:
                return True
            return below is not None and self._cost(data, n_threads) < below

        def history():
            return History(np.array(losses), np.array(validation_losses), np.array(seconds))

        def steps_made():
            """Updates since the beginning; a batch without weight makes none."""
            return len(losses) if isinstance(optimizer, FullBatch) else int(self._optimizer_state["t"][0]) - t_0

        n_rows, data = rows[0].shape[0], Data(*rows)
        if n_steps is not None:
            epochs = n_steps  # at most: each makes a step
        if isinstance(optimizer, FullBatch):
            optimizer.train(
                Objective(self, rows, n_threads), epochs,
                lambda loss: end_epoch(loss if np.isfinite(self._parameters).all() else np.nan),
            )  # fmt: skip
        else:
            batch_size = min(batch_size or 32, n_rows)
            t_0 = int(self._state_of(optimizer)[-1][0])
            order = np.arange(n_rows, dtype=np.int64) if shuffle or n_steps is not None else None
            for _ in range(epochs):
                if shuffle:
                    self._random_state.shuffle(order)
                if n_steps is not None:  # the last epoch may be a part of one
                    order = order[: _rows_of_steps(n_steps - steps_made(), order, batch_size, rows[3])]
                _, loss = self._train_epoch(
                    data, order, batch_size, optimizer, n_threads=n_threads, augmentation=augmentation, guarded=guarded
                )
                if end_epoch(loss) or (n_steps is not None and steps_made() == n_steps):
                    break
        if best is not None:
            self._parameters[:] = best.parameters
        return history(), None if ended else best

    def _cost(self, data, n_threads):
        """The cost with penalties, at the present parameters."""
        return self._penalize(self._evaluate(data, n_threads=n_threads), np.zeros_like(self._parameters))[0]

    def _joined(self, *parts):
        """Rows of several parts, each as `_rows` has them, as one."""
        X, y, labels, weights = zip(*parts, strict=True)
        if any(map(issparse, X)):
            X = self._check_X(vstack(list(map(csr_array, X)), format="csr"))
        else:
            X = np.concatenate(X)
        if any(w is not None for w in weights):
            weights = [np.ones(x.shape[0]) if w is None else w for (x, *_), w in zip(parts, weights, strict=True)]
        y = [a if a is None else a.reshape(len(a), -1) for a in y]
        y, labels, weights = (None if a[0] is None else np.concatenate(a) for a in (y, labels, weights))
        return X, y, labels, weights

    def _validation(self, validation_data):
        if not isinstance(validation_data, tuple) or len(validation_data) not in (2, 3):
            raise ValueError("validation_data must be a tuple (X, y) or (X, y, sample_weight)")
        try:
            for part in validation_data[:2]:
                assert_all_finite(part)
            return self._rows(*validation_data)
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from error

    # ---- prediction and gradients -----------------------------------------------------------------------------------

    def predict(self, X, *, order=None, out=None, n_threads=None):
        """Activations of the output layer; with `HistogramLoss` the means of its distributions, one column.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Read in place as in `fit`. NaN is not looked for: it gives NaN. Zeros may be skipped, so that
            it is not certain that zero times a weight that is not finite is NaN.
        order : int64 array, default=None
            Rows to predict; None: all of them.
        out : ndarray of shape (n_samples, n_outputs), default=None
            For the result: C-contiguous, of the network's dtype.
        n_threads : int, default=None

        Returns
        -------
        a : ndarray of shape (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If X, order or out does not fit.
        """
        X = self._check_X(X)
        n = X.shape[0]
        if order is not None:
            order = np.asarray(order)
            whole = order.ndim == 1 and (order.size == 0 or order.dtype.kind in "iu")
            if not whole or (order.size and not 0 <= order.min() <= order.max() < n):
                raise ValueError(f"order must be a vector of integers from 0 to {n - 1}")
            order = np.array(order, dtype=np.int64)
            n = len(order)
        if out is not None:
            shape = n, 1 if isinstance(self.loss, HistogramLoss) else self.layers[-1].n_units
            if (
                not isinstance(out, np.ndarray)
                or (out.shape, out.dtype) != (shape, self.dtype)
                or not out.flags.carray
                or np.may_share_memory(out, X.data if issparse(X) else X)
            ):
                raise ValueError(
                    f"out must be a writeable C-contiguous {self.dtype.name} array of shape {shape} apart from X"
                )
        if isinstance(self.loss, HistogramLoss):
            means = self.loss.means(self._outputs(X, order, None, n, n_threads))
            if out is None:
                return means
            out[:] = means
            return out
        return self._outputs(X, order, out, n, n_threads)

    def _outputs(self, X, order, out, n, n_threads):
        """Activations of the output layer for n rows."""
        engine = self._engine
        if engine.predicts_alone(n):
            threads.check_n_threads(n_threads)
            return engine.predict(self._parameters, X, order, out, 1)
        with threads.team(n_threads, False) as n_threads:
            return engine.predict(self._parameters, X, order, out, n_threads)

    def value_and_gradient(self, X, y, sample_weight=None, *, penalty=False, n_threads=None):
        """The cost of the data and its gradient.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        penalty : bool, default=False
            Whether to add the L1 and L2 penalties, and that of ties, to both.
        n_threads : int, default=None

        Returns
        -------
        cost : float
        gradient : ndarray of shape (n_parameters,)
            In the order of `parameters`. The subgradient of ``|w|`` at 0 is 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.
        """
        self._needs_loss("value_and_gradient")
        data = self._data(X, y, sample_weight)
        gradient = np.empty_like(self._parameters)
        cost = self._evaluate(data, None, gradient, n_threads)
        self._finite(gradient if np.isfinite(cost) else cost, X, y)
        return self._penalize(cost, gradient) if penalty else (cost, gradient)

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

    def _flat_penalties(self):
        """Strengths of L1 and L2 for each parameter, (2, n_parameters)."""
        flat = np.zeros((2, self._parameters.size))
        for kind, row in enumerate(flat):
            for penalties, w in zip(self._penalties, self._views(row)[0], strict=True):
                w[:] = penalties[kind]
        return flat

    def hessian_vector_product(self, X, y, v, sample_weight=None, *, penalty=False):
        """The Hessian of the cost of the data times a vector, exact, by Pearlmutter's R-operator.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        v : array-like of shape (n_parameters,)
            In the order of `parameters`.
        penalty : bool, default=False
            Whether to add the Hessian of the L2 penalty, ``l2`` on the diagonal for weights, and that of ties. That of
            ``|w|`` is 0.

        Returns
        -------
        Hv : ndarray of shape (n_parameters,)
            ``d/dr gradient(parameters + r v)`` at ``r = 0``. The second derivative of ReLU and the like is taken as 0.

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values, or the network has no loss.

        References
        ----------
        B. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994. The equations are in
        fastbp/full_batch/hessian.py.
        """
        self._needs_loss("hessian_vector_product")
        v = np.asarray(v)
        if v.dtype.kind not in "biuf" or v.shape != self._parameters.shape:
            raise ValueError(
                f"v must hold real numbers in shape {self._parameters.shape}, got dtype {v.dtype}, shape {v.shape}"
            )
        assert_all_finite(v, input_name="v")
        rows = self._rows(X, y, sample_weight)
        return self._finite(Objective(self, rows).hessian_product(penalty)(v), X, y)

    def hessian(self, X, y, sample_weight=None, *, penalty=False):
        """The Hessian of the cost of the data, exact and symmetric. For small networks.

        Parameters
        ----------
        X, y, sample_weight, penalty
            As in `hessian_vector_product`.

        Returns
        -------
        H : ndarray of shape (n_parameters, n_parameters)
            In the order of `parameters`.

        Raises
        ------
        ValueError
            As in `hessian_vector_product`, and if there are more than 5000 parameters.
        """
        self._needs_loss("hessian")
        if self._parameters.size > MAX_PARAMETERS:
            raise ValueError(
                f"hessian is for networks of at most {MAX_PARAMETERS} parameters, got {self._parameters.size}; "
                "hessian_vector_product takes any"
            )
        rows = self._rows(X, y, sample_weight)
        return self._finite(Objective(self, rows).hessian(penalty), X, y)

    def _needs_loss(self, method):
        if self.loss is None:
            raise ValueError(f"{method} needs a network with a loss, this one has loss=None")

    def _finite(self, result, X, y):
        """The result; ValueError if it is not finite because X or y is not."""
        if not np.isfinite(result).all():
            assert_all_finite(X, input_name="X")
            assert_all_finite(y, input_name="y")
        return result

    def forward(self, X, *, n_threads=None):
        """Activations of the last layer, remembered together with all others for `backward`.

        They are kept in the network's one workspace, so that forward, backward, training and evaluation are for one
        thread at a time. `predict` and `save` are for any number of threads, also meanwhile, and for signal handlers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Not to be changed before `backward`.
        n_threads : int, default=None

        Returns
        -------
        a : ndarray of shape (n_samples, n_outputs)
            Without the output unit that a loss from logits brings along.

        Raises
        ------
        RuntimeError
            If the network is being trained or evaluated, or in `forward` or `backward`: by another thread, or by a call
            that a signal's handler has interrupted to call this one.
        ValueError
            If X does not fit.
        """
        data = Data(self._check_X(X))
        if data.n_rows == 0:
            raise ValueError("X must have at least one row, got 0")
        out = np.empty((data.n_rows, self.layers[-1].n_units), self.dtype)
        with threads.exclusive(self), threads.team(n_threads, uses_blas=False) as n_threads:
            self._engine.forward(self._parameters, data, out, n_threads)
        return out

    def backward(self, dz, *, n_threads=None):
        """Backpropagate the gradient of one's own cost.

        Parameters
        ----------
        dz : array-like of shape (n_samples, n_outputs)
            ``dC/da``, where ``a`` is what the last `forward` returned.
        n_threads : int, default=None

        Returns
        -------
        gradient : ndarray of shape (n_parameters,)
            ``dC/d(parameters)``, without penalties.
        input_gradient : ndarray of shape (n_samples, n_inputs)
            ``dC/dX``.

        Raises
        ------
        RuntimeError
            Without a `forward` since the last call of anything that trains or evaluates; as in `forward`.
        ValueError
            If dz does not have the shape of what `forward` returned.
        """
        data = self._engine.kept
        if data is None:
            raise RuntimeError("backward needs a call of forward before it, with nothing trained or evaluated between")
        dz = _contiguous(check_real("dz", dz), self.dtype)
        shape = data.n_rows, self.layers[-1].n_units
        if dz.shape != shape:
            raise ValueError(f"dz must have the shape of what forward returned, {shape}, got {dz.shape}")
        gradient = np.empty_like(self._parameters)
        input_gradient = np.empty((data.n_rows, self.n_inputs), self.dtype)
        # the input gradient's product goes to BLAS
        with threads.exclusive(self), threads.team(n_threads, uses_blas=True) as n_threads:
            self._engine.backward(self._parameters, data, dz, gradient, input_gradient, n_threads)
        return gradient, input_gradient

    def step(self, gradient, optimizer):
        """One update of the parameters from a gradient of one's own.

        Parameters
        ----------
        gradient : array-like of shape (n_parameters,)
            Of the cost without penalties, which the update adds.
        optimizer : SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop
            Its state goes on from the last step, if that was by the same rule, and with it the position in a learning
            rate's schedule, which must be one that moves per step: there are no epochs here.

        Raises
        ------
        TypeError
            If optimizer is a rule that needs more than a gradient.
        ValueError
            If gradient does not have the shape of `parameters` or is not finite, or the schedule moves per epoch.
        """
        _check_optimizer(optimizer, self.dtype)
        if isinstance(optimizer, FullBatch) and not isinstance(optimizer, GradientRule):
            raise TypeError(
                "optimizer must be an SGD, Adam, AdamW, RMSProp, Adagrad, Rprop or Quickprop for step: "
                f"{type(optimizer).__name__} needs the cost too, which fit has, got {optimizer!r}"
            )
        if getattr(getattr(optimizer, "learning_rate", None), "per", "step") != "step":
            raise ValueError(
                f"step knows no epochs: learning_rate must be a number or a schedule with per='step', got "
                f"{optimizer.learning_rate!r}"
            )
        if isinstance(optimizer, FullBatch):
            optimizer.check(self)
        gradient = _contiguous(check_real("gradient", gradient), self.dtype)
        if gradient.shape != self._parameters.shape:
            raise ValueError(f"gradient must have shape {self._parameters.shape}, got {gradient.shape}")
        assert_all_finite(gradient, input_name="gradient")
        with threads.exclusive(self):
            *states, t = self._state_of(optimizer)
            if isinstance(optimizer, FullBatch):
                self._engine.forget()  # its activations are of other parameters
                optimizer.update(self._parameters, self._penalize(0.0, gradient.copy())[1], *states, t)
                return
            rate = self._learning_rates(optimizer, 1)[0]
            if self.ties:
                gradient = gradient.copy()
                self._add_ties(self._parameters, gradient)
            self._engine.step(self._parameters, gradient, optimizer.settings, rate, states, t, self._penalties)

    # ---- files ------------------------------------------------------------------------------------------------------

    def save(self, file):
        """Write settings and parameters to an ``.npz`` file (not the optimizer's state).

        Parameters
        ----------
        file : str, path or file object
            A file that has this name is replaced when all is written: if that fails, or the process is killed, it is
            what it was.
        """
        files.save(file, self)

    @classmethod
    def load(cls, file):
        """Read what `save` wrote. No code in the file is run.

        Parameters
        ----------
        file : str, path or file object

        Returns
        -------
        net : Network

        Raises
        ------
        ValueError
            If the file is not one that `save` wrote.
        """
        return files.load(file, functools.partial(cls._undrawn, None))


def _random_state_of(random_state):
    """The RandomState that a setting stands for."""
    if isinstance(random_state, np.random.Generator):
        random_state = np.random.RandomState(random_state.integers(2**32, size=4))
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state must be an integer from 0 to 2**32 - 1, a RandomState, a Generator or None, got "
            f"{random_state!r}"
        ) from error


def _callbacks_of(callback):
    """The callbacks as a tuple; TypeError if one can't be called."""
    callbacks = tuple(callback) if isinstance(callback, list | tuple) else () if callback is None else (callback,)
    if not all(map(callable, callbacks)):
        raise TypeError(f"callback must be a callable, a list of them or None, got {callback!r}")
    return callbacks


def views_of(flat, shapes):
    """Weights of these shapes (n_in, n_out) and biases, as views of the flat array that holds them."""
    weights, biases, at = [], [], 0
    for n_in, n_out in shapes:
        weights.append(flat[at : at + n_in * n_out].reshape(n_in, n_out))
        at += n_in * n_out
        biases.append(flat[at : at + n_out])
        at += n_out
    return tuple(weights), tuple(biases)


def _check_optimizer(optimizer, dtype):
    if not isinstance(optimizer, UpdateRule | FullBatch):
        raise TypeError(
            "optimizer must be an SGD, Adam, AdamW, RMSProp or Adagrad, or Rprop, Quickprop, Newton, NewtonCG, BFGS or "
            f"LBFGS, got {optimizer!r}"
        )
    check_in_dtype(dtype, optimizer=optimizer)


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


def _one_layer(layer, W, b):
    """A network of one layer with these parameters."""
    bare = RBF(layer.n_units) if isinstance(layer, RBF) else Dense(layer.n_units, layer.activation)
    net = Network([bare], n_inputs=W.shape[0], dtype=W.dtype.name, initializer="zeros", random_state=0)
    net.weights[0][:], net.biases[0][:] = W, b
    return net


def _rows_of_steps(n_steps, order, batch_size, sample_weight):
    """How many of the rows, in this order, make so many steps: a batch without weight makes none."""
    if sample_weight is not None:
        makes_step = np.logical_or.reduceat(sample_weight[order] > 0, np.arange(0, len(order), batch_size))
        n_steps = np.searchsorted(makes_step.cumsum(), n_steps) + 1
    return n_steps * batch_size


def _n_rows(data, order):
    n = data.n_rows if order is None else len(order)
    if n == 0:
        raise ValueError("order must name at least one row, got 0")
    return n


def _as_csr(X, dtype):
    """The matrix as CSR. scipy does not look where indices lead, which are checked in a copy that is ours alone, and adds
    repeated entries up in their own integers, which may be too small."""
    if X.format != "csr" and X.dtype.kind in "biu":
        X = X.astype(dtype)
    try:
        if X.format == "coo":
            X = coo_array((X.data, (X.row, X.col)), shape=X.shape, copy=True)
        elif X.format in ("csc", "bsr"):
            X = X.copy()
            X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"X must be a valid {X.format.upper()} matrix: {error}") from error
    return X.tocsr()


def _readable_csr(X, dtype):
    """X as the kernels read it: contiguous, aligned arrays, columns ascending in each row, everything in bounds.

    Raises
    ------
    ValueError
        If the index arrays would lead out of bounds.
    """
    data = _contiguous(X.data, X.data.dtype if X.data.dtype in _NATIVE else dtype)
    indices, indptr = (
        _contiguous(a, a.dtype if a.dtype in (np.int32, np.int64) else np.int64) for a in (X.indices, X.indptr)
    )
    bounds = checked_bounds(indptr, X.shape[0], min(len(indices), len(data)))
    n = int(bounds[-1])
    if n and not 0 <= indices[:n].min() <= indices[:n].max() < X.shape[1]:
        raise ValueError("X must be a valid CSR matrix, got one whose indices are out of bounds")
    descents = np.flatnonzero(indices[1:n] < indices[: max(n - 1, 0)]) + 1
    if not np.isin(descents, bounds).all():
        X = csr_array((data, indices, bounds), shape=X.shape, copy=True)
        X.has_sorted_indices = False
        X.sort_indices()
    elif not (data is X.data and indices is X.indices and indptr is X.indptr):
        X = copy.copy(X)
        X.data, X.indices, X.indptr = data, indices, indptr
    return X


def _contiguous(array, dtype):
    """The array, or a copy that C can read."""
    array = np.ascontiguousarray(array, dtype=dtype)
    return array if array.flags.aligned else array.copy()


def _copied(state):
    return state and {**state, "arrays": [a.copy() for a in state["arrays"]], "t": state["t"].copy()}
