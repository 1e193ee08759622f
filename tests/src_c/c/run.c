/* The core without Python: networks that train and predict, for sanitizers to watch.
 *
 * Each network learns from the same start with one member and with several (whose work -DFASTBP_RANDOM_SCHEDULE shares at random):
 * the same bits. Its gradients are those of its cost. Exits with 0 if all is well. */
#include "random_case.h"
#include "schedule.h"

/* Of two members both always work; of three sometimes one does the work of all. In any order two are one of the orders of three.
 *
 * Under sanitizers, where all takes ten times as long, each dtype is seen by one, as their kernels are one source; ThreadSanitizer
 * sees members beside each other, and nothing of one alone. */
#if defined __SANITIZE_THREAD__
enum { FIRST_DTYPE = FLOAT32, LAST_DTYPE = FLOAT32, ALONE_TOO = 0 };
#elif defined __SANITIZE_ADDRESS__
enum { FIRST_DTYPE = FLOAT64, LAST_DTYPE = FLOAT64, ALONE_TOO = 1 };
#else
enum { FIRST_DTYPE = FLOAT32, LAST_DTYPE = FLOAT64, ALONE_TOO = 1 };
#endif
enum { ALWAYS_ALL = RANDOM_SCHEDULE ? 3 : 2 };

static int polls_left = -1;
static int poll(Run *run) { return run->t >= 0 && polls_left-- == 0; }

/* C (m, n) = A (m, k) op(B) + beta C, which is all that is asked for */
static void gemm(size_t itemsize, int transpose_a, int transpose_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a,
                 ptrdiff_t lda, const void *b, ptrdiff_t ldb, double beta, void *c, ptrdiff_t ldc)
{
#define AT(array, i) (itemsize == 4 ? (double)((const float *)(array))[i] : ((const double *)(array))[i])
    if (transpose_a)
        exit(4);
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double sum = beta != 0 ? beta * AT(c, i * ldc + j) : 0;
            for (ptrdiff_t p = 0; p < k; p++)
                sum += AT(a, i * lda + p) * AT(b, transpose_b ? j * ldb + p : p * ldb + j);
            put(c, itemsize, i * ldc + j, sum);
        }
#undef AT
}

/* What a network has computed, one result after the other. */
typedef struct {
    char *bytes;
    size_t size;
} Results;

static void keep(Results *results, const void *array, size_t size)
{
    results->bytes = realloc(results->bytes, results->size + size + 1);
    if (!results->bytes)
        exit(3);
    memcpy(results->bytes + results->size, array, size);
    results->size += size;
}

static void go(Run *run, TeamTask task, int n_members)
{
    /* predictions by threads that the one before has left there, if they still are */
    if (team_run(n_members, task, run, task == predict_member ? 1e-4 : 0) != n_members)
        exit(5);
}

/* Bytes of parameters, behind which the layers' state lies. */
static size_t learnt_size(const Network *net)
{
    return (size_t)(net->n_parameters + net->run.n_layer_state) * net->run.k->itemsize;
}

/* A run of the network from these parameters, with a program of its own at `program`. */
static Run begin(const Network *net, void *program, Mode mode, ptrdiff_t batch, char *parameters)
{
    Run run = net->run;
    place_program(&run, memcpy(program, net->run.values, net->size));
    run.mode = mode, run.batch = batch, run.block = 48, run.parameters = parameters;
    run.layer_state = run.kept[0] = parameters + net->n_parameters * (ptrdiff_t)run.k->itemsize;
    run.batch_statistics = mode == TRAIN || mode == LOSS_ONLY || mode == GRADIENT;
    run.shared = 1, run.x_in_place = !run.sparse;
    run.poll = poll, run.gemm = gemm;
    for (int i = 0; mode != TRAIN && i < run.n_values; i++)
        run.values[i].dropout = 0;
    return run;
}

/* Memory of just the size that a plan asks for, all NaN. */
static char *reserve(size_t size)
{
    char *memory = aligned_alloc(64, (size_t)aligned((ptrdiff_t)size));
    if (!memory)
        exit(3);
    return memset(memory, 0xff, size);
}

/* The workspace of a run, which begins with `size` bytes of another one, whose place it takes. */
static char *work_from(Run *run, ptrdiff_t chunk, int n_members, char *before, size_t size)
{
    plan(run, chunk, n_members);
    const size_t needed = lay_out(run, n_members, NULL);
    char *memory = reserve(MAX(needed, size));
    if (before)
        memcpy(memory, before, size);
    free(before);
    lay_out(run, n_members, memory);
    return memory;
}

static char *work(Run *run, ptrdiff_t chunk, int n_members) { return work_from(run, chunk, n_members, NULL, 0); }

/* The arrays of a network's outputs, or of gradients with respect to them. */
typedef struct {
    char *at[MOST_VALUES];
    size_t size[MOST_VALUES];
} Outputs;

static Outputs get_outputs(const Network *net)
{
    Outputs outputs;
    for (int i = 0; i < net->run.n_heads; i++) {
        outputs.size[i] = (size_t)(net->run.n_rows * net->run.values[net->run.heads[i].value].n) * net->run.k->itemsize;
        outputs.at[i] = get(outputs.size[i]);
    }
    return outputs;
}

static void point_to(const Outputs *outputs, Run *run)
{
    for (int i = 0; i < run->n_heads; i++)
        run->heads[i].array = outputs->at[i];
}

static void drop_outputs(Outputs *outputs, int n)
{
    for (int i = 0; i < n; i++)
        free(outputs->at[i]);
}

/* ---- training -------------------------------------------------------------------------------------------------------------- */

/* What training begins with and changes. */
typedef struct {
    char *parameters, *states[MAX_STATES];
    double *record, *rates;
    int64_t t;
    Settings settings;
    Pace pace;
} Learner;

static Learner start(const Network *net, const Case *c)
{
    const size_t itemsize = net->run.k->itemsize, size = (size_t)net->n_parameters * itemsize;
    const ptrdiff_t n_batches = (c->n_rows + c->batch - 1) / c->batch;
    static const double factors[2][N_ROLES] = {{1, 1, 1, 1}, {2, 0, 6, 0.5}};
    Learner l = {.parameters = get(learnt_size(net)), .record = get((size_t)(3 * n_batches) * sizeof(double)),
                 .rates = get((size_t)n_batches * sizeof(double)),
                 .settings = {.rule = c->rule, .momentum = 0.9, .beta_1 = 0.9, .beta_2 = 0.99, .epsilon = 1e-8,
                              .clip_norm = c->clip_norm, .radius = c->radius}};
    memcpy(l.settings.per_role, factors[c->per_role], sizeof l.settings.per_role);
    seed = 7;
    for (ptrdiff_t i = 0; i < net->n_parameters; i++)
        put(l.parameters, itemsize, i, uniform() / 8);
    for (ptrdiff_t i = 0; i < net->run.n_layer_state; i++)
        put(l.parameters, itemsize, net->n_parameters + i, 0.1 + 0.01 * (double)i); /* bounds of bins ascend */
    for (int j = 0; j < c->n_states; j++)
        l.states[j] = memset(get(size), 0, size);
    if (c->average > 0)
        l.states[AVERAGE] = memcpy(get(size), l.parameters, size);
    for (ptrdiff_t i = 0; i < n_batches; i++)
        l.rates[i] = 0.01;
    return l;
}

static void end(Learner *l)
{
    free(l->parameters), free(l->record), free(l->rates);
    for (int j = 0; j < MAX_STATES; j++)
        free(l->states[j]);
}

static Run begin_training(const Network *net, void *program, const Case *c, Learner *l)
{
    Run run = begin(net, program, TRAIN, c->batch, l->parameters);
    run.settings = l->settings, run.learning_rates = l->rates, run.record = l->record, run.pace = &l->pace, run.t = l->t;
    memcpy(run.state, l->states, sizeof l->states);
    run.average_decay = c->average, run.first_averaged = 1;
    run.bounded = c->max_norm > 0;
    for (int i = 0; i < run.n_weight_sets; i++)
        if (run.weights[i].n_in > 0 && !c->free)
            run.weights[i].l2 = 0.01, run.weights[i].l1 = 0.001;
    return run;
}

/* What fills up the last stripe of weights is 0, or norms and penalties would have it. */
static int is_filled_with_zeros(const Run *run)
{
    const size_t itemsize = run->k->itemsize;
    for (int i = 0; i < run->n_weight_sets; i++) {
        const Weights *w = run->weights + i;
        const ptrdiff_t last = (w->vectors - 1) * run->k->lanes;
        for (ptrdiff_t r = 0; r <= w->n_in && !w->row_major; r++)
            for (ptrdiff_t j = w->n_out - last; j < run->k->lanes; j++) {
                const ptrdiff_t at = r < w->n_in ? last * w->n_in + r * run->k->lanes + j : w->n_in * w->width + last + j;
                const double x = itemsize == 4 ? (double)((float *)w->packed)[at] : ((double *)w->packed)[at];
                if (x != 0)
                    return 0;
            }
    }
    return 1;
}

/* An epoch; its losses and penalties, and the parameters. */
static void train(const Network *net, void *program, const Case *c, Learner *l, int n_members, Results *results)
{
    Run run = begin_training(net, program, c, l);
    Tie tie = {1, 2, c->tie, 0};
    if (c->tie > 0)
        run.ties = &tie, run.n_ties = 1, run.n_tie_penalties = run.weights[1].vectors;
    run.input_noise = c->noise, run.input_dropout = c->noise > 0 ? c->dropout : 0, run.seed[0] = 5;
    run.x_in_place = run.x_in_place && !(c->noise > 0);
    char *memory = work(&run, chunk_of(&run, c->batch), n_members);
    go(&run, train_member, n_members);
    const int filled = is_filled_with_zeros(&run);
    free(memory);
    l->t = run.t;
    if (run.n_not_finite || !filled) {
        printf("%s: %s\n", c->name, run.n_not_finite ? "not finite" : "weights are not filled up with zeros");
        exit(6);
    }
    keep(results, &run.loss, sizeof run.loss);
    keep(results, l->record, (size_t)(3 * ((c->n_rows + c->batch - 1) / c->batch)) * sizeof(double));
    keep(results, l->parameters, learnt_size(net));
    if (c->average > 0)
        keep(results, l->states[AVERAGE], (size_t)net->n_parameters * run.k->itemsize);
}

/* A run that is stopped at the n-th look: the members leave together, whatever n is. */
static void stop(const Network *net, void *program, const Case *c, int n_members)
{
    for (int n = 0; n < 12; n += 3) {
        Learner l = start(net, c);
        Run run = begin_training(net, program, c, &l);
        polls_left = n;
        run.next_check = -1e9;
        char *memory = work(&run, chunk_of(&run, c->batch), n_members);
        go(&run, train_member, n_members);
        polls_left = -1;
        free(memory), end(&l);
    }
}

/* ---- costs, and predictions ------------------------------------------------------------------------------------------------ */

/* The mean loss of all rows, and its gradient unless that is NULL. */
static double evaluate(const Network *net, void *program, char *parameters, char *gradient, int n_members)
{
    double record[3];
    Pace pace = {.next_trial = INFINITY};
    Run run = begin(net, program, gradient ? GRADIENT : LOSS_ONLY, net->run.n_rows, parameters);
    run.gradient = gradient, run.record = record, run.pace = &pace;
    char *memory = work(&run, chunk_of(&run, run.batch), n_members);
    go(&run, train_member, n_members);
    free(memory);
    return record[0];
}

/* Outputs, and half the sum of their squares; with the gradients of that unless they are NULL. */
static double half_squares(const Network *net, void *program, char *parameters, const Outputs *outputs, char *gradient,
                           char *input_gradient, int n_members)
{
    double sum = 0;
    Run run = begin(net, program, FORWARD, net->run.n_rows, parameters);
    point_to(outputs, &run);
    char *memory = work(&run, run.n_rows, n_members);
    const size_t size = lay_out(&run, n_members, memory);
    go(&run, own_cost_member, n_members);
    if (gradient) {
        run = begin(net, program, BACKWARD, net->run.n_rows, parameters);
        point_to(outputs, &run);
        run.gradient = gradient, run.input_gradient = input_gradient;
        memory = work_from(&run, run.n_rows, n_members, memory, size);
        go(&run, own_cost_member, n_members);
    }
    free(memory);
    for (int i = 0; i < run.n_heads; i++)
        for (size_t j = 0; j < outputs->size[i] / run.k->itemsize; j++) {
            const double a = run.k->itemsize == 4 ? (double)((float *)outputs->at[i])[j] : ((double *)outputs->at[i])[j];
            sum += a * a / 2;
        }
    return sum;
}

static void predict(const Network *net, void *program, char *parameters, const Outputs *outputs, ptrdiff_t rows, int n_members)
{
    Run run = begin(net, program, PREDICT, rows, parameters);
    run.n_rows = rows;
    point_to(outputs, &run);
    prepare_prediction(&run);
    plan_prediction(&run, n_members);
    char *memory = reserve(lay_out_prediction(&run, n_members, NULL));
    lay_out_prediction(&run, n_members, memory);
    go(&run, predict_member, n_members);
    free(memory);
}

static void keep_outputs(Results *results, const Network *net, const Outputs *outputs, ptrdiff_t rows)
{
    for (int i = 0; i < net->run.n_heads; i++)
        keep(results, outputs->at[i], outputs->size[i] / (size_t)net->run.n_rows * (size_t)rows);
}

/* ---- what is asked of each case -------------------------------------------------------------------------------------------- */

/* Two epochs, gradients of two kinds, an update by hand and predictions, one after the other. */
static Results learn(const Network *net, const Case *c, int n_members)
{
    const size_t itemsize = net->run.k->itemsize, size = (size_t)net->n_parameters * itemsize;
    const size_t input_size = (size_t)(c->n_rows * c->units[0]) * itemsize;
    char *gradient = get(size), *input_gradient = get(input_size);
    void *program = get(net->size);
    Outputs outputs = get_outputs(net);
    Learner l = start(net, c);
    Results results = {NULL, 0};
    l.pace.next_trial = n_members == ALWAYS_ALL ? INFINITY : 0;
    train(net, program, c, &l, n_members, &results);
    train(net, program, c, &l, n_members, &results);
    const double loss = evaluate(net, program, l.parameters, gradient, n_members);
    keep(&results, &loss, sizeof loss);
    keep(&results, gradient, size);
    half_squares(net, program, l.parameters, &outputs, gradient, input_gradient, n_members);
    keep_outputs(&results, net, &outputs, c->n_rows);
    keep(&results, gradient, size);
    keep(&results, input_gradient, input_size);
    Run run = begin_training(net, program, c, &l);
    run.gradient = gradient;
    if (update_flat(&run, 0.01, l.t + 1) == 0)
        keep(&results, l.parameters, size);
    for (ptrdiff_t rows = c->n_rows; rows > 0; rows = rows > 1 ? 1 : 0) {
        predict(net, program, l.parameters, &outputs, rows, n_members);
        keep_outputs(&results, net, &outputs, rows);
    }
    stop(net, program, c, n_members);
    drop_outputs(&outputs, net->run.n_heads);
    free(program), free(gradient), free(input_gradient), end(&l);
    return results;
}

static void walk(double *x, const double *direction, ptrdiff_t n, double distance)
{
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] += distance * direction[i];
}

/* Whether the derivative along a direction is the quotient of the difference of costs h to either side, but for rounding errors. */
static int agree(const double *cost, const double *gradient, const double *direction, ptrdiff_t n, double h)
{
    double sum = 0, absolute = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += direction[i] * gradient[i], absolute += fabs(gradient[i]);
    return fabs((cost[0] - cost[1]) / (2 * h) - sum) <= 1e-5 * absolute + 1e-14 / h * (1 + fabs(cost[0]));
}

/* Gradients in float64, in a random direction: of the loss, and of half the sum of the outputs' squares, also with respect to X; with
 * costs h to either side. */
static int gradients_are_right(const Network *net, const Case *c, double h)
{
    const ptrdiff_t n = net->n_parameters, n_x = c->n_rows * c->units[0];
    double *gradient = get((size_t)n * sizeof(double)), *input_gradient = get((size_t)n_x * sizeof(double));
    double *direction = get((size_t)MAX(n, n_x) * sizeof(double));
    void *program = get(net->size);
    Outputs outputs = get_outputs(net);
    Learner l = start(net, c);
    double *const parameters = (double *)l.parameters;
    double cost[2];
    int right;
    for (ptrdiff_t i = 0; i < MAX(n, n_x); i++)
        direction[i] = uniform() > 0 ? 1 : -1;
    for (int i = 0; i < net->run.n_weight_sets; i++) {
        const Weights *w = net->run.weights + i;
        for (ptrdiff_t j = 0; w->flat_mask != NULL && j < w->n_in * w->n_out; j++)
            direction[w->offset + j] *= ((double *)w->flat_mask)[j];
    }
    evaluate(net, program, l.parameters, (char *)gradient, 1);
    for (int side = 0; side < 2; side++) {
        walk(parameters, direction, n, side ? -2 * h : h);
        cost[side] = evaluate(net, program, l.parameters, NULL, 1);
    }
    walk(parameters, direction, n, h);
    right = agree(cost, gradient, direction, n, h);
    half_squares(net, program, l.parameters, &outputs, (char *)gradient, (char *)input_gradient, 1);
    for (int side = 0; side < 2; side++) {
        walk(parameters, direction, n, side ? -2 * h : h);
        cost[side] = half_squares(net, program, l.parameters, &outputs, NULL, NULL, 1);
    }
    walk(parameters, direction, n, h);
    right = right && agree(cost, gradient, direction, n, h);
    if (!c->csr) {
        for (ptrdiff_t i = 0; i < n_x; i++)
            direction[i] *= ((double *)net->x)[i] != 0; /* units that take X as it is may have no derivative at 0 */
        for (int side = 0; side < 2; side++) {
            walk(net->x, direction, n_x, side ? -2 * h : h);
            cost[side] = half_squares(net, program, l.parameters, &outputs, NULL, NULL, 1);
        }
        walk(net->x, direction, n_x, h);
        right = right && agree(cost, input_gradient, direction, n_x, h);
    }
    drop_outputs(&outputs, net->run.n_heads);
    free(program), free(gradient), free(input_gradient), free(direction), end(&l);
    return right;
}

/* Whether two arrays of n numbers are alike, but for rounding: what a compiler makes an FMA of is up to it. */
static int are_alike(const void *one, const void *other, ptrdiff_t n, size_t itemsize)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const double x = itemsize == 4 ? (double)((const float *)one)[i] : ((const double *)one)[i];
        const double y = itemsize == 4 ? (double)((const float *)other)[i] : ((const double *)other)[i];
        if (!(fabs(x - y) <= (itemsize == 4 ? 1e-4 : 1e-11) * (1 + fabs(y))))
            return 0;
    }
    return 1;
}

static Run begin_online(const Network *net, void *program, const Case *few, Learner *l)
{
    Run run = begin_training(net, program, few, l);
    run.shared = 0, run.n_rows = few->n_rows;
    return run;
}

/* Whether steps of few rows made by one kernel are those of one op after the other. Not looked at where these take lists of
 * nonzeros, which add up the second half of a depth in other blocks: rules that divide by small numbers make much of that. */
static int online_is_alike(const Network *net, const Case *c)
{
    const uint64_t before = seed; /* the other networks' are drawn on from here */
    void *program = get(net->size);
    int alike = 1, lists = 0;
    Case few = *c;
    few.n_rows = MIN(c->n_rows, 70); /* more than the kernel makes steps at once */
    for (few.batch = 1; few.batch <= ONLINE_ROWS && alike; few.batch += few.batch == 1 ? 2 : 5) {
        Learner l[2] = {start(net, &few), start(net, &few)};
        double losses[2] = {0, 0};
        Run run = begin_online(net, program, &few, l);
        const int n_runs = learns_online(&run, run.n_rows) ? 2 : 0;
        for (int online = 0; online < n_runs; online++) {
            run = begin_online(net, program, &few, l + online);
            run.online = online;
            char *memory = work(&run, chunk_of(&run, few.batch), 1);
            lists |= run.x_as_nonzeros;
            go(&run, train_member, 1);
            alike = alike && is_filled_with_zeros(&run);
            free(memory);
            losses[online] = run.loss;
            l[online].t = run.t;
        }
        alike = alike && l[0].t == l[1].t;
        const int diverge = !isfinite(losses[0]) && !isfinite(losses[1]);
        alike = alike && (diverge || fabs(losses[0] - losses[1]) <= 1e-4 * (1 + fabs(losses[0])));
        lists |= diverge;
        alike = alike && (lists || are_alike(l[0].parameters, l[1].parameters, net->n_parameters, net->run.k->itemsize));
        for (int j = 0; j < MAX_STATES; j++)
            alike = alike && (!l[0].states[j] || lists || are_alike(l[0].states[j], l[1].states[j], net->n_parameters, net->run.k->itemsize));
        end(l), end(l + 1);
    }
    free(program);
    seed = before;
    return alike;
}

static int check(const Case *c, const Kernels *k)
{
    const char *const dtype = k->itemsize == 4 ? "float32" : "float64";
    Network net;
    build(&net, c, k);
    schedule = 0;
    const int fewest = ALONE_TOO ? 1 : 2;
    Results few = learn(&net, c, fewest);
    for (int n_members = RANDOM_SCHEDULE ? 3 : fewest + 1; n_members < 4; n_members++) {
        schedule = RANDOM_SCHEDULE ? (uint64_t)n_members : 0;
        Results several = learn(&net, c, n_members);
        if (several.size != few.size || memcmp(few.bytes, several.bytes, few.size)) {
            printf("%s, %s, %s: %d members give other bits than %d\n", k->isa, dtype, c->name, n_members, fewest);
            return 0;
        }
        free(several.bytes);
    }
    schedule = 0;
    /* again with less, as the kink of a unit may lie between the sides */
    if (ALONE_TOO && k->itemsize == 8 && !gradients_are_right(&net, c, 1e-6) && !gradients_are_right(&net, c, 1e-7)) {
        printf("%s, %s, %s: a gradient is wrong\n", k->isa, dtype, c->name);
        return 0;
    }
    if (ALONE_TOO && !online_is_alike(&net, c)) {
        printf("%s, %s, %s: steps in one kernel are others\n", k->isa, dtype, c->name);
        return 0;
    }
    free(few.bytes), drop(&net);
    return 1;
}

/* run [number of random networks] [names of instruction sets, of these alone] */
int main(int argc, char **argv)
{
    const int counts = argc > 1 && '0' <= argv[1][0] && argv[1][0] <= '9', n_random = counts ? atoi(argv[1]) : 12;
    const char *const *isa = argc > 1 + counts ? (const char *const *)argv + 1 + counts : fastbp_isas_built;
    char name[32];
    for (; *isa; isa++)
        for (int dtype = FIRST_DTYPE; dtype <= LAST_DTYPE && fastbp_kernels(*isa); dtype++) {
            const Kernels *k = fastbp_kernels(*isa) + dtype;
            for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
                if (!check(CASES + i, k))
                    return 1;
            for (int i = 0; i < n_random; i++) {
                const Case c = random_case(i, k->lanes, name);
                if (!check(&c, k))
                    return 1;
            }
        }
    puts("the same bits for any number of members");
    return 0;
}
