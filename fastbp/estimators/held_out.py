"""The validation set of early stopping."""

from typing import NamedTuple

import numpy as np

from .inputs import check_weight, check_X_y


class HeldOut(NamedTuple):
    """Validation set: rows `order` (None for all) of X, and all that belongs to them."""

    X: object
    order: object
    data: object
    target: np.ndarray
    weight: np.ndarray | None


def validation_set(mlp, model, X, y, sample_weight, weigh):
    """The validation set that was given."""
    try:
        X, y = check_X_y(mlp, X, y, reset=False)
        target = mlp._encode_known(y)
        weight = weigh(target, check_weight(sample_weight, X, "sample_weight_val"))
        if X.shape[0] < 2:
            raise ValueError("at least 2 rows are needed, got 1.")
        return HeldOut(X, None, model.check_rows(X, target, weight).data(), target, weight)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X_val, y_val, sample_weight_val: {error}") from error


def hold_out(mlp, X, target, weight, data):
    """Rows to train on, and a validation set split off."""
    from sklearn.model_selection import train_test_split  # which few need, and takes 10 ms

    order, rows = train_test_split(
        np.arange(X.shape[0]),
        random_state=mlp._random_state,
        test_size=mlp.validation_fraction,
        # scikit-learn stratifies for two classes only.
        stratify=target if target.dtype == bool and mlp.n_outputs_ == 1 else None,
    )
    if len(rows) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    if weight is None:
        return order, HeldOut(X, rows, data, target[rows], None)
    if not weight[order].any() or not weight[rows].any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, both among the training"
            " and the validation rows; sample_weight has none in one of them."
        )
    return order, HeldOut(X, rows, data, target[rows], weight[rows])
