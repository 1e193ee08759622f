"""What the estimators take as X, y and sample weights, and the forms that the core reads."""

from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_array

from ..checks import check_real

# What the core reads in place; anything else becomes float64.
_DTYPES = {np.dtype(t) for t in ("float64", "float32", "uint8", "bool")}


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
