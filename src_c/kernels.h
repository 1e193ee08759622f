/* The contract between the kernels and those who call them.
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

typedef enum {
    IDENTITY, LOGISTIC, TANH, RELU, HARD_TANH, LEAKY_RELU, STEP, SOFTPLUS, ELU, SELU,
    GELU, SILU, /* f'(z) of these cannot be told from f(z) */
    SOFTMAX,    /* of whole rows */
    EXP, /* without a derivative: it is for outputs whose loss is computed from z */
    N_ACTIVATIONS
} Activation;
typedef enum {
    NO_LOSS, SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, POISSON, ABSOLUTE_ERROR, LP, HUBER, QUANTILE, GAUSSIAN,
    PERCEPTRON
} Loss;
typedef enum {
    GRADIENT_DESCENT, MOMENTUM, NESTEROV, ADAM, ADAMW, ADAGRAD, RMSPROP, RMSPROP_MOMENTUM, RMSPROP_CENTERED
} Rule;
enum { MAX_STATES = 3 }; /* arrays that a rule keeps */
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
} Update;

/* Where a row's random words come from. Word j of the row is a function of all of this and of j, and of nothing else: it
 * can be had anywhere, in any order, again. See random_words in kernels.c. */
typedef struct {
    uint32_t seed[2];
    uint32_t step, row; /* of training, of the batch */
    uint32_t stream;    /* what the words are for: 0 dropout of inputs, l dropout of layer l (from 1), or one of these */
} Counter;
#define NOISE_STREAM 0xFFFFFFFFu
#define AUGMENTATION_STREAM 0xFFFFFFFEu

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

/* How matmul reads A: by rows, by columns of its transpose, or by rows that are likely not in cache. */
typedef enum { ROWS, COLUMNS, FAR_ROWS } Reading;

/* A matrix lies in stripes, if its columns 0..lanes are stored row by row, then the next, and so on: element (i, j) is at
 * [j / lanes * stripe + i * ld + j % lanes]. With ld = lanes and stripe = lanes * rows that is the packed form, in which
 * each member of the team finds its columns in cache lines of its own; its last stripe is filled up with zeros. With
 * stripe = lanes it is a row-major matrix whose rows are ld apart. */
typedef struct {
    const char *isa;
    size_t itemsize;
    ptrdiff_t lanes;

    /* C (m, n) = A (m, k) B (k, n) + (accumulate ? C : bias ? bias : 0); B and C in stripes, bias (n) plain. Element (i, p)
     * of A is rows[i][offset + p], or rows[p][offset + i] where the reading is by columns. Each element of C is one sum in
     * the order of p, whatever the sizes: cutting the product into blocks does not change a bit. */
    void (*matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows, ptrdiff_t offset, Reading reading,
                   const void *b, ptrdiff_t ldb, ptrdiff_t stripe_b, const void *bias, int accumulate, void *c,
                   ptrdiff_t ldc, ptrdiff_t stripe_c);
    /* B (m, n) packed = A (m, n) row-major, and back */
    void (*pack)(ptrdiff_t m, ptrdiff_t n, const void *a, ptrdiff_t lda, void *b, ptrdiff_t stripe);
    void (*unpack)(ptrdiff_t m, ptrdiff_t n, const void *a, ptrdiff_t stripe, void *b, ptrdiff_t ldb);
    /* B (lanes, m) in stripes = A^T, where A (m, lanes) has rows lda apart */
    void (*transpose)(ptrdiff_t m, const void *a, ptrdiff_t lda, void *b, ptrdiff_t ldb, ptrdiff_t stripe);
    /* every row of C (m, n) = row (n), or zero where row is NULL */
    void (*fill_rows)(ptrdiff_t m, ptrdiff_t n, const void *row, void *c, ptrdiff_t ldc);
    /* a (m, n) += b (m, n), rows of both ld apart */
    void (*add)(ptrdiff_t m, ptrdiff_t n, void *a, const void *b, ptrdiff_t ld);
    /* out (n) = (accumulate ? out : 0) + sum of the rows of A * B (m, n), or of A where B is NULL; rows of both ld apart */
    void (*column_sums)(ptrdiff_t m, ptrdiff_t n, const void *a, const void *b, ptrdiff_t ld, int accumulate, void *out);
    /* out (m, n) = rows order[0..m) of x, or rows first..first+m where order is NULL, converted to the dtype */
    void (*gather)(ptrdiff_t m, ptrdiff_t n, const Strided *x, const int64_t *order, ptrdiff_t first, void *out,
                   ptrdiff_t ld);
    /* The nonzeros of rows of x, as in gather, to rows row..row+m of a list, one after the other from place `at` on */
    void (*gather_csr)(ptrdiff_t m, const Csr *x, const int64_t *order, ptrdiff_t first, ptrdiff_t at, ptrdiff_t row,
                       const Nonzeros *out);
    /* Those of a dense matrix (m, n), whose row i is rows[i], to rows row..row+m of a list with room for n in each */
    void (*find_nonzeros)(ptrdiff_t m, ptrdiff_t n, const void *rows, ptrdiff_t row, const Nonzeros *out);
    /* Rows begin..end of the transpose of rows row..row+m of x. They take the places in `columns` and `values`, of those from
     * x->begin[row] on, that they have in the transpose of all columns: several threads may make parts of one list, or of
     * lists of other rows, at once. */
    void (*transpose_nonzeros)(ptrdiff_t m, const Nonzeros *x, ptrdiff_t row, ptrdiff_t begin, ptrdiff_t end,
                               const Nonzeros *out);
    /* matmul, with rows row..row+m of x in place of A: with the same bits, unless B is not finite, or the sign of a zero */
    void (*nonzeros_matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Nonzeros *x, ptrdiff_t row, const void *b,
                            ptrdiff_t ldb, ptrdiff_t stripe_b, const void *bias, int accumulate, void *c, ptrdiff_t ldc,
                            ptrdiff_t stripe_c);

    /* a (m, n) <- f(a), rows ld apart; the parameter is LEAKY_RELU's slope for z < 0 and ELU's alpha. GELU and SILU write
     * f' of what was in a to slopes (m, n), rows ld apart, unless that is NULL; SOFTMAX, f(a) once more. */
    void (*activate[N_ACTIVATIONS])(ptrdiff_t m, ptrdiff_t n, void *a, ptrdiff_t ld, double parameter, void *slopes);
    /* d (m, n) <- d * f'(z), the Hadamard product, with f' written in terms of a = f(z); GELU and SILU take their slopes as
     * a. SOFTMAX's f'(z) is a matrix for each row, d <- a * (d - sum of d * a). Rows of both ld apart. */
    void (*derivative[N_ACTIVATIONS])(ptrdiff_t m, ptrdiff_t n, const void *a, void *d, ptrdiff_t ld, double parameter);
    /* Radial basis functions a_j = exp(-beta_j |h - c_j|^2) with beta_j = exp(b_j): A (m, n) of the rows (m) of H and the
     * centres C (k, n), in stripes. Keeps Y (m, n), y_j = -|h - c_j|^2 / 2, unless that is NULL. Rows of A and Y ld apart.
     * Each distance is one sum of squares of differences in the order of p, whatever the sizes. */
    void (*rbf)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows, const void *c, ptrdiff_t ldc, ptrdiff_t stripe_c,
                const void *b, void *a, void *y, ptrdiff_t ld);
    /* Their way back. With s_j = 2 beta_j a_j dC/da_j, the gradients are H^T S - C diag(column sums of S) for the centres,
     * the column sums of S * Y for b, and S C^T - diag(row sums of S) H for H.
     * D (m, n) <- S, from D = dC/dA */
    void (*rbf_delta)(ptrdiff_t m, ptrdiff_t n, const void *y, const void *b, void *d, ptrdiff_t ld);
    /* G (m, n) -= C diag(sums), whole stripes of both */
    void (*rbf_centres)(ptrdiff_t m, ptrdiff_t n, const void *c, ptrdiff_t stripe_c, const void *sums, void *g,
                        ptrdiff_t stripe_g);
    /* D (m, n) -= diag(row sums of S (m, k)) H; element (i, j) of H is rows[i][offset + j] */
    void (*rbf_inputs)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *s, ptrdiff_t lds, const void *rows,
                       ptrdiff_t offset, void *d, ptrdiff_t ldd);

    /* Loss of m rows and its gradient d (m, n) with respect to z (m, n), rows of both ld apart. Row i's loss and gradient
     * are multiplied by weights[i] (1 where NULL), the gradient further by scale. Targets: y (m, n), or class indices
     * labels (m) for SOFTMAX_CROSS_ENTROPY (then y is NULL). GAUSSIAN has means and logarithms of variances in the two halves
     * of a row of z, and reads the first half of a row of y. Returns the weighted sum of the losses. d may be NULL.
     * SOFTMAX_CROSS_ENTROPY takes z as scratch. */
    double (*loss)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, void *z, ptrdiff_t ld, const void *y, const int64_t *labels,
                   const double *weights, double scale, void *d);

    /* The squared norm of the gradient g (n), with the gradient of the penalties of w (n) that the update would add. */
    double (*squared_norm)(const Update *u, ptrdiff_t n, const void *w, const void *g);
    /* One optimizer step for w (n) with gradient g (n) and MAX_STATES arrays of state (n), of which those that the rule does
     * not have may be NULL. Adds the old weights' penalty l1 |w| + l2/2 w^2 to *penalty. */
    void (*update)(const Update *u, ptrdiff_t n, void *w, const void *g, void *const *states, double *penalty);
    /* Gradient and penalty strength/2 |A - B|^2 of tied weights: G (m, n) += strength (A - B), n <= lanes. Returns
     * |A - B|^2. */
    double (*tie)(ptrdiff_t m, ptrdiff_t n, double strength, const void *a, ptrdiff_t lda, const void *b, ptrdiff_t ldb,
                  void *g, ptrdiff_t ldg);
    /* Columns of W (m, n), n <= lanes and rows ld apart, are multiplied by most / norm if their norm is above `most`. Returns
     * 0 if none was. */
    int (*bound_columns)(ptrdiff_t m, ptrdiff_t n, void *w, ptrdiff_t ld, double most);
    /* Whether no element of a (n) is infinite or NaN. */
    int (*all_finite)(ptrdiff_t n, const void *a);

    /* Inverted dropout: a (m, n) <- 0 where word first + j of the row is below rate * 2^32, else a / (1 - rate). The rows
     * are counter->row and those after it, ld apart in a. */
    void (*dropout)(ptrdiff_t m, ptrdiff_t n, double rate, const Counter *counter, ptrdiff_t first, void *a, ptrdiff_t ld);
    /* a (m, n) += sigma * standard normal numbers, rows as in dropout; stream NOISE_STREAM */
    void (*add_noise)(ptrdiff_t m, ptrdiff_t n, double sigma, const Counter *counter, void *a, ptrdiff_t ld);
    /* a (m, height * width), rows ld apart, of images <- the images distorted; stream AUGMENTATION_STREAM */
    void (*augment)(ptrdiff_t m, const Augmentation *settings, const Counter *counter, void *a, ptrdiff_t ld, void *scratch);
    /* out (n) = what became a (n) in dropout, where it was not dropped: a / (1 / (1 - rate)). Dividing by the factor brings
     * back 1 as 1, the bound that hard tanh's derivative looks for; multiplying by 1 - rate would not. */
    void (*undo_scale)(ptrdiff_t n, double rate, const void *a, void *out);
} Kernels;

/* The tables [float32, float64] of an instruction set by name ("baseline", "avx2", "avx512"), if it was built and the
 * processor has it, else NULL; NULL asks for the best one that may be chosen without being asked for. */
const Kernels *fastbp_kernels(const char *isa);
/* Names of the instruction sets built, in ascending order, ended by NULL. */
extern const char *const fastbp_isas_built[];

#endif
