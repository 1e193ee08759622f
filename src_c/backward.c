/* The ops of the pass back: losses, and the rules of fastbp/graph/gradient.py. */
#include "run.h"

#include <string.h>

/* The columns of a gradient that are this member's, in whole stripes. */
static Range columns_of(const Part *part, const Op *op)
{
    const ptrdiff_t lanes = part->run->k->lanes;
    const Range all = {0, part->values[op->output].vectors};
    const Range mine = op->by_columns ? share(all.end, part->member, part->n_members) : all;
    return (Range){mine.begin * lanes, mine.end * lanes};
}

/* Weighted sum of the losses of an output to the row block's, and its gradient times `scale`. */
void run_loss(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Head *head = run->heads + op->head;
    const Value *value = part->values + op->output;
    const ptrdiff_t at = part->first + row;
    const size_t offset = row * value->ld * k->itemsize;
    double *weights = (double *)part->scratch;
    int64_t *labels = (int64_t *)(part->scratch + run->block * sizeof(double));
    char *y = part->scratch + 2 * run->block * sizeof(double);
    for (ptrdiff_t i = 0; i < m; i++) {
        const ptrdiff_t source = run->order != NULL ? (ptrdiff_t)run->order[at + i] : at + i;
        if (run->sample_weights != NULL)
            weights[i] = run->sample_weights[source];
        if (head->labels != NULL)
            labels[i] = head->labels[source];
    }
    if (head->has_y)
        k->gather(m, value->n, &head->y, run->order != NULL ? run->order + at : NULL, at, y, value->n);
    const double loss = k->loss(&head->cost, m, value->n, value->a[part->side] + offset, value->ld, head->has_y ? y : NULL,
                                head->labels != NULL ? labels : NULL, run->sample_weights != NULL ? weights : NULL,
                                head->weight * part->scale,
                                run->mode == LOSS_ONLY ? NULL : value->d[part->side] + offset);
    if (op->head == 0)
        run->block_loss[part->block] = 0;
    run->block_loss[part->block] += head->weight * loss;
}

/* dC/dA from the caller */
void run_output_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *value = part->values + op->output;
    const size_t size = value->n * part->run->k->itemsize;
    for (ptrdiff_t i = row; i < row + m; i++)
        memcpy(value->d_rows[part->side][i], part->run->heads[op->head].array + i * size, size);
}

/* D <- D * f'(Z); of radial basis functions, S. */
static void times_slope(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, Range columns)
{
    const Kernels *k = part->run->k;
    const Value *value = part->values + op->output;
    const size_t offset = (row * value->ld + columns.begin) * k->itemsize;
    const char *a = value->slope[part->side] != NULL ? value->slope[part->side] : value->a[part->side];
    const ptrdiff_t n = columns.end - columns.begin;
    if (value->radial)
        k->rbf_delta(m, n, a + offset, biases_of(k, part->run->weights + op->weights, columns.begin),
                     value->d[part->side] + offset, value->ld);
    else
        k->derivative[(int)value->activation](m, value->activation == SOFTMAX ? value->n : n, a + offset,
                                              value->d[part->side] + offset, value->ld, value->parameter);
}

/* D <- D * mask / (1 - p) * f'(Z): the mask made again, and f' from what was kept or, a row at a time, from f(z) = (1 - p) a (where
 * a was dropped it does not matter). Of ReLU a is 0 where it was dropped, and there f' is 0 too: that mask need not be made. */
void run_unit_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *value = part->values + op->output;
    const Range columns = columns_of(part, op);
    const ptrdiff_t n = columns.end - columns.begin;
    const size_t offset = (row * value->ld + columns.begin) * k->itemsize, ld = value->ld * k->itemsize;
    if (value->dropout > 0 && value->activation == RELU) {
        times_slope(part, op, row, m, columns);
        k->scale_kept(m, n, value->dropout, value->d[part->side] + offset, value->ld);
        return;
    }
    if (value->dropout > 0) {
        const Counter c = counter_of(part, row, value->stream);
        k->dropout(m, n, value->dropout, &c, columns.begin, value->d[part->side] + offset, value->ld);
        for (ptrdiff_t i = 0; value->slope[part->side] == NULL && i < m; i++) {
            k->undo_scale(n, value->dropout, value->a[part->side] + offset + i * ld, part->scratch);
            k->derivative[(int)value->activation](1, n, part->scratch, value->d[part->side] + offset + i * ld, value->ld,
                                                  value->parameter);
        }
    }
    if (value->dropout == 0 || value->slope[part->side] != NULL)
        times_slope(part, op, row, m, columns);
}

/* C (m, some columns) of the gradient of an op's output (=|+=) D B */
static void delta_product(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, ptrdiff_t depth, Stripes b)
{
    const Kernels *k = part->run->k;
    const Value *out = part->values + op->output;
    const Range columns = columns_of(part, op);
    /* only in packed form is B filled up */
    const ptrdiff_t end = b.stripe == k->lanes ? MIN(columns.end, out->n) : columns.end;
    const Rows d = {part->values[op->input].d_rows[part->side] + row, 0, ROWS};
    const Stripes to = {out->d[part->side] + (row * out->ld + columns.begin) * k->itemsize, out->ld, k->lanes, 0};
    b.at = (char *)b.at + columns.begin / k->lanes * b.stripe * k->itemsize;
    if (columns.begin < end)
        k->matmul(m, end - columns.begin, depth, &d, &b, NULL, op->accumulate, &to);
}

/* dC/dH = D W^T */
void run_dense_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Weights *w = part->run->weights + op->weights;
    const Kernels *k = part->run->k;
    const Value *out = part->values + op->output;
    const ptrdiff_t lanes = k->lanes;
    if (w->wt == NULL)
        k->matmul_transposed(m, w->n_in, w->n_out, part->values[op->input].d_rows[part->side] + row, w->packed, w->n_out, op->accumulate,
                             out->d[part->side] + row * out->ld * k->itemsize, out->ld);
    else
        delta_product(part, op, row, m, w->n_out, (Stripes){w->wt, lanes, w->vectors * lanes * lanes, 0});
}

/* dC/dH = D W */
void run_transposed_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    delta_product(part, op, row, m, part->run->weights[op->weights].n_in, stripes_from(part->run->k, part->run->weights + op->weights, 0));
}

/* dC/dH = S C^T - H * sums of the rows of S */
void run_rbf_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *s = part->values + op->input, *h = part->values + op->output;
    const Range columns = columns_of(part, op);
    run_dense_back(part, op, row, m);
    k->rbf_inputs(m, MAX(0, MIN(columns.end, h->n) - columns.begin), s->n, s->d[part->side] + row * s->ld * k->itemsize, s->ld,
                  h->a_rows[part->side] + row, columns.begin, h->d[part->side] + (row * h->ld + columns.begin) * k->itemsize,
                  h->ld);
}

/* dC/dH = D * w, or D where H > 0, else D * w */
static void scale_deltas(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->output;
    const Range columns = columns_of(part, op);
    const ptrdiff_t begin = columns.begin, end = MIN(columns.end, h->n), zeros = op->accumulate ? 0 : columns.end - end;
    char *const *d = part->values[op->input].d_rows[part->side] + row;
    const char *factors = part->run->weights[op->weights].packed + begin * k->itemsize;
    char *to = h->d[part->side] + (row * h->ld + begin) * k->itemsize;
    if (begin >= end)
        return;
    if (op->kind == OP_PRELU_BACK)
        k->prelu_back(m, end - begin, d, h->a_rows[part->side] + row, begin, factors, op->accumulate, zeros, to, h->ld);
    else
        k->scale(m, end - begin, d, begin, factors, NULL, op->accumulate, zeros, to, h->ld);
}

void run_scale_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { scale_deltas(part, op, row, m); }

void run_prelu_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { scale_deltas(part, op, row, m); }

/* dC/dH (m, n) (=|+=) what units that read its columns add */
static void sparse_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, ptrdiff_t n, Stripes w, char *to, ptrdiff_t ld)
{
    const Kernels *k = part->run->k;
    const Value *z = part->values + op->input;
    const ptrdiff_t ldt = whole_vectors(k, m);
    transpose_rows(k, m, z->n, z->d[part->side] + row * z->ld * k->itemsize, z->ld, part->scratch, ldt);
    k->sparse_back(m, n, &part->run->weights[op->weights].connections, part->scratch, ldt, &w, op->accumulate, to, ld);
}

void run_sparse_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *h = part->values + op->output;
    const Kernels *k = part->run->k;
    sparse_back(part, op, row, m, h->vectors * k->lanes, stripes_from(k, part->run->weights + op->weights, 0),
                h->d[part->side] + row * h->ld * k->itemsize, h->ld);
}

/* dC/dH (m, n) (=|+=) what the bins add that H lies in */
static void bins_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m, ptrdiff_t zeros, char *to, ptrdiff_t ld)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->output, *z = part->values + op->input;
    k->bins_back(m, h->n, z->n / h->n, rows_of(part, op->output) + row, bounds_of(part, op), z->d[part->side] + row * z->ld * k->itemsize,
                 z->ld, op->accumulate, op->accumulate ? 0 : zeros, to, ld);
}

void run_bins_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Value *h = part->values + op->output;
    const Kernels *k = part->run->k;
    bins_back(part, op, row, m, h->vectors * k->lanes - h->n, h->d[part->side] + row * h->ld * k->itemsize, h->ld);
}

/* dC/dH[:, source:][:, :n] (=|+=) D[:, column:][:, :n], in whole stripes; what is not moved becomes 0, or stays. */
void run_move_back(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Value *h = part->values + op->output;
    const Range columns = columns_of(part, op);
    const ptrdiff_t end = MIN(columns.end, op->n), fill = op->accumulate ? 0 : columns.end - op->source - end;
    if (columns.begin >= end || part->values[op->input].d[part->side] == h->d[part->side]) /* it is there */
        return;
    char *to = h->d[part->side] + (row * h->ld + columns.begin) * k->itemsize;
    if (op->source > 0 && !op->accumulate)
        k->fill_rows(m, op->source, NULL, to, h->ld);
    k->move(m, end - columns.begin, part->values[op->input].d_rows[part->side] + row, op->column + columns.begin, op->accumulate,
            fill, to + op->source * k->itemsize, h->ld);
}

/* dC/dX of m rows to the caller: the same rules, in row-major arrays, by BLAS. */
void input_gradient_rows(Part *part, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const ptrdiff_t n = run->values->n;
    char *to = run->input_gradient + row * n * k->itemsize;
    int written = 0;
    for (int i = 0; i < run->n_backward; i++) {
        const Op *op = run->backward + i;
        const Value *in = run->values + op->input;
        if (op->output != 0)
            continue;
        written = 1;
        if (op->kind == OP_MOVE_BACK) {
            if (op->source > 0 && !op->accumulate)
                k->fill_rows(m, op->source, NULL, to, n);
            k->move(m, op->n, in->d_rows[0] + row, op->column, op->accumulate, op->accumulate ? 0 : n - op->source - op->n,
                    to + op->source * k->itemsize, n);
            continue;
        }
        if (op->kind == OP_BATCH_NORM_BACK || op->kind == OP_GROUP_NORM_BACK) {
            norm_input_gradient(part, op, row, m, to);
            continue;
        }
        if (op->kind == OP_BINS_BACK) {
            bins_back(part, op, row, m, 0, to, n);
            continue;
        }
        const Weights *w = run->weights + op->weights;
        const char *W = run->parameters + w->offset * k->itemsize;
        for (ptrdiff_t i = 0; op->kind == OP_SPARSE_BACK && i < m; i += run->block)
            sparse_back(part, op, row + i, MIN(run->block, m - i), n, (Stripes){(char *)W, w->n_out, k->lanes, 0},
                        to + i * n * k->itemsize, n);
        if (op->kind == OP_SPARSE_BACK)
            continue;
        if (w->role == ROLE_SCALE) {
            if (op->kind == OP_PRELU_BACK)
                k->prelu_back(m, n, in->d_rows[0] + row, part->x_rows + row, 0, W, op->accumulate, 0, to, n);
            else
                k->scale(m, n, in->d_rows[0] + row, 0, W, NULL, op->accumulate, 0, to, n);
            continue;
        }
        const int transposed = op->kind == OP_TRANSPOSED_BACK;
        run->gemm(k->itemsize, 0, !transposed, m, n, in->n, in->d_rows[0][row], in->ld, W, w->n_out, op->accumulate, to, n);
        if (op->kind == OP_RBF_BACK)
            k->rbf_inputs(m, n, in->n, in->d_rows[0][row], in->ld, part->x_rows + row, 0, to, n);
    }
    if (!written) /* only EMBED reads X */
        k->fill_rows(m, n, NULL, to, n);
    unscale_input_gradient(part, m, to);
}
