/* Products of matrices. */

enum {
    NAME(AHEAD) = 32, /* rows of B that is far which are fetched before they are at work */
    NAME(ONE_TILE) = ROWS_OF_THREE > 6 ? ROWS_OF_THREE : 6, /* the most rows of C that need no second one */
};

/* What a tile fetches while it is at work: a row of other parts of B, as wide as its own, at every so many of its own rows. */
typedef struct {
    const REAL *at;
    ptrdiff_t step, wait, every;
} NAME(Fetch);

/* Fetch nv vectors: the lines that their last elements are in, which are the next ones where rows don't begin with a line. */
INLINE void NAME(prefetch)(const int nv, const REAL *at)
{
    for (int v = 0; v < nv; v += 64 / VEC_BYTES)
        __builtin_prefetch(at + v * LANES + 64 / sizeof(REAL) - 1, 0, 2);
}

/* One register tile: mr rows and nv vectors of C, of which the last is partial if `masked`. What is const here is a
 * constant where this is called, so the loops over it unroll and acc lives in registers. The sums of each row begin
 * with `init` (0 where NULL), and C is added to them at the end if `add`. Where B is `far`, the rows that follow are
 * fetched, those of `next` after its own. What is read goes to `copy`, row by row, unless that is NULL. */
INLINE void NAME(tile)(const int mr, const int nv, const int masked, const int transposed, NAME(mask) mask, ptrdiff_t k,
                       const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b,
                       const REAL *init, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, const int far,
                       const REAL *next, REAL *copy, NAME(Fetch) *fetch)
{
    VEC acc[NAME(TILE_ROWS)][FEW_VECTORS];
    const REAL *a[NAME(TILE_ROWS)];
#define LOAD(p, v, stripe) \
    (masked && (v) == nv - 1 ? NAME(load_masked)((p) + (v) * (stripe), mask) : NAME(load)((p) + (v) * (stripe)))
    for (int r = 0; r < mr; r++) {
        if (!transposed)
            a[r] = rows[r] + offset;
        for (int v = 0; v < nv; v++)
            acc[r][v] = init ? LOAD(init, v, LANES) : (VEC){0};
    }
    for (ptrdiff_t p = 0; p < k; p++) {
        const REAL *column = transposed ? rows[p] + offset : NULL;
        VEC row[FEW_VECTORS];
        for (int v = 0; v < nv; v++)
            row[v] = LOAD(b, v, stripe_b);
        if (far)
            NAME(prefetch)(nv, p + NAME(AHEAD) < k ? b + NAME(AHEAD) * ldb : next + (p + NAME(AHEAD) - k) * ldb);
        if (fetch && --fetch->wait == 0) {
            NAME(prefetch)(nv, fetch->at);
            fetch->at += fetch->step;
            fetch->wait = fetch->every;
        }
        if (copy) {
            for (int v = 0; v < nv; v++)
                NAME(store)(copy + v * LANES, row[v]);
            copy += nv * LANES;
        }
        for (int r = 0; r < mr; r++) {
            REAL s = transposed ? column[r] : a[r][p];
            for (int v = 0; v < nv; v++)
                acc[r][v] += row[v] * s;
        }
        b += ldb;
    }
    if (add)
        for (int r = 0; r < mr; r++)
            for (int v = 0; v < nv; v++)
                acc[r][v] += LOAD(c + r * ldc, v, stripe_c);
#undef LOAD
    for (int r = 0; r < mr; r++)
        for (int v = 0; v < nv; v++) {
            REAL *to = c + r * ldc + v * stripe_c;
            if (masked && v == nv - 1)
                NAME(store_masked)(to, mask, acc[r][v]);
            else
                NAME(store)(to, acc[r][v]);
        }
}

/* A column of tiles: all m rows of nv vectors of C. The rows are dealt out evenly, so that no tile is a sliver. B that is `far` is
 * followed by `next`. Where it `fetches`, it does k rows at `other` in the same time. */
INLINE void NAME(tile_column)(const int nv, const int masked, const int transposed, NAME(mask) mask, ptrdiff_t m,
                              ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb,
                              ptrdiff_t stripe_b, const REAL *init, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c,
                              int far_rows, const int far, const REAL *next, const int fetches, const REAL *other,
                              ptrdiff_t ld_other)
{
    const int most = nv == 3 ? ROWS_OF_THREE : nv > TILE_VECTORS ? FEW_ROWS : 6;
    const ptrdiff_t n_tiles = (m + most - 1) / most, least = n_tiles ? m / n_tiles : 0, longer = m - n_tiles * least;
    for (ptrdiff_t t = 0, i = 0; t < n_tiles; t++) {
        const int mr = (int)(least + (t < longer));
        NAME(Fetch) fetch = {fetches ? other + t * ld_other : NULL, n_tiles * ld_other, t + 1, n_tiles};
        for (ptrdiff_t r = i + mr; far_rows && r < i + mr + most && r < m; r++) /* the next tile's */
            for (ptrdiff_t p = 0; p < k; p += 64 / (ptrdiff_t)sizeof(REAL))
                __builtin_prefetch(rows[r] + offset + p);
#define CASE(MR) \
    case MR: \
        if (MR <= most) \
            NAME(tile)(MR, nv, masked, transposed, mask, k, transposed ? rows : rows + i, transposed ? offset + i : offset, b, ldb, \
                       stripe_b, init, add, c + i * ldc, ldc, stripe_c, far, next, NULL, fetches ? &fetch : NULL); \
        break;
        switch (mr) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if ROWS_OF_THREE > 6
            CASE(7) CASE(8)
#endif
        }
#undef CASE
        i += mr;
    }
}

/* One block of m rows of C and depth k: all of its columns, TILE_VECTORS at a time, or MOST_VECTORS if no more are left; and
 * more of them where few rows would make few sums, which wait for each other. */
INLINE void NAME(block)(const int transposed, const int far, const int few, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                        const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b,
                        const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, int far_rows)
{
    const REAL *const below = b + k * ldb;
    NAME(mask) mask = NAME(first)(LANES);
    ptrdiff_t nv = (n + LANES - 1) / LANES;
    const ptrdiff_t last = n - (nv - 1) * LANES;
#define COLUMN(NV, MASKED, FAR) \
    NAME(tile_column)(NV, MASKED, transposed, mask, m, k, rows, offset, b, ldb, stripe_b, bias, add, c, ldc, stripe_c, far_rows, \
                      FAR, nv > NV ? b + NV * stripe_b : below, 0, NULL, 0)
#define WHOLE_COLUMNS(NV, WHILE) \
    for (; WHILE; nv -= NV) { \
        COLUMN(NV, 0, far); \
        far_rows = 0; \
        b += NV * stripe_b; \
        c += NV * stripe_c; \
        if (bias) \
            bias += NV * LANES; \
    }
    WHOLE_COLUMNS(FEW_VECTORS, few && m <= FEW_ROWS && (nv > FEW_VECTORS || (nv == FEW_VECTORS && last == LANES)))
    WHOLE_COLUMNS(3, few && (m == 7 || m == 8) && nv > 4)
    WHOLE_COLUMNS(TILE_VECTORS, nv > MOST_VECTORS || (nv == TILE_VECTORS && last == LANES))
    if (nv == 0)
        return;
    mask = NAME(first)(last);
    if (last == LANES)
        switch (nv) {
        case 1: COLUMN(1, 0, 0); break;
        case 3: COLUMN(3, 0, 0); break;
#if TILE_VECTORS == 4
        case 2: COLUMN(2, 0, 0); break;
#endif
        }
    else
        switch (nv) {
        case 1: COLUMN(1, 1, 0); break;
        case 2: COLUMN(2, 1, 0); break;
        case 3: COLUMN(3, 1, 0); break;
#if TILE_VECTORS == 4
        case 4: COLUMN(4, 1, 0); break;
#endif
        }
#undef WHOLE_COLUMNS
#undef COLUMN
}

/* What follows are functions of their own, as in one with all others the compiler runs out of registers for these. */
#define PART static __attribute__((noinline))

PART void NAME(few_block)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b,
                          ptrdiff_t ldb, ptrdiff_t stripe_b, const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c,
                          int far_rows)
{
    NAME(block)(0, 0, 1, m, n, k, rows, offset, b, ldb, stripe_b, bias, add, c, ldc, stripe_c, far_rows);
}

/* Where B is far and each column has one tile. */
PART void NAME(far_block)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b,
                          ptrdiff_t ldb, const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, int far_rows)
{
    NAME(block)(0, 1, 1, m, n, k, rows, offset, b, ldb, LANES, bias, add, c, ldc, stripe_c, far_rows);
}

/* Where it has several, the first one, of m rows, makes a copy of B */
PART void NAME(copying_tile)(int m, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb,
                             const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, REAL *copy)
{
#define CASE(MR) \
    case MR: \
        NAME(tile)(MR, TILE_VECTORS, 0, 0, NAME(first)(LANES), k, rows, offset, b, ldb, LANES, bias, add, c, ldc, stripe_c, 0, \
                   NULL, copy, NULL); \
        break;
    switch (m) {
        CASE(4) CASE(5) CASE(6)
    }
#undef CASE
}

/* for the others, which fetch what the next column has at `next`. */
PART void NAME(copied_tiles)(ptrdiff_t m, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *copy,
                             const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, int far_rows,
                             const REAL *next, ptrdiff_t ldb)
{
    NAME(tile_column)(TILE_VECTORS, 0, 0, NAME(first)(LANES), m, k, rows, offset, copy, TILE_VECTORS * LANES, LANES, bias, add, c,
                      ldc, stripe_c, far_rows, 0, NULL, 1, next, ldb);
}
#undef PART

/* The columns of TILE_VECTORS of a block of m > ONE_TILE rows where B is far. Returns how many columns of C that are. */
static ptrdiff_t NAME(far_columns)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b,
                                   ptrdiff_t ldb, const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c,
                                   int far_rows)
{
    enum { WIDTH = TILE_VECTORS * LANES };
    REAL copy[NAME(BLOCK_DEPTH) * WIDTH] __attribute__((aligned(64)));
    const ptrdiff_t n_tiles = (m + 5) / 6, first = (m + n_tiles - 1) / n_tiles;
    ptrdiff_t j = 0;
    for (; n - j > MOST_VECTORS * LANES || n - j == WIDTH; j += WIDTH) {
        const REAL *init = bias ? bias + j : NULL, *next = n - j > WIDTH ? b + j + WIDTH : b + k * ldb;
        REAL *to = c + j / LANES * stripe_c;
        NAME(copying_tile)((int)first, k, rows, offset, b + j, ldb, init, add, to, ldc, stripe_c, copy);
        NAME(copied_tiles)(m - first, k, rows + first, offset, copy, init, add, to + first * ldc, ldc, stripe_c,
                           far_rows && j == 0, next, ldb);
    }
    return j;
}

/* One block of m rows of C and depth k, C = bias + A B (C + A B if `add`), by what is fastest */
INLINE void NAME(rows_block)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, int far_rows,
                             const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b, int far, const REAL *bias, int add, REAL *c,
                             ptrdiff_t ldc, ptrdiff_t stripe_c)
{
    if (far && stripe_b == LANES && m <= NAME(ONE_TILE)) {
        NAME(far_block)(m, n, k, rows, offset, b, ldb, bias, add, c, ldc, stripe_c, far_rows);
        return;
    }
    if (far && stripe_b == LANES) {
        const ptrdiff_t done = NAME(far_columns)(m, n, k, rows, offset, b, ldb, bias, add, c, ldc, stripe_c, far_rows);
        b += done, n -= done, c += done / LANES * stripe_c;
        bias = bias ? bias + done : NULL;
        far_rows = far_rows && done == 0;
    }
    if (m <= FEW_ROWS || m == 7 || m == 8)
        NAME(few_block)(m, n, k, rows, offset, b, ldb, stripe_b, bias, add, c, ldc, stripe_c, far_rows);
    else
        NAME(block)(0, 0, 0, m, n, k, rows, offset, b, ldb, stripe_b, bias, add, c, ldc, stripe_c, far_rows);
}

/* One row of C: `nv` vectors of it, the last partial if `masked`, in as many independent chains of additions. The factors of
 * `a` belong to the first k rows of B, or to those that `at` names as long as they are below `limit`. The sums begin with
 * `init` (0 where NULL), and C is added to them at the end if `add`. Returns how many factors it took. */
INLINE ptrdiff_t NAME(row_strip)(const int nv, const int masked, NAME(mask) mask, ptrdiff_t k, const REAL *a,
                                 const int32_t *at, ptrdiff_t limit, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b,
                                 const REAL *init, ptrdiff_t stripe_init, int add, REAL *c, ptrdiff_t stripe_c)
{
    ptrdiff_t p = 0;
    VEC acc[LAST_VECTORS];
#define LOAD(p, v, stripe) \
    (masked && (v) == nv - 1 ? NAME(load_masked)((p) + (v) * (stripe), mask) : NAME(load)((p) + (v) * (stripe)))
    for (int v = 0; v < nv; v++)
        acc[v] = init ? LOAD(init, v, stripe_init) : (VEC){0};
    for (; p < k && (!at || at[p] < limit); p++) {
        const REAL *row = b + (at ? at[p] : p) * ldb;
        for (int v = 0; v < nv; v++)
            acc[v] += LOAD(row, v, stripe_b) * a[p];
    }
    if (add)
        for (int v = 0; v < nv; v++)
            acc[v] += LOAD(c, v, stripe_c);
    for (int v = 0; v < nv; v++) {
        if (masked && v == nv - 1)
            NAME(store_masked)(c + v * stripe_c, mask, acc[v]);
        else
            NAME(store)(c + v * stripe_c, acc[v]);
    }
    return p;
#undef LOAD
}

/* A strip of n columns, up to LAST_VECTORS of them. */
INLINE ptrdiff_t NAME(narrow_strip)(ptrdiff_t n, ptrdiff_t k, const REAL *a, const int32_t *at, ptrdiff_t limit, const REAL *b,
                                    ptrdiff_t ldb, ptrdiff_t stripe_b, const REAL *init, ptrdiff_t stripe_init, int add,
                                    REAL *c, ptrdiff_t stripe_c)
{
    const ptrdiff_t nv = (n + LANES - 1) / LANES;
    const NAME(mask) mask = NAME(first)(nv ? n - (nv - 1) * LANES : LANES);
#define CASE(NV) \
    case NV: \
        return NAME(row_strip)(NV, 1, mask, k, a, at, limit, b, ldb, stripe_b, init, stripe_init, add, c, stripe_c);
    switch (nv) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)
#if LAST_VECTORS > 13
        CASE(14) CASE(15) CASE(16)
#endif
    }
#undef CASE
    return 0;
}

/* Columns of the next strip where n are left: ROW_VECTORS, or more if it is the last. */
INLINE ptrdiff_t NAME(strip_of)(ptrdiff_t n) { return n > LAST_VECTORS * LANES ? ROW_VECTORS * LANES : n; }

/* One block of one row, C (n) = init + a B. B is used once: what is not in the L1 cache is read in the order it lies in, a few
 * rows at a time, or all in one strip where that has registers for whole rows. */
static void NAME(row_block)(ptrdiff_t n, ptrdiff_t k, const REAL *a, const REAL *b, ptrdiff_t ldb, const REAL *init, REAL *c)
{
    const ptrdiff_t most = n * k <= 4096 || n <= LAST_VECTORS * LANES ? k : 8;
    ptrdiff_t p = 0;
    do { /* once at least: k may be 0 */
        const ptrdiff_t rows = k - p < most ? k - p : most;
        for (ptrdiff_t j = 0, size; j < n; j += size) {
            const REAL *from = init ? init + j : NULL;
            size = NAME(strip_of)(n - j);
            if (size == ROW_VECTORS * LANES)
                NAME(row_strip)(ROW_VECTORS, 0, NAME(first)(LANES), rows, a, NULL, 0, b + j, ldb, LANES, from, LANES, 0, c + j,
                                LANES);
            else
                NAME(narrow_strip)(size, rows, a, NULL, 0, b + j, ldb, LANES, from, LANES, 0, c + j, LANES);
        }
        init = c;
        a += rows;
        b += rows * ldb;
        p += rows;
    } while (p < k);
}

/* matmul of one row, with the sums of the tiles, term by term */
static void NAME(row_product)(ptrdiff_t n, ptrdiff_t k, const REAL *a, const REAL *b, ptrdiff_t ldb, const REAL *bias,
                              int accumulate, REAL *c)
{
    enum { PART = 1024 };
    REAL sums[PART];
    const ptrdiff_t step = NAME(block_depth)(k);
    if (step == k && !accumulate) {
        NAME(row_block)(n, k, a, b, ldb, bias, c);
        return;
    }
    for (ptrdiff_t j = 0; j < n; j += PART) {
        const ptrdiff_t size = n - j < PART ? n - j : PART;
        ptrdiff_t p = 0;
        do {
            const ptrdiff_t kp = k - p < step ? k - p : step;
            if (accumulate || p) {
                NAME(row_block)(size, kp, a + p, b + p * ldb + j, ldb, NULL, sums);
                NAME(add_to_stripes)(1, size, sums, PART, c + j, PART, LANES);
            } else {
                NAME(row_block)(size, kp, a, b + j, ldb, bias ? bias + j : NULL, c + j);
            }
            p += step;
        } while (p < k);
    }
}

static void NAME(matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Rows *a, const Stripes *b, const void *bias, int accumulate,
                         const Stripes *c);

/* matmul of a depth that is cut into halves, a few rows and columns at a time */
static void NAME(matmul_in_halves)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Rows *a, const Stripes *b, const REAL *bias,
                                   int accumulate, const Stripes *c)
{
    enum { ROWS_AT_ONCE = 24, COLUMNS_AT_ONCE = LAST_VECTORS * LANES };
    REAL second[ROWS_AT_ONCE * COLUMNS_AT_ONCE];
    const Stripes sums = {second, COLUMNS_AT_ONCE, LANES, 0};
    const int transposed = a->reading == COLUMNS;
    const ptrdiff_t half = k / 2;
    for (ptrdiff_t i = 0; i < m; i += ROWS_AT_ONCE)
        for (ptrdiff_t j = 0; j < n; j += COLUMNS_AT_ONCE) {
            const ptrdiff_t mi = m - i < ROWS_AT_ONCE ? m - i : ROWS_AT_ONCE;
            const ptrdiff_t nj = n - j < COLUMNS_AT_ONCE ? n - j : COLUMNS_AT_ONCE;
            const REAL *const *rows = a->rows;
            const Stripes first_b = {(REAL *)b->at + j / LANES * b->stripe, b->ld, b->stripe, b->far};
            const Stripes second_b = {(REAL *)first_b.at + half * b->ld, b->ld, b->stripe, b->far};
            const Stripes to = {(REAL *)c->at + i * c->ld + j / LANES * c->stripe, c->ld, c->stripe, 0};
            Rows from = {transposed ? rows : rows + i, transposed ? a->offset + i : a->offset, a->reading};
            NAME(matmul)(mi, nj, half, &from, &first_b, bias ? bias + j : NULL, accumulate, &to);
            if (transposed)
                from.rows = rows + half;
            else
                from.offset += half;
            NAME(matmul)(mi, nj, k - half, &from, &second_b, NULL, 0, &sums);
            NAME(add_to_stripes)(mi, nj, second, COLUMNS_AT_ONCE, to.at, to.ld, to.stripe);
        }
}

static void NAME(matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Rows *a, const Stripes *b, const void *bias, int accumulate,
                         const Stripes *c)
{
    const int transposed = a->reading == COLUMNS;
    const REAL *const *rows = a->rows;
    if (accumulate)
        bias = NULL;
    if (NAME(in_halves)(k)) {
        NAME(matmul_in_halves)(m, n, k, a, b, bias, accumulate, c);
        return;
    }
    if (m == 1 && !transposed && b->stripe == LANES && c->stripe == LANES) {
        NAME(row_product)(n, k, rows[0] + a->offset, b->at, b->ld, bias, accumulate, c->at);
        return;
    }
    const ptrdiff_t n_rows = (m + NAME(BLOCK_ROWS) - 1) / NAME(BLOCK_ROWS);
    const ptrdiff_t step_m = n_rows > 1 ? (m + n_rows - 1) / n_rows : m, step_k = NAME(block_depth)(k);
    for (ptrdiff_t i = 0; i < m; i += step_m) {
        const ptrdiff_t mi = m - i < step_m ? m - i : step_m;
        REAL *to = (REAL *)c->at + i * c->ld;
        ptrdiff_t p = 0;
        do { /* once at least: k may be 0 */
            const ptrdiff_t kp = k - p < step_k ? k - p : step_k;
            const REAL *start = p ? NULL : bias, *bp = (const REAL *)b->at + p * b->ld;
            const int add = accumulate || p;
            if (transposed)
                NAME(block)(1, 0, 0, mi, n, kp, rows + p, a->offset + i, bp, b->ld, b->stripe, start, add, to, c->ld, c->stripe, 0);
            else
                NAME(rows_block)(mi, n, kp, rows + i, a->offset + p, a->reading == FAR_ROWS, bp, b->ld, b->stripe, b->far, start, add,
                                 to, c->ld, c->stripe);
            p += step_k;
        } while (p < k);
    }
}

/* LANES sums of products of a (k) with rows of B, one for each lane of the result; those from `there` on are of the last one. */
INLINE VEC NAME(dot_rows)(ptrdiff_t k, const REAL *a, const REAL *b, ptrdiff_t ldb, ptrdiff_t there)
{
    VEC sum[LANES] = {{0}}, total = {0};
    const REAL *row[LANES];
    ptrdiff_t p = 0;
    for (int r = 0; r < LANES; r++)
        row[r] = b + (r < there ? r : there - 1) * ldb;
    for (; p + LANES <= k; p += LANES) {
        const VEC factor = NAME(load)(a + p);
        for (int r = 0; r < LANES; r++)
            sum[r] += NAME(load)(row[r] + p) * factor;
    }
    if (p < k) {
        const NAME(mask) mask = NAME(first)(k - p);
        const VEC factor = NAME(load_masked)(a + p, mask);
        for (int r = 0; r < LANES; r++)
            sum[r] += NAME(load_masked)(row[r] + p, mask) * factor;
    }
    NAME(transpose_square)(sum);
    for (int r = 0; r < LANES; r++)
        total += sum[r];
    return total;
}

static void NAME(matmul_transposed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows_, const void *b_, ptrdiff_t ldb,
                                    int accumulate, void *c_, ptrdiff_t ldc)
{
    const ptrdiff_t depth = NAME(BLOCK_DEPTH) * LANES;
    const REAL *const *rows = rows_;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ptrdiff_t there = n - j < LANES ? n - j : LANES;
        const NAME(mask) mask = NAME(first)(there);
        const REAL *b = (const REAL *)b_ + j * ldb;
        for (ptrdiff_t i = 0; i < m; i++) {
            REAL *c = (REAL *)c_ + i * ldc + j;
            VEC total = accumulate ? NAME(load_masked)(c, mask) : (VEC){0};
            for (ptrdiff_t p = 0; p < k; p += depth)
                total += NAME(dot_rows)(k - p < depth ? k - p : depth, rows[i] + p, b + p, ldb, there);
            NAME(store_masked)(c, mask, total);
        }
    }
}
