/* Gradients of the weights, and the optimizer's steps with them. */
#include "run.h"

#include <string.h>

/* What the parameters of step t have in their average: of the n-th that is averaged 9 / (10 + n) at least. */
static double share_of(const Run *run, int64_t t)
{
    const double n = (double)(t - run->first_averaged + 1);
    return run->state[AVERAGE] == NULL ? 0 : MAX(1 - run->average_decay, 9 / (10 + n));
}

/* The update of step t (from 1) at learning rate eta, but for penalties, which are the layers' own. */
Update step_of(const Run *run, double eta, int64_t t)
{
    Update u;
    const Settings *settings = &run->settings;
    const int corrected = settings->rule == ADAM || settings->rule == ADAMW;
    const double root = corrected ? sqrt(1 - pow(settings->beta_2, (double)t)) : 1;
    memset(&u, 0, sizeof(Update));
    u.rule = settings->rule;
    u.momentum = settings->momentum;
    u.beta_1 = settings->beta_1;
    u.beta_2 = settings->beta_2;
    u.epsilon = settings->epsilon;
    u.learning_rate = eta;
    u.decay = eta * settings->weight_decay;
    u.scale = 1;
    u.average = share_of(run, t);
    u.clip = settings->clip_value > 0 ? settings->clip_value : INFINITY;
    if (u.rule == MOMENTUM && t > 1)
        u.learning_rate *= 1 - settings->dampening;
    if (u.rule == ADAMW) /* epsilon is to stand beside sqrt(v / (1 - beta_2^t)) */
        u.epsilon *= root;
    if (settings->proximal)
        u.proximal = corrected ? eta * root : u.learning_rate;
    if (corrected)
        u.learning_rate *= root / (1 - pow(u.beta_1, (double)t));
    return u;
}

/* ---- a part of some weights ------------------------------------------------------------------------------------------------ */

/* The updates of W and of b: their roles say how fast they learn, and what pulls them towards 0. Of what is to be bounded there is no
 * average yet. */
void updates_of(const Run *run, const Update *update, const Weights *w, double S, Update *updates)
{
    for (int biases = 0; biases < 2; biases++) {
        Update *u = updates + biases;
        const Role role = role_of(w, biases);
        const double factor = run->settings.per_role[role];
        const int pulled = role == ROLE_WEIGHT;
        *u = *update;
        u->rule = factor == 0 ? NO_RULE : u->rule;
        u->learning_rate *= factor;
        u->proximal *= factor;
        u->decay = pulled ? u->decay * factor : 0;
        u->l1 = pulled ? w->l1 / S : 0;
        u->l2 = pulled ? w->l2 / S : 0;
        u->average = biases || w->max_norm == 0 ? u->average : 0;
    }
}

/* Whether max-norm bounds columns of W, which only weights that change have. */
static int is_bounded(const Run *run, const Weights *w)
{
    return w->max_norm > 0 && run->settings.per_role[w->role] > 0;
}

/* Whether n elements of W and b are to be put back; before SAM goes up the gradient they are kept. */
static int keeps_or_restores(Part *part, Weights *w, size_t offset, ptrdiff_t n)
{
    const size_t size = n * part->run->k->itemsize;
    if (part->ascending)
        memcpy(w->start + offset, w->packed + offset, size);
    if (part->restoring)
        memcpy(w->packed + offset, w->start + offset, size);
    return part->restoring;
}

/* The rule's step for n elements. */
static void make_step(Part *part, const Update *update, ptrdiff_t n, void *w, const void *g, char **states, double *penalty)
{
    Run *run = part->run;
    if (!run->k->update(update, n, w, g, (void **)states, penalty) && !__atomic_load_n(&run->large_states, __ATOMIC_RELAXED))
        __atomic_store_n(&run->large_states, 1, __ATOMIC_RELAXED);
}

/* Sums of the columns of delta, of all uses of b, and the optimizer's step with them. */
static void update_biases(Part *part, const Update *update, Weights *w, ptrdiff_t v0, ptrdiff_t v1, int accumulate)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const ptrdiff_t n = MIN(v1 * k->lanes, w->width) - v0 * k->lanes;
    const size_t offset = (w->n_in * w->width + v0 * k->lanes) * k->itemsize;
    char *g = w->g != NULL ? w->g + offset : part->scratch;
    char *states[MAX_STATES];
    double none = 0;
    if (!w->has_bias) {
        for (ptrdiff_t v = v0; part->measuring && v < v1; v++)
            run->norms[w->first_bias_norm + v] = 0;
        return;
    }
    for (int i = part->rows ? w->first_bias_use : -1; i >= 0; i = run->forward[i].next_bias_use) {
        const Value *z = part->values + run->forward[i].output;
        const size_t at = (part->row * z->ld + v0 * k->lanes) * k->itemsize;
        if (run->forward[i].kind == OP_GROUP_NORM)
            add_row_norm_gradient(part, run->forward + i, 1, v0 * k->lanes, n, accumulate, g);
        else
            k->column_sums(part->rows, n, z->d[part->side] + at, z->radial ? z->slope[part->side] + at : NULL, z->ld, accumulate, g);
        accumulate = 1;
    }
    if (part->folding)
        k->fold(n, g, w->sum + offset, w->error + offset, part->first_fold, part->last_fold);
    if (update == NULL)
        return;
    if (part->measuring) {
        for (ptrdiff_t v = v0; v < v1; v++) {
            const ptrdiff_t at = (v - v0) * k->lanes;
            run->norms[w->first_bias_norm + v] =
                k->norm(update, MIN(k->lanes, n - at), w->packed + offset + at * k->itemsize, g + at * k->itemsize);
        }
        return;
    }
    if (keeps_or_restores(part, w, offset, n))
        return;
    states_at(w->state, offset, states);
    make_step(part, update, n, w->packed + offset, g, states, &none);
}

/* A use of W by an op forward: G = H^T D, of a transposed one G = D^T H; of radial basis functions C diag(sums) is subtracted; of
 * a scale G is the column sums of D * H, or of D * min(0, H); of a sparse layer D is transposed, and G the products of its rows and
 * those of H^T. */
typedef struct {
    const Op *op;
    Stripes right; /* D, or H */
    char *sums;
} Use;

/* The columns of what G is multiplied from on the right, and their sums where they are needed; scratch may be used up to what is
 * returned. Where many products read D its rows are put next to each other. */
static char *prepare_use(Part *part, const Weights *w, Use *use, ptrdiff_t v0, ptrdiff_t n, char *scratch)
{
    const Kernels *k = part->run->k;
    const int transposed = use->op->kind == OP_TRANSPOSED;
    const Value *right = part->values + (transposed ? use->op->input : use->op->output);
    const ptrdiff_t rows = part->rows;
    char *at = transposed ? right->a[part->side] : right->d[part->side];
    use->right = (Stripes){at + (part->row * right->ld + use->op->column + v0 * k->lanes) * k->itemsize, right->ld, k->lanes, 0};
    use->sums = NULL;
    if (use->op->kind == OP_RBF) {
        use->sums = scratch;
        k->column_sums(rows, n, use->right.at, NULL, right->ld, 0, use->sums);
        scratch += n * k->itemsize;
    }
    if (use->op->kind == OP_SPARSE) {
        const ptrdiff_t ldt = part->run->ld_transposed;
        transpose_rows(k, rows, MIN(n, w->n_out - v0 * k->lanes), use->right.at, right->ld, scratch, ldt);
        use->right = (Stripes){scratch, ldt, 0, 0};
        return scratch + whole_vectors(k, n) * ldt * k->itemsize;
    }
    if (rows >= 32 && w->n_in >= 256 && !w->row_major && w->n_uses == 1 && use->op->kind != OP_EMBED) {
        k->pack(rows, n, use->right.at, right->ld, scratch, rows * k->lanes);
        use->right = (Stripes){scratch, k->lanes, rows * k->lanes, 0};
        scratch += rows * n * k->itemsize;
    }
    return scratch;
}

/* What a use of a table adds: to each of these rows, the rows of D in which X names it. */
static void add_embedded(Part *part, const Weights *w, const Use *use, ptrdiff_t begin, ptrdiff_t size, ptrdiff_t v0, ptrdiff_t n,
                         int accumulate, Stripes g)
{
    const Kernels *k = part->run->k;
    for (ptrdiff_t j = 0; !accumulate && j < n; j += k->lanes)
        k->fill_rows(size, MIN(n - j, k->lanes), NULL, (char *)g.at + j / k->lanes * g.stripe * k->itemsize, g.ld);
    k->embed_gradient(size, MIN(n, w->n_out - v0 * k->lanes), w->n_in, begin, part->rows,
                      rows_of(part, use->op->input) + part->row, use->op->source, use->right.at, use->right.ld, &g);
}

/* G (some rows of W from `begin` on, n columns) (=|+=) what a use of W adds. */
static void add_use(Part *part, const Weights *w, const Use *use, ptrdiff_t begin, ptrdiff_t size, ptrdiff_t v0, ptrdiff_t n,
                    int accumulate, Stripes g)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const Op *op = use->op;
    const ptrdiff_t there = MIN(n, w->n_out - v0 * k->lanes); /* columns; others fill up the last stripe */
    if (op->kind == OP_EMBED) {
        add_embedded(part, w, use, begin, size, v0, n, accumulate, g);
        return;
    }
    if (op->kind == OP_WEIGHT_NORM) {
        add_norm_gradient(part, op, v0 * k->lanes, there, accumulate, g.at);
    } else if (op->kind == OP_SPARSE) {
        k->sparse_gradient(part->rows, &w->connections, begin, size, v0 * k->lanes, n,
                           part->values[op->input].ht[part->side] + part->row * k->itemsize, run->ld_transposed, use->right.at,
                           use->right.ld, accumulate, &g);
    } else if (op->kind == OP_GROUP_NORM) {
        add_row_norm_gradient(part, op, 0, v0 * k->lanes, there, accumulate, g.at);
    } else if (w->role == ROLE_SCALE) {
        const Value *h = part->values + op->input; /* as wide as D, whose rows lie as far apart */
        (op->kind == OP_PRELU ? k->prelu_sums : k->column_sums)(
            part->rows, there, use->right.at, h->a[part->side] + (part->row * h->ld + v0 * k->lanes) * k->itemsize, h->ld, accumulate,
            g.at);
    } else if (op->input == 0 && run->x_as_nonzeros && op->kind != OP_TRANSPOSED) {
        k->nonzeros_matmul(size, n, part->rows, &part->transposed, begin, &use->right, NULL, accumulate, &g);
    } else {
        char **const ht = part->values[op->input].ht_rows[part->side];
        char **rows = op->kind == OP_TRANSPOSED ? part->values[op->output].d_rows[part->side] : rows_of(part, op->input);
        const int by_rows = op->kind != OP_TRANSPOSED && ht != NULL;
        const Rows left = {by_rows ? ht + begin : rows + part->row, by_rows ? part->row : begin, by_rows ? ROWS : COLUMNS};
        k->matmul(size, n, part->rows, &left, &use->right, NULL, accumulate, &g);
    }
    if ((op->kind == OP_TRANSPOSED || w->role == ROLE_SCALE) && there < n) /* where H may have f(0), or anything */
        k->fill_rows(size, n - there, NULL, (char *)g.at + (there / k->lanes * g.stripe + there % k->lanes) * k->itemsize, g.ld);
    if (op->kind == OP_RBF)
        k->rbf_centres(size, n, w->packed + (v0 * w->n_in + begin) * k->lanes * k->itemsize, w->n_in * k->lanes, use->sums, g.at,
                       g.stripe);
}

/* Stripe v of what lies as W does. */
static inline char *stripe_at(const Kernels *k, const Weights *w, char *at, ptrdiff_t v)
{
    return at + v * k->lanes * (w->row_major ? 1 : w->n_in) * k->itemsize;
}

/* G of stripes v0..v1 and rows begin..begin+size = what ties add to it. */
static void begin_with_ties(const Kernels *k, const Weights *w, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t begin, ptrdiff_t size, Stripes g)
{
    const ptrdiff_t row = (w->row_major ? w->n_out : k->lanes) * k->itemsize;
    for (ptrdiff_t v = v0; v < (w->row_major ? v0 + 1 : v1); v++)
        memcpy((char *)g.at + (v - v0) * g.stripe * k->itemsize, stripe_at(k, w, w->tie_gradient, v) + begin * row, size * row);
}

/* The optimizer's step with G of a panel, or what comes before it: the mask, folding, the norm. */
static void step_panel(Part *part, const Update *update, Weights *w, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t panel, Stripes g)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const ptrdiff_t begin = panel * w->panel, size = MIN(w->panel, w->n_in - begin);
    const ptrdiff_t count = size * (w->row_major ? w->n_out : k->lanes);
    char *states[MAX_STATES];
    for (ptrdiff_t v = v0; v < (w->row_major ? v0 + 1 : v1); v++) {
        const size_t offset = (w->row_major ? begin * w->n_out : (v * w->n_in + begin) * k->lanes) * k->itemsize;
        const ptrdiff_t place = w->first_penalty + v * w->n_panels + panel;
        char *from = (char *)g.at + (v - v0) * g.stripe * k->itemsize;
        if (w->mask != NULL)
            k->zero_masked(count, w->mask + offset, from);
        if (part->folding)
            k->fold(count, w->g + offset, w->sum + offset, w->error + offset, part->first_fold, part->last_fold);
        if (update == NULL)
            continue;
        if (part->measuring) {
            run->norms[place] = k->norm(update, count, w->packed + offset, from);
            continue;
        }
        if (keeps_or_restores(part, w, offset, count))
            continue;
        run->penalties[place] = 0;
        states_at(w->state, offset, states);
        make_step(part, update, count, w->packed + offset, from, states, run->penalties + place);
        if (w->wt != NULL && !w->row_major)
            update_transpose(k, w, v, begin, size);
    }
}

/* G for stripes v0..v1 and panels p0..p1 of W over the chunk's rows from part->row on (unless there are none), and the optimizer's
 * step with it (unless `updates`, of W and of b, is NULL), a panel at a time. */
static void update_part(Part *part, const Update *updates, Weights *w, ptrdiff_t v0, ptrdiff_t v1, ptrdiff_t p0, ptrdiff_t p1,
                        int accumulate)
{
    const Run *run = part->run;
    const Kernels *k = run->k;
    const ptrdiff_t lanes = k->lanes, n = MIN(v1 * lanes, w->width) - v0 * lanes, rows = part->rows;
    const int ties = w->tie_gradient != NULL && rows && part->first + part->row == part->start;
    char *scratch = part->scratch;
    Use use = {.op = NULL};
    if (p0 == 0)
        update_biases(part, updates != NULL ? updates + 1 : NULL, w, v0, v1, accumulate);
    if (rows && w->n_uses == 1) {
        use.op = run->forward + w->first_use;
        scratch = prepare_use(part, w, &use, v0, n, scratch);
    }
    if (w->row_major && run->sparse && rows) /* of all members only this one needs these rows of X^T */
        k->transpose_nonzeros(rows, &part->nonzeros, part->row, p0 * w->panel, MIN(p1 * w->panel, w->n_in), &part->transposed);
    for (ptrdiff_t j = 0; j < p1 - p0; j++) {
        const ptrdiff_t panel = p0 + nth(j, p1 - p0);
        const ptrdiff_t begin = panel * w->panel, size = MIN(w->panel, w->n_in - begin);
        const ptrdiff_t at = w->row_major ? begin * n : (v0 * w->n_in + begin) * lanes;
        Stripes g = {w->g == NULL ? scratch : w->g + at * k->itemsize, w->row_major ? n : lanes, lanes, 0};
        if (!w->row_major)
            g.stripe = (w->g == NULL ? size : w->n_in) * lanes;
        if (ties)
            begin_with_ties(k, w, v0, v1, begin, size, g);
        int there = accumulate || ties;
        for (int i = rows ? w->first_use : -1; i >= 0; i = run->forward[i].next_use) {
            if (w->n_uses > 1) {
                use.op = run->forward + i;
                prepare_use(part, w, &use, v0, n, scratch + size * n * k->itemsize);
            }
            add_use(part, w, &use, begin, size, v0, n, there, g);
            there = 1;
        }
        for (int i = rows && part->row == 0 ? w->first_norm : -1; i >= 0; i = run->forward[i].next_norm)
            add_norm_term(part, run->forward + i, w, begin, size, v0, n, &g);
        step_panel(part, updates, w, v0, v1, panel, g);
    }
}

/* ---- a member's part of all weights ---------------------------------------------------------------------------------------- */

/* This member's columns, in groups of stripes; of halved weights also of the second half of their rows. */
static void update_columns(Part *part, const Update *updates, Weights *w, int accumulate)
{
    const int halved = is_halved(w);
    for (int second = 0; second < 1 + halved; second++) {
        const Range mine = stripes_of(part, w->vectors, halved, second);
        const ptrdiff_t p0 = second ? w->half / w->panel : 0, p1 = halved && !second ? w->half / w->panel : w->n_panels;
        const ptrdiff_t groups = (mine.end - mine.begin + w->group - 1) / w->group;
        for (ptrdiff_t i = 0; i < groups; i++) {
            const ptrdiff_t v = mine.begin + nth(i, groups) * w->group;
            update_part(part, updates, w, v, MIN(v + w->group, mine.end), p0, p1, accumulate);
        }
    }
}

/* What panels p0..p1 of a stripe take, in rows of W whose gradient is a product. That of a table takes a pass over the rows of D;
 * else it is the update alone, a small part of what a product is. */
static ptrdiff_t work_of(const Run *run, const Weights *w, ptrdiff_t p0, ptrdiff_t p1)
{
    const ptrdiff_t rows = MIN(p1 * w->panel, w->n_in) - p0 * w->panel;
    return is_table(run, w) ? 4 * (p1 - p0) + rows / 16 : rows + (w->n_in == 0);
}

/* Gradients and updates of this member's weights of a section: its columns of those shared by columns, and of the panels of all
 * others its share by the number of weights. */
static void update_section(Part *part, const Update *update, int accumulate)
{
    Run *run = part->run;
    Update both[2], *updates = update != NULL ? both : NULL;
    ptrdiff_t total = 0, before = 0;
    for (int i = 0; i < run->n_weight_sets; i++)
        if (run->weights[i].section == part->section && !run->weights[i].by_columns && !run->weights[i].sparse_update)
            total += work_of(run, run->weights + i, 0, run->weights[i].n_panels) * run->weights[i].vectors;
    const Range mine = share(total, part->member, part->n_members);
    for (int i = 0; i < run->n_weight_sets; i++) {
        Weights *w = run->weights + i;
        if (w->section != part->section)
            continue;
        if (part->ascending) /* with all parameters alike */
            updates[0] = updates[1] = *update;
        else if (update != NULL)
            updates_of(run, update, w, part->penalty_scale, updates);
        if (w->by_columns) {
            update_columns(part, updates, w, accumulate);
            continue;
        }
        if (w->sparse_update) {
            if (part->member == i % part->n_members)
                update_biases(part, updates + 1, w, 0, w->vectors, accumulate);
            update_touched_rows(part, updates, w);
            continue;
        }
        for (ptrdiff_t v = 0; v < w->vectors; v += w->group) {
            const ptrdiff_t end = MIN(v + w->group, w->vectors);
            ptrdiff_t p0 = w->n_panels, p1 = 0;
            for (ptrdiff_t p = 0; p < w->n_panels; p++) {
                if (mine.begin <= before && before < mine.end) {
                    p0 = MIN(p0, p);
                    p1 = p + 1;
                }
                before += work_of(run, w, p, p + 1) * (end - v);
            }
            if (p0 < p1)
                update_part(part, updates, w, v, end, p0, p1, accumulate);
        }
    }
}

void update_weights(Part *part, const Update *update)
{
    const Run *run = part->run;
    for (part->section = -1; part->section < (recomputes(run) ? run->n_sections : 0); part->section++)
        update_section(part, update, 0);
}

void update_rows(Part *part)
{
    const int more = part->unfolded > 0;
    part->unfolded += part->rows;
    part->folding = part->run->folds && (part->last || part->unfolded >= FOLDED_ROWS);
    part->last_fold = part->last;
    update_section(part, part->update, more);
    if (part->folding) {
        part->folding = part->first_fold = 0;
        part->unfolded = 0;
    }
}

/* The same over all rows of the chunk, in windows: there is more than one where batch normalisation makes a chunk of a large batch. */
void run_update(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)row;
    const int last = part->last, first_fold = part->first_fold;
    const ptrdiff_t unfolded = part->unfolded;
    part->section = op->section;
    for (; part->row < m && !(part->row > 0 && interrupted(part->run, part->member)); part->row += part->rows) {
        part->rows = MIN(part->run->window, m - part->row);
        part->last = last && part->row + part->rows == m;
        update_rows(part);
    }
    part->row = 0;
    part->rows = m;
    part->last = last;
    if (part->section >= 0) { /* others follow, of the same rows */
        part->unfolded = unfolded;
        part->first_fold = first_fold;
    }
}

/* What ties add to the gradients, and their penalties: this member's stripes, while no weight changes. Once a batch. */
void run_ties(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)op, (void)row, (void)m;
    Run *run = part->run;
    const Kernels *k = run->k;
    for (int i = 0; i < run->n_weight_sets && part->first == part->start; i++) {
        Weights *w = run->weights + i;
        if (w->tie_gradient == NULL)
            continue;
        const ptrdiff_t ld = w->row_major ? w->n_out : k->lanes;
        const Range mine = share(w->vectors, part->member, part->n_members);
        for (ptrdiff_t v = mine.begin; v < mine.end; v++) {
            const ptrdiff_t n = MIN(k->lanes, w->n_out - v * k->lanes);
            char *to = stripe_at(k, w, w->tie_gradient, v);
            k->fill_rows(w->n_in, w->row_major ? n : k->lanes, NULL, to, ld);
            for (const Tie *tie = run->ties; tie < run->ties + run->n_ties; tie++) {
                if (tie->i != i && tie->j != i)
                    continue;
                const Weights *other = run->weights + (tie->i == i ? tie->j : tie->i);
                const double strength = tie->strength / part->penalty_scale;
                const double squares =
                    k->tie(w->n_in, n, strength, stripe_at(k, w, w->packed, v), ld, stripe_at(k, other, other->packed, v),
                           other->row_major ? other->n_out : k->lanes, to, ld);
                if (tie->i == i)
                    run->tie_penalties[tie->first_penalty + v] = strength / 2 * squares;
            }
        }
    }
}

/* This stripe of W, whole columns, into its average. */
static void average_stripe(const Kernels *k, const Weights *w, double share, ptrdiff_t v)
{
    const ptrdiff_t n = w->row_major ? MIN(k->lanes, w->n_out - v * k->lanes) : w->n_in * k->lanes;
    const size_t row = w->n_out * k->itemsize;
    const char *from = stripe_at(k, w, w->packed, v);
    char *to = stripe_at(k, w, w->state[AVERAGE], v);
    for (ptrdiff_t i = 0; i < (w->row_major ? w->n_in : 1); i++)
        k->average(share, n, from + i * row, to + i * row);
}

/* Max-norm: this member's stripes of the weights that have it, whole columns, once all updates are made. */
void bound_columns(Part *part, const Update *update)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    barrier(part);
    for (int i = 0; i < run->n_weight_sets; i++) {
        Weights *w = run->weights + i;
        if (!is_bounded(run, w))
            continue;
        const Range mine = share(w->vectors, part->member, part->n_members);
        for (ptrdiff_t v = mine.begin; v < mine.end; v++) {
            const ptrdiff_t n = w->row_major ? MIN(k->lanes, w->n_out - v * k->lanes) : k->lanes;
            const int bounded = k->bound_columns(w->n_in, n, stripe_at(k, w, w->packed, v), w->row_major ? w->n_out : k->lanes,
                                                 w->max_norm);
            if (bounded && w->wt != NULL && !w->row_major)
                update_transpose(k, w, v, 0, w->n_in);
            if (update->average != 0)
                average_stripe(k, w, update->average, v);
        }
    }
    barrier(part);
}

/* ---- the norm of the gradient, and updates of flat arrays -------------------------------------------------------------------- */

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

/* The norm of the whole gradient: all members find those of their weights' part, and each adds all of them. */
static double gradient_norm(Part *part, const Update *update)
{
    part->measuring = 1;
    update_weights(part, update);
    part->measuring = 0;
    barrier(part);
    return norm_of(part->run->norms, part->run->n_norms);
}

double clip_norm(Part *part, const Update *update)
{
    return clipping(gradient_norm(part, update), part->run->settings.clip_norm);
}

void ascend(Part *part)
{
    Update up = {.rule = GRADIENT_DESCENT, .scale = 1, .clip = INFINITY};
    part->ascending = 1;
    up.learning_rate = -part->run->settings.radius / (gradient_norm(part, &up) + 1e-12);
    update_weights(part, &up);
    part->ascending = 0;
    part->ascended = 1;
    if (part->run->end_barrier)
        barrier(part);
}

void descend(Part *part)
{
    const Update none = {.rule = NO_RULE};
    part->rows = 0;
    part->restoring = 1;
    update_weights(part, &none);
    part->restoring = part->ascended = 0;
}

/* Whether all that a gradient with its penalties is made of is so small that its norm need not be taken to know that its squares are
 * finite. */
static int has_small_gradient(const Run *run)
{
    int small = 1;
    for (const Weights *w = run->weights; w < run->weights + run->n_weight_sets && small; w++) {
        const ptrdiff_t n = (w->n_in + w->has_bias) * w->n_out;
        const size_t offset = w->offset * run->k->itemsize;
        small = MAX(w->l1, w->l2) <= 1 && run->k->all_below(n, run->gradient + offset, 0x1p30) &&
                (MAX(w->l1, w->l2) == 0 || run->k->all_below(n, run->parameters + offset, 0x1p30));
    }
    return small;
}

static double update_all(Run *run, double eta, int64_t t)
{
    const Kernels *k = run->k;
    const int bounds = state_of_squares(run->settings.rule) >= 0 && run->settings.clip_value == 0 && !has_small_gradient(run);
    Update update = step_of(run, eta, t), updates[2];
    double norms[2] = {0, 0}, penalty = 0;
    char *states[MAX_STATES];
    for (int measuring = run->settings.clip_norm > 0 || bounds; measuring >= 0; measuring--) {
        for (int i = 0; i < 2 * run->n_weight_sets; i++) {
            const Weights *w = run->weights + i / 2;
            const int biases = i % 2;
            const Update *u = updates + biases;
            const size_t offset = (w->offset + biases * w->n_in * w->n_out) * k->itemsize;
            const ptrdiff_t n = biases ? w->has_bias * w->n_out : w->n_in * w->n_out;
            updates_of(run, &update, w, 1, updates);
            if (measuring) {
                norms[1] = k->norm(u, n, run->parameters + offset, run->gradient + offset);
                norms[0] = norm_of(norms, 2);
            } else {
                states_at(run->state, offset, states);
                k->update(u, n, run->parameters + offset, run->gradient + offset, (void **)states, &penalty);
            }
        }
        if (measuring && run->settings.clip_norm > 0)
            update.scale = clipping(norms[0], run->settings.clip_norm);
        if (measuring && bounds && !(norms[0] * update.scale < (k->itemsize == 4 ? 0x1p64 : 0x1p512)))
            return norms[0];
    }
    for (int i = 0; i < run->n_weight_sets; i++) {
        const Weights *w = run->weights + i;
        for (ptrdiff_t n = 0; is_bounded(run, w) && n < w->n_out; n += k->lanes)
            k->bound_columns(w->n_in, MIN(k->lanes, w->n_out - n), run->parameters + (w->offset + n) * k->itemsize, w->n_out,
                             w->max_norm);
    }
    return 0;
}

double update_flat(Run *run, double eta, int64_t t)
{
    const FloatMode mode = flush_subnormals(); /* as in training */
    const double norm = update_all(run, eta, t);
    restore_mode(mode);
    return norm;
}
