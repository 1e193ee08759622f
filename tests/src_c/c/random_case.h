/* Networks drawn at random: any graph of the ops of ops.def. */
#ifndef FASTBP_RANDOM_CASE_H
#define FASTBP_RANDOM_CASE_H

#include "network.h"

#include <stdio.h>

static int below(int n) { return (int)((uniform() + 1) / 2 * n); }

static int pick(const int *from, int n) { return from[below(n)]; }
#define PICK(...) pick((const int[]){__VA_ARGS__}, (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))

/* A case on its way. */
typedef struct {
    Case c;
    int n_values, n_steps, n_weights;
    int n_in[MOST_STEPS], n_out[MOST_STEPS], kind[MOST_STEPS]; /* of weights: columns from and to, the op that made them */
    int fan_in[MOST_STEPS];
    int n_reads[MOST_VALUES];
} Draft;

static void add_step(Draft *d, Step step)
{
    d->c.steps[d->n_steps++] = step;
    d->n_reads[step.input]++;
}

static int new_value(Draft *d, int n)
{
    d->c.units[d->n_values] = n;
    return d->n_values++;
}

static int new_weights(Draft *d, int kind, int n_in, int n_out)
{
    d->kind[d->n_weights] = kind, d->n_in[d->n_weights] = n_in, d->n_out[d->n_weights] = n_out;
    return d->n_weights++;
}

/* A layer with new weights. */
static void add_layer(Draft *d, int input, int n)
{
    const int kind = PICK(OP_RBF, OP_SCALE, OP_PRELU, OP_SPARSE, OP_SPARSE, OP_BINS, OP_BATCH_NORM, OP_GROUP_NORM, OP_DENSE, OP_DENSE, OP_DENSE, OP_DENSE, OP_DENSE);
    if (kind == OP_BATCH_NORM || (kind == OP_GROUP_NORM && (input == 0 || below(2)))) {
        add_step(d, (Step){(OpKind)kind, input, new_value(d, d->c.units[input]), -1, -1, 0, 0, 0, 0});
        return;
    }
    if (kind == OP_BINS) {
        add_step(d, (Step){OP_BINS, input, new_value(d, d->c.units[input] * PICK(1, 2, 3)), -1, -1, 0, 0, 0, 0});
        return;
    }
    const int n_out = kind == OP_SCALE || kind == OP_PRELU || kind == OP_GROUP_NORM ? d->c.units[input] : n, w = new_weights(d, kind, d->c.units[input], n_out);
    d->fan_in[w] = kind == OP_SPARSE ? PICK(1, 4, 9, 17) : 0;
    const int bare = kind == OP_PRELU || (kind != OP_RBF && below(4) == 0);
    add_step(d, (Step){(OpKind)kind, input, new_value(d, n_out), w, bare ? -1 : w, d->fan_in[w], 0, 0, 0});
    if ((kind == OP_DENSE || kind == OP_SPARSE) && bare && d->n_values < MOST_VALUES - 2) { /* by norms of columns, or singular values */
        const int u = d->n_values - 1, others = new_weights(d, OP_WEIGHT_NORM, 0, n_out);
        add_step(d, (Step){OP_WEIGHT_NORM, u, new_value(d, n_out), below(2) || kind == OP_SPARSE ? others : -1, others, w, 0, 0, 0});
    }
}

/* X with rows of two tables beside it. */
static void embed(Draft *d)
{
    const int n = d->c.units[0], dims[2] = {PICK(1, 3, 16, 20), PICK(2, 5, 35)}, z = new_value(d, n + dims[0] + dims[1]);
    add_step(d, (Step){OP_MOVE, 0, z, -1, -1, 0, 0, 0, 0});
    for (int i = 0, column = n; i < 2; column += dims[i++]) {
        const int rows = PICK(1, 4, 50, 300), w = new_weights(d, OP_EMBED, rows, dims[i]);
        add_step(d, (Step){OP_EMBED, 0, z, w, -1, column, i, rows, dims[i]});
    }
}

/* A layer with weights that are there, if any fit the input. */
static void share_weights(Draft *d, int input)
{
    for (int w = 0; w < d->n_weights; w++) {
        const int fits = d->n_in[w] == d->c.units[input], transposed = d->n_out[w] == d->c.units[input];
        if (below(2) || d->n_in[w] == 0 || d->kind[w] == OP_EMBED || (!fits && (!transposed || d->kind[w] != OP_DENSE)))
            continue;
        const int n = fits ? d->n_out[w] : d->n_in[w];
        int bias = w; /* which another place of the same layer may have, or none */
        if (!fits)
            bias = new_weights(d, OP_TRANSPOSED, 0, n);
        for (int i = 0; i < d->n_steps; i++)
            if (d->c.steps[i].weights == w && (d->c.steps[i].kind == OP_TRANSPOSED) == !fits)
                bias = d->c.steps[i].bias;
        add_step(d, (Step){fits ? (OpKind)d->kind[w] : OP_TRANSPOSED, input, new_value(d, n), w, bias, fits ? d->fan_in[w] : 0, 0, 0, 0});
        if (!fits && bias != d->n_weights - 1)
            d->n_weights--;
        return;
    }
}

/* Two values or three, added where they are of one width, else side by side. */
static void combine(Draft *d, int many)
{
    int from[3], n = 0, alike = 1;
    for (int i = 0; i < many; i++) {
        from[i] = below(d->n_values);
        for (int other = 0; below(2) && other < d->n_values; other++)
            if (i > 0 && d->c.units[other] == d->c.units[from[0]])
                from[i] = other;
        n += d->c.units[from[i]], alike = alike && d->c.units[from[i]] == d->c.units[from[0]];
    }
    const int add = alike && below(4) > 0, z = new_value(d, add ? d->c.units[from[0]] : n);
    for (int i = 0, column = 0; i < many; i++) {
        add_step(d, (Step){add && i > 0 ? OP_ADD : OP_MOVE, from[i], z, -1, -1, column, 0, 0, 0});
        column += add ? 0 : d->c.units[from[i]];
    }
}

/* Columns of a value in another order, the first ones twice. */
static void rearrange(Draft *d, int input)
{
    const int n = d->c.units[input], cut = below(n), again = below(n) + 1, z = new_value(d, n + again);
    add_step(d, (Step){OP_MOVE, input, z, -1, -1, 0, cut, n - cut, 0});
    if (cut)
        add_step(d, (Step){OP_MOVE, input, z, -1, -1, n - cut, 0, cut, 0});
    add_step(d, (Step){OP_MOVE, input, z, -1, -1, n, 0, again, 0});
}

/* No more outputs than three: all that nothing reads side by side, if there are more. */
static void join_outputs(Draft *d)
{
    int n = 0, width = 0, column = 0;
    for (int i = 0; i < d->n_values; i++)
        n += d->n_reads[i] == 0, width += d->n_reads[i] == 0 ? d->c.units[i] : 0;
    if (n <= 3)
        return;
    const int z = new_value(d, width);
    for (int i = 0; i < z; i++)
        if (d->n_reads[i] == 0) {
            add_step(d, (Step){OP_MOVE, i, z, -1, -1, column, 0, 0, 0});
            column += d->c.units[i];
        }
}

static int dense_reads_x(const Draft *d)
{
    for (int i = 0; i < d->n_steps; i++)
        if (d->c.steps[i].input == 0 && d->c.steps[i].kind != OP_DENSE)
            return 0;
    return 1;
}

static Case random_case(int number, ptrdiff_t lanes_, char *name)
{
    const int lanes = (int)lanes_;
    Draft d = {.n_values = 1};
    seed = (uint64_t)number * 0x9e3779b97f4a7c15 + 1;
    below(2);
    sprintf(name, "random %d", number);
    Case *c = &d.c;
    c->name = name;
    c->units[0] = PICK(3, lanes, 2 * lanes + 1, 100, 140, 300, 500);
    if (below(4) == 0)
        embed(&d);
    add_layer(&d, d.n_values - 1, PICK(5, lanes, 3 * lanes, 100, 7 * lanes, 140, 270));
    for (int most = 3 + below(6); d.n_values < most && d.n_steps < MOST_STEPS - 9;) {
        const int input = below(2) ? d.n_values - 1 : below(d.n_values);
        switch (below(6)) {
        case 0: combine(&d, 2 + below(2)); break;
        case 1: rearrange(&d, input); break;
        case 2: case 3: share_weights(&d, input); break;
        default: add_layer(&d, input, PICK(1, 5, lanes - 1, lanes, 3 * lanes, 7 * lanes, 33, 130, 135, 260)); break;
        }
    }
    join_outputs(&d);
    c->activation = (Activation)PICK(LOGISTIC, TANH, RELU, SOFTPLUS, ELU, GELU, SILU, MISH, HARD_SIGMOID, HARD_SWISH,
                                     SIN, COS, SOFTMAX, IDENTITY);
    c->loss = (Loss)PICK(SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, HUBER);
    c->second_loss = (Loss)PICK(SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, HUBER);
    c->n_rows = 20 + below(120), c->batch = PICK(3, 20, 64, 70, 200), c->weighted = below(3) == 0;
    c->per_role = below(4) == 0;
    c->zeros = below(2) ? 0 : 0.95, c->csr = c->zeros > 0 && below(2) && dense_reads_x(&d);
    c->rule = (Rule)PICK(ADAM, GRADIENT_DESCENT, NESTEROV);
    c->n_states = c->rule == ADAM ? 2 : c->rule == NESTEROV;
    c->clip_norm = below(3) ? 0 : 0.3, c->max_norm = below(4) ? 0 : 0.8, c->dropout = below(3) ? 0 : 0.3;
    c->noise = !c->csr && below(4) == 0 ? 0.1 : 0, c->masked = below(4) ? 0 : 0.5;
    c->tie = d.n_weights > 2 && d.kind[1] == OP_DENSE && d.kind[2] == OP_DENSE && d.n_in[1] == d.n_in[2] &&
             d.n_out[1] == d.n_out[2] ? 0.2 : 0;
    c->average = below(2) ? 0 : 0.9, c->radius = below(4) ? 0 : 0.05;
    return d.c;
}

#endif
