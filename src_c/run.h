/* A run: a network, its data and its workspace, as the members of the team see them.
 *
 * Everything between a call of Python's and the kernels is here, and knows no Python. It is written once for both dtypes: arrays
 * are `char *`, sizes are in elements, and the kernel table knows the rest. For the time of a run the weights lie in packed
 * stripes (see kernels.def). A chunk of a batch is, for each member of the team,
 *
 *     my columns:       A = f(H W + b) of the first, large layers; a barrier after each
 *     my row blocks:    the same of all other layers, layer by layer; loss and output delta; delta <- (delta W^T) * f'(Z)
 *     barrier
 *     my columns:       the deltas of the large layers, from the last one down; a barrier after each
 *     my weights:       G = H^T delta a panel at a time, then the optimizer on it while it is in cache
 *
 * Of a layer cut by columns only its member ever touches the weights, so that no cache line of them moves from core to core, and
 * the next step may begin without waiting for the others: what crosses is activations and deltas, which two chunks in turn keep
 * on two sides of the workspace.
 *
 * Where the stripes of the last large layer are few and odd in number, two members have half of the middle one each:
 * Z = H[:, :half] W[:half] + H[:, half:] W[half:] of that layer is two sums, which are added up once both are there; of the
 * middle stripe that is after the barrier, by row blocks.
 *
 * G = H^T delta of a layer with many columns reads rows of H^T, which the member that computes H also keeps, rather than columns
 * of H, whose elements lie pages apart.
 *
 * Where few elements of X are other than 0, as in CSR, images or one-hot codes, the products of the first layer take lists of
 * those: a member lists the nonzeros of its rows, then those of its columns, and with the dense products' order of summing the
 * bits are theirs too, unless W is used where it lies.
 *
 * Each element of each product is one sum in a fixed order, and losses and penalties are added up over blocks cut by the
 * problem's shape: the bits of the result do not depend on the number of threads. A batch too large for the workspace runs in
 * chunks whose gradients add up in an array before the update; those of many rows are folded, every FOLDED_ROWS, into a sum whose
 * rounding error is kept beside it. Clipping by norm needs that array too: each member takes the norms of its weights' gradients,
 * and after a barrier all add them up in the same order. Max-norm is a pass after the updates, with a barrier on either side: a
 * column is bounded whole by one member. What ties between layers add to their gradients is found before the updates, while no
 * weight changes, and is what the sums of these panels begin with. */
#ifndef FASTBP_RUN_H
#define FASTBP_RUN_H

#include "kernels.h"
#include "team.h"

#include <math.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Rows whose gradients are added up in one chain of chunks; more are folded into a sum whose rounding error is kept. */
enum { FOLDED_ROWS = 8192 };

typedef struct {
    ptrdiff_t n_in, n_out;
    ptrdiff_t w, b; /* offsets of weights and biases in the flat vector */
    Activation activation;
    int radial;       /* radial basis functions: W are centres, b logarithms of beta, d is 2 beta a dC/da */
    double parameter; /* of the activation */
    double l1, l2;
    double max_norm;   /* of columns of W; 0: none */
    int in_place;      /* W is used where it lies in the flat vector: where it is large and CSR input reads few of its rows */
    double dropout;    /* of the outputs; 0 outside of TRAIN */
    ptrdiff_t vectors; /* stripes of W */
    ptrdiff_t width;   /* columns of W with those that fill up the last stripe */
    ptrdiff_t ld;      /* distance between rows of a and d */
    ptrdiff_t panel;   /* rows of W whose gradient is computed at once, */
    ptrdiff_t group;   /*   and stripes */
    ptrdiff_t n_panels;
    ptrdiff_t half;      /* Z = H[:, :half] W[:half] + H[:, half:] W[half:]; n_in where Z is one sum */
    ptrdiff_t slot;      /* of the first of its n_panels * vectors penalties, and so many norms */
    ptrdiff_t bias_slot; /* of the first of its biases' `vectors` norms */
    /* the workspace */
    char *packed;            /* W (n_in, n_out) in stripes, then b (NULL in PREDICT where W is used as it lies); */
    char *state[MAX_STATES]; /*   and, in the same form, the optimizer's state */
    char *g;                 /*   and the gradient, NULL where it is consumed panel by panel, */
    char *sum;               /*   and where it is added up over many rows, its sum so far and that sum's rounding error */
    char *error;
    char *tie_gradient; /* of the penalty for ties at the start of the step, as W lies; NULL where there are none */
    char *wt;           /* W^T (n_out, n_in) in stripes, kept up to date by the updates */
    char *a[2];         /* activations (rows, n_out) and deltas, on both sides, */
    char *d[2];         /*   where Z's second sum is until it is added, */
    char *slope[2];     /*   what derivative takes where a does not tell f'(z), or rbf's Y, else NULL, */
    char **a_rows[2];   /*   and pointers to the rows of a and d */
    char **d_rows[2];
    char *ht[2]; /* H^T (n_in, rows), where many products read it, else NULL */
    char **ht_rows[2];
} Layer;

/* Adds strength/2 |W_i - W_j|^2 to the cost. */
typedef struct {
    int i, j;
    double strength;
    ptrdiff_t slot; /* of the first of its penalties, one for each stripe */
} Tie;

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
} Settings;

/* A product that goes to BLAS: C (m, n) = op(A) op(B) + beta C, all row-major. */
typedef void (*Gemm)(size_t itemsize, int transpose_a, int transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a,
                     ptrdiff_t lda, const void *b, ptrdiff_t ldb, double beta, void *c, ptrdiff_t ldc);

typedef struct Run {
    /* the network */
    const Kernels *k;
    Layer *layers;
    int n_layers;
    ptrdiff_t n_weights;
    int n_by_columns; /* layers, from the first, that are shared by columns; the others are by row blocks */
    int sides;        /* of the workspace */
    Cost cost;
    ptrdiff_t n_penalties;
    Tie *ties; /* TRAIN */
    int n_ties;
    ptrdiff_t n_tie_penalties;
    /* the data */
    int sparse;
    int direct;           /* rows of X are used where they lie, without a gather */
    int listed;           /* the products of the first layer take the nonzeros of X: CSR, or dense X that is mostly zeros */
    ptrdiff_t most;       /* nonzeros in a row, */
    ptrdiff_t n_nonzeros; /*   and in all: of CSR, of dense X that there may be */
    Strided x, y;
    Csr csr;
    int has_y;
    const int64_t *labels;
    const double *weights;
    const int64_t *order;
    ptrdiff_t n_rows;
    /* what to do */
    Mode mode;
    ptrdiff_t batch, chunk, block;
    int shared;       /* whether row blocks are to be shared among members */
    ptrdiff_t window; /* rows that a pass by columns works on before it looks for Ctrl-C */
    Settings settings;
    double input_dropout; /* TRAIN */
    double input_noise;
    Augmentation augmentation; /* of height 0 for none */
    uint32_t seed[2];
    int penalty_over_weight;
    int bounded; /* some layer has a max_norm */
    int64_t t;   /* optimizer steps made */
    /* arrays */
    char *parameters;
    char *gradient; /* GRADIENT, BACKWARD: flat */
    char *state[MAX_STATES];
    char *input[2];         /* workspace, on both sides: gathered rows of X, */
    Nonzeros nonzeros[2];   /*   the nonzeros of its rows, */
    ptrdiff_t *middle[2];   /*   where in each the second half of the first layer begins, */
    Nonzeros transposed[2]; /*   and of its columns */
    ptrdiff_t ld_input;
    ptrdiff_t ld_transposed;      /* distance between rows of the layers' H^T */
    char *output;                 /* PREDICT, FORWARD: (n_rows, n_out); BACKWARD: dC/da of the last layer */
    char *input_gradient;         /* BACKWARD: (n_rows, n_in) or NULL */
    const double *learning_rates; /* TRAIN: one for each batch */
    double *record;
    double loss;            /* TRAIN: the mean of what `record` has */
    ptrdiff_t n_not_finite; /* TRAIN: members that have found that the run is no good, in their weights or in the loss, */
    int guarded;            /*   and whether nothing is written back then */
    double *block_loss;
    double *penalties;
    double *tie_penalties;
    int keeps_gradient; /* all of it, before the first update */
    int folds;          /* whether the gradients of a batch are more than one chain may add up */
    double *norms;      /* of parts of the gradient */
    ptrdiff_t n_norms;
    char *scratch; /* scratch_size bytes for each member */
    size_t scratch_size;
    /* the team */
    int stop;
    int failed;           /* stopped by a signal's handler that raised something else than KeyboardInterrupt */
    ptrdiff_t next_block; /* PREDICT: the first that nobody has taken yet */
    int verdict[2];       /* whether chunks were stopped, in turn */
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
    int member, n_members;
    ptrdiff_t first, rows;
    ptrdiff_t row;   /* of the chunk, from which on update_my_weights takes its rows */
    ptrdiff_t start; /* row where the batch begins */
    uint32_t step;
    double scale;              /* of the deltas */
    int turn;                  /* 0 and 1, chunk by chunk */
    int side;                  /* of the workspace */
    int measuring;             /* update_my_weights is to find the gradient's norm, not to update */
    ptrdiff_t unfolded;        /* rows whose gradients have been added up since they were last folded into the sum */
    int folding;               /* update_my_weights is to fold them, */
    int first_fold, last_fold; /* for the first time, for the last */
    ptrdiff_t pending;         /* batch whose penalty is still to be recorded, or -1 */
    char **x_rows;             /* pointers to the chunk's rows of X */
    char *scratch;
} Part;

typedef struct {
    ptrdiff_t begin, end;
} Range;

#pragma GCC visibility push(hidden)

/* plan.c */
int lists_repay(Run *run, ptrdiff_t samples);
/* Between rows of n elements in the workspace. */
ptrdiff_t row_distance(const Kernels *k, ptrdiff_t n);
ptrdiff_t chunk_of(Run *run, ptrdiff_t batch);
void plan(Run *run, ptrdiff_t chunk, int n_threads);
/* The workspace of a plan: from `p` on, unless it is NULL; returns its size in bytes. */
size_t lay_out(Run *run, int n_threads, char *p);
/* The same for predictions, whose layers `layers` are copied to the workspace. */
size_t lay_out_prediction(Run *run, const Layer *layers, int n_threads, char *p);

/* forward.c */
void find_rows(Part *part);
void transpose_nonzeros(Part *part);
void row_blocks(Part *part);
void forward_columns(Part *part);
void backward_columns(Part *part);

/* gradient.c */
Update step_of(const Settings *settings, double eta, int64_t t);
void find_tie_gradients(Part *part, double S);
void gather_gradients(Part *part, const Update *update, double S, int last);
void update_my_weights(Part *part, const Update *update, double S, int accumulate);
void bound_columns(Part *part);
double clip_norm(Part *part, const Update *update, double S);
void move_parameters(Run *run, Layer *layer, char *flat, char *packed, int out, ptrdiff_t v0, ptrdiff_t v1);
void move_shares(Run *run, int member, int n_members, int out);
/* One update of flat parameters from a flat gradient: run's layers with their penalties, parameters, gradient, state, settings.
 * Returns 0; or, with nothing changed, the gradient's norm if the rule would divide by squares that overflow. */
double update_flat(Run *run, double eta, int64_t t);

/* What the members do: tasks of a team, whose argument is a Run. */
void train_member(void *run, Team *team, int member, int n_members);    /* TRAIN, LOSS_ONLY, GRADIENT: train.c */
void own_cost_member(void *run, Team *team, int member, int n_members); /* FORWARD, BACKWARD: train.c */
void predict_member(void *run, Team *team, int member, int n_members);  /* PREDICT: predict.c */

#pragma GCC visibility pop

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

static inline ptrdiff_t aligned(ptrdiff_t size)
{
    return (size + 63) & ~63;
}

static inline char *at_offset(char *base, size_t offset)
{
    return base != NULL ? base + offset : NULL;
}

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

/* The member's share of n things. */
static inline Range share(ptrdiff_t n, int member, int n_members)
{
    Range r;
    r.begin = n * member / n_members;
    r.end = n * (member + 1) / n_members;
    return r;
}

/* Whether Z is two sums, so that two members may share the layer's middle stripe. */
static inline int halved(Layer *layer)
{
    return layer->half < layer->n_in;
}

/* Where the member's share of the layer's columns begins, in half stripes: two members cut the middle one. */
static inline ptrdiff_t cut_of(Layer *layer, int member, int n_members)
{
    if (halved(layer) && n_members == 2 && member == 1)
        return layer->vectors;
    return 2 * (layer->vectors * member / n_members);
}

/* Stripes of which the member has the first or the second half of the rows of W. */
static inline Range columns_of(Part *part, Layer *layer, int half)
{
    ptrdiff_t begin = cut_of(layer, part->member, part->n_members), end = cut_of(layer, part->member + 1, part->n_members);
    Range r;
    r.begin = (begin + 1 - half) / 2;
    r.end = (end + 1 - half) / 2;
    return r;
}

/* Stripe v and rows begin..begin+m of W to W^T; begin is a multiple of lanes. */
static inline void update_transpose(const Kernels *k, Layer *layer, ptrdiff_t v, ptrdiff_t begin, ptrdiff_t m)
{
    ptrdiff_t square = k->lanes * k->lanes, stripe = layer->vectors * square;
    k->transpose(m, layer->packed + (v * layer->n_in + begin) * k->lanes * k->itemsize, k->lanes,
                 layer->wt + (begin / k->lanes * stripe + v * square) * k->itemsize, k->lanes, stripe);
}

/* Pointers to the rows of what the layer reads (dense X). */
static inline char **input_rows(Part *part, Layer *layer)
{
    return layer == part->run->layers ? part->x_rows : (layer - 1)->a_rows[part->side];
}

/* b, from a column on, in the packed form. */
static inline char *biases_of(const Kernels *k, Layer *layer, ptrdiff_t column)
{
    return layer->packed + (layer->n_in * layer->width + column) * k->itemsize;
}

/* Pointers into those arrays of state that there are. */
static inline void states_at(char **states, size_t offset, char **at)
{
    int i;
    for (i = 0; i < MAX_STATES; i++)
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
