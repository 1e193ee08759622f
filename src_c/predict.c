/* Prediction: blocks of rows through all ops while they are in cache. */
#include "run.h"

#include <string.h>

/* The unit that a loss from logits brings along. */
static void output_unit(const Kernels *k, const Cost *cost, ptrdiff_t m, ptrdiff_t n, char *z)
{
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

/* Outputs of all rows, a block at a time. Who is free takes the next. Without a team the one member needs no values of its own. */
void predict_member(void *arg, Team *team, int member, int n_members)
{
    Run *run = (Run *)arg;
    const ptrdiff_t blocks = (run->n_rows + run->block - 1) / run->block;
    char *scratch = run->scratch + member * run->scratch_size;
    Part part;
    part.run = run;
    part.team = team;
    part.values = team == NULL ? run->values : memcpy(scratch, run->values, run->n_values * sizeof(Value));
    part.side = 0;
    part.middle = NULL;
    place_block(run, part.values, &part.nonzeros, scratch + aligned(run->n_values * sizeof(Value)));
    part.x_rows = part.values->a_rows[0];
    for (;;) {
        const ptrdiff_t b = __atomic_fetch_add(&run->next_block, 1, __ATOMIC_RELAXED);
        if (b >= blocks || (b >= n_members && interrupted(run, member)))
            return;
        part.first = run->n_rows * b / blocks;
        part.rows = run->n_rows * (b + 1) / blocks - part.first;
        for (int i = 0; i < run->n_heads; i++) {
            Value *value = part.values + run->heads[i].value;
            value->a[0] = run->heads[i].array + part.first * value->n * run->k->itemsize;
        }
        find_rows(&part);
        if (run->x_as_nonzeros || !run->x_in_place)
            run_gather(&part, NULL, 0, part.rows);
        for (int i = 0; i < run->n_forward; i++)
            run_op(&part, run->forward + i, 0, part.rows);
        for (int i = 0; i < run->n_heads; i++) {
            const Value *value = part.values + run->heads[i].value;
            output_unit(run->k, &run->heads[i].cost, part.rows, value->n, value->a[0]);
        }
    }
}
