/* How predictions are cut, and where everything lies in their workspace.
 *
 * Many rows are cut into blocks, each of which a member takes through all ops. Few rows are one block, on which all members work
 * together, by columns and with the barriers that training has: all of W is read once, a part by each member, from its own cache. Of a single
 * row's products a member has whole rows of W instead, where its sums are made of as many parts for each.
 *
 * W is used where it lies; products with several rows copy the part of it at hand where it would not stay in the cache. Where a
 * transposed layer needs W^T, and for very many rows of a sparse layer, the members pack W before, a share each. */
#include "run.h"

#include <string.h>

enum {
    BLOCK_ROWS = 96,     /* enough to use a weight often while it is in cache, few enough that activations stay there */
    LEAST_ROWS = 8,      /* of a block that another member might take */
    TOGETHER_ROWS = 48,  /* for each member, up to which they work together, */
    MOST_TOGETHER = 256, /*   and in all */
    MOST_PARTS = 32,     /* that one row's product is cut into: of very many its sums are sums of two halves */
    PACKED_ROWS = 1024,  /* from which on packing W takes no time to speak of */
    NARROW = 2048        /* bytes of a row up to which values lie row by row without a gap */
};

/* What all predictions of a network begin with: weights where they lie, values without what fills up vectors. */
void prepare_prediction(Run *run)
{
    const ptrdiff_t itemsize = (ptrdiff_t)run->k->itemsize;
    run->mode = PREDICT;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++) {
        w->row_major = !w->keeps_transpose;
        w->far = is_far(run->k, w);
        w->width = w->row_major ? w->n_out : w->vectors * run->k->lanes;
        run->packs |= w->keeps_transpose;
    }
    for (Value *value = run->values; value < run->values + run->n_values; value++) {
        value->width = value->ld = value->n;
        value->dropout = 0;
        if (!value->is_output && value != run->values) {
            value->ld = value->n * itemsize < NARROW ? value->n : row_distance(run->k, value->n);
            run->widest = MAX(run->widest, value->ld);
        }
    }
}

/* Predictions change their values, weights and heads only, and what members who work together have to agree on. */
size_t prediction_size(const Run *run, int n_threads)
{
    const size_t size = run->n_values * sizeof(Value) + run->n_weight_sets * sizeof(Weights) + run->n_heads * sizeof(Head);
    return aligned(n_threads > 1 ? program_size(run) : size);
}

void copy_for_prediction(Run *run, int n_threads, char *p)
{
    memcpy(p, run->values, prediction_size(run, n_threads));
    if (n_threads > 1) {
        place_program(run, p);
        return;
    }
    run->values = (Value *)p;
    run->weights = (Weights *)(run->values + run->n_values);
    run->heads = (Head *)(run->weights + run->n_weight_sets);
}

/* How many parts of the rows of W a product of one row is cut into, as many for each member; 0 where it is not, but shared by columns. The
 * parts are those that its sums are made of anyway. */
static int parts_of(const Run *run, const Op *op, int n_threads)
{
    const Weights *w = run->weights + op->weights;
    const ptrdiff_t parts = op->kind == OP_DENSE ? (w->n_in + run->k->depth - 1) / run->k->depth : 0;
    const int cut = run->n_rows == 1 && !(op->input == 0 && run->x_as_nonzeros) && parts % n_threads == 0 && parts <= MOST_PARTS;
    return cut ? (int)parts : 0;
}

/* Ops by columns, as far as that repays, and the phases that follow; whether there are any. */
static int share_columns(Run *run, int n_threads)
{
    const int end = columns_end(run, n_threads);
    for (int i = 0; i < end; i++) {
        Op *op = run->forward + i;
        op->by_columns = run->values[op->output].by_columns = 1;
        if (op->weights >= 0) {
            run->weights[op->weights].by_columns = 1;
            run->values[op->output].n_parts = parts_of(run, op, n_threads);
        }
    }
    if (end)
        find_phases(run, n_threads);
    return end > 0;
}

/* How n_threads members share the rows. */
static void cut_rows(Run *run, int n_threads)
{
    const ptrdiff_t rows = run->n_rows, members = n_threads;
    ptrdiff_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    run->together = members > 1 && rows <= MIN(MOST_TOGETHER, TOGETHER_ROWS * members) && share_columns(run, n_threads);
    if (run->together) {
        run->shared = 1;
        run->chunk = run->window = rows;
        run->block = MAX(LEAST_ROWS, (rows + members - 1) / members);
        return;
    }
    if (members > 1) /* as many for each */
        blocks = MIN((blocks + members - 1) / members * members, MAX(blocks, rows / LEAST_ROWS));
    run->chunk = run->block = (rows + blocks - 1) / blocks;
}

/* A value's place; none for outputs, which lie in the caller's arrays, and for X where it does. */
static size_t value_size(const Run *run, const Value *value)
{
    const int elsewhere = value == run->values ? run->x_in_place || run->sparse : value->is_output;
    return elsewhere ? 0 : aligned(run->chunk * value->ld * run->k->itemsize);
}

/* And a place for the parts of its product. */
static size_t parts_size(const Run *run, const Value *value)
{
    return aligned(value->n_parts * value->ld * run->k->itemsize);
}

/* All of them: buffers that values take in turn; or one for each where members work together, some of whom may still read one
 * value while others write the next. */
static size_t values_size(const Run *run)
{
    size_t size = 0;
    for (int i = 0; run->together && i < run->n_values; i++)
        size += value_size(run, run->values + i) + parts_size(run, run->values + i);
    return run->together ? size : run->n_buffers * (size_t)run->buffer_size;
}

/* Pack the weights of sparse layers that overflow the L1 cache: they are read a stripe after the other for a few rows at a time. */
static void pack_weights(Run *run)
{
    for (const Op *op = run->forward; op < run->forward + run->n_forward; op++) {
        Weights *w = run->weights + op->weights;
        if (op->kind != OP_SPARSE || w->n_in * w->n_out * (ptrdiff_t)run->k->itemsize <= 32768)
            continue;
        w->row_major = w->far = 0;
        w->width = w->vectors * run->k->lanes;
        run->packs = 1;
    }
}

int takes_nonzeros(Run *run) { return run->sparse || lists_repay(run, run->n_rows < 48 ? 32 : 512); }

void plan_prediction(Run *run, int n_threads)
{
    const ptrdiff_t itemsize = (ptrdiff_t)run->k->itemsize;
    Nonzeros nonzeros;
    run->x_as_nonzeros = takes_nonzeros(run);
    if (run->x_as_nonzeros && !run->sparse)
        run->most = run->values->n;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++)
        w->packed = run->parameters + w->offset * itemsize;
    if (run->n_rows >= PACKED_ROWS)
        pack_weights(run);
    cut_rows(run, n_threads);
    run->x_in_place = run->x_in_place && (!run->transposes_x || run->n_rows == 1);
    run->buffer_size = aligned(run->chunk * MAX(run->widest, run->x_in_place || run->sparse ? 0 : run->values->n) * itemsize);
    run->scratch_size = aligned(run->n_values * sizeof(Value)) + values_size(run);
    run->scratch_size += aligned(run->n_values * run->chunk * sizeof(char *));
    if (run->x_as_nonzeros)
        run->scratch_size += (size_t)(place_nonzeros(&nonzeros, (char *)64, run->chunk, run->chunk * run->most, itemsize) - (char *)64);
    run->own_size = MAX(sparse_scratch(run, run->block), (ptrdiff_t)aligned((ptrdiff_t)weight_norm_scratch(run)));
}

/* Places for the values of a chunk, pointers to their rows, and lists of the nonzeros of X. */
void place_chunk(const Run *run, Value *values, Nonzeros *nonzeros, char *p)
{
    const size_t itemsize = run->k->itemsize;
    char **rows = (char **)(p + values_size(run)), *own = p;
    for (int i = 0; i < run->n_values; i++) {
        Value *value = values + i;
        value->a[0] = run->together ? own : p + value->buffer * run->buffer_size;
        value->a_rows[0] = rows;
        for (ptrdiff_t r = 0; r < run->chunk; r++)
            *rows++ = value->a[0] + r * value->ld * itemsize;
        own += value_size(run, run->values + i);
        if (run->together) {
            value->d[0] = own;
            own += parts_size(run, value);
        }
    }
    if (run->x_as_nonzeros)
        place_nonzeros(nonzeros, p + values_size(run) + aligned(run->n_values * run->chunk * sizeof(char *)), run->chunk,
                       run->chunk * run->most, itemsize);
}

void point_together(Run *run)
{
    Part all = {.run = run, .values = run->values, .rows = run->n_rows};
    all.x_rows = run->values->a_rows[0];
    find_rows(&all);
    for (int i = 0; i < run->n_heads; i++)
        run->values[run->heads[i].value].a[0] = run->heads[i].array;
}

/* What members who work together read: all rows, in places that are theirs in common. */
static void place_together(Run *run)
{
    place_chunk(run, run->values, run->nonzeros, run->scratch);
    point_together(run);
}

size_t lay_out_prediction(Run *run, int n_threads, char *p)
{
    size_t size = 0;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets && run->packs; w++) {
        const ptrdiff_t packed = aligned((w->n_in + 1) * w->width * run->k->itemsize);
        if (w->row_major)
            continue;
        w->packed = at_offset(p, size);
        size += packed;
        if (w->keeps_transpose) {
            w->wt = at_offset(p, size);
            size += transpose_size(run, w);
        }
    }
    run->scratch = at_offset(p, size);
    if (p && run->together)
        place_together(run);
    size += (run->together ? 1 : n_threads) * run->scratch_size;
    run->own = at_offset(p, size);
    return size + n_threads * run->own_size;
}
