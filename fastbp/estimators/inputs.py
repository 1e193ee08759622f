"""What the estimators take as X, y and sample weights, and the forms that the core reads."""

import math
from functools import lru_cache
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from .._core import all_finite
from ..checks import NUMBER, check_real
from ..layers import Dense, build

# What the core reads in place; anything else becomes float64.
_DTYPES = {np.dtype(t) for t in ("float64", "float32", "uint8", "bool")}

_FLOAT32, _FLOAT64 = np.dtype("float32"), np.dtype("float64")


def check_X(mlp, X):
    """X to predict from, validated."""
    if is_plain(mlp, X):
        return X
    check_is_fitted(mlp)
    with np.errstate(invalid="ignore"):  # scikit-learn's sum of inf and -inf, before it says that they are there
        X = validate_data(mlp, _given(X), accept_sparse="csr", dtype="numeric", reset=False)
    return _readable(X)


def is_plain(mlp, X):
    """Whether the checks of `check_X` would let X pass as it is.

    They take a few hundred microseconds, the prediction of one row takes one or two. Where elements do not follow each
    other, a sum of squares is finite only if all of them are; it is taken of a few, as it copies them, and if it
    overflows, the checks are asked after all.
    """
    attributes = vars(mlp)
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and 0 < X.size
        and (X.dtype is _FLOAT32 or X.dtype is _FLOAT64)  # which takes a tenth of the time of ==
        and "_bound" in attributes
        and "feature_names_in_" not in attributes
        and X.shape[1] == attributes["n_features_in_"]
        and (all_finite(X) if X.flags.c_contiguous else X.size <= 10_000 and math.isfinite(np.vdot(X, X)))
    )


def labels_of(y):
    """The labels, as an array of numbers if they are objects that are numbers, as a column of a table of several types
    has them. ValueError if they have no order, as some are strings and others numbers or missing."""
    if issparse(y) or (isinstance(y, np.ndarray) and y.dtype != object):
        return y
    try:
        labels = np.asarray(y)
    except ValueError:  # rows of different lengths, which scikit-learn refuses
        return y
    if labels.dtype != object or labels.ndim != 1 or not labels.size:
        return y
    kind = next(kind for kind in (str, NUMBER, type(labels[0])) if isinstance(labels[0], kind))
    other = next((i for i, label in enumerate(labels) if label is None or not isinstance(label, kind)), None)
    if other is None:
        return np.array(labels.tolist()) if kind is NUMBER else y
    got = f"{labels[0]!r} in row 0" + (f" and {labels[other]!r} in row {other}" if other else "")
    raise ValueError(f"y must hold labels that are all strings or all numbers, got {got}")


def of_labels(function, y):
    """What a function of scikit-learn makes of labels."""
    try:
        return function(y)
    except ValueError:
        check_classification_targets(y)  # says more of numbers that are no labels
        raise


def check_X_y(mlp, X, y, reset, finite=True):
    """X and y validated; whether X is finite only if `finite`."""
    if not mlp._y_numeric:
        y = labels_of(y)
    with np.errstate(invalid="ignore"):  # as in `check_X`
        X, y = validate_data(
            mlp,
            _given(X),
            y,
            accept_sparse="csr",
            dtype="numeric",
            reset=reset,
            multi_output=True,
            y_numeric=mlp._y_numeric,
            ensure_all_finite=finite,
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if mlp._y_numeric:
        check_real("y", y, TypeError)
    return _readable(X), y


def takes_sparse(mlp):
    """Whether the first layers multiply X by weights, and do nothing else with it; then X may be sparse."""
    if mlp.hidden_layers is None:
        return True
    n_inputs = vars(mlp).get("n_features_in_", 1009)  # few enough to make layers in no time
    try:
        return _multiply(tuple(mlp.hidden_layers), n_inputs)
    except (TypeError, ValueError):  # no layers, or none for so many inputs, as where they are added to units
        return False


@lru_cache  # scikit-learn asks in each call
def _multiply(layers, n_inputs):
    return build([*layers, Dense(1)], n_inputs).needs_dense_inputs is None


def check_weight(weight, X, name="sample_weight"):
    if weight is None:
        return None
    weight = _check_sample_weight(check_numeric(name, weight), X, dtype=np.float64)
    if (weight < 0).any():
        raise ValueError(f"Negative values in data passed to `{name}`.")
    if not weight.any():  # scikit-learn < 1.9 doesn't say it
        raise ValueError(
            f"Sample weights must contain at least one non-zero number, `{name}` has none."
        )
    return weight


def check_numeric(name, array):
    """What scikit-learn takes for numbers, but for dates and strings: TypeError or ValueError for those."""
    if array is None or isinstance(array, Real) or (isinstance(array, np.ndarray) and array.dtype.kind in "biuf"):
        return array
    _refuse_strings(name, np.asarray(array))
    array = check_array(
        array, dtype="numeric", ensure_2d=False, allow_nd=True, ensure_all_finite=False, ensure_min_samples=0,
        input_name=name,
    )  # fmt: skip
    check_real(name, array, TypeError)
    return array


def _refuse_strings(name, array):
    """Raise ValueError for an array of strings, of which scikit-learn makes numbers in some methods alone."""
    dtype = getattr(array, "dtype", None)
    if getattr(dtype, "kind", None) in ("S", "U"):
        raise ValueError(f"{name} must hold real numbers, could not convert strings of dtype {dtype}")


def _given(X):
    """X before validation; if sparse in a format that has to be changed, in a dtype that holds sums.

    The change adds repeated entries up.
    """
    _refuse_strings("X", X)
    return X.astype(np.float64) if issparse(X) and X.format != "csr" and X.dtype.kind in "biu" else X


def _readable(X):
    """Validated X in a dtype that the core reads; CSR sorted and without repeated indices. Copied only if need be."""
    check_real("X", X, TypeError)
    if X.dtype not in _DTYPES:
        X = X.astype(np.float64)
        assert_all_finite(X.data if issparse(X) else X, input_name="X")  # a longdouble need not be finite here
    if issparse(X) and not X.has_canonical_format:
        X = X.copy() if X.dtype.kind == "f" else X.astype(np.float64)
        X.sum_duplicates()
    return X
