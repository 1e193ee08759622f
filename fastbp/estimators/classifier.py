"""The classifier: labels as the network's targets, class weights, probabilities."""

from functools import partial
from typing import Any

import numpy as np
from scipy.special import log_expit
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from ..checks import check_real
from ..losses import SoftmaxCrossEntropy
from . import quick
from .base import BaseMLP
from .docstrings import AGREEMENT, ATTRIBUTES, AVERAGE, DROPOUT, HIDDEN_LAYERS, PARAMETERS
from .inputs import check_numeric, check_X
from .parameters import set_parameters
from .undo import undone_on_error

OUTPUTS_AT_ONCE = 1 << 21  # numbers: of rows enough to repay what each call does for all of them


def _log_softmax(z):
    """In place; for a single row several times as fast as scipy's."""
    z -= z.max(axis=1, keepdims=True)
    z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
    return z


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = f"""Multilayer perceptron classifier, a drop-in for scikit-learn's.

    By default it minimizes the cross-entropy: of softmax outputs for more than two classes, of one
    logistic output for two, of one logistic output per label for multilabel y.

{AGREEMENT}
    scikit-learn bounds the probabilities in its loss away from 0, so that where a network is sure and
    wrong, as with features that are not scaled, it reports smaller losses and takes them for no
    improvement: for scikit-learn's wine data as they are, 30 hidden units and ``random_state=1``, it
    ends after 12 epochs with a loss of 26, these estimators, whose loss is exact, after 85 with 3.5.

    Parameters
    ----------
{PARAMETERS}
    class_weight : dict, list of dict, 'balanced' or None, default=None
        Factors ``{{class: weight}}`` on the sample weights, of training and of validation rows;
        'balanced' makes the weights of all classes in the training data sum to the same. For
        multilabel y a list with one dict ``{{0: weight, 1: weight}}`` per label.
    n_threads : int or None, default=None
        Threads to use; None for those that are free and worth it, -1 for all. Results don't depend
        on it.
{DROPOUT}
    loss : {{'log_loss', 'cross_entropy', 'squared_error'}} or SoftmaxCrossEntropy, default='log_loss'
        The cost, summed over outputs, and with it the output units:

        - 'log_loss': scikit-learn's, as said above;
        - 'cross_entropy' (Notes 001): ``-y_j ln a_j - (1 - y_j) ln(1 - a_j)`` of one logistic output for
          each of more than two classes; otherwise the same as 'log_loss';
        - 'squared_error' (the quadratic cost of Notes 001): ``1/2 (y_j - a_j)^2`` of the same logistic
          outputs as for 'cross_entropy', with y 1 for the row's class and 0 for the others;
        - `fastbp.SoftmaxCrossEntropy` with its `label_smoothing` and `fixed_logit`: of one softmax output
          for each class, also if there are two. Not for multilabel y.
{HIDDEN_LAYERS}
{AVERAGE}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
{ATTRIBUTES}

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
        **BaseMLP._parameter_constraints,
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
        class_weight=None, n_threads=None, dropout=0.0, loss="log_loss", hidden_layers=None, average=None,
    ):  # fmt: skip
        set_parameters(locals())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = not isinstance(self.loss, SoftmaxCrossEntropy)
        return tags

    @available_if(lambda self: self._check_solver())
    @partial(undone_on_error, shortcut=quick.partial_fit)
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

    def _encode_plain(self, y):
        kinds = {y.dtype.kind, self.classes_.dtype.kind}
        exact = kinds <= set("iub") and np.result_type(y, self.classes_).kind != "f"
        if y.ndim != 1 or not (exact or kinds == {"U"}):
            return None
        indices = np.searchsorted(self.classes_, y)
        if indices.max() >= len(self.classes_) or not (self.classes_[indices] == y).all():
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
        X = check_X(self, X)
        model = self._model()
        if self.n_outputs_ > 1 and (self.out_activation_ == "softmax" or self._is_multiclass()):
            if X.shape[0] * self.n_outputs_ > OUTPUTS_AT_ONCE:
                return self.classes_[self._largest_outputs(model, X)]
            return self.classes_[model.predict(X, n_threads=self.n_threads).argmax(axis=1)]
        outputs = model.predict(X, n_threads=self.n_threads)
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
        return super().score(X, y, check_numeric("sample_weight", sample_weight))

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
