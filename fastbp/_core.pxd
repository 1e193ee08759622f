# cython: language_level=3
"""What the boundary sees of the core in C: src_c/ has the meanings."""
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint32_t

from fastbp._arrays cimport FLOAT32, FLOAT64, UINT8, Csr, DType, Strided


cdef extern from "kernels.h" nogil:
    ctypedef enum Activation:
        EXP
    ctypedef enum Loss:
        NO_LOSS
    ctypedef enum Rule:
        pass
    ctypedef enum Role:
        ROLE_CENTRE
    enum: N_ROLES
    ctypedef struct Cost:
        Loss kind
        double parameter
        int fixed_logit
        const double *levels
        ptrdiff_t n_levels
    enum: AVERAGE, MAX_STATES
    ctypedef struct Reader:
        pass
    ctypedef struct Connections:
        ptrdiff_t fan_in, n_out
        const int32_t *inputs
        const Reader *readers
    ctypedef struct Augmentation:
        ptrdiff_t height, width
        double shift, rotation, scale, shear, elastic_alpha, elastic_sigma
    ptrdiff_t augmentation_scratch(const Augmentation *)
    ctypedef struct Counter:
        uint32_t seed[2]
        uint32_t step, row, stream
    ctypedef struct Kernels:
        const char *isa
        size_t itemsize
        ptrdiff_t lanes
        int (*all_below)(ptrdiff_t, const void *, double) noexcept nogil
        void (*gather)(ptrdiff_t, ptrdiff_t, const Strided *, const int64_t *, ptrdiff_t, void *, ptrdiff_t) noexcept nogil
        void (*augment)(ptrdiff_t, const Augmentation *, const Counter *, void *, ptrdiff_t, void *) noexcept nogil
    const Kernels *fastbp_kernels(const char *isa)
    const char *const *fastbp_isas_built
    const char *const *fastbp_units
    const char *const *fastbp_losses
    const char *const *fastbp_rules
    const char *const *fastbp_roles

cdef extern from "team.h" nogil:
    ctypedef struct Team:
        pass
    ctypedef void (*TeamTask)(void *, Team *, int, int) noexcept nogil
    int team_run(int n, TeamTask task, void *arg, double linger)
    double team_clock()

cdef extern from "program.h" nogil:
    ctypedef struct Weights:
        Role role
        ptrdiff_t n_in, n_out, offset, vectors, half
        int has_bias, keeps_transpose, row_major, by_columns
        double l1, l2, max_norm
        char *flat_mask
        Connections connections
    ctypedef struct Value:
        ptrdiff_t n, vectors, ld
        Activation activation
        double parameter, dropout
        int radial, buffer, is_output, learns, section, halved, keeps_transpose
        uint32_t stream
    ctypedef int OpKind
    enum:
        OP_TRANSPOSED
        OP_WEIGHT_NORM
        OP_EMBED
    ctypedef struct Op:
        OpKind kind
        int input, output, weights, bias, accumulate, section
        ptrdiff_t column, source, n, state
        double epsilon, momentum
        int n_groups, of, n_iterations
    ctypedef enum Split:
        BY_ROWS, BY_COLUMNS, WHOLE_COLUMNS, ALONE, BY_WEIGHTS
    ctypedef struct Phase:
        Split split
        int first, end, barrier

cdef extern from "run.h" nogil:
    ctypedef struct Head:
        int value
        Cost cost
        double weight
        Strided y
        int has_y
        const int64_t *labels
        char *array
    ctypedef struct Tie:
        int i, j
        double strength
        ptrdiff_t first_penalty
    ctypedef enum Mode:
        TRAIN, LOSS_ONLY, GRADIENT, FORWARD, BACKWARD, PREDICT
    ctypedef struct Pace:
        pass
    ctypedef struct Settings:
        Rule rule
        double momentum, dampening, beta_1, beta_2, epsilon, weight_decay, clip_value, clip_norm
        int proximal
        double per_role[N_ROLES]
        double radius
    ctypedef void (*Gemm)(size_t, bint, bint, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, const void *,
                          Py_ssize_t, double, void *, Py_ssize_t) noexcept nogil
    ctypedef struct Run:
        const Kernels *k
        Op *forward
        const Op *backward
        int n_forward, n_backward
        Value *values
        Weights *weights
        Head *heads
        int n_values, n_weight_sets, n_heads, n_sections, n_buffers
        ptrdiff_t n_weights
        Tie *ties
        int n_ties
        ptrdiff_t n_tie_penalties
        Op *ops
        Phase *phases
        int n_ops, n_phases, end_barrier, sides
        int sparse, x_in_place, x_as_nonzeros, weights_in_place, immoderate
        int32_t *list_of
        ptrdiff_t most, n_nonzeros
        Strided x
        Csr csr
        const double *sample_weights
        const int64_t *order
        ptrdiff_t n_rows
        Mode mode
        ptrdiff_t batch, chunk, block
        int online, shared, together
        Settings settings
        double input_dropout, input_noise
        Augmentation augmentation
        uint32_t seed[2]
        int penalty_over_weight, bounded, batch_statistics, renews
        int64_t t, first_averaged
        double average_decay
        char *parameters
        char *gradient
        char *state[MAX_STATES]
        char *input_gradient
        char *layer_state
        ptrdiff_t n_layer_state
        char *kept[2]
        const double *learning_rates
        double *record
        double loss
        ptrdiff_t n_not_finite
        int guarded, moderate_states, large_states
        ptrdiff_t n_penalties
        int stop, failed
        Pace *pace
        double next_check
        int (*poll)(Run *) noexcept nogil
        Gemm gemm
    const char *const *fastbp_ops
    ptrdiff_t row_distance(const Kernels *, ptrdiff_t)
    ptrdiff_t chunk_of(Run *, ptrdiff_t)
    void standardize_on_gathering(Run *)
    size_t program_size(const Run *)
    void place_program(Run *, char *)
    void plan(Run *, ptrdiff_t, int)
    size_t lay_out(Run *, int, char *)
    int learns_online(const Run *, ptrdiff_t)
    size_t prediction_size(const Run *, int)
    void copy_for_prediction(Run *, int, char *)
    void prepare_prediction(Run *)
    void find_sparse(Run *)
    void plan_prediction(Run *, int)
    int takes_nonzeros(Run *)
    void point_together(Run *)
    size_t lay_out_prediction(Run *, int, char *)
    double update_flat(Run *, double, int64_t)
    void train_member(void *, Team *, int, int) noexcept
    void own_cost_member(void *, Team *, int, int) noexcept
    void predict_member(void *, Team *, int, int) noexcept

cdef extern from "Python.h":
    int pending_signal "PyErr_CheckSignals"() noexcept
    bint exception_matches "PyErr_ExceptionMatches"(object) noexcept
