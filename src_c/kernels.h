/* What the kernels and those who call them share; kernels.def has the kernels themselves.
 *
 * One table of function pointers per dtype and instruction set. Matrices are row-major; `ld*` is the distance between
 * rows in elements. Arrays of the table's dtype are passed as `void *`, so that callers are written once for all
 * dtypes. Kernels allocate nothing, validate nothing, and take sizes of zero. Inputs and outputs do not overlap unless
 * a comment says so.
 */
#ifndef FASTBP_KERNELS_H
#define FASTBP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define UNIT(name, forward, backward) name,
typedef enum {
#include "names.def"
    N_ACTIVATIONS
} Activation;
#define LOSS(name) name,
typedef enum {
#include "names.def"
} Loss;
#define RULE(name, n_states) name,
typedef enum {
#include "names.def"
    NO_RULE /* parameters stay as they are, and only their penalty is added up */
} Rule;
/* Arrays that are kept for each parameter: those of the rule, up to AVERAGE, and the parameters' average. */
enum { AVERAGE = 3, MAX_STATES };
#define ROLE(name) ROLE_##name,
typedef enum {
#include "names.def"
    N_ROLES
} Role;
typedef enum { FLOAT32, FLOAT64, UINT8 } DType;

/* A loss with its settings. */
typedef struct {
    Loss kind;
    double parameter;     /* LP's exponent, HUBER's threshold, SOFTMAX_CROSS_ENTROPY's label smoothing */
    int fixed_logit;      /* SOFTMAX_CROSS_ENTROPY takes the last z of each row as 0 */
    const double *levels; /* QUANTILE: a row of z is n_levels groups of columns, each with its own level */
    ptrdiff_t n_levels;
} Cost;


/* Settings of one update; what depends on the step's number, such as bias corrections, is in them. */
typedef struct {
    Rule rule;
    double learning_rate, momentum, beta_1, beta_2, epsilon;
    double l1, l2;      /* added to the gradient: l1 sign(w) + l2 w */
    double scale, clip; /* gradient <- gradient * scale, then bounded by -clip and clip */
    double decay;       /* w <- w - decay w before the step */
    double proximal;    /* unless 0, l1 is not in the gradient: a soft threshold of proximal * l1 follows the step */
    double average;     /* unless 0, the share that the new w has in its average */
} Update;

/* What of an update differs from step to step. */
typedef struct {
    double learning_rate, epsilon, decay;
} StepSettings;

/* Where a row's random words come from. Word j of the row is a function of all of this and of j, and of nothing else: it
 * can be had anywhere, in any order, again. See random_words in kernels.c. */
typedef struct {
    uint32_t seed[2];
    uint32_t step, row; /* of training, of the batch */
    uint32_t stream;    /* what the words are for: 0 dropout of inputs, l dropout of layer l (from 1), or one of these */
} Counter;
#define NOISE_STREAM 0xFFFFFFFFu
#define AUGMENTATION_STREAM 0xFFFFFFFEu

/* A sum in double precision, and its rounding error, by Knuth's two-sum: what a few ULP are enough for, however many terms. */
typedef struct {
    double sum, error;
} Total;
static inline void add_to(Total *t, double x)
{
    const double sum = t->sum + x, share = sum - t->sum;
    t->error += (t->sum - (sum - share)) + (x - share);
    t->sum = sum;
}
/* Infinity where the sum overflows, although the error is NaN then. */
static inline double value_of(const Total *t) { return t->error == t->error ? t->sum + t->error : t->sum; }

/* How images are distorted: fastbp/augmentation.py says what each means. */
typedef struct {
    ptrdiff_t height, width;
    double shift, rotation, scale, shear, elastic_alpha, elastic_sigma;
} Augmentation;

static inline ptrdiff_t elastic_radius(const Augmentation *s) { return (ptrdiff_t)(3 * s->elastic_sigma + 0.5); }

/* Elements of scratch that `augment` needs. */
static inline ptrdiff_t augmentation_scratch(const Augmentation *s)
{
    const ptrdiff_t r = elastic_radius(s), stride = s->width + r;
    return (s->height + 3) * (s->width + 3) + (s->height + 2 * r) * stride + s->height * stride + 2 * r +
           2 * (s->height * stride + 32);
}

/* The rows of a strided matrix of any supported dtype; strides are in bytes. */
typedef struct {
    const char *data;
    ptrdiff_t row_stride, column_stride;
    DType dtype;
} Strided;

/* The rows of a CSR matrix; column indices ascend within a row, unless another thread writes to them. */
typedef struct {
    const char *data;
    const char *indices;
    const int64_t *indptr;
    ptrdiff_t n_columns;
    DType dtype;
    int wide_indices; /* int64 rather than int32 */
} Csr;

/* The elements other than 0 of a matrix: those of row i are begin[i]..end[i] of `columns`, ascending, and of `values`, which
 * are of the table's dtype. */
typedef struct {
    ptrdiff_t *begin, *end;
    int32_t *columns;
    void *values;
} Nonzeros;

/* How many of n ascending columns are below the one given. */
static inline ptrdiff_t columns_below(ptrdiff_t n, const int32_t *columns, ptrdiff_t column)
{
    if (n == 0 || columns[0] >= column)
        return 0;
    if (columns[n - 1] < column)
        return n;
    ptrdiff_t low = 0;
    while (low < n) {
        const ptrdiff_t middle = low + (n - low) / 2;
        if (columns[middle] < column)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

/* A factor A whose rows lie anywhere. Element (i, p) is rows[i][offset + p], or rows[p][offset + i] where the reading is by columns;
 * FAR_ROWS are likely not in cache. */
typedef enum { ROWS, COLUMNS, FAR_ROWS } Reading;
typedef struct {
    const void *rows;
    ptrdiff_t offset;
    Reading reading;
} Rows;

/* A matrix in stripes, see kernels.def: element (i, j) is at [j / lanes * stripe + i * ld + j % lanes]. A factor that is `far` is
 * likely not in cache, or lies there in few sets; a hint, for row-major ones. */
typedef struct {
    void *at;
    ptrdiff_t ld, stripe;
    int far;
} Stripes;

/* What the units of a sparse layer read: unit j has fan_in inputs, inputs[j * fan_in + k]. `readers` are all of these once more, by
 * inputs, and of the same input in the order of units. */
typedef struct {
    int32_t input, unit, number; /* k */
} Reader;
typedef struct {
    ptrdiff_t fan_in, n_out;
    const int32_t *inputs;
    const Reader *readers;
} Connections;

/* A dense layer of a chain whose every batch has few rows, ONLINE_ROWS at most. W (n_in, n_out) is packed, as are the states; those
 * of a single output, n_in elements and zeros up to whole vectors, lie in `column` while they learn. */
enum { ONLINE_ROWS = 8 };
typedef struct {
    ptrdiff_t n_in, n_out, vectors;
    ptrdiff_t half; /* H W is a sum over so many rows of W, and one over those from there on */
    ptrdiff_t panel, n_panels;
    Activation unit;
    double parameter;
    double l1, l2;
    void *w, *states[MAX_STATES], *b, *bias_states[MAX_STATES];  /* b NULL: none */
    void *column, *column_states[MAX_STATES]; /* NULL: several outputs */
    void *a, *d, *slope; /* of the outputs, rows ld apart; slope NULL where a tells f'(z) */
    ptrdiff_t ld;
    char **a_rows;
    double *penalties; /* receives those of n_panels panels of each stripe, or NULL */
} ChainLayer;

/* Such a chain, with its data. */
typedef struct {
    const ChainLayer *layers;
    int n;
    Cost cost;
    double weight; /* of the loss */
    Strided x, y;
    int x_in_place, y_in_place, has_y; /* rows are read where they lie; there are no labels */
    const int64_t *labels;
    const double *sample_weights; /* or NULL */
    const int64_t *order; /* or NULL */
    ptrdiff_t n_rows, batch;
    int penalty_over_weight;
    ptrdiff_t n_penalties;
    double *penalties; /* of all layers */
    double *record;
    void *inputs, *targets; /* room for rows of X, ld_inputs apart, unless it is read in place, and for rows of y */
    ptrdiff_t ld_inputs;
} Chain;

/* The table; kernels.def has the contract of each kernel. */
typedef struct {
    const char *isa;
    size_t itemsize;
    ptrdiff_t lanes;
    ptrdiff_t depth; /* the most rows of W that are summed up in one chain: a product with more is a sum of such sums, in order */
    ptrdiff_t far; /* bytes from row to row of a factor from which it counts as far: many times what a product takes of one */
#define KERNEL(type, name, arguments) type(*name) arguments;
#define KERNEL_BY_UNIT(type, name, arguments) type(*name[N_ACTIVATIONS]) arguments;
#include "kernels.def"
} Kernels;

/* The tables [float32, float64] of an instruction set by name ("baseline", "avx2", "avx512"), if it was built and the
 * processor has it, else NULL; NULL asks for the best one that may be chosen without being asked for. */
const Kernels *fastbp_kernels(const char *isa);
/* Names of the instruction sets built, in ascending order, ended by NULL; and of what names.def has. */
extern const char *const fastbp_isas_built[];
extern const char *const fastbp_units[], *const fastbp_losses[], *const fastbp_rules[], *const fastbp_roles[];
/* For the tests: the rows of kernels.def as text, and of names.def the rules' numbers of states and the structs' sizes. */
extern const char *const fastbp_signatures[], *const fastbp_structs[];
extern const size_t fastbp_rule_states[], fastbp_struct_sizes[];

#endif
