"""The attributes that record training: losses, validation scores, counts."""

import numpy as np

from ..checks import check_finite

# Attributes that record the training of stochastic solvers; those that grow first.
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
RECORDS = (*CURVES, "best_loss_", "best_validation_score_", "_no_improvement_count")
# Those that training goes on from.
OPTIMIZER = ("_optimizer", "_optimizer_state", "_best")

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_LOSS_NOT_FINITE = (
    "Solver produced a non-finite loss or non-finite parameter weights in {}. X or y may contain large values and need"
    " to be scaled."
)


def begin_curves(mlp, fresh, early_stopping):
    """Give the attributes that record the progress of training their initial values."""
    if fresh or not hasattr(mlp, "loss_curve_"):
        mlp.loss_curve_ = []
        mlp._no_improvement_count = 0
    if early_stopping:
        if fresh or getattr(mlp, "validation_scores_", None) is None:
            mlp.validation_scores_, mlp.validation_loss_curve_ = [], []
            mlp.best_validation_score_ = -np.inf
        mlp.best_loss_ = None
    else:
        if fresh or getattr(mlp, "best_loss_", None) is None:
            mlp.best_loss_ = np.inf
        mlp.validation_scores_ = mlp.validation_loss_curve_ = None
        mlp.best_validation_score_ = None


def end_epoch(mlp, model, loss, held_out=None, n_samples=0, pruning=False):
    """Record the loss and the validation score of an epoch, and whether it improved: while it is pruned, a network is
    not compared with those before, which have more weights."""
    if held_out is None:
        check_loss(model, loss)
        improved = pruning or not loss > mlp.best_loss_ - mlp.tol
        mlp.best_loss_ = np.inf if pruning else min(mlp.best_loss_, loss)
    else:
        X, rows, data, target, weight = held_out
        validation_loss = model.evaluate(data, rows, n_threads=mlp.n_threads) / mlp._loss_scale()
        outputs = model.predict(X, order=rows, n_threads=mlp.n_threads)
        score = mlp._score_outputs(target, outputs, weight)
        improved = pruning or not score < mlp.best_validation_score_ + mlp.tol
        if pruning:
            mlp.best_validation_score_ = -np.inf
        elif score > mlp.best_validation_score_:
            mlp._best = model.snapshot()
            mlp.best_validation_score_ = score
        mlp.validation_loss_curve_.append(validation_loss)
        mlp.validation_scores_.append(score)
    mlp.loss_ = loss
    mlp.loss_curve_.append(loss)
    mlp.n_iter_ += 1
    mlp.t_ += n_samples
    mlp._no_improvement_count = 0 if improved else mlp._no_improvement_count + 1
    if mlp.verbose:
        print(f"Iteration {mlp.n_iter_}, loss = {loss:.8f}")
        if held_out is not None:
            print(f"Validation score: {score:f}")


def check_loss(model, loss):
    """Raise ValueError unless the loss is finite; it says whether the parameters are."""

    def error():
        finite = np.isfinite(model.parameters).all()
        return ValueError(_LOSS_NOT_FINITE.format(model.dtype) if finite else NOT_FINITE)

    check_finite(loss, error)
