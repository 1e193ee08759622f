"""How many threads a call may use; and BLAS held to one while our own team calls it."""

import ctypes
import functools
import os
from numbers import Integral

from joblib import cpu_count
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import ThreadpoolController

from ._usage import Blas, Threads, after_fork, exclusive, n_busy  # noqa: F401

# Functions of BLAS libraries that get and set the number of threads. threadpoolctl finds the libraries, but calls these
# from Python code, in which a signal's handler may raise or call us: with one library of two done, and a lock held.
_BLAS_FUNCTIONS = {
    "openblas": [
        (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}")
        for prefix in ("", "scipy_")
        for suffix in ("", "64_", "_64")
    ],
    "mkl": [("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")],
    "blis": [("bli_thread_get_num_threads", "bli_thread_set_num_threads")],
    "flexiblas": [("flexiblas_get_num_threads", "flexiblas_set_num_threads")],
}
_OPENMP_FUNCTIONS = [("omp_get_max_threads", "omp_set_num_threads")]


def n_processors():
    """Processors that this process may run on: those of its affinity, as far as its container's quota goes."""
    return _processors_of(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None)


@functools.cache
def _processors_of(n_allowed):
    return cpu_count() if n_allowed is None else min(n_allowed, cpu_count())


def default_n_threads():
    """Threads for one call when nothing else runs.

    What scikit-learn would use (OMP_NUM_THREADS, container quotas, joblib workers, threadpoolctl limits), but never
    more than the processors this process may run on.
    """
    return min(_openmp_effective_n_threads(), n_processors())


def check_n_threads(n_threads):
    """Number of threads asked for, or None; negative numbers count down from all, as in joblib.

    Raises
    ------
    ValueError
        If n_threads is 0, too large or no integer.
    """
    if n_threads is None or (type(n_threads) is int and 1 <= n_threads <= 256):
        return n_threads
    if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads == 0 or n_threads > 256:
        raise ValueError(f"n_threads must be None or an integer up to 256 other than 0, got {n_threads!r}")
    n_threads = int(n_threads)
    return n_threads if n_threads > 0 else max(1, default_n_threads() + n_threads + 1)


def team(n_threads, uses_blas):
    """Context of one call into the core: gives the number of threads it may use.

    By default those that other calls in this process do not use, other fits between two of their calls among them, and
    never more than there are processors: members that wait for each other's time there take many times as long. If the
    call uses BLAS, BLAS has one thread from the first such call to the end of the last.
    """
    n_threads = check_n_threads(n_threads)
    most = default_n_threads() if n_threads is None else min(n_threads, n_processors())
    return Threads(most, n_threads is None, _blas() if uses_blas else None)


def alone_with_blas():
    """The same of a call by one thread, which BLAS is to have too."""
    return Threads(1, False, _blas())


@functools.cache
def _blas():
    """The BLAS libraries in this process."""
    libraries = []
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        # with OpenMP each thread has a number of its own, and OpenBLAS takes that
        own = library.internal_api == "openblas" and library.threading_layer == "openmp"
        for names in _OPENMP_FUNCTIONS if own else _BLAS_FUNCTIONS.get(library.internal_api, ()):
            functions = [getattr(library.dynlib, name, None) for name in names]
            if all(functions):
                libraries.append((*(ctypes.cast(f, ctypes.c_void_p).value for f in functions), own))
                break
    return Blas(libraries)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
