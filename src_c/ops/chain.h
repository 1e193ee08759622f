/* The layers of a chain that learns from batches of few rows (online.h): their parts of a step, with the sums of the kernels that
 * make larger ones, term by term. */

/* Parts are functions of their own, for registers of their own; what they consist of is inlined. */
#define PART static __attribute__((noinline))

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

/* nv vectors of total = init + h W over rows of W up to k, with 8 chains at least where there are as many */
INLINE void NAME(strip)(const int nv, ptrdiff_t k, const REAL *h, const REAL *w, ptrdiff_t stripe, VEC *total)
{
    const ptrdiff_t depth = NAME(block_depth)(k);
    for (ptrdiff_t p = 0, left; p < k;) {
        left = k - p;
#define BLOCKS(N) \
    NAME(strip_sums)(nv, N, depth, left < (N) * depth ? left - ((N) - 1) * depth : depth, h + p, w + p * LANES, stripe, total, \
                     p > 0); \
    p += (N) * depth
        if (nv <= 2 && left > 3 * depth) {
            BLOCKS(nv <= 2 ? 4 : 1);
        } else if (nv <= 4 && left > depth) {
            BLOCKS(nv <= 4 ? 2 : 1);
        } else {
            BLOCKS(1);
        }
#undef BLOCKS
    }
}

/* nv vectors of Z (1, n) = h W + b, from stripe v of W on */
INLINE void NAME(row_of_sums)(const int nv, const ChainLayer *layer, const REAL *h, ptrdiff_t v, VEC *z)
{
    const ptrdiff_t stripe = layer->n_in * LANES;
    const REAL *w = (const REAL *)layer->w + v * stripe, *b = (const REAL *)layer->b + v * LANES;
    VEC first[8];
    for (int i = 0; i < nv; i++)
        z[i] = layer->b ? NAME(load)(b + i * LANES) : (VEC){0};
    for (ptrdiff_t p = 0, end = layer->half; p < layer->n_in; p = end, end = layer->n_in) {
        for (int i = 0; p && i < nv; i++)
            first[i] = z[i], z[i] = (VEC){0};
        NAME(strip)(nv, end - p, h + p, w + p * LANES, stripe, z);
        for (int i = 0; p && i < nv; i++)
            z[i] = first[i] + z[i];
    }
}

/* z = h w + b of a single output */
INLINE REAL NAME(single_sum)(const ChainLayer *layer, const REAL *h)
{
    const ptrdiff_t k = layer->n_in, depth = NAME(block_depth)(k);
    const REAL *w = layer->column;
    REAL total = layer->b ? *(const REAL *)layer->b : 0;
    for (ptrdiff_t p = 0, end; p < k; p = end) {
        REAL sum = p ? 0 : total;
        end = k - p < depth ? k : p + depth;
        for (ptrdiff_t i = p; i < end; i++)
            sum = NAME(multiply_add)(w[i], h[i], sum);
        total = p ? sum + total : sum;
    }
    return total;
}

/* Z (m, n) = H W + b, several rows */
static void NAME(chain_product)(ptrdiff_t m, const ChainLayer *layer, const REAL *const *h)
{
    const ptrdiff_t stripe = layer->n_in * LANES, n = layer->vectors * LANES;
    const Stripes w = {.at = layer->w, .ld = LANES, .stripe = stripe}, to = {.at = layer->a, .ld = layer->ld, .stripe = LANES};
    const Rows rows = {h, 0, ROWS}, second_rows = {h, layer->half, ROWS};
    NAME(matmul)(m, n, layer->half, &rows, &w, layer->b, 0, &to);
    if (layer->half < layer->n_in) {
        const Stripes second_w = {.at = (REAL *)layer->w + layer->half * LANES, .ld = LANES, .stripe = stripe};
        const Stripes second = {.at = layer->d, .ld = layer->ld, .stripe = LANES};
        NAME(matmul)(m, n, layer->n_in - layer->half, &second_rows, &second_w, NULL, 0, &second);
        NAME(add)(m, n, layer->a, layer->d, layer->ld);
    }
}

/* One vector of A = f(z), at this place of the layer's outputs; returns it */
INLINE VEC NAME(chain_unit)(const ChainLayer *layer, ptrdiff_t at, VEC z)
{
    const REAL p = (REAL)layer->parameter;
    VEC slope = {0};
    switch (layer->unit) {
#define UNIT(name, forward, backward) case name: z = NAME(forward##_of)(z, p, &slope); break;
#include "../names.def"
    case N_ACTIVATIONS: break;
    }
    NAME(store)((REAL *)layer->a + at, z);
    if (layer->slope)
        NAME(store)((REAL *)layer->slope + at, slope);
    return z;
}

/* A (m, n) = f(H W + b), of several rows or vectors */
PART void NAME(wide_forward)(ptrdiff_t m, const ChainLayer *layer, const REAL *const *h)
{
    REAL *a = layer->a;
    VEC z[8];
    ptrdiff_t v = 0;
    if (layer->column)
        for (ptrdiff_t r = 0; r < m; r++)
            NAME(store)(a + r * layer->ld, NAME(broadcast)(NAME(single_sum)(layer, h[r])));
    else if (m > 1)
        NAME(chain_product)(m, layer, h);
#define STRIPS(NV) \
    for (; m == 1 && v + NV <= layer->vectors; v += NV) { \
        NAME(row_of_sums)(NV, layer, h[0], v, z); \
        for (int i = 0; i < NV; i++) \
            NAME(store)(a + (v + i) * LANES, z[i]); \
    }
    STRIPS(8)
    STRIPS(4)
    STRIPS(2)
    STRIPS(1)
#undef STRIPS
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t at = r * layer->ld; at < r * layer->ld + layer->vectors * LANES; at += LANES)
            NAME(chain_unit)(layer, at, NAME(load)(a + at));
}

/* The same of one row of one vector */
PART void NAME(vector_forward)(const ChainLayer *layer, const REAL *h)
{
    VEC z[1];
    if (layer->column)
        z[0] = NAME(broadcast)(NAME(single_sum)(layer, h));
    else
        NAME(row_of_sums)(1, layer, h, 0, z);
    NAME(chain_unit)(layer, 0, z[0]);
}

/* ---- loss ------------------------------------------------------------------------------------------------------------------ */

/* Whether a loss is one of single elements of one vector. */
INLINE int NAME(is_short)(const ChainLayer *last, Loss kind)
{
    return last->vectors == 1 && kind != QUANTILE && kind != GAUSSIAN && kind != SOFTMAX_CROSS_ENTROPY;
}

/* Such a loss of a row, and d = weight scale dC/da, 0 in lanes without a unit */
INLINE REAL NAME(row_loss)(const Cost *cost, const ChainLayer *layer, VEC a, const REAL *y, double weight, double scale, VEC *d)
{
    static const REAL ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const NAME(mask) mask = NAME(first)(layer->n_out);
    const VEC there = NAME(load_masked)(ones, mask), zero = {0}, yi = NAME(load_masked)(y, mask);
    const REAL p = (REAL)cost->parameter;
    VEC slope = zero, loss = zero;
    REAL losses[LANES], sum = 0;
    switch (cost->kind) {
#define CASE(kind) case kind: loss = NAME(element_loss)(kind, p, a, yi, &slope); break;
    CASE(SQUARED_ERROR) CASE(ABSOLUTE_ERROR) CASE(LP) CASE(HUBER) CASE(CROSS_ENTROPY) CASE(POISSON) CASE(PERCEPTRON)
#undef CASE
    case QUANTILE: case GAUSSIAN: case SOFTMAX_CROSS_ENTROPY: case NO_LOSS: break;
    }
    *d = weight == 0 ? zero : NAME(select)(there != 0, slope * (REAL)(weight * scale), zero);
    NAME(store)(losses, loss);
    for (ptrdiff_t j = 0; j < layer->n_out; j++)
        sum += losses[j];
    return sum;
}

/* ---- backward -------------------------------------------------------------------------------------------------------------- */

/* One vector of d * f'(z), at this place of the layer's outputs; softmax, which is of whole rows, is left to softmax_back. */
INLINE VEC NAME(times_slope)(const ChainLayer *layer, ptrdiff_t at, VEC d)
{
    const REAL p = (REAL)layer->parameter;
    const VEC a = NAME(load)((layer->slope ? (REAL *)layer->slope : (REAL *)layer->a) + at);
    switch (layer->unit) {
#define UNIT(name, forward, backward) case name: return NAME(backward##_of)(a, d, p);
#include "../names.def"
    case N_ACTIVATIONS: break;
    }
    return d;
}

INLINE void NAME(softmax_back)(ptrdiff_t m, const ChainLayer *layer)
{
    if (layer->unit == SOFTMAX)
        NAME(softmax_derivative)(m, layer->n_out, layer->a, layer->d, layer->ld, 0);
}

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

/* D of LANES units of the layer below, from `row` on, of D of this one and as many rows of W; returns that of the last batch row */
INLINE VEC NAME(square_back_of)(const int single, ptrdiff_t m, const ChainLayer *layer, ptrdiff_t row, const ChainLayer *below)
{
    const ptrdiff_t n = layer->n_out, rows = layer->n_in - row < LANES ? layer->n_in - row : LANES, depth = NAME(block_depth)(n);
    ptrdiff_t block = depth;
    const REAL *d = layer->d, *w = (const REAL *)layer->w + row * LANES;
    REAL t[LANES * LANES];
    VEC sum[ONLINE_ROWS], total[ONLINE_ROWS];
    for (ptrdiff_t r = 0; r < (single ? 1 : m); r++)
        sum[r] = total[r] = (VEC){0};
    for (ptrdiff_t j = 0; j < n; j += LANES, w += layer->n_in * LANES) {
        const ptrdiff_t end = n - j < LANES ? n : j + LANES;
        if (end - j <= LANES / 4)
            NAME(transposed_square)(LANES / 4, rows, w, t);
        else if (end - j <= LANES / 2)
            NAME(transposed_square)(LANES / 2, rows, w, t);
        else
            NAME(transposed_square)(LANES, rows, w, t);
        for (ptrdiff_t c = j, stop; c < end; c = stop) {
            stop = end < block ? end : block;
            for (ptrdiff_t r = 0; r < (single ? 1 : m); r++) {
                for (ptrdiff_t i = c; i < stop; i++)
                    sum[r] += NAME(load)(t + (i - j) * LANES) * d[r * layer->ld + i];
                if (stop == block && stop < n) {
                    total[r] = sum[r] + total[r];
                    sum[r] = (VEC){0};
                }
            }
            block += stop == block ? depth : 0;
        }
    }
    VEC e = {0};
    for (ptrdiff_t r = 0; r < (single ? 1 : m); r++) {
        e = NAME(times_slope)(below, r * below->ld + row, depth < n ? sum[r] + total[r] : sum[r]);
        NAME(store)((REAL *)below->d + r * below->ld + row, e);
    }
    return e;
}

PART VEC NAME(square_back)(ptrdiff_t m, const ChainLayer *layer, ptrdiff_t row, const ChainLayer *below)
{
    return m == 1 ? NAME(square_back_of)(1, 1, layer, row, below) : NAME(square_back_of)(0, m, layer, row, below);
}

/* The same for a single output, all units */
PART void NAME(column_back)(ptrdiff_t m, const ChainLayer *layer, const ChainLayer *below)
{
    const REAL *d = layer->d;
    for (ptrdiff_t i = 0; i < layer->n_in; i += LANES)
        for (ptrdiff_t r = 0, at = i; r < m; r++, at += below->ld) {
            const VEC e = NAME(load)((REAL *)layer->column + i) * d[r * layer->ld] + (VEC){0};
            NAME(store)((REAL *)below->d + at, NAME(times_slope)(below, at, e));
        }
}

/* ---- updates --------------------------------------------------------------------------------------------------------------- */

/* One step of a vector of W, and of its states `at` elements from where these begin */
INLINE void NAME(vector_step)(const Rule rule, const int n_states, const int plain, const Update *u, VEC g, REAL *w,
                              void *const *states, ptrdiff_t at, VEC *squares, VEC *sizes)
{
    VEC s[MAX_STATES] = {0};
    for (int j = 0; j < n_states; j++)
        s[j] = NAME(load)((REAL *)states[j] + at);
    NAME(store)(w + at, NAME(step_with)(rule, plain, u, NAME(load)(w + at), g, s, squares, sizes));
    for (int j = 0; j < n_states; j++)
        NAME(store)((REAL *)states[j] + at, s[j]);
}

/* One step for rows begin..begin+rows of stripe v of W with G = H^T D, and, with the first, for the biases */
INLINE void NAME(stripe_step)(const Rule rule, const int n_states, const int plain, const int single, const Update *update,
                              double S, ptrdiff_t m, const ChainLayer *layer, ptrdiff_t v, ptrdiff_t begin, ptrdiff_t rows,
                              const REAL *const *h, double *penalty)
{
    const REAL *d = (REAL *)layer->d + v * LANES, *x = h[0] + begin;
    const VEC row = NAME(load)(d), zero = {0};
    VEC squares = {0}, sizes = {0};
    Update u = *update; /* which no store to the arrays may change */
    const int penalized = layer->l1 != 0 || layer->l2 != 0;
    u.l1 = u.l2 = 0;
    if (begin == 0 && layer->b) {
        VEC g = zero + row;
        u.decay = 0;
        for (ptrdiff_t r = 1; !single && r < m; r++)
            g += NAME(load)(d + r * layer->ld);
        NAME(vector_step)(rule, n_states, plain, &u, g, layer->b, layer->bias_states, v * LANES, &squares, &sizes);
        u.decay = update->decay;
    }
    if (penalized) {
        u.l1 = layer->l1 / S;
        u.l2 = layer->l2 / S;
    }
    for (ptrdiff_t i = 0, at = (v * layer->n_in + begin) * LANES; i < rows; i++, at += LANES) {
        VEC g = row * x[i] + zero;
        for (ptrdiff_t r = 1; !single && r < m; r++)
            g += NAME(load)(d + r * layer->ld) * h[r][begin + i];
        NAME(vector_step)(rule, n_states, plain, &u, g, layer->w, layer->states, at, &squares, &sizes);
    }
    if (penalty)
        *penalty = NAME(penalty_of)(&u, squares, sizes);
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

/* The same for a single output, with g = H^T d; the first lane of a vector has its bias. */
INLINE void NAME(column_step)(const Rule rule, const int n_states, const int plain, const Update *update, double S, ptrdiff_t m,
                              const ChainLayer *layer, const REAL *const *h)
{
    const REAL *d = layer->d;
    const ptrdiff_t n = layer->n_in;
    VEC squares = {0}, sizes = {0};
    Update u = *update;
    const int penalized = layer->l1 != 0 || layer->l2 != 0;
    u.l1 = u.l2 = 0;
    if (layer->b) {
        VEC g = {0};
        u.decay = 0;
        for (ptrdiff_t r = 0; r < m; r++)
            g += NAME(load)(d + r * layer->ld);
        NAME(vector_step)(rule, n_states, plain, &u, g, layer->b, layer->bias_states, 0, &squares, &sizes);
        u.decay = update->decay;
    }
    if (penalized) {
        u.l1 = layer->l1 / S;
        u.l2 = layer->l2 / S;
    }
    for (ptrdiff_t begin = 0, p = 0; layer->penalties && begin < n; begin += layer->panel, p++)
        layer->penalties[p] =
            NAME(column_penalty)(&u, n - begin < layer->panel ? n - begin : layer->panel, (REAL *)layer->column + begin);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const int whole = i + LANES <= n;
        const NAME(mask) mask = NAME(first)(whole ? LANES : n - i);
        VEC g = {0};
        for (ptrdiff_t r = 0; r < m; r++)
            g += (whole ? NAME(load)(h[r] + i) : NAME(load_masked)(h[r] + i, mask)) * d[r * layer->ld];
        NAME(vector_step)(rule, n_states, plain, &u, g, layer->column, layer->column_states, i, &squares, &sizes);
    }
}

/* What a step has changed goes into its average. */
static void NAME(chain_average)(double share, const ChainLayer *layer, ptrdiff_t v, ptrdiff_t begin, ptrdiff_t rows)
{
    const ptrdiff_t at = (v * layer->n_in + begin) * LANES;
    if (layer->b && begin == 0)
        NAME(average)(share, LANES, (REAL *)layer->b + v * LANES, (REAL *)layer->bias_states[AVERAGE] + v * LANES);
    if (layer->column)
        NAME(average)(share, rows, layer->column, layer->column_states[AVERAGE]);
    else
        NAME(average)(share, rows * LANES, (REAL *)layer->w + at, (REAL *)layer->states[AVERAGE] + at);
}

/* stripe_step, or column_step of a single output, by a rule that is known only here */
static void NAME(chain_step)(const Update *u, double S, ptrdiff_t m, const ChainLayer *layer, ptrdiff_t v, ptrdiff_t begin,
                             ptrdiff_t rows, const REAL *const *h, double *penalty)
{
    const int plain = NAME(is_plain)(u);
    switch (u->rule) {
#define STEP(RULE, N_STATES, PLAIN) \
    if (layer->column) \
        NAME(column_step)(RULE, N_STATES, PLAIN, u, S, m, layer, h); \
    else if (RULE == GRADIENT_DESCENT && PLAIN && m == 1) \
        NAME(stripe_step)(RULE, N_STATES, PLAIN, 1, u, S, 1, layer, v, begin, rows, h, penalty); \
    else \
        NAME(stripe_step)(RULE, N_STATES, PLAIN, 0, u, S, m, layer, v, begin, rows, h, penalty)
#define CASE(RULE, N_STATES) \
    case RULE: \
        if (plain) { \
            STEP(RULE, N_STATES, 1); \
        } else { \
            STEP(RULE, N_STATES, 0); \
        } \
        break;
        FOR_EACH_RULE(CASE)
    case NO_RULE: break;
#undef CASE
#undef STEP
    }
    if (u->average != 0)
        NAME(chain_average)(u->average, layer, v, begin, rows);
}

/* D of the layer below, unless there is none, and the step of the weights: a panel at a time, which is in cache for both. */
INLINE void NAME(chain_back)(const Update *update, ptrdiff_t m, const ChainLayer *layer, const REAL *const *h,
                             const ChainLayer *below, double S)
{
    const ptrdiff_t n = layer->n_in;
    if (layer->column) {
        if (below)
            NAME(column_back)(m, layer, below);
        NAME(chain_step)(update, S, m, layer, 0, 0, n, h, NULL);
    }
    for (ptrdiff_t begin = 0, p = 0; !layer->column && begin < n; begin += layer->panel, p++) {
        const ptrdiff_t size = n - begin < layer->panel ? n - begin : layer->panel;
        for (ptrdiff_t i = begin; below && i < begin + size; i += LANES)
            NAME(square_back)(m, layer, i, below);
        for (ptrdiff_t v = 0; v < layer->vectors; v++)
            NAME(chain_step)(update, S, m, layer, v, begin, size, h,
                             layer->penalties ? layer->penalties + v * layer->n_panels + p : NULL);
    }
    if (below)
        NAME(softmax_back)(m, below);
}
