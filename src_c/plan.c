/* How a run is cut: into chunks, panels of weights, and columns that members keep. */
#include "run.h"

/* Whether products with lists of nonzeros are faster than those of X, which is dense, as so many of its elements have it. In a
 * dense product a vector of W takes half a cycle for each element; in one with lists 1.2 for each nonzero, to which come 6 for the
 * lists, and for the sums of few vectors that wait for each other. */
int lists_repay(Run *run, ptrdiff_t samples)
{
    const ptrdiff_t n = run->values->n;
    ptrdiff_t found = 0, vectors = 0;
    uint32_t walk = 0;
    if (n < 64)
        return 0;
    for (int i = 0; i < run->n_forward; i++) {
        const Op *op = run->forward + i;
        if (op->input == 0 && op->kind == OP_DENSE)
            vectors = MAX(vectors, run->values[op->output].vectors);
    }
    for (ptrdiff_t i = 0; i < samples; i++) {
        walk += 2654435769; /* 2^32 over the golden ratio: no period that X may have */
        const char *x = row_of_x(run, i * run->n_rows / samples) + (ptrdiff_t)((walk * (uint64_t)n) >> 32) * run->x.column_stride;
        if (run->x.dtype == FLOAT32)
            found += ((const float *)x)[0] != 0;
        else if (run->x.dtype == FLOAT64)
            found += ((const double *)x)[0] != 0;
        else
            found += x[0] != 0;
    }
    return found * (12 + 2.4 * vectors) < samples * vectors;
}

/* Between rows of n elements in the workspace: whole vectors, and not all in the same few sets of the cache. */
ptrdiff_t row_distance(const Kernels *k, ptrdiff_t n)
{
    const ptrdiff_t ld = (n + k->lanes - 1) / k->lanes * k->lanes;
    return ld * k->itemsize % 256 == 0 ? ld + 64 / (ptrdiff_t)k->itemsize : ld;
}

enum { MANY_COLUMNS = 16384 }; /* of CSR; with fewer, chunks and so the bits are those of dense X */

/* Rows of a batch that are worked on at once: few enough that what the forward pass leaves is still in cache for the backward
 * pass, enough to use a weight often while it is there, and bounded in time (for Ctrl-C). */
static ptrdiff_t window_of(const Run *run)
{
    ptrdiff_t width = run->values->n, weights = run->n_weights;
    if (run->sparse && width > MANY_COLUMNS) { /* a row costs what its nonzeros do */
        width = MIN(width, 1 + run->n_nonzeros / MAX(1, run->n_rows));
        for (int i = 0; i < run->n_forward; i++)
            if (run->forward[i].input == 0)
                weights -= (run->values->n - width) * run->values[run->forward[i].output].n;
    }
    for (int i = 1; i < run->n_values; i++)
        width += 2 * run->values[i].ld;
    ptrdiff_t most = MIN(FOLDED_ROWS, MAX(256, (1 << 20) / (width * (ptrdiff_t)run->k->itemsize)));
    return MAX(64, MIN(most, ((ptrdiff_t)3 << 30) / (weights + 1)));
}

/* All of a batch whose statistics are wanted; others are cut evenly, as each chunk reads all weights, however few rows it has. */
ptrdiff_t chunk_of(Run *run, ptrdiff_t batch)
{
    const ptrdiff_t window = window_of(run), n_chunks = (batch + window - 1) / window;
    for (int i = 0; i < run->n_forward; i++)
        if (takes_batch(run, run->forward + i))
            return batch;
    return n_chunks > 1 ? (batch + n_chunks - 1) / n_chunks : batch;
}

/* The uses of weights forward, in the order of the program; `back`: all of W^T is needed on the way back. */
static void link_uses(Run *run, int back)
{
    for (int i = 0; i < run->n_weight_sets; i++)
        run->weights[i].first_use = run->weights[i].first_bias_use = run->weights[i].first_norm = run->weights[i].section = -1;
    for (int i = run->n_forward - 1; i >= 0; i--) {
        Op *op = run->forward + i;
        if (op->kind == OP_UNIT)
            continue;
        if (op->bias >= 0) {
            op->next_bias_use = run->weights[op->bias].first_bias_use;
            run->weights[op->bias].first_bias_use = i;
            run->weights[op->bias].section = recomputes(run) ? section_of(run, op) : -1;
        }
        if (op->kind == OP_WEIGHT_NORM) {
            op->next_norm = run->weights[op->of].first_norm;
            run->weights[op->of].first_norm = i;
        }
        if (op->weights < 0)
            continue;
        Weights *w = run->weights + op->weights;
        op->next_use = w->first_use;
        w->first_use = i;
        w->n_uses++;
        if (recomputes(run))
            w->section = section_of(run, op);
        /* of W^T forward, or back, but for the gradient of X */
        w->keeps_transpose |= op->kind == OP_TRANSPOSED || (back && w->role != ROLE_SCALE && op->kind != OP_SPARSE && op->input);
    }
}

/* Packing W does not repay where steps are few, or where it is large and the nonzeros of X read few of its rows. */
static void find_row_major(Run *run, ptrdiff_t chunk)
{
    const Op *only = NULL;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets && !run->weights_in_place; w++) {
        w->row_major = is_table(run, w); /* their rows may be short */
        w->copied = w->row_major && run->mode == TRAIN;
    }
    for (Weights *w = run->weights; run->weights_in_place && w < run->weights + run->n_weight_sets; w++) {
        w->row_major = 1;
        w->far = is_far(run->k, w);
    }
    if (!run->sparse || run->weights_in_place)
        return;
    for (int i = 0; i < run->n_forward; i++) {
        if (run->forward[i].input == 0) {
            if (only)
                return;
            only = run->forward + i;
        }
    }
    Weights *w = run->weights + only->weights;
    w->sparse_update = updates_sparsely(run, w, chunk);
    w->row_major = w->n_uses == 1 && w->first_norm < 0 && (w->sparse_update || run->mode == FORWARD || run->mode == BACKWARD ||
                                      w->n_in * w->n_out * (ptrdiff_t)run->k->itemsize > 1 << 22);
}

/* Rows of W whose gradient is computed at once: 48 of them are still in the L1 cache when the optimizer takes them. */
static ptrdiff_t panel_of(const Kernels *k, const Weights *w)
{
    return ((w->n_in > 96 ? 48 : MAX(w->n_in, 1)) + k->lanes - 1) / k->lanes * k->lanes;
}

/* Ops forward up to which all are by columns, so that each member keeps the weights of its own in its cache: the last product whose
 * weights repay that, if all before it can be split so. Marks the one whose middle stripe is shared, whatever the number of threads
 * is, as the bits depend on it. */
int columns_end(Run *run, int n_threads)
{
    int end = 0, last = -1, whole_rows = 0, whole_columns = 0;
    for (int i = 0; i < run->n_forward; i++) {
        const Op *op = run->forward + i;
        const Value *out = run->values + op->output;
        whole_rows |= out->activation == SOFTMAX || op->kind == OP_GROUP_NORM || op->kind == OP_EMBED || op->kind == OP_SPARSE ||
                      op->kind == OP_BINS;
        if (op->kind == OP_MOVE || op->kind == OP_ADD)
            whole_rows |= !moves_all(run, op);
        if (op->kind != OP_DENSE && op->kind != OP_RBF)
            continue;
        const Weights *w = run->weights + op->weights;
        whole_rows |= w->row_major && !run->weights_in_place && run->mode != PREDICT;
        if (w->n_in * w->n_out * (ptrdiff_t)run->k->itemsize >= 1 << 16 && w->vectors > 1 && !whole_rows) {
            last = i;
            if (w->vectors >= n_threads)
                end = i + 1;
        }
    }
    if (last >= 0) {
        const Op *op = run->forward + last;
        Weights *w = run->weights + op->weights;
        Value *out = run->values + op->output;
        const ptrdiff_t panel = panel_of(run->k, w), n_panels = (w->n_in + panel - 1) / panel;
        for (int i = 0; i < run->n_forward; i++)
            whole_columns |= takes_batch(run, run->forward + i) && run->forward[i].input == op->output;
        if (!out->is_output && !whole_columns && w->vectors % 2 && w->vectors < 16 && n_panels > 1 && op->kind == OP_DENSE && w->n_uses == 1 &&
            w->first_norm < 0 && run->mode < FORWARD) {
            w->half = n_panels / 2 * panel;
            out->halved = 1;
            if (op->input == 0)
                run->n_halves = w->half;
        }
    }
    if (run->weights_in_place)
        return 0;
    while (0 < end && end < run->n_forward && run->forward[end].output == run->forward[end - 1].output)
        end++;
    return end;
}

/* The panels that weights are cut into, and places for what is added up over them. */
static void cut_weights(Run *run)
{
    const ptrdiff_t lanes = run->k->lanes;
    for (int i = 0; i < run->n_weight_sets; i++) {
        Weights *w = run->weights + i;
        w->width = w->row_major ? w->n_out : w->vectors * lanes;
        w->panel = panel_of(run->k, w);
        if (is_table(run, w)) /* few rows come up in a batch, and for each panel its column is read */
            w->panel = MIN(2048, 1 + (1 << 14) / w->n_out);
        else if (w->row_major) /* whole rows */
            w->panel = (1 + (run->weights_in_place ? 1 << 12 : 1 << 16) / w->n_out + lanes - 1) / lanes * lanes;
        w->n_panels = MAX(1, (w->n_in + w->panel - 1) / w->panel);
        w->group = w->row_major ? w->vectors : MAX(4, 4096 / (w->panel * lanes) / 4 * 4);
        w->half = w->n_in;
        w->first_penalty = run->n_penalties;
        run->n_penalties += w->n_panels * (w->row_major ? 1 : w->vectors);
    }
    run->n_norms = run->n_penalties;
    for (int i = 0; i < run->n_weight_sets; i++) {
        run->weights[i].first_bias_norm = run->n_norms;
        run->n_norms += run->weights[i].vectors;
    }
}

/* Which values keep A^T: those that a sparse layer reads, of which the rows are inputs; and where G = H^T delta has many columns, its products read rows of H^T from cache faster than columns of H,
 * which lie pages apart. */
static void find_transposes(Run *run, int end)
{
    for (int i = 0; run->sparse_vectors && run->mode != LOSS_ONLY && i < run->n_forward; i++)
        if (run->forward[i].kind == OP_SPARSE)
            run->values[run->forward[i].input].keeps_transpose = 1;
    if ((run->mode != TRAIN && run->mode != GRADIENT) || run->batch < 64)
        return;
    for (int i = 0; i < end; i++) {
        const Op *op = run->forward + i;
        if ((op->kind == OP_DENSE || op->kind == OP_RBF) && run->weights[op->weights].n_out >= 256 &&
            !(op->input == 0 && run->x_as_nonzeros))
            run->values[op->input].keeps_transpose = 1;
    }
}

void find_sparse(Run *run)
{
    for (const Op *op = run->forward; op < run->forward + run->n_forward; op++) {
        if (op->kind != OP_SPARSE)
            continue;
        run->sparse_vectors = MAX(run->sparse_vectors, MAX(run->values[op->input].vectors, run->values[op->output].vectors));
        run->transposes_x |= op->input == 0;
    }
}

ptrdiff_t sparse_scratch(const Run *run, ptrdiff_t rows)
{
    return run->sparse_vectors * run->k->lanes * whole_vectors(run->k, rows) * (ptrdiff_t)run->k->itemsize;
}

void plan(Run *run, ptrdiff_t chunk, int n_threads)
{
    const ptrdiff_t lanes = run->k->lanes;
    const size_t itemsize = run->k->itemsize;
    const int own_cost = run->mode == FORWARD || run->mode == BACKWARD;
    const int few = run->weights_in_place && chunk <= ONLINE_ROWS; /* rows that take W as it lies */
    link_uses(run, run->mode != LOSS_ONLY && run->mode != FORWARD && !run->online && !few);
    find_row_major(run, chunk);
    cut_weights(run);
    for (int i = 0; i < run->n_values; i++)
        run->values[i].width = run->values[i].vectors * lanes;
    for (int i = 0; i < run->n_forward; i++) {
        const Op *op = run->forward + i;
        if (op->weights >= 0 && run->weights[op->weights].row_major && (op->kind != OP_EMBED || run->weights_in_place))
            run->values[op->output].width = run->values[op->output].n;
    }
    const int end = columns_end(run, n_threads);
    for (int i = 0; i < end; i++) {
        Op *op = run->forward + i;
        op->by_columns = run->values[op->output].by_columns = 1;
        if (op->weights >= 0 && op->kind != OP_TRANSPOSED)
            run->weights[op->weights].by_columns = 1;
    }
    run->x_as_nonzeros =
        run->sparse || (run->mode < FORWARD && !run->online && run->input_noise == 0 && lists_repay(run, MIN(512, 32 * run->n_rows)));
    find_transposes(run, end);
    /* H^T is made from gathered rows, and so are products with X itself, element by element too; and where the rows of a batch would share few sets of the
     * L1 cache, a gather repays if products read them for many columns */
    ptrdiff_t vectors = 0;
    run->x_in_place = run->x_in_place && !run->values->keeps_transpose && !run->transposes_x;
    for (int i = 0; i < run->n_forward; i++) {
        const Op *op = run->forward + i;
        vectors += op->input == 0 ? run->values[op->output].vectors : 0;
        const int scales = op->weights >= 0 && run->weights[op->weights].role == ROLE_SCALE;
        run->x_in_place = run->x_in_place && !((op->kind == OP_TRANSPOSED || scales) && op->input == 0);
    }
    run->x_in_place = run->x_in_place && (run->x.row_stride % 256 != 0 || vectors <= 8 || run->online);
    run->chunk = chunk;
    run->window = run->x_as_nonzeros && !own_cost ? chunk : MIN(chunk, window_of(run)); /* lists of X^T are of a whole chunk */
    run->keeps_gradient =
        own_cost || run->mode == GRADIENT ||
        (run->mode == TRAIN &&
         (run->window < run->batch || run->settings.clip_norm > 0 || run->settings.radius > 0 || recomputes(run)));
    run->ld_transposed = row_distance(run->k, chunk);
    run->folds = run->keeps_gradient && run->batch > FOLDED_ROWS;
    for (int i = 0; i < run->n_forward; i++) {
        const Op *op = run->forward + i;
        if (takes_batch(run, op))
            run->values[op->output].n_statistics = 4 * run->values[op->output].vectors * lanes;
        else if (op->kind == OP_WEIGHT_NORM)
            run->values[op->output].n_statistics = n_weight_statistics(run, run->values + op->output);
        else if (op->kind == OP_GROUP_NORM && run->mode != LOSS_ONLY)
            run->values[op->output].n_statistics = n_row_statistics(run, op);
    }
    find_phases(run, n_threads);
    share_delta_places(run);

    ptrdiff_t scratch = 0, widest = 0;
    for (int i = 0; i < run->n_weight_sets; i++) {
        const Weights *w = run->weights + i;
        scratch = MAX(scratch, (MAX(run->window, run->ld_transposed) + w->panel + MAX(1, w->n_uses)) * w->group * lanes * (ptrdiff_t)itemsize);
    }
    for (int i = 1; i < run->n_values; i++) /* a row, for UNIT_BACK */
        scratch = MAX(scratch, run->values[i].ld * (ptrdiff_t)itemsize);
    if (run->batch_statistics) /* shares of rows */
        scratch = MAX(scratch, chunk * (ptrdiff_t)itemsize);
    scratch = MAX(scratch, sparse_scratch(run, run->block));
    scratch = MAX(scratch, (ptrdiff_t)weight_norm_scratch(run));
    if (run->augmentation.height > 0)
        scratch = MAX(scratch, augmentation_scratch(&run->augmentation) * (ptrdiff_t)itemsize);
    if (run->online)
        scratch = MAX(scratch, (ptrdiff_t)online_scratch(run));
    for (int i = 0; i < run->n_heads; i++)
        widest = MAX(widest, run->values[run->heads[i].value].n);
    scratch = MAX(scratch, run->block * (ptrdiff_t)(2 * sizeof(double) + widest * itemsize));
    run->scratch_size = aligned(chunk * sizeof(char *)) + aligned(scratch);
}
