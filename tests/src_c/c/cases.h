/* The networks that run.c trains, as data. */
#ifndef FASTBP_CASES_H
#define FASTBP_CASES_H

#include "program.h"

enum { MOST_VALUES = 12, MOST_STEPS = 20 };

/* An op forward but for UNIT, which follows the last step that writes to a value; {0} ends a list. */
typedef struct {
    OpKind kind; /* DENSE, TRANSPOSED, RBF, SCALE, PRELU, SPARSE, BINS, BATCH_NORM, GROUP_NORM, WEIGHT_NORM, EMBED, MOVE, ADD */
    int input, output;
    int weights, bias; /* where there are any; their numbers begin with 0 and have no gaps */
    ptrdiff_t column;    /* of SPARSE, fan_in; of WEIGHT_NORM, the weights whose norms it divides by */
    ptrdiff_t source, n; /* of MOVE, ADD; n = 0: all of the input */
    ptrdiff_t dim;       /* of EMBED, whose table is (n, dim) */
} Step;

#define DENSE(input, output, w) {OP_DENSE, input, output, w, w, 0, 0, 0, 0}
#define BARE(input, output, w) {OP_DENSE, input, output, w, -1, 0, 0, 0, 0} /* without bias */
#define RADIAL(input, output, w) {OP_RBF, input, output, w, w, 0, 0, 0, 0}
#define SCALE(input, output, w, b) {OP_SCALE, input, output, w, b, 0, 0, 0, 0}
#define PARAMETRIC(input, output, w) {OP_PRELU, input, output, w, -1, 0, 0, 0, 0}
#define SPARSE(input, output, w, b, fan_in) {OP_SPARSE, input, output, w, b, fan_in, 0, 0, 0}
#define BINS(input, output) {OP_BINS, input, output, -1, -1, 0, 0, 0, 0} /* so many of each column as the output has columns more */
#define TRANSPOSED(input, output, w, b) {OP_TRANSPOSED, input, output, w, b, 0, 0, 0, 0}
#define COLUMNS_NORMED(input, output) {OP_BATCH_NORM, input, output, -1, -1, 0, 0, 0, 0}
#define ROWS_NORMED(input, output) {OP_GROUP_NORM, input, output, -1, -1, 0, 0, 0, 0}
#define ROWS_SCALED(input, output, w, b) {OP_GROUP_NORM, input, output, w, b, 0, 0, 0, 0} /* not of X */
#define WEIGHTS_NORMED(input, output, w, b, of) {OP_WEIGHT_NORM, input, output, w, b, of, 0, 0, 0} /* w = -1: by singular values */
#define MOVE(input, output, column) {OP_MOVE, input, output, -1, -1, column, 0, 0, 0}
#define ADD(input, output) {OP_ADD, input, output, -1, -1, 0, 0, 0, 0}
#define SLICE(kind, input, output, column, source, n) {OP_##kind, input, output, -1, -1, column, source, n, 0}
#define EMBED(output, w, column, source, n, dim) {OP_EMBED, 0, output, w, -1, column, source, n, dim}

/* Values that no step reads are the outputs. */
typedef struct {
    const char *name;
    int units[MOST_VALUES]; /* of values, X first */
    Step steps[MOST_STEPS]; /* none: dense layers one after the other */
    Activation activation;  /* of all values but outputs and radial ones */
    Loss loss, second_loss; /* of the first output, of the others */
    ptrdiff_t n_rows, batch;
    double zeros; /* share of X */
    int csr, weighted, per_role; /* per_role: rates that differ by the roles of parameters */
    Rule rule;
    int n_states;
    double clip_norm, max_norm, dropout, noise, tie; /* tie: of the second and third weights */
    int keep_every; /* of a chain's values, others are made again; 0: keep all */
    double average, radius;                          /* decay of the parameters' average, and SAM's; 0: none */
    double masked; /* share of weights */
    int free;      /* of penalties */
} Case;

static const Case CASES[] = {
    /* chains */
    {.name = "online", .units = {4, 8, 1}, .activation = LOGISTIC, .loss = SQUARED_ERROR, .n_rows = 60, .batch = 1, .average = 0.9},
    {.name = "wide", .units = {300, 100, 10}, .activation = RELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 140, .batch = 64,
     .rule = NESTEROV, .n_states = 1, .average = 0.9},
    {.name = "zeros", .units = {300, 130, 40, 5}, .activation = TANH, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 130, .batch = 50,
     .zeros = 0.9, .weighted = 1, .rule = ADAM, .n_states = 2, .radius = 0.05},
    {.name = "csr", .units = {500, 70, 3}, .activation = GELU, .loss = CROSS_ENTROPY, .n_rows = 200, .batch = 33, .zeros = 0.95,
     .csr = 1, .rule = ADAMW, .n_states = 2, .clip_norm = 0.1},
    {.name = "csr in place", .units = {33000, 33, 2}, .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 50, .batch = 20,
     .zeros = 0.999, .csr = 1, .rule = MOMENTUM, .n_states = 1, .average = 0.9, .radius = 0.05},
    {.name = "csr of many columns", .units = {3000, 33, 2}, .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 60, .batch = 9,
     .zeros = 0.999, .csr = 1, .rule = GRADIENT_DESCENT, .free = 1},
    {.name = "csr of many columns, rows at rest", .units = {3000, 33, 2}, .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 60,
     .batch = 1, .zeros = 0.999, .csr = 1, .rule = ADAM, .n_states = 2, .free = 1},
    {.name = "chunks", .units = {60, 256, 7}, .activation = SILU, .loss = HUBER, .n_rows = 700, .batch = 700, .weighted = 1,
     .rule = RMSPROP_CENTERED, .n_states = 3, .average = 0.9},
    {.name = "folds", .units = {3, 9, 2}, .activation = SOFTPLUS, .loss = POISSON, .n_rows = 8200, .batch = 8200,
     .rule = ADAGRAD, .n_states = 1, .clip_norm = 0.5, .radius = 0.05},
    {.name = "ties", .units = {80, 80, 80, 80, 4}, .activation = ELU, .loss = SQUARED_ERROR, .n_rows = 256, .batch = 64,
     .rule = MOMENTUM, .n_states = 1, .max_norm = 0.7, .dropout = 0.3, .noise = 0.1, .tie = 0.2, .average = 0.9},
    {.name = "radial", .units = {12, 50, 20, 3}, .steps = {RADIAL(0, 1, 0), DENSE(1, 2, 1), DENSE(2, 3, 2)},
     .activation = SOFTMAX, .loss = ABSOLUTE_ERROR, .n_rows = 250, .batch = 40, .rule = RMSPROP_MOMENTUM, .n_states = 2},
    {.name = "linear", .units = {1, 1}, .loss = SQUARED_ERROR, .n_rows = 17, .batch = 5, .average = 0.9},
    {.name = "large, one after the other", .units = {130, 260, 140, 130, 12}, .activation = TANH, .loss = SQUARED_ERROR,
     .n_rows = 100, .batch = 70, .rule = ADAM, .n_states = 2, .dropout = 0.2, .average = 0.9},
    {.name = "made again", .units = {9, 20, 17, 30, 5, 40, 3}, .activation = GELU, .loss = SQUARED_ERROR, .n_rows = 130,
     .batch = 50, .rule = ADAM, .n_states = 2, .dropout = 0.2, .keep_every = 2, .average = 0.9},
    {.name = "large, made again", .units = {130, 190, 260, 140, 130, 12}, .activation = TANH, .loss = SQUARED_ERROR,
     .n_rows = 300, .batch = 280, .rule = MOMENTUM, .n_states = 1, .clip_norm = 0.3, .keep_every = 3, .radius = 0.05},
    {.name = "large, with ties", .units = {135, 135, 135, 135, 4}, .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 100,
     .batch = 40, .rule = MOMENTUM, .n_states = 1, .tie = 0.5, .radius = 0.05},

    /* A = f(H + F(H)) */
    {.name = "residual", .units = {20, 24, 24, 24, 24, 3},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(2, 3, 2), MOVE(1, 4, 0), ADD(3, 4), DENSE(4, 5, 3)},
     .activation = LOGISTIC, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 120, .batch = 32, .rule = MOMENTUM, .n_states = 1},
    {.name = "large residual of odd width", .units = {131, 259, 259, 259, 259, 3},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), BARE(2, 3, 2), MOVE(1, 4, 0), ADD(3, 4), DENSE(4, 5, 3)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .rule = ADAM, .n_states = 2, .dropout = 0.25,
     .radius = 0.05},
    {.name = "residual around a large halved layer", .units = {300, 112, 300, 300, 5},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), MOVE(0, 3, 0), ADD(2, 3), DENSE(3, 4, 2)},
     .activation = SILU, .loss = SQUARED_ERROR, .n_rows = 150, .batch = 40, .rule = NESTEROV, .n_states = 1, .clip_norm = 0.3},
    {.name = "residual of X, with zeros", .units = {200, 200, 200, 4},
     .steps = {DENSE(0, 1, 0), MOVE(0, 2, 0), ADD(1, 2), DENSE(2, 3, 1)},
     .activation = SOFTPLUS, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 150, .batch = 40, .zeros = 0.95, .weighted = 1},

    /* scales of features */
    {.name = "scales", .units = {9, 9, 21, 21, 3, 3},
     .steps = {SCALE(0, 1, 0, 0), DENSE(1, 2, 1), SCALE(2, 3, 2, -1), DENSE(3, 4, 3), SCALE(4, 5, 4, 4)},
     .activation = GELU, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAMW, .n_states = 2, .max_norm = 0.5,
     .per_role = 1, .average = 0.9},
    {.name = "scales of large layers", .units = {200, 261, 261, 261, 133, 133, 4},
     .steps = {DENSE(0, 1, 0), SCALE(1, 2, 1, 1), DENSE(2, 3, 2), DENSE(3, 4, 3), SCALE(4, 5, 4, -1), DENSE(5, 6, 5)},
     .activation = TANH, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.2, .dropout = 0.2},
    {.name = "one scale twice, behind csr", .units = {500, 40, 40, 40, 2},
     .steps = {DENSE(0, 1, 0), SCALE(1, 2, 1, 1), SCALE(2, 3, 1, 1), DENSE(3, 4, 2)},
     .activation = SOFTPLUS, .loss = CROSS_ENTROPY, .n_rows = 120, .batch = 33, .zeros = 0.95, .csr = 1},
    {.name = "scales of X beside its products, with zeros", .units = {130, 130, 17, 147, 3},
     .steps = {SCALE(0, 1, 0, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), MOVE(2, 3, 130), DENSE(3, 4, 2)},
     .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 400, .batch = 400, .zeros = 0.95, .rule = ADAM, .n_states = 2},
    {.name = "slopes of large layers, and of X", .units = {130, 130, 261, 261, 133, 133, 4},
     .steps = {PARAMETRIC(0, 1, 0), DENSE(1, 2, 1), PARAMETRIC(2, 3, 2), DENSE(3, 4, 3), PARAMETRIC(4, 5, 4), DENSE(5, 6, 5)},
     .activation = IDENTITY, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .rule = ADAM, .n_states = 2},

    /* normalisation */
    {.name = "normalized columns", .units = {9, 9, 21, 21, 33, 33, 3, 3},
     .steps = {COLUMNS_NORMED(0, 1), DENSE(1, 2, 0), COLUMNS_NORMED(2, 3), DENSE(3, 4, 1), COLUMNS_NORMED(4, 5), DENSE(5, 6, 2),
               COLUMNS_NORMED(6, 7)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 91, .batch = 30, .rule = ADAM, .n_states = 2, .dropout = 0.2},
    {.name = "normalized columns of large layers", .units = {200, 261, 261, 133, 133, 133, 4},
     .steps = {DENSE(0, 1, 0), COLUMNS_NORMED(1, 2), DENSE(2, 3, 1), COLUMNS_NORMED(3, 4), SCALE(4, 5, 2, 2), DENSE(5, 6, 3)},
     .activation = SILU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .weighted = 1, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.2, .dropout = 0.2},
    {.name = "normalized columns of many rows", .units = {30, 256, 256, 7},
     .steps = {DENSE(0, 1, 0), COLUMNS_NORMED(1, 2), DENSE(2, 3, 1)},
     .activation = ELU, .loss = HUBER, .n_rows = 530, .batch = 530, .weighted = 1, .rule = ADAM, .n_states = 2},
    {.name = "normalized columns behind csr, and a residual", .units = {500, 140, 140, 140, 140, 2},
     .steps = {DENSE(0, 1, 0), COLUMNS_NORMED(1, 2), DENSE(2, 3, 1), MOVE(1, 4, 0), ADD(3, 4), DENSE(4, 5, 2)},
     .activation = SOFTPLUS, .loss = CROSS_ENTROPY, .n_rows = 120, .batch = 33, .zeros = 0.95, .csr = 1},
    {.name = "normalized columns and products of X, with zeros", .units = {130, 130, 17, 147, 3},
     .steps = {COLUMNS_NORMED(0, 1), DENSE(0, 2, 0), MOVE(1, 3, 0), MOVE(2, 3, 130), DENSE(3, 4, 1)},
     .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 400, .batch = 400, .zeros = 0.95, .rule = ADAM, .n_states = 2},
    {.name = "normalized rows", .units = {10, 10, 21, 21, 34, 34, 4, 4},
     .steps = {ROWS_NORMED(0, 1), DENSE(1, 2, 0), ROWS_SCALED(2, 3, 3, 3), DENSE(3, 4, 1), ROWS_SCALED(4, 5, 4, -1), DENSE(5, 6, 2),
               ROWS_NORMED(6, 7)},
     .activation = GELU, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2},
    {.name = "normalized rows of large layers", .units = {200, 262, 262, 262, 262, 4},
     .steps = {DENSE(0, 1, 0), ROWS_SCALED(1, 2, 3, 3), DENSE(2, 3, 1), MOVE(1, 4, 0), ADD(3, 4), DENSE(4, 5, 2)},
     .activation = TANH, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1, .dropout = 0.2},

    {.name = "normalized weights", .units = {9, 21, 21, 17, 17, 12, 12, 3, 3},
     .steps = {BARE(0, 1, 0), WEIGHTS_NORMED(1, 2, 1, 1, 0), BARE(2, 3, 2), WEIGHTS_NORMED(3, 4, -1, 3, 2), SPARSE(4, 5, 4, -1, 3),
               WEIGHTS_NORMED(5, 6, 5, 5, 4), BARE(6, 7, 6), WEIGHTS_NORMED(7, 8, -1, 7, 6)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 91, .batch = 30, .rule = ADAM, .n_states = 2, .average = 0.9},
    {.name = "normalized weights of large layers", .units = {150, 261, 261, 133, 133, 133, 4},
     .steps = {BARE(0, 1, 0), WEIGHTS_NORMED(1, 2, 1, 1, 0), BARE(2, 3, 2), WEIGHTS_NORMED(3, 4, -1, 3, 2), DENSE(4, 5, 4),
               DENSE(5, 6, 5)},
     .activation = SILU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 300, .batch = 280, .weighted = 1, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.2, .dropout = 0.2, .radius = 0.05},
    {.name = "normalized weights behind csr, twice", .units = {500, 112, 112, 112, 112, 112, 2},
     .steps = {BARE(0, 1, 0), WEIGHTS_NORMED(1, 2, 1, 1, 0), BARE(2, 3, 2), WEIGHTS_NORMED(3, 4, 3, 3, 2), BARE(4, 5, 2),
               DENSE(5, 6, 4)},
     .activation = SOFTPLUS, .loss = CROSS_ENTROPY, .n_rows = 120, .batch = 33, .zeros = 0.95, .csr = 1},

    /* sparse layers */
    {.name = "sparse", .units = {19, 33, 20, 40, 3},
     .steps = {SPARSE(0, 1, 0, 0, 5), SPARSE(1, 2, 1, -1, 9), DENSE(2, 3, 2), SPARSE(3, 4, 3, 3, 7)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 129, .batch = 40, .rule = ADAM, .n_states = 2, .max_norm = 0.5},
    {.name = "sparse behind large layers", .units = {200, 261, 133, 135, 135, 6},
     .steps = {DENSE(0, 1, 0), SPARSE(1, 2, 1, 1, 12), DENSE(2, 3, 2), SPARSE(3, 4, 3, 3, 1), DENSE(4, 5, 4)},
     .activation = GELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 140, .batch = 70, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.2, .dropout = 0.2},
    {.name = "sparse behind a halved layer, and beside others", .units = {300, 112, 40, 30, 70, 3},
     .steps = {DENSE(0, 1, 0), SPARSE(1, 2, 1, 1, 6), DENSE(1, 3, 2), MOVE(2, 4, 0), MOVE(3, 4, 40), DENSE(4, 5, 3)},
     .activation = SILU, .loss = SQUARED_ERROR, .n_rows = 400, .batch = 400, .rule = NESTEROV, .n_states = 1},
    {.name = "sparse of X beside its products, with zeros", .units = {130, 140, 17, 157, 3},
     .steps = {DENSE(0, 1, 0), SPARSE(0, 2, 1, 1, 20), MOVE(1, 3, 0), MOVE(2, 3, 140), DENSE(3, 4, 2)},
     .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .zeros = 0.95, .rule = ADAM, .n_states = 2},
    {.name = "one sparse layer three times", .units = {21, 21, 21, 21, 2},
     .steps = {SPARSE(0, 1, 0, 0, 4), SPARSE(1, 2, 0, 0, 4), SPARSE(2, 3, 0, 0, 4), DENSE(3, 4, 1)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2},

    /* codes of numbers */
    {.name = "sines of columns", .units = {7, 21, 42, 30, 3},
     .steps = {SPARSE(0, 1, 0, -1, 1), MOVE(1, 2, 0), MOVE(1, 2, 21), SPARSE(2, 3, 1, 1, 6), DENSE(3, 4, 2)},
     .activation = SIN, .loss = SQUARED_ERROR, .n_rows = 129, .batch = 40, .rule = ADAM, .n_states = 2, .dropout = 0.2},
    {.name = "bins of X, and of a value", .units = {6, 24, 40, 5, 85, 3},
     .steps = {BINS(0, 1), SPARSE(1, 2, 0, 0, 4), DENSE(2, 3, 1), BINS(3, 4), DENSE(4, 5, 2)},
     .activation = COS, .loss = SQUARED_ERROR, .n_rows = 129, .batch = 40, .rule = ADAM, .n_states = 2},

    /* masks */
    {.name = "masks", .units = {300, 100, 33, 10}, .activation = RELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 140, .batch = 64,
     .rule = NESTEROV, .n_states = 1, .masked = 0.6, .clip_norm = 0.3},
    {.name = "masks of csr in place", .units = {17000, 33, 2}, .activation = RELU, .loss = SQUARED_ERROR, .n_rows = 50,
     .batch = 20, .zeros = 0.999, .csr = 1, .rule = MOMENTUM, .n_states = 1, .masked = 0.5},
    {.name = "masks of a tied autoencoder", .units = {300, 135, 261, 135, 300},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), TRANSPOSED(2, 3, 1, 2), TRANSPOSED(3, 4, 0, 3)},
     .activation = SOFTPLUS, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .rule = ADAM, .n_states = 2, .masked = 0.8},

    /* branches side by side */
    {.name = "two branches", .units = {9, 5, 18, 23, 2},
     .steps = {DENSE(0, 1, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), MOVE(2, 3, 5), DENSE(3, 4, 2)},
     .activation = ELU, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 30, .rule = ADAM, .n_states = 2, .dropout = 0.2},
    {.name = "three branches, one of them X", .units = {7, 3, 33, 43, 19, 1},
     .steps = {DENSE(0, 1, 0), BARE(0, 2, 1), MOVE(1, 3, 0), MOVE(0, 3, 3), MOVE(2, 3, 10), DENSE(3, 4, 2), DENSE(4, 5, 3)},
     .activation = GELU, .loss = CROSS_ENTROPY, .n_rows = 100, .batch = 30, .rule = ADAGRAD, .n_states = 1, .noise = 0.1},
    {.name = "large branches", .units = {140, 261, 133, 394, 270, 6},
     .steps = {DENSE(0, 1, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), MOVE(2, 3, 261), DENSE(3, 4, 2), DENSE(4, 5, 3)},
     .activation = LEAKY_RELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1},
    {.name = "large branches that are added", .units = {520, 130, 130, 130, 4},
     .steps = {DENSE(0, 1, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), ADD(2, 3), DENSE(3, 4, 2)},
     .activation = TANH, .loss = HUBER, .n_rows = 100, .batch = 70, .rule = ADAMW, .n_states = 2, .clip_norm = 0.2},
    {.name = "branches of csr", .units = {400, 65, 31, 96, 3},
     .steps = {DENSE(0, 1, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), MOVE(2, 3, 65), DENSE(3, 4, 2)},
     .activation = RELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 150, .batch = 40, .zeros = 0.96, .csr = 1, .rule = ADAM,
     .n_states = 2},
    {.name = "radial beside dense, with zeros", .units = {130, 140, 150, 290, 4},
     .steps = {RADIAL(0, 1, 0), DENSE(0, 2, 1), MOVE(1, 3, 0), MOVE(2, 3, 140), DENSE(3, 4, 2)},
     .activation = LOGISTIC, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 30, .zeros = 0.95, .rule = MOMENTUM, .n_states = 1},
    {.name = "X moved", .units = {150, 150, 200, 3}, .steps = {MOVE(0, 1, 0), DENSE(1, 2, 0), DENSE(2, 3, 1)},
     .activation = HARD_TANH, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .dropout = 0.3},

    /* some columns of a value */
    {.name = "columns of X and of a value", .units = {21, 40, 37, 12, 2},
     .steps = {SLICE(MOVE, 0, 1, 0, 17, 4), SLICE(MOVE, 0, 1, 4, 0, 17), SLICE(MOVE, 0, 1, 21, 2, 19), DENSE(1, 2, 0),
               SLICE(MOVE, 2, 3, 0, 5, 12), SLICE(ADD, 2, 3, 3, 0, 9), DENSE(3, 4, 1)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 30, .rule = ADAM, .n_states = 2, .dropout = 0.2},
    {.name = "columns of a large value", .units = {140, 261, 261, 130, 6},
     .steps = {DENSE(0, 1, 0), SLICE(MOVE, 1, 2, 0, 130, 131), SLICE(MOVE, 1, 2, 131, 0, 130), DENSE(2, 3, 1), DENSE(3, 4, 2)},
     .activation = ELU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1},

    /* tables, of several panels too, and one in two places */
    {.name = "tables beside columns of X", .units = {5, 42, 20, 3},
     .steps = {SLICE(MOVE, 0, 1, 0, 1, 2), EMBED(1, 0, 2, 0, 7, 3), EMBED(1, 1, 5, 3, 300, 36), EMBED(1, 2, 41, 4, 2, 1),
               DENSE(1, 2, 3), DENSE(2, 3, 4)},
     .activation = TANH, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 150, .batch = 40, .weighted = 1, .rule = ADAM, .n_states = 2,
     .dropout = 0.2},
    {.name = "a shared table, and large layers", .units = {2, 20, 261, 130, 21, 4},
     .steps = {EMBED(1, 0, 0, 0, 40, 20), DENSE(1, 2, 1), DENSE(2, 3, 2), EMBED(4, 0, 0, 1, 40, 20), SLICE(MOVE, 3, 4, 20, 7, 1),
               DENSE(4, 5, 3)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .rule = NESTEROV, .n_states = 1, .clip_norm = 0.3},
    {.name = "tables of many chunks", .units = {3, 70, 256, 5},
     .steps = {EMBED(1, 0, 0, 0, 9, 33), EMBED(1, 1, 33, 1, 600, 37), DENSE(1, 2, 2), DENSE(2, 3, 3)},
     .activation = SILU, .loss = SOFTMAX_CROSS_ENTROPY, .n_rows = 530, .batch = 530, .rule = MOMENTUM, .n_states = 1},

    /* weights that have several uses */
    {.name = "tied autoencoder", .units = {13, 5, 13}, .steps = {DENSE(0, 1, 0), TRANSPOSED(1, 2, 0, 1)},
     .activation = LOGISTIC, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 32, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.05},
    {.name = "encoder, decoder, encoder", .units = {13, 5, 13, 5},
     .steps = {DENSE(0, 1, 0), TRANSPOSED(1, 2, 0, 1), DENSE(2, 3, 0)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 32, .rule = ADAM, .n_states = 2, .max_norm = 0.5,
     .average = 0.9},
    {.name = "large tied autoencoder", .units = {300, 135, 261, 135, 300},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), TRANSPOSED(2, 3, 1, 2), TRANSPOSED(3, 4, 0, 3)},
     .activation = SOFTPLUS, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .rule = ADAM, .n_states = 2, .dropout = 0.2,
     .radius = 0.05},
    {.name = "transposed only, of X too", .units = {70, 70, 70, 70, 2},
     .steps = {DENSE(0, 1, 0), TRANSPOSED(0, 2, 0, 1), MOVE(1, 3, 0), ADD(2, 3), DENSE(3, 4, 2)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .zeros = 0.95},
    {.name = "transposed of X alone", .units = {5, 9, 5, 9, 2},
     .steps = {TRANSPOSED(0, 1, 0, 1), DENSE(1, 2, 0), TRANSPOSED(2, 3, 0, 1), DENSE(3, 4, 2)},
     .activation = LOGISTIC, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = MOMENTUM, .n_states = 1},
    {.name = "one layer three times", .units = {6, 21, 21, 21, 21, 1},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(2, 3, 1), DENSE(3, 4, 1), DENSE(4, 5, 2)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2},
    {.name = "large layer three times", .units = {131, 263, 263, 263, 263, 2},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(2, 3, 1), DENSE(3, 4, 1), DENSE(4, 5, 2)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1, .max_norm = 0.9,
     .dropout = 0.1},
    {.name = "one radial layer twice", .units = {14, 14, 14, 14, 2},
     .steps = {DENSE(0, 1, 0), RADIAL(1, 2, 1), RADIAL(2, 3, 1), DENSE(3, 4, 2)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2},
    {.name = "one large radial layer on two branches", .units = {260, 131, 131, 262, 3},
     .steps = {RADIAL(0, 1, 0), RADIAL(0, 2, 0), MOVE(1, 3, 0), MOVE(2, 3, 131), DENSE(3, 4, 1)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2},

    /* several outputs */
    {.name = "two heads", .units = {11, 20, 3, 1}, .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(1, 3, 2)},
     .activation = RELU, .loss = SOFTMAX_CROSS_ENTROPY, .second_loss = SQUARED_ERROR, .n_rows = 90, .batch = 32, .weighted = 1,
     .rule = ADAM, .n_states = 2},
    {.name = "three large heads", .units = {210, 270, 150, 130, 9, 2},
     .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(1, 3, 2), BARE(2, 4, 3), DENSE(1, 5, 4)},
     .activation = ELU, .loss = CROSS_ENTROPY, .second_loss = HUBER, .n_rows = 100, .batch = 70, .rule = MOMENTUM, .n_states = 1,
     .clip_norm = 0.3, .dropout = 0.2},
    {.name = "heads of many chunks", .units = {40, 256, 5, 7}, .steps = {DENSE(0, 1, 0), DENSE(1, 2, 1), DENSE(1, 3, 2)},
     .activation = SILU, .loss = SOFTMAX_CROSS_ENTROPY, .second_loss = ABSOLUTE_ERROR, .n_rows = 530, .batch = 530,
     .rule = MOMENTUM, .n_states = 1},
    {.name = "all without biases", .units = {150, 130, 130, 4}, .steps = {BARE(0, 1, 0), BARE(1, 2, 1), BARE(2, 3, 2)},
     .activation = TANH, .loss = SQUARED_ERROR, .n_rows = 90, .batch = 40, .rule = ADAM, .n_states = 2,
     .clip_norm = 0.2},
};

#endif
