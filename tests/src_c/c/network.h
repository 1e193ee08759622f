/* A case's program and data, in arrays of just their size, for sanitizers to watch. */
#ifndef FASTBP_NETWORK_H
#define FASTBP_NETWORK_H

#include "cases.h"
#include "run.h"

#include <stdlib.h>
#include <string.h>

static uint64_t seed = 1;
static double uniform(void) /* in [-1, 1) */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) * 0x1p-52 - 1;
}

static void *get(size_t size) /* bytes that are all NaN */
{
    void *p = malloc(size ? size : 1);
    if (!p)
        exit(3);
    return memset(p, 0xff, size);
}

static void put(void *array, size_t itemsize, ptrdiff_t i, double x)
{
    if (itemsize == 4)
        ((float *)array)[i] = (float)x;
    else
        ((double *)array)[i] = x;
}

/* What a case trains on, and what all its runs begin with. */
typedef struct {
    Run run;
    size_t size; /* of the program */
    ptrdiff_t n_parameters;
    void *x, *columns, *bounds;
    void *y[MOST_VALUES]; /* targets of the heads, or */
    int64_t *labels[MOST_VALUES];
    double *weights;
    void *inputs[MOST_STEPS], *readers[MOST_STEPS], *masks[MOST_STEPS]; /* of weights */
} Network;

/* The steps of a case, those of a chain made; returns how many there are. */
static int steps_of(const Case *c, Step *steps)
{
    int n = 0;
    for (; n < MOST_STEPS && c->steps[n].kind; n++)
        steps[n] = c->steps[n];
    for (; !c->steps[0].kind && n + 1 < MOST_VALUES && c->units[n + 1]; n++)
        steps[n] = (Step)DENSE(n, n + 1, n);
    return n;
}

static void set_value(Value *value, const Kernels *k, ptrdiff_t n, Activation activation)
{
    value->n = n, value->vectors = (n + k->lanes - 1) / k->lanes, value->ld = row_distance(k, n);
    value->activation = activation, value->parameter = 0.5, value->learns = 1;
}

static void set_weights(Weights *w, const Kernels *k, ptrdiff_t n_in, ptrdiff_t n_out)
{
    w->n_in = w->half = n_in, w->n_out = n_out, w->vectors = (n_out + k->lanes - 1) / k->lanes;
}

/* Random inputs of the units of sparse weights, of which some may be the same. */
static void connect(Network *net, int i, ptrdiff_t n_in)
{
    Weights *w = net->run.weights + i;
    const ptrdiff_t size = w->n_in * w->n_out;
    int32_t *inputs = get((size_t)size * sizeof(int32_t));
    Reader *reader = net->readers[i] = get((size_t)size * sizeof(Reader));
    for (ptrdiff_t at = 0; at < size; at++)
        inputs[at] = (int32_t)((uniform() + 1) / 2 * (double)n_in);
    net->inputs[i] = inputs;
    w->connections = (Connections){w->n_in, w->n_out, inputs, reader};
    for (int32_t input = 0; input < n_in; input++)
        for (ptrdiff_t at = 0; at < size; at++)
            if (inputs[at] == input)
                *reader++ = (Reader){input, (int32_t)(at / w->n_in), (int32_t)(at % w->n_in)};
}

/* Whether an op's weights are factors of single features. */
static int multiplies_features(OpKind kind)
{
    return kind == OP_SCALE || kind == OP_PRELU || kind == OP_GROUP_NORM || kind == OP_WEIGHT_NORM;
}

static void append_op(Run *run, const Step *step)
{
    const int n = (int)run->values[step->input].n;
    run->forward[run->n_forward++] = (Op){.kind = step->kind, .input = step->input, .output = step->output,
                                          .weights = step->weights, .bias = step->bias,
                                          .column = step->kind == OP_SPARSE || step->kind == OP_WEIGHT_NORM ? 0 : step->column,
                                          .of = step->kind == OP_WEIGHT_NORM ? (int)step->column : -1,
                                          .source = step->source,
                                          .n = step->n ? step->n : run->values[step->input].n,
                                          .state = run->n_layer_state, .epsilon = 0.1, .n_groups = n % 5 ? 1 + (n % 2 == 0) : 5};
    Op *op = run->forward + run->n_forward - 1;
    if (step->kind == OP_WEIGHT_NORM && step->weights >= 0)
        op->state = -1;
    else if (step->kind == OP_WEIGHT_NORM)
        op->n_iterations = 2, run->n_layer_state += run->weights[op->of].n_in + n;
    if (step->kind == OP_BATCH_NORM)
        run->forward[run->n_forward - 1].momentum = 0.2, run->n_layer_state += 2 * n;
    if (step->kind == OP_BINS)
        run->n_layer_state += n + run->values[step->output].n;
}

/* The pass back, by the rules of fastbp/graph/gradient.py. */
static void append_rules(Run *run)
{
    static const OpKind rules[N_OPS] = {
        [OP_DENSE] = OP_DENSE_BACK, [OP_TRANSPOSED] = OP_TRANSPOSED_BACK, [OP_RBF] = OP_RBF_BACK, [OP_MOVE] = OP_MOVE_BACK,
        [OP_ADD] = OP_MOVE_BACK, [OP_SCALE] = OP_SCALE_BACK, [OP_PRELU] = OP_PRELU_BACK, [OP_SPARSE] = OP_SPARSE_BACK,
        [OP_BINS] = OP_BINS_BACK, [OP_BATCH_NORM] = OP_BATCH_NORM_BACK, [OP_GROUP_NORM] = OP_GROUP_NORM_BACK,
        [OP_WEIGHT_NORM] = OP_WEIGHT_NORM_BACK,
        [OP_UNIT] = OP_UNIT_BACK,
    };
    int written[MOST_VALUES] = {0};
    for (int i = 0; i < run->n_heads; i++)
        written[run->heads[i].value] = 1;
    for (int i = run->n_forward - 1; i >= 0; i--) {
        if (run->forward[i].kind == OP_EMBED)
            continue;
        Op *back = (Op *)run->backward + run->n_backward++;
        *back = run->forward[i];
        back->kind = rules[back->kind];
        back->input = run->forward[i].output, back->output = run->forward[i].input;
        if (back->kind != OP_UNIT_BACK)
            back->accumulate = written[back->output], written[back->output] = 1;
    }
}

/* Values, weights, ops and heads of a case. */
static void build_program(Network *net, const Case *c, const Kernels *k)
{
    Step steps[MOST_STEPS];
    Run *run = &net->run;
    const int n_steps = steps_of(c, steps);
    int n_reads[MOST_VALUES] = {0}, last_write[MOST_VALUES] = {0};
    run->k = k;
    for (int i = 0; i < n_steps; i++) {
        run->n_values = MAX(run->n_values, steps[i].output + 1);
        run->n_weight_sets = MAX(run->n_weight_sets, MAX(steps[i].weights, steps[i].bias) + 1);
        last_write[steps[i].output] = i;
        n_reads[steps[i].input]++;
    }
    for (int i = 0; i < run->n_values; i++)
        run->n_heads += n_reads[i] == 0;
    run->n_buffers = run->n_values;
    run->n_sections = c->keep_every ? (run->n_values - 3) / c->keep_every + 1 : 0;
    run->n_forward = run->n_backward = n_steps + run->n_values - 1;
    net->size = program_size(run);
    place_program(run, memset(get(net->size), 0, net->size));
    run->n_forward = run->n_backward = run->n_heads = 0;

    for (int i = 0; i < run->n_values; i++)
        set_value(run->values + i, k, c->units[i], c->activation);
    for (int i = 0; i < run->n_values; i++) {
        const int kept = i == 0 || i == run->n_values - 1 || !c->keep_every || i % c->keep_every == 0;
        run->values[i].section = kept ? -1 : (i - 1) / c->keep_every;
    }
    for (int i = 0; i < n_steps; i++) {
        const Step *step = steps + i;
        Value *out = run->values + step->output;
        const ptrdiff_t n_in = run->values[step->input].n;
        if (step->kind == OP_TRANSPOSED) {
            run->weights[step->weights].keeps_transpose = 1;
            if (step->bias >= 0)
                set_weights(run->weights + step->bias, k, 0, out->n);
        } else if (step->kind == OP_EMBED) {
            set_weights(run->weights + step->weights, k, step->n, step->dim);
        } else if (step->kind == OP_SPARSE) {
            set_weights(run->weights + step->weights, k, step->column, out->n);
            if (net->inputs[step->weights] == NULL)
                connect(net, step->weights, n_in);
        } else if (step->kind == OP_WEIGHT_NORM) {
            set_weights(run->weights + step->bias, k, step->weights >= 0, out->n);
        } else if (step->weights >= 0) {
            set_weights(run->weights + step->weights, k, multiplies_features(step->kind) ? 1 : n_in, out->n);
        }
        if (step->bias >= 0)
            run->weights[step->bias].has_bias = 1;
        const int one_input = step->kind == OP_SPARSE && step->column == 1 && step->bias < 0; /* as frequencies have */
        if (step->weights >= 0 && (multiplies_features(step->kind) || one_input))
            run->weights[step->weights].role = ROLE_SCALE;
        if (step->kind == OP_RBF)
            run->weights[step->weights].role = ROLE_CENTRE, out->radial = 1, out->activation = EXP;
        append_op(run, step);
        if (last_write[step->output] != i)
            continue;
        out->stream = (uint32_t)step->output, out->buffer = step->output, out->dropout = c->dropout;
        append_op(run, &(Step){OP_UNIT, step->output, step->output, out->radial ? step->weights : -1, -1, 0, 0, 0, 0});
        if (n_reads[step->output] > 0)
            continue;
        const Loss loss = run->n_heads ? c->second_loss : c->loss;
        out->is_output = 1, out->activation = out->radial ? EXP : IDENTITY, out->dropout = 0;
        run->heads[run->n_heads] = (Head){.value = step->output, .weight = 1 - 0.4 * run->n_heads,
                                          .cost = {.kind = loss, .parameter = loss == SOFTMAX_CROSS_ENTROPY ? 0 : 1}};
        run->n_heads++;
    }
    append_rules(run);
    for (int i = 0; i < run->n_weight_sets; i++) {
        Weights *w = run->weights + i;
        w->max_norm = c->max_norm;
        w->offset = net->n_parameters;
        net->n_parameters += (w->n_in + w->has_bias) * w->n_out;
        run->n_weights += w->n_in * w->n_out;
        if (c->masked > 0) {
            w->flat_mask = net->masks[i] = get((size_t)(w->n_in * w->n_out) * k->itemsize);
            for (ptrdiff_t j = 0; j < w->n_in * w->n_out; j++)
                put(w->flat_mask, k->itemsize, j, (uniform() + 1) / 2 > c->masked);
        }
    }
    find_sparse(run);
}

/* How many rows the table has that a column of X is for; 0: none. */
static ptrdiff_t table_of(const Case *c, ptrdiff_t column)
{
    for (int i = 0; i < MOST_STEPS; i++)
        if (c->steps[i].kind == OP_EMBED && c->steps[i].source == column)
            return c->steps[i].n;
    return 0;
}

/* X of uniform numbers and zeros, dense or CSR; for tables of what counts as numbers of their rows, or is bounded by them. */
static void build_inputs(Network *net, const Case *c)
{
    Run *run = &net->run;
    const size_t itemsize = run->k->itemsize;
    const ptrdiff_t n = c->n_rows, n_in = run->values->n;
    ptrdiff_t found = 0;
    int64_t *bounds = net->bounds = get((size_t)(n + 1) * sizeof(int64_t));
    int32_t *columns = net->columns = get((size_t)(n * n_in) * sizeof(int32_t));
    net->x = get((size_t)(n * n_in) * itemsize);
    run->x = (Strided){net->x, n_in * (ptrdiff_t)itemsize, (ptrdiff_t)itemsize, itemsize == 4 ? FLOAT32 : FLOAT64};
    bounds[0] = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = 0; j < n_in; j++) {
            double x = (uniform() + 1) / 2 < c->zeros ? 0 : uniform();
            if (table_of(c, j))
                x = floor((uniform() + 1) / 2 * (double)(table_of(c, j) + 2)) + 0.5;
            if (!c->csr)
                put(net->x, itemsize, i * n_in + j, x);
            else if (x != 0)
                columns[found] = (int32_t)j, put(net->x, itemsize, found++, x);
        }
        bounds[i + 1] = found;
        run->most = MAX(run->most, bounds[i + 1] - bounds[i]);
    }
    run->n_rows = n;
    run->sparse = c->csr;
    run->n_nonzeros = c->csr ? found : n * n_in;
    if (c->csr)
        run->csr = (Csr){net->x, net->columns, net->bounds, n_in, run->x.dtype, 0};
    else
        run->most = n_in;
}

/* Targets of an output: 0 and 1, or labels. */
static void build_targets(Network *net, int i)
{
    Run *run = &net->run;
    Head *head = run->heads + i;
    const size_t itemsize = run->k->itemsize;
    const ptrdiff_t n = run->n_rows, n_out = run->values[head->value].n;
    if (head->cost.kind == SOFTMAX_CROSS_ENTROPY) {
        head->labels = net->labels[i] = get((size_t)n * sizeof(int64_t));
        for (ptrdiff_t j = 0; j < n; j++)
            net->labels[i][j] = (int64_t)((uniform() + 1) / 2 * (double)n_out);
        return;
    }
    net->y[i] = get((size_t)(n * n_out) * itemsize);
    for (ptrdiff_t j = 0; j < n * n_out; j++)
        put(net->y[i], itemsize, j, uniform() > 0);
    head->y = (Strided){net->y[i], n_out * (ptrdiff_t)itemsize, (ptrdiff_t)itemsize, run->x.dtype};
    head->has_y = 1;
}

static void build(Network *net, const Case *c, const Kernels *k)
{
    memset(net, 0, sizeof *net);
    build_program(net, c, k);
    build_inputs(net, c);
    for (int i = 0; i < net->run.n_heads; i++)
        build_targets(net, i);
    if (c->weighted) {
        net->run.sample_weights = net->weights = get((size_t)c->n_rows * sizeof(double));
        for (ptrdiff_t i = 0; i < c->n_rows; i++)
            net->weights[i] = i % 7 ? uniform() + 1 : 0;
    }
}

static void drop(Network *net)
{
    free(net->run.values), free(net->x), free(net->columns), free(net->bounds), free(net->weights);
    for (int i = 0; i < MOST_VALUES; i++)
        free(net->y[i]), free(net->labels[i]);
    for (int i = 0; i < MOST_STEPS; i++)
        free(net->inputs[i]), free(net->readers[i]), free(net->masks[i]);
}

#endif
