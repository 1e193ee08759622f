/* What the members of the team do together: batches, epochs, and gradients of a cost of one's own. */
#include "run.h"

#include <string.h>

/* A guarded step leaves everything as it was if it would make something that is not finite. Of weights that are used where they lie
 * nothing is kept to go back to: such a step is made only if all that goes into it is so small that nothing in float32 can overflow.
 * With |w|, |a|, |x| < SMALL and |dC/dz| < SMALL_DELTA the gradient of FOLDED_ROWS rows is below 2^60, whose square is finite, as is
 * a state of less than 2^60 over the least root that rules divide by, 2^-63. */
static const double SMALL = 0x1p30, SMALL_DELTA = 0x1p17, SMALL_STATE = 0x1p60, SMALL_RATE = 4, SMALL_PENALTY = 0x1p20;

/* Whether this member's part of the weights is, and of the optimizer's states, unless these are known to be. */
static int has_moderate_weights(const Run *run, int member, int n_members)
{
    int moderate = 1;
    for (const Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++) {
        const Range mine = share(size_of(w), member, n_members);
        const size_t offset = mine.begin * run->k->itemsize;
        moderate = moderate && run->k->all_below(mine.end - mine.begin, w->packed + offset, SMALL);
        for (int j = 0; j < MAX_STATES; j++)
            if (w->state[j] != NULL && (j == AVERAGE || !run->moderate_states))
                moderate = moderate && run->k->all_below(mine.end - mine.begin, w->state[j] + offset, SMALL_STATE);
    }
    return moderate;
}

/* Whether the chunk's values, its losses and the settings of its update are. */
static int is_moderate(Part *part)
{
    Run *run = part->run;
    const Kernels *k = run->k;
    double rate = 0; /* the largest */
    for (int role = 0; role < N_ROLES; role++)
        rate = MAX(rate, run->learning_rates[part->start / run->batch] * run->settings.per_role[role]);
    int moderate = run->batch <= FOLDED_ROWS && rate <= SMALL_RATE && rate * run->settings.weight_decay <= 1;
    for (const Weights *w = run->weights; w < run->weights + run->n_weight_sets; w++)
        moderate = moderate && MAX(w->l1, w->l2) <= SMALL_PENALTY * part->penalty_scale && w->n_uses <= 1;
    for (const Tie *tie = run->ties; tie < run->ties + run->n_ties; tie++)
        moderate = moderate && tie->strength <= SMALL_PENALTY * part->penalty_scale;
    for (ptrdiff_t i = 0; i < part->n_blocks; i++)
        moderate = moderate && isfinite(run->block_loss[i]);
    moderate = moderate && k->rows_below(part->rows, run->values->n, part->x_rows, SMALL);
    for (const Value *value = run->values + 1; value < run->values + run->n_values; value++)
        moderate = moderate && k->rows_below(part->rows, value->n, value->a_rows[part->side], SMALL) &&
                   (!value->learns || k->rows_below(part->rows, value->n, value->d_rows[part->side], SMALL_DELTA));
    return moderate;
}

static void begin_chunk(Part *part, ptrdiff_t first, ptrdiff_t rows)
{
    const Run *run = part->run;
    part->first = first;
    part->rows = rows;
    part->n_blocks = n_blocks_of(rows, run->block, run->shared);
    part->side = part->n_members > 1 && run->sides == 2 ? !part->side : 0;
    part->nonzeros = run->nonzeros[part->side];
    part->middle = run->middle[part->side];
    part->transposed = run->transposed[part->side];
    find_rows(part);
}

/* Losses of row blocks to the batch's. */
void run_sum_losses(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m)
{
    (void)op, (void)row, (void)m;
    const Run *run = part->run;
    if (part->member != 0)
        return;
    for (ptrdiff_t i = 0; i < part->n_blocks; i++)
        add_to(&part->loss, run->block_loss[i]);
    for (ptrdiff_t i = 0; i < (part->first == part->start ? run->n_tie_penalties : 0); i++)
        add_to(&part->ties, run->tie_penalties[i]);
}

/* The penalty of the last update, once all members have made theirs. */
static void record_penalty(Part *part)
{
    Run *run = part->run;
    Total penalty = {0, 0};
    if (part->member == 0 && part->pending >= 0) {
        for (ptrdiff_t i = 0; i < run->n_penalties; i++)
            add_to(&penalty, run->penalties[i]);
        run->record[3 * part->pending + 1] += value_of(&penalty);
        part->pending = -1;
    }
}

/* A barrier at which member 0 says whether the chunk is stopped: all see the same, as no one is more than one barrier ahead. */
static int stops_here(Part *part, int before_update)
{
    Run *run = part->run;
    int *verdict = run->verdict + part->n_barriers++ % 2;
    if (part->member == 0) {
        if (before_update && run->guarded && run->weights_in_place && !is_moderate(part))
            run->immoderate = 1;
        *verdict = stopped(run) || __atomic_load_n(&run->immoderate, __ATOMIC_RELAXED);
    }
    barrier(part);
    return *verdict;
}

/* All phases of a chunk, as one of the members at work sees it; False if it was stopped, at one of the barriers before the weights
 * change: an unfinished step is dropped whole. */
static int run_chunk(Part *part)
{
    Run *run = part->run;
    int barriers = 0;
    interrupted(run, part->member); /* member 0 may have no block of its own */
    for (int i = 0; i < run->n_phases; i++)
        barriers += run->phases[i].barrier;
    for (const Phase *phase = run->phases; phase < run->phases + run->n_phases; phase++) {
        run_phase(part, phase);
        if (phase->barrier && stops_here(part, --barriers == 0))
            return 0;
        if (phase->barrier)
            record_penalty(part);
    }
    if (run->end_barrier)
        barrier(part);
    return run->window == run->chunk || !stops_here(part, 0);
}

/* The losses and gradients of a batch of m rows, whose gradients alone are left where no update is made; False if it was stopped. */
static int run_chunks(Part *part, ptrdiff_t m)
{
    const ptrdiff_t end = part->start + m;
    part->unfolded = 0;
    part->first_fold = 1;
    part->loss = part->ties = (Total){0, 0};
    for (ptrdiff_t first = part->start; first < end; first += part->rows) {
        begin_chunk(part, first, MIN(part->run->chunk, end - first));
        part->last = first + part->rows == end;
        if (!run_chunk(part))
            return 0;
    }
    return 1;
}

/* The same once more for SAM, which takes the gradient where that of the first time leads to; losses are those of the first. */
static int run_chunks_above(Part *part, ptrdiff_t m)
{
    const Total loss = part->loss, ties = part->ties;
    part->rows = 0;
    ascend(part);
    const int done = run_chunks(part, m);
    descend(part);
    part->loss = loss;
    part->ties = ties;
    return done;
}

/* One batch (modes TRAIN, GRADIENT, LOSS_ONLY), as one of the members at work sees it; False if it was stopped. */
static int train_batch(Part *part, ptrdiff_t batch, int64_t *t)
{
    Run *run = part->run;
    const ptrdiff_t start = batch * run->batch, m = MIN(run->batch, run->n_rows - start);
    const double S = run->sample_weights == NULL ? (double)m : run->record[3 * batch + 2];
    const int sharp = run->mode == TRAIN && run->settings.radius > 0;
    const int whole = run->mode == TRAIN && m <= run->window && run->settings.clip_norm == 0 && !sharp && !recomputes(run);
    Update update;
    if (S == 0) {
        if (part->member == 0)
            run->record[3 * batch] = run->record[3 * batch + 1] = 0;
        return 1;
    }
    part->start = start;
    part->step = (uint32_t)t[0];
    part->scale = 1 / S;
    part->penalty_scale = run->penalty_over_weight ? S : 1;
    if (run->mode == TRAIN)
        update = step_of(run, run->learning_rates[batch], t[0] + 1);
    if (run->steps != NULL && part->member == 0)
        begin_step(run, &update, t[0]);
    part->update = whole ? &update : NULL;
    if (!run_chunks(part, m) || (sharp && !run_chunks_above(part, m)))
        return 0;
    if (run->mode == TRAIN && !whole) {
        part->rows = 0;
        if (run->settings.clip_norm > 0)
            update.scale = clip_norm(part, &update);
        update_weights(part, &update);
        if (run->end_barrier)
            barrier(part);
    }
    if (run->bounded)
        bound_columns(part, &update);
    if (part->member == 0) {
        run->record[3 * batch] = value_of(&part->loss) / S;
        run->record[3 * batch + 1] = value_of(&part->ties);
        run->record[3 * batch + 2] = S;
    }
    if (run->renews && varies(part))
        t[0] += 1;
    if (run->mode == TRAIN) {
        t[0] += 1;
        part->kept_side = !part->kept_side;
        part->pending = batch;
        if (run->end_barrier)
            record_penalty(part);
    }
    return 1;
}

/* Whether all members are at least as fast as one, or not both have been tried yet. */
static inline int all_faster(const Pace *pace)
{
    return pace->seconds[0] == 0 || pace->seconds[1] <= pace->seconds[0];
}

/* Whether all members or one do the next batches, and how many: whichever was faster, the other tried now and then. How long it
 * takes to pass memory from core to core, and with it whether threads repay small steps, is a matter of the machine and of what
 * else runs on it. As the bits don't depend on it, it may be measured while training. */
static void choose_pace(Run *run, int n_members, ptrdiff_t done, ptrdiff_t n_batches)
{
    Pace *pace = run->pace;
    double now = team_clock(), seconds = 0, step, weight;
    int all_ = run->active > 1, begun = done > run->segment_begin;
    int active;
    if (begun && (run->n_alike || done == n_batches)) {
        step = (now - run->segment_began) / (done - run->segment_begin);
        /* the mean of the last 0.2 s, so that what disturbs a segment does not change the pace, but many that do will */
        weight = (now - run->segment_began) / (now - run->segment_began + 0.2);
        if (all_ != all_faster(pace)) /* of which there are only short trials: nothing makes one faster than it can be */
            weight = step < pace->seconds[all_] ? 1 : 0.5;
        pace->seconds[all_] += (pace->seconds[all_] > 0 ? weight : 1) * (step - pace->seconds[all_]);
    }
    if (run->n_alike || !begun) {
        all_ = all_faster(pace);
        seconds = all_ ? 0.005 : MAX(0.0, pace->next_trial - now);
        if (now > pace->next_trial &&
            (0 < pace->seconds[all_] && pace->seconds[all_] < 0.002)) { /* longer steps surely repay threads */
            all_ = !all_;
            pace->next_trial = now + 0.2;
            seconds = 0;
        }
    }
    active = all_ ? n_members : 1;
    if (run->active == active) {
        run->n_alike += 1;
    } else {
        run->active = active;
        run->n_alike = 0;
        seconds = 0;
    }
    run->segment_begin = done;
    run->segment_end = n_batches;
    if (n_members > 1)
        run->segment_end = MIN(n_batches, done + 8 + (ptrdiff_t)(seconds / MAX(pace->seconds[all_], 0.0001)));
    run->segment_began = now;
}

/* Sums of weights of the segment's batches to `record`, from which all members have them: each for itself might see others, as
 * the caller's array may be written by other threads, and one that finds 0 makes no step. */
void sum_weights(Run *run)
{
    ptrdiff_t batch, i;
    Total S;
    for (batch = run->segment_begin; batch < run->segment_end; batch++) {
        S.sum = S.error = 0;
        for (i = batch * run->batch; i < MIN((batch + 1) * run->batch, run->n_rows); i++)
            add_to(&S, run->sample_weights[run->order != NULL ? run->order[i] : i]);
        run->record[3 * batch + 2] = value_of(&S);
    }
}

static void init_part(Part *part, Run *run, Team *team, int member, int n_members)
{
    memset(part, 0, sizeof(Part));
    part->run = run;
    part->team = team;
    part->values = run->values;
    part->member = member;
    part->n_members = n_members;
    part->pending = part->section = -1;
    part->first_fold = 1;
    part->x_rows = (char **)(run->scratch + member * run->scratch_size);
    part->scratch = (char *)part->x_rows + aligned(run->chunk * sizeof(char *));
}

/* The layers' state to the workspace, or what the run has made of it back. */
static void move_layer_state(Run *run, int out)
{
    const size_t size = run->n_layer_state * run->k->itemsize;
    for (int side = 0; side < 2 && !out; side++)
        memcpy(run->kept[side], run->layer_state, size);
    if (out)
        memcpy(run->layer_state, run->kept[run->kept_side], size);
}

/* The mean loss, and whether it, the layers' state and this member's part of the parameters are finite and no handler failed. So must
 * be the squares that a rule divides by, or it would make no step. */
static void check_finite(Run *run, int member, int n_members)
{
    ptrdiff_t i;
    Total loss, weight;
    int finite = !run->failed;
    int squares = state_of_squares(run->settings.rule);
    if (member == 0)
        finite = finite && run->k->all_below(run->n_layer_state, run->kept[run->kept_side], INFINITY);
    if (member == 0 && !stopped(run)) {
        loss.sum = loss.error = weight.sum = weight.error = 0;
        for (i = 0; i < (run->n_rows + run->batch - 1) / run->batch; i++) {
            add_to(&loss, run->record[3 * i + 2] * (run->record[3 * i] + run->record[3 * i + 1]));
            add_to(&weight, run->record[3 * i + 2]);
        }
        run->loss = value_of(&loss);
        if (weight.sum > 0)
            run->loss /= value_of(&weight);
        finite = finite && isfinite(run->loss);
    }
    for (i = 0; i < (run->guarded && run->weights_in_place ? 0 : run->n_weight_sets); i++) { /* else it was looked at before the step */
        const Weights *w = run->weights + i;
        const Range mine = share(size_of(w), member, n_members);
        const ptrdiff_t n = mine.end - mine.begin;
        finite = finite && run->k->all_below(n, w->packed + mine.begin * run->k->itemsize, INFINITY);
        if (squares >= 0)
            finite = finite && run->k->all_below(n, w->state[squares] + mine.begin * run->k->itemsize, INFINITY);
        if (w->state[AVERAGE] != NULL)
            finite = finite && run->k->all_below(n, w->state[AVERAGE] + mine.begin * run->k->itemsize, INFINITY);
    }
    if (!finite)
        __atomic_fetch_add(&run->n_not_finite, 1, __ATOMIC_RELAXED);
}

/* All batches, as one member of the team sees them, in segments for which the pace is chosen. */
void train_member(void *arg, Team *team, int member, int n_members)
{
    Run *run = (Run *)arg;
    ptrdiff_t n_batches = (run->n_rows + run->batch - 1) / run->batch, batch, end = 0;
    int64_t t;
    Part part;
    init_part(&part, run, team, member, n_members);
    move_shares(run, member, n_members, 0);
    if (member == 0)
        run->t_begin = run->t;
    if (run->mode == TRAIN && run->n_layer_state > 0 && member == 0)
        move_layer_state(run, 0);
    if (run->guarded && run->weights_in_place && !has_moderate_weights(run, member, n_members))
        __atomic_store_n(&run->immoderate, 1, __ATOMIC_RELAXED);
    team_barrier(team);
    if (run->online)
        train_online(run);
    while (!run->online && end < n_batches && !stopped(run)) {
        if (member == 0) {
            choose_pace(run, n_members, end, n_batches);
            if (run->sample_weights != NULL)
                sum_weights(run);
        }
        team_barrier(team);
        end = run->segment_end;
        t = run->t;
        part.n_members = run->active;
        part.side = part.n_barriers = 0; /* those who did not work have not taken turns */
        part.kept_side = run->kept_side;
        if (member < run->active) {
            for (batch = run->segment_begin; batch < end; batch++)
                if (!train_batch(&part, batch, &t))
                    break;
        }
        team_barrier(team);
        if (member == 0) {
            run->t = t;
            run->kept_side = part.kept_side;
            record_penalty(&part);
        }
    }
    if (member == 0 && !run->online)
        choose_pace(run, n_members, end, n_batches); /* for the next epoch: what the last segment took */
    if (run->steps != NULL) {
        team_barrier(team); /* all see how many steps there were */
        catch_up_all(run, member, n_members);
        team_barrier(team);
    }
    if (run->mode == TRAIN) {
        check_finite(run, member, n_members);
        team_barrier(team);
    }
    if (run->n_not_finite > 0 && run->guarded)
        return;
    move_shares(run, member, n_members, 1);
    if (run->mode == TRAIN && run->n_layer_state > 0 && member == 0)
        move_layer_state(run, 1);
}

/* The forward pass to the caller's outputs (FORWARD), or the backward pass from there (BACKWARD), of one batch of all rows. */
void own_cost_member(void *arg, Team *team, int member, int n_members)
{
    Run *run = (Run *)arg;
    const ptrdiff_t blocks = n_blocks_of(run->n_rows, 512, 1);
    const Range mine = share(blocks, member, n_members);
    int lists = run->mode == BACKWARD && run->x_as_nonzeros;
    Part part;
    init_part(&part, run, team, member, n_members);
    part.scale = part.penalty_scale = 1;
    move_shares(run, member, n_members, 0);
    team_barrier(team);
    begin_chunk(&part, 0, run->n_rows);
    for (int i = 0; i < run->n_phases && run->phases[i].split != BY_WEIGHTS; i++) {
        run_phase(&part, run->phases + i);
        if (run->phases[i].barrier)
            team_barrier(team);
    }
    if (run->mode == FORWARD)
        return;
    for (int i = 0; i < run->n_weight_sets; i++)
        lists = lists && !(run->sparse && run->weights[i].row_major);
    for (; part.row < run->n_rows && !(interrupted(run, member) && !lists); part.row += part.rows) {
        part.rows = MIN(run->window, run->n_rows - part.row);
        part.last = part.row + part.rows == run->n_rows;
        if (lists) { /* which members make and use together */
            team_barrier(team);
            run_list_transpose(&part, NULL, part.row, part.rows);
            team_barrier(team);
        }
        part.section = -1;
        update_rows(&part);
    }
    for (ptrdiff_t b = mine.begin; run->input_gradient != NULL && b < mine.end && !interrupted(run, member); b++) {
        const ptrdiff_t row = run->n_rows * b / blocks;
        input_gradient_rows(&part, row, run->n_rows * (b + 1) / blocks - row);
    }
    team_barrier(team);
    move_shares(run, member, n_members, 1);
}
