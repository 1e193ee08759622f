/* Where everything lies in the workspace. */
#include "run.h"

#include <string.h>

/* ---- the program ----------------------------------------------------------------------------------------------------------- */

/* Values, weights, heads, the passes, and what find_phases makes of them, one after the other. */
size_t program_size(const Run *run)
{
    Run copy = *run;
    place_program(&copy, (char *)64);
    return (size_t)((char *)(copy.touched + n_touched(run)) - (char *)64);
}

void place_program(Run *run, char *p)
{
    run->values = (Value *)p;
    run->weights = (Weights *)(run->values + run->n_values);
    run->heads = (Head *)(run->weights + run->n_weight_sets);
    run->forward = (Op *)(run->heads + run->n_heads);
    run->backward = run->forward + run->n_forward;
    run->ops = run->forward + run->n_forward + run->n_backward;
    run->phases = (Phase *)(run->ops + most_ops(run));
    run->touched = (Touched *)(run->phases + most_ops(run));
}

/* ---- training, losses and gradients ---------------------------------------------------------------------------------------- */

/* Whether f'(z), or what takes its place, is kept beside a: a alone does not tell it; of a dropped unit it tells nothing. */
static int keeps_slope(const Value *value)
{
    return value->activation == GELU || value->activation == SILU || value->radial ||
           (value->activation == SOFTMAX && value->dropout > 0);
}

/* X on one side: gathered rows, lists of nonzeros and theirs of columns. */
static char *place_input(Run *run, int side, char *p)
{
    const size_t itemsize = run->k->itemsize;
    const ptrdiff_t nonzeros = MIN(run->n_nonzeros, run->chunk * run->most);
    if (!run->x_in_place && !run->sparse) {
        run->values->a[side] = p;
        p += aligned(run->chunk * run->values->ld * itemsize);
    }
    if (!run->x_as_nonzeros)
        return p;
    p = place_nonzeros(&run->nonzeros[side], p, run->chunk, nonzeros, itemsize);
    if (run->n_halves) {
        run->middle[side] = (ptrdiff_t *)p;
        p += aligned(run->chunk * sizeof(ptrdiff_t));
    }
    return run->mode == LOSS_ONLY ? p : place_nonzeros(&run->transposed[side], p, run->values->n, nonzeros, itemsize);
}

static char *place_value(Run *run, Value *value, int side, char *p)
{
    const ptrdiff_t size = aligned(run->chunk * value->ld * run->k->itemsize), rows = aligned(run->chunk * sizeof(char *));
    value->a[side] = p;
    value->d[side] = p + size;
    p += 2 * size;
    if (run->mode != LOSS_ONLY && keeps_slope(value)) {
        value->slope[side] = p;
        p += size;
    }
    value->a_rows[side] = (char **)p;
    value->d_rows[side] = (char **)(p + rows);
    return p + 2 * rows;
}

static char *place_transpose(Run *run, Value *value, int side, char *p)
{
    value->ht[side] = p;
    p += aligned((value->n + run->k->lanes) * run->ld_transposed * run->k->itemsize);
    value->ht_rows[side] = (char **)p;
    return p + aligned(value->n * sizeof(char *));
}

static ptrdiff_t transpose_size(const Run *run, const Weights *w)
{
    const ptrdiff_t lanes = run->k->lanes;
    return (w->n_in + lanes - 1) / lanes * w->vectors * lanes * lanes * run->k->itemsize;
}

static char *place_weights(Run *run, int i, char *p)
{
    Weights *w = run->weights + i;
    const size_t itemsize = run->k->itemsize;
    const ptrdiff_t size = aligned((w->n_in + 1) * w->width * itemsize);
    if (w->row_major) {
        w->packed = run->parameters + w->offset * itemsize;
        states_at(run->state, w->offset * itemsize, w->state);
        w->g = at_offset(run->gradient, w->offset * itemsize);
    } else {
        w->packed = p;
        p += size;
        for (int j = 0; j < MAX_STATES; j++) {
            if (run->state[j] != NULL) {
                w->state[j] = p;
                p += size;
            }
        }
    }
    if (run->keeps_gradient && !(w->row_major && run->gradient != NULL)) {
        w->g = p;
        p += size;
    }
    if (run->folds) {
        w->sum = p;
        w->error = p + size;
        p += 2 * size;
    }
    for (int j = 0; j < run->n_ties; j++)
        if (run->ties[j].i == i || run->ties[j].j == i)
            w->tie_gradient = p;
    if (w->tie_gradient != NULL)
        p += size;
    if (w->keeps_transpose) {
        w->wt = p;
        p += transpose_size(run, w);
    }
    return p;
}

static char *place_doubles(double **to, ptrdiff_t n, char *p)
{
    *to = (double *)p;
    return p + aligned(n * sizeof(double));
}

/* Give everything its place in the workspace, from p on; returns the end of it. FORWARD has all the places that BACKWARD needs,
 * so that the activations stay where they are. */
static char *place_all(Run *run, int n_threads, char *p)
{
    for (int side = 0; side < run->sides; side++) {
        p = place_input(run, side, p);
        for (int i = 1; i < run->n_values; i++)
            p = place_value(run, run->values + i, side, p);
    }
    for (int i = 0; i < run->n_weight_sets; i++)
        p = place_weights(run, i, p);
    for (int i = 0; i < run->n_values; i++)
        for (int side = 0; side < (run->values[i].keeps_transpose ? run->sides : 0); side++)
            p = place_transpose(run, run->values + i, side, p);
    p = place_doubles(&run->block_loss, n_blocks_of(run->chunk, run->block, run->shared), p);
    p = place_doubles(&run->penalties, run->n_penalties, p);
    p = place_doubles(&run->tie_penalties, run->n_tie_penalties, p);
    p = place_doubles(&run->norms, run->n_norms, p);
    run->scratch = p;
    return p + n_threads * run->scratch_size;
}

/* Fill in the pointers to rows, once the places are there. */
static void point_to_rows(Run *run)
{
    const size_t itemsize = run->k->itemsize;
    for (int side = 0; side < run->sides; side++) {
        for (int i = 0; i < run->n_values; i++) {
            Value *value = run->values + i;
            for (ptrdiff_t r = 0; value->keeps_transpose && r < value->n; r++)
                value->ht_rows[side][r] = value->ht[side] + r * run->ld_transposed * itemsize;
            for (ptrdiff_t r = 0; i > 0 && r < run->chunk; r++) {
                value->a_rows[side][r] = value->a[side] + r * value->ld * itemsize;
                value->d_rows[side][r] = value->d[side] + r * value->ld * itemsize;
            }
            if (value->is_output) /* losses don't write the columns that fill it up */
                memset(value->d[side], 0, run->chunk * value->ld * itemsize);
        }
    }
}

size_t lay_out(Run *run, int n_threads, char *p)
{
    char *const from = p ? p : (char *)64; /* any place will do for the size */
    const size_t size = (size_t)(place_all(run, n_threads, from) - from);
    if (p)
        point_to_rows(run);
    return size;
}

/* ---- prediction ------------------------------------------------------------------------------------------------------------ */

/* Whether W is packed: where a product needs W^T, or where W overflows the L1 cache and there are rows enough to use it often. */
static int is_packed(const Run *run, const Weights *w, const Op *use)
{
    if (w->keeps_transpose)
        return 1;
    return w->n_in * w->n_out * (ptrdiff_t)run->k->itemsize > 32768 && run->n_rows >= 48 && !(run->sparse && use->input == 0);
}

static ptrdiff_t packed_size(const Run *run, const Weights *w)
{
    return aligned((w->n_in + 1) * w->vectors * run->k->lanes * run->k->itemsize) + (w->keeps_transpose ? transpose_size(run, w) : 0);
}

/* Places for a block of rows: buffers that values take in turn, pointers to their rows, and lists of the nonzeros of X. Outputs lie
 * in the caller's arrays. */
void place_block(const Run *run, Value *values, Nonzeros *nonzeros, char *p)
{
    const size_t itemsize = run->k->itemsize;
    char *const buffers = p;
    char **rows = (char **)(p + run->n_buffers * run->buffer_size);
    p = (char *)rows + aligned(run->n_values * run->block * sizeof(char *));
    for (int i = 0; i < run->n_values; i++) {
        Value *value = values + i;
        value->a[0] = buffers + value->buffer * run->buffer_size;
        value->a_rows[0] = rows;
        for (ptrdiff_t r = 0; r < run->block; r++)
            *rows++ = value->a[0] + r * value->ld * itemsize;
    }
    if (run->x_as_nonzeros)
        place_nonzeros(nonzeros, p, run->block, run->block * run->most, itemsize);
}

/* What all predictions of a network begin with: weights where they lie, values without what fills up vectors. */
void prepare_prediction(Run *run)
{
    run->mode = PREDICT;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++) {
        w->row_major = 1;
        w->width = w->n_out;
        run->transposes |= w->keeps_transpose;
    }
    for (Value *value = run->values; value < run->values + run->n_values; value++) {
        value->width = value->ld = value->n;
        value->dropout = 0;
        if (!value->is_output && value != run->values)
            run->widest = MAX(run->widest, value->vectors * run->k->lanes);
    }
}

/* Predictions change their values, weights and heads only. */
size_t prediction_size(const Run *run)
{
    return aligned(run->n_values * sizeof(Value) + run->n_weight_sets * sizeof(Weights) + run->n_heads * sizeof(Head));
}

void copy_for_prediction(Run *run, char *p)
{
    memcpy(p, run->values, prediction_size(run));
    run->values = (Value *)p;
    run->weights = (Weights *)(run->values + run->n_values);
    run->heads = (Head *)(run->weights + run->n_weight_sets);
}

/* Which weights are packed. */
static void choose_packed(Run *run)
{
    for (const Op *op = run->forward; op < run->forward + run->n_forward; op++) {
        Weights *w = op->weights < 0 || op->kind == OP_UNIT ? NULL : run->weights + op->weights;
        Value *out = run->values + op->output;
        if (w == NULL || !is_packed(run, w, op))
            continue;
        w->row_major = 0;
        w->width = w->vectors * run->k->lanes;
        if (!out->is_output && op->kind != OP_TRANSPOSED) /* whole vectors of A, which other ops skip, and of b, packed too */
            out->width = out->ld = out->vectors * run->k->lanes;
    }
}

void plan_prediction(Run *run)
{
    const ptrdiff_t itemsize = (ptrdiff_t)run->k->itemsize;
    Nonzeros nonzeros;
    run->x_as_nonzeros = run->sparse || lists_repay(run, run->n_rows < 48 ? 32 : 512);
    if (run->x_as_nonzeros && !run->sparse)
        run->most = run->values->n;
    /* rows enough to use a weight often while it is in cache, few enough that activations stay there and all have work */
    run->block = MIN(run->n_rows, MAX(24, MIN(96, run->n_rows / 16)));
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++)
        w->packed = run->parameters + w->offset * itemsize;
    if (run->n_rows >= 48 || run->transposes)
        choose_packed(run);
    run->buffer_size = aligned(run->block * MAX(run->widest, run->x_in_place || run->sparse ? 0 : run->values->n) * itemsize);
    run->scratch_size = aligned(run->n_values * sizeof(Value)) + run->n_buffers * run->buffer_size;
    run->scratch_size += aligned(run->n_values * run->block * sizeof(char *));
    if (run->x_as_nonzeros)
        run->scratch_size += (size_t)(place_nonzeros(&nonzeros, (char *)64, run->block, run->block * run->most, itemsize) - (char *)64);
}

size_t lay_out_prediction(Run *run, int n_threads, char *p)
{
    size_t size = 0;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++) {
        if (w->row_major)
            continue;
        if (p) {
            w->packed = p + size;
            move_parameters(run, w, run->parameters, w->packed, 0, 0, w->vectors);
            if (w->keeps_transpose) {
                w->wt = w->packed + aligned((w->n_in + 1) * w->width * run->k->itemsize);
                fill_transpose(run->k, w, (Range){0, w->vectors});
            }
        }
        size += packed_size(run, w);
    }
    run->scratch = at_offset(p, size);
    return size + n_threads * run->scratch_size;
}
