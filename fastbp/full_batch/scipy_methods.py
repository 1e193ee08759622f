"""scipy's methods, which own their loops, run as epochs of a rule."""

from dataclasses import fields

import numpy as np
import scipy.optimize


def scipy_method(method, **arguments):
    """scipy's method as a function (cost, start, callback, options) -> result."""

    def solve(cost, start, callback, options):
        return scipy.optimize.minimize(
            cost, start, jac=True, method=method, callback=callback, options=options, **arguments
        )

    return solve


def iterate(solve, rule, objective, epochs, end_epoch):
    """Run a method of scipy, which owns its loop, as so many epochs; the rule's settings are its options.

    Returns how many epochs are left if the method ended by itself, else 0, and the cost.
    """
    w, last, stopped = objective.parameters, None, False

    def cost(x):
        nonlocal last
        w[:] = x
        value, gradient = objective.value_and_gradient(l1=False)
        if last is None:
            last = value + float((objective.l1 * np.abs(w)).sum())
            if not np.isfinite(last) or not np.isfinite(gradient).all():
                end_epoch(np.nan)
        return value, gradient.astype(np.float64)

    def end_iteration(intermediate_result):
        nonlocal last, stopped
        w[:] = intermediate_result.x
        before, last = last, float(intermediate_result.fun)
        stopped = end_epoch(before)
        if stopped:
            raise StopIteration

    options = {field.name: getattr(rule, field.name) for field in fields(rule)}
    result = solve(cost, w.astype(np.float64), end_iteration, {**options, "maxiter": epochs})
    w[:] = result.x
    return 0 if stopped else epochs - result.nit, last


def iterate_once(solve, rule, objective, epochs, end_epoch):
    """The same; where the method ends by itself there is a last epoch without progress."""
    left, cost = iterate(solve, rule, objective, epochs, end_epoch)
    if left:
        end_epoch(cost)
