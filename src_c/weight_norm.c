/* Products whose weights are divided by norms of their own: Z = (H W) * s + b.
 *
 * Of weight normalisation s = g / |columns of W|, with g learnt; of spectral normalisation s = 1 / sigma, with sigma = u^T W v and unit
 * vectors u and v, which are the layer's state and in training follow W by power iteration. WEIGHT_FACTORS finds s before the pass
 * forward; WEIGHT_SUMS, on the way back, the sums t of the columns of dC/dZ * (H W), and what dC/dW has besides H^T dC/d(H W):
 *
 *     -W diag(t s / |w|^2), as ds_j/dw_j = -s_j / |w_j|^2 w_j;   -u (s^2 sum(t) v)^T, as d(1/sigma)/dW = -u v^T / sigma^2
 *
 * They lie in the statistics of Z: the factors s, 1 / |w|, the sums t, and the vector on the right of W or of u. Of a column of zeros
 * and of sigma = 0 the factor is 0. */
#include "run.h"

#include <string.h>

enum { FACTORS, INVERSE, SUMS, RIGHT, N_STATISTICS };

ptrdiff_t n_weight_statistics(const Run *run, const Value *z) { return N_STATISTICS * z->vectors * run->k->lanes; }

size_t weight_norm_scratch(const Run *run)
{
    ptrdiff_t most = 0;
    for (const Op *op = run->forward; op < run->forward + run->n_forward; op++)
        if (op->kind == OP_WEIGHT_NORM) /* in PREDICT factors and 1 / |w|; what the power iteration needs */
            most = MAX(most, 2 * whole_vectors(run->k, run->values[op->output].n) + MAX(run->weights[op->of].n_in, run->values[op->output].n));
    return most * run->k->itemsize;
}

static int is_spectral(const Op *op) { return op->state >= 0; }

/* Whether the vectors of spectral normalisation follow the weights; of SAM's two passes that is so in the first. */
static int follows(const Part *part) { return (part->run->mode == TRAIN && !part->ascended) || part->run->renews; }

/* Those that are used: in training what the step leaves. v follows u. */
static char *vectors_of(const Part *part, const Op *op)
{
    const Run *run = part->run;
    return run->kept[run->mode == TRAIN && !part->kept_side] + op->state * run->k->itemsize;
}

static double get(const Kernels *k, const char *a, ptrdiff_t i)
{
    return k->itemsize == sizeof(float) ? ((const float *)a)[i] : ((const double *)a)[i];
}

static void put(const Kernels *k, char *a, ptrdiff_t i, double x)
{
    if (k->itemsize == sizeof(float))
        ((float *)a)[i] = (float)x;
    else
        ((double *)a)[i] = x;
}

static void fill(const Kernels *k, char *a, ptrdiff_t n, double x)
{
    for (ptrdiff_t i = 0; i < n; i++)
        put(k, a, i, x);
}

/* to (n) = a * factors */
static void multiply(const Kernels *k, ptrdiff_t n, const char *a, const char *factors, char *to)
{
    k->scale(1, n, &a, 0, factors, NULL, 0, 0, to, n);
}

/* 1 / sigma */
static double spectral_factor(Part *part, const Op *op, char *scratch)
{
    const Run *run = part->run;
    const Weights *w = run->weights + op->of;
    const Stripes from = stripes_from(run->k, w, 0);
    char *u = vectors_of(part, op), *v = u + w->n_in * run->k->itemsize;
    if (run->mode == TRAIN && follows(part))
        memcpy(u, run->kept[part->kept_side] + op->state * run->k->itemsize, (w->n_in + w->n_out) * run->k->itemsize);
    const double sigma = run->k->spectral_norm(w->n_in, w->n_out, &from, follows(part) ? op->n_iterations : 0, u, v, scratch);
    return sigma == 0 ? 0 : 1 / sigma;
}

/* s, and 1 / |w|, of n columns from a stripe on. */
static void norm_factors(const Part *part, const Op *op, Range columns, char *factors, char *inverse)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const Weights *w = run->weights + op->of;
    const Stripes from = stripes_from(k, w, columns.begin / k->lanes);
    k->norm_factors(w->n_in, columns.end - columns.begin, &from, run->weights[op->weights].packed + columns.begin * k->itemsize, factors,
                    inverse);
}

/* This member's columns of a value; those that fill up the last stripe are not among them. */
static Range columns_of(const Part *part, const Value *value, int by_columns)
{
    const ptrdiff_t lanes = part->run->k->lanes;
    const Range mine = by_columns ? share(value->vectors, part->member, part->n_members) : (Range){0, value->vectors};
    return (Range){MIN(mine.begin * lanes, value->n), MIN(mine.end * lanes, value->n)};
}

void run_weight_factors(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)row, (void)m;
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    if (!is_spectral(op)) {
        const Range mine = columns_of(part, z, 1);
        if (mine.begin < mine.end)
            norm_factors(part, op, mine, statistic(part, z, FACTORS, mine.begin), statistic(part, z, INVERSE, mine.begin));
    } else if (part->member == 0) {
        fill(k, statistic(part, z, FACTORS, 0), z->n, spectral_factor(part, op, part->scratch));
    }
}

/* s of these columns; predictions find it here, as they have no phase before. */
static const char *factors_of(Part *part, const Op *op, Range columns)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    char *factors = part->scratch, *rest = factors + whole_vectors(k, z->n) * k->itemsize;
    if (part->run->mode != PREDICT)
        return statistic(part, z, FACTORS, columns.begin);
    if (is_spectral(op))
        fill(k, factors, columns.end - columns.begin, spectral_factor(part, op, rest));
    else
        norm_factors(part, op, columns, factors, rest);
    return factors;
}

/* Z = U * s + b */
void run_weight_norm(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    const Range columns = columns_of(part, z, op->by_columns);
    const char *b = op->bias < 0 ? NULL : biases_of(k, part->run->weights + op->bias, columns.begin);
    if (columns.begin < columns.end)
        k->scale(m, columns.end - columns.begin, rows_of(part, op->input) + row, columns.begin, factors_of(part, op, columns), b, 0,
                 columns.end == z->n ? z->width - z->n : 0, z->a[part->side] + (row * z->ld + columns.begin) * k->itemsize, z->ld);
}

/* t s / |w|^2 */
static void find_norm_right(const Part *part, const Value *z, Range columns, char *right)
{
    const Kernels *k = part->run->k;
    const ptrdiff_t n = columns.end - columns.begin;
    const char *inverse = statistic(part, z, INVERSE, columns.begin);
    multiply(k, n, statistic(part, z, SUMS, columns.begin), statistic(part, z, FACTORS, columns.begin), right);
    multiply(k, n, right, inverse, right);
    multiply(k, n, right, inverse, right);
}

/* -s^2 sum(t) v */
static void find_spectral_right(const Part *part, const Op *op, const Value *z, char *right)
{
    const Kernels *k = part->run->k;
    const char *v = vectors_of(part, op) + part->run->weights[op->of].n_in * k->itemsize;
    const double s = get(k, statistic(part, z, FACTORS, 0), 0);
    double total = 0;
    for (ptrdiff_t i = 0; i < z->n; i++)
        total += get(k, statistic(part, z, SUMS, 0), i);
    for (ptrdiff_t i = 0; i < z->n; i++)
        put(k, right, i, -s * s * total * get(k, v, i));
}

/* t, and the vector with which something is added to dC/dW or subtracted from it. */
void run_weight_sums(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->input, *h = part->values + op->output; /* as wide, their rows as far apart */
    const Range mine = columns_of(part, z, !is_spectral(op));
    if (mine.begin >= mine.end || (is_spectral(op) && part->member > 0))
        return;
    const size_t at = (row * z->ld + mine.begin) * k->itemsize;
    char *right = statistic(part, z, RIGHT, mine.begin);
    k->column_sums(m, mine.end - mine.begin, z->d[part->side] + at, h->a[part->side] + at, z->ld, 0,
                   statistic(part, z, SUMS, mine.begin));
    if (is_spectral(op))
        find_spectral_right(part, op, z, right);
    else
        find_norm_right(part, z, mine, right);
    if (mine.end == z->n)
        fill(k, statistic(part, z, RIGHT, z->n), z->vectors * k->lanes - z->n, 0);
}

/* dC/dU = D * s */
void run_weight_norm_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->input, *h = part->values + op->output;
    const Range columns = columns_of(part, z, op->by_columns);
    const ptrdiff_t zeros = columns.end == z->n && !op->accumulate ? z->vectors * k->lanes - z->n : 0;
    if (columns.begin < columns.end)
        k->scale(m, columns.end - columns.begin, z->d_rows[part->side] + row, columns.begin, statistic(part, z, FACTORS, columns.begin),
                 NULL, op->accumulate, zeros,
                 h->d[part->side] + (row * h->ld + columns.begin) * k->itemsize, h->ld);
}

void add_norm_gradient(const Part *part, const Op *op, ptrdiff_t column, ptrdiff_t n, int accumulate, char *g)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    const char *sums = statistic(part, z, SUMS, 0);
    if (part->row == 0) /* the sums are those of the whole chunk */
        k->scale(1, n, &sums, column, statistic(part, z, INVERSE, column), NULL, accumulate, 0, g, n);
    else if (!accumulate)
        k->fill_rows(1, n, NULL, g, n);
}

void add_norm_term(const Part *part, const Op *op, const Weights *w, ptrdiff_t begin, ptrdiff_t size, ptrdiff_t v0, ptrdiff_t n,
                   const Stripes *g)
{
    const Kernels *k = part->run->k;
    char *right = statistic(part, part->values + op->output, RIGHT, v0 * k->lanes);
    const char *u = is_spectral(op) ? vectors_of(part, op) : NULL;
    if (is_spectral(op))
        k->matmul(size, n, 1, &(Rows){&u, begin, COLUMNS}, &(Stripes){right, k->lanes, k->lanes, 0}, NULL, 1, g);
    else
        k->rbf_centres(size, n, w->packed + (v0 * w->n_in + begin) * k->lanes * k->itemsize, w->n_in * k->lanes, right, g->at, g->stripe);
}
