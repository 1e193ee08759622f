/* How the members of a team share the ops of a phase. */
#include "run.h"

static void (*const run_kind[])(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) = {
#define OP(NUMBER, name, reads, access, writes, weights) [OP_##NUMBER] = run_##name,
#include "ops.def"
};

void run_op(Part *part, const Op *op, ptrdiff_t row, ptrdiff_t m) { run_kind[op->kind](part, op, row, m); }

/* This member's row blocks, each through all ops while it is in cache. */
static void run_rows(Part *part, const Op *ops, const Op *end)
{
    const ptrdiff_t rows = part->rows, blocks = part->n_blocks;
    const Range mine = share(blocks, part->member, part->n_members);
    if (end == ops + 1 && ops->kind == OP_GATHER) { /* nothing waits for a block of it */
        run_op(part, ops, rows * mine.begin / blocks, rows * mine.end / blocks - rows * mine.begin / blocks);
        return;
    }
    for (ptrdiff_t i = 0; i < mine.end - mine.begin && !interrupted(part->run, part->member); i++) {
        const ptrdiff_t b = mine.begin + nth(i, mine.end - mine.begin);
        const ptrdiff_t row = rows * b / blocks, m = rows * (b + 1) / blocks - row;
        part->block = b;
        for (const Op *op = ops; op < end; op++)
            run_op(part, op, row, m);
    }
}

/* This member's columns of each op, a window of rows after the other. */
static void run_columns(Part *part, const Op *ops, const Op *end)
{
    const ptrdiff_t window = part->run->window, windows = (part->rows + window - 1) / window;
    for (ptrdiff_t i = 0; i < windows && !interrupted(part->run, part->member); i++) {
        const ptrdiff_t row = nth(i, windows) * window;
        for (const Op *op = ops; op < end; op++)
            run_op(part, op, row, MIN(window, part->rows - row));
    }
}

void run_phase(Part *part, const Phase *phase)
{
    const Op *ops = part->run->ops + phase->first, *end = part->run->ops + phase->end;
    if (phase->split == BY_ROWS)
        run_rows(part, ops, end);
    else if (phase->split == BY_COLUMNS)
        run_columns(part, ops, end);
    else
        for (const Op *op = ops; op < end; op++)
            run_op(part, op, 0, part->rows);
}
