/* Gradients of the weights, the optimizer's steps with them, and weights to and from the workspace. */
#include "run.h"

#include <string.h>

static void begin_with_ties(const Kernels *k, Layer *layer, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t begin, ptrdiff_t size, char *g,
                            ptrdiff_t stripe);

/* The update of step t (from 1) at learning rate eta, but for penalties, which are the layers' own. */
Update step_of(const Settings *settings, double eta, int64_t t)
{
    Update u;
    double root = sqrt(1 - pow(settings->beta_2, (double)t));
    memset(&u, 0, sizeof(Update));
    u.rule = settings->rule;
    u.momentum = settings->momentum;
    u.beta_1 = settings->beta_1;
    u.beta_2 = settings->beta_2;
    u.epsilon = settings->epsilon;
    u.learning_rate = eta;
    u.decay = eta * settings->weight_decay;
    u.scale = 1;
    u.clip = settings->clip_value > 0 ? settings->clip_value : INFINITY;
    if (u.rule == MOMENTUM && t > 1)
        u.learning_rate *= 1 - settings->dampening;
    if (u.rule == ADAMW) /* epsilon is to stand beside sqrt(v / (1 - beta_2^t)) */
        u.epsilon *= root;
    if (settings->proximal)
        u.proximal = u.rule == ADAM || u.rule == ADAMW ? eta * root : u.learning_rate;
    if (u.rule == ADAM || u.rule == ADAMW)
        u.learning_rate *= root / (1 - pow(u.beta_1, (double)t));
    return u;
}

/* Sums of delta's columns, and the optimizer's step with them. */
static void update_biases(Part *part, const Update *update, Layer *layer, ptrdiff_t v0, ptrdiff_t v1, int accumulate)
{
    const Kernels *k = part->run->k;
    ptrdiff_t n = MIN(v1 * k->lanes, layer->width) - v0 * k->lanes, v, at;
    size_t offset = (layer->n_in * layer->width + v0 * k->lanes) * k->itemsize;
    char *g = layer->g != NULL ? layer->g + offset : part->scratch;
    Update u;
    double none = 0;
    char *states[MAX_STATES];
    size_t rows = (part->row * layer->ld + v0 * k->lanes) * k->itemsize;
    if (part->rows) {
        k->column_sums(part->rows, n, layer->d[part->side] + rows, layer->radial ? layer->slope[part->side] + rows : NULL,
                       layer->ld, accumulate, g);
    }
    if (part->folding)
        k->fold(n, g, layer->sum + offset, layer->error + offset, part->first_fold, part->last_fold);
    if (update != NULL) {
        u = update[0];
        u.l1 = u.l2 = u.decay = 0;
        if (part->measuring) {
            for (v = v0; v < v1; v++) {
                at = (v - v0) * k->lanes;
                part->run->norms[layer->bias_slot + v] =
                    k->norm(&u, MIN(k->lanes, n - at), layer->packed + offset + at * k->itemsize, g + at * k->itemsize);
            }
            return;
        }
        states_at(layer->state, offset, states);
        k->update(&u, n, layer->packed + offset, g, (void **)states, &none);
    }
}

/* G = H^T delta for stripes v0..v1 and panels p0..p1 of W over the chunk's rows from part.row on (unless there are none), and the
 * optimizer's step with it (unless `update` is NULL), a panel at a time. */
static void update_weights(Part *part, const Update *update, Layer *layer, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t p0, ptrdiff_t p1,
                           int accumulate)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    ptrdiff_t lanes = k->lanes, n = MIN(v1 * lanes, layer->width) - v0 * lanes;
    ptrdiff_t rows = part->rows;
    ptrdiff_t panel, begin, size, count, stripe, v, ldd = layer->ld, stripe_d = lanes;
    char *d = layer->d[part->side] + (part->row * layer->ld + v0 * lanes) * k->itemsize;
    char *scratch = part->scratch;
    char *g;
    char *sums = NULL;
    double *penalty;
    char *states[MAX_STATES];
    size_t offset;
    int begins_with_ties = layer->tie_gradient != NULL && rows && part->first == part->start;
    if (p0 == 0)
        update_biases(part, update, layer, v0, v1, accumulate);
    if (layer->radial && rows) {
        sums = scratch;
        k->column_sums(rows, n, d, NULL, layer->ld, 0, sums);
        scratch += n * k->itemsize;
    }
    int listed = run->listed && layer == run->layers;
    if (layer->in_place && rows) { /* of all members only this one needs these rows of X^T */
        k->transpose_nonzeros(rows, &run->nonzeros[part->side], part->row, p0 * layer->panel, MIN(p1 * layer->panel, layer->n_in),
                              &run->transposed[part->side]);
    }
    if (rows >= 32 && layer->n_in >= 256 && !layer->in_place) { /* many products with this delta: its rows next to each other */
        k->pack(rows, n, d, layer->ld, scratch, rows * lanes);
        d = scratch;
        ldd = lanes;
        stripe_d = rows * lanes;
        scratch += rows * n * k->itemsize;
    }
    for (panel = p0; panel < p1; panel++) {
        begin = panel * layer->panel;
        size = MIN(layer->panel, layer->n_in - begin);
        g = scratch;
        stripe = size * lanes;
        if (layer->g != NULL) {
            stripe = layer->n_in * lanes;
            g = layer->g + (v0 * stripe + begin * lanes) * k->itemsize;
        }
        if (layer->in_place)
            g = layer->g == NULL ? scratch : layer->g + begin * n * k->itemsize;
        if (begins_with_ties)
            begin_with_ties(k, layer, v0, v1, begin, size, g, stripe);
        if (listed && rows) {
            k->nonzeros_matmul(size, n, rows, &run->transposed[part->side], begin, d, ldd, stripe_d, NULL,
                               accumulate || begins_with_ties, g, layer->in_place ? n : lanes, layer->in_place ? lanes : stripe);
        } else if (rows) {
            if (layer->ht[part->side] != NULL) {
                k->matmul(size, n, rows, layer->ht_rows[part->side] + begin, part->row, ROWS, d, ldd, stripe_d, NULL,
                          accumulate || begins_with_ties, g, lanes, stripe);
            } else {
                k->matmul(size, n, rows, input_rows(part, layer) + part->row, begin, COLUMNS, d, ldd, stripe_d, NULL,
                          accumulate || begins_with_ties, g, lanes, stripe);
            }
            if (layer->radial) {
                k->rbf_centres(size, n, layer->packed + (v0 * layer->n_in + begin) * lanes * k->itemsize, layer->n_in * lanes,
                               sums, g, stripe);
            }
        }
        for (v = v0; v < (layer->in_place ? v0 + 1 : v1); v++) {
            offset = (layer->in_place ? begin * n : (v * layer->n_in + begin) * lanes) * k->itemsize;
            count = size * (layer->in_place ? n : lanes);
            if (part->folding)
                k->fold(count, layer->g + offset, layer->sum + offset, layer->error + offset, part->first_fold, part->last_fold);
            if (update == NULL)
                continue;
            if (part->measuring) {
                run->norms[layer->slot + v * layer->n_panels + panel] =
                    k->norm(update, count, layer->packed + offset, g + (v - v0) * stripe * k->itemsize);
                continue;
            }
            penalty = run->penalties + layer->slot + v * layer->n_panels + panel;
            penalty[0] = 0;
            states_at(layer->state, offset, states);
            k->update(update, count, layer->packed + offset, g + (v - v0) * stripe * k->itemsize, (void **)states, penalty);
            if (layer->wt != NULL)
                update_transpose(k, layer, v, begin, size);
        }
    }
}

/* Stripe v of what lies as the layer's W does. */
static inline char *stripe_of(const Kernels *k, Layer *layer, char *w, ptrdiff_t v)
{
    return w + v * k->lanes * (layer->in_place ? 1 : layer->n_in) * k->itemsize;
}

/* What ties add to the gradients, and their penalties: this member's stripes, while no weight changes. */
void find_tie_gradients(Part *part, double S)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    Layer *layer;
    Layer *other;
    Tie *tie;
    Range mine;
    ptrdiff_t v, n, ld;
    double strength, squares;
    char *to;
    int i, t;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        if (layer->tie_gradient == NULL)
            continue;
        ld = layer->in_place ? layer->n_out : k->lanes;
        mine = share(layer->vectors, part->member, part->n_members);
        for (v = mine.begin; v < mine.end; v++) {
            n = MIN(k->lanes, layer->n_out - v * k->lanes);
            to = stripe_of(k, layer, layer->tie_gradient, v);
            k->fill_rows(layer->n_in, layer->in_place ? n : k->lanes, NULL, to, ld);
            for (t = 0; t < run->n_ties; t++) {
                tie = run->ties + t;
                if (tie->i != i && tie->j != i)
                    continue;
                other = run->layers + (tie->i == i ? tie->j : tie->i);
                strength = tie->strength / S;
                squares = k->tie(layer->n_in, n, strength, stripe_of(k, layer, layer->packed, v), ld,
                                 stripe_of(k, other, other->packed, v), other->in_place ? other->n_out : k->lanes, to, ld);
                if (tie->i == i)
                    run->tie_penalties[tie->slot + v] = strength / 2 * squares;
            }
        }
    }
}

/* G of stripes v0..v1 and rows begin..begin+size = what ties add to it. */
static void begin_with_ties(const Kernels *k, Layer *layer, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t begin, ptrdiff_t size, char *g,
                            ptrdiff_t stripe)
{
    ptrdiff_t v, row = (layer->in_place ? layer->n_out : k->lanes) * k->itemsize;
    for (v = v0; v < (layer->in_place ? v0 + 1 : v1); v++)
        memcpy(g + (v - v0) * stripe * k->itemsize, stripe_of(k, layer, layer->tie_gradient, v) + begin * row, size * row);
}

/* The update with what pulls this layer's weights towards 0, which nothing does to centres. */
static Update update_of(const Update *update, Layer *layer, double S)
{
    Update u = update[0];
    u.l1 = layer->l1 / S;
    u.l2 = layer->l2 / S;
    if (layer->radial)
        u.l1 = u.l2 = u.decay = 0;
    return u;
}

/* Gradients and updates of this member's weights: its columns of the layers shared by columns, and of the panels of all others
 * its share by the number of weights. */
void update_my_weights(Part *part, const Update *update, double S, int accumulate)
{
    Run *run = part->run;
    Layer *layer;
    Update u;
    Range mine;
    ptrdiff_t v0, end, p, p0, p1, total = 0, before = 0;
    int i, half;
    for (i = 0; i < run->n_by_columns; i++) {
        layer = run->layers + i;
        if (update != NULL)
            u = update_of(update, layer, S);
        for (half = 0; half < (halved(layer) ? 2 : 1); half++) {
            mine = columns_of(part, layer, half);
            p0 = half ? layer->half / layer->panel : 0;
            p1 = halved(layer) && !half ? layer->half / layer->panel : layer->n_panels;
            end = mine.begin;
            while (end < mine.end) {
                v0 = end;
                end = MIN(end + layer->group, mine.end);
                update_weights(part, update != NULL ? &u : NULL, layer, v0, end, p0, p1, accumulate);
            }
        }
    }
    for (i = run->n_by_columns; i < run->n_layers; i++)
        total += run->layers[i].n_in * run->layers[i].vectors;
    for (i = run->n_by_columns; i < run->n_layers; i++) {
        layer = run->layers + i;
        if (update != NULL)
            u = update_of(update, layer, S);
        end = 0;
        while (end < layer->vectors) {
            v0 = end;
            end = MIN(end + layer->group, layer->vectors);
            p0 = layer->n_panels;
            p1 = 0;
            for (p = 0; p < layer->n_panels; p++) {
                if (before * part->n_members / total == part->member) {
                    p0 = MIN(p0, p);
                    p1 = p + 1;
                }
                before += MIN(layer->panel, layer->n_in - p * layer->panel) * (end - v0);
            }
            if (p0 < p1)
                update_weights(part, update != NULL ? &u : NULL, layer, v0, end, p0, p1, accumulate);
        }
    }
}

/* Max-norm: this member's stripes of the layers that have it, whole columns, once all updates are made. */
void bound_columns(Part *part)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    Layer *layer;
    Range mine;
    ptrdiff_t v;
    int i;
    barrier(part);
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        if (layer->max_norm == 0)
            continue;
        mine = share(layer->vectors, part->member, part->n_members);
        for (v = mine.begin; v < mine.end; v++) {
            if (layer->in_place) {
                k->bound_columns(layer->n_in, MIN(k->lanes, layer->n_out - v * k->lanes),
                                 layer->packed + v * k->lanes * k->itemsize, layer->n_out, layer->max_norm);
            } else if (k->bound_columns(layer->n_in, k->lanes, layer->packed + v * layer->n_in * k->lanes * k->itemsize, k->lanes,
                                        layer->max_norm) &&
                       layer->wt != NULL) {
                update_transpose(k, layer, v, 0, layer->n_in);
            }
        }
    }
    barrier(part);
}

/* This member's weights' gradients over the rows at hand, added to those of the rows before; these are all if `last`. */
void gather_gradients(Part *part, const Update *update, double S, int last)
{
    int many = part->unfolded > 0;
    part->unfolded += part->rows;
    part->folding = part->run->folds && (last || part->unfolded >= FOLDED_ROWS);
    part->last_fold = last;
    update_my_weights(part, update, S, many);
    if (part->folding) {
        part->folding = part->first_fold = 0;
        part->unfolded = 0;
    }
}

/* The norm of a vector of whose parts these are the norms; their squares may overflow. */
static double norm_of(const double *norms, ptrdiff_t n)
{
    double largest = 0, squares = 0;
    ptrdiff_t i;
    for (i = 0; i < n; i++)
        if (!(norms[i] <= largest)) /* or NaN */
            largest = norms[i];
    if (!(0 < largest && largest < INFINITY))
        return largest;
    for (i = 0; i < n; i++)
        squares += norms[i] / largest * (norms[i] / largest);
    return largest * sqrt(squares);
}

/* What to multiply a gradient of this norm by, so that its norm is `most` at most. */
static double clipping(double norm, double most)
{
    return norm > most ? most / norm : 1;
}

/* What to multiply the whole gradient by: all members find the norms of their weights' part, and each adds all of them. */
double clip_norm(Part *part, const Update *update, double S)
{
    Run *run = part->run;
    part->measuring = 1;
    update_my_weights(part, update, S, 0);
    part->measuring = 0;
    barrier(part);
    return clipping(norm_of(run->norms, run->n_norms), run->settings.clip_norm);
}

/* Stripes v0..v1 of the layer's weights and biases between the flat vector and the packed form. */
void move_parameters(Run *run, Layer *layer, char *flat, char *packed, int out, ptrdiff_t v0, ptrdiff_t v1)
{
    const Kernels *k = run->k;
    ptrdiff_t stripe = layer->n_in * k->lanes, n = MIN(v1 * k->lanes, layer->n_out) - v0 * k->lanes;
    char *w = flat + (layer->w + v0 * k->lanes) * k->itemsize;
    char *b = flat + (layer->b + v0 * k->lanes) * k->itemsize;
    char *packed_b = packed + (layer->vectors * stripe + v0 * k->lanes) * k->itemsize;
    packed += v0 * stripe * k->itemsize;
    if (out) {
        k->unpack(layer->n_in, n, packed, stripe, w, layer->n_out);
        k->unpack(1, n, packed_b, k->lanes, b, layer->n_out);
    } else {
        k->pack(layer->n_in, n, w, layer->n_out, packed, stripe);
        k->pack(1, n, b, layer->n_out, packed_b, k->lanes);
    }
}

/* This member's share of parameters and optimizer state to the workspace, or of what the run has changed back to the flat
 * vectors. */
void move_shares(Run *run, int member, int n_members, int out)
{
    const Kernels *k = run->k;
    Layer *layer;
    Range mine;
    ptrdiff_t v, square = k->lanes * k->lanes * k->itemsize, last;
    int i, j;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        mine = share(layer->vectors, member, n_members);
        if (mine.begin == mine.end || layer->in_place)
            continue;
        if (out && run->gradient != NULL)
            move_parameters(run, layer, run->gradient, layer->g, 1, mine.begin, mine.end);
        if (out && run->mode != TRAIN)
            continue;
        move_parameters(run, layer, run->parameters, layer->packed, out, mine.begin, mine.end);
        for (j = 0; j < MAX_STATES; j++)
            if (layer->state[j] != NULL)
                move_parameters(run, layer, run->state[j], layer->state[j], out, mine.begin, mine.end);
        if (!out && layer->wt != NULL) {
            last = (layer->n_in - 1) / k->lanes * layer->vectors;
            for (v = mine.begin; v < mine.end; v++) {
                memset(layer->wt + (last + v) * square, 0, square); /* it is not filled by what follows */
                update_transpose(k, layer, v, 0, layer->n_in);
            }
        }
    }
}

double update_flat(Run *run, double eta, int64_t t)
{
    const Kernels *k = run->k;
    const int squared = state_of_squares(run->settings.rule) >= 0;
    Update u = step_of(&run->settings, eta, t);
    const double decay = u.decay;
    double norms[2] = {0, 0}, penalty = 0;
    char *states[MAX_STATES];
    for (int measuring = run->settings.clip_norm > 0 || squared; measuring >= 0; measuring--) {
        for (int i = 0; i < 2 * run->n_layers; i++) {
            const Layer *layer = run->layers + i / 2;
            const int biases = i % 2;
            const size_t offset = (biases ? layer->b : layer->w) * k->itemsize;
            const ptrdiff_t n = biases ? layer->n_out : layer->n_in * layer->n_out;
            u.l1 = biases ? 0 : layer->l1;
            u.l2 = biases ? 0 : layer->l2;
            u.decay = biases || layer->radial ? 0 : decay;
            if (measuring) {
                norms[1] = k->norm(&u, n, run->parameters + offset, run->gradient + offset);
                norms[0] = norm_of(norms, 2);
            } else {
                states_at(run->state, offset, states);
                k->update(&u, n, run->parameters + offset, run->gradient + offset, (void **)states, &penalty);
            }
        }
        if (measuring && run->settings.clip_norm > 0)
            u.scale = clipping(norms[0], run->settings.clip_norm);
        if (measuring && squared && run->settings.clip_value == 0 &&
            !(norms[0] * u.scale < (k->itemsize == 4 ? 0x1p64 : 0x1p512)))
            return norms[0];
    }
    for (int i = 0; i < run->n_layers; i++) {
        const Layer *layer = run->layers + i;
        for (ptrdiff_t n = 0; layer->max_norm > 0 && n < layer->n_out; n += k->lanes)
            k->bound_columns(layer->n_in, MIN(k->lanes, layer->n_out - n), run->parameters + (layer->w + n) * k->itemsize,
                             layer->n_out, layer->max_norm);
    }
    return 0;
}
