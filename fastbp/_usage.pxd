cdef class Workspace:
    cdef readonly object kept   # what the last `forward` was of, while its activations are in the workspace
    cdef bint running           # whether a run is in the workspace
    cdef long owner             # thread that is in `exclusive`, so many times, since there were so many forks
    cdef Py_ssize_t depth, forks
    cdef int take(self, long thread) except -1


cdef class Running:
    cdef Workspace workspace
