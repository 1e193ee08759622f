"""How many threads a call may use; and BLAS held to one while our own team calls it."""

import os
import threading
from contextlib import contextmanager
from numbers import Integral

from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_busy = 0  # threads that running calls were given, at least one for each that is in `exclusive`
_mine = threading.local()  # .reserved: whether one of them is this thread's, by `exclusive`
_blas_users = 0
_blas_limit = None
_controller = None


def default_n_threads():
    """Threads for one call when nothing else runs.

    What scikit-learn would use (OMP_NUM_THREADS, container quotas, joblib workers, threadpoolctl limits), but never
    more than the processors this process may run on.
    """
    n_threads = _openmp_effective_n_threads()
    if hasattr(os, "sched_getaffinity"):
        n_threads = min(n_threads, len(os.sched_getaffinity(0)))
    return n_threads


def check_n_threads(n_threads):
    """Number of threads asked for, or None; negative numbers count down from all, as in joblib.

    Raises
    ------
    ValueError
        If n_threads is 0, too large or no integer.
    """
    if n_threads is None:
        return None
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads == 0 or n_threads > 256:
        raise ValueError(f"n_threads must be None or an integer up to 256 other than 0, got {n_threads!r}")
    n_threads = int(n_threads)
    return n_threads if n_threads > 0 else max(1, default_n_threads() + n_threads + 1)


@contextmanager
def team(n_threads, uses_blas):
    """Context of one call into the core: yields the number of threads it may use.

    By default those that other calls in this process do not use, other fits between two of their calls among them. If
    the call uses BLAS, BLAS has one thread from the first such call to the end of the last.
    """
    global _busy, _blas_users, _blas_limit, _controller
    n_threads = check_n_threads(n_threads)
    reserved = getattr(_mine, "reserved", False)
    with _lock:
        if n_threads is None:
            n_threads = max(1, default_n_threads() - (_busy - reserved))
        if uses_blas and _blas_users == 0:
            _controller = _controller or ThreadpoolController()
            _blas_limit = _controller.limit(limits=1, user_api="blas")
        _busy += n_threads - reserved
        _blas_users += uses_blas
    try:
        yield n_threads
    finally:
        with _lock:
            _busy -= n_threads - reserved
            _blas_users -= uses_blas
            if uses_blas and _blas_users == 0:
                _blas_limit.restore_original_limits()


@contextmanager
def exclusive(network):
    """Context of all that works in a network's workspace: one thread at a time, which may nest it.

    It counts as busy for all of that time, so that other fits do not take its processor between two of its calls.

    Raises
    ------
    RuntimeError
        If another thread of this process is in there.
    """
    global _busy
    me = os.getpid(), threading.get_ident()
    reserve = not getattr(_mine, "reserved", False)
    with _lock:
        owner = network._owner
        if owner is not None and owner != me and owner[0] == me[0]:
            raise RuntimeError("this network is already being trained in another thread")
        network._owner = me
        _busy += reserve
    _mine.reserved = True
    try:
        yield
    finally:
        _mine.reserved = not reserve
        with _lock:
            _busy -= reserve
        network._owner = owner if owner == me else None


def _reset_after_fork():
    """A child has none of its parent's calls running; the lock may have been held by one of them."""
    global _lock, _busy, _blas_users
    _lock = threading.Lock()
    _busy = int(getattr(_mine, "reserved", False))
    if _blas_users:
        _blas_users = 0
        _blas_limit.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
