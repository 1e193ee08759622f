"""The classifier: labels as the network's targets, class weights, probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from .._arrays import class_indices
from ..averaging import EMA, SWA
from ..hints import Floats, Matrix
from ..layers import Layer, Unit
from ..losses import SoftmaxCrossEntropy
from ..names import CLASSIFIER_LOSSES, ClassifierLossName, ScheduleName
from ..network import Optimizer
from ..pruning import Prune
from ..schedules import Schedule
from .attributes import Seed, Sizes
from .base import BaseMLP, trains_further
from .class_weights import class_weighting
from .inputs import check_numeric, check_X, labels_of, of_labels
from .parameters import set_parameters

Weights = Mapping[Any, float] | Sequence[Mapping[Any, float]] | Literal["balanced"] | None
OUTPUTS_AT_ONCE = 1 << 21  # numbers: of rows enough to repay what each call does for all of them


@lru_cache
def _are_integers(*dtypes):
    """Whether all are of integers, or booleans, that one dtype holds exactly."""
    return {dtype.kind for dtype in dtypes} <= set("biu") and np.result_type(*dtypes).kind != "f"


def _log_softmax(z):
    """In place; for a single row several times as fast as scipy's."""
    z -= z.max(axis=1, keepdims=True)
    z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
    return z


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron classifier, a drop-in for scikit-learn's.

    By default it minimizes the cross-entropy: of softmax outputs for more than two classes, of one logistic output for
    two, of one logistic output per label for multilabel y.

    The same seed gives the same network as in scikit-learn, to rounding. It differs where the arithmetic does:
    ``solver='lbfgs'`` is float32 for float32 X, where scikit-learn goes over to float64. And scikit-learn bounds the
    probabilities in its loss away from 0, so that where a network is sure and wrong, as with features that are not
    scaled, it reports smaller losses and takes them for no improvement: for scikit-learn's wine data as they are, 30
    hidden units and ``random_state=1``, it ends after 12 epochs with a loss of 26, these estimators, whose loss is
    exact, after 85 with 3.5.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer; empty for none. One or two layers of 50 to 500 units are a usual start.
    activation : str, LeakyReLU or ELU, default='relu'
        Activation of the hidden layers: 'identity', 'logistic', 'tanh', 'relu', or another of those that `fastbp.Dense`
        describes (but for 'step', which has no derivative).
    solver : str, UpdateRule, SAM or FullBatch, default='adam'
        Names of stochastic solvers, which go through mini-batches, are 'sgd', 'adam', 'adamw', 'rmsprop' and 'adagrad'.
        The full-batch solvers 'lbfgs', 'rprop', 'quickprop', 'newton', 'newton_cg' and 'bfgs' take all rows at once, an
        iteration an epoch. 'adam' is a good choice for large data, 'lbfgs' for up to a few thousand rows.

        An object such as ``fastbp.RMSProp(0.01, momentum=0.9)`` has all its settings with it, its learning rate among
        them: the parameters below that name solvers are then not used. By name 'rmsprop' and 'adagrad' have the default
        settings but for the learning rate, and full-batch solvers other than 'lbfgs' have them all. ``fastbp.SAM`` of
        an object looks for flat minima. Settings of objects are parameters too, for `set_params` and grid searches:
        ``solver__learning_rate``, ``learning_rate__maximum``, ``activation__slope``, ``loss__delta``.

        With full-batch solvers there are no `partial_fit`, no dropout and no early stopping; all but 'lbfgs', 'rprop'
        and 'quickprop' need ``l1_ratio=0``.
    alpha : float, default=0.0001
        Strength of the penalty on the weights (biases have none). It is divided by the sum of the sample weights of the
        batch. Usual values are 1e-6 to 10, to be searched on a logarithmic scale.
    batch_size : int or 'auto', default='auto'
        Rows of a mini-batch; 'auto' is ``min(200, n_samples)``. 32 to 256 are usual; smaller ones make more steps of an
        epoch, which takes longer.
    learning_rate : {'constant', 'invscaling', 'adaptive'} or Schedule, default='constant'
        Schedule of 'sgd': the initial rate throughout; ``learning_rate_init / (t_ + 1)**power_t`` after each epoch; or
        a fifth of it each time that training has stopped improving. An object such as `fastbp.OneCycle` is for all
        stochastic solvers, and has all its rates with it. One that reduces the rate on a plateau watches the training
        loss, with early stopping the validation loss. Must be 'constant' if `solver` is an object, whose rate may be a
        schedule.
    learning_rate_init : float, default=0.001
        Initial learning rate of the stochastic solvers; not used if `learning_rate` or `solver` is an object. Usual
        values are 0.0001 to 0.01 for 'adam', 0.001 to 0.1 for 'sgd'.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs of stochastic solvers, iterations of full-batch solvers at most.
    shuffle : bool, default=True
        Whether each epoch of a stochastic solver takes the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Source of the initial parameters, the validation split and the order of the rows. An integer makes results
        reproducible.
    tol : float, default=1e-4
        Least improvement of loss or validation score that counts as one; gradient tolerance of 'lbfgs'. Not used by
        full-batch rules that end by themselves, all but 'rprop' and 'quickprop'.
    verbose : bool or int, default=False
        Whether to print the loss of each epoch.
    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the fit before. As with `partial_fit`, the structure is then that of
        the first fit: other `hidden_layer_sizes` or `hidden_layers`, classes or numbers of features or targets, and
        float64 X for a network of float32, are errors.
    momentum : float, default=0.9
        Momentum of 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether the momentum of 'sgd' is Nesterov's.
    early_stopping : bool, default=False
        Whether stochastic solvers watch the score on a validation set rather than the training loss, and end with the
        parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows set aside for validation when `fit` gets no `X_val`.
    beta_1 : float, default=0.9
        Decay rate of the running average of gradients of 'adam' and 'adamw', in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the running average of their squares, in [0, 1).
    epsilon : float, default=1e-8
        Added to the denominator of 'adam' and 'adamw'.
    n_iter_no_change : int or inf, default=10
        Training ends after more than that many epochs in a row without improvement (stochastic solvers, 'rprop',
        'quickprop').
    max_fun : int, default=15000
        Evaluations of the loss by 'lbfgs' at most.
    l1_ratio : float, default=0.0
        Share of L1 in the penalty ``alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|_2^2)``. With 'lbfgs', and with
        rules that have ``proximal=True``, weights reach zero exactly.
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Factors ``{class: weight}`` on the sample weights, of training and of validation rows; 'balanced' makes the
        weights of all classes in the training data sum to the same. For multilabel y a list with one dict ``{0: weight,
        1: weight}`` per label.
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend on it.
    dropout : float, or list or tuple of float, default=0.0
        Probability, in [0, 1), with which stochastic solvers set an output of a hidden unit to zero for a row in
        training: one for all hidden layers, or one for each. Usual values are 0.1 to 0.5. See `fastbp.Dense`.
    loss : {'log_loss', 'cross_entropy', 'squared_error'} or SoftmaxCrossEntropy, default='log_loss'
        The cost, summed over outputs, and with it the output units:

        - 'log_loss': scikit-learn's, as said above;
        - 'cross_entropy' (Notes 001): ``-y_j ln a_j - (1 - y_j) ln(1 - a_j)`` of one logistic output for each of more
          than two classes; otherwise the same as 'log_loss';
        - 'squared_error' (the quadratic cost of Notes 001): ``1/2 (y_j - a_j)^2`` of the same logistic outputs as for
          'cross_entropy', with y 1 for the row's class and 0 for the others;
        - `fastbp.SoftmaxCrossEntropy` with its `label_smoothing` and `fixed_logit`: of one softmax output for each
          class, also if there are two. Not for multilabel y.
    hidden_layers : list or tuple of layers or None, default=None
        The hidden layers themselves, of any kind that `fastbp.Network` takes, instead of what `hidden_layer_sizes`,
        `activation` and `dropout` describe, which must have their defaults then. The output layer, a `fastbp.Dense`,
        comes after them. Their settings are parameters too, for `set_params` and grid searches:
        ``hidden_layers__0__n_units``, ``hidden_layers__1__layers__0__dropout``. `l1` and `l2` of a layer count instead
        of its shares of `alpha`, and divided as it is; dropout and `max_norm` are for stochastic solvers. Sparse X is
        for layers that begin with a `fastbp.Dense`.
    average : EMA or SWA or None, default=None
        An average of the parameters that a stochastic solver goes through, `fastbp.EMA` over steps or `fastbp.SWA` over
        epochs, which the network has after each epoch and in the end: scores of early stopping and `coefs_` are those
        of the average, `loss_curve_` is not. `partial_fit` goes on from the parameters that are learnt, and with the
        average, unless the ones in `coefs_` were changed; with `warm_start`, `fit` goes on from `coefs_`.
    prune : Prune or None, default=None
        Makes the smallest weights 0 for good while a stochastic solver trains, more and more of them, `fastbp.Prune`.
        It must be over before `max_iter` epochs are; until then no epoch counts as the best, and none as one without
        improvement.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer. They are live: what is assigned or written to them counts. With `hidden_layers` they are
        those of each place that has some, in the order of the layers, as in `fastbp.Network`: shared ones are there for
        each of their places, transposed where they are so.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer, or place; None for a projection, which has none.
    loss_ : float
        Training loss of the last epoch, including the penalty; with 'lbfgs' that at the end.
    loss_curve_ : list of float
        Training loss of each epoch, before its updates (not with 'lbfgs'). A full-batch rule that ends by itself ends
        with an epoch that made no progress, whose loss is that at the end.
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
        Epochs, or iterations of full-batch solvers, of the last call.
    t_ : int
        Training rows seen by stochastic solvers, counting repetitions.
    n_layers_ : int
        Number of layers including input and output; layers within one of `hidden_layers` are not counted.
    n_outputs_ : int
        Number of output units.
    out_activation_ : str
        Activation of the output units.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X, when all are strings.

    See Also
    --------
    MLPRegressor : For targets that are numbers.
    Network : The network itself, for full control: custom losses, several heads, gradients.
    Whitening : Scales features and takes correlations out, which speeds training up.

    Examples
    --------
    >>> from fastbp import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier(random_state=0).fit(X[:1000], y[:1000])
    >>> clf.score(X[1000:], y[1000:]) > 0.9
    True
    """

    loss: ClassifierLossName | SoftmaxCrossEntropy
    class_weight: Weights
    classes_: NDArray[Any]

    _y_numeric = False
    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFIER_LOSSES)), SoftmaxCrossEntropy],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sizes = (100,),
        activation: Unit = "relu",
        *,
        solver: Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: ScheduleName | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Seed = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        l1_ratio: float = 0.0,
        class_weight: Weights = None,
        n_threads: int | None = None,
        dropout: float | Sequence[float] = 0.0,
        loss: ClassifierLossName | SoftmaxCrossEntropy = "log_loss",
        hidden_layers: Sequence[Layer] | None = None,
        average: EMA | SWA | None = None,
        prune: Prune | None = None,
    ) -> None:
        set_parameters(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = not isinstance(self.loss, SoftmaxCrossEntropy)
        return tags

    @trains_further
    def partial_fit(
        self,
        X: Matrix,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: Matrix | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
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

        See Also
        --------
        fit : Trains until there is no more improvement.
        Network.partial_fit : The same of a network, with any loss.

        Examples
        --------
        >>> import numpy as np
        >>> from fastbp import MLPClassifier
        >>> rng, clf = np.random.default_rng(0), MLPClassifier(16, learning_rate_init=0.01, random_state=0)
        >>> for _ in range(50):  # batches as they come
        ...     X = rng.normal(size=(32, 2))
        ...     clf = clf.partial_fit(X, X[:, 0] > X[:, 1], classes=[False, True])
        >>> clf.predict([[2.0, 0.0], [0.0, 2.0]])
        array([ True, False])
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use"
                " 'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y) on"
                " a large enough sample of y, and pass the result as a dict."
            )
        y = labels_of(y)
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation, incremental=True)

    def _encode(self, y, incremental):
        """Class indices (softmax), or booleans of shape (n_samples, n_outputs) (logistic)."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = of_labels(LabelBinarizer().fit, y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            classes = of_labels(unique_labels, y)
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
        exact = y.ndim == 1 and _are_integers(y.dtype, self.classes_.dtype)
        if not (exact and np.isin(y, self.classes_).all()):
            classes = of_labels(unique_labels, y)
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

    def _encode_plain(self, y):
        ours, indices = self.classes_, None
        if y.ndim != 1 or not (_are_integers(y.dtype, ours.dtype) or y.dtype.kind == ours.dtype.kind == "U"):
            return None
        if ours.dtype.kind != "U" and ours[0] == 0 and ours[-1] == len(ours) - 1:  # their own, as they ascend
            indices = class_indices(y, len(ours))
        if indices is None:
            indices = ours.searchsorted(y)
            if np.count_nonzero(ours.take(indices, mode="clip") != y):
                return None
        if self.out_activation_ == "softmax":
            return indices.astype(np.int64, copy=False)
        return indices.astype(bool)[:, np.newaxis] if self._label_binarizer.y_type_ == "binary" else None

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
        kind = self._label_binarizer.y_type_
        return class_weighting(self.class_weight, self.classes_, kind, target, weight)

    def _score_outputs(self, target, outputs, weight):
        if target.ndim == 1:
            hits = outputs.argmax(axis=1) == target
        elif self._is_multiclass():
            hits = outputs.argmax(axis=1) == target.argmax(axis=1)
        else:
            hits = ((outputs > 0.5) == target).all(axis=1) | (len(self.classes_) == 1)
        return float(np.average(hits, weights=weight))

    def predict(self, X: Matrix) -> NDArray[Any]:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,), or 0/1 matrix of shape (n_samples, n_labels)

        See Also
        --------
        predict_proba : How sure the network is.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier(8, solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> clf.predict(X[[0, 50, 100]])
        array([0, 1, 2])
        """
        rows = check_X(self, X)
        model = self._model()
        if self.n_outputs_ > 1 and (self.out_activation_ == "softmax" or self._is_multiclass()):
            if rows.shape[0] * self.n_outputs_ > OUTPUTS_AT_ONCE:
                return self.classes_[self._largest_outputs(model, rows)]
            return self.classes_[model.predict(rows, n_threads=self.n_threads).argmax(axis=1)]
        outputs = model.predict(rows, n_threads=self.n_threads)
        if self.n_outputs_ == 1 and len(self.classes_) == 2:
            return self.classes_[(outputs[:, 0] > 0.5).astype(np.intp)]
        return self._label_binarizer.inverse_transform(outputs)

    def _largest_outputs(self, model, X):
        """Which output of each row is the largest, where all outputs of all rows are not to be there at once."""
        n, n_outputs = X.shape[0], model.outputs[0].n
        step = max(1, OUTPUTS_AT_ONCE // n_outputs)
        outputs, largest = np.empty((min(step, n), n_outputs), model.dtype), np.empty(n, np.intp)
        for i in range(0, n, step):
            rows = X[i : i + step]
            found = model.predict(rows, out=outputs[: rows.shape[0]], n_threads=self.n_threads)
            found.argmax(axis=1, out=largest[i : i + step])
        return largest

    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The accuracy of the predictions; for multilabel y the share of rows with all labels right.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The true labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative.

        Returns
        -------
        score : float

        See Also
        --------
        predict : The labels that it counts.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier(8, solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> clf.score(X, y) > 0.95
        True
        """
        return super().score(X, labels_of(y), check_numeric("sample_weight", sample_weight))

    def predict_proba(self, X: Matrix) -> Floats:
        """Predict probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. Softmax outputs as they are; ``[1 - a, a]`` for one logistic
            output. Of the logistic outputs of more than two classes, each of which estimates the
            probability of its class, the shares in their sum (equal ones if all are 0). For
            multilabel y, of each label for itself.

        See Also
        --------
        predict : The most probable class.
        predict_log_proba : Logarithms, exact where these round to 0.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier(8, solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> clf.predict_proba(X[:1]).round(3)
        array([[1., 0., 0.]])
        """
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        if self.out_activation_ == "logistic" and self._is_multiclass():
            total = outputs.sum(axis=1, keepdims=True)
            return np.divide(outputs, total, out=np.full_like(outputs, 1 / self.n_outputs_), where=total > 0)
        return outputs

    def predict_log_proba(self, X: Matrix) -> Floats:
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict from, scaled as those of `fit`.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Of the probabilities, computed from the last layer's ``z``: finite also where `predict_proba` rounds to 0.

        See Also
        --------
        predict_proba : The probabilities themselves.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastbp import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = MLPClassifier(8, solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
        >>> bool(clf.predict_log_proba(X[:1])[0, 0] > -0.01)
        True
        """
        X = check_X(self, X)
        model = self._model()
        z = model.before_output_unit().predict(X, n_threads=self.n_threads)
        if self.out_activation_ == "softmax":
            if getattr(model.loss, "fixed_logit", False):
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


def is_multilabel(classifier):
    """Whether a fitted classifier tells of each label whether a row has it."""
    return classifier._label_binarizer.y_type_.startswith("multilabel")
