# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The training step: how the members of the team share a batch, and which kernels they call.

Everything between `Engine`'s methods and the kernels runs without the GIL and is written once for both dtypes: arrays are
`char *`, sizes are in elements, and the kernel table knows the rest. For the time of a run the weights lie in packed stripes
(see kernels.h). A chunk of a batch is, for each member of the team,

    my columns:       A = f(H W + b) of the first, large layers; a barrier after each
    my row blocks:    the same of all other layers, layer by layer; loss and output delta; delta <- (delta W^T) * f'(Z)
    barrier
    my columns:       the deltas of the large layers, from the last one down; a barrier after each
    my weights:       G = H^T delta a panel at a time, then the optimizer on it while it is in cache

Of a layer cut by columns only its member ever touches the weights, so that no cache line of them moves from core to core, and
the next step may begin without waiting for the others: what crosses is activations and deltas, which two chunks in turn keep
on two sides of the workspace.

Where the stripes of the last large layer are few and odd in number, two members have half of the middle one each: Z of that
layer is two sums, over the first and over the second half of the rows of W, which are added up once both are there; of the
middle stripe that is after the barrier, by row blocks.

G = H^T delta of a layer with many columns reads rows of H^T, which the member that computes H also keeps, rather than columns
of H, whose elements lie pages apart.

Where few elements of X are other than 0, as in CSR, images or one-hot codes, the products of the first layer take lists of
those: a member lists the nonzeros of its rows, then those of its columns, and with the dense products' order of summing the
bits are theirs too, unless W is used where it lies.

Each element of each product is one sum in a fixed order, and losses and penalties are added up over blocks cut by the
problem's shape: the bits of the result do not depend on the number of threads. A batch too large for the workspace runs in
chunks whose gradients add up in an array before the update; those of many rows are folded, every FOLDED_ROWS, into a sum whose
rounding error is kept beside it. Clipping by norm needs that array too: each member takes the
norms of its weights' gradients, and after a barrier all add them up in the same order. Max-norm is a pass after the updates,
with a barrier on either side: a column is bounded whole by one member. What ties between layers add to their gradients is
found before the updates, while no weight changes, and is what the sums of these panels begin with.
"""
cimport cython
from cpython.buffer cimport (
    Py_buffer, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY, NAN, isfinite, pow, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from numpy cimport (
    NPY_BOOL, NPY_DOUBLE, NPY_FLOAT, NPY_UINT8, PyArray_BYTES, PyArray_Check, PyArray_DIM, PyArray_DIMS, PyArray_EMPTY,
    PyArray_ISBEHAVED_RO, PyArray_NDIM, PyArray_STRIDE, PyArray_TYPE, import_array, ndarray, npy_intp,
)

import numpy as np

from fastbp._blas cimport gemm


cdef extern from "kernels.h" nogil:
    ctypedef enum Activation:
        IDENTITY, LOGISTIC, TANH, RELU, HARD_TANH, LEAKY_RELU, STEP, SOFTPLUS, ELU, SELU, GELU, SILU
        SOFTMAX, EXP
    ctypedef enum Loss:
        NO_LOSS, SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, POISSON, ABSOLUTE_ERROR, LP, HUBER, QUANTILE
        GAUSSIAN, PERCEPTRON
    ctypedef struct Cost:
        Loss kind
        double parameter
        int fixed_logit
        const double *levels
        ptrdiff_t n_levels
    ctypedef enum Rule:
        GRADIENT_DESCENT, MOMENTUM, NESTEROV, ADAM, ADAMW, ADAGRAD, RMSPROP, RMSPROP_MOMENTUM, RMSPROP_CENTERED
    enum: MAX_STATES
    ctypedef enum DType:
        FLOAT32, FLOAT64, UINT8
    ctypedef enum Reading:
        ROWS, COLUMNS, FAR_ROWS
    ctypedef struct Update:
        Rule rule
        double learning_rate, momentum, beta_1, beta_2, epsilon, l1, l2, scale, clip, decay, proximal
    ctypedef struct Counter:
        uint32_t seed[2]
        uint32_t step, row, stream
    enum: NOISE_STREAM
    enum: AUGMENTATION_STREAM
    ctypedef struct Total:
        double sum, error
    void add_to(Total *, double)
    double value_of(const Total *)
    ctypedef struct Augmentation:
        ptrdiff_t height, width
        double shift, rotation, scale, shear, elastic_alpha, elastic_sigma
    ptrdiff_t augmentation_scratch(const Augmentation *)
    ctypedef struct Strided:
        const char *data
        ptrdiff_t row_stride, column_stride
        DType dtype
    ctypedef struct Csr:
        const char *data
        const char *indices
        const int64_t *indptr
        ptrdiff_t n_columns
        DType dtype
        int wide_indices
    ptrdiff_t columns_below(ptrdiff_t, const int32_t *, ptrdiff_t)
    ctypedef struct Nonzeros:
        ptrdiff_t *begin
        ptrdiff_t *end
        int32_t *columns
        void *values
    ctypedef struct Kernels:
        const char *isa
        size_t itemsize
        ptrdiff_t lanes
        void (*matmul)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, Reading, const void *, ptrdiff_t, ptrdiff_t,
                       const void *, int, void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*pack)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*unpack)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*transpose)(ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (*fill_rows)(ptrdiff_t, ptrdiff_t, const void *, void *, ptrdiff_t) noexcept nogil
        void (*add)(ptrdiff_t, ptrdiff_t, void *, const void *, ptrdiff_t) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const void *, const void *, ptrdiff_t, int, void *) noexcept nogil
        void (*fold)(ptrdiff_t, void *, void *, void *, int, int) noexcept nogil
        void (*gather)(ptrdiff_t, ptrdiff_t, const Strided *, const int64_t *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*gather_csr)(ptrdiff_t, const Csr *, const int64_t *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                           const Nonzeros *) noexcept nogil
        void (*find_nonzeros)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, const Nonzeros *) noexcept nogil
        void (*transpose_nonzeros)(ptrdiff_t, const Nonzeros *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                   const Nonzeros *) noexcept nogil
        void (*nonzeros_matmul)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const Nonzeros *, ptrdiff_t, const void *, ptrdiff_t, ptrdiff_t,
                                const void *, int, void *, ptrdiff_t, ptrdiff_t) noexcept nogil
        void (**activate)(ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, double, void *) noexcept nogil
        void (**derivative)(ptrdiff_t, ptrdiff_t, const void *, void *, ptrdiff_t, double) noexcept nogil
        void (*rbf)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, const void *, ptrdiff_t, ptrdiff_t, const void *, void *,
                    void *, ptrdiff_t) noexcept nogil
        void (*rbf_delta)(ptrdiff_t, ptrdiff_t, const void *, const void *, void *, ptrdiff_t) noexcept nogil
        void (*rbf_centres)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, const void *, void *, ptrdiff_t) noexcept nogil
        void (*rbf_inputs)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, const void *, ptrdiff_t, void *,
                           ptrdiff_t) noexcept nogil
        double (*loss)(const Cost *, ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, const void *, const int64_t *, const double *,
                       double, void *) noexcept nogil
        double (*norm)(const Update *, ptrdiff_t, const void *, const void *) noexcept nogil
        void (*update)(const Update *, ptrdiff_t, void *, const void *, void **, double *) noexcept nogil
        double (*tie)(ptrdiff_t, ptrdiff_t, double, const void *, ptrdiff_t, const void *, ptrdiff_t, void *,
                      ptrdiff_t) noexcept nogil
        int (*bound_columns)(ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, double) noexcept nogil
        int (*all_finite)(ptrdiff_t, const void *) noexcept nogil
        void (*dropout)(ptrdiff_t, ptrdiff_t, double, const Counter *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*add_noise)(ptrdiff_t, ptrdiff_t, double, const Counter *, void *, ptrdiff_t) noexcept nogil
        void (*augment)(ptrdiff_t, const Augmentation *, const Counter *, void *, ptrdiff_t, void *) noexcept nogil
        void (*undo_scale)(ptrdiff_t, double, const void *, void *) noexcept nogil
    const Kernels *fastbp_kernels(const char *isa)
    const char *const *fastbp_isas_built
    const char *const *fastbp_units
    const char *const *fastbp_losses
    const char *const *fastbp_rules

cdef extern from "team.h" nogil:
    ctypedef struct Team:
        pass
    ctypedef void (*TeamTask)(void *, Team *, int, int) noexcept nogil
    int team_run(int n, TeamTask task, void *arg)
    void team_barrier(Team *team)
    double team_clock()

cdef extern from *:
    enum: RELAXED "__ATOMIC_RELAXED"
    Py_ssize_t fetch_add "__atomic_fetch_add"(Py_ssize_t *, Py_ssize_t, int) noexcept nogil

cdef extern from "Python.h":
    int pending_signal "PyErr_CheckSignals"() noexcept
    bint exception_matches "PyErr_ExceptionMatches"(object) noexcept


import_array()

cdef dict numbered(const char *const *names):
    """The numbers of names, in lower case."""
    cdef int i = 0
    cdef dict numbers = {}
    while names[i] != NULL:
        numbers[(<bytes>names[i]).decode().lower()] = i
        i += 1
    return numbers


ACTIVATIONS = numbered(fastbp_units)
ACTIVATIONS["rbf"] = EXP
LOSSES = numbered(fastbp_losses)
LOSSES[None] = NO_LOSS
RULES = numbered(fastbp_rules)

# ---- instruction sets -----------------------------------------------------------------------------------------------

cdef const Kernels *_kernels = NULL


def isas():
    """Names of the instruction sets built, and of those among them that this processor has."""
    cdef const char *const *name = fastbp_isas_built
    built, usable = [], []
    while name[0] != NULL:
        built.append(name[0].decode())
        if fastbp_kernels(name[0]) != NULL:
            usable.append(name[0].decode())
        name += 1
    return built, usable


def choose_isa(name):
    """Use the kernels of the named instruction set (None: the best one) from now on; returns its name."""
    global _kernels
    cdef bytes encoded = (name or "").encode()
    cdef const Kernels *chosen = fastbp_kernels(<const char *>encoded if name else NULL)
    if chosen == NULL:
        built, usable = isas()
        raise ImportError(
            f"FASTBP_ISA must be one of {usable}, got {name!r} (built: {built}; those not listed first need a "
            "processor that has them)"
        )
    _kernels = chosen
    return chosen.isa.decode()


# ---- arrays as the caller has them ----------------------------------------------------------------------------------

cdef class Buffer:
    """An array's memory, borrowed for as long as this object lives."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, array, bint writable=False):
        PyObject_GetBuffer(array, &self.view, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef char *pointer(self):
        return <char *>self.view.buf

    cdef DType dtype(self) except *:
        cdef char code = self.view.format[0] if self.view.format != NULL else c"B"
        if code == c"f":
            return FLOAT32
        if code == c"d":
            return FLOAT64
        if code == c"B" or code == c"?":
            return UINT8
        raise TypeError(f"unsupported buffer format {self.view.format.decode()!r}")

    cdef Strided strided(self) except *:
        cdef Strided s
        s.data = <char *>self.view.buf
        s.row_stride = self.view.strides[0]
        s.column_stride = self.view.strides[1] if self.view.ndim == 2 else self.view.itemsize
        s.dtype = self.dtype()
        return s


cdef int check_vector(Buffer b) except -1:
    """ValueError unless it is what one of the arrays of CSR may be."""
    if b.view.ndim != 1 or b.view.itemsize > 8 or (b.view.shape[0] > 1 and b.view.strides[0] != b.view.itemsize):
        raise ValueError("X must be a valid CSR matrix, got one whose arrays are not contiguous vectors")
    return 0


def checked_bounds(indptr, Py_ssize_t n_rows, Py_ssize_t n):
    """A copy (int64) of the contiguous `indptr` of CSR, ours alone: other threads may write to the original. ValueError unless
    it ascends from 0 to n at most."""
    cdef Buffer b = Buffer(indptr), c
    cdef int64_t *bounds
    cdef int64_t last = 0
    cdef Py_ssize_t i
    cdef bint good
    check_vector(b)
    good = b.view.shape[0] == n_rows + 1 and b.view.itemsize >= 4
    checked = np.empty(n_rows + 1, np.int64)
    c = Buffer(checked, True)
    bounds = <int64_t *>c.pointer()
    for i in range(n_rows + 1 if good else 0):
        bounds[i] = (<const int64_t *>b.pointer())[i] if b.view.itemsize == 8 else (<const int32_t *>b.pointer())[i]
        good = good and bounds[i] >= last
        last = bounds[i]
    if not good or bounds[0] != 0 or last > n:
        raise ValueError("X must be a valid CSR matrix, got one whose indptr is out of bounds")
    return checked


cdef class Data:
    """Training data: X dense or CSR, targets, weights; borrowed, not copied. network.py has checked all of it.

    Another thread may write to what is borrowed: values may be anything, but nothing may lead out of bounds. Of CSR, this has
    the bounds of the rows for itself, and the kernels look at the columns as they read them.

    X : (n, n_features) array of float32, float64, uint8 or bool with any strides, or CSR with ascending columns;
    y : (n, n_outputs) array of the same dtypes, or None; labels : (n,) int64, or None; weights : (n,) float64, or None.
    """

    cdef readonly Py_ssize_t n_rows, n_features
    cdef bint sparse
    cdef Py_ssize_t most, n_nonzeros    # in a row of CSR, in all
    cdef Strided x, y
    cdef Csr csr
    cdef const int64_t *labels
    cdef const double *weights
    cdef list buffers

    def __init__(self, X, y=None, labels=None, weights=None):
        cdef Buffer b
        cdef Py_ssize_t n, i
        self.buffers = []
        self.n_rows, self.n_features = X.shape
        self.sparse = not hasattr(X, "strides")
        if self.sparse:
            b = self.borrow(X.data)
            check_vector(b)
            self.csr.data, self.csr.dtype, n = b.pointer(), b.dtype(), b.view.shape[0]
            b = self.borrow(X.indices)
            check_vector(b)
            self.csr.indices, self.csr.wide_indices, n = b.pointer(), b.view.itemsize == 8, min(n, b.view.shape[0])
            b = self.borrow(checked_bounds(X.indptr, self.n_rows, n))
            self.csr.indptr, self.csr.n_columns = <const int64_t *>b.pointer(), self.n_features
            self.n_nonzeros = self.csr.indptr[self.n_rows]
            for i in range(self.n_rows):
                self.most = max(self.most, self.csr.indptr[i + 1] - self.csr.indptr[i])
        else:
            self.x = self.borrow(X).strided()
        if y is not None:
            self.y = self.borrow(y).strided()
        if labels is not None:
            self.labels = <const int64_t *>self.borrow(labels).pointer()
        if weights is not None:
            self.weights = <const double *>self.borrow(weights).pointer()

    cdef Buffer borrow(self, array):
        cdef Buffer b = Buffer(array)
        self.buffers.append(b)
        return b


# ---- the network as the kernels see it ------------------------------------------------------------------------------

cdef struct Layer:
    Py_ssize_t n_in, n_out
    Py_ssize_t w, b         # offsets of weights and biases in the flat vector
    Activation activation
    bint radial             # radial basis functions: W are centres, b logarithms of beta, d is 2 beta a dC/da
    double parameter        # of the activation
    double l1, l2
    double max_norm         # of columns of W; 0: none
    bint in_place           # W is used where it lies in the flat vector: where it is large and CSR input reads few of its rows
    double dropout          # of the outputs; 0 outside of TRAIN
    Py_ssize_t vectors      # stripes of W
    Py_ssize_t width        # columns of W with those that fill up the last stripe
    Py_ssize_t ld           # distance between rows of a and d
    Py_ssize_t panel        # rows of W whose gradient is computed at once,
    Py_ssize_t group        #   and stripes
    Py_ssize_t n_panels
    Py_ssize_t half         # rows of W that the first of the two parts has which Z is added up from; n_in where Z is one sum
    Py_ssize_t slot         # of the first of its n_panels * vectors penalties, and so many norms
    Py_ssize_t bias_slot    # of the first of its biases' `vectors` norms
    # the workspace
    char *packed            # W (n_in, n_out) in stripes, then b (NULL in PREDICT where W is used as it lies);
    char *state[MAX_STATES] #   and, in the same form, the optimizer's state
    char *g                 #   and the gradient, NULL where it is consumed panel by panel,
    char *sum               #   and where it is added up over many rows, its sum so far and that sum's rounding error
    char *error
    char *pull              # gradient of the penalty for ties at the start of the step, as W lies; NULL where there are none
    char *wt                # W^T (n_out, n_in) in stripes, kept up to date by the updates
    char *a[2]              # activations (rows, n_out) and deltas, on both sides,
    char *d[2]              #   where Z's second sum is until it is added,
    char *slope[2]          #   what derivative takes where a does not tell f'(z), or rbf's Y, else NULL,
    char **a_rows[2]        #   and pointers to the rows of a and d
    char **d_rows[2]
    char *ht[2]             # H^T (n_in, rows), where many products read it, else NULL
    char **ht_rows[2]


cdef struct Tie:            # adds strength/2 |W_i - W_j|^2 to the cost
    int i, j
    double strength
    Py_ssize_t slot         # of the first of its penalties, one for each stripe


cdef enum Mode:
    TRAIN, LOSS_ONLY, GRADIENT, FORWARD, BACKWARD, PREDICT


cdef struct Pace:
    double seconds[2]       # that a step took lately with one member, with all
    double next_trial       # when to try the slower one again


cdef struct Settings:       # of an optimizer, in the words of fastbp/optimizers.py
    Rule rule
    double momentum, dampening, beta_1, beta_2, epsilon, weight_decay, clip_value, clip_norm
    bint proximal


cdef struct Run:
    # the network
    const Kernels *k
    Layer *layers
    int n_layers
    int n_by_columns        # layers, from the first, that are shared by columns; the others are by row blocks
    int sides               # of the workspace
    Cost cost
    Py_ssize_t n_penalties
    Tie *ties               # TRAIN
    int n_ties
    Py_ssize_t n_tie_penalties
    # the data
    bint sparse
    bint direct             # rows of X are used where they lie, without a gather
    bint listed             # the products of the first layer take the nonzeros of X: CSR, or dense X that is mostly zeros
    Py_ssize_t most         # nonzeros in a row,
    Py_ssize_t n_nonzeros   #   and in all: of CSR, of dense X that there may be
    Strided x, y
    Csr csr
    bint has_y
    const int64_t *labels
    const double *weights
    const int64_t *order
    Py_ssize_t n_rows
    # what to do
    Mode mode
    Py_ssize_t batch, chunk, block
    bint shared             # whether row blocks are to be shared among members
    Py_ssize_t window       # rows that a pass by columns works on before it looks for Ctrl-C
    Settings settings
    double input_dropout    # TRAIN
    double input_noise
    Augmentation augmentation   # of height 0 for none
    uint32_t seed[2]
    bint penalty_over_weight
    bint bounded            # some layer has a max_norm
    int64_t t               # optimizer steps made
    # arrays
    char *parameters
    char *gradient          # GRADIENT, BACKWARD: flat
    char *state[MAX_STATES]
    char *input[2]          # workspace, on both sides: gathered rows of X,
    Nonzeros nonzeros[2]    #   the nonzeros of its rows,
    ptrdiff_t *middle[2]    #   where in each the second half of the first layer begins,
    Nonzeros transposed[2]  #   and of its columns
    Py_ssize_t ld_input
    Py_ssize_t ld_transposed    # distance between rows of the layers' H^T
    char *output            # PREDICT, FORWARD: (n_rows, n_out); BACKWARD: dC/da of the last layer
    char *input_gradient    # BACKWARD: (n_rows, n_in) or NULL
    const double *learning_rates  # TRAIN: one for each batch
    double *record
    double loss             # TRAIN: the mean of what `record` has
    Py_ssize_t n_spoilt     # TRAIN: members that have found that the run is no good, in their weights or in the loss,
    bint guarded            #   and whether nothing is written back then
    double *block_loss
    double *penalties
    double *tie_penalties
    bint folds              # whether the gradients of a batch are more than one chain may add up
    double *norms           # of parts of the gradient
    Py_ssize_t n_norms
    char *scratch           # scratch_size bytes for each member
    size_t scratch_size
    # the team
    bint stop
    bint failed             # stopped by a signal's handler that raised something else than KeyboardInterrupt
    Py_ssize_t next_block   # PREDICT: the first that nobody has taken yet
    bint verdict[2]         # whether chunks were stopped, in turn
    int active              # members at work in this segment
    Py_ssize_t segment_begin, segment_end
    double segment_began
    int settled             # segments before this one with as many members; the first has cold caches to fill
    Pace *pace
    double next_check


cdef struct Part:           # a chunk of a batch, as one member sees it
    Run *run
    Team *team
    int member, n_members
    Py_ssize_t first, rows
    Py_ssize_t row          # of the chunk, from which on weights() takes its rows
    Py_ssize_t start        # row where the batch begins
    uint32_t step
    double scale            # of the deltas
    int turn                # 0 and 1, chunk by chunk
    int side                # of the workspace
    bint measuring          # weights() is to find the gradient's norm, not to update
    Py_ssize_t unfolded     # rows whose gradients have been added up since they were last folded into the sum
    bint folding            # weights() is to fold them,
    bint first_fold, last_fold  # for the first time, for the last
    Py_ssize_t pending      # batch whose penalty is still to be recorded, or -1
    char **x_rows           # pointers to the chunk's rows of X
    char *scratch


cdef struct Range:
    Py_ssize_t begin, end


# Rows whose gradients are added up in one chain of chunks; more are folded into a sum whose rounding error is kept.
cdef enum:
    FOLDED_ROWS = 8192



cdef Py_ssize_t n_blocks_of(Py_ssize_t rows, Py_ssize_t most, bint shared) noexcept nogil:
    """Blocks that `rows` rows are cut into, none above `most`; an even number if several members may share them."""
    if rows < 4 or not shared:
        return (rows + most - 1) // most
    return 2 * ((rows + 2 * most - 1) // (2 * most))


cdef inline void barrier(Part *part) noexcept nogil:
    """Of the members at work: all of the team, or one."""
    if part.n_members > 1:
        team_barrier(part.team)


cdef bint interrupted(Run *run, int member) noexcept nogil:
    """Whether to stop; member 0 asks Python every 50 ms."""
    if member == 0 and not run.stop and team_clock() > run.next_check:
        with gil:
            if pending_signal():  # the exception stays set; Engine raises it at the end
                run.failed = not exception_matches(KeyboardInterrupt)
                run.stop = True
        run.next_check = team_clock() + 0.05
    return run.stop


cdef inline Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    return (size + 63) & ~63


cdef inline char *at_offset(char *base, size_t offset) noexcept nogil:
    return base + offset if base != NULL else NULL


cdef inline char *row_of_x(Run *run, Py_ssize_t i) noexcept nogil:
    """Row i of the data, in the order in which it is taken, where it lies."""
    return <char *>run.x.data + (run.order[i] if run.order != NULL else i) * run.x.row_stride


cdef bint lists_repay(Run *run, Py_ssize_t samples) noexcept nogil:
    """Whether products of the first layer with lists of nonzeros are faster than those of X, which is dense, as so many of its
    elements have it.

    In a dense product a vector of W takes half a cycle for each element; in one with lists 1.2 for each nonzero, to which come
    6 for the lists, and for the sums of few vectors that wait for each other.
    """
    cdef Py_ssize_t n = run.layers.n_in, found = 0, i
    cdef uint32_t walk = 0
    cdef const char *x
    if n < 64 or run.layers.radial:
        return False
    for i in range(samples):
        walk += 2654435769U  # 2^32 over the golden ratio: no period that X may have
        x = row_of_x(run, i * run.n_rows // samples) + <Py_ssize_t>(walk * <uint64_t>n >> 32) * run.x.column_stride
        if run.x.dtype == FLOAT32:
            found += (<const float *>x)[0] != 0
        elif run.x.dtype == FLOAT64:
            found += (<const double *>x)[0] != 0
        else:
            found += x[0] != 0
    return found * (12 + 2.4 * run.layers.vectors) < samples * run.layers.vectors


cdef char *place_nonzeros(Nonzeros *x, char *p, Py_ssize_t rows, Py_ssize_t size, size_t itemsize) noexcept nogil:
    """Give a list of so many rows and nonzeros in all its place at p; returns the end of it."""
    x.begin = <ptrdiff_t *>p
    p += aligned(rows * sizeof(ptrdiff_t))
    x.end = <ptrdiff_t *>p
    p += aligned(rows * sizeof(ptrdiff_t))
    x.columns = <int32_t *>p
    p += aligned(size * sizeof(int32_t))
    x.values = p
    return p + aligned(size * itemsize)


cdef inline Range share(Py_ssize_t n, int member, int n_members) noexcept nogil:
    """The member's share of n things."""
    cdef Range r
    r.begin, r.end = n * member // n_members, n * (member + 1) // n_members
    return r


cdef inline bint halved(Layer *layer) noexcept nogil:
    """Whether Z is two sums, so that two members may share the layer's middle stripe."""
    return layer.half < layer.n_in


cdef inline Py_ssize_t cut_of(Layer *layer, int member, int n_members) noexcept nogil:
    """Where the member's share of the layer's columns begins, in half stripes: two members cut the middle one."""
    if halved(layer) and n_members == 2 and member == 1:
        return layer.vectors
    return 2 * (layer.vectors * member // n_members)


cdef Range columns_of(Part *part, Layer *layer, int half) noexcept nogil:
    """Stripes of which the member has the first or the second half of the rows of W."""
    cdef Py_ssize_t begin = cut_of(layer, part.member, part.n_members), end = cut_of(layer, part.member + 1, part.n_members)
    cdef Range r
    r.begin, r.end = (begin + 1 - half) // 2, (end + 1 - half) // 2
    return r


cdef inline void update_transpose(const Kernels *k, Layer *layer, Py_ssize_t v, Py_ssize_t begin, Py_ssize_t m) noexcept nogil:
    """Stripe v and rows begin..begin+m of W to W^T; begin is a multiple of lanes."""
    cdef Py_ssize_t square = k.lanes * k.lanes, stripe = layer.vectors * square
    k.transpose(m, layer.packed + (v * layer.n_in + begin) * k.lanes * k.itemsize, k.lanes,
                layer.wt + (begin // k.lanes * stripe + v * square) * k.itemsize, k.lanes, stripe)


# ---- forward and backward -------------------------------------------------------------------------------------------

cdef void find_rows(Part *part) noexcept nogil:
    """Pointers to the chunk's rows of X, where they lie or where they are gathered."""
    cdef Run *run = part.run
    cdef Py_ssize_t i
    if run.sparse:
        return
    for i in range(part.rows):
        if run.direct:
            part.x_rows[i] = row_of_x(run, part.first + i)
        else:
            part.x_rows[i] = run.input[part.side] + i * run.ld_input * run.k.itemsize


cdef Counter counter_of(Part *part, Py_ssize_t row, uint32_t stream) noexcept nogil:
    """Where the random words of the chunk's row come from. The row counts from the beginning of the batch."""
    cdef Counter c
    c.seed[0], c.seed[1] = part.run.seed[0], part.run.seed[1]
    c.step, c.row, c.stream = part.step, <uint32_t>(part.first - part.start + row), stream
    return c


cdef Py_ssize_t nonzeros_before(Part *part, Py_ssize_t row) noexcept nogil:
    """Nonzeros in the chunk's rows before this one (CSR)."""
    cdef Run *run = part.run
    cdef Py_ssize_t n = 0, i
    if run.order == NULL:
        return run.csr.indptr[part.first + row] - run.csr.indptr[part.first]
    for i in range(part.first, part.first + row):
        n += run.csr.indptr[run.order[i] + 1] - run.csr.indptr[run.order[i]]
    return n


cdef void find_middle(Run *run, Nonzeros *x, ptrdiff_t *middle, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """Where the second half of the first layer begins in the lists of rows row..row+m."""
    cdef ptrdiff_t i
    for i in range(row, row + m):
        middle[i] = x.begin[i] + columns_below(x.end[i] - x.begin[i], x.columns + x.begin[i], run.layers.half)


cdef void gather_rows(Part *part, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """Rows row..row+m of the chunk to the workspace, unless they are read where they lie, or lists of their nonzeros."""
    cdef Run *run = part.run
    cdef Py_ssize_t at = part.first + row
    cdef Counter c
    if run.sparse:
        run.k.gather_csr(m, &run.csr, run.order + at if run.order != NULL else NULL, at, nonzeros_before(part, row),
                         row, &run.nonzeros[part.side])
    elif not run.direct:
        run.k.gather(m, run.layers.n_in, &run.x, run.order + at if run.order != NULL else NULL, at, part.x_rows[row],
                     run.ld_input)
        c = counter_of(part, row, 0)
        if run.augmentation.height > 0:
            run.k.augment(m, &run.augmentation, &c, part.x_rows[row], run.ld_input, part.scratch)
        if run.input_noise > 0:
            run.k.add_noise(m, run.layers.n_in, run.input_noise, &c, part.x_rows[row], run.ld_input)
        if run.input_dropout > 0:
            run.k.dropout(m, run.layers.n_in, run.input_dropout, &c, 0, part.x_rows[row], run.ld_input)
    if run.listed and not run.sparse:
        run.k.find_nonzeros(m, run.layers.n_in, part.x_rows + row, row, &run.nonzeros[part.side])
    if run.listed and halved(run.layers):
        find_middle(run, &run.nonzeros[part.side], run.middle[part.side], row, m)


cdef void transpose_input(Part *part, Layer *layer, const char *h, Py_ssize_t ld, Py_ssize_t row, Py_ssize_t m,
                          Py_ssize_t v0, Py_ssize_t v1) noexcept nogil:
    """H^T of what the layer reads, h from row `row` and vector v0 on with rows ld apart: m rows, vectors v0..v1."""
    cdef const Kernels *k = part.run.k
    cdef Py_ssize_t lanes = k.lanes, ldt = part.run.ld_transposed, v
    for v in range(v0, v1):
        k.transpose(m, h + (v - v0) * lanes * k.itemsize, ld, layer.ht[part.side] + (v * lanes * ldt + row) * k.itemsize,
                    ldt, lanes)


cdef void transpose_nonzeros(Part *part) noexcept nogil:
    """This member's share of the lists of X^T."""
    cdef Run *run = part.run
    cdef Range mine = share(run.layers.n_in, part.member, part.n_members)
    run.k.transpose_nonzeros(part.rows, &run.nonzeros[part.side], 0, mine.begin, mine.end, &run.transposed[part.side])


cdef inline char **input_rows(Part *part, Layer *layer) noexcept nogil:
    """Pointers to the rows of what the layer reads (dense X)."""
    return part.x_rows if layer == part.run.layers else (layer - 1).a_rows[part.side]


cdef inline char *biases_of(const Kernels *k, Layer *layer, Py_ssize_t column) noexcept nogil:
    """b, from a column on, in the packed form."""
    return layer.packed + (layer.n_in * layer.width + column) * k.itemsize


cdef void weighted_input(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m, Range stripes, int half) noexcept nogil:
    """Z = H W + b for rows row..row+m and some stripes. The products with the second half of W go to the deltas' place."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Py_ssize_t column = stripes.begin * k.lanes, n = min(stripes.end * k.lanes, layer.width) - column
    cdef Py_ssize_t ldw = layer.n_out if layer.in_place else k.lanes
    cdef Py_ssize_t stripe = k.lanes if layer.in_place else layer.n_in * k.lanes
    cdef Py_ssize_t begin = layer.half if half else 0, end = layer.n_in if half else layer.half
    cdef char *w = layer.packed + stripes.begin * stripe * k.itemsize
    cdef char *b = NULL if half else biases_of(k, layer, column)
    cdef size_t offset = (row * layer.ld + column) * k.itemsize
    cdef char *z = (layer.d[part.side] if half else layer.a[part.side]) + offset
    cdef Nonzeros x
    if layer.radial:
        k.rbf(m, n, layer.n_in, input_rows(part, layer) + row, w, k.lanes, stripe, b, z,
              at_offset(layer.slope[part.side], offset), layer.ld)
    elif layer == run.layers and run.listed:
        x = run.nonzeros[part.side]
        if half:
            x.begin = run.middle[part.side]
        elif halved(layer):
            x.end = run.middle[part.side]
        k.nonzeros_matmul(m, n, end, &x, row, w, ldw, stripe, b, False, z, layer.ld, k.lanes)
    else:
        k.matmul(m, n, end - begin, input_rows(part, layer) + row, begin,
                 FAR_ROWS if layer == run.layers and run.direct else ROWS, w + begin * k.lanes * k.itemsize, k.lanes, stripe, b,
                 False, z, layer.ld, k.lanes)


cdef void units(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m, Py_ssize_t v0, Py_ssize_t v1) noexcept nogil:
    """A = f(Z) for rows row..row+m and stripes v0..v1."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Py_ssize_t n = min(v1 * k.lanes, layer.width) - v0 * k.lanes
    cdef size_t offset = (row * layer.ld + v0 * k.lanes) * k.itemsize
    cdef char *z = layer.a[part.side] + offset
    cdef char *slope = at_offset(layer.slope[part.side], offset)
    cdef Counter c
    if v0 >= v1:
        return
    if halved(layer):
        k.add(m, n, z, layer.d[part.side] + offset, layer.ld)
    if layer.activation == SOFTMAX:
        n = layer.n_out  # of the row; what fills it up stays 0
    if not layer.radial:
        k.activate[<int>layer.activation](m, n, z, layer.ld, layer.parameter, slope)
    if layer.dropout > 0:
        c = counter_of(part, row, <uint32_t>(layer - run.layers + 1))
        k.dropout(m, n, layer.dropout, &c, v0 * k.lanes, z, layer.ld)
    if layer < run.layers + run.n_layers - 1 and (layer + 1).ht[part.side] != NULL:
        transpose_input(part, layer + 1, z, layer.ld, row, m, v0, v1)


cdef void forward_part(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """A = f(H W + b) for rows row..row+m."""
    cdef Range all_
    all_.begin, all_.end = 0, layer.vectors
    weighted_input(part, layer, row, m, all_, 0)
    if halved(layer):
        weighted_input(part, layer, row, m, all_, 1)
    units(part, layer, row, m, 0, layer.vectors)


cdef void forward_share(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """This member's columns of the same, but for the middle stripe of a layer that has it in halves, which other members may
    have a part of."""
    cdef Range first = columns_of(part, layer, 0), second = columns_of(part, layer, 1)
    cdef Py_ssize_t begin = max(first.begin, second.begin), end = min(first.end, second.end), middle = layer.vectors
    weighted_input(part, layer, row, m, first, 0)
    if halved(layer):
        weighted_input(part, layer, row, m, second, 1)
        middle = layer.vectors // 2
    units(part, layer, row, m, begin, min(end, middle))
    units(part, layer, row, m, max(begin, middle + 1), end)


cdef void times_slope(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m, Py_ssize_t column, Py_ssize_t n) noexcept nogil:
    """delta <- delta * f'(z), for rows row..row+m and n columns from the one given."""
    cdef const Kernels *k = part.run.k
    cdef size_t offset = (row * layer.ld + column) * k.itemsize
    cdef char *a = layer.slope[part.side] if layer.slope[part.side] != NULL else layer.a[part.side]
    if layer.radial:
        k.rbf_delta(m, n, a + offset, biases_of(k, layer, column), layer.d[part.side] + offset, layer.ld)
        return
    if layer.activation == SOFTMAX:
        n = layer.n_out
    k.derivative[<int>layer.activation](m, n, a + offset, layer.d[part.side] + offset, layer.ld, layer.parameter)


cdef double loss_part(Part *part, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """Weighted sum of the losses of rows row..row+m, and the output layer's delta times `scale`."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef Py_ssize_t n = last.n_out, i, at = part.first + row, source
    cdef size_t offset = row * last.ld * k.itemsize
    cdef char *a = last.a[part.side] + offset
    cdef char *d = NULL if run.mode == LOSS_ONLY else last.d[part.side] + offset
    cdef double *weights = <double *>part.scratch
    cdef int64_t *labels = <int64_t *>(part.scratch + run.block * sizeof(double))
    cdef char *y = part.scratch + 2 * run.block * sizeof(double)
    for i in range(m):
        source = <Py_ssize_t>run.order[at + i] if run.order != NULL else at + i
        if run.weights != NULL:
            weights[i] = run.weights[source]
        if run.labels != NULL:
            labels[i] = run.labels[source]
    if run.has_y:
        k.gather(m, n, &run.y, run.order + at if run.order != NULL else NULL, at, y, n)
    cdef double loss = k.loss(&run.cost, m, n, a, last.ld, y if run.has_y else NULL, labels if run.labels != NULL else NULL,
                              weights if run.weights != NULL else NULL, part.scale, d)
    if d != NULL:
        times_slope(part, last, row, m, 0, n)
    return loss


cdef void times_slope_with_dropout(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m, Py_ssize_t column,
                                   Py_ssize_t n) noexcept nogil:
    """delta <- delta * mask / (1 - p) * f'(z), for the same: the mask made again, and f' from what was kept or, a row at a
    time, from f(z) = (1 - p) a (where a was dropped it does not matter)."""
    cdef const Kernels *k = part.run.k
    cdef size_t offset = (row * layer.ld + column) * k.itemsize, ld = layer.ld * k.itemsize
    cdef char *a = layer.a[part.side] + offset
    cdef char *d = layer.d[part.side] + offset
    cdef Counter c = counter_of(part, row, <uint32_t>(layer - part.run.layers + 1))
    cdef Py_ssize_t i
    k.dropout(m, n, layer.dropout, &c, column, d, layer.ld)
    if layer.slope[part.side] != NULL:
        times_slope(part, layer, row, m, column, n)
        return
    for i in range(m):
        k.undo_scale(n, layer.dropout, a + i * ld, part.scratch)
        k.derivative[<int>layer.activation](1, n, part.scratch, d + i * ld, layer.ld, layer.parameter)


cdef void backward_part(Part *part, Layer *layer, Py_ssize_t row, Py_ssize_t m, Py_ssize_t v0, Py_ssize_t v1) noexcept nogil:
    """delta of the layer below = (delta W^T) * f'(z) for rows row..row+m and the vectors v0..v1 of its columns."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Layer *below = layer - 1
    cdef Py_ssize_t n = (v1 - v0) * k.lanes, stripe = layer.vectors * k.lanes * k.lanes
    cdef char *d = below.d[part.side] + (row * below.ld + v0 * k.lanes) * k.itemsize
    k.matmul(m, n, layer.n_out, layer.d_rows[part.side] + row, 0, ROWS, layer.wt + v0 * stripe * k.itemsize, k.lanes,
             stripe, NULL, False, d, below.ld, k.lanes)
    if layer.radial:
        k.rbf_inputs(m, min(n, below.n_out - v0 * k.lanes), layer.n_out,
                     layer.d[part.side] + row * layer.ld * k.itemsize, layer.ld, below.a_rows[part.side] + row, v0 * k.lanes,
                     d, below.ld)
    if below.dropout > 0:
        times_slope_with_dropout(part, below, row, m, v0 * k.lanes, n)
    else:
        times_slope(part, below, row, m, v0 * k.lanes, n)


cdef void own_cost(Part *part, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """Rows row..row+m of the output to the caller (FORWARD), or its gradient from there (BACKWARD)."""
    cdef Run *run = part.run
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef size_t size = last.n_out * run.k.itemsize
    cdef Py_ssize_t i
    for i in range(row, row + m):
        if run.mode == FORWARD:
            memcpy(run.output + i * size, last.a_rows[0][i], size)
        else:
            memcpy(last.d_rows[0][i], run.output + i * size, size)
    if run.mode == BACKWARD:
        times_slope(part, last, row, m, 0, last.n_out)


cdef void row_blocks(Part *part) noexcept nogil:
    """Forward, loss and backward of this member's row blocks through the layers that are not shared by columns, all layers
    of a block while it is in cache."""
    cdef Run *run = part.run
    cdef Layer *layer
    cdef Layer *below = run.layers + run.n_by_columns - 1
    cdef Py_ssize_t blocks = n_blocks_of(part.rows, run.block, run.shared), b, row, m
    cdef Range mine = share(blocks, part.member, part.n_members)
    cdef int i
    for b in range(mine.begin, mine.end):
        if interrupted(run, part.member):
            return
        row = part.rows * b // blocks
        m = part.rows * (b + 1) // blocks - row
        if run.mode != BACKWARD:
            if run.n_by_columns == 0:
                gather_rows(part, row, m)
            elif halved(below):
                units(part, below, row, m, below.vectors // 2, below.vectors // 2 + 1)
            for i in range(run.n_by_columns, run.n_layers):
                forward_part(part, run.layers + i, row, m)
        if run.mode == FORWARD or run.mode == BACKWARD:
            own_cost(part, row, m)
        else:
            run.block_loss[b] = loss_part(part, row, m)
        if run.mode != LOSS_ONLY and run.mode != FORWARD:
            for i in range(run.n_layers - 1, max(run.n_by_columns, 1) - 1, -1):
                layer = run.layers + i
                backward_part(part, layer, row, m, 0, (layer - 1).vectors)


cdef void forward_columns(Part *part) noexcept nogil:
    """The layers shared by columns: this member's columns for all rows of the chunk, a barrier after each layer."""
    cdef Run *run = part.run
    cdef Range mine
    cdef Py_ssize_t row, m
    cdef int i
    if run.listed or not run.direct:
        mine = share(part.rows, part.member, part.n_members)
        gather_rows(part, mine.begin, mine.end - mine.begin)
        barrier(part)
        if run.listed and run.mode != LOSS_ONLY:
            transpose_nonzeros(part)
        if run.layers.ht[part.side] != NULL:
            mine = share((run.layers.n_in + run.k.lanes - 1) // run.k.lanes, part.member, part.n_members)
            transpose_input(part, run.layers, run.input[part.side] + mine.begin * run.k.lanes * run.k.itemsize, run.ld_input,
                            0, part.rows, mine.begin, mine.end)
    for i in range(run.n_by_columns):
        row = 0
        while row < part.rows and not interrupted(run, part.member):
            m = min(run.window, part.rows - row)
            forward_share(part, run.layers + i, row, m)
            row += m
        barrier(part)


cdef void backward_columns(Part *part) noexcept nogil:
    """The deltas below layers shared by columns, with a barrier after each: the updates of W^T have to wait for it."""
    cdef Run *run = part.run
    cdef Layer *layer
    cdef Range mine
    cdef Py_ssize_t row, m
    cdef int i
    for i in range(run.n_by_columns - 1, 0, -1):
        layer = run.layers + i
        mine = share((layer - 1).vectors, part.member, part.n_members)
        row = 0
        while row < part.rows and (run.mode == TRAIN or not interrupted(run, part.member)):
            m = min(run.window, part.rows - row)
            backward_part(part, layer, row, m, mine.begin, mine.end)
            row += m
        barrier(part)


# ---- gradients and updates ------------------------------------------------------------------------------------------

cdef Update step_of(const Settings *settings, double eta, int64_t t) noexcept nogil:
    """The update of step t (from 1) at learning rate eta, but for penalties, which are the layers' own."""
    cdef Update u
    cdef double root = sqrt(1 - pow(settings.beta_2, <double>t))
    memset(&u, 0, sizeof(Update))
    u.rule, u.momentum = settings.rule, settings.momentum
    u.beta_1, u.beta_2, u.epsilon = settings.beta_1, settings.beta_2, settings.epsilon
    u.learning_rate, u.decay = eta, eta * settings.weight_decay
    u.scale, u.clip = 1, settings.clip_value if settings.clip_value > 0 else INFINITY
    if u.rule == MOMENTUM and t > 1:
        u.learning_rate *= 1 - settings.dampening
    if u.rule == ADAMW:  # epsilon is to stand beside sqrt(v / (1 - beta_2^t))
        u.epsilon *= root
    if settings.proximal:
        u.proximal = eta * root if u.rule == ADAM or u.rule == ADAMW else u.learning_rate
    if u.rule == ADAM or u.rule == ADAMW:
        u.learning_rate *= root / (1 - pow(u.beta_1, <double>t))
    return u


cdef inline int state_of_squares(Rule rule) noexcept nogil:
    """Which of the rule's arrays of state has squares of gradients; -1 if none has."""
    if rule == ADAM or rule == ADAMW:
        return 1
    return 0 if rule >= ADAGRAD else -1


cdef inline void states_at(char **states, size_t offset, char **at) noexcept nogil:
    """Pointers into those arrays of state that there are."""
    cdef int i
    for i in range(MAX_STATES):
        at[i] = at_offset(states[i], offset)


cdef void update_biases(Part *part, const Update *update, Layer *layer, Py_ssize_t v0, Py_ssize_t v1,
                        bint accumulate) noexcept nogil:
    """Sums of delta's columns, and the optimizer's step with them."""
    cdef const Kernels *k = part.run.k
    cdef Py_ssize_t n = min(v1 * k.lanes, layer.width) - v0 * k.lanes, v, at
    cdef size_t offset = (layer.n_in * layer.width + v0 * k.lanes) * k.itemsize
    cdef char *g = layer.g + offset if layer.g != NULL else part.scratch
    cdef Update u
    cdef double none = 0
    cdef char *states[MAX_STATES]
    cdef size_t rows = (part.row * layer.ld + v0 * k.lanes) * k.itemsize
    if part.rows:
        k.column_sums(part.rows, n, layer.d[part.side] + rows,
                      layer.slope[part.side] + rows if layer.radial else NULL, layer.ld, accumulate, g)
    if part.folding:
        k.fold(n, g, layer.sum + offset, layer.error + offset, part.first_fold, part.last_fold)
    if update != NULL:
        u = update[0]
        u.l1 = u.l2 = u.decay = 0
        if part.measuring:
            for v in range(v0, v1):
                at = (v - v0) * k.lanes
                part.run.norms[layer.bias_slot + v] = k.norm(
                    &u, min(k.lanes, n - at), layer.packed + offset + at * k.itemsize, g + at * k.itemsize)
            return
        states_at(layer.state, offset, states)
        k.update(&u, n, layer.packed + offset, g, <void **>states, &none)


cdef void update_weights(Part *part, const Update *update, Layer *layer, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t p0,
                         Py_ssize_t p1, bint accumulate) noexcept nogil:
    """G = H^T delta for stripes v0..v1 and panels p0..p1 of W over the chunk's rows from part.row on (unless there are
    none), and the optimizer's step with it (unless `update` is NULL), a panel at a time."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Py_ssize_t lanes = k.lanes, n = min(v1 * lanes, layer.width) - v0 * lanes
    cdef Py_ssize_t rows = part.rows
    cdef Py_ssize_t panel, begin, size, count, stripe, v, ldd = layer.ld, stripe_d = lanes
    cdef char *d = layer.d[part.side] + (part.row * layer.ld + v0 * lanes) * k.itemsize
    cdef char *scratch = part.scratch
    cdef char *g
    cdef char *sums = NULL
    cdef double *penalty
    cdef char *states[MAX_STATES]
    cdef size_t offset
    cdef bint pulled = layer.pull != NULL and rows and part.first == part.start
    if p0 == 0:
        update_biases(part, update, layer, v0, v1, accumulate)
    if layer.radial and rows:
        sums = scratch
        k.column_sums(rows, n, d, NULL, layer.ld, False, sums)
        scratch += n * k.itemsize
    cdef bint listed = run.listed and layer == run.layers
    if layer.in_place and rows:  # of all members only this one needs these rows of X^T
        k.transpose_nonzeros(rows, &run.nonzeros[part.side], part.row, p0 * layer.panel, min(p1 * layer.panel, layer.n_in),
                             &run.transposed[part.side])
    if rows >= 32 and layer.n_in >= 256 and not layer.in_place:  # many products with this delta: its rows next to each other
        k.pack(rows, n, d, layer.ld, scratch, rows * lanes)
        d, ldd, stripe_d = scratch, lanes, rows * lanes
        scratch += rows * n * k.itemsize
    for panel in range(p0, p1):
        begin = panel * layer.panel
        size = min(layer.panel, layer.n_in - begin)
        g, stripe = scratch, size * lanes
        if layer.g != NULL:
            stripe = layer.n_in * lanes
            g = layer.g + (v0 * stripe + begin * lanes) * k.itemsize
        if layer.in_place:
            g = scratch if layer.g == NULL else layer.g + begin * n * k.itemsize
        if pulled:
            begin_with_pull(k, layer, v0, v1, begin, size, g, stripe)
        if listed and rows:
            k.nonzeros_matmul(size, n, rows, &run.transposed[part.side], begin, d, ldd, stripe_d, NULL, accumulate or pulled, g,
                              n if layer.in_place else lanes, lanes if layer.in_place else stripe)
        elif rows:
            if layer.ht[part.side] != NULL:
                k.matmul(size, n, rows, layer.ht_rows[part.side] + begin, part.row, ROWS, d, ldd, stripe_d, NULL,
                         accumulate or pulled, g, lanes, stripe)
            else:
                k.matmul(size, n, rows, input_rows(part, layer) + part.row, begin, COLUMNS, d, ldd, stripe_d, NULL,
                         accumulate or pulled, g, lanes, stripe)
            if layer.radial:
                k.rbf_centres(size, n, layer.packed + (v0 * layer.n_in + begin) * lanes * k.itemsize, layer.n_in * lanes, sums,
                              g, stripe)
        for v in range(v0, v0 + 1 if layer.in_place else v1):
            offset = (begin * n if layer.in_place else (v * layer.n_in + begin) * lanes) * k.itemsize
            count = size * (n if layer.in_place else lanes)
            if part.folding:
                k.fold(count, layer.g + offset, layer.sum + offset, layer.error + offset, part.first_fold, part.last_fold)
            if update == NULL:
                continue
            if part.measuring:
                run.norms[layer.slot + v * layer.n_panels + panel] = k.norm(
                    update, count, layer.packed + offset, g + (v - v0) * stripe * k.itemsize)
                continue
            penalty = run.penalties + layer.slot + v * layer.n_panels + panel
            penalty[0] = 0
            states_at(layer.state, offset, states)
            k.update(update, count, layer.packed + offset, g + (v - v0) * stripe * k.itemsize, <void **>states, penalty)
            if layer.wt != NULL:
                update_transpose(k, layer, v, begin, size)


cdef inline char *stripe_of(const Kernels *k, Layer *layer, char *w, Py_ssize_t v) noexcept nogil:
    """Stripe v of what lies as the layer's W does."""
    return w + v * k.lanes * (1 if layer.in_place else layer.n_in) * k.itemsize


cdef void find_pulls(Part *part, double S) noexcept nogil:
    """What ties add to the gradients, and their penalties: this member's stripes, while no weight changes."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Layer *layer
    cdef Layer *other
    cdef Tie *tie
    cdef Range mine
    cdef Py_ssize_t v, n, ld
    cdef double strength, squares
    cdef char *pull
    cdef int i, t
    for i in range(run.n_layers):
        layer = run.layers + i
        if layer.pull == NULL:
            continue
        ld = layer.n_out if layer.in_place else k.lanes
        mine = share(layer.vectors, part.member, part.n_members)
        for v in range(mine.begin, mine.end):
            n = min(k.lanes, layer.n_out - v * k.lanes)
            pull = stripe_of(k, layer, layer.pull, v)
            k.fill_rows(layer.n_in, n if layer.in_place else k.lanes, NULL, pull, ld)
            for t in range(run.n_ties):
                tie = run.ties + t
                if tie.i != i and tie.j != i:
                    continue
                other = run.layers + (tie.j if tie.i == i else tie.i)
                strength = tie.strength / S
                squares = k.tie(layer.n_in, n, strength, stripe_of(k, layer, layer.packed, v), ld,
                                stripe_of(k, other, other.packed, v), other.n_out if other.in_place else k.lanes, pull, ld)
                if tie.i == i:
                    run.tie_penalties[tie.slot + v] = strength / 2 * squares


cdef void begin_with_pull(const Kernels *k, Layer *layer, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t begin, Py_ssize_t size,
                          char *g, Py_ssize_t stripe) noexcept nogil:
    """G of stripes v0..v1 and rows begin..begin+size = what ties add to it."""
    cdef Py_ssize_t v, row = (layer.n_out if layer.in_place else k.lanes) * k.itemsize
    for v in range(v0, v0 + 1 if layer.in_place else v1):
        memcpy(g + (v - v0) * stripe * k.itemsize, stripe_of(k, layer, layer.pull, v) + begin * row, size * row)


cdef Update update_of(const Update *update, Layer *layer, double S) noexcept nogil:
    """The update with what pulls this layer's weights towards 0, which nothing does to centres."""
    cdef Update u = update[0]
    u.l1, u.l2 = layer.l1 / S, layer.l2 / S
    if layer.radial:
        u.l1 = u.l2 = u.decay = 0
    return u


cdef void weights(Part *part, const Update *update, double S, bint accumulate) noexcept nogil:
    """Gradients and updates of this member's weights: its columns of the layers shared by columns, and of the panels of all
    others its share by the number of weights."""
    cdef Run *run = part.run
    cdef Layer *layer
    cdef Update u
    cdef Range mine
    cdef Py_ssize_t v0, end, p, p0, p1, total = 0, before = 0
    cdef int i, half
    for i in range(run.n_by_columns):
        layer = run.layers + i
        if update != NULL:
            u = update_of(update, layer, S)
        for half in range(2 if halved(layer) else 1):
            mine = columns_of(part, layer, half)
            p0 = layer.half // layer.panel if half else 0
            p1 = layer.half // layer.panel if halved(layer) and not half else layer.n_panels
            end = mine.begin
            while end < mine.end:
                v0, end = end, min(end + layer.group, mine.end)
                update_weights(part, &u if update != NULL else NULL, layer, v0, end, p0, p1, accumulate)
    for i in range(run.n_by_columns, run.n_layers):
        total += run.layers[i].n_in * run.layers[i].vectors
    for i in range(run.n_by_columns, run.n_layers):
        layer = run.layers + i
        if update != NULL:
            u = update_of(update, layer, S)
        end = 0
        while end < layer.vectors:
            v0, end = end, min(end + layer.group, layer.vectors)
            p0, p1 = layer.n_panels, 0
            for p in range(layer.n_panels):
                if before * part.n_members // total == part.member:
                    p0, p1 = min(p0, p), p + 1
                before += min(layer.panel, layer.n_in - p * layer.panel) * (end - v0)
            if p0 < p1:
                update_weights(part, &u if update != NULL else NULL, layer, v0, end, p0, p1, accumulate)


cdef void bound_columns(Part *part) noexcept nogil:
    """Max-norm: this member's stripes of the layers that have it, whole columns, once all updates are made."""
    cdef Run *run = part.run
    cdef const Kernels *k = run.k
    cdef Layer *layer
    cdef Range mine
    cdef Py_ssize_t v
    cdef int i
    barrier(part)
    for i in range(run.n_layers):
        layer = run.layers + i
        if layer.max_norm == 0:
            continue
        mine = share(layer.vectors, part.member, part.n_members)
        for v in range(mine.begin, mine.end):
            if layer.in_place:
                k.bound_columns(layer.n_in, min(k.lanes, layer.n_out - v * k.lanes),
                                layer.packed + v * k.lanes * k.itemsize, layer.n_out, layer.max_norm)
            elif (k.bound_columns(layer.n_in, k.lanes, layer.packed + v * layer.n_in * k.lanes * k.itemsize, k.lanes,
                                  layer.max_norm) and layer.wt != NULL):
                update_transpose(k, layer, v, 0, layer.n_in)
    barrier(part)


cdef void gather_gradients(Part *part, const Update *update, double S, bint last) noexcept nogil:
    """This member's weights' gradients over the rows at hand, added to those of the rows before; these are all if `last`."""
    cdef bint many = part.unfolded > 0
    part.unfolded += part.rows
    part.folding = part.run.folds and (last or part.unfolded >= FOLDED_ROWS)
    part.last_fold = last
    weights(part, update, S, many)
    if part.folding:
        part.folding = part.first_fold = False
        part.unfolded = 0


cdef double norm_of(const double *norms, Py_ssize_t n) noexcept nogil:
    """The norm of a vector of whose parts these are the norms; their squares may overflow."""
    cdef double largest = 0, squares = 0
    cdef Py_ssize_t i
    for i in range(n):
        if not norms[i] <= largest:  # or NaN
            largest = norms[i]
    if not 0 < largest < INFINITY:
        return largest
    for i in range(n):
        squares += (norms[i] / largest) ** 2
    return largest * sqrt(squares)


cdef double clipping(double norm, double most) noexcept nogil:
    """What to multiply a gradient of this norm by, so that its norm is `most` at most."""
    return most / norm if norm > most else 1


cdef double clip_norm(Part *part, const Update *update, double S) noexcept nogil:
    """What to multiply the whole gradient by: all members find the norms of their weights' part, and each adds all of them."""
    cdef Run *run = part.run
    part.measuring = True
    weights(part, update, S, False)
    part.measuring = False
    barrier(part)
    return clipping(norm_of(run.norms, run.n_norms), run.settings.clip_norm)


cdef void move_parameters(Run *run, Layer *layer, char *flat, char *packed, bint out, Py_ssize_t v0,
                          Py_ssize_t v1) noexcept nogil:
    """Stripes v0..v1 of the layer's weights and biases between the flat vector and the packed form."""
    cdef const Kernels *k = run.k
    cdef Py_ssize_t stripe = layer.n_in * k.lanes, n = min(v1 * k.lanes, layer.n_out) - v0 * k.lanes
    cdef char *w = flat + (layer.w + v0 * k.lanes) * k.itemsize
    cdef char *b = flat + (layer.b + v0 * k.lanes) * k.itemsize
    cdef char *packed_b = packed + (layer.vectors * stripe + v0 * k.lanes) * k.itemsize
    packed += v0 * stripe * k.itemsize
    if out:
        k.unpack(layer.n_in, n, packed, stripe, w, layer.n_out)
        k.unpack(1, n, packed_b, k.lanes, b, layer.n_out)
    else:
        k.pack(layer.n_in, n, w, layer.n_out, packed, stripe)
        k.pack(1, n, b, layer.n_out, packed_b, k.lanes)


cdef void move_shares(Run *run, int member, int n_members, bint out) noexcept nogil:
    """This member's share of parameters and optimizer state to the workspace, or of what the run has changed back to the
    flat vectors."""
    cdef const Kernels *k = run.k
    cdef Layer *layer
    cdef Range mine
    cdef Py_ssize_t v, square = k.lanes * k.lanes * k.itemsize, last
    cdef int i, j
    for i in range(run.n_layers):
        layer = run.layers + i
        mine = share(layer.vectors, member, n_members)
        if mine.begin == mine.end or layer.in_place:
            continue
        if out and run.gradient != NULL:
            move_parameters(run, layer, run.gradient, layer.g, True, mine.begin, mine.end)
        if out and run.mode != TRAIN:
            continue
        move_parameters(run, layer, run.parameters, layer.packed, out, mine.begin, mine.end)
        for j in range(MAX_STATES):
            if layer.state[j] != NULL:
                move_parameters(run, layer, run.state[j], layer.state[j], out, mine.begin, mine.end)
        if not out and layer.wt != NULL:
            last = (layer.n_in - 1) // k.lanes * layer.vectors
            for v in range(mine.begin, mine.end):
                memset(layer.wt + (last + v) * square, 0, square)  # it is not filled by what follows
                update_transpose(k, layer, v, 0, layer.n_in)


# ---- what the members of the team do ----------------------------------------------------------------------------------

cdef void begin_chunk(Part *part, Py_ssize_t first, Py_ssize_t rows, double scale) noexcept nogil:
    part.first, part.rows, part.scale = first, rows, scale
    part.turn ^= 1
    part.side = part.turn if part.n_members > 1 and part.run.sides == 2 else 0
    find_rows(part)


cdef void record_penalty(Part *part) noexcept nogil:
    """The penalty of the last update, once all members have made theirs."""
    cdef Run *run = part.run
    cdef Total penalty
    cdef Py_ssize_t i
    if part.member == 0 and part.pending >= 0:
        penalty.sum = penalty.error = 0
        for i in range(run.n_penalties):
            add_to(&penalty, run.penalties[i])
        run.record[3 * part.pending + 1] += value_of(&penalty)
        part.pending = -1


cdef bint train_batch(Part *part, Py_ssize_t batch, int64_t *t) noexcept nogil:
    """One batch (modes TRAIN, GRADIENT, LOSS_ONLY), as one of the members at work sees it; False if it was stopped."""
    cdef Run *run = part.run
    cdef Py_ssize_t start = batch * run.batch, m = min(run.batch, run.n_rows - start), first = start, rows, i
    cdef double S = <double>m if run.weights == NULL else run.record[3 * batch + 2], penalty_S
    cdef Total loss, ties
    cdef Update update
    cdef bint whole = run.mode == TRAIN and m <= run.chunk and run.settings.clip_norm == 0
    if S == 0:
        if part.member == 0:
            run.record[3 * batch] = run.record[3 * batch + 1] = 0
        return True
    penalty_S = S if run.penalty_over_weight else 1
    loss.sum = loss.error = ties.sum = ties.error = 0
    part.unfolded, part.first_fold = 0, True
    part.start, part.step = start, <uint32_t>t[0]
    if run.mode == TRAIN:
        update = step_of(&run.settings, run.learning_rates[batch], t[0] + 1)
    while first < start + m:
        rows = min(run.chunk, start + m - first)
        begin_chunk(part, first, rows, 1 / S)
        interrupted(run, part.member)  # member 0 may have no block of its own
        if run.n_by_columns:
            forward_columns(part)
            record_penalty(part)
        row_blocks(part)
        if run.n_ties and first == start:
            find_pulls(part, penalty_S)
        if part.member == 0:
            run.verdict[part.turn] = run.stop
        barrier(part)
        if run.verdict[part.turn]:  # an unfinished step is dropped whole: no parameter has changed yet
            return False
        if part.member == 0:
            for i in range(n_blocks_of(rows, run.block, run.shared)):
                add_to(&loss, run.block_loss[i])
            for i in range(run.n_tie_penalties if first == start else 0):
                add_to(&ties, run.tie_penalties[i])
        if run.mode != LOSS_ONLY:
            backward_columns(part)
            if run.listed and run.n_by_columns == 0 and not run.layers.in_place:
                transpose_nonzeros(part)
                barrier(part)
            gather_gradients(part, &update if whole else NULL, penalty_S, first + rows == start + m)
        if run.n_by_columns == 0:
            barrier(part)
        first += rows
    if run.mode == TRAIN and not whole:
        part.rows = 0
        if run.settings.clip_norm > 0:
            update.scale = clip_norm(part, &update, penalty_S)
        weights(part, &update, penalty_S, False)
        if run.n_by_columns == 0:
            barrier(part)
    if run.bounded:
        bound_columns(part)
    if part.member == 0:
        run.record[3 * batch] = value_of(&loss) / S
        run.record[3 * batch + 1] = value_of(&ties)
        run.record[3 * batch + 2] = S
    if run.mode == TRAIN:
        t[0] += 1
        part.pending = batch
        if run.n_by_columns == 0:
            record_penalty(part)
    return True


cdef inline bint all_faster(const Pace *pace) noexcept nogil:
    """Whether all members are at least as fast as one, or not both have been tried yet."""
    return pace.seconds[0] == 0 or pace.seconds[1] <= pace.seconds[0]


cdef void choose_pace(Run *run, int n_members, Py_ssize_t done, Py_ssize_t n_batches) noexcept nogil:
    """Whether all members or one do the next batches, and how many: whichever was faster, the other tried now and then.

    How long it takes to pass memory from core to core, and with it whether threads repay small steps, is a matter of
    the machine and of what else runs on it. As the bits don't depend on it, it may be measured while training.
    """
    cdef Pace *pace = run.pace
    cdef double now = team_clock(), seconds = 0, step, weight
    cdef bint all_ = run.active > 1, begun = done > run.segment_begin
    cdef int active
    if begun and (run.settled or done == n_batches):
        step = (now - run.segment_began) / (done - run.segment_begin)
        # the mean of the last 0.2 s, so that what disturbs a segment does not change the pace, but many that do will
        weight = (now - run.segment_began) / (now - run.segment_began + 0.2)
        if all_ != all_faster(pace):  # of which there are only short trials: nothing makes one faster than it can be
            weight = 1 if step < pace.seconds[all_] else 0.5
        pace.seconds[all_] += (weight if pace.seconds[all_] > 0 else 1) * (step - pace.seconds[all_])
    if run.settled or not begun:
        all_ = all_faster(pace)
        seconds = 0.005 if all_ else max(0.0, pace.next_trial - now)
        if now > pace.next_trial and 0 < pace.seconds[all_] < 0.002:  # longer steps surely repay threads
            all_ = not all_
            pace.next_trial = now + 0.2
            seconds = 0
    active = n_members if all_ else 1
    if run.active == active:
        run.settled += 1
    else:
        run.active, run.settled, seconds = active, 0, 0
    run.segment_begin = done
    run.segment_end = n_batches
    if n_members > 1:
        run.segment_end = min(n_batches, done + 8 + <Py_ssize_t>(seconds / max(pace.seconds[all_], 1e-4)))
    run.segment_began = now


cdef void sum_weights(Run *run) noexcept nogil:
    """Sums of weights of the segment's batches to `record`, from which all members have them: each for itself might see
    others, as the caller's array may be written by other threads, and one that finds 0 makes no step."""
    cdef Py_ssize_t batch, i
    cdef Total S
    for batch in range(run.segment_begin, run.segment_end):
        S.sum = S.error = 0
        for i in range(batch * run.batch, min((batch + 1) * run.batch, run.n_rows)):
            add_to(&S, run.weights[run.order[i] if run.order != NULL else i])
        run.record[3 * batch + 2] = value_of(&S)


cdef void init_part(Part *part, Run *run, Team *team, int member, int n_members) noexcept nogil:
    memset(part, 0, sizeof(Part))
    part.run, part.team, part.member, part.n_members, part.pending = run, team, member, n_members, -1
    part.first_fold = True
    part.x_rows = <char **>(run.scratch + member * run.scratch_size)
    part.scratch = <char *>part.x_rows + aligned(run.chunk * sizeof(char *))


cdef void find_spoilt(Run *run, int member, int n_members) noexcept nogil:
    """The mean loss, and whether it and this member's part of the parameters are finite and no handler failed. So must be the
    squares that a rule divides by, or it would make no step."""
    cdef Layer *layer
    cdef Range mine
    cdef Py_ssize_t i
    cdef Total loss, weight
    cdef bint finite = not run.failed
    cdef int squares = state_of_squares(run.settings.rule)
    if member == 0 and not run.stop:
        loss.sum = loss.error = weight.sum = weight.error = 0
        for i in range((run.n_rows + run.batch - 1) // run.batch):
            add_to(&loss, run.record[3 * i + 2] * (run.record[3 * i] + run.record[3 * i + 1]))
            add_to(&weight, run.record[3 * i + 2])
        run.loss = value_of(&loss)
        if weight.sum > 0:
            run.loss /= value_of(&weight)
        finite = isfinite(run.loss)
    for i in range(run.n_layers):
        layer = run.layers + i
        mine = share((layer.n_in + 1) * layer.width, member, n_members)
        finite = finite and run.k.all_finite(mine.end - mine.begin, layer.packed + mine.begin * run.k.itemsize)
        if squares >= 0:
            finite = finite and run.k.all_finite(mine.end - mine.begin,
                                                 layer.state[squares] + mine.begin * run.k.itemsize)
    if not finite:
        fetch_add(&run.n_spoilt, 1, RELAXED)


cdef void train_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """All batches, as one member of the team sees them, in segments for which the pace is chosen."""
    cdef Run *run = <Run *>arg
    cdef Py_ssize_t n_batches = (run.n_rows + run.batch - 1) // run.batch, batch, end = 0
    cdef int64_t t
    cdef Part part
    init_part(&part, run, team, member, n_members)
    move_shares(run, member, n_members, False)
    team_barrier(team)
    while end < n_batches and not run.stop:
        if member == 0:
            choose_pace(run, n_members, end, n_batches)
            if run.weights != NULL:
                sum_weights(run)
        team_barrier(team)
        end = run.segment_end
        t = run.t
        part.n_members, part.turn = run.active, 0  # those who did not work have not taken turns
        if member < run.active:
            for batch in range(run.segment_begin, end):
                if not train_batch(&part, batch, &t):
                    break
        team_barrier(team)
        if member == 0:
            run.t = t
            record_penalty(&part)
    if member == 0:
        choose_pace(run, n_members, end, n_batches)  # for the next epoch: what the last segment took
    if run.mode == TRAIN:
        find_spoilt(run, member, n_members)
        team_barrier(team)
    if run.n_spoilt == 0 or not run.guarded:
        move_shares(run, member, n_members, True)


cdef void own_cost_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """The forward pass to run.output (FORWARD), or the backward pass from there (BACKWARD), of one batch of all rows."""
    cdef Run *run = <Run *>arg
    cdef Layer *bottom = run.layers
    cdef Py_ssize_t blocks = n_blocks_of(run.n_rows, 512, True), b, row
    cdef Range mine = share(blocks, member, n_members)
    cdef size_t itemsize = run.k.itemsize
    cdef Part part
    init_part(&part, run, team, member, n_members)
    move_shares(run, member, n_members, False)
    team_barrier(team)
    begin_chunk(&part, 0, run.n_rows, 1)
    if run.mode == FORWARD and run.n_by_columns:
        forward_columns(&part)
    row_blocks(&part)
    if run.mode == FORWARD:
        return
    team_barrier(team)
    backward_columns(&part)
    while part.row < run.n_rows and not interrupted(run, member):
        part.rows = min(run.window, run.n_rows - part.row)
        gather_gradients(&part, NULL, 1, part.row + part.rows == run.n_rows)
        part.row += part.rows
    if run.input_gradient != NULL:
        for b in range(mine.begin, mine.end):
            if interrupted(run, member):
                break
            row = run.n_rows * b // blocks
            gemm(itemsize, False, True, run.n_rows * (b + 1) // blocks - row, bottom.n_in, bottom.n_out,
                 bottom.d_rows[0][row], bottom.ld, run.parameters + bottom.w * itemsize, bottom.n_out, 0,
                 run.input_gradient + row * bottom.n_in * itemsize, bottom.n_in)
            if bottom.radial:
                run.k.rbf_inputs(run.n_rows * (b + 1) // blocks - row, bottom.n_in, bottom.n_out, bottom.d_rows[0][row],
                                 bottom.ld, part.x_rows + row, 0, run.input_gradient + row * bottom.n_in * itemsize,
                                 bottom.n_in)
    team_barrier(team)
    move_shares(run, member, n_members, True)


cdef void predict_layer(Run *run, Layer *layer, Py_ssize_t m, char **h, const Nonzeros *nonzeros, char *z) noexcept nogil:
    """A of m rows where it is radial, else Z = H W + b. Unless it is NULL, `nonzeros` has those of H."""
    cdef const Kernels *k = run.k
    cdef bint packed = layer.packed != NULL
    cdef char *w = layer.packed if packed else run.parameters + layer.w * k.itemsize
    cdef char *b = w + layer.vectors * layer.n_in * k.lanes * k.itemsize if packed else run.parameters + layer.b * k.itemsize
    cdef Py_ssize_t ldw = k.lanes if packed else layer.n_out, stripe = layer.n_in * k.lanes if packed else k.lanes
    if layer.radial:
        k.rbf(m, layer.width, layer.n_in, h, w, ldw, stripe, b, z, NULL, layer.width)
    elif nonzeros != NULL:
        k.nonzeros_matmul(m, layer.width, layer.n_in, nonzeros, 0, w, ldw, stripe, b, False, z, layer.width, k.lanes)
    else:
        k.matmul(m, layer.width, layer.n_in, h, 0, FAR_ROWS if layer == run.layers else ROWS, w, ldw, stripe, b, False, z,
                 layer.width, k.lanes)


cdef void output_unit(Run *run, Py_ssize_t m, Py_ssize_t n, char *z) noexcept nogil:
    """The unit that a loss from logits brings along."""
    cdef Py_ssize_t i
    if run.cost.kind == CROSS_ENTROPY:
        run.k.activate[<int>LOGISTIC](m, n, z, n, 0, NULL)
    elif run.cost.kind == SOFTMAX_CROSS_ENTROPY:
        if run.cost.fixed_logit:
            for i in range(1, m + 1):
                memset(z + (i * n - 1) * run.k.itemsize, 0, run.k.itemsize)
        run.k.activate[<int>SOFTMAX](m, n, z, n, 0, NULL)
    elif run.cost.kind == POISSON:
        run.k.activate[<int>EXP](m, n, z, n, 0, NULL)
    elif run.cost.kind == PERCEPTRON:
        run.k.activate[<int>STEP](m, n, z, n, 0, NULL)


cdef void predict_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """Output activations of all rows, a block at a time through buffers that stay in cache. Who is free takes the next."""
    cdef Run *run = <Run *>arg
    cdef const Kernels *k = run.k
    cdef Layer *layer
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef char *scratch = run.scratch + member * run.scratch_size
    cdef char *z = NULL
    cdef Nonzeros nonzeros
    cdef char *buffers[2]
    cdef char *h[128]
    cdef const int64_t *order
    cdef Py_ssize_t blocks = (run.n_rows + run.block - 1) // run.block, b, row, m, j, size
    cdef int i
    buffers[0] = place_nonzeros(&nonzeros, scratch, run.block, run.block * run.most, k.itemsize)
    buffers[1] = buffers[0] + (scratch + run.scratch_size - buffers[0]) // 2
    while True:
        b = fetch_add(&run.next_block, 1, RELAXED)
        if b >= blocks or (b >= n_members and interrupted(run, member)):
            return
        row = run.n_rows * b // blocks
        m = run.n_rows * (b + 1) // blocks - row
        order = run.order + row if run.order != NULL else NULL
        if run.sparse:
            k.gather_csr(m, &run.csr, order, row, 0, 0, &nonzeros)
        elif run.direct:
            for j in range(m):
                h[j] = row_of_x(run, row + j)
        else:
            size = run.layers.n_in * k.itemsize
            for j in range(m):
                h[j] = buffers[1] + j * size
            k.gather(m, run.layers.n_in, &run.x, order, row, buffers[1], run.layers.n_in)
        if run.listed and not run.sparse:
            k.find_nonzeros(m, run.layers.n_in, h, 0, &nonzeros)
        for i in range(run.n_layers):
            layer = run.layers + i
            z = run.output + row * last.n_out * k.itemsize if layer == last else buffers[i % 2]
            predict_layer(run, layer, m, h, &nonzeros if run.listed and i == 0 else NULL, z)
            if not layer.radial:
                k.activate[<int>layer.activation](m, layer.n_out if layer.activation == SOFTMAX else layer.width, z, layer.width,
                                                  layer.parameter, NULL)
            size = layer.width * k.itemsize
            for j in range(m):
                h[j] = z + j * size
        output_unit(run, m, last.n_out, z)


# ---- the engine -----------------------------------------------------------------------------------------------------

cdef class Memory:
    """Aligned memory that grows and keeps what is in it."""

    cdef char *base
    cdef char *start  # base, aligned
    cdef size_t size

    def __dealloc__(self):
        free(self.base)

    cdef char *reserve(self, size_t size) except NULL:
        cdef char *base
        cdef char *start
        if size > self.size:
            base = <char *>malloc(size + 64)
            if base == NULL:
                raise MemoryError(f"no {size} bytes for the workspace")
            start = <char *>((<uintptr_t>base + 63) & ~<uintptr_t>63)
            if self.size:
                memcpy(start, self.start, self.size)
            free(self.base)
            self.base, self.start, self.size = base, start, size
        return self.start


cdef list borrow_states(states, char **pointers):
    """Pointers to the arrays, NULL for those that there are not, and what keeps them valid."""
    cdef Buffer b
    cdef list buffers = []
    memset(pointers, 0, MAX_STATES * sizeof(char *))
    for i, array in enumerate(states):
        b = Buffer(array, True)
        pointers[i] = b.pointer()
        buffers.append(b)
    return buffers


cdef int raise_pending() except -1:
    return -1  # PyErr_CheckSignals has set the exception


@cython.final
cdef class Engine:
    """Runs a stack of layers over data: training, loss and gradient, prediction.

    Arguments of the methods are arrays that network.py has checked: `parameters`, `gradient` and all of `states` are flat,
    contiguous, of the engine's dtype; W (n_in, n_out) of a layer is followed by its b (n_out). `order` is an int64
    vector of rows, or None for all rows as they stand.
    """

    cdef const Kernels *k
    cdef Layer *layers
    cdef int n_layers
    cdef Cost cost
    cdef Buffer levels
    cdef Py_ssize_t n_weights
    cdef Memory workspace
    cdef readonly Data kept             # what the last `forward` was of, while its activations are in the workspace
    cdef bint running                   # whether a run is in the workspace
    cdef long owner                     # thread that is in `exclusive`, so many times, since there were so many forks
    cdef Py_ssize_t depth, forks
    cdef Pace pace
    cdef Py_ssize_t paced_batch
    cdef readonly Py_ssize_t n_parameters
    cdef readonly int n_members  # of the last run's team

    def __init__(self, Py_ssize_t n_inputs, layers, dtype, loss):
        """layers: quadruples (n_units, activation name, its parameter, max_norm or None); dtype: "float32" or "float64";
        loss: its name, parameter, levels (float64 vector) and fixed_logit."""
        cdef Layer *layer
        cdef Py_ssize_t at = 0
        cdef int i
        self.k = &_kernels[0 if dtype == "float32" else 1]
        self.n_layers = len(layers)
        self.layers = <Layer *>calloc(self.n_layers, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        name, self.cost.parameter, levels, self.cost.fixed_logit = loss
        self.cost.kind = LOSSES[name]
        self.levels = Buffer(levels)
        self.cost.levels, self.cost.n_levels = <const double *>self.levels.pointer(), self.levels.view.shape[0]
        self.workspace = Memory()
        for i, (n_units, activation, parameter, max_norm) in enumerate(layers):
            layer = self.layers + i
            layer.max_norm = max_norm or 0
            layer.n_in = layer.half = n_inputs if i == 0 else (layer - 1).n_out
            layer.n_out = n_units
            layer.activation, layer.parameter = ACTIVATIONS[activation], parameter
            layer.radial = activation == "rbf"
            layer.w = at
            layer.b = at + layer.n_in * layer.n_out
            at = layer.b + layer.n_out
            self.n_weights += layer.n_in * layer.n_out
            layer.vectors = (layer.n_out + self.k.lanes - 1) // self.k.lanes
            layer.ld = self.row_distance(n_units)
        self.n_parameters = at

    def __dealloc__(self):
        free(self.layers)

    cdef Py_ssize_t row_distance(self, Py_ssize_t n):
        """Between rows of n elements in the workspace: whole vectors, and not all in the same few sets of the cache."""
        cdef Py_ssize_t ld = (n + self.k.lanes - 1) // self.k.lanes * self.k.lanes
        return ld + 64 // self.k.itemsize if ld * self.k.itemsize % 256 == 0 else ld

    cdef int begin(self, Run *run, Layer *layers, Mode mode, Buffer parameters, Data data, Buffer order,
                   Py_ssize_t batch) except -1:
        """Fill in what all runs share."""
        cdef int i
        memset(run, 0, sizeof(Run))
        memcpy(layers, self.layers, self.n_layers * sizeof(Layer))
        run.k, run.layers, run.n_layers, run.cost = self.k, layers, self.n_layers, self.cost
        run.mode = mode
        run.sparse, run.x, run.csr, run.y = data.sparse, data.x, data.csr, data.y
        run.most = data.most if data.sparse else data.n_features
        run.n_nonzeros = data.n_nonzeros if data.sparse else data.n_rows * data.n_features
        run.has_y = data.y.data != NULL and data.labels == NULL
        run.labels, run.weights = data.labels, data.weights
        run.order = <const int64_t *>order.pointer() if order is not None else NULL
        run.n_rows = order.view.shape[0] if order is not None else data.n_rows
        run.direct = (
            not data.sparse and data.x.dtype == (FLOAT32 if self.k.itemsize == 4 else FLOAT64)
            and data.x.column_stride == <Py_ssize_t>self.k.itemsize
            and data.x.row_stride % <Py_ssize_t>self.k.itemsize == 0
        )
        run.parameters = parameters.pointer()
        run.batch = batch
        run.block = 48
        run.shared = self.repays_threads(batch)
        run.next_check = team_clock() + 0.05
        return 0

    cdef int cut(self, Run *run, int n_threads) except -1:
        """How layers are shared among the members, and the panels that their weights are cut into."""
        cdef Layer *layer
        cdef Py_ssize_t lanes = self.k.lanes, panel
        cdef bint large, whole_rows
        cdef int i, shared = -1
        # packing W does not repay where it is large and few of its rows are read
        run.layers.in_place = run.sparse and (
            run.mode == FORWARD or run.mode == BACKWARD or run.layers.n_in * run.layers.n_out * self.k.itemsize > 1 << 22
        )
        whole_rows = run.layers.in_place
        for i in range(self.n_layers):
            layer = run.layers + i
            # by columns where the weights are worth keeping in one core's cache, and there are columns for all
            large = layer.n_in * layer.n_out * self.k.itemsize >= 1 << 16
            whole_rows = whole_rows or layer.activation == SOFTMAX  # those by columns come before all others
            if large and layer.vectors > 1 and not whole_rows:
                shared = i
                if layer.vectors >= n_threads:
                    run.n_by_columns = i + 1
            layer.width = layer.n_out if layer.in_place else layer.vectors * lanes
            # 48 rows of gradient are still in the L1 cache when the optimizer takes them
            panel = 1 + (1 << 16) // layer.n_out if layer.in_place else 48 if layer.n_in > 96 else layer.n_in
            layer.panel = (panel + lanes - 1) // lanes * lanes
            layer.n_panels = (layer.n_in + layer.panel - 1) // layer.panel
            layer.group = layer.vectors if layer.in_place else max(4, 4096 // (layer.panel * lanes) // 4 * 4)
            layer.half = layer.n_in
            layer.slot = run.n_penalties
            run.n_penalties += layer.n_panels * (1 if layer.in_place else layer.vectors)
        # whatever the number of threads, as the bits depend on it
        layer = run.layers + max(shared, 0)
        if (0 <= shared < self.n_layers - 1 and layer.vectors % 2 and layer.vectors < 16 and layer.n_panels > 1
                and not layer.radial and run.mode < FORWARD):
            layer.half = layer.n_panels // 2 * layer.panel
        run.n_norms = run.n_penalties
        for i in range(self.n_layers):
            layer = run.layers + i
            layer.bias_slot = run.n_norms
            run.n_norms += layer.vectors
        run.listed = run.sparse or (run.mode < FORWARD and run.input_noise == 0 and lists_repay(run, 512))
        # the rows of a batch would share few sets of the L1 cache; H^T is made from gathered rows
        run.direct = run.direct and run.x.row_stride % 256 != 0 and not self.transposes(run, 0)
        run.ld_input = self.row_distance(run.layers.n_in)
        return 0

    cdef bint transposes(self, Run *run, int i):
        """Whether layer i keeps H^T: where G = H^T delta has many columns, its products read rows of H^T from cache faster
        than columns of H, which lie pages apart."""
        return (
            (run.mode == TRAIN or run.mode == GRADIENT) and i < run.n_by_columns and self.layers[i].n_out >= 256
            and run.batch >= 64 and not (i == 0 and run.listed)
        )

    cdef int place(self, Run *run, Py_ssize_t chunk, int n_threads) except -1:
        """Lay out the workspace for chunks of so many rows.

        FORWARD has all the places that BACKWARD needs, so that the activations stay where they are.
        """
        cdef Layer *layer
        cdef Layer *last
        cdef Py_ssize_t size = 0, weights, lanes = self.k.lanes, scratch = 0, i, r
        cdef size_t itemsize = self.k.itemsize
        cdef bint own_cost = run.mode == FORWARD or run.mode == BACKWARD
        cdef bint gradient = (
            own_cost or run.mode == GRADIENT
            or (run.mode == TRAIN and (chunk < run.batch or run.settings.clip_norm > 0))
        )
        cdef int round_, side
        cdef char *p
        self.cut(run, n_threads)
        run.chunk = chunk
        run.window = self.chunk_of(chunk)
        run.ld_transposed = self.row_distance(chunk)
        run.folds = gradient and run.batch > FOLDED_ROWS
        run.sides = 2 if n_threads > 1 and run.n_by_columns and not own_cost else 1
        last = run.layers + self.n_layers - 1
        for i in range(self.n_layers):
            layer = run.layers + i
            scratch = max(scratch, (chunk + layer.panel + 1) * layer.group * lanes * <Py_ssize_t>itemsize)
            scratch = max(scratch, layer.ld * <Py_ssize_t>itemsize)  # a row, for times_slope_with_dropout
        if run.augmentation.height > 0:
            scratch = max(scratch, augmentation_scratch(&run.augmentation) * <Py_ssize_t>itemsize)
        scratch = max(scratch, run.block * <Py_ssize_t>(2 * sizeof(double) + last.n_out * itemsize))
        run.scratch_size = aligned(chunk * sizeof(char *)) + aligned(scratch)
        for round_ in range(2):  # first the sizes, then the places
            p = self.workspace.reserve(size) if round_ else NULL
            for side in range(run.sides):
                if not run.direct and not run.sparse:
                    run.input[side] = p
                    p += aligned(chunk * run.ld_input * itemsize)
                if run.listed:
                    i = min(run.n_nonzeros, chunk * run.most)
                    p = place_nonzeros(&run.nonzeros[side], p, chunk, i, itemsize)
                    if halved(run.layers):
                        run.middle[side] = <ptrdiff_t *>p
                        p += aligned(chunk * sizeof(ptrdiff_t))
                    if run.mode != LOSS_ONLY:
                        p = place_nonzeros(&run.transposed[side], p, run.layers.n_in, i, itemsize)
                for i in range(self.n_layers):
                    layer = run.layers + i
                    layer.a[side] = p
                    p += aligned(chunk * layer.ld * itemsize)
                    layer.d[side] = p
                    p += aligned(chunk * layer.ld * itemsize)
                    if run.mode != LOSS_ONLY and (
                        layer.activation == GELU or layer.activation == SILU or layer.radial
                        or (layer.activation == SOFTMAX and layer.dropout > 0)  # of a dropped unit a tells nothing
                    ):
                        layer.slope[side] = p
                        p += aligned(chunk * layer.ld * itemsize)
                    layer.a_rows[side] = <char **>p
                    p += aligned(chunk * sizeof(char *))
                    layer.d_rows[side] = <char **>p
                    p += aligned(chunk * sizeof(char *))
            for i in range(self.n_layers):
                layer = run.layers + i
                weights = aligned((layer.n_in + 1) * layer.width * itemsize)
                if layer.in_place:
                    layer.packed = run.parameters + layer.w * itemsize
                    states_at(run.state, layer.w * itemsize, layer.state)
                    layer.g = at_offset(run.gradient, layer.w * itemsize)
                else:
                    layer.packed = p
                    p += weights
                    for r in range(MAX_STATES):
                        if run.state[r] != NULL:
                            layer.state[r] = p
                            p += weights
                if gradient and not (layer.in_place and run.gradient != NULL):
                    layer.g = p
                    p += weights
                if run.folds:
                    layer.sum, layer.error = p, p + weights
                    p += 2 * weights
                for r in range(run.n_ties):
                    if run.ties[r].i == i or run.ties[r].j == i:
                        layer.pull = p
                if layer.pull != NULL:
                    p += weights
                if i and run.mode != LOSS_ONLY:
                    layer.wt = p
                    p += (layer.n_in + lanes - 1) // lanes * layer.vectors * lanes * lanes * itemsize
            for i in range(self.n_layers):
                layer = run.layers + i
                for side in range(run.sides if self.transposes(run, i) else 0):
                    layer.ht[side] = p
                    p += aligned((layer.n_in + lanes) * run.ld_transposed * itemsize)
                    layer.ht_rows[side] = <char **>p
                    p += aligned(layer.n_in * sizeof(char *))
            run.block_loss = <double *>p
            p += aligned(n_blocks_of(chunk, run.block, run.shared) * sizeof(double))
            run.penalties = <double *>p
            p += aligned(run.n_penalties * sizeof(double))
            run.tie_penalties = <double *>p
            p += aligned(run.n_tie_penalties * sizeof(double))
            run.norms = <double *>p
            p += aligned(run.n_norms * sizeof(double))
            run.scratch = p
            p += n_threads * run.scratch_size
            if round_ == 0:
                size = <size_t>p
        for i in range(self.n_layers):
            layer = run.layers + i
            for side in range(run.sides if self.transposes(run, i) else 0):
                for r in range(layer.n_in):
                    layer.ht_rows[side][r] = layer.ht[side] + r * run.ld_transposed * itemsize
        for side in range(run.sides):
            memset(last.d[side], 0, chunk * last.ld * itemsize)  # the loss does not write the columns that fill it up
            for i in range(self.n_layers):
                layer = run.layers + i
                for r in range(chunk):
                    layer.a_rows[side][r] = layer.a[side] + r * layer.ld * itemsize
                    layer.d_rows[side][r] = layer.d[side] + r * layer.ld * itemsize
        return 0

    cdef Py_ssize_t chunk_of(self, Py_ssize_t batch):
        """Rows of a batch that are worked on at once: few enough that what the forward pass leaves is still in cache for the
        backward pass, enough to use a weight often while it is there, and bounded in time (for Ctrl-C)."""
        cdef Py_ssize_t width = self.layers[0].n_in, most
        cdef int i
        for i in range(self.n_layers):
            width += 2 * self.layers[i].ld
        most = min(FOLDED_ROWS, max(256, (1 << 20) // (width * <Py_ssize_t>self.k.itemsize)))
        most = max(64, min(most, (1 << 31) // (self.n_weights + 1)))
        return min(batch, most)

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

    cdef int team_size(self, Py_ssize_t batch, Py_ssize_t rows, int n_threads):
        """Threads are used only where the work repays them, in each step and in all (50 Mflop)."""
        return n_threads if self.repays_threads(batch) and 4 * self.n_weights * rows >= 50000000 else 1

    cdef bint repays_threads(self, Py_ssize_t batch):
        """Whether a step of so many rows is enough for several threads: some 400 kflop."""
        return 4 * self.n_weights * batch >= 400000

    cdef int go(self, Run *run, TeamTask task, int n_threads) except -1:
        with nogil:
            n_threads = team_run(n_threads, task, run)
        self.n_members = n_threads
        if run.stop:
            raise_pending()
        return 0

    def train(self, parameters, Data data, order, Py_ssize_t batch_size, settings, learning_rates, states, t, penalties,
              ties, bint penalty_over_weight, record, int n_threads, randomness=None, bint guarded=False):
        """One epoch. settings, states: those of the optimizer; learning_rates: float64 vector, one for each batch; penalties:
        pairs (l1, l2), one a layer; ties: triples (layer, layer, strength); t: int64 array of one, the optimizer's steps so
        far; record: float64 (n_batches, 3), receives loss, penalty and sum of weights of each batch; randomness: None, or
        seed (two 32-bit integers), dropout rates of inputs and layers, input noise, and None or an ImageAugmentation's
        settings.

        Returns the mean of the losses with their penalties; NaN if it or a parameter is not finite. `guarded` (X is dense):
        parameters, states and t are left as they were then, and where a signal's handler raises another error than
        KeyboardInterrupt."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef Layer *layers
        cdef Augmentation *a
        cdef int i
        cdef Memory copy = Memory(), tied = Memory()
        cdef Buffer p = Buffer(parameters, True), r = Buffer(record, True), steps = Buffer(t, True)
        cdef Buffer o = Buffer(order) if order is not None else None, rates = Buffer(learning_rates)
        layers = <Layer *>copy.reserve(self.n_layers * sizeof(Layer))
        self.begin(&run, layers, TRAIN, p, data, o, batch_size)
        for i, (l1, l2) in enumerate(penalties):
            layers[i].l1, layers[i].l2 = l1, l2
            run.bounded = run.bounded or layers[i].max_norm > 0
        if ties:
            run.n_ties = len(ties)
            run.ties = <Tie *>tied.reserve(run.n_ties * sizeof(Tie))
            for i, (first, second, strength) in enumerate(ties):
                run.ties[i].i, run.ties[i].j, run.ties[i].strength = first, second, strength
                run.ties[i].slot = run.n_tie_penalties
                run.n_tie_penalties += layers[run.ties[i].i].vectors
        if randomness is not None:
            (run.seed[0], run.seed[1]), (run.input_dropout, *dropouts), run.input_noise, augmentation = randomness
            for i, dropout in enumerate(dropouts):
                layers[i].dropout = dropout
            if augmentation is not None:
                a = &run.augmentation
                a.height, a.width, a.shift, a.rotation, a.scale, a.shear, a.elastic_alpha, a.elastic_sigma = augmentation
            if run.input_dropout > 0 or run.input_noise > 0 or augmentation is not None:
                run.direct = False  # the gathered rows are changed
        run.settings = {**settings, "rule": RULES[settings["rule"]]}
        run.learning_rates = <const double *>rates.pointer()
        buffers = borrow_states(states, run.state)
        run.penalty_over_weight, run.guarded = penalty_over_weight, guarded
        run.t = (<int64_t *>steps.pointer())[0]
        run.record = <double *>r.pointer()
        if batch_size != self.paced_batch:
            memset(&self.pace, 0, sizeof(Pace))
            self.paced_batch = batch_size
        run.pace = &self.pace
        n_threads = self.team_size(batch_size, run.n_rows, n_threads)
        self.place(&run, self.chunk_of(batch_size), n_threads)
        if not any(l1 or l2 for l1, l2 in penalties):
            run.n_penalties = 0
        try:
            self.go(&run, train_member, n_threads)
        finally:
            if run.n_spoilt == 0 or not guarded:
                (<int64_t *>steps.pointer())[0] = run.t
        return NAN if run.n_spoilt else run.loss

    def evaluate(self, parameters, Data data, order, gradient, int n_threads):
        """Weighted mean loss over the rows, and its gradient if an array for it is given."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef Memory copy = Memory()
        cdef Buffer p = Buffer(parameters), g, o = Buffer(order) if order is not None else None
        cdef double record[3]
        cdef Pace pace
        self.begin(&run, <Layer *>copy.reserve(self.n_layers * sizeof(Layer)),
                   LOSS_ONLY if gradient is None else GRADIENT, p, data, o,
                   o.view.shape[0] if o is not None else data.n_rows)
        if gradient is not None:
            g = Buffer(gradient, True)
            run.gradient = g.pointer()
        run.record = record
        memset(&pace, 0, sizeof(Pace))
        run.pace = &pace
        n_threads = self.team_size(run.n_rows, run.n_rows, n_threads)
        self.place(&run, self.chunk_of(run.batch), n_threads)
        self.go(&run, train_member, n_threads)
        return record[0]

    def forward(self, parameters, Data data, out, int n_threads):
        """Activations of the last layer to out (n, n_out); keeps all activations for `backward`."""
        self.own_cost(FORWARD, parameters, data, out, None, None, n_threads)

    def backward(self, parameters, Data data, output_gradient, gradient, input_gradient, int n_threads):
        """Gradients with respect to parameters and (unless None) inputs, from dC/d(what `forward` gave)."""
        self.own_cost(BACKWARD, parameters, data, output_gradient, gradient, input_gradient, n_threads)

    cdef int own_cost(self, Mode mode, parameters, Data data, output, gradient, input_gradient, int n_threads) except -1:
        if mode == BACKWARD and data is not self.kept:
            raise RuntimeError("backward needs a call of forward before it, with nothing trained or evaluated between")
        cdef Running running = Running(self, data if mode == BACKWARD else None)
        cdef Run run
        cdef Memory copy = Memory()
        cdef Buffer p = Buffer(parameters), out = Buffer(output, mode == FORWARD), g, gx
        self.begin(&run, <Layer *>copy.reserve(self.n_layers * sizeof(Layer)), mode, p, data, None, data.n_rows)
        run.output = out.pointer()
        if gradient is not None:
            g = Buffer(gradient, True)
            run.gradient = g.pointer()
        if input_gradient is not None:
            gx = Buffer(input_gradient, True)
            run.input_gradient = gx.pointer()
        n_threads = self.team_size(run.n_rows, run.n_rows, n_threads)
        self.place(&run, run.n_rows, n_threads)
        self.go(&run, own_cost_member, n_threads)
        self.kept = data
        return 0

    def step(self, parameters, gradient, settings, double learning_rate, states, t, penalties):
        """One update of all parameters from a given gradient; arguments as in `train`. FloatingPointError, and nothing has
        changed, if the rule would divide by squares that overflow."""
        cdef Running running = Running(self, None)
        cdef Buffer p = Buffer(parameters, True), g = Buffer(gradient), steps = Buffer(t, True)
        cdef Settings settings_ = {**settings, "rule": RULES[settings["rule"]]}
        cdef Update update
        cdef char *whole[MAX_STATES]
        cdef char *at[MAX_STATES]
        cdef double norm[2]
        cdef double unused = 0, decay
        cdef Py_ssize_t n
        cdef size_t offset
        cdef Layer *layer
        cdef int i
        cdef bint biases, measuring, squared = state_of_squares(settings_.rule) >= 0
        buffers = borrow_states(states, whole)
        update = step_of(&settings_, learning_rate, (<int64_t *>steps.pointer())[0] + 1)
        decay, norm[0] = update.decay, 0
        for measuring in ([True, False] if settings_.clip_norm > 0 or squared else [False]):
            for i in range(self.n_layers):
                layer = self.layers + i
                for biases in (False, True):
                    update.l1, update.l2 = (0.0, 0.0) if biases else penalties[i]
                    update.decay = 0 if biases or layer.radial else decay
                    offset = (layer.b if biases else layer.w) * self.k.itemsize
                    n = layer.n_out if biases else layer.n_in * layer.n_out
                    states_at(whole, offset, at)
                    if measuring:
                        norm[1] = self.k.norm(&update, n, p.pointer() + offset, g.pointer() + offset)
                        norm[0] = norm_of(norm, 2)
                    else:
                        self.k.update(&update, n, p.pointer() + offset, g.pointer() + offset, <void **>at, &unused)
            if measuring and settings_.clip_norm > 0:
                update.scale = clipping(norm[0], settings_.clip_norm)
            if measuring and squared and settings_.clip_value == 0 and not (
                norm[0] * update.scale < (2.0 ** 64 if self.k.itemsize == 4 else 2.0 ** 512)
            ):
                raise FloatingPointError(
                    f"gradient must have squares that are finite in the network's dtype, got one of norm {norm[0]:.3g}: "
                    "scale the cost, or clip"
                )
        (<int64_t *>steps.pointer())[0] += 1
        for i in range(self.n_layers):
            layer = self.layers + i
            for n in range(0, layer.n_out if layer.max_norm else 0, self.k.lanes):
                self.k.bound_columns(layer.n_in, min(self.k.lanes, layer.n_out - n),
                                     p.pointer() + (layer.w + n) * self.k.itemsize, layer.n_out, layer.max_norm)

    def reads(self, X):
        """Whether X is an array that is read as it is: two-dimensional and of the right width, aligned, of float32,
        float64, uint8 or bool in native byte order, whatever its strides."""
        return (
            PyArray_Check(X) and PyArray_NDIM(X) == 2 and PyArray_DIM(X, 1) == self.layers.n_in
            and PyArray_ISBEHAVED_RO(X) and PyArray_TYPE(X) in (NPY_FLOAT, NPY_DOUBLE, NPY_UINT8, NPY_BOOL)
        )

    def predicts_alone(self, Py_ssize_t rows):
        """Whether so few rows are predicted by the calling thread alone."""
        return self.team_size(rows, rows, 2) == 1

    cdef size_t packed_size(self, Run *run, int i):
        """Bytes for W and b packed; 0 where that does not pay: it does where W overflows the L1 cache and there are rows enough
        to use what was packed."""
        cdef Layer *layer = self.layers + i
        if layer.n_in * layer.n_out * self.k.itemsize <= 32768 or run.n_rows < 48 or run.sparse and i == 0:
            return 0
        return aligned((layer.n_in + 1) * layer.vectors * self.k.lanes * self.k.itemsize)

    def predict(self, parameters, X, order, out, int n_threads):
        """Output activations of the rows of X, an array that `reads` accepts or CSR: in out (n, n_out), contiguous, or in a
        new array if that is None. Several threads may be in here at once."""
        cdef Run run
        cdef Layer *layer
        cdef Py_ssize_t itemsize = self.k.itemsize, widest = 0, layers_size, packed = 0, i
        cdef size_t size
        cdef npy_intp shape[2]
        cdef Nonzeros nonzeros
        cdef char small[16384]
        cdef char *base = small + (-<uintptr_t>small & 63)
        cdef Memory memory
        cdef Data data
        cdef int type_ = NPY_FLOAT if itemsize == 4 else NPY_DOUBLE
        memset(&run, 0, sizeof(Run))
        run.k, run.n_layers, run.cost, run.mode = self.k, self.n_layers, self.cost, PREDICT
        run.parameters = PyArray_BYTES(parameters)
        if PyArray_Check(X):
            run.n_rows = PyArray_DIM(X, 0)
            run.x.data, run.x.row_stride, run.x.column_stride = PyArray_BYTES(X), PyArray_STRIDE(X, 0), PyArray_STRIDE(X, 1)
            run.x.dtype = FLOAT32 if PyArray_TYPE(X) == NPY_FLOAT else FLOAT64 if PyArray_TYPE(X) == NPY_DOUBLE else UINT8
            run.direct = (
                PyArray_TYPE(X) == type_ and run.x.column_stride == itemsize and run.x.row_stride % itemsize == 0
            )
        else:
            data = Data(X)
            run.n_rows, run.csr, run.sparse, run.most = data.n_rows, data.csr, True, data.most
        if order is not None:
            run.n_rows, run.order = PyArray_DIM(order, 0), <const int64_t *>PyArray_BYTES(order)
        run.layers = self.layers
        run.listed = run.sparse or (run.n_rows > 0 and lists_repay(&run, 32 if run.n_rows < 48 else 512))
        if run.listed and not run.sparse:
            run.most = self.layers.n_in
        if out is None:
            shape[0], shape[1] = run.n_rows, self.layers[self.n_layers - 1].n_out
            out = PyArray_EMPTY(2, shape, type_, False)
        run.output = PyArray_BYTES(out)
        if run.n_rows == 0:
            return out
        # rows enough to use a weight often while it is in cache, few enough that activations stay there and all have work
        run.block = min(run.n_rows, max(24, min(96, run.n_rows // 16)))
        # the workspace: layers, packed weights, and for each member two buffers of a block
        layers_size = aligned(self.n_layers * sizeof(Layer))
        for i in range(self.n_layers):
            layer = self.layers + i
            if i:
                widest = max(widest, (layer - 1).vectors * self.k.lanes)
            elif not run.direct and not run.sparse:
                widest = layer.n_in
            packed += self.packed_size(&run, i)
        run.scratch_size = 2 * aligned(run.block * widest * itemsize)
        run.scratch_size += <size_t>place_nonzeros(&nonzeros, NULL, run.block, run.block * run.most, itemsize)
        size = layers_size + packed + n_threads * run.scratch_size
        if size > sizeof(small) - 64:
            memory = Memory()
            base = memory.reserve(size)
        run.layers, run.scratch = <Layer *>base, base + layers_size + packed
        memcpy(run.layers, self.layers, self.n_layers * sizeof(Layer))
        base += layers_size
        for i in range(self.n_layers):
            layer = run.layers + i
            layer.width = layer.n_out
            size = self.packed_size(&run, i)
            if size:
                layer.packed = base
                move_parameters(&run, layer, run.parameters, base, False, 0, layer.vectors)
                if i < self.n_layers - 1:  # whole vectors of A, which only the next layer reads
                    layer.width = layer.vectors * self.k.lanes
                base += size
        if not self.repays_threads(run.n_rows):  # some microseconds: not worth passing the GIL to and fro
            run.next_check = INFINITY
            predict_member(&run, NULL, 0, 1)
        else:
            run.next_check = team_clock() + 0.05
            self.go(&run, predict_member, n_threads)
        return out


# ---- who uses what ----------------------------------------------------------------------------------------------------
#
# A signal's handler runs between two bytecodes of Python, where it may raise and may call anything. No Python code runs in
# the methods below, and they make no objects that the garbage collector would run for: with the GIL, each is one action for
# handlers and for other threads. `with` gives a handler no place between __enter__ and the block, or the block and __exit__;
# where a version of Python does, what was entered is left when the context is deleted.

IN_USE = (
    "this network is being trained or evaluated by another call: until that returns, a signal handler or another thread "
    "can only predict or save"
)

cdef enum: MAX_LIBRARIES = 16

cdef Py_ssize_t _forks = 0      # between the first process and this one,
cdef long _forker = 0           #   the last one by this thread
cdef dict _calls = {}           # Calls of the threads that have any
cdef Blas _blas = None          # that was limited last


@cython.final
@cython.no_gc
cdef class Running:
    """A run in the engine's workspace, for as long as this object lives."""

    cdef Engine engine

    def __cinit__(self, Engine engine, Data kept):
        """kept: what the activations in the workspace will go on being of."""
        if engine.running:
            raise RuntimeError(IN_USE)
        engine.running = True
        self.engine = engine
        engine.kept = kept

    def __dealloc__(self):
        if self.engine is not None:
            self.engine.running = False


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

    cdef Engine engine
    cdef Calls calls  # None outside

    def __init__(self, network):
        self.engine = network._engine

    def __enter__(self):
        cdef long thread = PyThread_get_thread_ident()
        cdef Calls calls
        self.engine.take(thread)
        try:
            calls = calls_of(thread)
        except MemoryError:
            self.engine.depth -= 1
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
            self.engine.depth -= 1
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
