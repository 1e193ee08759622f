/* The ops of the pass forward, for the columns of m rows that are this member's. */
#include "run.h"

#include <string.h>

/* Pointers to the chunk's rows of X, where they lie or where they are gathered. */
void find_rows(Part *part)
{
    Run *run = part->run;
    const Value *x = part->values;
    if (run->sparse)
        return;
    for (ptrdiff_t i = 0; i < part->rows; i++)
        part->x_rows[i] = run->x_in_place ? row_of_x(run, part->first + i) : x->a[part->side] + i * x->ld * run->k->itemsize;
}

/* Where the random words of the chunk's row come from. The row counts from the beginning of the batch. */
Counter counter_of(Part *part, ptrdiff_t row, uint32_t stream)
{
    Counter c;
    c.seed[0] = part->run->seed[0];
    c.seed[1] = part->run->seed[1];
    c.step = part->step;
    c.row = (uint32_t)(part->first - part->start + row);
    c.stream = stream;
    return c;
}

/* The columns of a value that this member makes: one range; of a halved one two, all but the middle stripe, which other members may
 * have a part of. Returns how many ranges there are. */
static int columns_of(const Part *part, const Value *value, int by_columns, Range *ranges)
{
    const ptrdiff_t lanes = part->run->k->lanes, middle = value->vectors / 2;
    if (!by_columns) {
        ranges[0] = (Range){0, value->width};
        return 1;
    }
    const Range first = stripes_of(part, value->vectors, value->halved, 0);
    const Range second = stripes_of(part, value->vectors, value->halved, 1);
    const ptrdiff_t begin = MAX(first.begin, second.begin), end = MIN(first.end, second.end);
    ranges[0] = (Range){begin * lanes, MIN((value->halved ? MIN(end, middle) : end) * lanes, value->width)};
    if (value->halved)
        ranges[1] = (Range){MAX(begin, middle + 1) * lanes, MIN(end * lanes, value->width)};
    return value->halved ? 2 : 1;
}

/* ---- X --------------------------------------------------------------------------------------------------------------------- */

/* Nonzeros in the chunk's rows before this one (CSR). */
static ptrdiff_t nonzeros_before(Part *part, ptrdiff_t row)
{
    const Run *run = part->run;
    ptrdiff_t n = 0;
    if (run->order == NULL)
        return run->csr.indptr[part->first + row] - run->csr.indptr[part->first];
    for (ptrdiff_t i = part->first; i < part->first + row; i++)
        n += run->csr.indptr[run->order[i] + 1] - run->csr.indptr[run->order[i]];
    return n;
}

/* Rows of X to the workspace, unless they are read where they lie, and lists of their nonzeros. */
void run_gather(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)op;
    Run *run = part->run;
    const Value *x = part->values;
    const ptrdiff_t at = part->first + row;
    const int64_t *order = run->order != NULL ? run->order + at : NULL;
    const Nonzeros *nonzeros = &part->nonzeros;
    if (run->sparse) {
        run->k->gather_csr(m, &run->csr, order, at, nonzeros_before(part, row), row, nonzeros);
        if (run->input_variance > 0)
            run->k->standardize_nonzeros(m, row, run->kept[part->kept_side] + run->input_variance * run->k->itemsize, nonzeros);
    } else if (!run->x_in_place) {
        run->k->gather(m, x->n, &run->x, order, at, part->x_rows[row], x->ld);
        const Counter c = counter_of(part, row, 0);
        if (run->augmentation.height > 0)
            run->k->augment(m, &run->augmentation, &c, part->x_rows[row], x->ld, part->scratch);
        if (run->input_noise > 0)
            run->k->add_noise(m, x->n, run->input_noise, &c, part->x_rows[row], x->ld);
        if (run->input_dropout > 0)
            run->k->dropout(m, x->n, run->input_dropout, &c, 0, part->x_rows[row], x->ld);
    }
    if (run->x_as_nonzeros && !run->sparse)
        run->k->find_nonzeros(m, x->n, part->x_rows + row, row, nonzeros);
    for (ptrdiff_t i = row; run->x_as_nonzeros && run->n_halves && i < row + m; i++)
        part->middle[i] =
            nonzeros->begin[i] + columns_below(nonzeros->end[i] - nonzeros->begin[i], nonzeros->columns + nonzeros->begin[i],
                                               run->n_halves);
}

/* This member's rows of the lists of X^T. */
void run_list_transpose(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)op;
    const Range mine = share(part->values->n, part->member, part->n_members);
    part->run->k->transpose_nonzeros(m, &part->nonzeros, row, mine.begin, mine.end, &part->transposed);
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* Z = H W + b for some stripes; or H[:, half:] W[half:], which goes to the deltas' place. */
static void half_product(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, Range stripes, int second)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Weights *w = run->weights + op->weights;
    const Value *z = part->values + op->output;
    const ptrdiff_t column = stripes.begin * k->lanes, n = MIN(stripes.end * k->lanes, z->width) - column;
    const ptrdiff_t begin = second ? w->half : 0, end = second ? w->n_in : w->half;
    Stripes from = stripes_from(k, w, stripes.begin);
    const char *b = second || op->bias < 0 ? NULL : biases_of(k, run->weights + op->bias, column);
    const Stripes to = {(second ? z->d : z->a)[part->side] + (row * z->ld + column) * k->itemsize, z->ld, k->lanes, 0};
    if (op->input == 0 && run->x_as_nonzeros) {
        Nonzeros x = part->nonzeros;
        if (second)
            x.begin = part->middle;
        else if (is_halved(w))
            x.end = part->middle;
        /* what trains where it lies has bits of its own anyway */
        k->nonzeros_matmul(m, n, run->sparse && w->row_major && run->mode < FORWARD ? 0 : end, &x, row, &from, b, 0, &to);
    } else {
        const Rows h = {rows_of(part, op->input) + row, begin, op->input == 0 && run->x_in_place ? FAR_ROWS : ROWS};
        from.at = (char *)from.at + begin * from.ld * k->itemsize;
        k->matmul(m, n, end - begin, &h, &from, b, 0, &to);
    }
}

/* Z = H W + b */
void run_dense(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *z = part->values + op->output;
    const int halved = is_halved(part->run->weights + op->weights);
    const Range all = {0, z->vectors};
    for (int second = 0; second < 1 + halved; second++)
        half_product(part, op, row, m, op->by_columns ? stripes_of(part, z->vectors, z->halved, second) : all, second);
}

/* The sums over this member's parts of the rows of W, in the order they lie in: more of them stay in its cache than of a part of each row,
 * whose lines share few sets where rows are of a power of two. */
void run_dense_parts(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Weights *w = run->weights + op->weights;
    const Value *z = part->values + op->output;
    const ptrdiff_t depth = (w->n_in + z->n_parts - 1) / z->n_parts;
    const Range mine = share(z->n_parts, part->member, part->n_members);
    for (ptrdiff_t j = 0; j < mine.end - mine.begin; j++) {
        const ptrdiff_t i = mine.begin + nth(j, mine.end - mine.begin), begin = i * depth, end = MIN(begin + depth, w->n_in);
        const Rows h = {rows_of(part, op->input) + row, begin, ROWS};
        const Stripes to = {z->d[part->side] + i * z->ld * k->itemsize, z->ld, k->lanes, 0};
        Stripes from = stripes_from(k, w, 0);
        from.at = (char *)from.at + begin * from.ld * k->itemsize;
        k->matmul(m, z->width, end - begin, &h, &from, i > 0 || op->bias < 0 ? NULL : biases_of(k, run->weights + op->bias, 0), 0, &to);
    }
}

/* Z, the sum of them */
void run_sum_parts(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->output;
    Range columns;
    (void)m;
    columns_of(part, z, op->by_columns, &columns);
    k->column_sums(z->n_parts, columns.end - columns.begin, z->d[part->side] + columns.begin * k->itemsize, NULL, z->ld, 0,
                   z->a[part->side] + (row * z->ld + columns.begin) * k->itemsize);
}

/* Z = H W^T + b */
void run_transposed(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Weights *w = part->run->weights + op->weights;
    const Value *z = part->values + op->output;
    const ptrdiff_t stripe = w->vectors * k->lanes * k->lanes;
    Range columns;
    columns_of(part, z, op->by_columns, &columns);
    const Rows h = {rows_of(part, op->input) + row, 0, ROWS};
    const Stripes from = {w->wt + columns.begin / k->lanes * stripe * k->itemsize, k->lanes, stripe, 0};
    const Stripes to = {z->a[part->side] + (row * z->ld + columns.begin) * k->itemsize, z->ld, k->lanes, 0};
    k->matmul(m, columns.end - columns.begin, w->n_out, &h, &from,
              op->bias < 0 ? NULL : biases_of(k, part->run->weights + op->bias, columns.begin), 0, &to);
}

/* To (n, m), in whole squares, = A^T, rows of A and of the other lda and ldt apart. */
void transpose_rows(const Kernels *k, ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, char *to, ptrdiff_t ldt)
{
    for (ptrdiff_t j = 0; j < n; j += k->lanes)
        k->transpose(m, MIN(k->lanes, n - j), a + j * k->itemsize, lda, to + j * ldt * k->itemsize, ldt, k->lanes);
}

/* Z = b + sums of W[k, j] H[:, columns[k, j]]; a single row of H is H^T as it lies */
void run_sparse(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const Weights *w = run->weights + op->weights;
    const Value *h = part->values + op->input, *z = part->values + op->output;
    const Stripes from = stripes_from(k, w, 0);
    const char *ht = m == 1 ? rows_of(part, op->input)[row] : part->scratch;
    ptrdiff_t ldt = m == 1 ? 1 : whole_vectors(k, m);
    if (h->keeps_transpose) {
        ht = h->ht[part->side] + row * k->itemsize;
        ldt = run->ld_transposed;
    } else if (m > 1) {
        transpose_rows(k, m, h->n, h->a[part->side] + row * h->ld * k->itemsize, h->ld, part->scratch, ldt);
    }
    k->sparse(m, z->width, &w->connections, ht, ldt, &from, op->bias < 0 ? NULL : biases_of(k, run->weights + op->bias, 0),
              z->a[part->side] + row * z->ld * k->itemsize, z->ld);
}

/* A = exp(-beta |h - c|^2), and what its gradient needs */
void run_rbf(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Weights *w = part->run->weights + op->weights;
    const Value *a = part->values + op->output;
    Range columns;
    columns_of(part, a, op->by_columns, &columns);
    const Stripes c = stripes_from(k, w, columns.begin / k->lanes);
    const size_t offset = (row * a->ld + columns.begin) * k->itemsize;
    k->rbf(m, columns.end - columns.begin, w->n_in, rows_of(part, op->input) + row,
           c.at, c.ld, c.stripe, biases_of(k, w, columns.begin), a->a[part->side] + offset, at_offset(a->slope[part->side], offset), a->ld);
}

/* Z = H * w + b, or max(0, H) + w * min(0, H); columns that fill up the last stripe become 0 */
static void scale_features(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Weights *w = part->run->weights + op->weights;
    const Value *z = part->values + op->output;
    Range columns;
    columns_of(part, z, op->by_columns, &columns);
    const ptrdiff_t begin = columns.begin, end = MIN(columns.end, z->n), zeros = columns.end - end;
    char *const *h = rows_of(part, op->input) + row;
    const char *factors = w->packed + begin * k->itemsize;
    char *to = z->a[part->side] + (row * z->ld + begin) * k->itemsize;
    if (begin >= end)
        return;
    if (op->kind == OP_PRELU)
        k->prelu(m, end - begin, h, begin, factors, zeros, to, z->ld);
    else
        k->scale(m, end - begin, h, begin, factors, op->bias < 0 ? NULL : biases_of(k, w, begin), 0, zeros, to, z->ld);
}

void run_scale(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { scale_features(part, op, row, m); }

void run_prelu(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { scale_features(part, op, row, m); }

/* Z[:, column:][:, :n_out] = W[x], x being a column of X */
void run_embed(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Weights *w = part->run->weights + op->weights;
    const Value *z = part->values + op->output;
    const Stripes table = stripes_from(k, w, 0);
    char *to = z->a[part->side] + (row * z->ld + op->column) * k->itemsize;
    k->embed(m, w->n_out, w->n_in, rows_of(part, op->input) + row, op->source, MIN(m, part->rows - row - m), &table, to, z->ld);
    if (op->column + w->n_out == z->n) /* what fills up the last stripe */
        k->fill_rows(m, z->width - z->n, NULL, to + w->n_out * k->itemsize, z->ld);
}

/* How much of each bin of a column of H lies below it */
void run_bins(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->input, *z = part->values + op->output;
    k->bins(m, h->n, z->n / h->n, rows_of(part, op->input) + row, bounds_of(part, op), z->width - z->n,
            z->a[part->side] + row * z->ld * k->itemsize, z->ld);
}

/* ---- the others ------------------------------------------------------------------------------------------------------------ */

static void copy(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, int accumulate)
{
    const Kernels *k = part->run->k;
    const Value *out = part->values + op->output;
    Range columns = {0, out->width};
    if (op->by_columns)
        columns_of(part, out, 1, &columns);
    /* those that fill up the last stripe become 0 */
    if (columns.begin >= columns.end)
        return;
    const ptrdiff_t end = MIN(columns.end, op->n), fill = op->column + op->n == out->n ? columns.end - op->column - end : 0;
    k->move(m, end - columns.begin, rows_of(part, op->input) + row, op->source + columns.begin, accumulate, MAX(fill, 0),
            out->a[part->side] + (row * out->ld + op->column + columns.begin) * k->itemsize, out->ld);
}

/* Z[:, column:][:, :n] = H[:, source:][:, :n] */
void run_move(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { copy(part, op, row, m, 0); }

/* Z[:, column:][:, :n] += H[:, source:][:, :n] */
void run_add(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { copy(part, op, row, m, 1); }

/* A = f(Z) for some columns, the two sums of Z added up before, and the dropout of A. */
static void unit_columns(Part *part, const Value *value, ptrdiff_t row, ptrdiff_t m, Range columns)
{
    const Kernels *k = part->run->k;
    const size_t offset = (row * value->ld + columns.begin) * k->itemsize;
    ptrdiff_t n = columns.end - columns.begin;
    char *z = value->a[part->side] + offset;
    if (n <= 0)
        return;
    if (value->halved)
        k->add(m, n, z, value->d[part->side] + offset, value->ld);
    if (value->activation == SOFTMAX)
        n = value->n; /* of the row; what fills it up stays 0 */
    if (!value->radial)
        k->activate[(int)value->activation](m, n, z, value->ld, value->parameter, at_offset(value->slope[part->side], offset));
    if (value->dropout > 0) {
        const Counter c = counter_of(part, row, value->stream);
        k->dropout(m, n, value->dropout, &c, columns.begin, z, value->ld);
    }
}

void run_unit(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *value = part->values + op->output;
    Range columns[2] = {{0, value->width}};
    const int n = op->by_columns ? columns_of(part, value, 1, columns) : 1;
    for (int i = 0; i < n; i++)
        unit_columns(part, value, row, m, columns[i]);
}

void run_middle_unit(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *value = part->values + op->output;
    const ptrdiff_t lanes = part->run->k->lanes, middle = value->vectors / 2;
    unit_columns(part, value, row, m, (Range){middle * lanes, (middle + 1) * lanes});
}

/* H^T (n, rows) = A^T */
void run_transpose(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *value = part->values + op->output;
    const ptrdiff_t ldt = part->run->ld_transposed, lanes = k->lanes;
    Range columns[2];
    const int n = columns_of(part, value, op->by_columns, columns);
    for (int i = 0; i < n; i++)
        for (ptrdiff_t j = columns[i].begin; j < columns[i].end; j += lanes)
            k->transpose(m, lanes, value->a[part->side] + (row * value->ld + j) * k->itemsize, value->ld,
                         value->ht[part->side] + (j * ldt + row) * k->itemsize, ldt, lanes);
}

/* The caller's rows of an output = A. Predictions lie there already, and want the unit that a loss from logits brings along. */
void run_output(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *value = part->values + op->output;
    if (part->run->mode == PREDICT) {
        output_unit(part, op->head, row, m);
        return;
    }
    const size_t size = value->n * part->run->k->itemsize;
    for (ptrdiff_t i = row; i < row + m; i++)
        memcpy(part->run->heads[op->head].array + i * size, value->a_rows[part->side][i], size);
}
