/* A program: the ops of a network on values and weights, as data.
 *
 * fastbp/graph/ makes the ops of the passes forward and backward; assemble (phases.c) puts those of a run's mode in order, and finds
 * the phases. Numbers are places in the arrays of a Run; value 0 is X. For the time of a run the weights lie in packed stripes
 * (see kernels.def). */
#ifndef FASTBP_PROGRAM_H
#define FASTBP_PROGRAM_H

#include "kernels.h"

/* W (n_in, n_out), b (n_out): of a dense layer, or the centres and logarithms of beta of radial basis functions; or
 * a table of n_in rows. A bias alone has n_in = 0, a scale of each feature n_in = 1. */
typedef struct {
    Role role; /* of W; b is a bias, or as W of centres */
    ptrdiff_t n_in, n_out;
    ptrdiff_t offset; /* of W in the flat vector; b follows it */
    int has_bias;     /* without one the packed form has a row of zeros in its place */
    double l1, l2;       /* where W is a weight */
    double max_norm;     /* of columns of W; 0: none */
    Connections connections; /* of a sparse layer, whose W is (fan_in, n_out); else without inputs */
    char *flat_mask;     /* (n_in, n_out), 0 where W must not change; NULL: all of it may */
    int first_use;       /* of W, by an op of Run.forward; -1: none. Op.next_use is the next */
    int first_bias_use;  /* and of b */
    int first_norm;      /* by an op that divides by norms of W; -1: none. Op.next_norm is the next */
    int section;         /* of the values that the gradient needs; -1: none */
    int n_uses;
    int by_columns;      /* a member owns columns of W; else panels */
    int row_major;       /* W is used as it lies in the flat vector, */
    int copied;          /*   in a copy of it, as tables are in TRAIN, or there, */
    int far;             /*   from which products with many rows had better copy parts of it, */
    int sparse_update;   /*   or of which an update touches few rows, see sparse_update.c */
    ptrdiff_t vectors;   /* stripes of W */
    ptrdiff_t width;     /* columns of W with those that fill up the last stripe */
    ptrdiff_t panel;     /* rows of W whose gradient is computed at once, */
    ptrdiff_t group;     /*   and stripes */
    ptrdiff_t n_panels;
    ptrdiff_t half;      /* Z = H[:, :half] W[:half] + H[:, half:] W[half:]; n_in where Z is one sum */
    ptrdiff_t first_penalty;   /* of its n_panels * vectors, and of as many norms */
    ptrdiff_t first_bias_norm; /* of its biases' `vectors` norms */
    /* the workspace */
    char *packed;            /* W (n_in, n_out) in stripes, then b; */
    char *state[MAX_STATES]; /*   and, in the same form, the optimizer's state, */
    char *mask;              /*   what is 0 where W must not change, NULL where all of it may, */
    char *start;             /*   W and b as a step of SAM begins with them, else NULL, */
    char *g;                 /*   and the gradient, NULL where it is consumed panel by panel, */
    char *sum;               /*   and where it is added up over many rows, its sum so far and that sum's rounding error */
    char *error;
    char *tie_gradient; /* of the penalty for ties at the start of the step, as W lies; NULL where there are none */
    int keeps_transpose;
    char *wt; /* W^T (n_out, n_in) in stripes, kept up to date by the updates; NULL where no op reads it */
} Weights;

/* An array (rows, n) of a chunk, A = f(Z), and its gradient D. */
typedef struct {
    ptrdiff_t n;
    ptrdiff_t vectors; /* stripes */
    ptrdiff_t width;   /* columns that ops write: n, or with those that fill up the last stripe */
    ptrdiff_t ld;      /* distance between rows of a and d */
    Activation activation;
    double parameter; /* of the activation */
    int radial;       /* a = exp(-beta |h - c|^2), d becomes 2 beta a dC/da */
    double dropout;   /* 0 outside of TRAIN */
    uint32_t stream;  /* of dropout's random words */
    int buffer;       /* that A takes in PREDICT; the place that D shares in TRAIN and GRADIENT, below 0 for none */
    int is_output;  /* of one head alone; no op reads it: losses may write over it, predictions lie in the caller's array */
    int learns;     /* weights' gradients need its own */
    int section;    /* of values that are made again on the way back instead of being kept; -1: none */
    int by_columns; /* the product that makes it is split by columns */
    int halved;     /* it is two sums, so that two members may share the middle stripe */
    int n_parts;    /* PREDICT: its product is so many sums over parts of the rows of W, which members share, added up then; 0: it is one */
    int keeps_transpose;
    /* the workspace, on both sides */
    char *a[2], *d[2]; /* of Z in two sums, the second is in d until it is added; of n_parts all are */
    char *slope[2];    /* what derivative takes where a does not tell f'(z), or rbf's Y, else NULL */
    char **a_rows[2];  /* pointers to the rows of a and d */
    char **d_rows[2];
    char *ht[2]; /* A^T (n, rows), where many products read it, else NULL */
    char **ht_rows[2];
    ptrdiff_t n_statistics; /* elements of what normalisation keeps of columns or rows, see norm.c */
    char *statistics[2];
} Value;

typedef enum {
#define OP(NUMBER, name, reads, access, writes, weights) OP_##NUMBER,
#include "ops.def"
    N_OPS
} OpKind;

typedef struct {
    OpKind kind;
    int input, output; /* values */
    int weights, bias; /* whose W, whose b; -1: none */
    ptrdiff_t column;    /* of Z, from which on it writes */
    ptrdiff_t source, n; /* MOVE, ADD, EMBED: the columns of H that it reads */
    int accumulate; /* add to what is in the output's gradient */
    ptrdiff_t state; /* in the vector of layers' state, place of BATCH_NORM's mean and variance, of WEIGHT_NORM's u and v, or of the
                      * bounds of BINS; -1: none */
    int of, n_iterations; /* WEIGHT_NORM: the weights whose norms it divides by; how often u and v follow them in a step */
    double epsilon, momentum;
    int n_groups; /* of GROUP_NORM */
    int head;       /* OUTPUT, LOSS, OUTPUT_BACK: which of the outputs */
    int next_use;   /* of the same weights, an op forward; -1: none */
    int next_bias_use;
    int next_norm;
    int by_columns; /* split by columns of the output; else by rows, where an op can be */
    int section;    /* UPDATE: that of the weights; -1: all others */
    int frees;      /* is the last to touch D of its input */
    int reuses;     /* writes to places that values of another section were in: only once nobody reads those any more */
} Op;

/* How the ops of a phase are shared among the members: blocks of rows, through all ops each; columns of the output, in windows of
 * rows, or of all rows at once; each op once, which shares as it does; or parts of weights. */
typedef enum { BY_ROWS, BY_COLUMNS, WHOLE_COLUMNS, ALONE, BY_WEIGHTS } Split;

/* Ops first..end, which members run without waiting for each other; then, perhaps, a barrier. */
typedef struct {
    Split split;
    int first, end;
    int barrier;
} Phase;

#endif
