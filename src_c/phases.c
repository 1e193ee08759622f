/* The ops of a run's mode in order, and the phases that they fall into.
 *
 * An op reads and writes arrays of values and weights, shared by rows or by columns of its output. Two ops follow each other without
 * a barrier if all that one of them writes and the other reads or writes too is shared alike: then each member meets only what is
 * its own. Ops that are shared alike between two barriers are one phase. */
#include "run.h"

#include <string.h>

const char *const fastbp_ops[] = {
#define OP(NUMBER, name, reads, access, writes, weights) [OP_##NUMBER] = #name,
#include "ops.def"
    [N_OPS] = NULL};

/* What ops.def says of each op. */
typedef enum { A, D, T, S, L, P, N_ARRAYS, NONE } Array;
typedef enum { SAME, WHOLE, ALL } Access;
typedef enum { NO, MINE, ANY } WeightAccess;
static const struct {
    Array reads;
    Access access;
    Array writes;
    WeightAccess weights;
} contracts[] = {
#define OP(NUMBER, name, reads, access, writes, weights) [OP_##NUMBER] = {reads, access, writes, weights},
#include "ops.def"
};

/* What of an array a member touches: its rows, its columns, its panels, or more than is its own. */
enum { MY_ROWS = 1, MY_COLUMNS = 2, MY_PANELS = 4, MORE = 8 };

/* ---- the ops in order ------------------------------------------------------------------------------------------------------ */

/* Those of both passes and the heads, with GATHER, CATCH_UP, LIST_TRANSPOSE, TRANSPOSE of X, TIES, SUM_LOSSES, UPDATE, MIDDLE_UNIT; and a
 * TRANSPOSE, BATCH_STATISTICS and BATCH_SUMS for each value. What is made again is there twice, and has an UPDATE for each section. */
int most_ops(const Run *run)
{
    const int again = run->n_sections ? run->n_forward + 2 * run->n_values + 1 + run->n_sections : 0;
    return run->n_forward + run->n_backward + run->n_heads + 3 * run->n_values + 8 + again;
}

int n_touched(const Run *run) { return N_ARRAYS * run->n_values + run->n_weight_sets; }

static Op *append(Run *run, OpKind kind, int value)
{
    Op *op = run->ops + run->n_ops++;
    memset(op, 0, sizeof(Op));
    op->kind = kind;
    op->input = op->output = value;
    op->weights = op->bias = op->section = -1;
    return op;
}

static void append_heads(Run *run, OpKind kind)
{
    for (int i = 0; i < run->n_heads; i++)
        append(run, kind, run->heads[i].value)->head = i;
}

/* Op i of the pass forward, with what else its value is to have. */
static void append_forward_op(Run *run, int i)
{
    const Op *op = run->forward + i;
    const Value *out = run->values + op->output;
    if (takes_batch(run, op) || (op->kind == OP_WEIGHT_NORM && run->mode != PREDICT)) {
        run->ops[run->n_ops] = *op;
        run->ops[run->n_ops++].kind = op->kind == OP_WEIGHT_NORM ? OP_WEIGHT_FACTORS : OP_BATCH_STATISTICS;
    }
    Op *last = run->ops + run->n_ops++;
    *last = *op;
    if (op->kind == OP_DENSE && out->n_parts) {
        last->kind = OP_DENSE_PARTS;
        append(run, OP_SUM_PARTS, op->output)->by_columns = op->by_columns;
    }
    if (op->kind != OP_UNIT)
        return;
    if (out->halved && op->by_columns)
        append(run, OP_MIDDLE_UNIT, op->output);
    if (out->keeps_transpose)
        append(run, OP_TRANSPOSE, op->output)->by_columns = op->by_columns && !out->halved;
}

static void append_forward(Run *run)
{
    int section = -1; /* whose values have their places now */
    for (int i = 0; i < run->n_forward; i++) {
        const int here = shares_places(run) ? run->values[run->forward[i].output].section : -1;
        Op *op = run->ops + run->n_ops;
        append_forward_op(run, i);
        op->reuses = here >= 0 && here != section;
        section = here >= 0 ? here : section;
    }
}

/* The values of a section once more, from the last one before them that was kept. */
static void append_again(Run *run, int section)
{
    Op *first = run->ops + run->n_ops;
    for (int i = 0; i < run->n_forward; i++)
        if (run->values[run->forward[i].output].section == section)
            append_forward_op(run, i);
    first->reuses = 1;
}

/* Back through products by columns that is by columns too; other ops are shared as what comes before them, where they can be. */
static void append_backward(Run *run)
{
    int section = -1; /* whose values are there */
    for (int i = 0; i < run->n_backward; i++) {
        const Op *back = run->backward + i;
        const int to = back->output, here = recomputes(run) ? section_of(run, back) : -1;
        const int sums = back->kind == OP_GROUP_NORM_BACK && back->weights >= 0; /* of which its weights' gradients are made */
        const int needed = to != 0 && (run->values[to].learns || run->mode == BACKWARD || sums);
        if (!needed && (here < 0 || (back->weights < 0 && back->bias < 0)))
            continue;
        if (here != section && section >= 0)
            append(run, OP_UPDATE, 0)->section = section;
        if (here != section && here >= 0)
            append_again(run, here);
        section = here;
        if (!needed) /* but gradients of weights are */
            continue;
        const int by_columns = run->ops[run->n_ops - 1].by_columns, divides = run->backward[i].kind == OP_WEIGHT_NORM_BACK;
        if (takes_batch(run, run->backward + i) || divides) {
            run->ops[run->n_ops] = run->backward[i];
            run->ops[run->n_ops++].kind = divides ? OP_WEIGHT_SUMS : OP_BATCH_SUMS;
        }
        Op *op = run->ops + run->n_ops++;
        *op = run->backward[i];
        if (op->kind == OP_MOVE_BACK)
            op->by_columns = by_columns && moves_all(run, op);
        else if (op->kind == OP_SCALE_BACK || op->kind == OP_PRELU_BACK || op->kind == OP_WEIGHT_NORM_BACK)
            op->by_columns = by_columns;
        else if (op->kind == OP_BATCH_NORM_BACK)
            op->by_columns = takes_batch(run, op) ? run->values[to].by_columns : by_columns;
        else if (op->kind == OP_UNIT_BACK)
            op->by_columns = by_columns && run->values[to].activation != SOFTMAX;
        else
            op->by_columns = run->values[op->input].by_columns;
    }
    if (section >= 0)
        append(run, OP_UPDATE, 0)->section = section;
}

static void assemble(Run *run)
{
    int columns = 0, lists = run->x_as_nonzeros && (run->mode == TRAIN || run->mode == GRADIENT);
    for (int i = 0; i < run->n_forward; i++)
        columns |= run->forward[i].by_columns;
    const int early = columns || recomputes(run); /* where they are as well made at once, or weights are updated on the way back */
    const Weights *rested = rested_weights(run);
    for (int i = 0; i < run->n_weight_sets; i++) /* of all members only one needs its rows of X^T, and makes them itself */
        lists = lists && !(run->sparse && run->weights[i].row_major);
    run->n_ops = 0;
    if (run->mode != BACKWARD) {
        if (run->x_as_nonzeros || !run->x_in_place)
            append(run, OP_GATHER, 0);
        if (rested != NULL)
            append(run, OP_CATCH_UP, 0)->weights = (int)(rested - run->weights);
        if (lists && early)
            append(run, OP_LIST_TRANSPOSE, 0);
        if (run->values->keeps_transpose)
            append(run, OP_TRANSPOSE, 0)->by_columns = columns;
        append_forward(run);
    }
    const int outputs = run->mode == FORWARD || run->mode == PREDICT;
    append_heads(run, outputs ? OP_OUTPUT : run->mode == BACKWARD ? OP_OUTPUT_BACK : OP_LOSS);
    if (outputs)
        return;
    if (run->n_ties && recomputes(run)) /* before the first gradients of weights */
        append(run, OP_TIES, 0);
    if (run->mode != LOSS_ONLY)
        append_backward(run);
    if (run->n_ties && !recomputes(run))
        append(run, OP_TIES, 0);
    if (run->mode != BACKWARD)
        append(run, OP_SUM_LOSSES, 0);
    if (lists && !early)
        append(run, OP_LIST_TRANSPOSE, 0);
    if (run->mode != LOSS_ONLY)
        append(run, OP_UPDATE, 0);
}

/* ---- their phases ---------------------------------------------------------------------------------------------------------- */

static Split split_of(const Op *op)
{
    if (op->kind == OP_WEIGHT_FACTORS || op->kind == OP_WEIGHT_SUMS)
        return op->state < 0 ? WHOLE_COLUMNS : ALONE;
    if (op->kind == OP_BATCH_STATISTICS || op->kind == OP_BATCH_SUMS)
        return WHOLE_COLUMNS;
    if (op->kind == OP_DENSE_PARTS || op->kind == OP_LIST_TRANSPOSE || op->kind == OP_TIES || op->kind == OP_SUM_LOSSES)
        return ALONE;
    return op->kind == OP_UPDATE || op->kind == OP_CATCH_UP ? BY_WEIGHTS : op->by_columns ? BY_COLUMNS : BY_ROWS;
}

int is_by_rows(const Op *op) { return split_of(op) == BY_ROWS; }

int touches_deltas(const Op *op) { return contracts[op->kind].reads == D || contracts[op->kind].writes == D; }

/* Take down that an array is touched; whether a barrier has to come before that. */
static int touch(Touched *t, int writes, int how)
{
    const int others = writes ? t->read | t->written : t->written;
    *(writes ? &t->written : &t->read) |= (unsigned char)how;
    return (others & ~how) || (others && how == MORE);
}

/* Whether an op makes statistics of the columns of the value that is normalised: of its output, or on the way back of its input. */
static int makes_statistics(const Op *op)
{
    return op->kind == OP_BATCH_STATISTICS || op->kind == OP_BATCH_SUMS || op->kind == OP_WEIGHT_FACTORS || op->kind == OP_WEIGHT_SUMS;
}

static int is_forward(const Op *op)
{
    return op->kind == OP_BATCH_STATISTICS || op->kind == OP_BATCH_NORM || op->kind == OP_WEIGHT_FACTORS || op->kind == OP_WEIGHT_NORM;
}

/* Take down what an op touches. `touched` has all arrays of each value, then the weights. */
static int touch_all(const Run *run, const Op *op, Touched *touched)
{
    const Split split = split_of(op);
    const int mine = split == BY_ROWS ? MY_ROWS : split == BY_COLUMNS || split == WHOLE_COLUMNS ? MY_COLUMNS : MY_PANELS;
    const Array reads = contracts[op->kind].reads, writes = contracts[op->kind].writes;
    const Access access = contracts[op->kind].access;
    Touched *in = touched + N_ARRAYS * op->input, *out = touched + N_ARRAYS * op->output;
    Touched *weights = touched + N_ARRAYS * run->n_values;
    int conflict = 0;
    if (op->kind == OP_UPDATE) { /* reads all activations and deltas; writes its weights */
        for (int i = 0; i < N_ARRAYS * run->n_values; i++)
            if (i % N_ARRAYS != L)
                conflict |= touch(touched + i, 0, MORE);
        for (int i = 0; i < run->n_weight_sets && run->mode == TRAIN; i++)
            conflict |= touch(weights + i, 1, run->weights[i].by_columns ? MY_COLUMNS : MY_PANELS);
        return conflict;
    }
    if (op->kind == OP_CATCH_UP)
        conflict |= touch(weights + op->weights, 1, MY_PANELS);
    if (reads != NONE)
        conflict |= touch(in + reads, 0, access == SAME || (access == WHOLE && split == BY_ROWS) ? mine : MORE);
    if (writes != NONE)
        conflict |= touch(out + writes, 1, mine);
    if (op->kind == OP_SPARSE)
        conflict |= touch(in + T, 0, mine);
    if (op->kind == OP_LOSS)
        conflict |= touch(touched + L, 1, mine); /* of value 0, as SUM_LOSSES reads it */
    if (op->kind == OP_SUM_LOSSES)
        conflict |= touch(touched + P, 0, MORE);
    if (makes_statistics(op) || op->kind == OP_WEIGHT_NORM || op->kind == OP_WEIGHT_NORM_BACK || takes_batch(run, op))
        conflict |= touch((is_forward(op) ? out : in) + S, makes_statistics(op), mine == MY_COLUMNS ? mine : MORE);
    if (op->kind == OP_GROUP_NORM_BACK && op->weights >= 0)
        conflict |= touch(in + S, 1, mine); /* the sums of blocks */
    if (op->kind == OP_DENSE && run->values[op->output].halved)
        conflict |= touch(out + D, 1, mine); /* the second sum */
    if (contracts[op->kind].weights != NO) {
        for (int i = 0; i < run->n_weight_sets; i++) {
            const int my_own = contracts[op->kind].weights == MINE && op->by_columns && run->weights[i].by_columns;
            if (i == op->weights || i == op->bias || op->kind == OP_TIES || (op->kind == OP_WEIGHT_FACTORS && i == op->of))
                conflict |= touch(weights + i, 0, my_own ? MY_COLUMNS : MORE);
        }
    }
    return conflict;
}

static void forget(Touched *touched, ptrdiff_t n) { memset(touched, 0, (size_t)n * sizeof(Touched)); }

void find_phases(Run *run, int n_threads)
{
    const int n = n_touched(run);
    Touched *touched = run->touched;
    int n_barriers = 0;
    assemble(run);
    forget(touched, n);
    run->n_phases = 0;
    for (int i = 0; i < run->n_ops; i++) {
        const Op *op = run->ops + i;
        Phase *phase = run->phases + run->n_phases - 1;
        const int conflict = touch_all(run, op, touched) || (op->reuses && i > 0);
        if (conflict) {
            phase->barrier = 1;
            n_barriers++;
            forget(touched, n);
            touch_all(run, op, touched);
        }
        if (i == 0 || conflict || phase->split != split_of(op)) {
            phase = run->phases + run->n_phases++;
            *phase = (Phase){.split = split_of(op), .first = i};
        }
        phase->end = i + 1;
    }
    /* Into the next step: its values may lie on the other side, its weights and losses are the same. The record of penalties needs
     * a barrier after the update, and another one before the next. */
    run->end_barrier = n_barriers < 2;
    for (int i = 0; i < run->n_values; i++)
        forget(touched + N_ARRAYS * i, L);
    for (int i = 0; i < run->n_phases && !run->end_barrier; i++) {
        for (int j = run->phases[i].first; j < run->phases[i].end; j++)
            run->end_barrier |= touch_all(run, run->ops + j, touched);
        if (run->phases[i].barrier)
            break;
    }
    run->sides = n_threads > 1 && !run->end_barrier && run->mode < FORWARD ? 2 : 1;
}
