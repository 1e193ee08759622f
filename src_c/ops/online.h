/* Training a chain of dense layers on batches of few rows: whole steps in one call. */

/* `loss` of rows of one vector at most, by a cost of single elements, and D, which is 0 in lanes without one. */
PART double NAME(short_loss)(const Cost *cost, ptrdiff_t m, const ChainLayer *layer, const REAL *const *y, const double *weights,
                             double scale)
{
    double total = 0;
    for (ptrdiff_t i = 0, at = 0; i < m; i++, at += layer->ld) {
        const double weight = weights ? weights[i] : 1;
        VEC d;
        const REAL loss = NAME(row_loss)(cost, layer, NAME(load)((REAL *)layer->a + at), y[i], weight, scale, &d);
        NAME(store)((REAL *)layer->d + at, NAME(times_slope)(layer, at, d));
        /* a row without weight counts for nothing, even if its loss is infinite */
        if (weight != 0)
            total += weight * (double)loss;
    }
    return total;
}

/* Weighted sum of the losses of m rows, whose numbers are rows[i], and D */
INLINE double NAME(chain_loss)(const Chain *chain, ptrdiff_t m, const int64_t *rows, double scale)
{
    const ChainLayer *last = chain->layers + chain->n - 1;
    const int is_short = NAME(is_short)(last, chain->cost.kind);
    double weights[ONLINE_ROWS];
    int64_t labels[ONLINE_ROWS];
    const REAL *y[ONLINE_ROWS];
    for (ptrdiff_t i = 0; i < m; i++) {
        if (chain->sample_weights)
            weights[i] = chain->sample_weights[rows[i]];
        if (chain->labels)
            labels[i] = chain->labels[rows[i]];
        y[i] = is_short && chain->y_in_place ? (const REAL *)(chain->y.data + rows[i] * chain->y.row_stride)
                                             : (const REAL *)chain->targets + i * last->n_out;
    }
    if (chain->has_y && !(is_short && chain->y_in_place))
        NAME(gather)(m, last->n_out, &chain->y, rows, 0, chain->targets, last->n_out);
    if (is_short)
        return NAME(short_loss)(&chain->cost, m, last, y, chain->sample_weights ? weights : NULL, chain->weight * scale);
    const double loss =
        NAME(loss)(&chain->cost, m, last->n_out, last->a, last->ld, chain->has_y ? chain->targets : NULL,
                   chain->labels ? labels : NULL, chain->sample_weights ? weights : NULL, chain->weight * scale, last->d);
    for (ptrdiff_t r = 0; r < m; r++)
        for (ptrdiff_t at = r * last->ld; at < r * last->ld + last->vectors * LANES; at += LANES)
            NAME(store)((REAL *)last->d + at, NAME(times_slope)(last, at, NAME(load)((REAL *)last->d + at)));
    return loss;
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
        const REAL *const *h = layer == chain->layers ? x : (const REAL *const *)layer[-1].a_rows;
        if (m == 1 && layer->vectors == 1)
            NAME(vector_forward)(layer, h[0]);
        else
            NAME(wide_forward)(m, layer, h);
        if (layer->unit == SOFTMAX)
            NAME(softmax)(m, layer->n_out, layer->a, layer->ld, 0, NULL);
    }
    record[0] = chain->weight * NAME(chain_loss)(chain, m, rows, S == 1 ? 1 : 1 / S);
    if (S != 1) /* a division takes longer than many a step */
        record[0] /= S;
    NAME(softmax_back)(m, chain->layers + chain->n - 1);
    for (const ChainLayer *layer = chain->layers + chain->n - 1; layer >= chain->layers; layer--) {
        const int is_first = layer == chain->layers;
        NAME(chain_back)(update, m, layer, is_first ? x : (const REAL *const *)layer[-1].a_rows, is_first ? NULL : layer - 1,
                         chain->penalty_over_weight ? S : 1);
    }
    Total penalty = {0, 0};
    for (ptrdiff_t i = 0; i < chain->n_penalties; i++)
        add_to(&penalty, chain->penalties[i]);
    record[1] = value_of(&penalty);
    record[2] = S;
}

/* Between the packed form of single outputs' weights and states, and the columns that they are while they learn. */
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

INLINE void NAME(chain_steps)(const Chain *chain, ptrdiff_t begin, ptrdiff_t end, const Update *const *updates)
{
    for (ptrdiff_t batch = begin; batch < end; batch++) {
        const ptrdiff_t first = batch * chain->batch, left = chain->n_rows - first;
        const ptrdiff_t m = left < chain->batch ? left : chain->batch;
        const double S = chain->sample_weights ? chain->record[3 * batch + 2] : (double)m;
        double *record = chain->record + 3 * batch;
        if (S == 0)
            record[0] = record[1] = 0;
        else
            NAME(chain_batch)(chain, m, first, S, updates[batch - begin], record);
    }
}

static void NAME(train_chain)(const Chain *chain, ptrdiff_t begin, ptrdiff_t end, const Update *const *updates)
{
    NAME(move_columns)(chain, 0);
    if (NAME(is_narrow)(chain))
        NAME(narrow_steps)(chain, begin, end, updates);
    else
        NAME(chain_steps)(chain, begin, end, updates);
    NAME(move_columns)(chain, 1);
}
