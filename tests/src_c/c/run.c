/* The core without Python: networks that train and predict in arrays of just their size, for sanitizers to watch.
 *
 * Each network learns twice from the same start, with one member and with several: the same bits. Exits with 0 if all is well. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    int n_layers;
    int units[8]; /* inputs first */
    Activation activation;
    Loss loss;
    int radial; /* the first layer */
    ptrdiff_t n_rows, batch;
    double zeros; /* share of X */
    int csr, weighted;
    Rule rule;
    int n_states;
    double clip_norm, max_norm, dropout, noise, tie;
} Case;

static const Case CASES[] = {
    {"online", 2, {4, 8, 1}, LOGISTIC, SQUARED_ERROR, 0, 60, 1, 0, 0, 0, GRADIENT_DESCENT, 0, 0, 0, 0, 0, 0},
    {"wide", 2, {784, 100, 10}, RELU, SOFTMAX_CROSS_ENTROPY, 0, 400, 64, 0, 0, 0, NESTEROV, 1, 0, 0, 0, 0, 0},
    {"zeros", 3, {300, 130, 40, 5}, TANH, SOFTMAX_CROSS_ENTROPY, 0, 300, 50, 0.9, 0, 1, ADAM, 2, 0, 0, 0, 0, 0},
    {"csr", 2, {500, 70, 3}, GELU, CROSS_ENTROPY, 0, 200, 33, 0.95, 1, 0, ADAMW, 2, 0.1, 0, 0, 0, 0},
    {"csr in place", 2, {40000, 33, 2}, RELU, SQUARED_ERROR, 0, 50, 20, 0.999, 1, 0, MOMENTUM, 1, 0, 0, 0, 0, 0},
    {"chunks", 2, {60, 256, 7}, SILU, HUBER, 0, 3000, 3000, 0, 0, 1, RMSPROP_CENTERED, 3, 0, 0, 0, 0, 0},
    {"folds", 2, {3, 9, 2}, SOFTPLUS, POISSON, 0, 20000, 20000, 0, 0, 0, ADAGRAD, 1, 0.5, 0, 0, 0, 0},
    {"ties", 4, {80, 80, 80, 80, 4}, ELU, SQUARED_ERROR, 0, 256, 64, 0, 0, 0, MOMENTUM, 1, 0, 0.7, 0.3, 0.1, 0.2},
    {"radial", 3, {12, 50, 20, 3}, SOFTMAX, ABSOLUTE_ERROR, 1, 250, 40, 0, 0, 0, RMSPROP_MOMENTUM, 2, 0, 0, 0, 0, 0},
    {"linear", 1, {1, 1}, IDENTITY, SQUARED_ERROR, 0, 17, 5, 0, 0, 0, GRADIENT_DESCENT, 0, 0, 0, 0, 0, 0},
};

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
    memset(p, 0xff, size);
    return p;
}

static void put(void *array, size_t itemsize, ptrdiff_t i, double x)
{
    if (itemsize == 4)
        ((float *)array)[i] = (float)x;
    else
        ((double *)array)[i] = x;
}

static int polls_left;
static int poll(Run *run) { return run->t >= 0 && polls_left-- == 0; }

/* C (m, n) = A (m, k) B^T, which is all that is asked for */
static void gemm(size_t itemsize, int transpose_a, int transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a,
                 ptrdiff_t lda, const void *b, ptrdiff_t ldb, double beta, void *c, ptrdiff_t ldc)
{
    if (transpose_a || !transpose_b || beta != 0)
        exit(4);
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double sum = 0;
            for (ptrdiff_t p = 0; p < k; p++)
                sum += itemsize == 4 ? (double)((const float *)a)[i * lda + p] * (double)((const float *)b)[j * ldb + p]
                                     : ((const double *)a)[i * lda + p] * ((const double *)b)[j * ldb + p];
            put(c, itemsize, i * ldc + j, sum);
        }
}

/* What a case trains on, and the run that it begins with. */
typedef struct {
    Run run;
    size_t size;
    ptrdiff_t n_parameters;
    void *x, *y, *columns, *bounds;
    int64_t *labels;
    double *weights;
} Network;

static Op op(OpKind kind, int input, int output, int weights)
{
    return (Op){.kind = kind, .input = input, .output = output, .weights = weights, .bias = kind == OP_UNIT ? -1 : weights};
}

/* The chain of a case: value i + 1 is made by weights i. */
static void build_program(Network *net, const Case *c, const Kernels *k)
{
    const int n_layers = c->n_layers;
    Run *run = &net->run;
    run->k = k, run->n_values = n_layers + 1, run->n_weight_sets = n_layers, run->n_heads = 1, run->n_slots = 2;
    run->n_forward = run->n_backward = 2 * n_layers;
    net->size = program_size(run);
    place_program(run, memset(get(net->size), 0, net->size));
    for (int i = 0; i <= n_layers; i++) {
        Value *value = run->values + i;
        value->n = c->units[i], value->vectors = (value->n + k->lanes - 1) / k->lanes, value->ld = row_distance(k, value->n);
        value->slot = i % 2;
    }
    for (int i = 0; i < n_layers; i++) {
        Weights *w = run->weights + i;
        Value *out = run->values + i + 1;
        w->n_in = w->half = c->units[i], w->n_out = c->units[i + 1], w->has_bias = 1;
        w->radial = out->radial = c->radial && i == 0;
        out->activation = out->radial ? EXP : i < n_layers - 1 ? c->activation : IDENTITY;
        out->parameter = 0.5, w->max_norm = c->max_norm, out->stream = (uint32_t)i + 1;
        out->dropout = i < n_layers - 1 ? c->dropout : 0;
        w->offset = net->n_parameters, w->vectors = out->vectors;
        net->n_parameters += (w->n_in + 1) * w->n_out;
        run->n_weights += w->n_in * w->n_out;
        run->forward[2 * i] = op(w->radial ? OP_RBF : OP_DENSE, i, i + 1, i);
        run->forward[2 * i + 1] = op(OP_UNIT, i + 1, i + 1, w->radial ? i : -1);
        Op *back = (Op *)run->backward + 2 * (n_layers - 1 - i);
        back[0] = op(OP_UNIT_BACK, i + 1, i + 1, w->radial ? i : -1);
        back[1] = op(w->radial ? OP_RBF_BACK : OP_DENSE_BACK, i + 1, i, i);
    }
    run->values[n_layers].is_output = 1;
    run->heads[0] = (Head){.value = n_layers, .weight = 1, .cost = {.kind = c->loss, .parameter = 1}};
    if (c->loss == SOFTMAX_CROSS_ENTROPY)
        run->heads[0].cost.parameter = 0;
}

static void build(Network *net, const Case *c, const Kernels *k)
{
    const ptrdiff_t n = c->n_rows, n_in = c->units[0], n_out = c->units[c->n_layers];
    Run *run = &net->run;
    memset(net, 0, sizeof *net);
    build_program(net, c, k);
    Head *head = run->heads;
    net->x = get((size_t)(n * n_in) * k->itemsize);
    net->y = get((size_t)(n * n_out) * k->itemsize);
    run->x.data = net->x, run->x.row_stride = n_in * (ptrdiff_t)k->itemsize, run->x.column_stride = (ptrdiff_t)k->itemsize;
    head->y.data = net->y, head->y.row_stride = n_out * (ptrdiff_t)k->itemsize, head->y.column_stride = (ptrdiff_t)k->itemsize;
    run->x.dtype = head->y.dtype = k->itemsize == 4 ? FLOAT32 : FLOAT64;
    ptrdiff_t found = 0;
    int64_t *bounds = net->bounds = get((size_t)(n + 1) * sizeof(int64_t));
    int32_t *columns = net->columns = get((size_t)(n * n_in) * sizeof(int32_t));
    bounds[0] = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = 0; j < n_in; j++) {
            const double x = (uniform() + 1) / 2 < c->zeros ? 0 : uniform();
            if (!c->csr)
                put(net->x, k->itemsize, i * n_in + j, x);
            else if (x != 0)
                columns[found] = (int32_t)j, put(net->x, k->itemsize, found++, x);
        }
        bounds[i + 1] = found;
        run->most = run->most > bounds[i + 1] - bounds[i] ? run->most : bounds[i + 1] - bounds[i];
    }
    for (ptrdiff_t i = 0; i < n * n_out; i++)
        put(net->y, k->itemsize, i, uniform() > 0);
    if (c->csr) {
        run->sparse = 1, run->n_nonzeros = found;
        run->csr = (Csr){net->x, net->columns, net->bounds, n_in, run->x.dtype, 0};
    } else {
        run->most = n_in, run->n_nonzeros = n * n_in;
    }
    if (c->loss == SOFTMAX_CROSS_ENTROPY) {
        head->labels = net->labels = get((size_t)n * sizeof(int64_t));
        for (ptrdiff_t i = 0; i < n; i++)
            net->labels[i] = (int64_t)((uniform() + 1) / 2 * (double)n_out);
    }
    if (c->weighted) {
        run->sample_weights = net->weights = get((size_t)n * sizeof(double));
        for (ptrdiff_t i = 0; i < n; i++)
            net->weights[i] = i % 7 ? uniform() + 1 : 0;
    }
    head->has_y = !head->labels, run->n_rows = n;
    run->poll = poll, run->gemm = gemm;
}

static void drop(Network *net)
{
    free(net->run.values), free(net->x), free(net->y), free(net->columns), free(net->bounds), free(net->labels), free(net->weights);
}

static void go(Run *run, TeamTask task, int n_members)
{
    if (team_run(n_members, task, run) != n_members)
        exit(5);
}

/* A run of the network from these parameters, with a program of its own at `program`. */
static Run begin(const Network *net, void *program, Mode mode, ptrdiff_t batch, char *parameters)
{
    Run run = net->run;
    place_program(&run, memcpy(program, net->run.values, net->size));
    run.mode = mode, run.batch = batch, run.block = 48, run.parameters = parameters;
    run.shared = 1, run.direct = !run.sparse;
    for (int i = 0; mode != TRAIN && i < run.n_values; i++)
        run.values[i].dropout = 0;
    return run;
}

static char *work(Run *run, ptrdiff_t chunk, int n_members)
{
    plan(run, chunk, n_members);
    char *memory = aligned_alloc(64, (size_t)aligned((ptrdiff_t)lay_out(run, n_members, NULL)));
    if (!memory)
        exit(3);
    lay_out(run, n_members, memory);
    return memory;
}

/* Two epochs, gradients of two kinds, an update by hand and predictions, one after the other into `out`; its end. */
static char *learn(const Network *net, const Case *c, int n_members, char *out)
{
    const size_t itemsize = net->run.k->itemsize, size = (size_t)net->n_parameters * itemsize;
    const ptrdiff_t n = c->n_rows, n_in = c->units[0], n_out = c->units[c->n_layers], n_batches = (n + c->batch - 1) / c->batch;
    char *parameters = get(size), *gradient = get(size), *states[MAX_STATES] = {0};
    char *output = get((size_t)(n * n_out) * itemsize), *input_gradient = get((size_t)(n * n_in) * itemsize);
    double *record = get((size_t)(3 * n_batches) * sizeof(double)), *rates = get((size_t)n_batches * sizeof(double));
    void *program = get(net->size);
    Pace pace = {0};
    Tie tie = {1, 2, c->tie, 0};
    char *memory;
    Run run;
    seed = 7;
    for (ptrdiff_t i = 0; i < net->n_parameters; i++)
        put(parameters, itemsize, i, uniform() / 4);
    for (int j = 0; j < c->n_states; j++)
        states[j] = memset(get(size), 0, size);
    for (ptrdiff_t i = 0; i < n_batches; i++)
        rates[i] = 0.01;
    const Settings settings = {.rule = c->rule, .momentum = 0.9, .beta_1 = 0.9, .beta_2 = 0.99, .epsilon = 1e-8,
                               .clip_norm = c->clip_norm};
    int64_t t = 0;
    for (int epoch = 0; epoch < 2; epoch++) {
        run = begin(net, program, TRAIN, c->batch, parameters);
        run.settings = settings, run.learning_rates = rates, run.record = record, run.pace = &pace, run.t = t;
        memcpy(run.state, states, sizeof states);
        for (int i = 0; i < run.n_weight_sets; i++)
            run.weights[i].l2 = 0.01, run.weights[i].l1 = 0.001, run.bounded = c->max_norm > 0;
        if (c->tie > 0) {
            run.ties = &tie, run.n_ties = 1, run.n_tie_penalties = run.weights[1].vectors;
        }
        run.input_noise = c->noise, run.input_dropout = c->dropout, run.seed[0] = 5;
        run.direct = run.direct && !(c->noise > 0);
        memory = work(&run, chunk_of(&run, c->batch), n_members);
        go(&run, train_member, n_members);
        free(memory);
        t = run.t;
        if (run.n_not_finite || t == 0)
            exit(6);
    }
    memcpy(out, parameters, size), out += size;
    run = begin(net, program, GRADIENT, n, parameters);
    run.gradient = gradient, run.record = record, run.pace = &pace;
    memory = work(&run, chunk_of(&run, n), n_members);
    go(&run, train_member, n_members);
    free(memory);
    memcpy(out, gradient, size), out += size;
    run = begin(net, program, FORWARD, n, parameters);
    run.heads[0].array = output;
    memory = work(&run, n, n_members);
    go(&run, own_cost_member, n_members);
    memcpy(out, output, (size_t)(n * n_out) * itemsize), out += (size_t)(n * n_out) * itemsize;
    run = begin(net, program, BACKWARD, n, parameters);
    run.heads[0].array = output, run.gradient = gradient, run.input_gradient = input_gradient;
    plan(&run, n, n_members);
    lay_out(&run, n_members, memory);
    go(&run, own_cost_member, n_members);
    free(memory);
    memcpy(out, gradient, size), out += size;
    memcpy(out, input_gradient, (size_t)(n * n_in) * itemsize), out += (size_t)(n * n_in) * itemsize;
    run = begin(net, program, TRAIN, n, parameters);
    run.settings = settings, run.gradient = gradient;
    memcpy(run.state, states, sizeof states);
    if (update_flat(&run, 0.01, t + 1) == 0)
        memcpy(out, parameters, size), out += size;
    for (ptrdiff_t rows = n; rows > 0; rows = rows > 1 ? 1 : 0) {
        run = begin(net, program, PREDICT, n, parameters);
        run.n_rows = rows, run.heads[0].array = output, run.most = run.sparse ? run.most : 0;
        run.listed = run.sparse || lists_repay(&run, 32);
        run.most = run.listed && !run.sparse ? n_in : run.most;
        prepare_prediction(&run);
        plan_prediction(&run);
        memory = aligned_alloc(64, (size_t)aligned((ptrdiff_t)lay_out_prediction(&run, n_members, NULL)));
        lay_out_prediction(&run, n_members, memory);
        go(&run, predict_member, n_members);
        free(memory);
        memcpy(out, output, (size_t)(rows * n_out) * itemsize), out += (size_t)(rows * n_out) * itemsize;
    }
    free(program), free(parameters), free(gradient), free(output), free(input_gradient), free(record), free(rates);
    for (int j = 0; j < c->n_states; j++)
        free(states[j]);
    return out;
}

/* A run that is stopped at the n-th look: the members leave together, whatever n is. */
static void stop(const Network *net, const Case *c, int n_members)
{
    const size_t size = (size_t)net->n_parameters * net->run.k->itemsize;
    const ptrdiff_t n_batches = (c->n_rows + c->batch - 1) / c->batch;
    double *record = get((size_t)(3 * n_batches) * sizeof(double)), *rates = get((size_t)n_batches * sizeof(double));
    for (polls_left = 0; polls_left < 12; polls_left += 3) {
        const int polls = polls_left;
        char *parameters = memset(get(size), 0, size), *states[MAX_STATES] = {0};
        void *program = get(net->size);
        Pace pace = {0};
        Run run = begin(net, program, TRAIN, c->batch, parameters);
        for (ptrdiff_t i = 0; i < n_batches; i++)
            rates[i] = 0.01;
        for (int j = 0; j < c->n_states; j++)
            run.state[j] = states[j] = memset(get(size), 0, size);
        run.settings.rule = c->rule, run.settings.epsilon = 1e-8, run.learning_rates = rates, run.record = record;
        run.pace = &pace, run.next_check = -1e9;
        char *memory = work(&run, chunk_of(&run, c->batch), n_members);
        go(&run, train_member, n_members);
        free(memory), free(parameters), free(program);
        for (int j = 0; j < c->n_states; j++)
            free(states[j]);
        polls_left = polls;
    }
    polls_left = -1;
    free(record), free(rates);
}

/* With the names of instruction sets, of these alone. */
int main(int argc, char **argv)
{
    polls_left = -1;
    for (const char *const *isa = argc > 1 ? (const char *const *)argv + 1 : fastbp_isas_built; *isa; isa++)
        for (int dtype = 0; dtype < 2 && fastbp_kernels(*isa); dtype++)
            for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
                const Case *c = CASES + i;
                Network net;
                build(&net, c, fastbp_kernels(*isa) + dtype);
                const ptrdiff_t n_out = c->units[c->n_layers];
                const size_t most = (size_t)(4 * net.n_parameters + c->n_rows * (2 * n_out + c->units[0]) + n_out) *
                                    net.run.k->itemsize;
                char *one = get(most), *several = get(most);
                const size_t size = (size_t)(learn(&net, c, 1, one) - one);
                for (int n_members = 2; n_members < 4; n_members++)
                    if ((size_t)(learn(&net, c, n_members, several) - several) != size || memcmp(one, several, size)) {
                        printf("%s, %s, %s: %d members give other bits\n", *isa, dtype ? "float64" : "float32", c->name, n_members);
                        return 1;
                    }
                stop(&net, c, 1 + (int)(i % 3));
                free(one), free(several), drop(&net);
            }
    puts("the same bits for one, two and three members");
    return 0;
}
