"""Losses: their names, and the targets they take. src_c/kernels_impl.h has the formulas."""

import numpy as np

# Losses computed from logits, and the output unit each brings along.
OUTPUT_UNITS = {"cross_entropy": "logistic", "softmax_cross_entropy": "softmax", "poisson": "exp"}
LOSSES = ("squared_error", *OUTPUT_UNITS)


def check_loss(loss, last_layer):
    """Raise ValueError unless loss is known and fits the output layer."""
    if loss is not None and loss not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES} or None, got {loss!r}")
    if loss in OUTPUT_UNITS and last_layer.activation != "identity":
        raise ValueError(
            f"loss={loss!r} brings its own output unit ({OUTPUT_UNITS[loss]}): the last layer's activation must be "
            f"'identity', got {last_layer.activation!r}"
        )
    if loss == "softmax_cross_entropy" and last_layer.n_units < 2:
        raise ValueError("loss='softmax_cross_entropy' needs at least two outputs, got 1")


def check_targets(loss, y, n_samples, n_outputs):
    """Targets as the core reads them.

    Returns
    -------
    y : ndarray of shape (n_samples, n_outputs) or None
        float32, float64, uint8 or bool.
    labels : int64 ndarray of shape (n_samples,) or None
        Class indices.

    Raises
    ------
    ValueError
        If y has the wrong length, shape, dtype or values. NaN is not looked for in float targets.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y must hold real numbers, got dtype {y.dtype}")
    if y.ndim not in (1, 2) or y.shape[0] != n_samples:
        raise ValueError(f"y must have {n_samples} rows, one for each row of X, got shape {y.shape}")
    if loss == "softmax_cross_entropy" and y.ndim == 1:
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("y must hold class indices, got NaN or infinity")
        labels = np.array(y, dtype=np.int64)  # ours alone: they index memory, and must stay as checked
        if (labels != y).any() or labels.min() < 0 or labels.max() >= n_outputs:
            raise ValueError(f"y must hold class indices from 0 to {n_outputs - 1}, got {np.unique(y)}")
        return None, labels
    if y.shape[1:] != (n_outputs,) and not (y.ndim == 1 and n_outputs == 1):
        raise ValueError(f"y must have shape ({n_samples}, {n_outputs}), got {y.shape}")
    if y.dtype not in (np.float32, np.float64, np.uint8, np.bool_) or not y.flags.aligned:
        y = y.astype(np.float64)
    if loss == "cross_entropy" and y.dtype != np.bool_ and ((y < 0) | (y > 1)).any():
        raise ValueError("y must lie between 0 and 1 for loss='cross_entropy'")
    if loss in ("softmax_cross_entropy", "poisson") and y.dtype.kind == "f" and (y < 0).any():
        raise ValueError(f"y must not be negative for loss={loss!r}")
    return y, None
