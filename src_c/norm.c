/* The ops of normalisation.
 *
 * Batch normalisation in training takes mean and variance of the columns of a batch, which is one chunk then. Each member finds those
 * of its columns, as it does the sums that the way back needs, one after the other over all rows; they lie in the statistics of the
 * value that is normalised, (4, columns): mean, variance, and both sums. The layer's state follows them. A batch of which fewer than
 * two rows have weight has no variance: it takes the state, which stays as it is, as everything but training does. */
#include "run.h"

#include <string.h>

enum { MEAN, VARIANCE, SUMS, PRODUCTS };

int takes_batch(const Run *run, const Op *op)
{
    return run->batch_statistics && op->momentum > 0 && (op->kind == OP_BATCH_NORM || op->kind == OP_BATCH_NORM_BACK);
}

/* The weight of a row of the batch. */
static double weight_of(const Part *part, ptrdiff_t row)
{
    const Run *run = part->run;
    const ptrdiff_t at = part->first + row;
    return run->sample_weights == NULL ? 1 : run->sample_weights[run->order != NULL ? (ptrdiff_t)run->order[at] : at];
}

int varies(const Part *part)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < part->rows && n < 2; i++)
        n += weight_of(part, i) > 0;
    return n == 2;
}

/* Shares of rows in the weight of the batch, to the member's scratch. */
static const char *shares_of(Part *part, ptrdiff_t row, ptrdiff_t m)
{
    for (ptrdiff_t i = 0; i < m; i++) {
        const double share = weight_of(part, row + i) * part->scale;
        if (part->run->k->itemsize == sizeof(float))
            ((float *)part->scratch)[i] = (float)share;
        else
            ((double *)part->scratch)[i] = share;
    }
    return part->scratch;
}

/* What makes the variance of rows with shares p that of what they were drawn from, without bias: 1 / (1 - sum of p^2), which of n
 * rows of the same weight is n / (n - 1). */
static double correction_of(const Part *part)
{
    double rest = 0;
    for (ptrdiff_t i = 0; i < part->rows; i++) {
        const double p = weight_of(part, i) * part->scale;
        rest += p * (1 - p);
    }
    return MIN(1 / rest, 0x1p100);
}

/* A member's columns, and how many of those after them fill up its last stripe. */
typedef struct {
    ptrdiff_t begin, end, zeros;
} Columns;

static Columns columns_of(const Part *part, const Value *value, ptrdiff_t width, int by_columns)
{
    const ptrdiff_t lanes = part->run->k->lanes;
    const Range all = {0, value->vectors}, mine = by_columns ? share(all.end, part->member, part->n_members) : all;
    const ptrdiff_t begin = mine.begin * lanes, last = MIN(mine.end * lanes, width), end = MIN(last, value->n);
    return (Columns){begin, end, MAX(0, last - end)};
}

/* The state of a layer on one side, from a column on. */
static char *kept(const Part *part, const Op *op, int side, int which, ptrdiff_t column)
{
    const ptrdiff_t n = part->values[op->output].n; /* as many as of the input */
    return part->run->kept[side] + (op->state + which * n + column) * part->run->k->itemsize;
}

/* Mean or variance that the columns of z are normalised with. */
static char *operand(const Part *part, const Op *op, const Value *z, int which, ptrdiff_t column)
{
    return takes_batch(part->run, op) ? statistic(part, z, which, column) : kept(part, op, part->kept_side, which, column);
}

/* Where the layer's state goes that follows the batch: to the other side in training; NULL: it does not, or has followed it. */
static char *next(const Part *part, const Op *op, int which, ptrdiff_t column)
{
    const Run *run = part->run;
    if (part->ascended)
        return NULL;
    return run->mode == TRAIN || run->renews ? kept(part, op, run->mode == TRAIN && !part->kept_side, which, column) : NULL;
}

/* Mean and variance of this member's columns of H; and the layer's state after this batch. */
void run_batch_statistics(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Value *z = part->values + op->output;
    const Columns mine = columns_of(part, z, z->n, 1);
    const int there = varies(part);
    const char *shares = there ? shares_of(part, row, m) : NULL;
    const double momentum = !there ? 0 : run->mode == TRAIN ? op->momentum : 1.0 / (part->step + 1.0), correction = there ? correction_of(part) : 1;
    for (ptrdiff_t j = mine.begin; j < mine.end && !interrupted(run, part->member); j += 4 * k->lanes) {
        const ptrdiff_t n = MIN(4 * k->lanes, mine.end - j);
        char *mean = statistic(part, z, MEAN, j), *variance = statistic(part, z, VARIANCE, j);
        if (there) {
            k->column_statistics(m, n, rows_of(part, op->input) + row, j, shares, mean, variance);
        } else {
            memcpy(mean, kept(part, op, part->kept_side, MEAN, j), n * k->itemsize);
            memcpy(variance, kept(part, op, part->kept_side, VARIANCE, j), n * k->itemsize);
        }
        for (int which = MEAN; next(part, op, which, j) != NULL && which <= VARIANCE; which++)
            k->moving_average(n, momentum, which == VARIANCE ? correction : 1, kept(part, op, part->kept_side, which, j),
                              which == VARIANCE ? variance : mean, next(part, op, which, j));
    }
}

/* Z = (H - mean) / deviation */
void run_batch_norm(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    const Columns mine = columns_of(part, z, z->width, op->by_columns);
    if (mine.begin < mine.end)
        k->standardize(m, mine.end - mine.begin, rows_of(part, op->input) + row, mine.begin, operand(part, op, z, MEAN, mine.begin),
                       operand(part, op, z, VARIANCE, mine.begin), op->epsilon, 0, mine.zeros,
                       z->a[part->side] + (row * z->ld + mine.begin) * k->itemsize, z->ld);
}

/* Sums over the rows of this member's columns of D, and of D * Z. */
void run_batch_sums(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Value *z = part->values + op->input;
    const Columns mine = columns_of(part, z, z->n, 1);
    if (!varies(part)) /* nothing comes of them */
        return;
    const char *shares = shares_of(part, row, m);
    for (ptrdiff_t j = mine.begin; j < mine.end && !interrupted(run, part->member); j += 4 * k->lanes)
        k->normalized_sums(m, MIN(4 * k->lanes, mine.end - j), rows_of(part, op->output) + row, j, shares,
                           statistic(part, z, MEAN, j), statistic(part, z, VARIANCE, j), op->epsilon,
                           z->d[part->side] + (row * z->ld + j) * k->itemsize, z->ld, statistic(part, z, SUMS, j),
                           statistic(part, z, PRODUCTS, j));
}

/* dC/dH to m rows from `to` on, ld apart, of which `mine` are the columns. */
static void back_to(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, Columns mine, char *to, ptrdiff_t ld)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->input;
    const ptrdiff_t n = mine.end - mine.begin, zeros = op->accumulate ? 0 : mine.zeros;
    const char *variance = operand(part, op, z, VARIANCE, mine.begin);
    to += mine.begin * k->itemsize;
    if (n <= 0)
        return;
    if (takes_batch(part->run, op) && varies(part))
        k->batch_norm_back(m, n, rows_of(part, op->output) + row, mine.begin, shares_of(part, row, m),
                           statistic(part, z, MEAN, mine.begin), variance, op->epsilon, statistic(part, z, SUMS, mine.begin),
                           statistic(part, z, PRODUCTS, mine.begin), z->d[part->side] + (row * z->ld + mine.begin) * k->itemsize,
                           z->ld, op->accumulate, zeros, to, ld);
    else
        k->standardize(m, n, z->d_rows[part->side] + row, mine.begin, NULL, variance, op->epsilon, op->accumulate, zeros, to, ld);
}

/* dC/dH = (D - share (sums + Z * products)) / deviation, or D / deviation with statistics that have nothing to do with H */
void run_batch_norm_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->output;
    const Columns mine = columns_of(part, h, h->vectors * k->lanes, op->by_columns);
    back_to(part, op, row, m, mine, h->d[part->side] + row * h->ld * k->itemsize, h->ld);
}

/* Mean and 1 / deviation of a row's groups, from a row on; NULL where nothing goes back. */
static char *statistics_of_rows(const Part *part, const Op *op, const Value *z, ptrdiff_t row)
{
    return at_offset(z->statistics[part->side], row * 2 * op->n_groups * part->run->k->itemsize);
}

/* Z = (H - mean) / deviation * w + b, of each group of columns of a row */
void run_group_norm(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    const Weights *w = part->run->weights + op->weights;
    const int scales = op->weights >= 0;
    k->group_norm(m, z->n, op->n_groups, rows_of(part, op->input) + row, op->epsilon, scales ? w->packed : NULL,
                  scales && op->bias >= 0 ? biases_of(k, w, 0) : NULL, statistics_of_rows(part, op, z, row), z->width - z->n,
                  z->a[part->side] + row * z->ld * k->itemsize, z->ld);
}

/* Sums of the rows of a block, of D * X and of D: behind the statistics of all rows. */
static ptrdiff_t sums_distance(const Run *run, const Value *z) { return 2 * z->vectors * run->k->lanes; }

static char *sums_of_block(const Part *part, const Op *op, const Value *z, ptrdiff_t block, int biases)
{
    const Run *run = part->run;
    const ptrdiff_t at = 2 * run->chunk * op->n_groups + block * sums_distance(run, z) + biases * z->vectors * run->k->lanes;
    return z->statistics[part->side] + at * run->k->itemsize;
}

ptrdiff_t n_row_statistics(const Run *run, const Op *op)
{
    const ptrdiff_t n_blocks = op->weights < 0 ? 0 : n_blocks_of(run->chunk, run->block, run->shared);
    return 2 * run->chunk * op->n_groups + n_blocks * sums_distance(run, run->values + op->output);
}

void add_row_norm_gradient(const Part *part, const Op *op, int biases, ptrdiff_t column, ptrdiff_t n, int accumulate, char *g)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    const ptrdiff_t there = MIN(n, z->n - column); /* others fill up the last stripe */
    if (!accumulate)
        k->fill_rows(1, n - there, NULL, g + there * k->itemsize, n);
    /* they are those of all rows, and so of the first window's */
    k->column_sums(part->row > 0 ? 0 : part->n_blocks, there, sums_of_block(part, op, z, 0, biases) + column * k->itemsize, NULL, sums_distance(part->run, z),
                   accumulate, g);
}

static void group_back_to(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, ptrdiff_t zeros, char *to, ptrdiff_t ld)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->input;
    const int scales = op->weights >= 0;
    k->group_norm_back(m, z->n, op->n_groups, rows_of(part, op->output) + row, statistics_of_rows(part, op, z, row),
                       scales ? part->run->weights[op->weights].packed : NULL, z->d[part->side] + row * z->ld * k->itemsize, z->ld,
                       op->accumulate, op->accumulate ? 0 : zeros, to, ld,
                       scales ? sums_of_block(part, op, z, part->block, 0) : NULL,
                       scales ? sums_of_block(part, op, z, part->block, 1) : NULL);
}

/* dC/dH = (E - mean E - X * mean (E * X)) / deviation, E = D * w, X = (H - mean) / deviation, with means of groups */
void run_group_norm_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->output;
    group_back_to(part, op, row, m, h->vectors * k->lanes - h->n, h->d[part->side] + row * h->ld * k->itemsize, h->ld);
}

/* The same with respect to X, to the caller's rows. */
void norm_input_gradient(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, char *to)
{
    const ptrdiff_t n = part->values->n;
    if (op->kind == OP_GROUP_NORM_BACK)
        group_back_to(part, op, row, m, 0, to, n);
    else
        back_to(part, op, row, m, (Columns){0, n, 0}, to, n);
}

/* ---- X in CSR ---------------------------------------------------------------------------------------------------------------- */

void standardize_on_gathering(Run *run)
{
    const Op *norm = run->forward;
    if (norm->kind != OP_BATCH_NORM || norm->input != 0 || norm->momentum > 0)
        return;
    const int z = norm->output;
    run->input_variance = norm->state + run->values->n; /* the mean, which is 0, comes before it */
    run->values[z].n = run->values[z].vectors = run->values[z].ld = 0;
    run->forward += 2; /* it and its unit */
    run->n_forward -= 2;
    run->n_backward -= 2;
    for (int i = 0; i < run->n_forward; i++)
        if (run->forward[i].input == z)
            run->forward[i].input = 0;
    for (int i = 0; i < run->n_backward; i++)
        if (run->backward[i].output == z)
            ((Op *)run->backward)[i].output = 0;
}

void unscale_input_gradient(Part *part, ptrdiff_t m, char *to)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const ptrdiff_t n = run->values->n;
    for (ptrdiff_t i = 0; run->input_variance > 0 && i < m; i++) {
        const char *row = to + i * n * k->itemsize;
        k->standardize(1, n, &row, 0, NULL, run->kept[part->kept_side] + run->input_variance * k->itemsize, 0, 0, 0, (char *)row, n);
    }
}
