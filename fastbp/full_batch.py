"""Rules that see all rows at once: immutable settings, and the iteration each makes of gradient and Hessian."""

import functools
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import scipy.optimize
from scipy.linalg import eigh_tridiagonal
from scipy.sparse import issparse

from . import threads
from ._core import Data
from .checks import check_in_dtype, check_number, check_size, make_plain
from .hessian import MAX_PARAMETERS, hessian, hessian_products
from .settings import Settings

_FLAT = 1e-6  # an eigenvalue, measured by the largest, that is no curvature to follow


class Objective:
    """The cost of a network over all rows, as a function of its parameters, which the rules change in place.

    Parameters
    ----------
    net : Network
    rows : tuple
        X, y, labels and sample weights, as `Network._rows` returns them.
    n_threads : int or None

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        The network's own.
    l1, l2 : ndarray of shape (n_parameters,)
        Strength of the penalties on each parameter.
    """

    def __init__(self, net, rows, n_threads=None):
        self.net, self.rows, self.data, self.n_threads = net, rows, Data(*rows), n_threads
        self.parameters = net.parameters
        self.l1, self.l2 = net._flat_penalties()

    def value_and_gradient(self, l1=True):
        """Penalized cost and its flat gradient; without `l1`, those of the differentiable part."""
        gradient = np.empty_like(self.parameters)
        value = self.net._evaluate(self.data, None, gradient, self.n_threads)
        return self.net._penalize(value, gradient, l1)

    def hessian(self, penalty=True):
        """The Hessian at the present parameters."""
        with threads.team(1, True), np.errstate(all="ignore"):
            H = hessian(*self._arguments(self.parameters))
        if penalty:
            H[np.diag_indices_from(H)] += self.l2
            places = self.net._views(np.arange(len(H)))[0]
            for i, j, strength in self.net.ties:
                a, b = places[i].ravel(), places[j].ravel()
                H[a, a] += strength
                H[b, b] += strength
                H[a, b] -= strength
                H[b, a] -= strength
        return H

    def hessian_product(self, penalty=True):
        """The Hessian at the present parameters, as a function from flat array to flat array."""
        with threads.team(1, True), np.errstate(all="ignore"):
            product = hessian_products(*self._arguments(self.parameters.copy()))

        def flat_product(v):
            v = np.asarray(v, self.parameters.dtype)
            with threads.team(1, True), np.errstate(all="ignore"):
                parts = zip(*product(*self.net._views(v)), strict=True)
                Hv = np.concatenate([part.ravel() for pair in parts for part in pair])
                if penalty:
                    Hv += (self.l2 * v).astype(v.dtype)
                    self.net._add_ties(v, Hv)
                return Hv

        return flat_product

    def _arguments(self, parameters):
        activations = [layer.activation for layer in self.net.layers]
        return *self.net._views(parameters), activations, self.net.loss, *self._rows_of_our_own

    @cached_property
    def _rows_of_our_own(self):
        """`rows` for scipy, which does not look where indices of CSR lead to: another thread may write to X."""
        X, *others = self.rows
        return (self.net._check_X(X.copy()) if issparse(X) else X), *others


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


class FullBatch(Settings):
    """What the rules for all rows at once have in common.

    An epoch is one iteration. A rule's ``minimize(objective, epochs, end_epoch)`` changes the objective's parameters,
    calls ``end_epoch(cost before the update)`` after each iteration, and returns when that is true, after so many
    iterations, or after one that could make no progress.
    """

    needs_derivative = False  # everywhere; L1 has none at 0
    has_matrix = False  # of n_parameters x n_parameters
    in_dtype = ()  # see `check_in_dtype`

    def check(self, net):
        """Raise ValueError if the rule cannot train this network."""
        check_in_dtype(net.dtype, optimizer=self)
        name, n = type(self).__name__, net.parameters.size
        bounds = [layer.max_norm for layer in net.layers]
        if any(bounds):
            raise ValueError(
                f"{name} knows no constraints, max_norm of all layers must be None, got {bounds}; SGD, Adam, AdamW, "
                "RMSProp and Adagrad take any"
            )
        if self.needs_derivative and any(l1 for l1, _ in net._penalties):
            raise ValueError(
                f"{name} needs a differentiable penalty, l1 must be 0, got {net._penalties} as (l1, l2) of the layers; "
                "LBFGS takes any"
            )
        if self.has_matrix and n > MAX_PARAMETERS:
            raise ValueError(
                f"{name} is for networks of at most {MAX_PARAMETERS} parameters, got {n}; LBFGS and NewtonCG take any"
            )

    def train(self, objective, epochs, end_epoch):
        """Minimize; whatever ends it, the parameters are those after the last whole iteration."""
        whole = objective.parameters.copy()

        def end_iteration(cost):
            whole[:] = objective.parameters
            stop = end_epoch(cost)
            whole[:] = objective.parameters  # a callback may have changed them
            return stop

        try:
            self.minimize(objective, epochs, end_iteration)
        finally:
            objective.parameters[:] = whole


class GradientRule(FullBatch):
    """A rule that needs one gradient for an update, and keeps two arrays of state."""

    n_states = 2

    def minimize(self, objective, epochs, end_epoch):
        for _ in range(epochs):
            cost, gradient = objective.value_and_gradient()
            with np.errstate(all="ignore"):
                self.update(objective.parameters, gradient, *objective.net._state_of(self))
            if end_epoch(cost) or not gradient.any():
                return


@dataclass(frozen=True)
class Rprop(GradientRule):
    """Resilient backpropagation: each parameter has a step size of its own, and only the gradient's sign counts.

    With ``g'`` the gradient before and the product taken for each parameter,

    - ``g g' > 0``: ``step <- min(eta_plus step, step_max)``, ``w <- w - sign(g) step``;
    - ``g g' < 0``: ``step <- max(eta_minus step, step_min)``, ``w`` stays, and ``g`` is remembered as 0;
    - ``g g' = 0``: ``w <- w - sign(g) step``.

    This is the variant without weight-backtracking (Rprop-), in which the parameter rests for one iteration after a
    change of sign: the one that PyTorch has.

    Parameters
    ----------
    learning_rate : float, default=0.01
        All step sizes at the start.
    etas : tuple of float, default=(0.5, 1.2)
        ``eta_minus`` in (0, 1) and ``eta_plus`` above 1.
    step_sizes : tuple of float, default=(1e-6, 50)
        ``step_min`` and ``step_max``.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    ICNN 1993. C. Igel and M. Hüsken, "Improving the Rprop learning algorithm", NC 2000 (the variants).
    """

    learning_rate: float = 0.01
    etas: tuple = (0.5, 1.2)
    step_sizes: tuple = (1e-6, 50)

    in_dtype = ("learning_rate", "etas", "step_sizes")

    def __post_init__(self):
        make_plain(self)
        check_number("learning_rate", self.learning_rate, "(0, inf)")
        for name in ("etas", "step_sizes"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise ValueError(f"{name} must be a pair of numbers, got {pair!r}")
        check_number("etas[0]", self.etas[0], "(0, 1)")
        check_number("etas[1]", self.etas[1], "(1, inf)")
        check_number("step_sizes[0]", self.step_sizes[0], "(0, inf)")
        check_number("step_sizes[1]", self.step_sizes[1], f"[{self.step_sizes[0]}, inf)")

    def update(self, parameters, gradient, previous, step, t):
        """Update parameters and state (signs before, step sizes, number of updates) in place."""
        if t[0] == 0:
            step.fill(self.learning_rate)
        sign = np.sign(gradient)
        agreement = sign * previous
        step[agreement < 0] *= self.etas[0]
        step[agreement > 0] *= self.etas[1]
        step.clip(*self.step_sizes, out=step)
        sign[agreement < 0] = 0
        parameters -= sign * step
        previous[:] = sign
        t += 1


@dataclass(frozen=True)
class Quickprop(GradientRule):
    """Quickprop: each parameter jumps to the minimum of a parabola through its last two slopes.

    With slope ``s``, slope ``p`` and step ``d`` of the iteration before,

    - ``d = 0``: ``step = -eta s``;
    - otherwise ``step = d s / (p - s)``, but ``mu d`` where that would be more than ``mu`` times as far or uphill (that
      is where ``s / p > mu / (1 + mu)``), and ``-eta s`` is added while ``s`` still has the sign of ``p``.

    Fahlman's weight decay is the network's `l2`.

    Parameters
    ----------
    learning_rate : float, default=0.1
        ``eta``, Fahlman's epsilon.
    max_growth_factor : float, default=1.75
        ``mu``, above 0.

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    S. Fahlman, "An empirical study of learning speed in back-propagation networks", CMU-CS-88-162, 1988. Notes 003.
    """

    learning_rate: float = 0.1
    max_growth_factor: float = 1.75

    in_dtype = ("learning_rate", "max_growth_factor")

    def __post_init__(self):
        make_plain(self)
        check_number("learning_rate", self.learning_rate, "(0, inf)")
        check_number("max_growth_factor", self.max_growth_factor, "(0, inf)")

    def update(self, parameters, gradient, previous, step, t):
        """Update parameters and state (slopes and steps before, number of updates) in place."""
        mu = self.max_growth_factor
        # Slopes along the step before, negative where it led downhill; it was taken downhill, so p < 0. In double, for
        # their products may overflow where the step does not.
        direction = np.sign(step, dtype=np.float64)
        s, p = direction * gradient, direction * previous
        far = s <= mu / (1 + mu) * p
        parabola = step * s / np.where(far, 1, p - s)
        linear = np.where((s < 0) | (direction == 0), -self.learning_rate * gradient, 0)
        step[:] = np.where(far, mu * step, parabola) + linear
        parameters += step
        previous[:] = gradient
        t += 1


@dataclass(frozen=True)
class Newton(FullBatch):
    """Newton's method with the exact Hessian, damped so that it goes downhill wherever it is.

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
    """

    damping: float = 1e-3
    factor: float = 10.0
    gtol: float = 1e-8

    needs_derivative = True
    has_matrix = True

    def __post_init__(self):
        make_plain(self)
        check_number("damping", self.damping, "[0, inf)")
        check_number("factor", self.factor, "(1, inf)")
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective, epochs, end_epoch):
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
    max_trust_radius : float, default=1000.0
        Above `initial_trust_radius`.
    eta : float, default=0.15
        A step is refused when the cost falls by less than this share of what the model promised; in [0, 0.25).

    Raises
    ------
    ValueError
        If a setting is out of range.

    References
    ----------
    J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithms 4.1 and 7.2. The products: see
    `Network.hessian_vector_product`.
    """

    gtol: float = 1e-4
    initial_trust_radius: float = 1.0
    max_trust_radius: float = 1000.0
    eta: float = 0.15

    needs_derivative = True

    def __post_init__(self):
        make_plain(self)
        check_number("gtol", self.gtol, "[0, inf)")
        check_number("initial_trust_radius", self.initial_trust_radius, "(0, inf)")
        check_number("max_trust_radius", self.max_trust_radius, f"({self.initial_trust_radius}, inf)")
        check_number("eta", self.eta, "[0, 0.25)")

    def minimize(self, objective, epochs, end_epoch):
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
            solve = _scipy("trust-ncg", hessp=hessp)
            epochs, cost = _iterate(solve, replace(self, gtol=gtol), objective, epochs, end_epoch)
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


@dataclass(frozen=True)
class BFGS(FullBatch):
    """The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno, by scipy.

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

    References
    ----------
    J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithm 6.1. Notes 003 (quasi-Newton methods).
    """

    gtol: float = 1e-5

    needs_derivative = True
    has_matrix = True

    def __post_init__(self):
        make_plain(self)
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective, epochs, end_epoch):
        _iterate_once(_scipy("BFGS"), self, objective, epochs, end_epoch)


@dataclass(frozen=True)
class LBFGS(FullBatch):
    """BFGS with limited memory: the product of inverse Hessian and gradient from the last few steps, by scipy.

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

    References
    ----------
    R. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM Journal
    on Scientific Computing 16, 1995. Notes 003 (quasi-Newton methods).
    """

    maxcor: int = 10
    ftol: float = 2.2e-9
    gtol: float = 1e-5
    maxls: int = 20

    def __post_init__(self):
        make_plain(self)
        check_size("maxcor", self.maxcor)
        check_size("maxls", self.maxls)
        check_number("ftol", self.ftol, "[0, inf)")
        check_number("gtol", self.gtol, "[0, inf)")

    def minimize(self, objective, epochs, end_epoch):
        def solve(cost, start, callback, options):
            return minimize_lbfgs(cost, start, objective.l1, callback, {**options, "maxfun": np.inf})

        _iterate_once(solve, self, objective, epochs, end_epoch)


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
        return _scipy("L-BFGS-B")(cost, start, callback, options)
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
    return merged(_scipy("L-BFGS-B", bounds=bounds)(split_cost, start, merged_callback, options))


def _scipy(method, **arguments):
    """scipy's method as a function (cost, start, callback, options) -> result."""

    def solve(cost, start, callback, options):
        return scipy.optimize.minimize(
            cost, start, jac=True, method=method, callback=callback, options=options, **arguments
        )

    return solve


def _iterate(solve, rule, objective, epochs, end_epoch):
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


def _iterate_once(solve, rule, objective, epochs, end_epoch):
    """The same; where the method ends by itself there is a last epoch without progress."""
    left, cost = _iterate(solve, rule, objective, epochs, end_epoch)
    if left:
        end_epoch(cost)
