"""The network as its users see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..augmentation import ImageAugmentation
from ..averaging import EMA, SWA
from ..hints import Matrix, Outputs, RandomState, Targets
from ..initializers import Initializer
from ..layers import Layer
from ..losses import Loss
from ..pruning import Prune
from . import start, training
from .activations import Activations
from .derivatives import Derivatives
from .description import Description
from .exchange import Exchange
from .history import History
from .model import SETTINGS, Model, layers_of
from .rules import Optimizer

Callback = Callable[[int, History], Any]


class Network(Description, Derivatives, Exchange):
    """A multilayer perceptron.

    For what the estimators don't have: any layers in any order, several heads, custom losses, gradients and Hessians,
    and training step by step.

    Parameters
    ----------
    layers : sequence of layers
        From the first hidden layer to the output layer: `Dense`, `LowRank`, `Sparse`, `WeightNorm`, `SpectralNorm`,
        `BatchNorm`, `LayerNorm`, `GroupNorm`, `RBF`, `Scale`, `PReLU`, `Activation`, `Dropout`, `Periodic`,
        `PiecewiseLinear`, `Residual`, `Parallel`, `Checkpoint`, `Shared` and `Transposed`, perhaps behind an `Embed` or
        a `Standardize`. Each place in the list has weights of its own but for `Shared` ones.
    n_inputs : int
        Number of features.
    loss : str, SoftmaxCrossEntropy, Lp, Huber, Quantile, HistogramLoss, dict of them or None, default="squared_error"
        The cost, averaged over samples (with their weights) and summed over outputs ``j``; of several heads, which the
        last layer has if it is a `Parallel` of a dict, a dict with one for each:

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
        - "perceptron": ``max(0, (1 - 2 y_j) z_j)`` for y 0 or 1 with step outputs. Its derivative with respect to
          ``z_j`` is ``a_j - y_j``, so that gradient descent with batches of 1 is the perceptron's learning rule [2]_,
          which ends without a mistake if a plane separates the classes.

        From "cross_entropy" on, a cost brings its own output unit and is computed from the last layer's ``z``, which
        must have the activation "identity". None is for a custom loss, see `backward` and `step_with`, of all heads.
    l1, l2 : float, default=0.0
        Penalty ``l1 sum|w| + l2/2 sum w^2`` on weights, not biases. Usual values are 1e-6 to 1e-2. The notes'
        ``lambda/n`` is ``l2 = lambda/n``.
    dtype : {"float32", "float64"}, default="float64"
        Of parameters and arithmetic. "float32" is about twice as fast, and enough for most networks.
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

        Biases are 0 but for "sklearn". `init_lsuv` is a rule that needs data. `RBF`, `Scale`
        and `PReLU` have their own start.
    input_dropout : float, default=0.0
        Probability with which each input is set to 0 in training, as `Dense` has it for outputs. X must be dense.
    input_noise : float, default=0.0
        Standard deviation of Gaussian noise added to the inputs in training, for each row of each batch anew (before
        dropout). X must be dense. For a linear network with squared error, the mean over the noise is the cost with
        ``l2 = input_noise^2`` (the notes' Tikhonov regularization, 004); for others it is so to first order in the
        noise's variance, with the derivatives of the outputs with respect to the inputs in the place of the weights
        (C. Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7, 1995).
    ties : sequence of tuple (i, j, strength), default=()
        Penalises the difference between two layers' weights (parameter tying, Notes 004): each tie adds
        ``strength/2 ||W_i - W_j||^2``, squares of all elements, to the penalty, for the weights of two layers of the
        same shape and kind, counted from 0 as `weights` are. The notes' formula, which has no factor, is strength 2.
        Biases are free. A step takes all weights as they were before it.
    loss_weights : dict or None, default=None
        The cost of several heads is the sum of their losses times these weights, in [0, inf): ``C = sum_k w_k C_k``.
        Those that are not in it are 1.
    checkpoint_every : int or None, default=None
        Keep the activations of one layer in that many for backpropagation, and compute the others again, as
        `Checkpoint` does. Training needs less memory and a third more time; the bits are the same. None: keep all.

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        All parameters; layer by layer, weights then biases. Writing to it changes the network.
    weights : tuple of ndarray of shape (n_in, n_out)
        Views of `parameters`, one for each place where the network has weights, in the order of layers. Of an `RBF`,
        its centres, of a `LowRank` U and then V; of `Scale` and `PReLU` factors, (1, n). All places of a `Shared` layer
        have views of the same weights, a `Transposed` one of their transpose.
    biases : tuple of ndarray of shape (n_out,) or None
        Views of `parameters`. Of an `RBF`, the logarithms of its ``beta``; None where there are no biases.
    masks : tuple of ndarray of bool, shape (n_in, n_out), or None
        For each of `weights` whether there is one: it is 0, and remains so, where the layer's mask or pruning says that
        there is none. None: there are all.
    columns : tuple of ndarray of int, shape (fan_in, n_out), or None
        For each of `weights` of a `Sparse` layer the inputs that these are for; None of other layers.
    layer_state : read-only mapping of str to ndarray
        What layers keep and do not learn, by the names of layers and their own, such as "1.mean". The arrays are views
        of what the network has; writing to them changes it.
    l1, l2 : float
        May be set. The other settings are readable as `layers`, `n_inputs`, `loss`, `dtype`, `initializer`,
        `input_dropout`, `input_noise`, `ties`, `loss_weights` and `checkpoint_every`.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    MLPClassifier, MLPRegressor : The same behind scikit-learn's interface.
    Dense : The usual layer, with all units.

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
        self,
        layers: Sequence[Layer],
        *,
        n_inputs: int,
        loss: Loss | Mapping[str, Loss] | None = "squared_error",
        l1: float = 0.0,
        l2: float = 0.0,
        dtype: Literal["float32", "float64"] | type[np.float32] | type[np.float64] = "float64",
        random_state: RandomState = None,
        initializer: Initializer = "sklearn",
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        ties: Sequence[tuple[int, int, float]] = (),
        loss_weights: Mapping[str, float] | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        layers, self._random_state = layers_of(layers), start.random_state_of(random_state)
        self._model = Model(
            layers, n_inputs, loss, l1, l2, dtype, initializer, input_dropout, input_noise, ties, loss_weights,
            checkpoint_every, start.connection_seed(layers, self._random_state),
        )  # fmt: skip
        start.draw(self._model, self._random_state)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_model": self._model.__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        model = state.pop("_model", None)
        if model is None:  # of version 0.1.0, where all this was the network's own
            names = (*SETTINGS, "parameters", "optimizer_state")
            model = {name: state.pop(f"_{name}") for name in names if f"_{name}" in state}
        vars(self).update(state)
        self._model = Model.__new__(Model)
        self._model.__setstate__(model)

    # ---- training ---------------------------------------------------------------------------------------------------

    def init_lsuv(self, X: Matrix, *, n_threads: int | None = None) -> None:
        """New parameters by layer-sequential unit variance, which needs data.

        Orthonormal weights and biases of 0; then each layer's weights, from the first to the last, are divided by the
        standard deviation of its ``z = H W + b`` over all samples and units. Since ``b = 0`` that makes it 1 at once.
        `Shared` weights are those of their first place, tables of `Embed` are drawn by their own rule. The optimizer's
        state is dropped.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Typical inputs, scaled like those to train on; a few hundred rows are enough.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Raises
        ------
        ValueError
            If X does not fit, is not finite, or gives a ``z`` without variance, or if a layer is an `RBF`; the network
            is as it was.

        See Also
        --------
        Network : Its `initializer` needs no data.
        init_centres : For `RBF` layers.

        References
        ----------
        D. Mishkin and J. Matas, "All you need is a good init", ICLR 2016.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(50, "relu")] * 10 + [fastbp.Dense(1)], n_inputs=20, random_state=0)
        >>> X = np.random.default_rng(0).normal(size=(200, 20))
        >>> net.init_lsuv(X)
        >>> round(float(net.activations(X)["9"].z.std()), 6)
        1.0
        """
        start.lsuv(self._model, self._random_state, X, n_threads)

    def init_centres(self, X: Matrix, *, n_threads: int | None = None) -> None:
        """New centres and widths for all `RBF` layers, from data; the other layers keep their parameters.

        From the first layer to the last: centres are rows drawn from the layer's inputs, without replacement if there
        are enough, and ``beta`` is 1 divided by the mean squared distance of inputs and centres. The optimizer's state
        is dropped.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Typical inputs, scaled like those to train on; a few hundred rows are enough. Dense if the first layer is an
            `RBF`.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Raises
        ------
        ValueError
            If X does not fit, is not finite, or gives an `RBF` inputs that are all the same; the network is as it was.

        See Also
        --------
        RBF : The layers that it is for.
        init_lsuv : For layers with weights.

        References
        ----------
        D. Broomhead and D. Lowe, "Multivariable functional interpolation and adaptive networks", Complex Systems 2,
        1988.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X = np.random.default_rng(0).normal(5, 2, size=(200, 3))
        >>> net = fastbp.Network([fastbp.RBF(10), fastbp.Dense(1)], n_inputs=3, random_state=0)
        >>> net.init_centres(X)
        >>> bool(abs(net.weights[0].mean() - 5) < 1)  # centres are rows of X
        True
        """
        start.centres(self._model, self._random_state, X, n_threads)

    def fit(
        self,
        X: Matrix,
        y: Targets,
        *,
        optimizer: Optimizer = "sgd",
        epochs: int = 1,
        batch_size: int | None = None,
        sample_weight: ArrayLike | None = None,
        shuffle: bool = True,
        validation_data: tuple[Matrix, Targets] | tuple[Matrix, Targets, ArrayLike] | None = None,
        early_stopping: int | None = None,
        callback: Callback | Sequence[Callback] | None = None,
        verbose: bool = False,
        n_threads: int | None = None,
        then: Literal["retrain", "continue"] | None = None,
        augmentation: ImageAugmentation | None = None,
        prune: Prune | None = None,
        average: EMA | SWA | None = None,
        progress: bool = False,
    ) -> History:
        """Train from the current parameters, with fresh optimizer state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            float32, float64, uint8 and bool arrays of any strides, memory maps among them, and CSR matrices are read
            in place, a batch at a time; anything else is converted first. X in Fortran order, as a data frame gives it,
            is copied once, to C order, if rows are to be shuffled, unless it has up to 8,192 elements, is a memory map,
            or the copy would take more than a quarter of the memory that is available.
        y : array-like
            Class indices (n_samples,) or probabilities (n_samples, n_outputs), which sum to 1 in each row up to the
            rounding of half precision, for "softmax_cross_entropy"; else
            (n_samples, n_targets), or (n_samples,) for one target. There are as many targets as outputs, but for
            "gaussian" (half as many), several quantiles, and `HistogramLoss` (one). A dict of such for several heads.
        optimizer : str, UpdateRule, SAM or full-batch rule, default="sgd"
            An object, or with default settings its name: "sgd", "adam", "adamw", "rmsprop", "adagrad", "rprop",
            "quickprop", "newton", "newton_cg", "bfgs" or "lbfgs".
            SGD, Adam, AdamW, RMSProp, Adagrad, and SAM with one of them, go through mini-batches; Rprop, Quickprop,
            Newton, NewtonCG, BFGS and LBFGS are full-batch rules, one iteration on all rows an epoch, which end
            training before `epochs` when there is no further progress to make.
        epochs : int, default=1
            How many times to go through the data; ten to a few hundred are usual.
        batch_size : int, default=None
            From 1 (online learning) to n_samples; larger values mean n_samples. None: 32 for mini-batches, and the
            only value for full-batch rules. Larger batches, up to a few hundred rows, take less time for an epoch.
        sample_weight : array-like of shape (n_samples,), default=None
            A batch whose weights sum to zero makes no update.
        shuffle : bool, default=True
            Whether to draw the batches anew each epoch, without replacement. Full-batch rules see all rows anyway.
        validation_data : tuple (X, y) or (X, y, sample_weight), default=None
            Data that are not trained on, whose loss is in the history and decides when to stop early.
        early_stopping : int, default=None
            Stop when the validation loss has not improved for that many epochs, and return to the best parameters. If
            no epoch's is finite, there are none: a ConvergenceWarning says so.
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
        prune : Prune, default=None
            Which weights to make 0 for good, and when. Early stopping counts from the last pruning on. With
            ``then="retrain"`` it must count steps. Not for full-batch rules.
        average : EMA or SWA, default=None
            An average of the parameters that training goes through, which the network has after each epoch, in the end
            and on Ctrl-C: validation, early stopping, callbacks and costs after an epoch are those of the average.
            Training losses are those of the parameters that are learnt. These are kept with the optimizer's state:
            `partial_fit` with the same setting and kind of rule goes on from them, and the average goes on too. `fit`,
            another setting, and a change of the parameters, as by `step` or the return to an earlier epoch, begin a new
            average with the parameters that the network has. `BatchNorm` then takes the mean of what it finds in the
            epoch's batches with the average and without dropout or noise, in a further pass over them; of epochs of
            fewer than 256 rows with batches before. Not for full-batch rules.
        progress : bool, default=False
            Whether to show a bar with epochs, loss and validation loss, in terminals and notebooks; needs tqdm, which
            ``pip install 'fastbp[progress]'`` brings.

        Returns
        -------
        history : History

        Raises
        ------
        ValueError
            If an argument has the wrong shape, dtype or values; the network is as it was.
        FloatingPointError
            If loss or parameters stop being finite; the parameters are those before the call.
        ImportError
            If `progress` is True and tqdm is not installed.
        KeyboardInterrupt
            On Ctrl-C, within a second; the parameters are those after the last whole step.
        RuntimeError
            As in `forward`; the network is as the other call has it.

        See Also
        --------
        partial_fit : Goes on from where the last call ended.
        step_with : Trains with a custom loss.
        predict : Predicts from what was learnt.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> X = np.random.default_rng(0).normal(size=(300, 4))
        >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
        >>> net = fastbp.Network(
        ...     [fastbp.Dense(32, "relu"), fastbp.Dense(2)], n_inputs=4, loss="softmax_cross_entropy", random_state=0)
        >>> history = net.fit(X[:200], y[:200], optimizer=fastbp.Adam(0.01), epochs=200,
        ...                   validation_data=(X[200:], y[200:]), early_stopping=20)
        >>> bool((net.predict(X[200:]).argmax(axis=1) == y[200:]).mean() > 0.8)
        True
        """
        return training.fit(
            self._model, self._random_state, X, y, True, optimizer, epochs, batch_size, sample_weight, shuffle,
            validation_data, early_stopping, callback, verbose, n_threads, then, augmentation, prune, average,
            progress,
        )  # fmt: skip

    def partial_fit(
        self,
        X: Matrix,
        y: Targets,
        *,
        optimizer: Optimizer = "sgd",
        epochs: int = 1,
        batch_size: int | None = None,
        sample_weight: ArrayLike | None = None,
        shuffle: bool = True,
        validation_data: tuple[Matrix, Targets] | tuple[Matrix, Targets, ArrayLike] | None = None,
        early_stopping: int | None = None,
        callback: Callback | Sequence[Callback] | None = None,
        verbose: bool = False,
        n_threads: int | None = None,
        then: Literal["retrain", "continue"] | None = None,
        augmentation: ImageAugmentation | None = None,
        prune: Prune | None = None,
        average: EMA | SWA | None = None,
        progress: bool = False,
    ) -> History:
        """Train on, with the optimizer's state, the place in its schedule, and an average, as the last call left them.

        Newton, NewtonCG, BFGS and LBFGS have no state and start anew. Arguments, results and errors as in `fit`.

        See Also
        --------
        fit : Begins with fresh optimizer state, and has the arguments.
        step_with : A step with a custom loss.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbp
        >>> rng = np.random.default_rng(0)
        >>> net = fastbp.Network([fastbp.Dense(16, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> for _ in range(200):  # rows as they come
        ...     X = rng.normal(size=(32, 2))
        ...     history = net.partial_fit(X, X[:, 0] - X[:, 1], optimizer="adam")
        >>> bool(history.loss[-1] < 0.1)
        True
        """
        return training.fit(
            self._model, self._random_state, X, y, False, optimizer, epochs, batch_size, sample_weight, shuffle,
            validation_data, early_stopping, callback, verbose, n_threads, then, augmentation, prune, average,
            progress,
        )  # fmt: skip

    # ---- prediction -------------------------------------------------------------------------------------------------

    def predict(
        self, X: Matrix, *, order: ArrayLike | None = None, out: Outputs | None = None, n_threads: int | None = None
    ) -> Outputs:
        """Activations of the output layer; with `HistogramLoss` the means of its distributions, one column.

        Of several heads all arrays are in dicts by their names.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            Read in place as in `fit`. NaN is not looked for: it gives NaN. Zeros may be skipped, so that
            it is not certain that zero times a weight that is not finite is NaN.
        order : int64 array, default=None
            Rows to predict; None: all of them.
        out : ndarray of shape (n_samples, n_outputs) or dict of them, default=None
            For the result: C-contiguous, of the network's dtype.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        a : ndarray of shape (n_samples, n_outputs) or dict of them

        Raises
        ------
        ValueError
            If X, order or out does not fit.

        See Also
        --------
        activations : Those of all layers.
        forward : Keeps what `backward` needs, and has no output unit.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(8, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> net.predict([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).shape
        (3, 1)
        """
        return self._model.predict(X, order, out, n_threads)

    def activations(self, X: Matrix, *, n_threads: int | None = None) -> dict[str, Activations]:
        """Weighted inputs and activations of every layer, as in `predict`: without dropout.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_inputs)
            As in `predict`.
        n_threads : int, default=None
            None: those that are free; -1: all.

        Returns
        -------
        activations : dict of Activations
            Tuples ``(z, a)`` of arrays (n_samples, n_units) by the names of layers: of layer 2 "2", of the first layer
            within it "2.0", of a projection "2.projection", of the ``H U`` of a `LowRank` "2.reduced", of the first
            layer of head "kind" "2.kind.0"; layers within a layer come before it. A layer that only connects others has
            what they make for both. An `RBF` has ``z_j = -beta_j |h - c_j|^2`` and ``a = exp(z)``. The output layer's
            ``a`` has the unit that a loss from logits brings along. Without a unit, ``a`` is ``z``, the same array.

        Raises
        ------
        ValueError
            If X does not fit.

        See Also
        --------
        predict : Those of the output layer alone, faster.
        MLPClassifier.transform : Those of a hidden layer, in a pipeline.

        Notes
        -----
        ``z^l = a^(l-1) W^l + b^l`` and ``a^l = f(z^l)`` of notes 001. What they are in training, with dropout, differs.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network([fastbp.Dense(3, "tanh"), fastbp.Dense(1)], n_inputs=2, random_state=0)
        >>> z, a = net.activations([[0.5, 0.1]])["0"]
        >>> a.shape
        (1, 3)
        """
        return self._model.activations(X, n_threads)
