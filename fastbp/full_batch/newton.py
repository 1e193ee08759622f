"""Newton's method, with the Hessian itself or its products alone, and ways out of the saddles where it would end."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from .. import threads
from ..checks import check_number, make_plain
from .rule import FullBatch
from .scipy_methods import iterate, scipy_method

_FLAT = 1e-6  # an eigenvalue, measured by the largest, that is no curvature to follow


@dataclass(frozen=True)
class Newton(FullBatch):
    """Newton's method with the exact Hessian, damped so that it goes downhill wherever it is.

    For networks of up to a few thousand parameters and smooth units, where it takes few iterations to a minimum that is
    exact.

    ``w <- w - (|H| + lambda I)^-1 g``, where ``|H|`` has the eigenvectors of the Hessian ``H`` and the absolute values
    of its eigenvalues: Newton's step where ``H`` is positive definite, a step away from the saddle elsewhere. As with
    Levenberg and Marquardt, a step that does not lower the cost is tried again with a larger ``lambda``, and one that
    does lowers ``lambda`` for the next. On a saddle itself, where ``g`` is 0, the step is along the eigenvector of the
    least eigenvalue. Training ends when no step lowers the cost, or at a flat place that is no saddle.

    Parameters
    ----------
    damping : float, default=1e-3
        ``lambda`` at the start. From 0, it stays 0 as long as Newton's steps lower the cost; eigenvalues that are 0 up
        to rounding then count as infinite (the step is the shortest one).
    factor : float, default=10.0
        By which ``lambda`` is multiplied or divided, above 1.
    gtol : float, default=1e-8
        Flat is where no component of the gradient is larger.

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    NewtonCG : For larger networks: it has products of the Hessian alone.
    BFGS : Estimates the Hessian from gradients.
    Network.hessian : The matrix itself.

    Notes
    -----
    Notes 001 (Hessian technique) have the wrong sign in ``Delta w = H^-1 grad C``, and the right one in the algorithm.
    Notes 003 name what stands against the method: the size of ``H`` (with n parameters an epoch takes some
    n^2 n_samples and 9 n^3 operations: seconds for thousands of parameters), and that ``H`` need not be positive
    definite. Of the kinks of ReLU it knows nothing: there, progress is slow.

    References
    ----------
    D. Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", SIAM 1963. Y. Dauphin and
    others, "Identifying and attacking the saddle point problem in high-dimensional non-convex optimization", NIPS 2014.

    Examples
    --------
    >>> from fastbp import Dense, Network, Newton
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=Newton(), epochs=50)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    damping: float = 1e-3
    factor: float = 10.0
    gtol: float = 1e-8

    needs_derivative = True
    has_matrix = True

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("damping", self.damping, "[0, inf)")
        check_number("factor", self.factor, "(1, inf)")
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        damping = self.damping
        cost, gradient = objective.value_and_gradient()
        for _ in range(epochs):
            H = objective.hessian()
            if not np.isfinite(gradient).all() or not np.isfinite(H).all():
                end_epoch(np.nan)
                return
            values, vectors = _eigh(H.astype(np.float64))
            largest = np.abs(values).max()
            zero = np.finfo(H.dtype).eps * len(H) * largest
            before, new = cost, None
            if np.abs(gradient).max() > self.gtol or values[0] < -zero:
                new, damping = self._step(objective, cost, gradient, values, vectors, zero, damping)
            if new is None and values[0] < -_FLAT * largest:
                new = _leave(objective, cost, vectors[:, 0])
            if new is not None:
                cost, gradient = new
            if end_epoch(before) or new is None:
                return

    def _step(self, objective, cost, gradient, values, vectors, zero, damping):
        """Cost and gradient after a step that lowers the cost, or None where there is none, and the next damping."""
        w, start, slopes = objective.parameters, objective.parameters.copy(), gradient @ vectors
        while True:
            curvature = np.abs(values) + damping
            step = vectors @ np.divide(-slopes, curvature, out=np.zeros_like(slopes), where=curvature > zero)
            w[:] = start + step
            if np.abs(step).max() <= np.finfo(w.dtype).eps * max(1, np.abs(start).max()):
                w[:] = start
                return None, damping
            new = objective.value_and_gradient()
            if new[0] < cost:
                return new, damping / self.factor
            damping = max(damping * self.factor, 1e-6 * np.abs(values).max())


@dataclass(frozen=True)
class NewtonCG(FullBatch):
    """Newton's method without the matrix: conjugate gradients on exact Hessian-vector products, in a trust region.

    For smooth networks of any size, where curvature differs much between directions.

    Each iteration minimizes the quadratic model ``g^T p + 1/2 p^T H p`` over ``|p| <= radius``, roughly and with
    negative curvature followed to the border, by Steihaug's method; the radius follows the quality of the model. An
    iteration whose step is refused leaves the parameters and makes the radius smaller. This is scipy's "trust-ncg".
    Where it ends, at a flat place, Lanczos's method looks for negative curvature. If there is any, the method goes on
    with a hundredth of `gtol`, or, where the gradient is smaller even than that, along the negative curvature: a saddle
    is left as far as the cost tells what is lower, which in float32 may be hidden by rounding.

    Parameters
    ----------
    gtol : float, default=1e-4
        Flat is where the norm of the gradient is smaller.
    initial_trust_radius : float, default=1.0
        Bound of the first step's norm.
    max_trust_radius : float, default=1000.0
        Above `initial_trust_radius`.
    eta : float, default=0.15
        A step is refused when the cost falls by less than this share of what the model promised; in [0, 0.25).

    Raises
    ------
    ValueError
        If a setting is out of range.

    See Also
    --------
    Newton : Few iterations, for small networks.
    LBFGS : Cheaper iterations.
    Network.hessian_vector_product : The product that it is made of.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithms 4.1 and 7.2. The products: see
    `Network.hessian_vector_product`.

    Examples
    --------
    >>> from fastbp import Dense, Network, NewtonCG
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = Network([Dense(4, "tanh"), Dense(1)], n_inputs=2, random_state=0)
    >>> history = net.fit(X, y, optimizer=NewtonCG(), epochs=50)
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    gtol: float = 1e-4
    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15

    needs_derivative = True

    def __post_init__(self) -> None:
        make_plain(self)
        check_number("gtol", self.gtol, "[0, inf)")
        check_number("initial_trust_radius", self.initial_trust_radius, "(0, inf)")
        check_number("max_trust_radius", self.max_trust_radius, f"({self.initial_trust_radius}, inf)")
        check_number("eta", self.eta, "[0, 0.25)")

    def minimize(self, objective: Any, epochs: int, end_epoch: Callable[[float], Any]) -> None:
        at = product = None

        def hessp(x, v):
            nonlocal at, product
            if at is None or not np.array_equal(x, at):
                objective.parameters[:] = at = x.copy()
                product = objective.hessian_product()
            return product(v).astype(np.float64, copy=False)

        w = objective.parameters
        gtol = max(self.gtol, np.finfo(np.float64).tiny)  # scipy divides by the gradient's norm, unless it is below
        lowest = min(gtol, 10 * np.finfo(w.dtype).eps)
        while epochs:
            solve = scipy_method("trust-ncg", hessp=hessp)
            epochs, cost = iterate(solve, replace(self, gtol=gtol), objective, epochs, end_epoch)
            if not epochs:
                return
            downwards = _downwards(functools.partial(hessp, w.astype(np.float64)), w.size)
            gtol = max(gtol / 100, lowest)
            if downwards is not None and np.linalg.norm(objective.value_and_gradient()[1]) > 2 * gtol:
                continue  # the method itself goes down from here
            left = downwards is not None and _leave(objective, cost, downwards)
            if end_epoch(cost) or not left:
                return
            epochs -= 1


def _eigh(H):
    """Eigenvalues and eigenvectors of H; those of a large one in another thread, so that Ctrl-C does not wait for them.

    LAPACK can't be stopped: after Ctrl-C the thread ends by itself, and its result is dropped. Until then BLAS has one
    thread.
    """

    def eigh():
        with threads.team(1, True), np.errstate(all="ignore"):
            return np.linalg.eigh(H)  # without the GIL, which scipy's keeps

    if len(H) < 500:  # some 50 ms
        return eigh()
    result = Future()

    def work():
        try:
            result.set_result(eigh())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    while not result.done():
        wait([result], timeout=0.1)
    return result.result()


def _downwards(product, n):
    """A unit vector along which H, a function of n-vectors, has clearly negative curvature; None if none is found.

    Lanczos's method sees from products alone where H is least. What is smaller than a millionth of H's largest
    eigenvalue counts as 0. It ends when there is a direction, or the least eigenvalue is known, or after 60 products.
    """
    v = np.random.RandomState(0).normal(size=n)
    Q, diagonal, beside = np.empty((min(n, 60), n)), [], [np.linalg.norm(v)]
    for i in range(len(Q)):
        Q[i] = v / beside[-1]
        v = product(Q[i])
        if not np.isfinite(v).all():
            return None
        diagonal.append(Q[i] @ v)
        for _ in range(2):  # once would leave rounding errors, with which eigenvalues come again
            v = v - (Q[: i + 1] @ v) @ Q[: i + 1]
        values, vectors = eigh_tridiagonal(diagonal, beside[1:])
        beside.append(np.linalg.norm(v))
        flat = _FLAT * np.abs(values).max()
        if beside[-1] * abs(vectors[-1, 0]) <= max(abs(values[0]), flat) / 20:
            break
    return vectors[:, 0] @ Q[: i + 1] if values[0] < -flat else None


def _leave(objective, cost, direction):
    """Out of a saddle, where the gradient knows no way: the longest step along a unit vector, forth or back, that
    lowers the cost, among those of 1, 1/2, ... times the parameters' norm.

    Returns the new cost and gradient; None if no step lowers the cost, with the parameters as they were.
    """
    w, start = objective.parameters, objective.parameters.copy()
    length = max(1, np.linalg.norm(start.astype(np.float64)))
    for step in np.outer(length * 0.5 ** np.arange(20), [1, -1]).ravel():
        w[:] = start + step * direction
        lower, gradient = objective.value_and_gradient()
        if lower < cost and np.isfinite(gradient).all():
            return lower, gradient
    w[:] = start
    return None
