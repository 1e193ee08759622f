/* Training a chain of dense layers on batches of few rows: all of a step in one function, with the sums of the kernels that make
 * larger steps, term by term. */

/* ---- forward --------------------------------------------------------------------------------------------------------------- */

/* nv vectors of total = init + h W over a block of the depth, or the sums of `blocks` blocks of it, `depth` rows each but for the
 * last of `last`, side by side: a chain of additions by itself would wait for each of them. */
INLINE void NAME(strip_sums)(const int nv, const int blocks, ptrdiff_t depth, ptrdiff_t last, const REAL *h, const REAL *w,
                             ptrdiff_t stripe, VEC *total, int add)
{
    VEC acc[4][8];
    for (int b = 0; b < blocks; b++)
        for (int v = 0; v < nv; v++)
            acc[b][v] = b == 0 && !add ? total[v] : (VEC){0};
    for (ptrdiff_t p = 0; p < last; p++)
        for (int b = 0; b < blocks; b++)
            for (int v = 0; v < nv; v++)
                acc[b][v] += NAME(load)(w + v * stripe + (b * depth + p) * LANES) * h[b * depth + p];
    for (ptrdiff_t p = last; blocks > 1 && p < depth; p++)
        for (int b = 0; b < blocks - 1; b++)
            for (int v = 0; v < nv; v++)
                acc[b][v] += NAME(load)(w + v * stripe + (b * depth + p) * LANES) * h[b * depth + p];
    for (int v = 0; v < nv; v++) {
        total[v] = add ? acc[0][v] + total[v] : acc[0][v];
        for (int b = 1; b < blocks; b++)
            total[v] = acc[b][v] + total[v];
    }
}

/* nv vectors of total = init + h W over rows of W up to k */
INLINE void NAME(strip)(const int nv, ptrdiff_t k, const REAL *h, const REAL *w, ptrdiff_t stripe, VEC *total)
{
    const ptrdiff_t depth = NAME(block_depth)(k);
    if (depth == k) {
        NAME(strip_sums)(nv, 1, k, k, h, w, stripe, total, 0);
        return;
    }
    for (ptrdiff_t p = 0; p < k;) {
        const ptrdiff_t left = k - p;
        const REAL *from = w + p * LANES;
        if (left > 3 * depth) {
            NAME(strip_sums)(nv, 4, depth, left < 4 * depth ? left - 3 * depth : depth, h + p, from, stripe, total, p > 0);
            p += 4 * depth;
        } else if (left > depth) {
            NAME(strip_sums)(nv, 2, depth, left < 2 * depth ? left - depth : depth, h + p, from, stripe, total, p > 0);
            p += 2 * depth;
        } else {
            NAME(strip_sums)(nv, 1, depth, left, h + p, from, stripe, total, p > 0);
            p += depth;
        }
    }
}

/* nv vectors of Z (1, n) = h W + b, from stripe v of W on */
INLINE void NAME(row_of_sums)(const int nv, const ChainLayer *layer, const REAL *h, ptrdiff_t v, REAL *z)
{
    const ptrdiff_t stripe = layer->n_in * LANES;
    const REAL *w = (const REAL *)layer->w + v * stripe, *b = (const REAL *)layer->b + v * LANES;
    VEC total[8], second[8];
    for (int i = 0; i < nv; i++) {
        total[i] = layer->b ? NAME(load)(b + i * LANES) : (VEC){0};
        second[i] = (VEC){0};
    }
    NAME(strip)(nv, layer->half, h, w, stripe, total);
    if (layer->half < layer->n_in) {
        NAME(strip)(nv, layer->n_in - layer->half, h + layer->half, w + layer->half * LANES, stripe, second);
        for (int i = 0; i < nv; i++)
            total[i] += second[i];
    }
    for (int i = 0; i < nv; i++)
        NAME(store)(z + (v + i) * LANES, total[i]);
}

/* Z (m, 1) = H w + b, in all lanes */
INLINE void NAME(column_of_sums)(ptrdiff_t m, const ChainLayer *layer, const REAL *const *h, const REAL *w, REAL *z)
{
    const ptrdiff_t k = layer->n_in, depth = NAME(block_depth)(k);
    for (ptrdiff_t r = 0; r < m; r++) {
        REAL total = layer->b ? *(const REAL *)layer->b : 0;
        for (ptrdiff_t p = 0, end; p < k; p = end) {
            REAL sum = p ? 0 : total;
            end = k - p < depth ? k : p + depth;
            for (ptrdiff_t i = p; i < end; i++)
                sum = NAME(multiply_add)(w[i], h[r][i], sum);
            total = p ? sum + total : sum;
        }
        NAME(store)(z + r * layer->ld, NAME(broadcast)(total));
    }
}

/* Z (m, n) = H W + b */
INLINE void NAME(chain_product)(ptrdiff_t m, const ChainLayer *layer, const REAL *const *h, REAL *z)
{
    const ptrdiff_t stripe = layer->n_in * LANES, n = layer->vectors * LANES;
    if (layer->column) {
        NAME(column_of_sums)(m, layer, h, layer->column, z);
    } else if (m == 1) {
        ptrdiff_t v = 0;
        for (; v + 8 <= layer->vectors; v += 8)
            NAME(row_of_sums)(8, layer, h[0], v, z);
        for (; v + 4 <= layer->vectors; v += 4)
            NAME(row_of_sums)(4, layer, h[0], v, z);
        for (; v + 2 <= layer->vectors; v += 2)
            NAME(row_of_sums)(2, layer, h[0], v, z);
        if (v < layer->vectors)
            NAME(row_of_sums)(1, layer, h[0], v, z);
    } else {
        const Stripes w = {layer->w, LANES, stripe}, to = {z, layer->ld, LANES};
        const Rows rows = {h, 0, ROWS}, second_rows = {h, layer->half, ROWS};
        NAME(matmul)(m, n, layer->half, &rows, &w, layer->b, 0, &to);
        if (layer->half < layer->n_in) {
            const Stripes second_w = {(REAL *)layer->w + layer->half * LANES, LANES, stripe}, second = {layer->d, layer->ld, LANES};
            NAME(matmul)(m, n, layer->n_in - layer->half, &second_rows, &second_w, NULL, 0, &second);
            NAME(add)(m, n, z, layer->d, layer->ld);
        }
    }
}

/* A = f(Z) */
INLINE void NAME(chain_unit)(ptrdiff_t m, const ChainLayer *layer)
{
    const REAL p = (REAL)layer->parameter;
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t v = 0; v < layer->vectors; v++) {
            REAL *at = (REAL *)layer->a + r * layer->ld + v * LANES;
            VEC slope = {0}, z = NAME(load)(at);
            switch (layer->unit) {
#define UNIT(name, forward, backward) case name: z = NAME(forward##_of)(z, p, &slope); break;
#include "../names.def"
            case N_ACTIVATIONS: break;
            }
            NAME(store)(at, z);
            if (layer->slope)
                NAME(store)((REAL *)layer->slope + r * layer->ld + v * LANES, slope);
        }
    if (layer->unit == SOFTMAX)
        NAME(softmax)(m, layer->n_out, layer->a, layer->ld, 0, NULL);
}

/* D <- D * f'(Z) */
INLINE void NAME(chain_unit_back)(ptrdiff_t m, const ChainLayer *layer)
{
    const REAL p = (REAL)layer->parameter, *from = layer->slope ? layer->slope : layer->a;
    if (layer->unit == SOFTMAX)
        NAME(softmax_derivative)(m, layer->n_out, layer->a, layer->d, layer->ld, 0);
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t v = 0; v < layer->vectors; v++) {
            const ptrdiff_t at = r * layer->ld + v * LANES;
            const VEC a = NAME(load)(from + at);
            VEC d = NAME(load)((REAL *)layer->d + at);
            switch (layer->unit) {
#define UNIT(name, forward, backward) case name: d = NAME(backward##_of)(a, d, p); break;
#include "../names.def"
            case N_ACTIVATIONS: break;
            }
            NAME(store)((REAL *)layer->d + at, d);
        }
}

/* ---- backward -------------------------------------------------------------------------------------------------------------- */

/* t (columns, LANES) <- the transpose of up to LANES rows of a stripe of W, the first columns of it */
INLINE void NAME(transposed_square)(const int columns, ptrdiff_t rows, const REAL *w, REAL *t)
{
    VEC row[LANES];
    for (int r = 0; r < LANES; r++)
        row[r] = r < rows ? NAME(load)(w + r * LANES) : (VEC){0};
    NAME(transpose_square)(row);
    for (int r = 0; r < columns; r++)
        NAME(store)(t + r * LANES, row[r]);
}

/* to (m, LANES) = D (m, n_out) times the transpose of up to LANES rows of W from `row` on, 0 beyond them */
INLINE void NAME(square_back)(const int single, ptrdiff_t m, const ChainLayer *layer, ptrdiff_t row, REAL *to, ptrdiff_t ld)
{
    const ptrdiff_t n = layer->n_out, rows = layer->n_in - row < LANES ? layer->n_in - row : LANES, depth = NAME(block_depth)(n);
    const REAL *d = layer->d, *w = (const REAL *)layer->w + row * LANES;
    REAL t[LANES * LANES];
    VEC sum[ONLINE_ROWS], total[ONLINE_ROWS];
    for (ptrdiff_t r = 0; r < (single ? 1 : m); r++)
        sum[r] = total[r] = (VEC){0};
    for (ptrdiff_t j = 0; j < n; j += LANES, w += layer->n_in * LANES) {
        const ptrdiff_t end = n - j < LANES ? n : j + LANES;
        if (end - j <= 2)
            NAME(transposed_square)(2, rows, w, t);
        else if (end - j <= LANES / 2)
            NAME(transposed_square)(LANES / 2, rows, w, t);
        else
            NAME(transposed_square)(LANES, rows, w, t);
        for (ptrdiff_t r = 0; r < (single ? 1 : m); r++)
            for (ptrdiff_t c = j, stop; c < end; c = stop) {
                const ptrdiff_t block = c / depth * depth + depth;
                stop = end < block ? end : block;
                for (ptrdiff_t i = c; i < stop; i++)
                    sum[r] += NAME(load)(t + (i - j) * LANES) * d[r * layer->ld + i];
                if (stop == block && stop < n) {
                    total[r] = sum[r] + total[r];
                    sum[r] = (VEC){0};
                }
            }
    }
    for (ptrdiff_t r = 0; r < (single ? 1 : m); r++)
        NAME(store)(to + r * ld, depth < n ? sum[r] + total[r] : sum[r]);
}

/* ---- updates --------------------------------------------------------------------------------------------------------------- */

/* One step for `rows` rows of a stripe of W with G = H^T D, of which D (m) has these columns; h NULL: for biases, H = 1. */
INLINE void NAME(stripe_step)(const Rule rule, const int n_states, const int plain, const int single, const Update *update,
                              ptrdiff_t m, ptrdiff_t rows, const REAL *const *h, ptrdiff_t first, const REAL *d, ptrdiff_t ld,
                              REAL *w, REAL *const *states, double *penalty)
{
    const Update u = *update;
    const VEC row = NAME(load)(d), zero = {0};
    const REAL *one = h[0] + first;
    VEC squares = {0}, sizes = {0}, s[MAX_STATES] = {0};
    REAL *state[MAX_STATES];
    for (int j = 0; j < n_states; j++)
        state[j] = states[j];
    for (ptrdiff_t i = 0; i < rows; i++) {
        VEC g = row * (single ? one[i] : h[0][first + i]) + zero;
        for (ptrdiff_t r = 1; !single && r < m; r++)
            g += NAME(load)(d + r * ld) * h[r][first + i];
        for (int j = 0; j < n_states; j++)
            s[j] = NAME(load)(state[j] + i * LANES);
        const VEC wi = NAME(load)(w + i * LANES);
        NAME(store)(w + i * LANES, NAME(step_with)(rule, plain, &u, wi, g, s, &squares, &sizes));
        for (int j = 0; j < n_states; j++)
            NAME(store)(state[j] + i * LANES, s[j]);
    }
    *penalty = NAME(penalty_of)(&u, squares, sizes);
}

/* One step for w (n), the weights of a single output, with g = H^T d; `pad` elements may follow those of w. */
INLINE void NAME(column_step)(const Rule rule, const int n_states, const int plain, const Update *update, ptrdiff_t m, ptrdiff_t n,
                              const REAL *const *h, const REAL *d, ptrdiff_t ld, REAL *w, REAL *const *states)
{
    const Update u = *update;
    const VEC zero = {0};
    VEC squares, sizes, s[MAX_STATES] = {0};
    REAL *state[MAX_STATES];
    for (int j = 0; j < n_states; j++)
        state[j] = states[j];
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const int whole = i + LANES <= n;
        const NAME(mask) mask = NAME(first)(whole ? LANES : n - i);
        VEC g = zero;
        for (ptrdiff_t r = 0; r < m; r++)
            g += (whole ? NAME(load)(h[r] + i) : NAME(load_masked)(h[r] + i, mask)) * d[r * ld];
        for (int j = 0; j < n_states; j++)
            s[j] = NAME(load)(state[j] + i);
        const VEC wi = NAME(load)(w + i);
        squares = sizes = zero;
        NAME(store)(w + i, NAME(step_with)(rule, plain, &u, wi, g, s, &squares, &sizes));
        for (int j = 0; j < n_states; j++)
            NAME(store)(state[j] + i, s[j]);
    }
}

/* stripe_step, or column_step where `column`, by a rule that is known only here */
static void NAME(chain_step)(const Update *u, int column, ptrdiff_t m, ptrdiff_t n, const REAL *const *h, ptrdiff_t first,
                             const REAL *d, ptrdiff_t ld, REAL *w, REAL *const *states, double *penalty)
{
    const int plain = NAME(is_plain)(u);
    switch (u->rule) {
#define STEP(RULE, N_STATES, PLAIN) \
    if (column) \
        NAME(column_step)(RULE, N_STATES, PLAIN, u, m, n, h, d, ld, w, states); \
    else if (m == 1) \
        NAME(stripe_step)(RULE, N_STATES, PLAIN, 1, u, 1, n, h, first, d, ld, w, states, penalty); \
    else \
        NAME(stripe_step)(RULE, N_STATES, PLAIN, 0, u, m, n, h, first, d, ld, w, states, penalty)
#define CASE(RULE, N_STATES) \
    case RULE: \
        if (plain) \
            STEP(RULE, N_STATES, 1); \
        else \
            STEP(RULE, N_STATES, 0); \
        break;
        FOR_EACH_RULE(CASE)
#undef CASE
#undef STEP
    }
}

INLINE void NAME(states_from)(void *const *states, ptrdiff_t at, REAL **to)
{
    for (int j = 0; j < MAX_STATES; j++)
        to[j] = states[j] ? (REAL *)states[j] + at : NULL;
}

/* The penalty of the weights of a single output, a sum in their order */
INLINE double NAME(column_penalty)(const Update *u, ptrdiff_t n, const REAL *w)
{
    VEC squares = {0}, sizes = {0};
    for (ptrdiff_t i = 0; i < n; i++) {
        squares[0] = NAME(multiply_add)(w[i], w[i], squares[0]);
        sizes[0] += w[i] < 0 ? -w[i] : w[i];
    }
    return NAME(penalty_of)(u, squares, sizes);
}

/* The gradient of what the layer is made from, unless `to` is NULL, and the step of its weights: a panel at a time, which is in
 * cache for the one and the other. */
INLINE void NAME(chain_back)(const Update *update, ptrdiff_t m, const ChainLayer *layer, const REAL *const *h, REAL *to, ptrdiff_t ld,
                             double S)
{
    static const REAL ones[1] = {1};
    const REAL *const all_ones[ONLINE_ROWS] = {ones, ones, ones, ones, ones, ones, ones, ones};
    const REAL *d = layer->d;
    const ptrdiff_t n = layer->n_in;
    REAL *states[MAX_STATES];
    double none = 0;
    Update u = *update, of_biases = u;
    u.l1 = layer->l1 / S;
    u.l2 = layer->l2 / S;
    of_biases.l1 = of_biases.l2 = of_biases.decay = 0;
    for (ptrdiff_t v = 0; layer->b && v < layer->vectors; v++) {
        NAME(states_from)(layer->bias_states, v * LANES, states);
        NAME(chain_step)(&of_biases, 0, m, 1, all_ones, 0, d + v * LANES, layer->ld, (REAL *)layer->b + v * LANES, states, &none);
    }
    if (layer->column) {
        for (ptrdiff_t i = 0; to && i < n; i += LANES)
            for (ptrdiff_t r = 0; r < m; r++)
                NAME(store)(to + r * ld + i, NAME(load)((REAL *)layer->column + i) * d[r * layer->ld] + (VEC){0});
        for (ptrdiff_t begin = 0, p = 0; layer->penalties && begin < n; begin += layer->panel, p++)
            layer->penalties[p] =
                NAME(column_penalty)(&u, n - begin < layer->panel ? n - begin : layer->panel, (REAL *)layer->column + begin);
        NAME(states_from)(layer->column_states, 0, states);
        NAME(chain_step)(&u, 1, m, n, h, 0, d, layer->ld, layer->column, states, &none);
        return;
    }
    for (ptrdiff_t begin = 0, p = 0; begin < n; begin += layer->panel, p++) {
        const ptrdiff_t size = n - begin < layer->panel ? n - begin : layer->panel;
        for (ptrdiff_t i = begin; to && i < begin + size; i += LANES) {
            if (m == 1)
                NAME(square_back)(1, 1, layer, i, to + i, ld);
            else
                NAME(square_back)(0, m, layer, i, to + i, ld);
        }
        for (ptrdiff_t v = 0; v < layer->vectors; v++) {
            const ptrdiff_t at = (v * n + begin) * LANES;
            NAME(states_from)(layer->states, at, states);
            NAME(chain_step)(&u, 0, m, size, h, begin, d + v * LANES, layer->ld, (REAL *)layer->w + at, states,
                             layer->penalties ? layer->penalties + v * layer->n_panels + p : &none);
        }
    }
}

/* ---- a step ---------------------------------------------------------------------------------------------------------------- */

/* `loss` of rows of one vector at most, by a cost of single elements; D is 0 in lanes without one. */
INLINE double NAME(short_loss)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, const REAL *z, ptrdiff_t ld, const REAL *y,
                               const double *weights, double scale, REAL *d)
{
    const REAL p = (REAL)cost->parameter;
    REAL rest[LANES];
    VEC keep = {0}, slope = {0}, loss = {0};
    double total = 0;
    for (ptrdiff_t i = 0; i < LANES; i++)
        rest[i] = i < n ? 1 : 0;
    keep = NAME(load)(rest);
    for (ptrdiff_t i = 0; i < m; i++, z += ld, y += LANES, d += ld) {
        const double weight = weights ? weights[i] : 1;
        const REAL c = (REAL)(weight * scale);
        REAL sum = 0;
        switch (cost->kind) {
#define CASE(kind) case kind: loss = NAME(element_loss)(kind, p, NAME(load)(z), NAME(load)(y), &slope); break;
        CASE(SQUARED_ERROR) CASE(ABSOLUTE_ERROR) CASE(LP) CASE(HUBER) CASE(CROSS_ENTROPY) CASE(POISSON) CASE(PERCEPTRON)
#undef CASE
        case QUANTILE: case GAUSSIAN: case SOFTMAX_CROSS_ENTROPY: case NO_LOSS: break;
        }
        if (weight == 0) { /* such a row counts for nothing, even if its loss is infinite */
            NAME(store)(d, (VEC){0});
            continue;
        }
        NAME(store)(d, NAME(select)(keep != 0, slope * c, (VEC){0}));
        NAME(store)(rest, loss);
        for (ptrdiff_t j = 0; j < n; j++)
            sum += rest[j];
        total += weight * (double)sum;
    }
    return total;
}

/* Weighted sum of the losses of m rows, whose numbers are rows[i], and D */
INLINE double NAME(chain_loss)(const Chain *chain, ptrdiff_t m, const int64_t *rows, double scale)
{
    const ChainLayer *last = chain->layers + chain->n - 1;
    const Loss kind = chain->cost.kind;
    const int is_short = last->vectors == 1 && kind != QUANTILE && kind != GAUSSIAN && kind != SOFTMAX_CROSS_ENTROPY;
    double weights[ONLINE_ROWS];
    int64_t labels[ONLINE_ROWS];
    for (ptrdiff_t i = 0; i < m; i++) {
        if (chain->sample_weights)
            weights[i] = chain->sample_weights[rows[i]];
        if (chain->labels)
            labels[i] = chain->labels[rows[i]];
    }
    if (chain->has_y)
        NAME(gather)(m, last->n_out, &chain->y, rows, 0, chain->targets, is_short ? LANES : last->n_out);
    if (is_short)
        return NAME(short_loss)(&chain->cost, m, last->n_out, last->a, last->ld, chain->targets,
                                chain->sample_weights ? weights : NULL, chain->weight * scale, last->d);
    return NAME(loss)(&chain->cost, m, last->n_out, last->a, last->ld, chain->has_y ? chain->targets : NULL,
                      chain->labels ? labels : NULL, chain->sample_weights ? weights : NULL, chain->weight * scale, last->d);
}

/* One batch of m rows from row `first` on, whose weights sum up to S */
INLINE void NAME(chain_batch)(const Chain *chain, ptrdiff_t m, ptrdiff_t first, double S, const Update *update, double *record)
{
    int64_t rows[ONLINE_ROWS];
    const REAL *x[ONLINE_ROWS];
    for (ptrdiff_t i = 0; i < m; i++) {
        rows[i] = chain->order ? chain->order[first + i] : first + i;
        x[i] = chain->x_in_place ? (const REAL *)(chain->x.data + rows[i] * chain->x.row_stride)
                                 : (const REAL *)chain->inputs + i * chain->ld_inputs;
    }
    if (!chain->x_in_place)
        NAME(gather)(m, chain->layers->n_in, &chain->x, rows, 0, chain->inputs, chain->ld_inputs);
    for (const ChainLayer *layer = chain->layers; layer < chain->layers + chain->n; layer++) {
        NAME(chain_product)(m, layer, layer == chain->layers ? x : (const REAL *const *)layer[-1].a_rows, layer->a);
        NAME(chain_unit)(m, layer);
    }
    record[0] = chain->weight * NAME(chain_loss)(chain, m, rows, 1 / S) / S;
    for (const ChainLayer *layer = chain->layers + chain->n - 1; layer >= chain->layers; layer--) {
        const int is_first = layer == chain->layers;
        NAME(chain_unit_back)(m, layer);
        NAME(chain_back)(update, m, layer, is_first ? x : (const REAL *const *)layer[-1].a_rows, is_first ? NULL : layer[-1].d,
                         is_first ? 0 : layer[-1].ld, chain->penalty_over_weight ? S : 1);
    }
    Total penalty = {0, 0};
    for (ptrdiff_t i = 0; i < chain->n_penalties; i++)
        add_to(&penalty, chain->penalties[i]);
    record[1] = value_of(&penalty);
    record[2] = S;
}

/* Between the packed form of the weights of single outputs, and of their states, and the column that they are while they learn. */
static void NAME(move_columns)(const Chain *chain, int back)
{
    for (const ChainLayer *layer = chain->layers; layer < chain->layers + chain->n; layer++)
        for (int j = -1; layer->column && j < MAX_STATES; j++) {
            REAL *packed = j < 0 ? layer->w : layer->states[j], *column = j < 0 ? layer->column : layer->column_states[j];
            for (ptrdiff_t i = 0; packed && i < layer->n_in; i++) {
                if (back)
                    packed[i * LANES] = column[i];
                else
                    column[i] = packed[i * LANES];
            }
            for (ptrdiff_t i = layer->n_in; packed && !back && i % LANES; i++)
                column[i] = 0;
        }
}

static void NAME(train_chain)(const Chain *chain, ptrdiff_t begin, ptrdiff_t end, const Update *updates)
{
    NAME(move_columns)(chain, 0);
    for (ptrdiff_t batch = begin; batch < end; batch++) {
        const ptrdiff_t first = batch * chain->batch, left = chain->n_rows - first, m = left < chain->batch ? left : chain->batch;
        const double S = chain->sample_weights ? chain->record[3 * batch + 2] : (double)m;
        double *record = chain->record + 3 * batch;
        if (S == 0)
            record[0] = record[1] = 0;
        else if (m == 1)
            NAME(chain_batch)(chain, 1, first, S, updates + (batch - begin), record);
        else
            NAME(chain_batch)(chain, m, first, S, updates + (batch - begin), record);
    }
    NAME(move_columns)(chain, 1);
}
