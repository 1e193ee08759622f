"""What estimators record of their training."""

import numpy as np

# Attributes that record the training of stochastic solvers; those that grow first.
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
RECORDS = (*CURVES, "best_loss_", "best_validation_score_", "_no_improvement_count")
OPTIMIZER = ("_optimizer", "_optimizer_state", "_best_parameters")

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_LOSS_NOT_FINITE = (
    "Solver produced a non-finite loss or non-finite parameter weights in {}. X or y may contain large values and need"
    " to be scaled."
)


def check_finite(net, loss):
    """Raise ValueError unless the loss is finite."""
    if not np.isfinite(loss):
        finite = np.isfinite(net.parameters).all()
        raise ValueError(_LOSS_NOT_FINITE.format(net.dtype) if finite else NOT_FINITE)
