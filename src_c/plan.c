/* How a run is cut into chunks, panels and shares, and where everything lies in its workspace. */
#include "run.h"

#include <string.h>

/* Whether products of the first layer with lists of nonzeros are faster than those of X, which is dense, as so many of its
 * elements have it. In a dense product a vector of W takes half a cycle for each element; in one with lists 1.2 for each nonzero,
 * to which come 6 for the lists, and for the sums of few vectors that wait for each other. */
int lists_repay(Run *run, ptrdiff_t samples)
{
    ptrdiff_t n = run->layers->n_in, found = 0, i;
    uint32_t walk = 0;
    const char *x;
    if (n < 64 || run->layers->radial)
        return 0;
    for (i = 0; i < samples; i++) {
        walk += 2654435769; /* 2^32 over the golden ratio: no period that X may have */
        x = row_of_x(run, i * run->n_rows / samples) + (ptrdiff_t)((walk * (uint64_t)n) >> 32) * run->x.column_stride;
        if (run->x.dtype == FLOAT32)
            found += ((const float *)x)[0] != 0;
        else if (run->x.dtype == FLOAT64)
            found += ((const double *)x)[0] != 0;
        else
            found += x[0] != 0;
    }
    return found * (12 + 2.4 * run->layers->vectors) < samples * run->layers->vectors;
}

/* Between rows of n elements in the workspace: whole vectors, and not all in the same few sets of the cache. */
ptrdiff_t row_distance(const Kernels *k, ptrdiff_t n)
{
    ptrdiff_t ld = (n + k->lanes - 1) / k->lanes * k->lanes;
    return ld * k->itemsize % 256 == 0 ? ld + 64 / (ptrdiff_t)k->itemsize : ld;
}

/* Whether layer i keeps H^T: where G = H^T delta has many columns, its products read rows of H^T from cache faster than columns
 * of H, which lie pages apart. */
static int transposes(Run *run, int i)
{
    return (run->mode == TRAIN || run->mode == GRADIENT) && i < run->n_by_columns && run->layers[i].n_out >= 256 &&
           run->batch >= 64 && !(i == 0 && run->listed);
}

/* Rows of a batch that are worked on at once: few enough that what the forward pass leaves is still in cache for the backward
 * pass, enough to use a weight often while it is there, and bounded in time (for Ctrl-C). */
ptrdiff_t chunk_of(Run *run, ptrdiff_t batch)
{
    ptrdiff_t width = run->layers[0].n_in, most;
    int i;
    for (i = 0; i < run->n_layers; i++)
        width += 2 * run->layers[i].ld;
    most = MIN(FOLDED_ROWS, MAX(256, (1 << 20) / (width * (ptrdiff_t)run->k->itemsize)));
    most = MAX(64, MIN(most, ((ptrdiff_t)1 << 31) / (run->n_weights + 1)));
    return MIN(batch, most);
}

/* How layers are shared among the members, and the panels that their weights are cut into. */
static void cut(Run *run, int n_threads)
{
    Layer *layer;
    ptrdiff_t lanes = run->k->lanes, panel;
    int large, whole_rows;
    int i, shared = -1;
    /* packing W does not repay where it is large and few of its rows are read */
    run->layers->in_place = run->sparse && (run->mode == FORWARD || run->mode == BACKWARD ||
                                            run->layers->n_in * run->layers->n_out * run->k->itemsize > 1 << 22);
    whole_rows = run->layers->in_place;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        /* by columns where the weights are worth keeping in one core's cache, and there are columns for all */
        large = layer->n_in * layer->n_out * run->k->itemsize >= 1 << 16;
        whole_rows = whole_rows || layer->activation == SOFTMAX; /* those by columns come before all others */
        if (large && layer->vectors > 1 && !whole_rows) {
            shared = i;
            if (layer->vectors >= n_threads)
                run->n_by_columns = i + 1;
        }
        layer->width = layer->in_place ? layer->n_out : layer->vectors * lanes;
        /* 48 rows of gradient are still in the L1 cache when the optimizer takes them */
        panel = layer->in_place ? 1 + (1 << 16) / layer->n_out : layer->n_in > 96 ? 48 : layer->n_in;
        layer->panel = (panel + lanes - 1) / lanes * lanes;
        layer->n_panels = (layer->n_in + layer->panel - 1) / layer->panel;
        layer->group = layer->in_place ? layer->vectors : MAX(4, 4096 / (layer->panel * lanes) / 4 * 4);
        layer->half = layer->n_in;
        layer->slot = run->n_penalties;
        run->n_penalties += layer->n_panels * (layer->in_place ? 1 : layer->vectors);
    }
    /* whatever the number of threads, as the bits depend on it */
    layer = run->layers + MAX(shared, 0);
    if ((0 <= shared && shared < run->n_layers - 1) && layer->vectors % 2 && layer->vectors < 16 && layer->n_panels > 1 &&
        !layer->radial && run->mode < FORWARD) {
        layer->half = layer->n_panels / 2 * layer->panel;
    }
    run->n_norms = run->n_penalties;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        layer->bias_slot = run->n_norms;
        run->n_norms += layer->vectors;
    }
    run->listed = run->sparse || (run->mode < FORWARD && run->input_noise == 0 && lists_repay(run, 512));
    /* the rows of a batch would share few sets of the L1 cache; H^T is made from gathered rows */
    run->direct = run->direct && run->x.row_stride % 256 != 0 && !transposes(run, 0);
    run->ld_input = row_distance(run->k, run->layers->n_in);
}

/* How a run works through chunks of so many rows. */
void plan(Run *run, ptrdiff_t chunk, int n_threads)
{
    Layer *layer;
    Layer *last;
    ptrdiff_t lanes = run->k->lanes, scratch = 0, i;
    size_t itemsize = run->k->itemsize;
    int own_cost = run->mode == FORWARD || run->mode == BACKWARD;
    cut(run, n_threads);
    run->keeps_gradient =
        own_cost || run->mode == GRADIENT || (run->mode == TRAIN && (chunk < run->batch || run->settings.clip_norm > 0));
    run->chunk = chunk;
    run->window = chunk_of(run, chunk);
    run->ld_transposed = row_distance(run->k, chunk);
    run->folds = run->keeps_gradient && run->batch > FOLDED_ROWS;
    run->sides = n_threads > 1 && run->n_by_columns && !own_cost ? 2 : 1;
    last = run->layers + run->n_layers - 1;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        scratch = MAX(scratch, (chunk + layer->panel + 1) * layer->group * lanes * (ptrdiff_t)itemsize);
        scratch = MAX(scratch, layer->ld * (ptrdiff_t)itemsize); /* a row, for times_slope_with_dropout */
    }
    if (run->augmentation.height > 0)
        scratch = MAX(scratch, augmentation_scratch(&run->augmentation) * (ptrdiff_t)itemsize);
    scratch = MAX(scratch, run->block * (ptrdiff_t)(2 * sizeof(double) + last->n_out * itemsize));
    run->scratch_size = aligned(chunk * sizeof(char *)) + aligned(scratch);
}

/* Give everything its place in the workspace, from p on; returns the end of it. FORWARD has all the places that BACKWARD needs,
 * so that the activations stay where they are. */
static char *place_all(Run *run, int n_threads, char *p)
{
    Layer *layer;
    ptrdiff_t weights, lanes = run->k->lanes, chunk = run->chunk, i, r;
    size_t itemsize = run->k->itemsize;
    int side;
    for (side = 0; side < run->sides; side++) {
        if (!run->direct && !run->sparse) {
            run->input[side] = p;
            p += aligned(chunk * run->ld_input * itemsize);
        }
        if (run->listed) {
            i = MIN(run->n_nonzeros, chunk * run->most);
            p = place_nonzeros(&run->nonzeros[side], p, chunk, i, itemsize);
            if (halved(run->layers)) {
                run->middle[side] = (ptrdiff_t *)p;
                p += aligned(chunk * sizeof(ptrdiff_t));
            }
            if (run->mode != LOSS_ONLY)
                p = place_nonzeros(&run->transposed[side], p, run->layers->n_in, i, itemsize);
        }
        for (i = 0; i < run->n_layers; i++) {
            layer = run->layers + i;
            layer->a[side] = p;
            p += aligned(chunk * layer->ld * itemsize);
            layer->d[side] = p;
            p += aligned(chunk * layer->ld * itemsize);
            if (run->mode != LOSS_ONLY &&
                (layer->activation == GELU || layer->activation == SILU || layer->radial ||
                 (layer->activation == SOFTMAX && layer->dropout > 0))) { /* of a dropped unit a tells nothing */
                layer->slope[side] = p;
                p += aligned(chunk * layer->ld * itemsize);
            }
            layer->a_rows[side] = (char **)p;
            p += aligned(chunk * sizeof(char *));
            layer->d_rows[side] = (char **)p;
            p += aligned(chunk * sizeof(char *));
        }
    }
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        weights = aligned((layer->n_in + 1) * layer->width * itemsize);
        if (layer->in_place) {
            layer->packed = run->parameters + layer->w * itemsize;
            states_at(run->state, layer->w * itemsize, layer->state);
            layer->g = at_offset(run->gradient, layer->w * itemsize);
        } else {
            layer->packed = p;
            p += weights;
            for (r = 0; r < MAX_STATES; r++) {
                if (run->state[r] != NULL) {
                    layer->state[r] = p;
                    p += weights;
                }
            }
        }
        if (run->keeps_gradient && !(layer->in_place && run->gradient != NULL)) {
            layer->g = p;
            p += weights;
        }
        if (run->folds) {
            layer->sum = p;
            layer->error = p + weights;
            p += 2 * weights;
        }
        for (r = 0; r < run->n_ties; r++)
            if (run->ties[r].i == i || run->ties[r].j == i)
                layer->tie_gradient = p;
        if (layer->tie_gradient != NULL)
            p += weights;
        if (i && run->mode != LOSS_ONLY) {
            layer->wt = p;
            p += (layer->n_in + lanes - 1) / lanes * layer->vectors * lanes * lanes * itemsize;
        }
    }
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        for (side = 0; side < (transposes(run, i) ? run->sides : 0); side++) {
            layer->ht[side] = p;
            p += aligned((layer->n_in + lanes) * run->ld_transposed * itemsize);
            layer->ht_rows[side] = (char **)p;
            p += aligned(layer->n_in * sizeof(char *));
        }
    }
    run->block_loss = (double *)p;
    p += aligned(n_blocks_of(chunk, run->block, run->shared) * sizeof(double));
    run->penalties = (double *)p;
    p += aligned(run->n_penalties * sizeof(double));
    run->tie_penalties = (double *)p;
    p += aligned(run->n_tie_penalties * sizeof(double));
    run->norms = (double *)p;
    p += aligned(run->n_norms * sizeof(double));
    run->scratch = p;
    p += n_threads * run->scratch_size;
    return p;
}

/* Fill in the pointers to rows, once the places are there. */
static void point_to_rows(Run *run)
{
    Layer *layer;
    Layer *last = run->layers + run->n_layers - 1;
    ptrdiff_t chunk = run->chunk, i, r;
    size_t itemsize = run->k->itemsize;
    int side;
    for (i = 0; i < run->n_layers; i++) {
        layer = run->layers + i;
        for (side = 0; side < (transposes(run, i) ? run->sides : 0); side++)
            for (r = 0; r < layer->n_in; r++)
                layer->ht_rows[side][r] = layer->ht[side] + r * run->ld_transposed * itemsize;
    }
    for (side = 0; side < run->sides; side++) {
        memset(last->d[side], 0, chunk * last->ld * itemsize); /* the loss does not write the columns that fill it up */
        for (i = 0; i < run->n_layers; i++) {
            layer = run->layers + i;
            for (r = 0; r < chunk; r++) {
                layer->a_rows[side][r] = layer->a[side] + r * layer->ld * itemsize;
                layer->d_rows[side][r] = layer->d[side] + r * layer->ld * itemsize;
            }
        }
    }
}

size_t lay_out(Run *run, int n_threads, char *p)
{
    char *const from = p ? p : (char *)64; /* any place will do for the size */
    const size_t size = (size_t)(place_all(run, n_threads, from) - from);
    if (p)
        point_to_rows(run);
    return size;
}

/* Bytes for W and b packed; 0 where that does not pay: it does where W overflows the L1 cache and there are rows enough to use
 * what was packed. */
static size_t packed_size(const Run *run, const Layer *layers, int i)
{
    const Layer *layer = layers + i;
    if (layer->n_in * layer->n_out * (ptrdiff_t)run->k->itemsize <= 32768 || run->n_rows < 48 || (run->sparse && i == 0))
        return 0;
    return aligned((layer->n_in + 1) * layer->vectors * run->k->lanes * run->k->itemsize);
}

/* Layers, packed weights, and for each member two buffers of a block and the lists of its nonzeros. */
size_t lay_out_prediction(Run *run, const Layer *layers, int n_threads, char *p)
{
    const ptrdiff_t itemsize = (ptrdiff_t)run->k->itemsize;
    size_t size = aligned(run->n_layers * sizeof(Layer));
    if (!p) {
        ptrdiff_t widest = run->direct || run->sparse ? 0 : layers->n_in;
        char *const from = (char *)64;
        Nonzeros nonzeros;
        /* rows enough to use a weight often while it is in cache, few enough that activations stay there and all have work */
        run->block = MIN(run->n_rows, MAX(24, MIN(96, run->n_rows / 16)));
        for (int i = 0; i < run->n_layers; i++) {
            if (i)
                widest = MAX(widest, layers[i - 1].vectors * run->k->lanes);
            size += packed_size(run, layers, i);
        }
        run->scratch_size = 2 * aligned(run->block * widest * itemsize);
        run->scratch_size += (size_t)(place_nonzeros(&nonzeros, from, run->block, run->block * run->most, itemsize) - from);
        return size + n_threads * run->scratch_size;
    }
    run->layers = (Layer *)p;
    memcpy(run->layers, layers, run->n_layers * sizeof(Layer));
    p += size;
    for (int i = 0; i < run->n_layers; i++) {
        Layer *layer = run->layers + i;
        layer->width = layer->n_out;
        size = packed_size(run, layers, i);
        if (size) {
            layer->packed = p;
            move_parameters(run, layer, run->parameters, p, 0, 0, layer->vectors);
            if (i < run->n_layers - 1) /* whole vectors of A, which only the next layer reads */
                layer->width = layer->vectors * run->k->lanes;
            p += size;
        }
    }
    run->scratch = p;
    return 0;
}
