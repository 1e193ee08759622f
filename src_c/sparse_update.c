/* Updates of those rows of W alone that the batch has nonzeros for: of CSR with very many columns they are few. All others have a
 * gradient of 0, by which some rules leave them as they are. By others they move on, as their velocity or mean gradient decays: the
 * steps that a row misses while it rests are made up for at once, before it is read again, and at the end. */
#include "run.h"

#include <string.h>

enum { GROUP_ROWS = 32 }; /* of W, whose gradients are in cache when the optimizer takes them */

/* Without penalties a gradient of 0 leaves all that does not decay as it is; and nothing else is to be done with W, such as to average
 * it. */
int updates_sparsely(const Run *run, const Weights *w, ptrdiff_t chunk)
{
    const Settings *s = &run->settings;
    const double batches = (double)run->n_rows / run->batch;
    if (run->mode != TRAIN || !run->sparse)
        return 0;
    for (int i = 0; i < run->n_ties; i++)
        if (run->weights + run->ties[i].i == w || run->weights + run->ties[i].j == w)
            return 0;
    if (chunk < run->batch || run->n_sections || s->clip_norm > 0 || s->radius > 0)
        return 0;
    if (run->state[AVERAGE] != NULL || w->flat_mask != NULL)
        return 0;
    return w->l1 == 0 && w->l2 == 0 && w->max_norm == 0 && w->n_uses == 1 && w->first_norm < 0 && w->n_in > 1024 &&
           4 * run->n_nonzeros < w->n_in * batches;
}

/* ---- rows at rest ---------------------------------------------------------------------------------------------------------- */

Weights *rested_weights(const Run *run)
{
    const int leaves = run->settings.rule == GRADIENT_DESCENT || run->settings.rule == ADAGRAD;
    for (Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++)
        if (w->sparse_update && run->settings.per_role[w->role] > 0 && (!leaves || run->settings.weight_decay > 0))
            return w;
    return NULL;
}

/* The update of W but for what steps have for themselves */
static Update update_of_rows(const Run *run, const Weights *w)
{
    const Update update = step_of(run, 0, run->t + 1);
    Update updates[2];
    updates_of(run, &update, w, 1, updates);
    return updates[0];
}

void begin_step(Run *run, const Update *update, int64_t t)
{
    Update updates[2];
    updates_of(run, update, rested_weights(run), 1, updates);
    run->steps[t - run->t_begin] = (StepSettings){updates->learning_rate, updates->epsilon, updates->decay};
}

/* By a step of gradient 0 each state becomes so many times what it was, */
static void decays_of(const Update *u, double *decays)
{
    for (int j = 0; j < MAX_STATES; j++)
        decays[j] = 1;
    if (u->rule == MOMENTUM || u->rule == NESTEROV)
        decays[0] = u->momentum;
    if (u->rule == ADAM || u->rule == ADAMW)
        decays[0] = u->beta_1, decays[1] = u->beta_2;
    if (u->rule == RMSPROP || u->rule == RMSPROP_MOMENTUM || u->rule == RMSPROP_CENTERED)
        decays[0] = u->beta_2, decays[1] = u->momentum, decays[2] = u->beta_2;
}

/* and what it moves W by, over the learning rate of ADAM, becomes at most so many times what it was. */
static double decay_of_motion(const Update *u, const double *decays)
{
    if (u->rule == ADAM || u->rule == ADAMW)
        return decays[0] / sqrt(decays[1]);
    if (u->rule == MOMENTUM || u->rule == NESTEROV)
        return decays[0];
    return u->rule == RMSPROP_MOMENTUM || u->rule == RMSPROP_CENTERED ? decays[1] : 0;
}

/* Of a row of W, the steps of the run that it misses up to `to`. They are made one by one as long as what is to come, of velocity or
 * mean gradient, may change a digit of what they have moved W by: with b = decay_of_motion and learning rates eta that are at most
 * `largest`, until
 *
 *     largest sum over j >= i of b^j <= epsilon sum over j < i of eta_j b^j.
 *
 * The others only shrink. */
static void catch_up(Run *run, Weights *w, const Update *u, ptrdiff_t row, int32_t to)
{
    const Kernels *k = run->k;
    const int32_t from = run->n_caught_up[row];
    const size_t offset = row * w->n_out * k->itemsize;
    const double epsilon = k->itemsize == 4 ? 0x1p-26 : 0x1p-55, smallest = k->itemsize == 4 ? 0x1p-126 : 0x1p-1022;
    const int by_rate = u->rule == ADAM || u->rule == ADAMW;
    char *states[MAX_STATES];
    double factors[MAX_STATES + 1], largest = 0, power = 1, moved = 0;
    int rests = run->settings.weight_decay == 0;
    if (from == to)
        return;
    run->n_caught_up[row] = to;
    states_at(w->state, offset, states);
    for (int j = 0; j < MAX_STATES; j++)
        rests = rests && (states[j] == NULL || k->all_below(w->n_out, states[j], smallest));
    if (rests)
        return;
    decays_of(u, factors);
    const double decay = decay_of_motion(u, factors);
    for (int32_t i = from; i < to; i++)
        largest = MAX(largest, by_rate ? run->steps[i].learning_rate : 1);
    int32_t end = from;
    for (; decay > 0 && end < to && !(largest * power <= epsilon * moved * (1 - decay)); end++, power *= decay)
        moved += power * (by_rate ? run->steps[end].learning_rate : 1);
    for (int j = 0; j < MAX_STATES; j++)
        factors[j] = pow(factors[j], (double)(to - end));
    factors[MAX_STATES] = 1;
    for (int32_t i = end; i < to; i++)
        factors[MAX_STATES] *= 1 - run->steps[i].decay;
    k->update_at_rest(u, run->steps + from, end - from, factors, w->n_out, w->packed + offset, (void **)states);
}

/* Of this run, before the batch at hand */
static int32_t steps_before(const Part *part) { return (int32_t)(part->step - (uint32_t)part->run->t_begin); }

/* ---- rows with nonzeros ---------------------------------------------------------------------------------------------------- */

/* Sixteen columns, a cache line of `list_of`, have the same owner: any, as frequent ones may lie next to each other. */
static inline int owner_of(int32_t column, int n_members)
{
    const uint32_t hash = ((uint32_t)column >> 4) * 2654435769u; /* 2^32 over the golden ratio */
    return n_members == 1 ? 0 : (int)((hash * (uint64_t)n_members) >> 32);
}

/* The chunk's nonzeros in this member's columns as lists, one for each column that has some, of rows in their order. Returns how
 * many lists there are, from *first on; touched[list] is its column. */
static ptrdiff_t list_columns(Part *part, const Nonzeros *out, int32_t *touched, ptrdiff_t *first)
{
    Run *run = part->run;
    const Nonzeros *x = &part->nonzeros;
    const size_t itemsize = run->k->itemsize;
    int32_t *list_of = run->list_of; /* 1 + the list of a column, 0 for none */
    ptrdiff_t at = 0, n = 0;
    for (ptrdiff_t e = x->begin[0]; e < x->end[part->rows - 1]; e++)
        at += owner_of(x->columns[e], part->n_members) < part->member;
    *first = at;
    for (ptrdiff_t e = x->begin[0]; e < x->end[part->rows - 1]; e++) {
        const int32_t column = x->columns[e];
        if (owner_of(column, part->n_members) != part->member)
            continue;
        if (list_of[column] == 0) {
            out->end[at + n] = 0;
            touched[at + n] = column;
            list_of[column] = (int32_t)++n;
        }
        out->end[at + list_of[column] - 1]++;
    }
    for (ptrdiff_t i = at, begin = at; i < at + n; i++) {
        out->begin[i] = begin;
        begin += out->end[i];
        out->end[i] = out->begin[i];
    }
    for (ptrdiff_t row = 0; row < part->rows; row++) {
        for (ptrdiff_t e = x->begin[row]; e < x->end[row]; e++) {
            const int32_t column = x->columns[e];
            if (owner_of(column, part->n_members) != part->member)
                continue;
            const ptrdiff_t place = out->end[at + list_of[column] - 1]++;
            out->columns[place] = (int32_t)row;
            memcpy((char *)out->values + place * itemsize, (char *)x->values + e * itemsize, itemsize);
        }
    }
    for (ptrdiff_t i = at; i < at + n; i++)
        list_of[touched[i]] = 0;
    return n;
}

/* G (a row for each of some columns of X that this member owns) = X^T D, and the optimizer's step with it. */
void update_touched_rows(Part *part, const Update *update, Weights *w)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    const Value *z = part->values + run->forward[w->first_use].output;
    const Stripes d = {z->d[part->side], z->ld, k->lanes, 0};
    const Stripes g = {part->scratch, w->n_out, k->lanes, 0};
    int32_t *touched = run->touched_columns[part->side];
    ptrdiff_t first;
    const ptrdiff_t n = list_columns(part, &part->transposed, touched, &first);
    const int32_t n_steps = steps_before(part) + 1;
    for (ptrdiff_t i = first; i < first + n; i += GROUP_ROWS) {
        const ptrdiff_t size = MIN(GROUP_ROWS, first + n - i);
        k->nonzeros_matmul(size, w->n_out, part->rows, &part->transposed, i, &d, NULL, 0, &g);
        for (ptrdiff_t j = 0; j < size; j++) {
            const size_t offset = touched[i + j] * w->n_out * k->itemsize;
            char *states[MAX_STATES];
            double none = 0;
            states_at(w->state, offset, states);
            k->update(update, w->n_out, w->packed + offset, part->scratch + j * w->n_out * k->itemsize, (void **)states, &none);
            if (run->n_caught_up != NULL)
                run->n_caught_up[touched[i + j]] = n_steps;
        }
    }
}

/* Before the batch reads rows of W, those of this member. */
void run_catch_up(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)row;
    Run *run = part->run;
    const Nonzeros *x = &part->nonzeros;
    Weights *w = run->weights + op->weights;
    const Update u = update_of_rows(run, w);
    for (ptrdiff_t e = x->begin[0]; e < x->end[m - 1]; e++)
        if (owner_of(x->columns[e], part->n_members) == part->member)
            catch_up(run, w, &u, x->columns[e], steps_before(part));
}

void catch_up_all(Run *run, int member, int n_members)
{
    Weights *w = rested_weights(run);
    const Update u = update_of_rows(run, w);
    const Range mine = share(w->n_in, member, n_members);
    for (ptrdiff_t row = mine.begin; row < mine.end; row++)
        catch_up(run, w, &u, row, (int32_t)(run->t - run->t_begin));
}
