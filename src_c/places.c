/* Where everything lies in the workspace, but for predictions. */
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
static int keeps_slope(const Kernels *k, const Value *value)
{
    const int kept = k->derivative[value->activation] == k->derivative[GELU]; /* kept_derivative */
    return kept || value->radial || (value->activation == SOFTMAX && value->dropout > 0);
}

/* Whether that is how a layer which takes X is learnt. */
static int is_sparsely_updated(const Run *run)
{
    int found = 0;
    for (int i = 0; i < run->n_weight_sets; i++)
        found |= run->weights[i].sparse_update;
    return found;
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
    if (run->mode == LOSS_ONLY)
        return p;
    if (!is_sparsely_updated(run))
        return place_nonzeros(&run->transposed[side], p, run->values->n, nonzeros, itemsize);
    run->touched_columns[side] = (int32_t *)p;
    p += aligned(nonzeros * sizeof(int32_t));
    run->list_of = (int32_t *)p; /* between two steps of any side nothing is in it */
    return place_nonzeros(&run->transposed[side], p + aligned(run->values->n * sizeof(int32_t)), nonzeros, nonzeros, itemsize);
}

/* Deltas from which no weights' gradients are made are read while the pass back is near. They take a few places in turn, which stay in
 * cache; what a skip hands on whole stays where it is. */
enum { MOST_PLACES = 8, OWN = -1, LATER = -2, UNSEEN = -3 };

/* Mark the deltas that may, and the ops after which nobody touches them. */
static void find_deltas(Run *run)
{
    Value *values = run->values;
    const int shared = (run->mode == TRAIN || run->mode == GRADIENT) && !run->n_sections && !run->weights_in_place && !run->online;
    for (int i = 0; i < run->n_values; i++)
        values[i].buffer = shared && i > 0 && !values[i].halved ? UNSEEN : OWN;
    for (int i = 0; i < run->n_heads; i++) /* losses don't write the columns that fill it up */
        values[run->heads[i].value].buffer = OWN;
    for (const Op *op = run->forward; op < run->forward + run->n_forward; op++)
        if ((op->weights >= 0 || op->bias >= 0) && op->kind != OP_GROUP_NORM)
            values[op->output].buffer = OWN;
    for (const Op *op = run->ops; op < run->ops + run->n_ops; op++)
        if (touches_deltas(op) && !is_by_rows(op))
            values[op->input].buffer = values[op->output].buffer = OWN;
    for (Op *op = run->ops + run->n_ops; op-- > run->ops;) {
        if (!touches_deltas(op))
            continue;
        op->frees = values[op->input].buffer == UNSEEN;
        for (int i = 0; i < 2; i++) {
            Value *value = values + (i ? op->output : op->input);
            value->buffer = value->buffer == UNSEEN ? LATER : value->buffer;
        }
    }
}

void share_delta_places(Run *run)
{
    ptrdiff_t ld[MOST_PLACES];
    int taken[MOST_PLACES] = {0}, n = 0;
    find_deltas(run);
    for (const Op *op = run->ops; op < run->ops + run->n_ops; op++) {
        const Value *in = run->values + op->input;
        Value *out = run->values + op->output;
        if (!touches_deltas(op))
            continue;
        if (out->buffer == LATER) {
            int place = 0;
            if (op->kind == OP_MOVE_BACK && op->frees && moves_all(run, op) && in->ld == out->ld) {
                out->buffer = in->buffer;
                continue;
            }
            while (place < n && (taken[place] || ld[place] != out->ld))
                place++;
            out->buffer = place < MOST_PLACES ? place : OWN;
            if (place < MOST_PLACES) {
                taken[place] = 1;
                ld[place] = out->ld;
                n = MAX(n, place + 1);
            }
        }
        if (op->frees && in->buffer >= 0)
            taken[in->buffer] = 0;
    }
    run->n_delta_places = n;
}

/* Arrays of a value, but for pointers to rows, and its deltas where they share a place. */
static char *place_value(Run *run, Value *value, int side, char *p)
{
    const ptrdiff_t size = aligned(run->chunk * value->ld * run->k->itemsize);
    value->a[side] = p;
    p += size;
    if (value->buffer < 0) {
        value->d[side] = p;
        p += size;
    }
    if (run->mode != LOSS_ONLY && keeps_slope(run->k, value)) {
        value->slope[side] = p;
        p += size;
    }
    if (value->n_statistics > 0) {
        value->statistics[side] = p;
        p += aligned(value->n_statistics * run->k->itemsize);
    }
    return p;
}

/* The places that deltas share: all of one have rows as far apart. */
static char *place_deltas(Run *run, int side, char *p)
{
    for (int place = 0; place < run->n_delta_places; place++) {
        ptrdiff_t size = 0;
        for (Value *value = run->values + 1; value < run->values + run->n_values; value++) {
            if (value->buffer == place) {
                value->d[side] = p;
                size = aligned(run->chunk * value->ld * run->k->itemsize);
            }
        }
        p += size;
    }
    return p;
}

static char *place_transpose(Run *run, Value *value, int side, char *p)
{
    if (!value->keeps_transpose)
        return p;
    value->ht[side] = p;
    return p + aligned((value->n + run->k->lanes) * run->ld_transposed * run->k->itemsize);
}

static char *place_rows(Run *run, Value *value, int side, char *p)
{
    const ptrdiff_t rows = value == run->values ? 0 : aligned(run->chunk * sizeof(char *));
    value->a_rows[side] = (char **)p;
    value->d_rows[side] = (char **)(p + rows);
    p += 2 * rows;
    if (!value->keeps_transpose)
        return p;
    value->ht_rows[side] = (char **)p;
    return p + aligned(value->n * sizeof(char *));
}

/* X, and all values; those of sections, which are never there at once, in places that they share. */
static char *place_values(Run *run, int side, char *p)
{
    char *end = place_deltas(run, side, place_transpose(run, run->values, side, place_input(run, side, p)));
    for (int section = -1; section < run->n_sections; section++) {
        char *at = section < 0 || !shares_places(run) ? end : p;
        for (int i = 1; i < run->n_values; i++)
            if (run->values[i].section == section)
                at = place_transpose(run, run->values + i, side, place_value(run, run->values + i, side, at));
        if (section < 0)
            p = at;
        end = MAX(end, at);
    }
    for (int i = 0; i < run->n_values; i++)
        end = place_rows(run, run->values + i, side, end);
    return end;
}

ptrdiff_t transpose_size(const Run *run, const Weights *w)
{
    const ptrdiff_t lanes = run->k->lanes;
    return (w->n_in + lanes - 1) / lanes * w->vectors * lanes * lanes * run->k->itemsize;
}

static char *place_weights(Run *run, int i, char *p)
{
    Weights *w = run->weights + i;
    const size_t itemsize = run->k->itemsize;
    const ptrdiff_t size = aligned((w->n_in + 1) * w->width * itemsize);
    if (w->row_major && !w->copied) {
        w->packed = run->parameters + w->offset * itemsize;
        w->mask = w->flat_mask;
        states_at(run->state, w->offset * itemsize, w->state);
        w->g = at_offset(run->gradient, w->offset * itemsize);
    } else {
        w->packed = p;
        p += size;
        if (w->flat_mask != NULL && run->mode != LOSS_ONLY) {
            w->mask = p;
            p += size;
        }
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
    if (run->mode == TRAIN && run->settings.radius > 0) {
        w->start = p;
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

/* Give everything its place in the workspace, from p on; returns the end of it. Values come first, and are the same in FORWARD as in
 * BACKWARD, so that the activations stay where they are. */
static char *place_all(Run *run, int n_threads, char *p)
{
    for (int side = 0; side < run->sides; side++)
        p = place_values(run, side, p);
    for (int i = 0; i < run->n_weight_sets; i++)
        p = place_weights(run, i, p);
    p = place_doubles(&run->block_loss, n_blocks_of(run->chunk, run->block, run->shared), p);
    p = place_doubles(&run->penalties, run->n_penalties, p);
    p = place_doubles(&run->tie_penalties, run->n_tie_penalties, p);
    p = place_doubles(&run->norms, run->n_norms, p);
    run->kept[0] = run->layer_state;
    for (int side = 0; side < (run->mode == TRAIN ? 2 : 0); side++) {
        run->kept[side] = p;
        p += aligned(run->n_layer_state * run->k->itemsize);
    }
    if (rested_weights(run)) {
        run->n_caught_up = (int32_t *)p;
        p += aligned(run->values->n * sizeof(int32_t));
        run->steps = (StepSettings *)p;
        p += aligned((run->n_rows + run->batch - 1) / run->batch * sizeof(StepSettings));
    }
    run->scratch = p;
    return p + n_threads * run->scratch_size;
}

/* Fill in the pointers to rows, once the places are there, and what has to be 0. */
static void point_to_rows(Run *run)
{
    const size_t itemsize = run->k->itemsize;
    if (run->list_of != NULL) {
        memset(run->list_of, 0, run->values->n * sizeof(int32_t));
        memset(run->penalties, 0, run->n_penalties * sizeof(double)); /* of weights without any, that no panel of them writes */
    }
    if (run->n_caught_up != NULL)
        memset(run->n_caught_up, 0, run->values->n * sizeof(int32_t));
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
