"""The training loops: mini-batches, full-batch rules, and 'lbfgs'."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.optimize import _check_optimize_result

from ..checks import check_in_dtype
from ..full_batch import GradientRule, minimize_lbfgs
from ..network import OptimizerState, check_pruning, is_pruning, train_pruned_epoch
from .callbacks import ReportedObjective
from .optimizer import _Optimizer
from .parameters import full_batch_rule
from .records import OPTIMIZER, RECORDS, begin_curves, check_loss, end_epoch
from .undo import USER


def fit_stochastic(mlp, model, data, order, held_out, incremental, tasks, unseen):
    """Train in epochs. `unseen` is X if nobody has looked yet whether it is finite, else None."""
    fresh = not incremental and not mlp.warm_start
    if not incremental or not hasattr(mlp, "_optimizer"):
        mlp._optimizer = _Optimizer(mlp)
        check_in_dtype(model.dtype, solver=mlp._optimizer.rule)
        mlp.__dict__.pop("_optimizer_state", None)
        model.optimizer_state = None
    elif "_optimizer_state" in vars(mlp):
        model.optimizer_state = OptimizerState.copy_of(vars(mlp).pop("_optimizer_state"))
    begin_curves(mlp, fresh, held_out is not None)
    best = vars(mlp).pop("_best", None)
    best = best if incremental else None
    if held_out is not None:
        # As in scikit-learn, a warm start that never beats the best score of earlier fits keeps
        # the parameters it ends with: that score may be from other data.
        warm = not incremental and mlp.validation_scores_
        mlp._best = model.snapshot() if best is None and not warm else best

    n_samples = len(order)
    if mlp.batch_size == "auto":
        batch_size = min(200, n_samples)
    else:
        if mlp.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. "
                "It is going to be clipped",
                stacklevel=USER,
            )
        batch_size = min(int(mlp.batch_size), n_samples)

    if mlp.prune is not None:
        check_pruning(mlp.prune, mlp.average, n_samples, mlp.max_iter, batch_size, fresh=not incremental)
    mlp.n_iter_, mlp.converged_ = 0, False
    try:
        for _ in range(1 if incremental else mlp.max_iter):
            tasks.begin("epoch")
            if mlp.shuffle and batch_size < n_samples:  # nothing is cut from a single batch
                order = order[mlp._random_state.permutation(n_samples)]
            record, loss = train_epoch(mlp, model, data, order, batch_size)
            if unseen is not None and np.isnan(loss):
                assert_all_finite(unseen, estimator_name=type(mlp).__name__, input_name="X")
            record_epoch(mlp, model, record, batch_size, n_samples, held_out)
            stop = tasks.end()
            look_for_convergence(mlp, held_out)
            if stop or mlp.converged_:
                break
        else:
            if not incremental:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({mlp.max_iter}) reached and "
                    "the optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=USER,
                )
    except KeyboardInterrupt as interrupt:
        if incremental:  # one of a loop of calls, which is to end too
            interrupt.leaves_usable_model = bool(np.isfinite(model.parameters).all())
            raise
        warnings.warn("Training interrupted by user.", stacklevel=USER)

    losses = mlp.loss_curve_[len(mlp.loss_curve_) - mlp.n_iter_ :]
    if losses and not np.isfinite(losses).any():  # with early stopping some may have been
        check_loss(model, losses[-1])
    if held_out is not None and (mlp.converged_ or not incremental):
        best = vars(mlp).pop("_best")
        if best is not None:
            model.restore(best)
        if incremental:
            mlp._no_improvement_count = 0
            if not all(np.isfinite(moments).all() for moments in model.optimizer_state.arrays):
                model.optimizer_state = None  # training diverged after the best epoch


def train_epoch(mlp, model, data, order, batch_size, guarded=False):
    """An epoch of the rule at its present rate: what `Model.train_epoch` returns."""
    optimizer = mlp._optimizer
    arguments = data, order, batch_size, optimizer.rule
    settings = {
        "learning_rate": optimizer.learning_rate, "penalty_over_weight": True, "n_threads": mlp.n_threads,
        "random_state": mlp._random_state, "guarded": guarded, "average": mlp.average,
    }  # fmt: skip
    if mlp.prune is None:
        return model.train_epoch(*arguments, **settings)
    return train_pruned_epoch(model, mlp.prune, *arguments, **settings)


def record_epoch(mlp, model, record, batch_size, n_samples, held_out):
    """Take down an epoch with this record of its batches, and go on in the rule's schedule."""
    scale = mlp._loss_scale()
    if len(record) == 1:  # without arrays, which would take longer than the batch
        loss, penalty, _ = record[0].tolist()
        total = (loss / scale + penalty) * n_samples
    else:
        lengths = np.full(len(record), batch_size)
        lengths[-1] = n_samples - batch_size * (len(record) - 1)
        total = float((record[:, 0] / scale + record[:, 1]) @ lengths)
    pruning = is_pruning(mlp.prune, model.optimizer_state, n_more=1)
    end_epoch(mlp, model, total / n_samples, held_out, n_samples, pruning)
    mlp._optimizer.end_epoch(mlp.t_)
    watched = mlp.loss_ if held_out is None else mlp.validation_loss_curve_[-1]
    model.optimizer_state.end_epoch(mlp._optimizer.rule, watched)


def look_for_convergence(mlp, held_out):
    """Set `converged_`, or lower the rate, where there was no improvement for too long."""
    if mlp._no_improvement_count > mlp.n_iter_no_change:
        watched = "Training loss" if held_out is None else "Validation score"
        message = _no_progress(mlp, watched) if mlp.verbose else ""
        mlp.converged_ = mlp._optimizer.stop(message, mlp.verbose)
        if not mlp.converged_:
            mlp._no_improvement_count = 0


def fit_full_batch(mlp, model, rows, tasks):
    """An iteration of the solver's rule, which ends by itself or without progress, for each epoch."""
    for name in OPTIMIZER:
        vars(mlp).pop(name, None)  # of another solver's fit
    rule, fresh, stopped = full_batch_rule(mlp.solver), not mlp.warm_start, False
    rule.check(model)
    model.optimizer_state = None
    begin_curves(mlp, fresh, early_stopping=False)
    mlp.n_iter_, mlp.converged_ = 0, False

    def end_iteration(loss):
        nonlocal stopped
        tasks.begin("iteration")  # one without an evaluation has not begun yet
        end_epoch(mlp, model, float(loss))
        stopped = tasks.end()
        if isinstance(rule, GradientRule) and mlp._no_improvement_count > mlp.n_iter_no_change:
            mlp.converged_ = True
            if mlp.verbose:
                print(f"{_no_progress(mlp)} Stopping.")
        return stopped or mlp.converged_

    objective = ReportedObjective(model, rows, mlp.n_threads, tasks)
    try:
        rule.train(objective, mlp.max_iter, end_iteration)
        if mlp.n_iter_ < mlp.max_iter and not stopped:
            mlp.converged_ = True
        elif not stopped and not mlp.converged_:
            warnings.warn(
                f"{type(rule).__name__}: Maximum iterations ({mlp.max_iter}) reached and the optimization hasn't"
                " converged yet.",
                ConvergenceWarning,
                stacklevel=USER,
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=USER)
    model.optimizer_state = None


def fit_lbfgs(mlp, model, data, tasks):
    """Minimize mean loss plus penalty."""
    for name in (*RECORDS, *OPTIMIZER):
        vars(mlp).pop(name, None)  # of another solver's fit
    l1, l2 = model.flat_penalties()
    # scikit-learn's value, unlike its gradient, averages squared errors over outputs. That is
    # kept for equal results; L1, which it lacks, has the value that belongs to the gradient.
    scale = 1 if l1.any() else mlp._loss_scale()
    gradient = np.empty_like(model.parameters)
    start = model.parameters.astype(np.float64)
    lowest = np.inf, start
    mlp.n_iter_ = 0

    def cost(x):
        nonlocal lowest
        tasks.begin("iteration")
        model.parameters[:] = x
        value = model.evaluate(data, gradient=gradient, n_threads=mlp.n_threads, batch_statistics=True) / scale
        value += (l2 * x) @ x / 2
        total = value + l1 @ np.abs(x)
        if total < lowest[0]:
            lowest = total, x.copy()
        return value, gradient + l2 * x

    def end_iteration(intermediate_result):
        model.parameters[:] = intermediate_result.x
        mlp.n_iter_ += 1
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {lowest[0]:.8f}")
        if tasks.end():
            raise StopIteration

    stopped = 99  # scipy's status when the callback raises StopIteration
    try:
        options = {"maxfun": mlp.max_fun, "maxiter": mlp.max_iter, "gtol": mlp.tol}
        result = minimize_lbfgs(cost, start, l1, end_iteration, options)
        if result.status != stopped:
            mlp.n_iter_ = _check_optimize_result("lbfgs", result, mlp.max_iter)
        mlp.loss_, mlp.converged_ = float(result.fun), result.status == 0
        model.parameters[:] = result.x
        check_loss(model, mlp.loss_)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=USER)
        mlp.loss_, mlp.converged_ = float(lowest[0]), False
        model.parameters[:] = lowest[1]
    model.renew_statistics(data, n_threads=mlp.n_threads)


def _no_progress(mlp, watched="Training loss"):
    return (
        f"{watched} did not improve more than tol={mlp.tol:f}"
        f" for {mlp.n_iter_no_change} consecutive epochs."
    )
