/* Prediction, by all members together or by each on blocks of its own. */
#include "run.h"

#include <string.h>

/* The unit that a loss from logits brings along, on rows of an output. */
void output_unit(Part *part, int head, ptrdiff_t row, ptrdiff_t m)
{
    const Kernels *k = part->run->k;
    const Cost *cost = &part->run->heads[head].cost;
    const Value *value = part->values + part->run->heads[head].value;
    const ptrdiff_t n = value->n;
    char *z = value->a[0] + row * n * k->itemsize;
    if (cost->kind == CROSS_ENTROPY) {
        k->activate[LOGISTIC](m, n, z, n, 0, NULL);
    } else if (cost->kind == SOFTMAX_CROSS_ENTROPY) {
        if (cost->fixed_logit)
            for (ptrdiff_t i = 1; i < m + 1; i++)
                memset(z + (i * n - 1) * k->itemsize, 0, k->itemsize);
        k->activate[SOFTMAX](m, n, z, n, 0, NULL);
    } else if (cost->kind == POISSON) {
        k->activate[EXP](m, n, z, n, 0, NULL);
    } else if (cost->kind == PERCEPTRON) {
        k->activate[STEP](m, n, z, n, 0, NULL);
    }
}

/* Outputs of all rows, a block at a time, through all ops while it is in cache. Who is free takes the next. Without a team the one
 * member needs no values of its own. */
static void predict_blocks(Part *part)
{
    Run *run = part->run;
    const ptrdiff_t blocks = (run->n_rows + run->chunk - 1) / run->chunk;
    char *scratch = run->scratch + part->member * run->scratch_size;
    if (part->team != NULL)
        part->values = memcpy(scratch, run->values, run->n_values * sizeof(Value));
    place_chunk(run, part->values, &part->nonzeros, scratch + aligned(run->n_values * sizeof(Value)));
    part->x_rows = part->values->a_rows[0];
    for (;;) {
        const ptrdiff_t b = __atomic_fetch_add(&run->next_block, 1, __ATOMIC_RELAXED);
        if (b >= blocks || (b >= part->n_members && interrupted(run, part->member)))
            return;
        part->first = run->n_rows * b / blocks;
        part->rows = run->n_rows * (b + 1) / blocks - part->first;
        for (int i = 0; i < run->n_heads; i++) {
            Value *value = part->values + run->heads[i].value;
            value->a[0] = run->heads[i].array + part->first * value->n * run->k->itemsize;
        }
        find_rows(part);
        if (run->x_as_nonzeros || !run->x_in_place)
            run_gather(part, NULL, 0, part->rows);
        for (int i = 0; i < run->n_forward; i++)
            run_op(part, run->forward + i, 0, part->rows);
        for (int i = 0; i < run->n_heads; i++)
            output_unit(part, i, 0, part->rows);
    }
}

/* The same of few rows at once, phase by phase. */
static void predict_together(Part *part)
{
    Run *run = part->run;
    part->first = 0;
    part->rows = run->n_rows;
    part->n_blocks = n_blocks_of(run->n_rows, run->block, run->shared);
    part->x_rows = run->values->a_rows[0];
    part->nonzeros = run->nonzeros[0];
    for (const Phase *phase = run->phases; phase < run->phases + run->n_phases; phase++) {
        run_phase(part, phase);
        if (phase->barrier)
            barrier(part);
    }
}

void predict_member(void *arg, Team *team, int member, int n_members)
{
    Run *run = (Run *)arg;
    Part part;
    part.run = run;
    part.team = team;
    part.member = member;
    part.n_members = n_members;
    part.values = run->values;
    part.side = part.kept_side = 0;
    part.middle = NULL;
    part.scratch = run->own + member * run->own_size;
    if (run->packs) {
        move_shares(run, member, n_members, 0);
        barrier(&part);
    }
    const FloatMode mode = flush_subnormals(); /* without a team too */
    if (run->together)
        predict_together(&part);
    else
        predict_blocks(&part);
    restore_mode(mode);
}
