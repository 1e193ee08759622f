/* The passes forward and backward through the layers, as one member of the team makes them. */
#include "run.h"

#include <string.h>

/* Pointers to the chunk's rows of X, where they lie or where they are gathered. */
void find_rows(Part *part)
{
    Run *run = part->run;
    ptrdiff_t i;
    if (run->sparse)
        return;
    for (i = 0; i < part->rows; i++)
        if (run->direct)
            part->x_rows[i] = row_of_x(run, part->first + i);
        else
            part->x_rows[i] = run->input[part->side] + i * run->ld_input * run->k->itemsize;
}

/* Where the random words of the chunk's row come from. The row counts from the beginning of the batch. */
static Counter counter_of(Part *part, ptrdiff_t row, uint32_t stream)
{
    Counter c;
    c.seed[0] = part->run->seed[0];
    c.seed[1] = part->run->seed[1];
    c.step = part->step;
    c.row = (uint32_t)(part->first - part->start + row);
    c.stream = stream;
    return c;
}

/* Nonzeros in the chunk's rows before this one (CSR). */
static ptrdiff_t nonzeros_before(Part *part, ptrdiff_t row)
{
    Run *run = part->run;
    ptrdiff_t n = 0, i;
    if (run->order == NULL)
        return run->csr.indptr[part->first + row] - run->csr.indptr[part->first];
    for (i = part->first; i < part->first + row; i++)
        n += run->csr.indptr[run->order[i] + 1] - run->csr.indptr[run->order[i]];
    return n;
}

/* Where the second half of the first layer begins in the lists of rows row..row+m. */
static void find_middle(Run *run, Nonzeros *x, ptrdiff_t *middle, ptrdiff_t row, ptrdiff_t m)
{
    ptrdiff_t i;
    for (i = row; i < row + m; i++)
        middle[i] = x->begin[i] + columns_below(x->end[i] - x->begin[i], x->columns + x->begin[i], run->layers->half);
}

/* Rows row..row+m of the chunk to the workspace, unless they are read where they lie, or lists of their nonzeros. */
static void gather_rows(Part *part, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    ptrdiff_t at = part->first + row;
    Counter c;
    if (run->sparse) {
        run->k->gather_csr(m, &run->csr, run->order != NULL ? run->order + at : NULL, at, nonzeros_before(part, row), row,
                           &run->nonzeros[part->side]);
    } else if (!run->direct) {
        run->k->gather(m, run->layers->n_in, &run->x, run->order != NULL ? run->order + at : NULL, at, part->x_rows[row],
                       run->ld_input);
        c = counter_of(part, row, 0);
        if (run->augmentation.height > 0)
            run->k->augment(m, &run->augmentation, &c, part->x_rows[row], run->ld_input, part->scratch);
        if (run->input_noise > 0)
            run->k->add_noise(m, run->layers->n_in, run->input_noise, &c, part->x_rows[row], run->ld_input);
        if (run->input_dropout > 0)
            run->k->dropout(m, run->layers->n_in, run->input_dropout, &c, 0, part->x_rows[row], run->ld_input);
    }
    if (run->listed && !run->sparse)
        run->k->find_nonzeros(m, run->layers->n_in, part->x_rows + row, row, &run->nonzeros[part->side]);
    if (run->listed && halved(run->layers))
        find_middle(run, &run->nonzeros[part->side], run->middle[part->side], row, m);
}

/* H^T of what the layer reads, h from row `row` and vector v0 on with rows ld apart: m rows, vectors v0..v1. */
static void transpose_input(Part *part, Layer *layer, const char *h, ptrdiff_t ld, ptrdiff_t row, ptrdiff_t m, ptrdiff_t v0,
                            ptrdiff_t v1)
{
    const Kernels *k = part->run->k;
    ptrdiff_t lanes = k->lanes, ldt = part->run->ld_transposed, v;
    for (v = v0; v < v1; v++) {
        k->transpose(m, h + (v - v0) * lanes * k->itemsize, ld, layer->ht[part->side] + (v * lanes * ldt + row) * k->itemsize,
                     ldt, lanes);
    }
}

/* This member's share of the lists of X^T. */
void transpose_nonzeros(Part *part)
{
    Run *run = part->run;
    Range mine = share(run->layers->n_in, part->member, part->n_members);
    run->k->transpose_nonzeros(part->rows, &run->nonzeros[part->side], 0, mine.begin, mine.end, &run->transposed[part->side]);
}

/* Z = H W + b for rows row..row+m and some stripes. The products with the second half of W go to the deltas' place. */
static void weighted_input(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m, Range stripes, int half)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    ptrdiff_t column = stripes.begin * k->lanes, n = MIN(stripes.end * k->lanes, layer->width) - column;
    ptrdiff_t ldw = layer->in_place ? layer->n_out : k->lanes;
    ptrdiff_t stripe = layer->in_place ? k->lanes : layer->n_in * k->lanes;
    ptrdiff_t begin = half ? layer->half : 0, end = half ? layer->n_in : layer->half;
    char *w = layer->packed + stripes.begin * stripe * k->itemsize;
    char *b = half ? NULL : biases_of(k, layer, column);
    size_t offset = (row * layer->ld + column) * k->itemsize;
    char *z = (half ? layer->d[part->side] : layer->a[part->side]) + offset;
    Nonzeros x;
    if (layer->radial) {
        k->rbf(m, n, layer->n_in, input_rows(part, layer) + row, w, k->lanes, stripe, b, z,
               at_offset(layer->slope[part->side], offset), layer->ld);
    } else if (layer == run->layers && run->listed) {
        x = run->nonzeros[part->side];
        if (half)
            x.begin = run->middle[part->side];
        else if (halved(layer))
            x.end = run->middle[part->side];
        /* what trains where it lies has bits of its own anyway */
        k->nonzeros_matmul(m, n, layer->in_place && run->mode < FORWARD ? 0 : end, &x, row, w, ldw, stripe, b, 0, z, layer->ld, k->lanes);
    } else {
        k->matmul(m, n, end - begin, input_rows(part, layer) + row, begin, layer == run->layers && run->direct ? FAR_ROWS : ROWS,
                  w + begin * k->lanes * k->itemsize, k->lanes, stripe, b, 0, z, layer->ld, k->lanes);
    }
}

/* A = f(Z) for rows row..row+m and stripes v0..v1. */
static void apply_activation(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m, ptrdiff_t v0, ptrdiff_t v1)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    ptrdiff_t n = MIN(v1 * k->lanes, layer->width) - v0 * k->lanes;
    size_t offset = (row * layer->ld + v0 * k->lanes) * k->itemsize;
    char *z = layer->a[part->side] + offset;
    char *slope = at_offset(layer->slope[part->side], offset);
    Counter c;
    if (v0 >= v1)
        return;
    if (halved(layer))
        k->add(m, n, z, layer->d[part->side] + offset, layer->ld);
    if (layer->activation == SOFTMAX)
        n = layer->n_out; /* of the row; what fills it up stays 0 */
    if (!layer->radial)
        k->activate[(int)layer->activation](m, n, z, layer->ld, layer->parameter, slope);
    if (layer->dropout > 0) {
        c = counter_of(part, row, (uint32_t)(layer - run->layers + 1));
        k->dropout(m, n, layer->dropout, &c, v0 * k->lanes, z, layer->ld);
    }
    if (layer < run->layers + run->n_layers - 1 && (layer + 1)->ht[part->side] != NULL)
        transpose_input(part, layer + 1, z, layer->ld, row, m, v0, v1);
}

/* A = f(H W + b) for rows row..row+m. */
static void forward_part(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m)
{
    Range all_;
    all_.begin = 0;
    all_.end = layer->vectors;
    weighted_input(part, layer, row, m, all_, 0);
    if (halved(layer))
        weighted_input(part, layer, row, m, all_, 1);
    apply_activation(part, layer, row, m, 0, layer->vectors);
}

/* This member's columns of the same, but for the middle stripe of a layer that has it in halves, which other members may have a
 * part of. */
static void forward_share(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m)
{
    Range first = columns_of(part, layer, 0), second = columns_of(part, layer, 1);
    ptrdiff_t begin = MAX(first.begin, second.begin), end = MIN(first.end, second.end), middle = layer->vectors;
    weighted_input(part, layer, row, m, first, 0);
    if (halved(layer)) {
        weighted_input(part, layer, row, m, second, 1);
        middle = layer->vectors / 2;
    }
    apply_activation(part, layer, row, m, begin, MIN(end, middle));
    apply_activation(part, layer, row, m, MAX(begin, middle + 1), end);
}

/* delta <- delta * f'(z), for rows row..row+m and n columns from the one given. */
static void times_slope(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m, ptrdiff_t column, ptrdiff_t n)
{
    const Kernels *k = part->run->k;
    size_t offset = (row * layer->ld + column) * k->itemsize;
    char *a = layer->slope[part->side] != NULL ? layer->slope[part->side] : layer->a[part->side];
    if (layer->radial) {
        k->rbf_delta(m, n, a + offset, biases_of(k, layer, column), layer->d[part->side] + offset, layer->ld);
        return;
    }
    if (layer->activation == SOFTMAX)
        n = layer->n_out;
    k->derivative[(int)layer->activation](m, n, a + offset, layer->d[part->side] + offset, layer->ld, layer->parameter);
}

/* Weighted sum of the losses of rows row..row+m, and the output layer's delta times `scale`. */
static double loss_part(Part *part, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    Layer *last = run->layers + run->n_layers - 1;
    ptrdiff_t n = last->n_out, i, at = part->first + row, source;
    size_t offset = row * last->ld * k->itemsize;
    char *a = last->a[part->side] + offset;
    char *d = run->mode == LOSS_ONLY ? NULL : last->d[part->side] + offset;
    double *weights = (double *)part->scratch;
    int64_t *labels = (int64_t *)(part->scratch + run->block * sizeof(double));
    char *y = part->scratch + 2 * run->block * sizeof(double);
    for (i = 0; i < m; i++) {
        source = run->order != NULL ? (ptrdiff_t)run->order[at + i] : at + i;
        if (run->weights != NULL)
            weights[i] = run->weights[source];
        if (run->labels != NULL)
            labels[i] = run->labels[source];
    }
    if (run->has_y)
        k->gather(m, n, &run->y, run->order != NULL ? run->order + at : NULL, at, y, n);
    double loss = k->loss(&run->cost, m, n, a, last->ld, run->has_y ? y : NULL, run->labels != NULL ? labels : NULL,
                          run->weights != NULL ? weights : NULL, part->scale, d);
    if (d != NULL)
        times_slope(part, last, row, m, 0, n);
    return loss;
}

/* delta <- delta * mask / (1 - p) * f'(z), for the same: the mask made again, and f' from what was kept or, a row at a time, from
 * f(z) = (1 - p) a (where a was dropped it does not matter). */
static void times_slope_with_dropout(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m, ptrdiff_t column, ptrdiff_t n)
{
    const Kernels *k = part->run->k;
    size_t offset = (row * layer->ld + column) * k->itemsize, ld = layer->ld * k->itemsize;
    char *a = layer->a[part->side] + offset;
    char *d = layer->d[part->side] + offset;
    Counter c = counter_of(part, row, (uint32_t)(layer - part->run->layers + 1));
    ptrdiff_t i;
    k->dropout(m, n, layer->dropout, &c, column, d, layer->ld);
    if (layer->slope[part->side] != NULL) {
        times_slope(part, layer, row, m, column, n);
        return;
    }
    for (i = 0; i < m; i++) {
        k->undo_scale(n, layer->dropout, a + i * ld, part->scratch);
        k->derivative[(int)layer->activation](1, n, part->scratch, d + i * ld, layer->ld, layer->parameter);
    }
}

/* delta of the layer below = (delta W^T) * f'(z) for rows row..row+m and the vectors v0..v1 of its columns. */
static void backward_part(Part *part, Layer *layer, ptrdiff_t row, ptrdiff_t m, ptrdiff_t v0, ptrdiff_t v1)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    Layer *below = layer - 1;
    ptrdiff_t n = (v1 - v0) * k->lanes, stripe = layer->vectors * k->lanes * k->lanes;
    char *d = below->d[part->side] + (row * below->ld + v0 * k->lanes) * k->itemsize;
    k->matmul(m, n, layer->n_out, layer->d_rows[part->side] + row, 0, ROWS, layer->wt + v0 * stripe * k->itemsize, k->lanes,
              stripe, NULL, 0, d, below->ld, k->lanes);
    if (layer->radial) {
        k->rbf_inputs(m, MIN(n, below->n_out - v0 * k->lanes), layer->n_out, layer->d[part->side] + row * layer->ld * k->itemsize,
                      layer->ld, below->a_rows[part->side] + row, v0 * k->lanes, d, below->ld);
    }
    if (below->dropout > 0)
        times_slope_with_dropout(part, below, row, m, v0 * k->lanes, n);
    else
        times_slope(part, below, row, m, v0 * k->lanes, n);
}

/* Rows row..row+m of the output to the caller (FORWARD), or its gradient from there (BACKWARD). */
static void own_cost_rows(Part *part, ptrdiff_t row, ptrdiff_t m)
{
    Run *run = part->run;
    Layer *last = run->layers + run->n_layers - 1;
    size_t size = last->n_out * run->k->itemsize;
    ptrdiff_t i;
    for (i = row; i < row + m; i++)
        if (run->mode == FORWARD)
            memcpy(run->output + i * size, last->a_rows[0][i], size);
        else
            memcpy(last->d_rows[0][i], run->output + i * size, size);
    if (run->mode == BACKWARD)
        times_slope(part, last, row, m, 0, last->n_out);
}

/* Forward, loss and backward of this member's row blocks through the layers that are not shared by columns, all layers of a block
 * while it is in cache. */
void row_blocks(Part *part)
{
    Run *run = part->run;
    Layer *layer;
    Layer *below = run->layers + run->n_by_columns - 1;
    ptrdiff_t blocks = n_blocks_of(part->rows, run->block, run->shared), b, row, m;
    Range mine = share(blocks, part->member, part->n_members);
    int i;
    for (b = mine.begin; b < mine.end; b++) {
        if (interrupted(run, part->member))
            return;
        row = part->rows * b / blocks;
        m = part->rows * (b + 1) / blocks - row;
        if (run->mode != BACKWARD) {
            if (run->n_by_columns == 0)
                gather_rows(part, row, m);
            else if (halved(below))
                apply_activation(part, below, row, m, below->vectors / 2, below->vectors / 2 + 1);
            for (i = run->n_by_columns; i < run->n_layers; i++)
                forward_part(part, run->layers + i, row, m);
        }
        if (run->mode == FORWARD || run->mode == BACKWARD)
            own_cost_rows(part, row, m);
        else
            run->block_loss[b] = loss_part(part, row, m);
        if (run->mode != LOSS_ONLY && run->mode != FORWARD) {
            for (i = run->n_layers - 1; i > MAX(run->n_by_columns, 1) - 1; i--) {
                layer = run->layers + i;
                backward_part(part, layer, row, m, 0, (layer - 1)->vectors);
            }
        }
    }
}

/* The layers shared by columns: this member's columns for all rows of the chunk, a barrier after each layer. */
void forward_columns(Part *part)
{
    Run *run = part->run;
    Range mine;
    ptrdiff_t row, m;
    int i;
    if (run->listed || !run->direct) {
        mine = share(part->rows, part->member, part->n_members);
        gather_rows(part, mine.begin, mine.end - mine.begin);
        barrier(part);
        if (run->listed && run->mode != LOSS_ONLY)
            transpose_nonzeros(part);
        if (run->layers->ht[part->side] != NULL) {
            mine = share((run->layers->n_in + run->k->lanes - 1) / run->k->lanes, part->member, part->n_members);
            transpose_input(part, run->layers, run->input[part->side] + mine.begin * run->k->lanes * run->k->itemsize,
                            run->ld_input, 0, part->rows, mine.begin, mine.end);
        }
    }
    for (i = 0; i < run->n_by_columns; i++) {
        row = 0;
        while (row < part->rows && !interrupted(run, part->member)) {
            m = MIN(run->window, part->rows - row);
            forward_share(part, run->layers + i, row, m);
            row += m;
        }
        barrier(part);
    }
}

/* The deltas below layers shared by columns, with a barrier after each: the updates of W^T have to wait for it. */
void backward_columns(Part *part)
{
    Run *run = part->run;
    Layer *layer;
    Range mine;
    ptrdiff_t row, m;
    int i;
    for (i = run->n_by_columns - 1; i > 0; i--) {
        layer = run->layers + i;
        mine = share((layer - 1)->vectors, part->member, part->n_members);
        row = 0;
        while (row < part->rows && (run->mode == TRAIN || !interrupted(run, part->member))) {
            m = MIN(run->window, part->rows - row);
            backward_part(part, layer, row, m, mine.begin, mine.end);
            row += m;
        }
        barrier(part);
    }
}
