# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The training step, where BLAS meets the kernels.

Everything between `Engine`'s methods and the kernels runs without the GIL and is written once for both dtypes: arrays are
`char *`, sizes are in elements, and the kernel table knows the rest. One pass over a batch is, for each member of the team,

    my row blocks:    gather -> Z = H W + b, A = f(Z), layer by layer; loss and output delta; delta <- (delta W^T) * f'(Z)
    barrier
    my weight panels: G = H^T delta for a panel of rows of W, then the optimizer on it while it is in cache
    barrier

or, where a layer goes to BLAS, a pass per layer that is shared by columns, so that each weight is packed once.

Blocks, columns and panels are cut by the problem's shape and never by the number of threads, and each is computed whole by one
member: the bits of the result do not depend on the number of threads. A batch too large for the workspace runs in chunks
whose gradients add up in an array before the update.
"""
cimport cython
from cpython.buffer cimport (
    Py_buffer, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.math cimport pow, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastbp._blas cimport gemm


cdef extern from "kernels.h" nogil:
    ctypedef enum Activation:
        IDENTITY, LOGISTIC, TANH, RELU
    ctypedef enum Loss:
        NO_LOSS, SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, POISSON
    ctypedef enum Rule:
        GRADIENT_DESCENT, MOMENTUM, NESTEROV, ADAM
    ctypedef enum DType:
        FLOAT32, FLOAT64, UINT8
    ctypedef struct Update:
        Rule rule
        double learning_rate, momentum, beta_1, beta_2, epsilon, l1, l2
    ctypedef struct Strided:
        const char *data
        ptrdiff_t row_stride, column_stride
        DType dtype
    ctypedef struct Csr:
        const char *data
        const char *indices
        const char *indptr
        DType dtype
        int wide_indices, wide_indptr
    ctypedef struct Kernels:
        const char *isa
        size_t itemsize
        void (*matmul)(ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t,
                       const void *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*transpose)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*fill_rows)(ptrdiff_t, ptrdiff_t, const void *, void *, ptrdiff_t) noexcept nogil
        void (*column_sums)(ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, int, void *) noexcept nogil
        void (*gather)(ptrdiff_t, ptrdiff_t, const Strided *, const int64_t *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*csr_matmul)(ptrdiff_t, ptrdiff_t, const Csr *, const int64_t *, ptrdiff_t, const void *, ptrdiff_t,
                           const void *, void *, ptrdiff_t) noexcept nogil
        void (*csr_gradient)(ptrdiff_t, ptrdiff_t, const Csr *, const int64_t *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                             const void *, ptrdiff_t, int, void *, ptrdiff_t) noexcept nogil
        void (**activate)(ptrdiff_t, void *) noexcept nogil
        void (**derivative)(ptrdiff_t, const void *, void *) noexcept nogil
        void (*exp)(ptrdiff_t, void *) noexcept nogil
        void (*softmax)(ptrdiff_t, ptrdiff_t, void *) noexcept nogil
        double (*loss)(Loss, ptrdiff_t, ptrdiff_t, void *, const void *, const int64_t *, const double *, double,
                       void *) noexcept nogil
        void (*update)(const Update *, ptrdiff_t, void *, const void *, void *, void *, double *) noexcept nogil
    const Kernels *fastbp_kernels(const char *isa)
    const char *const *fastbp_isas_built

cdef extern from "team.h" nogil:
    ctypedef struct Team:
        pass
    ctypedef void (*TeamTask)(void *, Team *, int, int) noexcept nogil
    int team_run(int n, TeamTask task, void *arg)
    void team_barrier(Team *team)
    double team_clock()

cdef extern from "Python.h":
    int pending_signal "PyErr_CheckSignals"() noexcept


ACTIVATIONS = {"identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH, "relu": RELU}
LOSSES = {
    None: NO_LOSS, "squared_error": SQUARED_ERROR, "cross_entropy": CROSS_ENTROPY,
    "softmax_cross_entropy": SOFTMAX_CROSS_ENTROPY, "poisson": POISSON,
}
RULES = {"gradient_descent": GRADIENT_DESCENT, "momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM}

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


cdef class Data:
    """Training data: X dense or CSR, targets, weights; borrowed, not copied. network.py has checked all of it.

    X : (n, n_features) array of float32, float64, uint8 or bool with any strides, or CSR with ascending columns;
    y : (n, n_outputs) array of the same dtypes, or None; labels : (n,) int64, or None; weights : (n,) float64, or None.
    """

    cdef readonly Py_ssize_t n_rows, n_features
    cdef bint sparse
    cdef Strided x, y
    cdef Csr csr
    cdef const int64_t *labels
    cdef const double *weights
    cdef list buffers

    def __init__(self, X, y=None, labels=None, weights=None):
        cdef Buffer b
        self.buffers = []
        self.n_rows, self.n_features = X.shape
        self.sparse = not hasattr(X, "strides")
        if self.sparse:
            b = self.borrow(X.data)
            self.csr.data, self.csr.dtype = b.pointer(), b.dtype()
            b = self.borrow(X.indices)
            self.csr.indices, self.csr.wide_indices = b.pointer(), b.view.itemsize == 8
            b = self.borrow(X.indptr)
            self.csr.indptr, self.csr.wide_indptr = b.pointer(), b.view.itemsize == 8
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
    double l1, l2
    bint blas               # products by BLAS rather than by the register-tiled kernel
    Py_ssize_t panel        # rows of W in a panel
    Py_ssize_t n_panels
    char *a                 # workspace: activations (rows, n_out),
    char *d                 #   deltas (rows, n_out),
    char *wt                #   and W^T (n_out, n_in), kept up to date by the updates; NULL where BLAS transposes


cdef enum Mode:
    TRAIN, LOSS_ONLY, GRADIENT, FORWARD, BACKWARD, PREDICT


cdef struct Pace:
    double seconds[2]       # that a step took lately with one member, with all
    double next_trial       # when to try the slower one again


cdef struct Run:
    # the network
    const Kernels *k
    Layer *layers
    int n_layers
    Loss loss
    Py_ssize_t n_weights, n_panels
    # the data
    bint sparse, direct     # direct: rows of X are used where they lie, without a gather
    bint by_layers          # a barrier after each layer, rather than all layers of a row block in one go
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
    Update update
    bint penalty_over_weight
    int64_t t               # optimizer steps made
    # arrays
    char *parameters
    char *gradient
    char *s1
    char *s2
    char *input             # workspace: gathered rows of X
    char *output            # PREDICT, FORWARD: (n_rows, n_out); BACKWARD: dC/da of the last layer
    char *input_gradient    # BACKWARD: (n_rows, n_in) or NULL
    const double *learning_rates  # TRAIN: one for each batch
    double *record
    double *block_loss
    double *panel_penalty
    char *scratch           # scratch_size bytes for each member
    size_t scratch_size
    # the team
    bint stop
    int active              # members at work in this segment
    Py_ssize_t segment_begin, segment_end
    double segment_began
    Pace *pace
    double next_check


cdef Py_ssize_t n_blocks_of(Py_ssize_t rows, Py_ssize_t most) noexcept nogil:
    """Blocks that `rows` rows are cut into, none above `most`; an even number where there is enough to share."""
    if rows < 4:
        return 1
    return 2 * ((rows + 2 * most - 1) // (2 * most))


cdef inline void barrier(Team *team, int n_members) noexcept nogil:
    """Of the members at work: all of the team, or one."""
    if n_members > 1:
        team_barrier(team)


cdef bint interrupted(Run *run, int member) noexcept nogil:
    """Whether to stop; member 0 asks Python every 50 ms."""
    if member == 0 and team_clock() > run.next_check:
        with gil:
            if pending_signal():  # the exception stays set; Engine raises it at the end
                run.stop = True
        run.next_check = team_clock() + 0.05
    return run.stop


cdef inline char *rows_of_x(Run *run, Py_ssize_t first, Py_ssize_t row, Py_ssize_t *ld) noexcept nogil:
    """Row `row` of the chunk that starts at `first`, as the products read it, and the distance between rows."""
    cdef Py_ssize_t n_in = run.layers[0].n_in
    if run.direct:
        ld[0] = run.x.row_stride // <Py_ssize_t>run.k.itemsize
        return <char *>run.x.data + (first + row) * run.x.row_stride
    ld[0] = n_in
    return run.input + row * n_in * run.k.itemsize


cdef void affine(Run *run, Layer *layer, Py_ssize_t m, const char *h, Py_ssize_t ldh, char *z) noexcept nogil:
    """Z = H W + b for m rows."""
    cdef const Kernels *k = run.k
    cdef char *w = run.parameters + layer.w * k.itemsize
    cdef char *b = run.parameters + layer.b * k.itemsize
    if layer.blas:
        k.fill_rows(m, layer.n_out, b, z, layer.n_out)
        gemm(k.itemsize, False, False, m, layer.n_out, layer.n_in, h, ldh, w, layer.n_out, 1, z, layer.n_out)
    else:
        k.matmul(m, layer.n_out, layer.n_in, h, ldh, 1, w, layer.n_out, b, 0, z, layer.n_out)


cdef void output_unit(Run *run, Py_ssize_t m, Py_ssize_t n, char *z) noexcept nogil:
    """The unit that a loss from logits brings along."""
    if run.loss == CROSS_ENTROPY:
        run.k.activate[<int>LOGISTIC](m * n, z)
    elif run.loss == SOFTMAX_CROSS_ENTROPY:
        run.k.softmax(m, n, z)
    elif run.loss == POISSON:
        run.k.exp(m * n, z)


cdef void gather_block(Run *run, Py_ssize_t first, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """Rows row..row+m of the chunk that starts at `first` to the workspace, unless they are read where they lie."""
    cdef Py_ssize_t ld = 0
    cdef char *h
    if not run.sparse and not run.direct:
        h = rows_of_x(run, first, row, &ld)
        run.k.gather(m, ld, &run.x, run.order + first + row if run.order != NULL else NULL, first + row, h, ld)


cdef inline char *input_of(Run *run, Layer *layer, Py_ssize_t first, Py_ssize_t row, Py_ssize_t *ld) noexcept nogil:
    """Row `row` of what the layer reads, and the distance between rows (dense X)."""
    if layer == run.layers:
        return rows_of_x(run, first, row, ld)
    ld[0] = layer.n_in
    return (layer - 1).a + row * layer.n_in * run.k.itemsize


cdef void forward_rows(Run *run, Layer *layer, Py_ssize_t first, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """A = f(H W + b) for rows row..row+m of the chunk that starts at `first`."""
    cdef const Kernels *k = run.k
    cdef Py_ssize_t ldh = 0
    cdef char *z = layer.a + row * layer.n_out * k.itemsize
    cdef char *h
    if layer == run.layers and run.sparse:
        k.csr_matmul(m, layer.n_out, &run.csr, run.order + first + row if run.order != NULL else NULL, first + row,
                     run.parameters + layer.w * k.itemsize, layer.n_out, run.parameters + layer.b * k.itemsize, z,
                     layer.n_out)
    else:
        h = input_of(run, layer, first, row, &ldh)
        affine(run, layer, m, h, ldh, z)
    k.activate[<int>layer.activation](m * layer.n_out, z)


cdef void forward_columns(Run *run, Layer *layer, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t begin,
                          Py_ssize_t n) noexcept nogil:
    """Columns begin..begin+n of A = f(H W + b), for all rows of the chunk: BLAS then packs each weight once."""
    cdef const Kernels *k = run.k
    cdef Py_ssize_t ldh = 0, i
    cdef size_t offset = begin * k.itemsize, stride = layer.n_out * k.itemsize
    cdef char *z = layer.a + offset
    cdef char *h = input_of(run, layer, first, 0, &ldh)
    k.fill_rows(rows, n, run.parameters + layer.b * k.itemsize + offset, z, layer.n_out)
    gemm(k.itemsize, False, False, rows, n, layer.n_in, h, ldh, run.parameters + layer.w * k.itemsize + offset,
         layer.n_out, 1, z, layer.n_out)
    for i in range(rows):
        k.activate[<int>layer.activation](n, z + i * stride)


cdef double loss_block(Run *run, char *scratch, Py_ssize_t first, Py_ssize_t row, Py_ssize_t m, double scale) noexcept nogil:
    """Weighted sum of the losses of m rows, and the output layer's delta times `scale`."""
    cdef const Kernels *k = run.k
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef Py_ssize_t n = last.n_out, i, at
    cdef char *a = last.a + row * n * k.itemsize
    cdef char *d = NULL if run.mode == LOSS_ONLY else last.d + row * n * k.itemsize
    cdef double *weights = <double *>scratch
    cdef int64_t *labels = <int64_t *>(scratch + run.block * sizeof(double))
    cdef char *y = scratch + 2 * run.block * sizeof(double)
    for i in range(m):
        at = <Py_ssize_t>run.order[first + row + i] if run.order != NULL else first + row + i
        if run.weights != NULL:
            weights[i] = run.weights[at]
        if run.labels != NULL:
            labels[i] = run.labels[at]
    if run.has_y:
        k.gather(m, n, &run.y, run.order + first + row if run.order != NULL else NULL, first + row, y, n)
    cdef double loss = k.loss(run.loss, m, n, a, y if run.has_y else NULL, labels if run.labels != NULL else NULL,
                              weights if run.weights != NULL else NULL, scale, d)
    if d != NULL:
        k.derivative[<int>last.activation](m * n, a, d)
    return loss


cdef void backward_rows(Run *run, Layer *layer, Py_ssize_t row, Py_ssize_t m) noexcept nogil:
    """delta of the layer below = (delta W^T) * f'(z) for m rows; of the inputs, for the first layer."""
    cdef const Kernels *k = run.k
    cdef char *d = layer.d + row * layer.n_out * k.itemsize
    cdef size_t offset = row * layer.n_in * k.itemsize
    cdef char *target = ((layer - 1).d if layer != run.layers else run.input_gradient) + offset
    if layer.wt != NULL:
        k.matmul(m, layer.n_in, layer.n_out, d, layer.n_out, 1, layer.wt, layer.n_in, NULL, 0, target, layer.n_in)
    else:
        gemm(k.itemsize, False, True, m, layer.n_in, layer.n_out, d, layer.n_out,
             run.parameters + layer.w * k.itemsize, layer.n_out, 0, target, layer.n_in)
    if layer != run.layers:
        k.derivative[<int>(layer - 1).activation](m * layer.n_in, (layer - 1).a + offset, target)


cdef void backward_columns(Run *run, Layer *layer, Py_ssize_t rows, Py_ssize_t begin, Py_ssize_t n) noexcept nogil:
    """Columns begin..begin+n of the delta of the layer below, for all rows of the chunk."""
    cdef const Kernels *k = run.k
    cdef Py_ssize_t i
    cdef size_t offset = begin * k.itemsize, stride = layer.n_in * k.itemsize
    cdef char *target = (layer - 1).d + offset
    gemm(k.itemsize, False, True, rows, n, layer.n_out, layer.d, layer.n_out,
         run.parameters + (layer.w + begin * layer.n_out) * k.itemsize, layer.n_out, 0, target, layer.n_in)
    for i in range(rows):
        k.derivative[<int>(layer - 1).activation](n, (layer - 1).a + offset + i * stride, target + i * stride)


cdef void chunk_by_rows(Run *run, int member, int n_members, Py_ssize_t first, Py_ssize_t rows,
                        double scale) noexcept nogil:
    """Forward, loss and backward of this member's row blocks, all layers of a block while it is in cache."""
    cdef Py_ssize_t blocks = n_blocks_of(rows, run.block), b, row, m
    cdef int i
    for b in range(blocks * member // n_members, blocks * (member + 1) // n_members):
        if interrupted(run, member):
            return
        row = rows * b // blocks
        m = rows * (b + 1) // blocks - row
        gather_block(run, first, row, m)
        for i in range(run.n_layers):
            forward_rows(run, run.layers + i, first, row, m)
        run.block_loss[b] = loss_block(run, run.scratch + member * run.scratch_size, first, row, m, scale)
        if run.mode != LOSS_ONLY:
            for i in range(run.n_layers - 1, 0, -1):
                backward_rows(run, run.layers + i, row, m)


cdef enum Pass:
    GATHER, FORWARD_LAYER, LOSS, BACKWARD_LAYER


cdef void shared_pass(Run *run, Team *team, int member, int n_members, Pass which, Layer *layer, Py_ssize_t first,
                      Py_ssize_t rows, double scale) noexcept nogil:
    """One pass over the chunk, shared by columns where the layer goes to BLAS, by rows elsewhere; a barrier after."""
    cdef bint by_columns = layer.blas and (which == FORWARD_LAYER or which == BACKWARD_LAYER)
    cdef Py_ssize_t width = rows, parts, p, at, n
    by_columns = by_columns and not (run.sparse and layer == run.layers)
    if by_columns:
        width = layer.n_out if which == FORWARD_LAYER else layer.n_in
    parts = n_blocks_of(width, 512 if by_columns else run.block)
    for p in range(parts * member // n_members, parts * (member + 1) // n_members):
        if interrupted(run, member):
            break
        at = width * p // parts
        n = width * (p + 1) // parts - at
        if which == GATHER:
            gather_block(run, first, at, n)
        elif which == LOSS:
            run.block_loss[p] = loss_block(run, run.scratch + member * run.scratch_size, first, at, n, scale)
        elif which == FORWARD_LAYER:
            if by_columns:
                forward_columns(run, layer, first, rows, at, n)
            else:
                forward_rows(run, layer, first, at, n)
        elif by_columns:
            backward_columns(run, layer, rows, at, n)
        else:
            backward_rows(run, layer, at, n)
    barrier(team, n_members)


cdef void chunk_by_layers(Run *run, Team *team, int member, int n_members, Py_ssize_t first, Py_ssize_t rows,
                          double scale) noexcept nogil:
    """Forward, loss and backward layer by layer, a barrier after each: for networks with layers that go to BLAS."""
    cdef int i
    shared_pass(run, team, member, n_members, GATHER, run.layers, first, rows, scale)
    for i in range(run.n_layers):
        shared_pass(run, team, member, n_members, FORWARD_LAYER, run.layers + i, first, rows, scale)
    shared_pass(run, team, member, n_members, LOSS, run.layers, first, rows, scale)
    if run.mode != LOSS_ONLY:
        for i in range(run.n_layers - 1, 0, -1):
            shared_pass(run, team, member, n_members, BACKWARD_LAYER, run.layers + i, first, rows, scale)


cdef double bias_corrected(const Update *u, int64_t t) noexcept nogil:
    """Adam's learning rate in step t (from 1): eta sqrt(1 - beta_2^t) / (1 - beta_1^t)."""
    return u.learning_rate * sqrt(1 - pow(u.beta_2, <double>t)) / (1 - pow(u.beta_1, <double>t))


cdef void update_parameters(Run *run, const Update *update, Layer *layer, Py_ssize_t at, Py_ssize_t n, const char *g,
                            bint biases, double S, double *penalty) noexcept nogil:
    """The optimizer on parameters at..at+n, from their gradient."""
    cdef size_t offset = at * run.k.itemsize
    cdef Update u = update[0]
    u.l1 = 0 if biases else layer.l1 / S
    u.l2 = 0 if biases else layer.l2 / S
    run.k.update(&u, n, run.parameters + offset, g, run.s1 + offset if run.s1 != NULL else NULL,
                 run.s2 + offset if run.s2 != NULL else NULL, penalty)


cdef void weight_gradient(Run *run, Layer *layer, Py_ssize_t first, Py_ssize_t rows, Py_ssize_t begin, Py_ssize_t size,
                          bint accumulate, char *g) noexcept nogil:
    """G = H^T delta for rows begin..begin+size of the layer's W, over the chunk's rows."""
    cdef const Kernels *k = run.k
    cdef Py_ssize_t n = layer.n_out, ldh = 0
    cdef char *h
    if layer == run.layers and run.sparse:
        k.csr_gradient(rows, n, &run.csr, run.order + first if run.order != NULL else NULL, first, begin, begin + size,
                       layer.d, n, accumulate, g, n)
        return
    h = input_of(run, layer, first, 0, &ldh) + begin * k.itemsize
    if layer.blas:
        gemm(k.itemsize, True, False, size, n, rows, h, ldh, layer.d, n, accumulate, g, n)
    else:
        k.matmul(size, n, rows, h, 1, ldh, layer.d, n, g if accumulate else NULL, n, g, n)


cdef void weight_panel(Run *run, const Update *update, char *scratch, Py_ssize_t first, Py_ssize_t rows, Layer *layer,
                       Py_ssize_t panel, bint accumulate, double S, double *penalty) noexcept nogil:
    """One panel of W (with its first panel, a layer's biases): the gradient of these rows (unless there are none), and
    the update with it (unless `update` is NULL).

    The gradient goes to run.gradient if there is one, otherwise to scratch, where only the update sees it.
    """
    cdef const Kernels *k = run.k
    cdef Py_ssize_t begin = panel * layer.panel, n = layer.n_out
    cdef Py_ssize_t size = min(layer.panel, layer.n_in - begin)
    cdef Py_ssize_t at = layer.w + begin * n
    cdef char *g
    cdef double none = 0
    if panel == 0:
        g = run.gradient + layer.b * k.itemsize if run.gradient != NULL else scratch
        if rows:
            k.column_sums(rows, n, layer.d, n, accumulate, g)
        if update != NULL:
            update_parameters(run, update, layer, layer.b, n, g, True, S, &none)
    g = run.gradient + at * k.itemsize if run.gradient != NULL else scratch
    if rows:
        weight_gradient(run, layer, first, rows, begin, size, accumulate, g)
    if update != NULL:
        update_parameters(run, update, layer, at, size * n, g, False, S, penalty)
        if layer.wt != NULL:
            k.transpose(size, n, run.parameters + at * k.itemsize, n, layer.wt + begin * k.itemsize, layer.n_in)


cdef void weight_panels(Run *run, const Update *update, int member, int n_members, Py_ssize_t first, Py_ssize_t rows,
                        bint accumulate, double S) noexcept nogil:
    """This member's share of the weight panels of all layers, by the number of weights in them."""
    cdef Layer *layer
    cdef Py_ssize_t panel, q = 0, before = 0
    cdef int i
    for i in range(run.n_layers):
        layer = run.layers + i
        for panel in range(layer.n_panels):
            if run.mode == BACKWARD and interrupted(run, member):
                return
            if before * n_members // run.n_weights == member:
                run.panel_penalty[q] = 0
                weight_panel(run, update, run.scratch + member * run.scratch_size, first, rows, layer, panel,
                             accumulate, S, run.panel_penalty + q)
            before += min(layer.panel, layer.n_in - panel * layer.panel) * layer.n_out
            q += 1


cdef bint train_batch(Run *run, Team *team, int member, int n_members, Py_ssize_t batch) noexcept nogil:
    """One batch (modes TRAIN, GRADIENT, LOSS_ONLY), as one of the members at work sees it; False if it was stopped."""
    cdef Py_ssize_t start = batch * run.batch, m = min(run.batch, run.n_rows - start), first = start, rows, i
    cdef double S = <double>m, loss = 0, penalty = 0, penalty_S
    cdef Update update = run.update
    cdef bint whole = run.mode == TRAIN and m <= run.chunk
    if run.weights != NULL:
        S = 0
        for i in range(start, start + m):
            S += run.weights[run.order[i] if run.order != NULL else i]
        if S == 0:
            if member == 0:
                memset(run.record + 3 * batch, 0, 3 * sizeof(double))
            return True
    penalty_S = S if run.penalty_over_weight else 1
    if run.mode == TRAIN:
        update.learning_rate = run.learning_rates[batch]
    if update.rule == ADAM:
        update.learning_rate = bias_corrected(&update, run.t + 1)
    while first < start + m:
        rows = min(run.chunk, start + m - first)
        interrupted(run, member)  # member 0 may have no block of its own
        if run.by_layers:
            chunk_by_layers(run, team, member, n_members, first, rows, 1 / S)
        else:
            chunk_by_rows(run, member, n_members, first, rows, 1 / S)
            barrier(team, n_members)
        if run.stop:  # an unfinished step is dropped whole: no parameter has changed yet
            return False
        if member == 0:
            for i in range(n_blocks_of(rows, run.block)):
                loss += run.block_loss[i]
        if run.mode != LOSS_ONLY:
            weight_panels(run, &update if whole else NULL, member, n_members, first, rows, first > start, penalty_S)
        barrier(team, n_members)
        first += rows
    if run.mode == TRAIN and not whole:
        weight_panels(run, &update, member, n_members, start, 0, False, penalty_S)
        barrier(team, n_members)
    if member == 0:
        if run.mode == TRAIN:
            for i in range(run.n_panels):
                penalty += run.panel_penalty[i]
        run.record[3 * batch] = loss / S
        run.record[3 * batch + 1] = penalty
        run.record[3 * batch + 2] = S
    return True


cdef void choose_pace(Run *run, int n_members, Py_ssize_t done, Py_ssize_t n_batches) noexcept nogil:
    """Whether all members or one do the next batches, and how many: whichever was faster, the other tried now and then.

    How long it takes to pass memory from core to core, and with it whether threads repay small steps, is a matter of
    the machine and of what else runs on it. As the bits don't depend on it, it may be measured while training.
    """
    cdef Pace *pace = run.pace
    cdef double now = team_clock(), seconds
    cdef bint all_ = run.active > 1
    if done > run.segment_begin:
        pace.seconds[all_] = (now - run.segment_began) / (done - run.segment_begin)
    all_ = pace.seconds[0] == 0 or pace.seconds[1] <= pace.seconds[0]
    seconds = 0.005 if all_ else max(0.0, pace.next_trial - now)
    if now > pace.next_trial and 0 < pace.seconds[1] < 0.002:  # longer steps surely repay threads
        all_ = not all_
        pace.next_trial = now + 0.2
        seconds = 0
    run.active = n_members if all_ else 1
    run.segment_begin = done
    run.segment_end = n_batches
    if n_members > 1:
        run.segment_end = min(n_batches, done + 8 + <Py_ssize_t>(seconds / max(pace.seconds[all_], 1e-4)))
    run.segment_began = now


cdef void train_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """All batches, as one member of the team sees them, in segments for which the pace is chosen."""
    cdef Run *run = <Run *>arg
    cdef Py_ssize_t n_batches = (run.n_rows + run.batch - 1) // run.batch, batch, end = 0
    while end < n_batches and not run.stop:
        if member == 0:
            choose_pace(run, n_members, end, n_batches)
        team_barrier(team)
        end = run.segment_end
        if member < run.active:
            for batch in range(run.segment_begin, end):
                if not train_batch(run, team, member, run.active, batch):
                    break
                if member == 0 and run.record[3 * batch + 2] != 0:
                    run.t += 1
                barrier(team, run.active)
        team_barrier(team)
    if member == 0:
        choose_pace(run, n_members, end, n_batches)  # for the next epoch: what the last segment took


cdef void own_cost_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """The forward pass to run.output (FORWARD), or the backward pass from there (BACKWARD), of one batch of all rows."""
    cdef Run *run = <Run *>arg
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef Py_ssize_t blocks = n_blocks_of(run.n_rows, run.block), b, row, size, bytes_of_row = last.n_out * run.k.itemsize
    cdef int i
    for b in range(blocks * member // n_members, blocks * (member + 1) // n_members):
        if interrupted(run, member):
            break
        row = run.n_rows * b // blocks
        size = run.n_rows * (b + 1) // blocks - row
        if run.mode == FORWARD:
            gather_block(run, 0, row, size)
            for i in range(run.n_layers):
                forward_rows(run, run.layers + i, 0, row, size)
            memcpy(run.output + row * bytes_of_row, last.a + row * bytes_of_row, size * bytes_of_row)
        else:
            memcpy(last.d + row * bytes_of_row, run.output + row * bytes_of_row, size * bytes_of_row)
            run.k.derivative[<int>last.activation](size * last.n_out, last.a + row * bytes_of_row,
                                                   last.d + row * bytes_of_row)
            for i in range(run.n_layers - 1, -1 if run.input_gradient != NULL else 0, -1):
                backward_rows(run, run.layers + i, row, size)
    team_barrier(team)
    if run.mode == BACKWARD and not run.stop:
        weight_panels(run, NULL, member, n_members, 0, run.n_rows, False, 1)


cdef void predict_member(void *arg, Team *team, int member, int n_members) noexcept nogil:
    """Output activations of all rows, a block at a time through buffers that stay in cache."""
    cdef Run *run = <Run *>arg
    cdef const Kernels *k = run.k
    cdef Layer *layer
    cdef Layer *last = run.layers + run.n_layers - 1
    cdef char *scratch = run.scratch + member * run.scratch_size
    cdef char *h
    cdef char *z
    cdef char *buffers[2]
    cdef const int64_t *order
    cdef Py_ssize_t blocks = (run.n_rows + run.block - 1) // run.block, b, row, m, ldh
    cdef int i
    buffers[0] = scratch
    buffers[1] = scratch + (run.scratch_size // 2)
    for b in range(blocks * member // n_members, blocks * (member + 1) // n_members):
        if interrupted(run, member):
            return
        row = b * run.block
        m = min(run.block, run.n_rows - row)
        order = run.order + row if run.order != NULL else NULL
        ldh = run.layers.n_in
        h = NULL
        if run.direct:
            h = rows_of_x(run, 0, row, &ldh)
        elif not run.sparse:
            h = buffers[1]
            k.gather(m, ldh, &run.x, order, row, h, ldh)
        for i in range(run.n_layers):
            layer = run.layers + i
            z = run.output + row * last.n_out * k.itemsize if layer == last else buffers[i % 2]
            if i == 0 and run.sparse:
                k.csr_matmul(m, layer.n_out, &run.csr, order, row, run.parameters + layer.w * k.itemsize, layer.n_out,
                             run.parameters + layer.b * k.itemsize, z, layer.n_out)
            else:
                affine(run, layer, m, h, ldh, z)
            k.activate[<int>layer.activation](m * layer.n_out, z)
            h = z
            ldh = layer.n_out
        output_unit(run, m, last.n_out, h)


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


cdef Py_ssize_t aligned(Py_ssize_t size) noexcept:
    return (size + 63) & ~63


cdef int raise_pending() except -1:
    return -1  # PyErr_CheckSignals has set the exception


@cython.final
cdef class Engine:
    """Runs a stack of dense layers over data: training, loss and gradient, prediction.

    Arguments of the methods are arrays that network.py has checked: `parameters`, `gradient`, `s1` and `s2` are flat,
    contiguous, of the engine's dtype; W (n_in, n_out) of a layer is followed by its b (n_out). `order` is an int64
    vector of rows, or None for all rows as they stand.
    """

    cdef const Kernels *k
    cdef Layer *layers
    cdef int n_layers
    cdef Loss loss
    cdef Py_ssize_t n_weights, n_panels
    cdef Memory workspace
    cdef Pace pace
    cdef Py_ssize_t paced_batch
    cdef readonly Py_ssize_t n_parameters
    cdef readonly int n_members  # of the last run's team

    def __init__(self, Py_ssize_t n_inputs, layers, dtype, loss):
        """layers: pairs (n_units, activation name); dtype: "float32" or "float64"."""
        cdef Layer *layer
        cdef Py_ssize_t at = 0, target
        cdef int i
        self.k = &_kernels[0 if dtype == "float32" else 1]
        self.n_layers = len(layers)
        self.layers = <Layer *>calloc(self.n_layers, sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        self.loss = LOSSES[loss]
        self.workspace = Memory()
        for i, (n_units, activation) in enumerate(layers):
            layer = self.layers + i
            layer.n_in = n_inputs if i == 0 else (layer - 1).n_out
            layer.n_out = n_units
            layer.activation = ACTIVATIONS[activation]
            layer.w = at
            layer.b = at + layer.n_in * layer.n_out
            at = layer.b + layer.n_out
            self.n_weights += layer.n_in * layer.n_out
            # Panels are cut here, once: 16 KB of gradient (float32) stay in the L1 cache until the update. For layers
            # that go to BLAS they are larger, since each product packs all of delta.
            target = 4096 if layer.n_in * layer.n_out < 1 << 17 else 1 << 16 if layer.n_out < 1024 else 1 << 19
            target = max(1, target // layer.n_out)
            layer.n_panels = (layer.n_in + target - 1) // target
            target = (layer.n_in + layer.n_panels - 1) // layer.n_panels
            layer.panel = (target + 5) // 6 * 6
            layer.n_panels = (layer.n_in + layer.panel - 1) // layer.panel
            self.n_panels += layer.n_panels
        self.n_parameters = at

    def __dealloc__(self):
        free(self.layers)

    def uses_blas(self, Py_ssize_t rows):
        """Whether batches of so many rows go to BLAS, in any layer."""
        cdef int i
        for i in range(self.n_layers):
            if self.prefers_blas(self.layers + i, rows):
                return True
        return False

    cdef bint prefers_blas(self, Layer *layer, Py_ssize_t rows):
        """Packing pays where W overflows the L2 cache and there are rows enough to use what was packed."""
        return layer.n_in * layer.n_out * self.k.itemsize > 512 * 1024 and layer.n_out >= 64 and rows >= 48

    cdef int begin(self, Run *run, Layer *layers, Mode mode, Buffer parameters, Data data, Buffer order,
                   Py_ssize_t batch) except -1:
        """Fill in what all runs share."""
        cdef int i
        memset(run, 0, sizeof(Run))
        memcpy(layers, self.layers, self.n_layers * sizeof(Layer))
        run.k, run.layers, run.n_layers, run.loss = self.k, layers, self.n_layers, self.loss
        run.n_weights, run.n_panels, run.mode = self.n_weights, self.n_panels, mode
        run.sparse, run.x, run.csr, run.y = data.sparse, data.x, data.csr, data.y
        run.has_y = data.y.data != NULL and data.labels == NULL
        run.labels, run.weights = data.labels, data.weights
        run.order = <const int64_t *>order.pointer() if order is not None else NULL
        run.n_rows = order.view.shape[0] if order is not None else data.n_rows
        run.direct = (
            not data.sparse and order is None and data.x.dtype == (FLOAT32 if self.k.itemsize == 4 else FLOAT64)
            and data.x.column_stride == <Py_ssize_t>self.k.itemsize
            and data.x.row_stride >= data.n_features * <Py_ssize_t>self.k.itemsize
            and data.x.row_stride % <Py_ssize_t>self.k.itemsize == 0
        )
        run.parameters = parameters.pointer()
        run.batch = batch
        run.block = 24
        for i in range(self.n_layers):
            layers[i].blas = self.prefers_blas(layers + i, batch)
            if layers[i].blas:
                run.block = 128
                run.by_layers = True
        run.next_check = team_clock() + 0.05
        return 0

    cdef int place(self, Run *run, Py_ssize_t chunk, int n_threads) except -1:
        """Lay out the workspace for chunks of so many rows; bring the transposed weights up to date.

        The activations lie at the same places in BACKWARD as in FORWARD before it.
        """
        cdef Layer *layer
        cdef Py_ssize_t size = 0, most_out = 0, most_panel = 0, blocks = n_blocks_of(chunk, run.block)
        cdef size_t itemsize = self.k.itemsize
        cdef bint own_gradient = run.mode == TRAIN and chunk < run.batch
        cdef char *p
        cdef int i, round_
        run.chunk = chunk
        for i in range(self.n_layers):
            layer = self.layers + i
            most_out = max(most_out, layer.n_out)
            most_panel = max(most_panel, min(layer.panel, layer.n_in) * layer.n_out)
        run.scratch_size = aligned(max(max(most_panel, most_out) * itemsize,
                                       2 * run.block * sizeof(double)
                                       + run.block * self.layers[self.n_layers - 1].n_out * itemsize))
        for round_ in range(2):  # first the sizes, then the places
            p = self.workspace.reserve(size) if round_ else NULL
            if not run.direct and not run.sparse:
                run.input = p
                p += aligned(chunk * self.layers[0].n_in * itemsize)
            for i in range(self.n_layers):
                layer = run.layers + i
                layer.a = p
                p += aligned(chunk * layer.n_out * itemsize)
                layer.d = p
                p += aligned(chunk * layer.n_out * itemsize)
            for i in range(1, self.n_layers):
                layer = run.layers + i
                if not layer.blas and run.mode != LOSS_ONLY:
                    layer.wt = p
                    p += aligned(layer.n_in * layer.n_out * itemsize)
            if own_gradient:
                run.gradient = p
                p += aligned(self.n_parameters * itemsize)
            run.block_loss = <double *>p
            p += aligned(blocks * sizeof(double))
            run.panel_penalty = <double *>p
            p += aligned(self.n_panels * sizeof(double))
            run.scratch = p
            p += n_threads * run.scratch_size
            if round_ == 0:
                size = <size_t>p
        for i in range(self.n_layers):
            layer = run.layers + i
            if layer.wt != NULL:
                self.k.transpose(layer.n_in, layer.n_out, run.parameters + layer.w * itemsize, layer.n_out, layer.wt,
                                 layer.n_in)
        return 0

    cdef Py_ssize_t chunk_of(self, Py_ssize_t batch):
        """Rows of a batch that are worked on at once: bounded in memory (64 MB) and in time (for Ctrl-C)."""
        cdef Py_ssize_t width = self.layers[0].n_in, most
        cdef int i
        for i in range(self.n_layers):
            width += 2 * self.layers[i].n_out
        most = max(64, min((1 << 26) // (width * <Py_ssize_t>self.k.itemsize), (1 << 32) // (self.n_weights + 1)))
        return min(batch, most)

    cdef int team_size(self, Py_ssize_t batch, Py_ssize_t rows, int n_threads):
        """Threads are used only where the work repays them: some 400 kflop a step, 50 Mflop in all."""
        if 4 * self.n_weights * batch < 400000 or 4 * self.n_weights * rows < 50000000:
            return 1
        return n_threads

    cdef int go(self, Run *run, TeamTask task, int n_threads) except -1:
        with nogil:
            n_threads = team_run(n_threads, task, run)
        self.n_members = n_threads
        if run.stop:
            raise_pending()
        return 0

    def train(self, parameters, Data data, order, Py_ssize_t batch_size, rule, learning_rates, double momentum,
              double beta_1, double beta_2, double epsilon, s1, s2, t, penalties, bint penalty_over_weight, record,
              int n_threads):
        """One epoch. learning_rates: float64 vector, one for each batch; penalties: pairs (l1, l2), one a layer; t: int64
        array of one, the optimizer's steps so far; record: float64 (n_batches, 3), receives loss, penalty and sum of
        weights of each batch."""
        cdef Run run
        cdef Layer *layers
        cdef int i
        cdef Memory copy = Memory()
        cdef Buffer p = Buffer(parameters, True), r = Buffer(record, True), steps = Buffer(t, True), v1, v2
        cdef Buffer o = Buffer(order) if order is not None else None, rates = Buffer(learning_rates)
        layers = <Layer *>copy.reserve(self.n_layers * sizeof(Layer))
        self.begin(&run, layers, TRAIN, p, data, o, batch_size)
        for i, (l1, l2) in enumerate(penalties):
            layers[i].l1, layers[i].l2 = l1, l2
        run.update.rule = RULES[rule]
        run.learning_rates, run.update.momentum = <const double *>rates.pointer(), momentum
        run.update.beta_1, run.update.beta_2, run.update.epsilon = beta_1, beta_2, epsilon
        run.penalty_over_weight = penalty_over_weight
        run.t = (<int64_t *>steps.pointer())[0]
        run.record = <double *>r.pointer()
        if batch_size != self.paced_batch:
            memset(&self.pace, 0, sizeof(Pace))
            self.paced_batch = batch_size
        run.pace = &self.pace
        if s1 is not None:
            v1 = Buffer(s1, True)
            run.s1 = v1.pointer()
        if s2 is not None:
            v2 = Buffer(s2, True)
            run.s2 = v2.pointer()
        n_threads = self.team_size(batch_size, run.n_rows, n_threads)
        self.place(&run, self.chunk_of(batch_size), n_threads)
        try:
            self.go(&run, train_member, n_threads)
        finally:
            (<int64_t *>steps.pointer())[0] = run.t

    def evaluate(self, parameters, Data data, order, gradient, int n_threads):
        """Weighted mean loss over the rows, and its gradient if an array for it is given."""
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
        return 0

    def step(self, parameters, gradient, rule, double learning_rate, double momentum, double beta_1, double beta_2,
             double epsilon, s1, s2, t, penalties):
        """One update of all parameters from a given gradient."""
        cdef Run run
        cdef Update update
        cdef Buffer p = Buffer(parameters, True), g = Buffer(gradient), steps = Buffer(t, True), v1, v2
        cdef double unused = 0
        cdef Layer layer
        cdef int i
        memset(&run, 0, sizeof(Run))
        memset(&update, 0, sizeof(Update))
        run.k, run.parameters, run.gradient = self.k, p.pointer(), g.pointer()
        if s1 is not None:
            v1 = Buffer(s1, True)
            run.s1 = v1.pointer()
        if s2 is not None:
            v2 = Buffer(s2, True)
            run.s2 = v2.pointer()
        (<int64_t *>steps.pointer())[0] += 1
        update.rule, update.momentum = RULES[rule], momentum
        update.learning_rate = learning_rate
        update.beta_1, update.beta_2, update.epsilon = beta_1, beta_2, epsilon
        if update.rule == ADAM:
            update.learning_rate = bias_corrected(&update, (<int64_t *>steps.pointer())[0])
        for i in range(self.n_layers):
            layer = self.layers[i]
            layer.l1, layer.l2 = penalties[i]
            update_parameters(&run, &update, &layer, layer.b, layer.n_out, run.gradient + layer.b * self.k.itemsize, True,
                              1, &unused)
            update_parameters(&run, &update, &layer, layer.w, layer.n_in * layer.n_out,
                              run.gradient + layer.w * self.k.itemsize, False, 1, &unused)

    def predict(self, parameters, Data data, order, out, int n_threads):
        """Output activations of the rows to out (n, n_out), contiguous. Several threads may be in here at once."""
        cdef Run run
        cdef Memory memory = Memory()
        cdef Buffer p = Buffer(parameters), result = Buffer(out, True), o = Buffer(order) if order is not None else None
        cdef Py_ssize_t widest = self.layers[0].n_in, layers_size = aligned(self.n_layers * sizeof(Layer))
        cdef Layer *layers
        cdef char *base
        cdef int i
        for i in range(self.n_layers - 1):
            widest = max(widest, self.layers[i].n_out)
        # 128 rows at most in a block, two buffers
        cdef Py_ssize_t rows = o.view.shape[0] if o is not None else data.n_rows
        cdef size_t scratch = 2 * aligned(min(128, rows) * widest * self.k.itemsize)
        n_threads = self.team_size(rows, rows, n_threads)
        base = memory.reserve(layers_size + n_threads * scratch)
        self.begin(&run, <Layer *>base, PREDICT, p, data, o, rows)
        run.scratch, run.scratch_size = base + layers_size, scratch
        run.output = result.pointer()
        self.go(&run, predict_member, n_threads)
