"""Fitted estimators to and from scikit-learn's."""

from copy import deepcopy
from typing import Any

from sklearn import neural_network
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import make_constraint
from sklearn.utils.validation import check_is_fitted

from ..estimators.classifier import MLPClassifier, is_multilabel
from ..estimators.fitted import model_of
from ..estimators.regressor import MLPRegressor
from ..layers import Dense, Dropout
from ..losses import HistogramLoss, outputs_per_target

ACTIVATIONS = "identity", "logistic", "tanh", "relu"
# What training leaves behind, under the same names in both libraries.
ATTRIBUTES = (
    "n_features_in_", "n_iter_", "t_", "loss_", "n_outputs_", "out_activation_", "feature_names_in_",
    "classes_", "_label_binarizer", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
)  # fmt: skip


def from_sklearn(mlp: neural_network.MLPClassifier | neural_network.MLPRegressor) -> MLPClassifier | MLPRegressor:
    """A fitted estimator of scikit-learn as one of fastbp.

    Parameters
    ----------
    mlp : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted. It stays as it is.

    Returns
    -------
    mlp : MLPClassifier or MLPRegressor
        With the same parameters, weights (copied) and records, and the same predictions up to rounding. `partial_fit`
        and `fit` with ``warm_start=True`` go on from it, with a fresh state of the optimizer.

    Raises
    ------
    ValueError
        If it is another estimator.
    NotFittedError
        If it is not fitted.

    See Also
    --------
    fastbp.interop.to_sklearn : The way back.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastbp.interop import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> ours = from_sklearn(theirs)
    >>> bool((ours.predict(X) == theirs.predict(X)).all())
    True
    """
    cls: type[MLPClassifier | MLPRegressor]
    if isinstance(mlp, neural_network.MLPClassifier):
        cls = MLPClassifier
    elif isinstance(mlp, neural_network.MLPRegressor):
        cls = MLPRegressor
    else:
        raise ValueError(f"mlp must be an MLPClassifier or MLPRegressor of scikit-learn, got {type(mlp).__name__}")
    check_is_fitted(mlp)
    ours = cls(**mlp.get_params(deep=False))
    _copy_attributes(mlp, ours, [W.copy() for W in mlp.coefs_], [b.copy() for b in mlp.intercepts_])
    return ours


def to_sklearn(mlp: MLPClassifier | MLPRegressor) -> Any:
    """A fitted estimator as one of scikit-learn, that does without fastbp.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
        Fitted, with hidden layers that scikit-learn has: all dense, with one activation among "identity", "logistic",
        "tanh" and "relu".

    Returns
    -------
    mlp : sklearn.neural_network.MLPClassifier or MLPRegressor
        With the same weights (copied) and records, and the same predictions up to rounding. Parameters that it has not,
        or not with this value, are left at their defaults: to train on it may do it in another way.

    Raises
    ------
    ValueError
        If scikit-learn's estimator can't give the same predictions: for other layers, and for the losses "gaussian",
        `Quantile` with several levels, `HistogramLoss`, and of more than two classes "cross_entropy" and
        "squared_error".
    NotFittedError
        If it is not fitted.

    See Also
    --------
    fastbp.interop.from_sklearn : The way back.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp import MLPClassifier
    >>> from fastbp.interop import to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> ours = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> theirs = to_sklearn(ours)
    >>> type(theirs).__module__.partition(".")[0], bool((ours.predict(X) == theirs.predict(X)).all())
    ('sklearn', True)
    """
    if not isinstance(mlp, MLPClassifier | MLPRegressor):
        raise ValueError(f"mlp must be an MLPClassifier or MLPRegressor of fastbp, got {type(mlp).__name__}")
    check_is_fitted(mlp)
    model = model_of(mlp)
    coefs, intercepts = [W.copy() for W in model.weights], [b.copy() for b in model.biases]
    activation = _activation(model)
    if isinstance(mlp, MLPRegressor):
        theirs = neural_network.MLPRegressor()
        same = outputs_per_target(model.loss) == 1 and not isinstance(model.loss, HistogramLoss)
    else:
        theirs = neural_network.MLPClassifier()
        same = mlp.out_activation_ == "softmax" or mlp.n_outputs_ == 1 or is_multilabel(mlp)
    if not same:
        raise ValueError(f"mlp must have a loss whose predictions scikit-learn's estimator makes, got {model.loss!r}")
    _copy_attributes(mlp, theirs, coefs, intercepts)
    if mlp.out_activation_ == "softmax":
        _set_softmax(theirs, model.loss)
    for name, value in mlp.get_params(deep=False).items():
        constraints = map(make_constraint, theirs._parameter_constraints.get(name, []))
        if any(constraint.is_satisfied_by(value) for constraint in constraints):
            setattr(theirs, name, value)
    theirs.set_params(hidden_layer_sizes=tuple(map(len, intercepts[:-1])), activation=activation)
    theirs._no_improvement_count, theirs._random_state = 0, check_random_state(mlp.random_state)
    return theirs


def _activation(model):
    """That of the hidden layers; ValueError if scikit-learn has no such layers."""
    hidden = [layer for layer in model.layers[:-1] if not isinstance(layer, Dropout)]
    units = {layer.activation if type(layer) is Dense else None for layer in hidden}
    if len(units) > 1 or not units <= set(ACTIVATIONS):
        raise ValueError(
            f"mlp must have dense hidden layers with one activation among {ACTIVATIONS} for scikit-learn, got {hidden}"
        )
    return units.pop() if units else "relu"


def _set_softmax(theirs, loss):
    """Make the outputs those that scikit-learn has: none that is fixed at 0, and of two the difference alone."""
    W, b = theirs.coefs_[-1], theirs.intercepts_[-1]
    if getattr(loss, "fixed_logit", False):
        W[:, -1] = b[-1] = 0
    if len(b) == 2:
        theirs.coefs_[-1], theirs.intercepts_[-1] = W[:, 1:] - W[:, :1], b[1:] - b[:1]
        theirs.n_outputs_, theirs.out_activation_ = 1, "logistic"


def _copy_attributes(fitted, new, coefs, intercepts):
    attributes = {name: deepcopy(getattr(fitted, name)) for name in ATTRIBUTES if hasattr(fitted, name)}
    vars(new).update(attributes, coefs_=coefs, intercepts_=intercepts, n_layers_=len(coefs) + 1)
