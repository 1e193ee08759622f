"""Quasi-Newton methods, which estimate the Hessian from the gradients on the way: BFGS and LBFGS, by scipy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from ..checks import check_number, check_size, make_plain
from .rule import FullBatch
from .scipy_methods import iterate_once, scipy_method


@dataclass(frozen=True)
class BFGS(FullBatch):
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno, by scipy.

    For networks of up to a few thousand parameters; it keeps a matrix of their square.

    The inverse of the Hessian is estimated from the gradients on the way: with ``s = w' - w``, ``y = g' - g`` and
    ``rho = 1 / y^T s``, ``B <- (I - rho s y^T) B (I - rho y s^T) + rho s s^T``. A line search along ``-B g`` finds a
    step that meets Wolfe's conditions.

    Parameters
    ----------
    gtol : float, default=1e-5
        Training ends when no component of the gradient is larger.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    LBFGS : For networks of any size.
    Newton : With the Hessian itself.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithm 6.1. Notes 003 (quasi-Newton methods).

    Examples
    --------
    >>> from fastbp import BFGS, Dense, Network
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=BFGS(), epochs=50)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    gtol: float = 1e-5

    needs_derivative = True
    has_matrix = True

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        iterate_once(scipy_method("BFGS"), self, objective, epochs, end_epoch)


@dataclass(frozen=True)
class LBFGS(FullBatch):
    """BFGS with limited memory: the product of inverse Hessian and gradient from the last few steps, by scipy.

    The first rule to try for up to about ten thousand rows. The estimators have it as ``solver="lbfgs"``.

    An L1 penalty is met exactly, weights reach 0: ``w = w+ - w-`` with both bounded below by 0.

    Parameters
    ----------
    maxcor : int, default=10
        Number of steps remembered.
    ftol : float, default=2.2e-9
        Training ends when the cost falls by less than this times ``max(cost before, cost after, 1)``.
    gtol : float, default=1e-5
        Training ends when no component of the (projected) gradient is larger.
    maxls : int, default=20
        Evaluations in a line search at most.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    BFGS : Keeps a whole matrix, for small networks.
    NewtonCG : Fewer iterations where curvature differs much.
    Adam : For large data.

    References
    ----------
    R. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM Journal
    on Scientific Computing 16, 1995. Notes 003 (quasi-Newton methods).

    Examples
    --------
    >>> from fastbp import LBFGS, Dense, Network
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=LBFGS(), epochs=50)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    maxcor: int = 10
    ftol: float = 2.2e-9
    gtol: float = 1e-5
    maxls: int = 20

    def __post_init__(self) -> None:
        make_plain(self)
        check_size("maxcor", self.maxcor)
        check_size("maxls", self.maxls)
        check_number("ftol", self.ftol, "[0, inf)")
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        def solve(cost, start, callback, options):
            return minimize_lbfgs(cost, start, objective.l1, callback, {**options, "maxfun": np.inf})

        iterate_once(solve, self, objective, epochs, end_epoch)


def minimize_lbfgs(cost, start, l1, callback, options):
    """Minimize ``cost(x) + sum(l1 |x|)`` by scipy's L-BFGS-B.

    Where there is an L1 penalty, ``x = x+ - x-``; both are bounded below by 0, which makes the penalty linear.

    Parameters
    ----------
    cost : callable
        From x to value and gradient of the differentiable part.
    start : float64 ndarray of shape (n,)
    l1 : ndarray of shape (n,)
    callback : callable
        Takes an OptimizeResult with `x` and `fun` after each iteration.
    options : dict
        Of scipy's "L-BFGS-B".

    Returns
    -------
    result : scipy.optimize.OptimizeResult
    """
    penalized = l1 > 0
    if not penalized.any():
        return scipy_method("L-BFGS-B")(cost, start, callback, options)
    n, l1 = start.size, l1[penalized]

    def merge(u):
        x = u[:n].copy()
        x[penalized] -= u[n:]
        return x

    def split_cost(u):
        value, gradient = cost(merge(u))
        value += float(l1 @ (u[:n][penalized] + u[n:]))
        negative = l1 - gradient[penalized]
        gradient[penalized] += l1
        return value, np.concatenate([gradient, negative])

    def merged(result):
        both = np.minimum(result.x[:n][penalized], result.x[n:])  # on the way to where one of x+ and x- is 0
        result.fun -= 2 * float(l1 @ both)
        result.x = merge(result.x)
        return result

    def merged_callback(intermediate_result):
        callback(merged(intermediate_result))

    w = start[penalized]
    lower = np.concatenate([np.where(penalized, 0, -np.inf), np.zeros(w.size)])
    start = np.concatenate([np.where(penalized, start.clip(0), start), (-w).clip(0)])
    bounds = scipy.optimize.Bounds(lower, np.inf)
    return merged(scipy_method("L-BFGS-B", bounds=bounds)(split_cost, start, merged_callback, options))
