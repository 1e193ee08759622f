# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The boundary between Python and the core in C: buffers in, errors out, and BLAS's pointers.

src_c/run.h says how the members of the team share a batch; fastbp/network/ has checked all that comes in.
"""
cimport cython
from libc.math cimport INFINITY, NAN
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from numpy cimport (
    NPY_BOOL, NPY_DOUBLE, NPY_FLOAT, NPY_UINT8, PyArray_BYTES, PyArray_Check, PyArray_CheckExact, PyArray_DIM, PyArray_EMPTY,
    PyArray_ISBEHAVED_RO, PyArray_ISWRITEABLE, PyArray_NDIM, PyArray_STRIDE, PyArray_TYPE, import_array, npy_intp,
)

from fastbp._arrays cimport Buffer, Data
from fastbp._blas cimport gemm
from fastbp._usage cimport Running, Workspace

from numpy import memmap

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
ROLES = numbered(fastbp_roles)
OPS = numbered(fastbp_ops)
MODES = {
    "train": TRAIN, "loss": LOSS_ONLY, "gradient": GRADIENT, "forward": FORWARD, "backward": BACKWARD, "predict": PREDICT,
}
SPLITS = {BY_ROWS: "rows", BY_COLUMNS: "columns", WHOLE_COLUMNS: "whole columns", ALONE: "alone", BY_WEIGHTS: "weights"}

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


def all_finite(array):
    """Whether there is no NaN and no infinity in a contiguous array of float32 or float64."""
    cdef Buffer b = Buffer(array)
    cdef const Kernels *k = &_kernels[b.dtype() == FLOAT64]
    cdef const void *at = b.pointer()
    cdef bint finite
    with nogil:
        finite = k.all_below(b.view.len // b.view.itemsize, at, INFINITY)
    return finite


def gather_rows(X, out):
    """All rows of X, an array as `Data` takes it, to `out`: as many and as wide, float32 or float64, in C order."""
    cdef Buffer source = Buffer(X), to = Buffer(out, True)
    cdef Strided x = source.strided()
    cdef const Kernels *k = &_kernels[0 if to.dtype() == FLOAT32 else 1]
    cdef Py_ssize_t m = to.view.shape[0], n = to.view.shape[1], i = 0
    with nogil:
        while i < m:  # so few rows that their pages and cache lines stay at hand
            k.gather(min(m - i, 256), n, &x, NULL, i, <char *>to.view.buf + i * n * <Py_ssize_t>k.itemsize, n)
            i += 256


cdef fused Element:
    float
    double
    uint8_t


cdef bint are_below(const char *at, Py_ssize_t m, Py_ssize_t stride, int32_t n, Element zero) noexcept nogil:
    """Whether m numbers, the first of them there and so many bytes apart, are integers from 0 to below n."""
    cdef Element x
    cdef Py_ssize_t i
    cdef bint good = True
    for i in range(m):
        x = (<const Element *>(at + i * stride))[0]
        good &= zero <= x and x < n and x == <Element><int32_t>x
    return good


cdef int poll(Run *run) noexcept nogil:
    """Whether a signal's handler has raised; the exception stays set, and Engine raises it at the end."""
    with gil:
        if pending_signal():
            run.failed = not exception_matches(KeyboardInterrupt)
            return True
    return False


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


cdef char *memory_of(array, bint writable=False) except NULL:
    """That of an array of our own, which lives for as long as the call that it is an argument of."""
    if writable and not PyArray_ISWRITEABLE(array):
        raise ValueError("an array that is to be written to is read-only")
    return PyArray_BYTES(array)


cdef bint fill_penalties(Run *run, penalties) except -1:
    """Strengths of L1 and L2, pairs of the weights in their order; whether any is other than 0."""
    cdef bint penalized = False
    cdef int i
    for i, (l1, l2) in enumerate(penalties):
        run.weights[i].l1, run.weights[i].l2 = l1, l2
        penalized |= run.weights[i].l1 != 0 or run.weights[i].l2 != 0
    return penalized


cdef int fill_augmentation(Augmentation *a, settings) except -1:
    a.height, a.width, a.shift, a.rotation, a.scale, a.shear, a.elastic_alpha, a.elastic_sigma = settings
    return 0


def distort(images, settings, seed, uint32_t first):
    """Distort contiguous rows in place as training distorts those from `first` on of its first batch, given its seed."""
    cdef Buffer a = Buffer(images, True)
    cdef const Kernels *k = &_kernels[0 if a.dtype() == FLOAT32 else 1]
    cdef Augmentation how
    cdef Counter counter
    cdef Memory scratch = Memory()
    cdef char *place
    fill_augmentation(&how, settings)
    (counter.seed[0], counter.seed[1]), counter.step, counter.row, counter.stream = seed, 0, first, 0
    place = scratch.reserve(augmentation_scratch(&how) * k.itemsize)
    with nogil:
        k.augment(a.view.shape[0], &how, &counter, a.view.buf, a.view.shape[1], place)


cdef int fill_states(states, char **pointers) except -1:
    """Pointers to the arrays, NULL for those that there are not."""
    memset(pointers, 0, MAX_STATES * sizeof(char *))
    for i, array in enumerate(states):
        pointers[i] = memory_of(array, True)
    return 0


cdef int fill_ops(Op *ops, list rows) except -1:
    """Ops from (kind, input, output, weights, bias, column, source, n, accumulate, state, epsilon, momentum, n_groups, of,
    n_iterations)."""
    cdef int i
    for i, (kind, input_, output, weights, bias, column, source, n, accumulate, *of_norm) in enumerate(rows):
        ops[i].kind, ops[i].input, ops[i].output, ops[i].weights, ops[i].bias = OPS[kind], input_, output, weights, bias
        ops[i].column, ops[i].source, ops[i].n, ops[i].accumulate = column, source, n, accumulate
        ops[i].state, ops[i].epsilon, ops[i].momentum, ops[i].n_groups, ops[i].of, ops[i].n_iterations = of_norm
    return 0


cdef int fill_ties(Run *run, Memory memory, ties) except -1:
    """Ties of a run, in this memory, from triples (weights, weights, strength)."""
    cdef int i
    if ties:
        run.n_ties = len(ties)
        run.ties = <Tie *>memory.reserve(run.n_ties * sizeof(Tie))
    for i, (first, second, strength) in enumerate(ties):
        run.ties[i].i, run.ties[i].j, run.ties[i].strength = first, second, strength
        run.ties[i].first_penalty = run.n_tie_penalties
        run.n_tie_penalties += run.weights[run.ties[i].i].vectors
    return 0


cdef int raise_pending() except -1:
    return -1  # PyErr_CheckSignals has set the exception


@cython.final
cdef class TogetherPlan:
    """What members who predict a few rows together were planned to do, for the next such call: while nobody writes to it, it stays in
    the caches of all of them."""

    cdef Run run
    cdef Memory program, memory  # of what its pointers lead to
    cdef int n_threads           # 0 while there is no plan

    def __cinit__(self):
        self.program, self.memory = Memory(), Memory()

    cdef bint serves(self, Run *run, int n_threads):
        """Whether it is one for these rows, parameters and so many threads, but for where rows and outputs are."""
        cdef Run *own = &self.run
        return (
            self.n_threads == n_threads and own.n_rows == run.n_rows and own.parameters == run.parameters
            and own.kept[0] == run.kept[0] and own.x.dtype == run.x.dtype and own.x.row_stride == run.x.row_stride
            and own.x.column_stride == run.x.column_stride and own.x_as_nonzeros == takes_nonzeros(run)
        )


@cython.final
cdef class Engine(Workspace):
    """Runs a program over data: training, loss and gradient, prediction.

    Arguments of the methods are arrays that fastbp/network/ has checked: `parameters`, `layer_state`, `gradient` and all of `states`
    are flat, contiguous, of the engine's dtype; W (n_in, n_out) is followed by its b (n_out). `order` is an int64 vector of rows, or None
    for all rows as they stand. Outputs are arrays (n, n_out); of a network with several, tuples of them.
    """

    cdef const Kernels *k
    cdef Memory memory, predicting_memory  # of what the pointers in these lead to,
    cdef Memory copy                       #   and in those of the run at hand
    cdef tuple masks
    cdef Run network, predicting           # what all runs, and predictions, begin with
    cdef list levels, connections          #   and arrays that these lead to
    cdef Memory workspace
    cdef dict last_settings
    cdef Settings settings
    cdef Memory kept_memory      # workspace of a prediction, for the next one,
    cdef TogetherPlan kept_plan  #   and the plan of one
    cdef double ended, gap    # when the last prediction that might repay a team did, and until the next one;
    cdef int n_in_a_row       #   how many have followed each other at once
    cdef Pace pace
    cdef Py_ssize_t paced_batch
    cdef readonly object moderate_t        # that of an optimizer's states of which a guarded step has left none large,
    cdef readonly int64_t moderate_steps   #   and what was in it then
    cdef bint packs                        # some weights are of use in packed form alone: centres, and what norms divide
    cdef bint embeds                       # columns of X are numbers of rows of tables
    cdef readonly Py_ssize_t n_parameters
    cdef readonly int n_members  # of the last run's team

    def __init__(self, program, dtype):
        """program: as fastbp/graph/program.py has it; dtype: "float32" or "float64"."""
        cdef Run *run = &self.network
        cdef Value *value
        cdef Weights *w
        cdef Head *head
        cdef Buffer levels
        cdef int i
        memset(run, 0, sizeof(Run))
        tables = {weights for kind, _, _, weights, *_ in program.forward if kind == "embed"}  # a sample reads a row of each
        self.embeds = bool(tables)
        self.k = run.k = &_kernels[0 if dtype == "float32" else 1]
        run.n_values, run.n_weight_sets, run.n_heads = len(program.values), len(program.weights), len(program.outputs)
        run.n_forward, run.n_backward = len(program.forward), len(program.backward)
        run.n_layer_state = program.n_state
        self.workspace, self.memory, self.copy, self.levels, self.connections = Memory(), Memory(), Memory(), [], []
        run.n_sections = program.n_sections
        for i in range(N_ROLES):
            run.settings.per_role[i] = 1
        size = program_size(run)
        place_program(run, <char *>memset(self.memory.reserve(size), 0, size))
        for i, (n, unit, parameter, dropout, stream, buffer, learns, section) in enumerate(program.values):
            value = run.values + i
            value.n, value.activation, value.parameter, value.radial = n, ACTIVATIONS[unit], parameter, unit == "rbf"
            value.dropout, value.stream, value.buffer, value.learns = dropout, stream, buffer, learns
            value.section = section
            run.n_buffers = max(run.n_buffers, value.buffer + 1)
            value.vectors = (value.n + self.k.lanes - 1) // self.k.lanes
            value.ld = row_distance(self.k, n)
        for i, (role, n_in, n_out, has_bias, max_norm, offset, connections) in enumerate(program.weights):
            w = run.weights + i
            w.role, w.n_in, w.n_out, w.has_bias, w.max_norm, w.offset = ROLES[role], n_in, n_out, has_bias, max_norm or 0, offset
            w.half = w.n_in
            self.packs |= w.role == ROLE_CENTRE
            if connections is not None:
                self.connections.append(connections)
                w.connections.fan_in, w.connections.n_out = n_in, n_out
                w.connections.inputs = <const int32_t *>memory_of(connections[0])
                w.connections.readers = <const Reader *>memory_of(connections[1])
            w.vectors = (w.n_out + self.k.lanes - 1) // self.k.lanes
            run.n_weights += (1 if i in tables else w.n_in) * w.n_out
            self.n_parameters = w.offset + (w.n_in + w.has_bias) * w.n_out
        for i, output in enumerate(program.outputs):
            head = run.heads + i
            head.value, run.values[<int>output].is_output = output, True
            name, head.cost.parameter, level, head.cost.fixed_logit, head.weight = program.costs[i]
            head.cost.kind = LOSSES[name]
            levels = Buffer(level)
            self.levels.append(levels)
            head.cost.levels, head.cost.n_levels = <const double *>levels.pointer(), levels.view.shape[0]
        fill_ops(run.forward, program.forward)
        fill_ops(<Op *>run.backward, program.backward)
        for i in range(run.n_forward):
            if run.forward[i].kind == OP_TRANSPOSED:
                run.weights[run.forward[i].weights].keeps_transpose = True
            self.packs |= run.forward[i].kind == OP_WEIGHT_NORM
        find_sparse(run)
        memcpy(&self.predicting, run, sizeof(Run))
        self.predicting_memory = Memory()
        place_program(&self.predicting, <char *>memcpy(self.predicting_memory.reserve(size), self.memory.start, size))
        prepare_prediction(&self.predicting)

    def set_masks(self, tuple masks):
        """For each of the weights an array (n_in, n_out) of the engine's dtype, 0 where they must not change, or None."""
        cdef Running running = Running(self, None)
        cdef int i
        for i in range(self.network.n_weight_sets):
            self.network.weights[i].flat_mask = NULL
            if masks[i] is not None:
                self.network.weights[i].flat_mask = memory_of(masks[i])
        self.masks = masks

    cdef int begin(self, Run *run, Memory copy, Mode mode, parameters, layer_state, Data data, order, Py_ssize_t batch) except -1:
        """Fill in what all runs share, and give them their own values, weights and ops in `copy`."""
        cdef size_t size = program_size(&self.network)
        cdef Head *head
        cdef Buffer y
        cdef int i
        memcpy(run, &self.network, sizeof(Run))
        place_program(run, copy.reserve(size))
        memcpy(run.values, self.memory.start, <char *>run.ops - <char *>run.values)  # ops and phases are made by the plan
        run.mode, run.poll, run.gemm = mode, poll, gemm
        run.batch_statistics = mode == TRAIN
        run.sparse, run.x, run.csr = data.sparse, data.x, data.csr
        if data.sparse:
            standardize_on_gathering(run)
        run.most = data.most if data.sparse else data.n_features
        run.n_nonzeros = data.n_nonzeros if data.sparse else data.n_rows * data.n_features
        for i in range(run.n_heads if mode < FORWARD else 0):
            head, y, labels = run.heads + i, data.y[i], data.labels[i]
            head.has_y = y is not None and labels is None
            if head.has_y:
                head.y = y.strided()
            if labels is not None:
                head.labels = <const int64_t *>(<Buffer>labels).pointer()
        if mode != TRAIN:
            for i in range(run.n_values):
                run.values[i].dropout = 0
        run.sample_weights = data.weights
        run.order = <const int64_t *>memory_of(order) if order is not None else NULL
        run.n_rows = PyArray_DIM(order, 0) if order is not None else data.n_rows
        run.x_in_place = (
            not data.sparse and data.x.dtype == (FLOAT32 if self.k.itemsize == 4 else FLOAT64)
            and data.x.column_stride == <Py_ssize_t>self.k.itemsize
            and data.x.row_stride % <Py_ssize_t>self.k.itemsize == 0
        )
        if parameters is not None:
            run.parameters = memory_of(parameters, mode == TRAIN)
        run.layer_state = memory_of(layer_state, mode == TRAIN)
        run.batch = batch
        run.block = 48
        run.shared = self.repays_threads(batch)
        run.next_check = team_clock() + 0.05
        return 0

    cdef Settings settings_from(self, dict settings) except *:
        """Those of an optimizer, which go on being the same where the dict is."""
        if settings is not self.last_settings:
            self.settings, self.last_settings = settings, settings
        return self.settings

    cdef int place(self, Run *run, Py_ssize_t chunk, int n_threads) except -1:
        """Plan a run in chunks of so many rows, and lay it out in the workspace."""
        plan(run, chunk, n_threads)
        lay_out(run, n_threads, self.workspace.reserve(lay_out(run, n_threads, NULL)))
        return 0

    cdef bint uses_weights_in_place(self, Data data, Py_ssize_t rows):
        """Whether packing all weights would take longer than it saves a call that uses them for so many rows, once."""
        return rows <= 256 and not data.sparse and not self.packs and self.network.n_sections == 0

    cdef int team_size(self, Py_ssize_t batch, Py_ssize_t rows, int n_threads):
        """Threads are used only where the work repays them, in each step and in all (50 Mflop)."""
        return n_threads if self.repays_threads(batch) and 4 * self.network.n_weights * rows >= 50000000 else 1

    cdef bint repays_threads(self, Py_ssize_t batch):
        """Whether a step of so many rows is enough for several threads: some 400 kflop."""
        return 4 * self.network.n_weights * batch >= 400000

    cdef int go(self, Run *run, TeamTask task, int n_threads, double linger=0) except -1:
        with nogil:
            n_threads = team_run(n_threads, task, run, linger)
        self.n_members = n_threads
        if run.stop:
            raise_pending()
        return 0

    def train(self, parameters, layer_state, Data data, order, Py_ssize_t batch_size, settings, learning_rates, states, t,
              penalties, ties, bint penalty_over_weight, record, int n_threads, randomness=None, bint guarded=False,
              average=None):
        """One epoch. settings, states: those of the optimizer; learning_rates: float64 vector, one for each batch; penalties:
        pairs (l1, l2), one for each of the weights; ties: triples (weights, weights, strength); t: int64 array of one, the
        optimizer's steps so far; record: float64 (n_batches, 3), receives loss, penalty and sum of weights of each batch;
        randomness: None, or seed (two 32-bit integers), dropout rate of inputs, input noise, and None or an
        ImageAugmentation's settings; average: None, or an array of the parameters' average, how many steps it has so far, and its
        decay.

        Returns the mean of the losses with their penalties; NaN if it, a parameter, its average or the layers' state is not finite.
        `guarded` (X is dense): parameters, average, layer_state, states and t are left as they were then, and where a signal's handler
        raises another error than KeyboardInterrupt."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef int i, n_members
        cdef bint in_place, penalized
        cdef Memory tied = Memory() if ties else None
        cdef int64_t *steps = <int64_t *>memory_of(t, True)
        cdef Py_ssize_t n_rows = data.n_rows if order is None else PyArray_DIM(order, 0)
        in_place = self.uses_weights_in_place(data, batch_size) and batch_size >= n_rows and settings["radius"] == 0
        while True:
            self.begin(&run, self.copy, TRAIN, parameters, layer_state, data, order, batch_size)
            penalized = fill_penalties(&run, penalties)
            for i in range(run.n_weight_sets):
                run.bounded = run.bounded or run.weights[i].max_norm > 0
            fill_ties(&run, tied, ties)
            if randomness is not None:
                (run.seed[0], run.seed[1]), run.input_dropout, run.input_noise, augmentation = randomness
                if augmentation is not None:
                    fill_augmentation(&run.augmentation, augmentation)
                if run.input_dropout > 0 or run.input_noise > 0 or augmentation is not None:
                    run.x_in_place = False  # the gathered rows are changed
            run.settings = self.settings_from(settings)
            run.learning_rates = <const double *>memory_of(learning_rates)
            fill_states(states, run.state)
            run.penalty_over_weight, run.guarded, run.weights_in_place = penalty_over_weight, guarded, in_place
            run.t = steps[0]
            run.moderate_states = self.moderate_t is t and self.moderate_steps == steps[0]
            if average is not None:
                values, n_averaged, run.average_decay = average
                run.state[AVERAGE], run.first_averaged = memory_of(values, True), run.t - n_averaged + 1
            run.record = <double *>memory_of(record, True)
            if batch_size != self.paced_batch:
                memset(&self.pace, 0, sizeof(Pace))
                self.paced_batch = batch_size
            run.pace = &self.pace
            n_members = self.team_size(batch_size, run.n_rows, n_threads)
            run.online = learns_online(&run, run.n_rows)
            self.place(&run, chunk_of(&run, batch_size), n_members)
            if not penalized:
                run.n_penalties = 0
            try:
                self.go(&run, train_member, n_members)
            finally:
                if not run.immoderate and (run.n_not_finite == 0 or not guarded):
                    steps[0] = run.t
            if guarded and in_place and not (run.immoderate or run.large_states):
                self.moderate_t, self.moderate_steps = t, steps[0]
            if not run.immoderate:
                return NAN if run.n_not_finite else run.loss
            in_place = False

    def evaluate(self, parameters, layer_state, Data data, order, gradient, int n_threads, bint batch_statistics=False):
        """Weighted mean loss over the rows, and its gradient if an array for it is given. `batch_statistics`: batch normalisation takes
        those of the rows, not the layers' own."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef double record[3]
        cdef Pace pace
        self.begin(&run, self.copy, LOSS_ONLY if gradient is None else GRADIENT, parameters, layer_state, data, order,
                   PyArray_DIM(order, 0) if order is not None else data.n_rows)
        run.weights_in_place = self.uses_weights_in_place(data, run.n_rows)
        run.batch_statistics = batch_statistics
        if gradient is not None:
            run.gradient = memory_of(gradient, True)
        run.record = record
        memset(&pace, 0, sizeof(Pace))
        run.pace = &pace
        n_threads = self.team_size(run.n_rows, run.n_rows, n_threads)
        self.place(&run, chunk_of(&run, run.batch), n_threads)
        self.go(&run, train_member, n_threads)
        return record[0]

    def renew(self, parameters, layer_state, Data data, order, Py_ssize_t batch_size, int64_t n_before, int n_threads):
        """Add the statistics of batches to those that batch normalisation keeps, the means of `n_before` batches; returns of how many
        they are the means then."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef Memory records = Memory()
        cdef Pace pace
        self.begin(&run, self.copy, LOSS_ONLY, parameters, layer_state, data, order, batch_size)
        run.weights_in_place = self.uses_weights_in_place(data, run.n_rows)
        run.batch_statistics = run.renews = True
        run.t = n_before
        run.record = <double *>records.reserve(3 * sizeof(double) * ((run.n_rows + batch_size - 1) // batch_size))
        memset(&pace, 0, sizeof(Pace))
        run.pace = &pace
        n_threads = self.team_size(batch_size, run.n_rows, n_threads)
        self.place(&run, chunk_of(&run, batch_size), n_threads)
        self.go(&run, train_member, n_threads)
        return run.t

    def forward(self, parameters, layer_state, Data data, out, int n_threads):
        """Activations of the last layer to out (n, n_out); keeps all activations for `backward`."""
        self.own_cost(FORWARD, parameters, layer_state, data, out, None, None, n_threads)

    def backward(self, parameters, layer_state, Data data, output_gradient, gradient, input_gradient, int n_threads):
        """Gradients with respect to parameters and (unless None) inputs, from dC/d(what `forward` gave)."""
        self.own_cost(BACKWARD, parameters, layer_state, data, output_gradient, gradient, input_gradient, n_threads)

    cdef int own_cost(self, Mode mode, parameters, layer_state, Data data, output, gradient, input_gradient, int n_threads) except -1:
        if mode == BACKWARD and data is not self.kept:
            raise RuntimeError("backward needs a call of forward before it, with nothing trained or evaluated between")
        cdef Running running = Running(self, data if mode == BACKWARD else None)
        cdef Run run
        cdef int i
        self.begin(&run, self.copy, mode, parameters, layer_state, data, None, data.n_rows)
        run.weights_in_place = self.uses_weights_in_place(data, data.n_rows)
        outputs = output if isinstance(output, tuple) else (output,)
        for i in range(run.n_heads):
            run.heads[i].array = memory_of(outputs[i], mode == FORWARD)
        if gradient is not None:
            run.gradient = memory_of(gradient, True)
        if input_gradient is not None:
            run.input_gradient = memory_of(input_gradient, True)
        n_threads = self.team_size(run.n_rows, run.n_rows, n_threads)
        self.place(&run, run.n_rows, n_threads)
        self.go(&run, own_cost_member, n_threads)
        self.kept = data
        return 0

    def step(self, parameters, gradient, settings, double learning_rate, states, t, penalties):
        """One update of all parameters from a given gradient; arguments as in `train`. FloatingPointError, and nothing has
        changed, if the rule would divide by squares that overflow."""
        cdef Running running = Running(self, None)
        cdef Run run
        cdef int64_t *steps = <int64_t *>memory_of(t, True)
        cdef double norm
        memcpy(&run, &self.network, sizeof(Run))
        run.weights = <Weights *>self.copy.reserve(run.n_weight_sets * sizeof(Weights))
        memcpy(run.weights, self.network.weights, run.n_weight_sets * sizeof(Weights))
        fill_penalties(&run, penalties)
        run.settings = self.settings_from(settings)
        run.parameters, run.gradient = memory_of(parameters, True), memory_of(gradient)
        fill_states(states, run.state)
        norm = update_flat(&run, learning_rate, steps[0] + 1)
        if norm != 0:
            raise FloatingPointError(
                f"gradient must have squares that are finite in the network's dtype, got one of norm {norm:.3g}: scale the "
                "cost, or clip"
            )
        steps[0] += 1

    def describe(self, mode, parameters, layer_state, Data data, Py_ssize_t batch_size, int n_threads, ties=(), states=(),
                 randomness=None, bint whole=True, settings=None, penalties=()):
        """What a run would do, which is planned and not made. mode: one of MODES; the others as in `train`; `whole`: whether
        data are all that there is to do, which may be too little for several threads; `settings`: the optimizer's, for TRAIN.

        Returns a dict of numbers, of "phases", tuples (split, barrier, ops), the ops as in a Program,
        but for an "update" with a section in the place of weights, and of "halved", the value
        whose middle stripe may be shared, or None."""
        cdef Run run
        cdef Memory copy = Memory(), tied = Memory()
        cdef Py_ssize_t rows = data.n_rows if whole else 50000000, size
        cdef int i
        cdef Mode mode_ = MODES[mode]
        cdef dict names = {number: name for name, number in OPS.items()}
        self.begin(&run, copy, mode_, parameters, layer_state, data, None, batch_size)
        n_threads = self.team_size(batch_size, rows, n_threads)
        if mode_ == PREDICT:
            prepare_prediction(&run)
            plan_prediction(&run, n_threads)
            size = prediction_size(&run, n_threads) + lay_out_prediction(&run, n_threads, NULL)
            ops = [("gather", 0, 0, -1, -1, 0, 0, 0, False)] if run.x_as_nonzeros or not run.x_in_place else []
            ops += [self.row(run.forward + i, names) for i in range(run.n_forward)]
            phases, run.sides, run.end_barrier = [("rows", False, ops)], 1, False
            run.weights_in_place = all([run.weights[i].row_major for i in range(run.n_weight_sets)])
        else:
            if mode_ == GRADIENT or mode_ == BACKWARD:
                run.gradient = run.parameters  # any place, as nothing is written there
            fill_ties(&run, tied, ties)
            if randomness is not None:
                _, run.input_dropout, run.input_noise, augmentation = randomness
                run.x_in_place = run.x_in_place and run.input_dropout == 0 and run.input_noise == 0 and augmentation is None
            fill_states(states, run.state)
            if mode_ == TRAIN:
                run.settings = settings
            fill_penalties(&run, penalties)
            run.weights_in_place = self.uses_weights_in_place(data, batch_size) and run.settings.radius == 0 and (
                mode_ != TRAIN or (whole and batch_size >= run.n_rows)
            )
            run.online = learns_online(&run, rows)
            plan(&run, batch_size if mode_ >= FORWARD else chunk_of(&run, batch_size), n_threads)
            size = lay_out(&run, n_threads, NULL)
        if mode_ != PREDICT or run.together:
            phases = [
                (
                    SPLITS[run.phases[i].split], run.phases[i].barrier or (run.end_barrier and i == run.n_phases - 1),
                    [self.row(run.ops + j, names) for j in range(run.phases[i].first, run.phases[i].end)],
                )
                for i in range(run.n_phases)
            ]
        halved = [i for i in range(run.n_values) if run.values[i].halved]
        return {
            "phases": phases, "online": bool(run.online), "halved": halved[0] if halved else None,
            "x_as_nonzeros": bool(run.x_as_nonzeros), "x_in_place": bool(run.x_in_place),
            "weights_in_place": bool(run.weights_in_place), "sparse_update": run.list_of != NULL,
            "chunk": min(run.chunk, run.n_rows), "sides": run.sides, "workspace_size": size, "n_threads": n_threads,
        }

    cdef tuple row(self, const Op *op, dict names):
        weights = op.section if names[op.kind] == "update" else op.of if names[op.kind] == "weight_factors" else op.weights
        return names[op.kind], op.input, op.output, weights, op.bias, op.column, op.source, op.n, bool(op.accumulate)

    cpdef bint reads(self, X):
        """Whether X is an array that is read as it is: of no subclass but memmap, as others may have a mask, two-dimensional
        and of the right width, aligned, of float32, float64, uint8 or bool in native byte order, whatever its strides; with
        categories where a network embeds those, and few enough rows to look at them."""
        return (
            (PyArray_CheckExact(X) or isinstance(X, memmap))
            and PyArray_NDIM(X) == 2 and PyArray_DIM(X, 1) == self.network.values.n
            and PyArray_ISBEHAVED_RO(X) and PyArray_TYPE(X) in (NPY_FLOAT, NPY_DOUBLE, NPY_UINT8, NPY_BOOL)
            and (not self.embeds or (PyArray_DIM(X, 0) <= 4096 and self.has_categories(X)))
        )

    cpdef bint has_categories(self, X):
        """Whether such an array has integers, from 0 to below the number of a table's rows, in each column that names those."""
        cdef const Op *op
        cdef const char *at
        cdef int i, type_ = PyArray_TYPE(X)
        cdef Py_ssize_t rows = PyArray_DIM(X, 0), stride = PyArray_STRIDE(X, 0), first = 0, m
        cdef int32_t n
        cdef bint good = True
        while first < rows:  # so few that they stay in the L1 cache
            m = min(rows - first, 256)
            for i in range(self.network.n_forward):
                op = self.network.forward + i
                if op.kind != OP_EMBED:
                    continue
                at = PyArray_BYTES(X) + first * stride + op.source * PyArray_STRIDE(X, 1)
                n = self.network.weights[op.weights].n_in
                if type_ == NPY_FLOAT:
                    good &= are_below(at, m, stride, n, <float>0)
                elif type_ == NPY_DOUBLE:
                    good &= are_below(at, m, stride, n, <double>0)
                else:
                    good &= are_below(at, m, stride, n, <uint8_t>0)
            first += m
        return good

    def alone(self, Py_ssize_t batch, Py_ssize_t rows):
        """Whether the calling thread alone does so many rows, in batches of so many."""
        return self.team_size(batch, rows, 2) == 1

    def predicts_alone(self, Py_ssize_t rows):
        """Whether so few rows are predicted by the calling thread alone. A team that need not be started repays less work than
        others do: the members of one linger between calls that follow each other at once, some time longer than they have to."""
        if self.is_little(rows):
            return True
        self.gap = team_clock() - self.ended
        self.n_in_a_row = self.n_in_a_row + 1 if self.gap < 0.0005 else 0
        return 4 * self.network.n_weights * rows < 50000000 and self.n_in_a_row < 4

    cdef bint is_little(self, Py_ssize_t rows):
        """Whether predicting so many rows takes the calling thread less time than any other would take to notice."""
        return 4 * self.network.n_weights * rows < 2000000

    def predict_few(self, parameters, layer_state, X):
        """What `predict` gives for all rows of X, where `reads` accepts it and there is so little to do that calls in between would count;
        else None."""
        if self.reads(X) and self.is_little(PyArray_DIM(X, 0)):
            return self.predict(parameters, layer_state, X, None, None, 1)

    cpdef predict(self, parameters, layer_state, X, order, out, int n_threads):
        """Output activations of the rows of X, an array that `reads` accepts or CSR: in out (n, n_out), contiguous, or in a
        new array if that is None; with several outputs, in a tuple of arrays. Several threads may be in here at once."""
        cdef Run run
        cdef Py_ssize_t itemsize = self.k.itemsize
        cdef size_t size, at = 0
        cdef npy_intp shape[2]
        cdef char small[16384]
        cdef char *base = small + (-<uintptr_t>small & 63)
        cdef Memory copy = None, memory = None
        cdef TogetherPlan plan = None
        cdef bint keeps
        cdef Data data
        cdef int type_ = NPY_FLOAT if itemsize == 4 else NPY_DOUBLE, n_copies, i
        memcpy(&run, &self.predicting, sizeof(Run))
        run.poll = poll
        run.parameters, run.kept[0] = PyArray_BYTES(parameters), PyArray_BYTES(layer_state)
        if PyArray_Check(X):
            run.n_rows = PyArray_DIM(X, 0)
            run.x.data, run.x.row_stride, run.x.column_stride = PyArray_BYTES(X), PyArray_STRIDE(X, 0), PyArray_STRIDE(X, 1)
            run.x.dtype = FLOAT32 if PyArray_TYPE(X) == NPY_FLOAT else FLOAT64 if PyArray_TYPE(X) == NPY_DOUBLE else UINT8
            run.x_in_place = (
                PyArray_TYPE(X) == type_ and run.x.column_stride == itemsize and run.x.row_stride % itemsize == 0
            )
        else:
            data = Data(X)
            run.n_rows, run.csr, run.sparse, run.most = data.n_rows, data.csr, True, data.most
        if order is not None:
            run.n_rows, run.order = PyArray_DIM(order, 0), <const int64_t *>PyArray_BYTES(order)
        if out is None:
            shape[0] = run.n_rows
            for i in range(run.n_heads):
                shape[1] = run.values[run.heads[i].value].n
                array = PyArray_EMPTY(2, shape, type_, False)
                out = array if run.n_heads == 1 else (array,) if out is None else (*out, array)
        if run.n_rows == 0:
            return out
        keeps = n_threads > 1 and not run.sparse and run.order == NULL
        if keeps:
            plan, self.kept_plan = self.kept_plan or TogetherPlan(), None  # another thread's call makes its own
            if plan.serves(&run, n_threads):
                plan.run.x.data = run.x.data
                self.predict_together(plan, out)
                return out
            plan.n_threads, copy = 0, plan.program
        n_copies = 2 if run.sparse else n_threads  # ops are changed for CSR, as they are where members share them
        at = prediction_size(&run, n_copies)
        if copy is None and at > sizeof(small) // 2:
            copy = Memory()
        if copy is not None:
            copy_for_prediction(&run, n_copies, copy.reserve(at))
            at = 0
        else:
            copy_for_prediction(&run, n_copies, base)
        if run.sparse:
            standardize_on_gathering(&run)
        self.point_to(out, &run)
        plan_prediction(&run, n_threads)
        size = lay_out_prediction(&run, n_threads, NULL)
        if run.together and keeps:
            plan.run, plan.n_threads = run, n_threads
            lay_out_prediction(&plan.run, n_threads, plan.memory.reserve(size))
            self.predict_together(plan, out)
            return out
        if at + size > sizeof(small) - 64:
            memory, self.kept_memory = self.kept_memory, None  # another thread's call takes its own
            if memory is None or memory.size < size:
                memory = Memory()
            base, at = memory.reserve(size), 0
        lay_out_prediction(&run, n_threads, base + at)
        if not self.repays_threads(run.n_rows):  # some microseconds: not worth passing the GIL to and fro
            run.next_check = INFINITY
            predict_member(&run, NULL, 0, 1)
        else:
            run.next_check = team_clock() + 0.05
            self.go(&run, predict_member, n_threads, self.lingering())
            self.ended = team_clock()
        if memory is not None and memory.size <= 1 << 25:
            self.kept_memory = memory
        self.kept_plan = plan or self.kept_plan
        return out

    cdef int point_to(self, out, Run *run) except -1:
        cdef int i
        for i in range(run.n_heads):
            run.heads[i].array = PyArray_BYTES(out if run.n_heads == 1 else out[i])
        return 0

    cdef int predict_together(self, TogetherPlan plan, out) except -1:
        """Outputs of the rows at plan.run.x, by members who linger for the next call if the last ones have followed each other at once."""
        plan.run.stop = plan.run.failed = False
        self.point_to(out, &plan.run)
        point_together(&plan.run)
        plan.run.next_check = team_clock() + 0.05
        self.go(&plan.run, predict_member, plan.n_threads, self.lingering())
        self.ended = team_clock()
        if plan.memory.size <= 1 << 25:
            self.kept_plan = plan
        return 0

    cdef double lingering(self):
        """Seconds that a team stays after a prediction."""
        return 2 * self.gap + 0.0001 if self.n_in_a_row else 0
