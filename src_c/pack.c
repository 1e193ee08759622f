/* Weights and biases between the flat vector and the packed form of the workspace, and W^T. */
#include "run.h"

#include <string.h>

/* Stripe v and rows begin..begin+m of W, as it lies, to W^T; begin is a multiple of lanes. */
void update_transpose(const Kernels *k, Weights *w, ptrdiff_t v, ptrdiff_t begin, ptrdiff_t m)
{
    const ptrdiff_t square = k->lanes * k->lanes, stripe = w->vectors * square;
    const ptrdiff_t ld = w->row_major ? w->n_out : k->lanes, from = w->row_major ? v * k->lanes : v * k->lanes * w->n_in;
    k->transpose(m, w->row_major ? MIN(k->lanes, w->n_out - from) : k->lanes, w->packed + (from + begin * ld) * k->itemsize, ld,
                 w->wt + (begin / k->lanes * stripe + v * square) * k->itemsize, k->lanes, stripe);
}

/* All of W^T that comes from these stripes of W. */
void fill_transpose(const Kernels *k, Weights *w, Range stripes)
{
    const ptrdiff_t square = k->lanes * k->lanes * k->itemsize, last = (w->n_in - 1) / k->lanes * w->vectors;
    for (ptrdiff_t v = stripes.begin; v < stripes.end; v++) {
        memset(w->wt + (last + v) * square, 0, square); /* it is not filled by what follows */
        update_transpose(k, w, v, 0, w->n_in);
    }
}

/* Stripes v0..v1 of weights and biases between the flat vector and the packed form. */
void move_parameters(Run *run, Weights *w, char *flat, char *packed, int out, ptrdiff_t v0, ptrdiff_t v1)
{
    const Kernels *k = run->k;
    const ptrdiff_t stripe = w->n_in * k->lanes, n = MIN(v1 * k->lanes, w->n_out) - v0 * k->lanes;
    char *b = flat + (w->offset + w->n_in * w->n_out + v0 * k->lanes) * k->itemsize;
    char *packed_b = packed + (w->vectors * stripe + v0 * k->lanes) * k->itemsize;
    flat += (w->offset + v0 * k->lanes) * k->itemsize;
    packed += v0 * stripe * k->itemsize;
    if (out) {
        k->unpack(w->n_in, n, packed, stripe, flat, w->n_out);
        if (w->has_bias)
            k->unpack(1, n, packed_b, k->lanes, b, w->n_out);
        return;
    }
    k->pack(w->n_in, n, flat, w->n_out, packed, stripe);
    if (w->has_bias)
        k->pack(1, n, b, w->n_out, packed_b, k->lanes);
    else
        memset(packed_b, 0, (v1 - v0) * k->lanes * k->itemsize);
}

/* This member's rows of a table, and of its state, to their copies, or back. */
static void move_table(Run *run, Weights *w, int member, int n_members, int out)
{
    const Range mine = share(w->n_in, member, n_members);
    const size_t row = w->n_out * run->k->itemsize, at = mine.begin * row, size = (mine.end - mine.begin) * row;
    for (int j = -1; j < MAX_STATES; j++) {
        char *flat = j < 0 ? run->parameters : run->state[j], *copy = j < 0 ? w->packed : w->state[j];
        if (flat == NULL)
            continue;
        flat += w->offset * run->k->itemsize;
        memcpy(out ? flat + at : copy + at, out ? copy + at : flat + at, size);
    }
}

/* These stripes of a mask; what fills up the last one is 0, and its gradient with it. */
static void pack_mask(const Kernels *k, Weights *w, Range stripes)
{
    const ptrdiff_t first = stripes.begin * k->lanes, n = MIN(stripes.end * k->lanes, w->n_out) - first;
    char *to = w->mask + first * w->n_in * k->itemsize;
    k->pack(w->n_in, n, w->flat_mask + first * k->itemsize, w->n_out, to, w->n_in * k->lanes);
}

/* This member's share of parameters and optimizer state to the workspace, or of what the run has changed back to the flat
 * vectors. */
void move_shares(Run *run, int member, int n_members, int out)
{
    for (int i = 0; i < run->n_weight_sets; i++) {
        Weights *w = run->weights + i;
        const Range mine = share(w->vectors, member, n_members);
        if (w->copied)
            move_table(run, w, member, n_members, out);
        if (w->copied || mine.begin == mine.end)
            continue;
        if (w->row_major) {
            if (!out && w->wt != NULL)
                fill_transpose(run->k, w, mine);
            continue;
        }
        if (out && run->gradient != NULL)
            move_parameters(run, w, run->gradient, w->g, 1, mine.begin, mine.end);
        if (out && run->mode != TRAIN)
            continue;
        move_parameters(run, w, run->parameters, w->packed, out, mine.begin, mine.end);
        if (!out && w->mask != NULL)
            pack_mask(run->k, w, mine);
        for (int j = 0; j < MAX_STATES; j++)
            if (w->state[j] != NULL)
                move_parameters(run, w, run->state[j], w->state[j], out, mine.begin, mine.end);
        if (!out && w->wt != NULL)
            fill_transpose(run->k, w, mine);
    }
}
