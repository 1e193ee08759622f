/* A run: a program, its data and its workspace, as the members of the team see them.
 *
 * Everything between a call of Python's and the kernels is here, and knows no Python. It is written once for both dtypes: arrays
 * are `char *`, sizes are in elements, and the kernel table knows the rest.
 *
 * Of a chunk of a batch, the members run one phase of the program after the other (execute.c). Those of a chain are
 *
 *     my columns:       A = f(H W + b) of the first, large layers; a barrier after each
 *     my row blocks:    the same of all other layers, layer by layer; loss and output delta; delta <- (delta W^T) * f'(Z)
 *     barrier
 *     my columns:       the deltas of the large layers, from the last one down; a barrier after each
 *     my weights:       G = H^T delta a panel at a time, then the optimizer on it while it is in cache
 *
 * Of weights cut by columns only their member ever touches any, so that no cache line of them moves from core to core, and the next
 * step may begin without waiting for the others: what crosses is activations and deltas, which two chunks in turn keep on two
 * sides of the workspace.
 *
 * Where the stripes of the last large layer are few and odd in number, two members have half of the middle one each:
 * Z = H[:, :half] W[:half] + H[:, half:] W[half:] of that layer is two sums, which are added up once both are there; of the
 * middle stripe that is after the barrier, by row blocks.
 *
 * G = H^T delta of a layer with many columns reads rows of H^T, which the member that computes H also keeps, rather than columns
 * of H, whose elements lie pages apart. Sparse layers read nothing else.
 *
 * Where few elements of X are other than 0, as in CSR, images or one-hot codes, the products with X take lists of those: a member
 * lists the nonzeros of its rows, then those of its columns, and with the dense products' order of summing the bits are theirs
 * too, unless W is used where it lies.
 *
 * Each element of each product is one sum in a fixed order, and losses and penalties are added up over blocks cut by the
 * problem's shape: the bits of the result do not depend on the number of threads. A batch too large for the workspace runs in
 * chunks whose gradients add up in an array before the update; those of many rows are folded, every FOLDED_ROWS, into a sum whose
 * rounding error is kept beside it. Clipping by norm needs that array too: each member takes the norms of its weights' gradients,
 * and after a barrier all add them up in the same order. Max-norm is a pass after the updates, with a barrier on either side: a
 * column is bounded whole by one member. What ties between layers add to their gradients is found before the updates, while no
 * weight changes, and is what the sums of these panels begin with. Of weights that a mask leaves out the gradient is 0, as each panel
 * of it is masked when it has been summed.
 *
 * Batch normalisation has to do with all rows of a batch, which is one chunk then, however large it is: members find the statistics of
 * their columns over all rows at once, and in the same way the sums that their gradients need (norm.c). What layers keep and do not
 * learn, such as moving averages of those, is on two sides too: a step reads one and writes the other.
 *
 * Where batches of a chain have few rows and little work, all of this takes longer than the arithmetic: one kernel makes many
 * steps by itself then (online.c, ops/online.h). */
#ifndef FASTBP_RUN_H
#define FASTBP_RUN_H

#include "program.h"
#include "team.h"

#include <math.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rows whose gradients are added up in one chain of chunks; more are folded into a sum whose rounding error is kept. */
enum { FOLDED_ROWS = 8192 };

/* An output of the network, with its part of the cost. */
typedef struct {
    int value;
    Cost cost;
    double weight; /* of its loss */
    Strided y;     /* targets, unless */
    int has_y;
    const int64_t *labels; /*   they are class indices */
    char *array;           /* PREDICT, FORWARD: receives it, (n_rows, n); BACKWARD: dC/da */
} Head;

/* Adds strength/2 |W_i - W_j|^2 to the cost. */
typedef struct {
    int i, j;
    double strength;
    ptrdiff_t first_penalty; /* one for each stripe */
} Tie;

/* How members have read and written an array since the last barrier, see phases.c. */
typedef struct {
    unsigned char read, written;
} Touched;

typedef enum { TRAIN, LOSS_ONLY, GRADIENT, FORWARD, BACKWARD, PREDICT } Mode;

typedef struct {
    double seconds[2]; /* that a step took lately with one member, with all */
    double next_trial; /* when to try the slower one again */
} Pace;

/* Of an optimizer, in the words of fastbp/optimizers.py. */
typedef struct {
    Rule rule;
    double momentum, dampening, beta_1, beta_2, epsilon, weight_decay, clip_value, clip_norm;
    int proximal;
    double radius; /* of the ball in which SAM goes to the largest loss; 0: it takes no part */
    double per_role[N_ROLES]; /* factors of the learning rate */
} Settings;

/* A product that goes to BLAS: C (m, n) = op(A) op(B) + beta C, all row-major. */
typedef void (*Gemm)(size_t itemsize, int transpose_a, int transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a,
                     ptrdiff_t lda, const void *b, ptrdiff_t ldb, double beta, void *c, ptrdiff_t ldc);

typedef struct Run {
    /* the network */
    const Kernels *k;
    Op *forward; /* ops of the pass forward, and of the pass back */
    const Op *backward;
    int n_forward, n_backward;
    Value *values;
    Weights *weights;
    Head *heads;
    int n_values, n_weight_sets, n_heads;
    int n_sections;                /* of values that are not kept, one after the other in the order of the program */
    int n_delta_places;            /* that deltas take in turn */
    int n_buffers;                 /* PREDICT: buffers that values take in turn, */
    ptrdiff_t buffer_size, widest; /*   their bytes, and most columns; */
    int packs;                     /*   and whether some weights are packed first */
    ptrdiff_t sparse_vectors;      /* most stripes of what sparse layers read and make; 0: there are none, */
    int transposes_x;              /*   and whether one of them reads X */
    ptrdiff_t n_weights; /* that a sample is multiplied by */
    Tie *ties;           /* TRAIN */
    int n_ties;
    ptrdiff_t n_tie_penalties;
    /* the program of this mode */
    Op *ops;       /* with room for most_ops(run), */
    Phase *phases;    /*   as many of these, */
    Touched *touched; /*   and n_touched(run) */
    int n_ops, n_phases;
    int end_barrier; /* whether there is one after the last phase */
    int sides;       /* of the workspace */
    /* the data */
    int sparse;
    int x_in_place;       /* rows of X are used where they lie, without a gather */
    int x_as_nonzeros;    /* the products with X take its nonzeros: CSR, or dense X that is mostly zeros */
    ptrdiff_t most;       /* nonzeros in a row, */
    ptrdiff_t n_nonzeros; /*   and in all: of CSR, of dense X that there may be */
    Strided x;
    Csr csr;
    const double *sample_weights;
    const int64_t *order;
    ptrdiff_t n_rows;
    /* what to do */
    Mode mode;
    int weights_in_place; /* all are used where they lie: packing does not repay for so few steps */
    int moderate_states;  /* TRAIN: before a guarded step it is known that they are, see is_moderate, */
    int large_states;     /*   and by a step that some are of 2 and more, which may be too large for the next; */
    int immoderate;       /*   a guarded step might make what is not finite, and is not made; see is_moderate */
    ptrdiff_t batch, chunk, block;
    int online;       /* whether one kernel makes whole steps, see online.c */
    int shared;       /* whether row blocks are to be shared among members */
    int together;     /* PREDICT: all rows at once, by columns as far as that repays; else members take blocks of rows */
    ptrdiff_t window; /* rows that passes by columns and by weights work on before they look for Ctrl-C */
    Settings settings;
    double input_dropout; /* TRAIN */
    double input_noise;
    Augmentation augmentation; /* of height 0 for none */
    uint32_t seed[2];
    int penalty_over_weight;
    int bounded; /* some weights have a max_norm */
    ptrdiff_t input_variance; /* CSR is divided by the root of this, a place in the layers' state; 0: it is not */
    int batch_statistics; /* batch normalisation takes those of the batch, not the layers' own */
    int renews;           /* and leaves their means as the layers' own; without TRAIN */
    int64_t t;   /* optimizer steps made; or batches whose statistics are in these means */
    int64_t first_averaged; /* the first of them that is in the average, if there is one, */
    double average_decay;   /*   and the share in the new average that the old one has at most */
    /* arrays */
    char *parameters;
    char *gradient; /* GRADIENT, BACKWARD: flat */
    char *state[MAX_STATES];
    char *layer_state;            /* what layers keep and do not learn, */
    ptrdiff_t n_layer_state;      /*   so many elements, */
    char *kept[2];                /*   and where ops have it: TRAIN has two copies. A step reads that on kept_side, and writes the */
    int kept_side;                /*   other, on which the next one goes on: one that is dropped changes nothing */
    Nonzeros nonzeros[2];         /* workspace, on both sides: the nonzeros of X's rows, */
    ptrdiff_t *middle[2];         /*   where in each the second half of a product begins, */
    Nonzeros transposed[2];       /*   and of its columns, or of those that have some, */
    int32_t *touched_columns[2];  /*     which are these, */
    int32_t *list_of;             /*     and 0 for each column, unless its list is being made */
    int32_t *n_caught_up;         /* steps of this run that each row of W has made, where some rest; */
    StepSettings *steps;          /*   what those are, of all that have begun, */
    int64_t t_begin;              /*   of which this is the first */
    ptrdiff_t n_halves;           /* rows of W before that second half */
    ptrdiff_t ld_transposed;      /* distance between rows of the values' H^T */
    char *input_gradient;         /* BACKWARD: (n_rows, n_in) or NULL */
    const double *learning_rates; /* TRAIN: one for each batch */
    double *record;
    double loss;            /* TRAIN: the mean of what `record` has */
    ptrdiff_t n_not_finite; /* TRAIN: members that have found that the run is no good, in their weights or in the loss, */
    int guarded;            /*   and whether nothing is written back then */
    double *block_loss;
    ptrdiff_t n_penalties;
    double *penalties;
    double *tie_penalties;
    int keeps_gradient; /* all of it, before the first update */
    int folds;          /* whether the gradients of a batch are more than one chain may add up */
    double *norms;      /* of parts of the gradient */
    ptrdiff_t n_norms;
    char *scratch; /* scratch_size bytes for each member; */
    size_t scratch_size;
    char *own; /* PREDICT: own_size for each, where `scratch` has values, which members may share */
    size_t own_size;
    /* the team */
    int stop;
    int failed;           /* stopped by a signal's handler that raised something else than KeyboardInterrupt */
    ptrdiff_t next_block; /* PREDICT: the first that nobody has taken yet */
    int verdict[2];       /* whether the chunk is stopped at a barrier, and at the next */
    int active;           /* members at work in this segment */
    ptrdiff_t segment_begin, segment_end;
    double segment_began;
    int n_alike; /* segments before this one with as many members; the first has cold caches to fill */
    Pace *pace;
    double next_check;
    /* the caller's: whether to stop, asked every 50 ms by member 0, and BLAS */
    int (*poll)(struct Run *run);
    Gemm gemm;
} Run;

/* A chunk of a batch, as one member sees it. */
typedef struct {
    Run *run;
    Team *team;
    Value *values; /* the run's; in PREDICT by blocks of rows a copy of the member's own */
    int member, n_members;
    ptrdiff_t first, rows;
    ptrdiff_t row;   /* of the chunk, from which on update_weights takes its rows */
    ptrdiff_t start; /* row where the batch begins */
    ptrdiff_t block; /* the row block at work, */
    ptrdiff_t n_blocks; /*   of so many of the chunk */
    uint32_t step;
    double scale;              /* of the deltas */
    double penalty_scale;      /* what strengths of penalties are divided by */
    const Update *update;      /* to be made once the gradients of the chunk are there; NULL: none yet */
    int last;                  /* whether the chunk is the batch's last */
    Total loss, ties;          /* of the batch's chunks so far (member 0) */
    int side;                  /* of the workspace, in turn */
    int kept_side;             /* of the layers' state, as of the last step */
    int n_barriers;            /* passed in this segment */
    int measuring;             /* update_weights is to find the gradient's norm, not to update; */
    int ascending;             /*   for SAM, it is to keep the weights and go up the gradient of the loss, or to find its norm; */
    int restoring;             /*   and to put them back */
    int ascended;              /* the weights are those that the step has gone up to */
    ptrdiff_t unfolded;        /* rows whose gradients have been added up since they were last folded into the sum */
    int folding;               /* update_weights is to fold them, */
    int first_fold, last_fold; /* for the first time, for the last */
    int section;               /* of the weights that it is to look at */
    ptrdiff_t pending;         /* batch whose penalty is still to be recorded, or -1 */
    char **x_rows;             /* pointers to the chunk's rows of X */
    Nonzeros nonzeros;         /* those of its rows, */
    ptrdiff_t *middle;         /*   where in each the second half of a product begins, */
    Nonzeros transposed;       /*   and of its columns */
    char *scratch;
} Part;

typedef struct {
    ptrdiff_t begin, end;
} Range;

#pragma GCC visibility push(hidden)

/* norm.c: whether an op normalises with statistics of the batch; whether the batch has a variance; and the gradient of X. */
int takes_batch(const Run *run, const Op *op);
int varies(const Part *part);
void norm_input_gradient(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, char *to);
/* Elements of what GROUP_NORM keeps; and what it adds to n columns of the gradient of its W, or of b. */
ptrdiff_t n_row_statistics(const Run *run, const Op *op);
void add_row_norm_gradient(const Part *part, const Op *op, int biases, ptrdiff_t column, ptrdiff_t n, int accumulate, char *g);
/* Of a program on CSR, whose op that standardizes X, if it has one, is not run: what is read of X is divided instead. */
void standardize_on_gathering(Run *run);
/* Rows of gradients with respect to what is so divided become those with respect to X. */
void unscale_input_gradient(Part *part, ptrdiff_t m, char *to);

/* weight_norm.c: elements of its statistics of a value, and the scratch that it needs. */
ptrdiff_t n_weight_statistics(const Run *run, const Value *z);
size_t weight_norm_scratch(const Run *run);
/* Gradients over the rows at hand: G (n) (=|+=) that of the factors g; G (size, n), packed, with what it has besides the product. */
void add_norm_gradient(const Part *part, const Op *op, ptrdiff_t column, ptrdiff_t n, int accumulate, char *g);
void add_norm_term(const Part *part, const Op *op, const Weights *w, ptrdiff_t begin, ptrdiff_t size, ptrdiff_t v0, ptrdiff_t n,
                   const Stripes *g);

/* plan.c */
int lists_repay(Run *run, ptrdiff_t samples);
/* Between rows of n elements in the workspace. */
ptrdiff_t row_distance(const Kernels *k, ptrdiff_t n);
ptrdiff_t chunk_of(Run *run, ptrdiff_t batch);
/* Ops forward up to which all are by columns. */
int columns_end(Run *run, int n_threads);
/* What the sparse layers of a run transpose, and the scratch for it where blocks have so many rows. */
void find_sparse(Run *run);
ptrdiff_t sparse_scratch(const Run *run, ptrdiff_t rows);
/* How a run works through chunks of so many rows; lay_out is to follow. */
void plan(Run *run, ptrdiff_t chunk, int n_threads);

/* phases.c: the ops of the run's mode in order, and their phases. */
extern const char *const fastbp_ops[];
int most_ops(const Run *run), n_touched(const Run *run);
void find_phases(Run *run, int n_threads);
int touches_deltas(const Op *op), is_by_rows(const Op *op);

/* places.c. The arrays of a program, which lie at p one after the other. */
size_t program_size(const Run *run);
void place_program(Run *run, char *p);
/* The workspace of a plan: from `p` on, unless it is NULL; returns its size in bytes. */
size_t lay_out(Run *run, int n_threads, char *p);
/* Before it, once the ops are there: which deltas take places in turn. */
void share_delta_places(Run *run);
ptrdiff_t transpose_size(const Run *run, const Weights *w);

/* plan_prediction.c: the same for predictions, all of which begin with what is prepared once, and change a copy of it. */
void prepare_prediction(Run *run);
size_t prediction_size(const Run *run, int n_threads);
void copy_for_prediction(Run *run, int n_threads, char *p);
void plan_prediction(Run *run, int n_threads);
/* Whether products with X take its nonzeros; and the same plan of members who work together for other rows and outputs. */
int takes_nonzeros(Run *run);
void point_together(Run *run);
size_t lay_out_prediction(Run *run, int n_threads, char *p);
void place_chunk(const Run *run, Value *values, Nonzeros *nonzeros, char *p);

/* execute.c */
void run_op(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m);
void run_phase(Part *part, const Phase *phase);

/* forward.c, backward.c, norm.c and weight_norm.c: the ops of ops.def, for m rows of the chunk. */
#define OP(NUMBER, name, reads, access, writes, weights) void run_##name(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m);
#include "ops.def"
Counter counter_of(Part *part, ptrdiff_t row, uint32_t stream);
void find_rows(Part *part);
void input_gradient_rows(Part *part, ptrdiff_t row, ptrdiff_t m);
void transpose_rows(const Kernels *k, ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, char *to, ptrdiff_t ldt);

/* predict.c */
void output_unit(Part *part, int head, ptrdiff_t row, ptrdiff_t m);

/* update.c */
Update step_of(const Run *run, double eta, int64_t t);
void updates_of(const Run *run, const Update *update, const Weights *w, double S, Update *updates);
/* The optimizer's step with gradients that are there, or the norms of those. */
void update_weights(Part *part, const Update *update);
/* Gradients of the weights of a section over the rows at hand, added to those of the rows before, and the step where it is due. */
void update_rows(Part *part);
void bound_columns(Part *part, const Update *update);
/* What to multiply the whole gradient by, with which the update is to be made. */
double clip_norm(Part *part, const Update *update);
/* For SAM, w <- w + radius g / |g| with the gradient g of the loss that is there, of all weights; and what they were before. */
void ascend(Part *part);
void descend(Part *part);
/* One update of flat parameters from a flat gradient: run's weights with their penalties, parameters, gradient, state, settings.
 * Returns 0; or, with nothing changed, the gradient's norm if the rule would divide by squares that overflow. */
double update_flat(Run *run, double eta, int64_t t);

/* sparse_update.c: whether only those rows of W are to be updated that a batch has nonzeros for; and that, of this member's. */
int updates_sparsely(const Run *run, const Weights *w, ptrdiff_t chunk);
void update_touched_rows(Part *part, const Update *update, Weights *w);
/* The weights whose other rows miss steps that are made up for later, if there are any; what a step is; and a member's share of what
 * is still missing at the end. */
Weights *rested_weights(const Run *run);
void begin_step(Run *run, const Update *update, int64_t t);
void catch_up_all(Run *run, int member, int n_members);

/* pack.c */
void update_transpose(const Kernels *k, Weights *w, ptrdiff_t v, ptrdiff_t begin, ptrdiff_t m);
void fill_transpose(const Kernels *k, Weights *w, Range stripes);
void move_parameters(Run *run, Weights *w, char *flat, char *packed, int out, ptrdiff_t v0, ptrdiff_t v1);
void move_shares(Run *run, int member, int n_members, int out);

/* Sums of weights of the segment's batches to `record`. */
void sum_weights(Run *run);

/* online.c: whether a run may be learnt so, with so many rows in all; the scratch that it needs; and all of its steps. */
int learns_online(const Run *run, ptrdiff_t n_rows);
size_t online_scratch(const Run *run);
void train_online(Run *run);

/* What the members do: tasks of a team, whose argument is a Run. */
void train_member(void *run, Team *team, int member, int n_members);    /* TRAIN, LOSS_ONLY, GRADIENT: train.c */
void own_cost_member(void *run, Team *team, int member, int n_members); /* FORWARD, BACKWARD: train.c */
void predict_member(void *run, Team *team, int member, int n_members);  /* PREDICT: predict.c */

#pragma GCC visibility pop

/* Whether the values of sections share places, and whether they are made again. */
static inline int shares_places(const Run *run) { return run->n_sections > 0 && run->mode < FORWARD; }
static inline int recomputes(const Run *run) { return run->n_sections > 0 && (run->mode == TRAIN || run->mode == GRADIENT); }

/* The section that an op has to be in: as one of its values is. */
static inline int section_of(const Run *run, const Op *op)
{
    return MAX(run->values[op->input].section, run->values[op->output].section);
}

static inline int stopped(const Run *run) { return __atomic_load_n(&run->stop, __ATOMIC_RELAXED); }

/* Whether to stop; member 0 asks every 50 ms. */
static inline int interrupted(Run *run, int member)
{
    if (member == 0 && !stopped(run) && team_clock() > run->next_check) {
        if (run->poll(run))
            __atomic_store_n(&run->stop, 1, __ATOMIC_RELAXED);
        run->next_check = team_clock() + 0.05;
    }
    return stopped(run);
}

/* Blocks that `rows` rows are cut into, none above `most`; an even number if several members may share them. */
static inline ptrdiff_t n_blocks_of(ptrdiff_t rows, ptrdiff_t most, int shared)
{
    if (rows < 4 || !shared)
        return (rows + most - 1) / most;
    return 2 * ((rows + 2 * most - 1) / (2 * most));
}

/* Of the members at work: all of the team, or one. */
static inline void barrier(Part *part)
{
    if (part->n_members > 1)
        team_barrier(part->team);
}

/* Elements of the vectors that hold n. */
static inline ptrdiff_t whole_vectors(const Kernels *k, ptrdiff_t n) { return (n + k->lanes - 1) / k->lanes * k->lanes; }

static inline ptrdiff_t aligned(ptrdiff_t size) { return (size + 63) & ~63; }

static inline char *at_offset(char *base, size_t offset) { return base != NULL ? base + offset : NULL; }

/* Row i of the data, in the order in which it is taken, where it lies. */
static inline char *row_of_x(Run *run, ptrdiff_t i)
{
    return (char *)run->x.data + (run->order != NULL ? run->order[i] : i) * run->x.row_stride;
}

/* Give a list of so many rows and nonzeros in all its place at p; returns the end of it. */
static inline char *place_nonzeros(Nonzeros *x, char *p, ptrdiff_t rows, ptrdiff_t size, size_t itemsize)
{
    x->begin = (ptrdiff_t *)p;
    p += aligned(rows * sizeof(ptrdiff_t));
    x->end = (ptrdiff_t *)p;
    p += aligned(rows * sizeof(ptrdiff_t));
    x->columns = (int32_t *)p;
    p += aligned(size * sizeof(int32_t));
    x->values = p;
    return p + aligned(size * itemsize);
}

/* Who does what. Whatever the answer, the bits are the same, as long as
 *
 *     all members hold to the same answer, in which each thing belongs to one of them;
 *     what members touch without a barrier between belongs to them alike: rows of a chunk are shared by the number of their row
 *         blocks, and columns by that of their stripes, in all phases, which is what MY_ROWS and MY_COLUMNS of phases.c mean;
 *     for as long as the members at work are the same: weights by columns have their owners over many steps.
 *
 * The C test (tests/src_c/c) has other answers, drawn at random. */
#ifdef FASTBP_RANDOM_SCHEDULE
Range share(ptrdiff_t n, int member, int n_members);
ptrdiff_t nth(ptrdiff_t i, ptrdiff_t n);
#else
/* The member's share of n things. */
static inline Range share(ptrdiff_t n, int member, int n_members)
{
    return (Range){n * member / n_members, n * (member + 1) / n_members};
}

/* Which of n things that don't depend on each other is the i-th that a member does. */
static inline ptrdiff_t nth(ptrdiff_t i, ptrdiff_t n)
{
    (void)n;
    return i;
}
#endif

/* Whether Z = H W is two sums, so that two members may share the middle stripe of W. */
static inline int is_halved(const Weights *w) { return w->half < w->n_in; }

/* Stripes of which the member has the first or the second half of the rows of W: of those that are halved two members have one half
 * of the middle one each. */
static inline Range stripes_of(const Part *part, ptrdiff_t vectors, int halved, int half)
{
    const ptrdiff_t middle = (vectors + 1 - half) / 2;
    if (halved && part->n_members == 2)
        return part->member == 0 ? (Range){0, middle} : (Range){middle, vectors};
    return share(vectors, part->member, part->n_members);
}

/* Pointers to the rows of a value (X: dense). */
static inline char **rows_of(const Part *part, int value)
{
    return value == 0 ? part->x_rows : part->values[value].a_rows[part->side];
}

/* The bounds of the bins of BINS, layers' state. */
static inline char *bounds_of(const Part *part, const Op *op)
{
    return part->run->kept[part->kept_side] + op->state * part->run->k->itemsize;
}

/* Of the statistics of a value's columns, rows of as many as there are in whole stripes, one from a column on. */
static inline char *statistic(const Part *part, const Value *z, int which, ptrdiff_t column)
{
    return z->statistics[part->side] + (which * z->vectors * part->run->k->lanes + column) * part->run->k->itemsize;
}

/* Whether W is one of rows that columns of X name. */
static inline int is_table(const Run *run, const Weights *w)
{
    return w->first_use >= 0 && run->forward[w->first_use].kind == OP_EMBED;
}

/* Whether a value is moved to another whole, so that columns stay where they are. */
static inline int moves_all(const Run *run, const Op *op)
{
    return op->n == run->values[op->input].n && op->n == run->values[op->output].n;
}

/* Elements of W and b, as they lie. */
static inline ptrdiff_t size_of(const Weights *w) { return (w->n_in + (w->has_bias || !w->row_major)) * w->width; }

/* Whether products had better copy parts of W, where it lies. */
static inline int is_far(const Kernels *k, const Weights *w)
{
    return w->row_major && w->n_out * (ptrdiff_t)k->itemsize >= k->far;
}

/* W from a stripe on, as it lies. */
static inline Stripes stripes_from(const Kernels *k, const Weights *w, ptrdiff_t v)
{
    const ptrdiff_t stripe = (w->row_major ? 1 : w->n_in) * k->lanes;
    return (Stripes){w->packed + v * stripe * k->itemsize, w->row_major ? w->n_out : k->lanes, stripe, w->far};
}

/* b, from a column on; NULL where there is none. */
static inline char *biases_of(const Kernels *k, const Weights *w, ptrdiff_t column)
{
    return w->has_bias ? w->packed + (w->n_in * w->width + column) * k->itemsize : NULL;
}

/* The role of W, or of b. */
static inline Role role_of(const Weights *w, int biases) { return biases && w->role != ROLE_CENTRE ? ROLE_BIAS : w->role; }

/* Pointers into those arrays of state that there are. */
static inline void states_at(char **states, size_t offset, char **at)
{
    for (int i = 0; i < MAX_STATES; i++)
        at[i] = at_offset(states[i], offset);
}

/* Which of the rule's arrays of state has squares of gradients; -1 if none has. */
static inline int state_of_squares(Rule rule)
{
    if (rule == ADAM || rule == ADAMW)
        return 1;
    return rule >= ADAGRAD ? 0 : -1;
}

#endif
