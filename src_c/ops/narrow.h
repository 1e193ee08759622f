/* Steps of one row by a chain of few units in each layer, in one function: calls, and questions asked anew for each layer, would
 * take longer than the arithmetic. The sums are those of chain.h. */

/* Whether all layers have few units, no sum of several blocks and no penalty, and rows are read where they lie. Of more units a
 * panel of W at a time is done, while it is in cache. */
static int NAME(is_narrow)(const Chain *chain)
{
    enum { MOST_UNITS = 128 };
    const ChainLayer *const end = chain->layers + chain->n;
    int narrow = chain->batch == 1 && chain->x_in_place && chain->y_in_place && chain->sample_weights == NULL;
    if (!narrow || !NAME(is_short)(end - 1, chain->cost.kind))
        return 0;
    for (const ChainLayer *layer = chain->layers; layer < end; layer++)
        narrow = narrow && layer->n_out <= MOST_UNITS && layer->n_in <= NAME(BLOCK_DEPTH) && layer->half == layer->n_in &&
                 layer->unit != SOFTMAX && layer->l1 == 0 && layer->l2 == 0;
    return narrow;
}

/* A vector of z = h W + b, stripe v */
INLINE VEC NAME(narrow_sum)(const ChainLayer *layer, const REAL *h, ptrdiff_t v)
{
    const REAL *w = (const REAL *)layer->w + v * layer->n_in * LANES;
    VEC z = layer->b ? NAME(load)((REAL *)layer->b + v * LANES) : (VEC){0};
    for (ptrdiff_t p = 0; p < layer->n_in; p++)
        z += NAME(load)(w + p * LANES) * h[p];
    return z;
}

/* W <- W - eta h^T d of a stripe, and b <- b - eta d */
INLINE void NAME(stripe_descent)(const ChainLayer *layer, ptrdiff_t v, const REAL *h, VEC d, REAL rate)
{
    const VEC zero = {0};
    REAL *w = (REAL *)layer->w + v * layer->n_in * LANES, *b = (REAL *)layer->b + v * LANES;
    if (layer->b)
        NAME(store)(b, NAME(load)(b) - (zero + d) * rate);
    for (ptrdiff_t p = 0; p < layer->n_in; p++)
        NAME(store)(w + p * LANES, NAME(load)(w + p * LANES) - (d * h[p] + zero) * rate);
}

/* The same of a single output */
INLINE void NAME(column_descent)(const ChainLayer *layer, const REAL *h, VEC d, REAL rate)
{
    const VEC zero = {0};
    REAL *w = layer->column;
    if (layer->b)
        NAME(store)(layer->b, NAME(load)(layer->b) - (zero + d) * rate);
    ptrdiff_t i = 0;
    for (; i + LANES <= layer->n_in; i += LANES)
        NAME(store)(w + i, NAME(load)(w + i) - (NAME(load)(h + i) * d[0] + zero) * rate);
    if (i < layer->n_in) { /* zeros up to a whole vector stay zeros */
        const VEC rest = NAME(load_masked)(h + i, NAME(first)(layer->n_in - i));
        NAME(store)(w + i, NAME(load)(w + i) - (rest * d[0] + zero) * rate);
    }
}

/* Steps begin to end, a row each */
static void NAME(narrow_steps)(const Chain *chain, ptrdiff_t begin, ptrdiff_t end, const Update *const *updates)
{
    const ChainLayer *const first = chain->layers, *const last = first + chain->n - 1;
    const Update *update = NULL;
    int descends = 0;
    REAL rate = 0;
    for (ptrdiff_t step = begin; step < end; step++) {
        const int64_t row = chain->order ? chain->order[step] : step;
        const REAL *const x = (const REAL *)(chain->x.data + row * chain->x.row_stride), *h = x;
        const REAL *const y = (const REAL *)(chain->y.data + row * chain->y.row_stride);
        if (updates[step - begin] != update) { /* most are like the one before */
            update = updates[step - begin];
            descends = update->rule == GRADIENT_DESCENT && NAME(is_plain)(update) && update->average == 0;
            rate = (REAL)update->learning_rate;
        }
        VEC a = {0}, d, next = {0};
        for (const ChainLayer *layer = first; layer <= last; h = layer->a, layer++) {
            if (layer->vectors > 4) /* whose sums are side by side there */
                NAME(wide_forward)(chain->batch, layer, &h);
            for (ptrdiff_t v = 0; layer->vectors <= 4 && v < layer->vectors; v++) {
                const VEC z = layer->column ? NAME(broadcast)(NAME(single_sum)(layer, h)) : NAME(narrow_sum)(layer, h, v);
                a = NAME(chain_unit)(layer, v * LANES, z);
            }
        }
        double *record = chain->record + 3 * step;
        record[0] = chain->weight * (double)NAME(row_loss)(&chain->cost, last, a, y, 1, chain->weight, &d);
        record[1] = 0;
        record[2] = 1;
        d = NAME(times_slope)(last, 0, d);
        NAME(store)(last->d, d);
        for (const ChainLayer *layer = last; layer >= first; layer--, d = next) {
            const ChainLayer *const below = layer == first ? NULL : layer - 1;
            h = below ? below->a : x;
            for (ptrdiff_t i = 0; below && i < layer->n_in; i += LANES)
                if (layer->column) {
                    next = NAME(times_slope)(below, i, NAME(load)((REAL *)layer->column + i) * d[0] + (VEC){0});
                    NAME(store)((REAL *)below->d + i, next);
                } else {
                    next = NAME(square_back)(1, layer, i, below);
                }
            for (ptrdiff_t v = 0; v < layer->vectors; v++)
                if (!descends)
                    NAME(chain_step)(update, 1, 1, layer, v, 0, layer->n_in, &h, NULL);
                else if (layer->column)
                    NAME(column_descent)(layer, h, d, rate);
                else
                    NAME(stripe_descent)(layer, v, h, layer->vectors == 1 ? d : NAME(load)((REAL *)layer->d + v * LANES), rate);
        }
    }
}
