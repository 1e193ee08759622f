/* Learning online: a chain of dense layers whose every batch has few rows and is too little for several threads. One kernel makes
 * whole steps, without phases, blocks and barriers, which would take longer than the arithmetic. */
#include "run.h"

/* Batches whose updates are ready at once: the kernel is called for as many. */
enum { AT_ONCE = 64 };

/* The layers' widths up to which no sum over the depth is cut into halves. */
enum { MOST_UNITS = 8192 };

static int reads_in_place(const Kernels *k, const Strided *y)
{
    const ptrdiff_t itemsize = (ptrdiff_t)k->itemsize;
    return y->dtype == (itemsize == 4 ? FLOAT32 : FLOAT64) && y->column_stride == itemsize && y->row_stride % itemsize == 0;
}

/* Whether this op makes a layer of a chain from what the one before makes, and the next its unit. */
static int is_layer(const Run *run, int i, int value)
{
    const Op *dense = run->forward + i, *unit = dense + 1;
    if (i + 1 >= run->n_forward || dense->kind != OP_DENSE || unit->kind != OP_UNIT)
        return 0;
    const Weights *w = run->weights + dense->weights;
    const Value *out = run->values + dense->output;
    const int own_bias = dense->bias == dense->weights || (dense->bias < 0 && !w->has_bias);
    return dense->input == value && unit->output == dense->output && dense->weights == i / 2 && own_bias && out->dropout == 0 &&
           w->max_norm == 0 && w->flat_mask == NULL && w->n_in <= MOST_UNITS && w->n_out <= MOST_UNITS;
}

int learns_online(const Run *run, ptrdiff_t n_rows)
{
    const double *factors = run->settings.per_role; /* the kernel has one rate for all */
    const int rates = factors[ROLE_WEIGHT] != 1 || factors[ROLE_BIAS] != 1;
    const int random = run->input_dropout > 0 || run->input_noise > 0 || run->augmentation.height > 0;
    /* products of more rows are faster in tiles of several rows of weights */
    const int few = run->batch <= 4 || (run->batch <= ONLINE_ROWS && run->batch * run->n_weights <= 40000);
    int value = 0;
    if (run->mode != TRAIN || !few || n_rows <= run->batch || run->shared || run->sparse || random || rates ||
        run->n_heads != 1 || run->n_ties > 0 || run->settings.clip_norm > 0 ||
        run->settings.radius > 0 || run->n_forward != 2 * run->n_weight_sets)
        return 0;
    for (int i = 0; i < run->n_forward; i += 2) {
        if (!is_layer(run, i, value))
            return 0;
        value = run->forward[i].output;
    }
    return run->heads->value == value;
}

static int n_columns(const Run *run, const Weights *w)
{
    int n = 1;
    for (int j = 0; j < MAX_STATES; j++)
        n += run->state[j] != NULL;
    return w->n_out == 1 ? n : 0;
}

static ptrdiff_t column_size(const Run *run, const Weights *w)
{
    return aligned((w->n_in + run->k->lanes) * run->k->itemsize);
}

/* The layers, targets of a batch, and the columns of single outputs. */
size_t online_scratch(const Run *run)
{
    size_t size = aligned(run->n_weight_sets * sizeof(ChainLayer));
    size += aligned(ONLINE_ROWS * run->values[run->heads->value].ld * run->k->itemsize);
    for (const Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++)
        size += n_columns(run, w) * column_size(run, w);
    return size;
}

/* Layer i; returns the end of the scratch that it takes from p on. */
static char *fill_layer(const Run *run, int i, ChainLayer *layer, char *p)
{
    const Weights *w = run->weights + i;
    const Value *out = run->values + run->forward[2 * i].output;
    const size_t biases = w->n_in * w->width * run->k->itemsize;
    *layer = (ChainLayer){
        .n_in = w->n_in, .n_out = w->n_out, .vectors = w->vectors, .half = w->half, .panel = w->panel, .n_panels = w->n_panels,
        .unit = out->activation, .parameter = out->parameter, .l1 = w->l1, .l2 = w->l2, .w = w->packed,
        .b = w->has_bias ? w->packed + biases : NULL, .a = out->a[0], .d = out->d[0], .slope = out->slope[0], .ld = out->ld,
        .a_rows = out->a_rows[0], .penalties = run->n_penalties ? run->penalties + w->first_penalty : NULL,
    };
    for (int j = 0; j < MAX_STATES; j++) {
        layer->states[j] = w->state[j];
        layer->bias_states[j] = at_offset(w->state[j], biases);
    }
    for (int j = -1; w->n_out == 1 && j < MAX_STATES; j++) {
        if (j >= 0 && w->state[j] == NULL)
            continue;
        *(j < 0 ? &layer->column : &layer->column_states[j]) = p;
        p += column_size(run, w);
    }
    return p;
}

void train_online(Run *run)
{
    const ptrdiff_t n_batches = (run->n_rows + run->batch - 1) / run->batch;
    ChainLayer *layers = (ChainLayer *)run->scratch;
    char *p = run->scratch + aligned(run->n_weight_sets * sizeof(ChainLayer));
    Update updates[AT_ONCE];
    const Update *at[AT_ONCE];
    /* by the number of the step */
    const int differ = run->settings.rule == ADAM || run->settings.rule == ADAMW || run->state[AVERAGE] != NULL;
    Chain chain = {
        .layers = layers, .n = run->n_weight_sets, .cost = run->heads->cost, .weight = run->heads->weight, .x = run->x,
        .y = run->heads->y, .x_in_place = run->x_in_place, .y_in_place = reads_in_place(run->k, &run->heads->y),
        .has_y = run->heads->has_y, .labels = run->heads->labels,
        .sample_weights = run->sample_weights, .order = run->order, .n_rows = run->n_rows, .batch = run->batch,
        .penalty_over_weight = run->penalty_over_weight, .n_penalties = run->n_penalties, .penalties = run->penalties,
        .record = run->record, .inputs = run->values->a[0], .targets = p, .ld_inputs = run->values->ld,
    };
    p += aligned(ONLINE_ROWS * run->values[run->heads->value].ld * run->k->itemsize);
    for (int i = 0; i < run->n_weight_sets; i++)
        p = fill_layer(run, i, layers + i, p);
    for (ptrdiff_t begin = 0, end; begin < n_batches && !interrupted(run, 0); begin = end) {
        int64_t t = run->t;
        double eta = 0;
        int n = 0;
        end = MIN(begin + AT_ONCE, n_batches);
        run->segment_begin = begin;
        run->segment_end = end;
        if (run->sample_weights != NULL)
            sum_weights(run);
        for (ptrdiff_t i = begin; i < end; i++) {
            if (run->sample_weights != NULL && run->record[3 * i + 2] == 0)
                continue;
            /* most are like the one before */
            if (n == 0 || differ || t < 2 || run->learning_rates[i] != eta)
                updates[n++] = step_of(run, run->learning_rates[i], t + 1);
            eta = run->learning_rates[i];
            at[i - begin] = updates + n - 1;
            t++;
        }
        run->k->train_chain(&chain, begin, end, at);
        run->t = t;
    }
}
