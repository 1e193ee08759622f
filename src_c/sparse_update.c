/* Updates of those rows of W alone that the batch has nonzeros for: of CSR with very many columns they are few, and some rules leave
 * all others as they are. */
#include "run.h"

#include <string.h>

enum { GROUP_ROWS = 32 }; /* of W, whose gradients are in cache when the optimizer takes them */

/* Without penalties a gradient of 0 changes nothing, neither W nor the sums of its squares; and nothing else is to be done with W,
 * such as to average it. */
int updates_sparsely(const Run *run, const Weights *w, ptrdiff_t chunk)
{
    const Settings *s = &run->settings;
    const double batches = (double)run->n_rows / run->batch;
    if (run->mode != TRAIN || !run->sparse || (s->rule != GRADIENT_DESCENT && s->rule != ADAGRAD))
        return 0;
    for (int i = 0; i < run->n_ties; i++)
        if (run->weights + run->ties[i].i == w || run->weights + run->ties[i].j == w)
            return 0;
    if (chunk < run->batch || run->n_sections || s->clip_norm > 0 || s->radius > 0 || s->weight_decay > 0)
        return 0;
    if (run->state[AVERAGE] != NULL || w->flat_mask != NULL)
        return 0;
    return w->l1 == 0 && w->l2 == 0 && w->max_norm == 0 && w->n_uses == 1 && w->first_norm < 0 && w->n_in > 1024 &&
           4 * run->n_nonzeros < w->n_in * batches;
}

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
    for (ptrdiff_t i = first; i < first + n; i += GROUP_ROWS) {
        const ptrdiff_t size = MIN(GROUP_ROWS, first + n - i);
        k->nonzeros_matmul(size, w->n_out, part->rows, &part->transposed, i, &d, NULL, 0, &g);
        for (ptrdiff_t j = 0; j < size; j++) {
            const size_t offset = touched[i + j] * w->n_out * k->itemsize;
            char *states[MAX_STATES];
            double none = 0;
            states_at(w->state, offset, states);
            k->update(update, w->n_out, w->packed + offset, part->scratch + j * w->n_out * k->itemsize, (void **)states, &none);
        }
    }
}
