/* Prediction: blocks of rows through two buffers that stay in cache. */
#include "run.h"

#include <string.h>

/* A of m rows where it is radial, else Z = H W + b. Unless it is NULL, `nonzeros` has those of H. */
static void predict_layer(Run *run, Layer *layer, ptrdiff_t m, char **h, const Nonzeros *nonzeros, char *z)
{
    const Kernels *k = run->k;
    int packed = layer->packed != NULL;
    char *w = packed ? layer->packed : run->parameters + layer->w * k->itemsize;
    char *b = packed ? w + layer->vectors * layer->n_in * k->lanes * k->itemsize : run->parameters + layer->b * k->itemsize;
    ptrdiff_t ldw = packed ? k->lanes : layer->n_out, stripe = packed ? layer->n_in * k->lanes : k->lanes;
    if (layer->radial) {
        k->rbf(m, layer->width, layer->n_in, h, w, ldw, stripe, b, z, NULL, layer->width);
    } else if (nonzeros != NULL) {
        k->nonzeros_matmul(m, layer->width, layer->n_in, nonzeros, 0, w, ldw, stripe, b, 0, z, layer->width, k->lanes);
    } else {
        k->matmul(m, layer->width, layer->n_in, h, 0, layer == run->layers ? FAR_ROWS : ROWS, w, ldw, stripe, b, 0, z,
                  layer->width, k->lanes);
    }
}

/* The unit that a loss from logits brings along. */
static void output_unit(Run *run, ptrdiff_t m, ptrdiff_t n, char *z)
{
    ptrdiff_t i;
    if (run->cost.kind == CROSS_ENTROPY) {
        run->k->activate[LOGISTIC](m, n, z, n, 0, NULL);
    } else if (run->cost.kind == SOFTMAX_CROSS_ENTROPY) {
        if (run->cost.fixed_logit)
            for (i = 1; i < m + 1; i++)
                memset(z + (i * n - 1) * run->k->itemsize, 0, run->k->itemsize);
        run->k->activate[SOFTMAX](m, n, z, n, 0, NULL);
    } else if (run->cost.kind == POISSON) {
        run->k->activate[EXP](m, n, z, n, 0, NULL);
    } else if (run->cost.kind == PERCEPTRON) {
        run->k->activate[STEP](m, n, z, n, 0, NULL);
    }
}

/* Output activations of all rows, a block at a time through buffers that stay in cache. Who is free takes the next. */
void predict_member(void *arg, Team *team, int member, int n_members)
{
    (void)team;
    Run *run = (Run *)arg;
    const Kernels *k = run->k;
    Layer *layer;
    Layer *last = run->layers + run->n_layers - 1;
    char *scratch = run->scratch + member * run->scratch_size;
    char *z = NULL;
    Nonzeros nonzeros;
    char *buffers[2];
    char *h[128];
    const int64_t *order;
    ptrdiff_t blocks = (run->n_rows + run->block - 1) / run->block, b, row, m, j, size;
    int i;
    buffers[0] = place_nonzeros(&nonzeros, scratch, run->block, run->block * run->most, k->itemsize);
    buffers[1] = buffers[0] + (scratch + run->scratch_size - buffers[0]) / 2;
    while (1) {
        b = __atomic_fetch_add(&run->next_block, 1, __ATOMIC_RELAXED);
        if (b >= blocks || (b >= n_members && interrupted(run, member)))
            return;
        row = run->n_rows * b / blocks;
        m = run->n_rows * (b + 1) / blocks - row;
        order = run->order != NULL ? run->order + row : NULL;
        if (run->sparse) {
            k->gather_csr(m, &run->csr, order, row, 0, 0, &nonzeros);
        } else if (run->direct) {
            for (j = 0; j < m; j++)
                h[j] = row_of_x(run, row + j);
        } else {
            size = run->layers->n_in * k->itemsize;
            for (j = 0; j < m; j++)
                h[j] = buffers[1] + j * size;
            k->gather(m, run->layers->n_in, &run->x, order, row, buffers[1], run->layers->n_in);
        }
        if (run->listed && !run->sparse)
            k->find_nonzeros(m, run->layers->n_in, h, 0, &nonzeros);
        for (i = 0; i < run->n_layers; i++) {
            layer = run->layers + i;
            z = layer == last ? run->output + row * last->n_out * k->itemsize : buffers[i % 2];
            predict_layer(run, layer, m, h, run->listed && i == 0 ? &nonzeros : NULL, z);
            if (!layer->radial) {
                k->activate[(int)layer->activation](m, layer->activation == SOFTMAX ? layer->n_out : layer->width, z,
                                                    layer->width, layer->parameter, NULL);
            }
            size = layer->width * k->itemsize;
            for (j = 0; j < m; j++)
                h[j] = z + j * size;
        }
        output_unit(run, m, last->n_out, z);
    }
}
