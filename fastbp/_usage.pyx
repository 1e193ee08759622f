# cython: language_level=3
"""Who uses what: a network's workspace, processors, and BLAS, which has one thread while a team of ours calls it.

A signal's handler runs between two bytecodes of Python, where it may raise and may call anything. No Python code runs in
the methods below, and they make no objects that the garbage collector would run for: with the GIL, each is one action for
handlers and for other threads. `with` gives a handler no place between __enter__ and the block, or the block and __exit__;
where a version of Python does, what was entered is left when the context is deleted.
"""
cimport cython
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uintptr_t

IN_USE = (
    "this network is being trained or evaluated by another call: until that returns, a signal handler or another thread "
    "can only predict or save"
)

cdef enum: MAX_LIBRARIES = 16

cdef Py_ssize_t _forks = 0      # between the first process and this one,
cdef long _forker = 0           #   the last one by this thread
cdef dict _calls = {}           # Calls of the threads that have any
cdef Blas _blas = None          # that was limited last


cdef class Workspace:
    """What one call at a time works in."""

    cdef int take(self, long thread) except -1:
        """Make the thread the owner, once more if it is that already."""
        if self.depth and self.forks != _forks and self.owner != _forker:  # another thread, which stayed in the parent
            self.depth = self.running = False
        if self.running or self.depth and self.owner != thread:
            raise RuntimeError(IN_USE)
        if self.depth == 0:
            self.owner, self.forks = thread, _forks
        self.depth += 1
        return 0

    def forget(self):
        """Drop what `forward` has kept."""
        self.kept = None


@cython.final
@cython.no_gc
cdef class Running:
    """A run in a workspace, for as long as this object lives."""

    def __cinit__(self, Workspace workspace, kept):
        """kept: what the activations in the workspace will go on being of."""
        if workspace.running:
            raise RuntimeError(IN_USE)
        workspace.running = True
        self.workspace = workspace
        workspace.kept = kept

    def __dealloc__(self):
        if self.workspace is not None:
            self.workspace.running = False


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Calls:
    """What the running calls of a thread have taken."""

    cdef long thread
    cdef Py_ssize_t exclusive   # times that it is in `exclusive`
    cdef Py_ssize_t members     # of its teams, but for the one that `exclusive` has counted
    cdef Py_ssize_t limits      # times that it has limited BLAS,
    cdef int numbers[MAX_LIBRARIES]  # what libraries had before the first of them

    cdef void end(self):
        if not (self.exclusive or self.members or self.limits):
            _calls.pop(self.thread, None)


cdef Calls calls_of(long thread):
    cdef Calls calls = _calls.get(thread)
    if calls is None:
        calls = Calls()
        calls.thread = thread
        _calls[thread] = calls
    return calls


cdef Py_ssize_t busy():
    cdef Calls calls
    cdef Py_ssize_t n = 0
    for calls in _calls.values():
        n += calls.members + (calls.exclusive > 0)
    return n


def n_busy():
    """Threads that running calls were given, at least one for each thread that is in `exclusive`."""
    return busy()


cdef struct Library:
    int (*get)() noexcept
    void (*set)(int) noexcept
    bint own


@cython.final
cdef class Blas:
    """Libraries of BLAS, each as the addresses of two C functions, int (void) and void (int), that get and set its number of
    threads, and whether each thread has a number of its own."""

    cdef Library libraries[MAX_LIBRARIES]
    cdef int numbers[MAX_LIBRARIES]  # before the first call that limits them
    cdef int n

    def __init__(self, libraries):
        cdef Library *library
        for get, set_, own in libraries[:MAX_LIBRARIES]:
            library = self.libraries + self.n
            library.get = <int (*)() noexcept><uintptr_t>get
            library.set = <void (*)(int) noexcept><uintptr_t>set_
            library.own = own
            self.n += 1

    cdef bint is_limited(self):
        """Whether calls of any thread limit it."""
        cdef Calls calls
        for calls in _calls.values():
            if calls.limits:
                return True
        return False

    cdef void limit(self, Calls calls):
        """One thread for all libraries, for a call."""
        global _blas
        cdef bint first = not self.is_limited()
        cdef int i, number
        for i in range(self.n):
            number = self.libraries[i].get()
            if first:
                self.numbers[i] = number
            if calls.limits == 0:
                calls.numbers[i] = number
        calls.limits += 1
        _blas = self
        for i in range(self.n):
            self.libraries[i].set(1)

    cdef void unlimit(self, Calls calls):
        """After the call: the thread's own numbers as they were before its first, all others as before the first of all."""
        cdef int i
        calls.limits -= 1
        for i in range(self.n):
            if self.libraries[i].own and calls.limits == 0:
                self.libraries[i].set(calls.numbers[i])
        self.restore()

    cdef void restore(self):
        cdef int i
        if self.is_limited():
            return
        for i in range(self.n):
            if not self.libraries[i].own:
                self.libraries[i].set(self.numbers[i])


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class exclusive:
    """Context of all that works in a network's workspace: one thread at a time, which may nest it between two runs.

    It counts as busy for all of that time, so that other fits do not take its processor between two of its calls.

    Raises
    ------
    RuntimeError
        If another thread of this process is in there, or a run, which a signal's handler has interrupted.
    """

    cdef Workspace workspace
    cdef Calls calls  # None outside

    def __init__(self, Workspace workspace not None):
        self.workspace = workspace

    def __enter__(self):
        cdef long thread = PyThread_get_thread_ident()
        cdef Calls calls
        self.workspace.take(thread)
        try:
            calls = calls_of(thread)
        except MemoryError:
            self.workspace.depth -= 1
            raise
        calls.exclusive += 1
        self.calls = calls

    def __exit__(self, *error):
        self.leave()

    def __dealloc__(self):
        self.leave()

    cdef void leave(self):
        cdef Calls calls = self.calls
        if calls is not None:
            self.calls = None
            self.workspace.depth -= 1
            calls.exclusive -= 1
            calls.end()


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Threads:
    """Context of a call that may use so many threads, which it gives; if `spare`, only those that other calls do not use.
    Unless it is None, `blas` has one thread from the first such call to the end of the last."""

    cdef Py_ssize_t n_threads, taken
    cdef bint spare
    cdef Blas blas
    cdef Calls calls  # None outside

    def __init__(self, Py_ssize_t n_threads, bint spare, Blas blas):
        self.n_threads, self.spare, self.blas = n_threads, spare, blas

    def __enter__(self):
        cdef Calls calls = calls_of(PyThread_get_thread_ident())
        cdef Py_ssize_t counted = calls.exclusive > 0, n = self.n_threads
        if self.spare:
            n = max(1, n - (busy() - counted))
        self.taken = n - counted
        calls.members += self.taken
        if self.blas is not None:
            self.blas.limit(calls)
        self.calls = calls
        return n

    def __exit__(self, *error):
        self.leave()

    def __dealloc__(self):
        self.leave()

    cdef void leave(self):
        cdef Calls calls = self.calls
        if calls is not None:
            self.calls = None
            calls.members -= self.taken
            if self.blas is not None:
                self.blas.unlimit(calls)
            calls.end()


def after_fork():
    """In a child, which has this thread of its parent's only, and its calls."""
    global _calls, _forks, _forker
    cdef bint limited = _blas is not None and _blas.is_limited()
    cdef Calls calls
    _forks += 1
    _forker = PyThread_get_thread_ident()
    calls = _calls.get(_forker)
    _calls = {} if calls is None else {_forker: calls}
    if limited:
        _blas.restore()
