/* Every kernel, written once in REAL and VEC. Contracts are in kernels.h. */
#include "simd.h"

/* ---- products --------------------------------------------------------------------------------------------------- */

/* Blocks of the three loops: a block of B (DEPTH x one tile) fits the L1 cache, a block of A (ROWS x DEPTH) the L2. A sum over
 * the depth is one of block sums, each of them begun at 0 and added up in order, and where there are more than CHAINED blocks
 * one of two halves: its rounding error grows with the logarithm of the depth rather than with the depth. */
enum { NAME(TILE_ROWS) = 8, NAME(BLOCK_ROWS) = 192, NAME(BLOCK_DEPTH) = 1024 / sizeof(REAL), NAME(CHAINED) = 64 };

/* Depth of the blocks of a sum over k: all but the last the same, so that none is a sliver, which would take all sums to memory
 * and back for little. */
INLINE ptrdiff_t NAME(block_depth)(ptrdiff_t k)
{
    const ptrdiff_t n = (k + NAME(BLOCK_DEPTH) - 1) / NAME(BLOCK_DEPTH);
    return n > 1 ? (k + n - 1) / n : k;
}
INLINE int NAME(in_halves)(ptrdiff_t k) { return k > NAME(CHAINED) * NAME(BLOCK_DEPTH); }

/* One register tile: mr rows and nv vectors of C, of which the last is partial if `masked`. What is const here is a
 * constant where this is called, so the loops over it unroll and acc lives in registers. */
INLINE void NAME(tile)(const int mr, const int nv, const int masked, const int transposed, NAME(mask) mask, ptrdiff_t k,
                       const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b,
                       const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c)
{
    VEC acc[NAME(TILE_ROWS)][MOST_VECTORS];
    const REAL *a[NAME(TILE_ROWS)];
#define LOAD(p, v, stripe) \
    (masked && (v) == nv - 1 ? NAME(load_masked)((p) + (v) * (stripe), mask) : NAME(load)((p) + (v) * (stripe)))
    for (int r = 0; r < mr; r++) {
        if (!transposed)
            a[r] = rows[r] + offset;
        for (int v = 0; v < nv; v++)
            acc[r][v] = bias ? LOAD(bias, v, LANES) : (VEC){0};
    }
    for (ptrdiff_t p = 0; p < k; p++) {
        const REAL *column = transposed ? rows[p] + offset : NULL;
        VEC row[MOST_VECTORS];
        for (int v = 0; v < nv; v++)
            row[v] = LOAD(b, v, stripe_b);
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

/* A column of tiles: all m rows of nv vectors of C. The rows are dealt out evenly, so that no tile is a sliver. */
INLINE void NAME(tile_column)(const int nv, const int masked, const int transposed, NAME(mask) mask, ptrdiff_t m,
                              ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *b, ptrdiff_t ldb,
                              ptrdiff_t stripe_b, const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c,
                              int far)
{
    const int most = nv == 3 ? ROWS_OF_THREE : 6;
    const ptrdiff_t n_tiles = (m + most - 1) / most, least = n_tiles ? m / n_tiles : 0, longer = m - n_tiles * least;
    for (ptrdiff_t t = 0, i = 0; t < n_tiles; t++) {
        const int mr = (int)(least + (t < longer));
        for (ptrdiff_t r = i + mr; far && r < i + mr + most && r < m; r++) /* the next tile's */
            for (ptrdiff_t p = 0; p < k; p += 64 / (ptrdiff_t)sizeof(REAL))
                __builtin_prefetch(rows[r] + offset + p);
#define CASE(MR) \
    case MR: \
        if (MR <= most) \
            NAME(tile)(MR, nv, masked, transposed, mask, k, transposed ? rows : rows + i, transposed ? offset + i : offset, b, \
                       ldb, stripe_b, bias, add, c + i * ldc, ldc, stripe_c); \
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

/* One block of m rows of C and depth k: all of its columns, TILE_VECTORS at a time, or MOST_VECTORS if no more are left. */
INLINE void NAME(block)(const int transposed, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows,
                        ptrdiff_t offset, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b, const REAL *bias, int add, REAL *c,
                        ptrdiff_t ldc, ptrdiff_t stripe_c, int far)
{
    NAME(mask) mask = NAME(first)(LANES);
#define COLUMN(NV, MASKED) \
    NAME(tile_column)(NV, MASKED, transposed, mask, m, k, rows, offset, b, ldb, stripe_b, bias, add, c, ldc, stripe_c, far)
    ptrdiff_t nv = (n + LANES - 1) / LANES;
    const ptrdiff_t last = n - (nv - 1) * LANES;
    for (; nv > MOST_VECTORS || (nv == TILE_VECTORS && last == LANES); nv -= TILE_VECTORS) {
        COLUMN(TILE_VECTORS, 0);
        far = 0;
        b += TILE_VECTORS * stripe_b;
        c += TILE_VECTORS * stripe_c;
        if (bias)
            bias += TILE_VECTORS * LANES;
    }
    if (nv == 0)
        return;
    mask = NAME(first)(last);
    if (last == LANES)
        switch (nv) {
        case 1: COLUMN(1, 0); break;
        case 3: COLUMN(3, 0); break;
#if TILE_VECTORS == 4
        case 2: COLUMN(2, 0); break;
#endif
        }
    else
        switch (nv) {
        case 1: COLUMN(1, 1); break;
        case 2: COLUMN(2, 1); break;
        case 3: COLUMN(3, 1); break;
#if TILE_VECTORS == 4
        case 4: COLUMN(4, 1); break;
#endif
        }
#undef COLUMN
}

static void NAME(fill_rows)(ptrdiff_t m, ptrdiff_t n, const void *row, void *c_, ptrdiff_t ldc)
{
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++) {
        if (row)
            memcpy(c + i * ldc, row, (size_t)n * sizeof(REAL));
        else
            memset(c + i * ldc, 0, (size_t)n * sizeof(REAL));
    }
}

/* C (m, n) in stripes += S (m, n), row-major */
static void NAME(add_to_stripes)(ptrdiff_t m, ptrdiff_t n, const REAL *s, ptrdiff_t lds, REAL *c, ptrdiff_t ldc,
                                 ptrdiff_t stripe_c)
{
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < n; j += LANES) {
            const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
            REAL *to = c + i * ldc + j / LANES * stripe_c;
            NAME(store_masked)(to, mask, NAME(load_masked)(to, mask) + NAME(load_masked)(s + i * lds + j, mask));
        }
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
    const ptrdiff_t most = n * k <= 4096 || n <= LAST_VECTORS * LANES ? k : 16;
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

static void NAME(matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows_, ptrdiff_t offset, Reading reading,
                         const void *b_, ptrdiff_t ldb, ptrdiff_t stripe_b, const void *bias, int accumulate, void *c_,
                         ptrdiff_t ldc, ptrdiff_t stripe_c);

/* matmul of a depth that is cut into halves, a few rows and columns at a time */
static void NAME(matmul_in_halves)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset,
                                   Reading reading, const REAL *b, ptrdiff_t ldb, ptrdiff_t stripe_b, const REAL *bias,
                                   int accumulate, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c)
{
    enum { ROWS_AT_ONCE = 24, COLUMNS_AT_ONCE = LAST_VECTORS * LANES };
    REAL second[ROWS_AT_ONCE * COLUMNS_AT_ONCE];
    const int transposed = reading == COLUMNS;
    const ptrdiff_t half = k / 2;
    for (ptrdiff_t i = 0; i < m; i += ROWS_AT_ONCE)
        for (ptrdiff_t j = 0; j < n; j += COLUMNS_AT_ONCE) {
            const ptrdiff_t mi = m - i < ROWS_AT_ONCE ? m - i : ROWS_AT_ONCE;
            const ptrdiff_t nj = n - j < COLUMNS_AT_ONCE ? n - j : COLUMNS_AT_ONCE;
            const REAL *const *from = transposed ? rows : rows + i, *bj = b + j / LANES * stripe_b;
            const ptrdiff_t at = transposed ? offset + i : offset;
            REAL *to = c + i * ldc + j / LANES * stripe_c;
            NAME(matmul)(mi, nj, half, from, at, reading, bj, ldb, stripe_b, bias ? bias + j : NULL, accumulate, to, ldc,
                         stripe_c);
            NAME(matmul)(mi, nj, k - half, transposed ? from + half : from, transposed ? at : at + half, reading,
                         bj + half * ldb, ldb, stripe_b, NULL, 0, second, COLUMNS_AT_ONCE, LANES);
            NAME(add_to_stripes)(mi, nj, second, COLUMNS_AT_ONCE, to, ldc, stripe_c);
        }
}

static void NAME(matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows_, ptrdiff_t offset, Reading reading,
                         const void *b_, ptrdiff_t ldb, ptrdiff_t stripe_b, const void *bias, int accumulate, void *c_,
                         ptrdiff_t ldc, ptrdiff_t stripe_c)
{
    const int transposed = reading == COLUMNS;
    const REAL *const *rows = rows_, *b = b_;
    REAL *c = c_;
    if (accumulate)
        bias = NULL;
    if (NAME(in_halves)(k)) {
        NAME(matmul_in_halves)(m, n, k, rows, offset, reading, b, ldb, stripe_b, bias, accumulate, c, ldc, stripe_c);
        return;
    }
    if (m == 1 && !transposed && stripe_b == LANES && stripe_c == LANES) {
        NAME(row_product)(n, k, rows[0] + offset, b, ldb, bias, accumulate, c);
        return;
    }
    const ptrdiff_t n_rows = (m + NAME(BLOCK_ROWS) - 1) / NAME(BLOCK_ROWS);
    const ptrdiff_t step_m = n_rows > 1 ? (m + n_rows - 1) / n_rows : m, step_k = NAME(block_depth)(k);
    for (ptrdiff_t i = 0; i < m; i += step_m) {
        const ptrdiff_t mi = m - i < step_m ? m - i : step_m;
        REAL *ci = c + i * ldc;
        ptrdiff_t p = 0;
        do { /* once at least: k may be 0 */
            const ptrdiff_t kp = k - p < step_k ? k - p : step_k;
            const REAL *start = p ? NULL : bias;
            const int add = accumulate || p;
            if (transposed)
                NAME(block)(1, mi, n, kp, rows + p, offset + i, b + p * ldb, ldb, stripe_b, start, add, ci, ldc, stripe_c, 0);
            else
                NAME(block)(0, mi, n, kp, rows + i, offset + p, b + p * ldb, ldb, stripe_b, start, add, ci, ldc, stripe_c,
                            reading == FAR_ROWS);
            p += step_k;
        } while (p < k);
    }
}

/* Stripes are filled or read MOVED_ROWS rows at a time: whole rows of a large matrix lie pages apart. */
enum { NAME(MOVED_ROWS) = 16 };

static void NAME(pack)(ptrdiff_t m, ptrdiff_t n, const void *a_, ptrdiff_t lda, void *b_, ptrdiff_t stripe)
{
    const REAL *a = a_;
    REAL *b = b_;
    for (ptrdiff_t begin = 0; begin < m; begin += NAME(MOVED_ROWS)) {
        const ptrdiff_t end = m - begin < NAME(MOVED_ROWS) ? m : begin + NAME(MOVED_ROWS);
        REAL *to = b;
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES, to += stripe)
            for (ptrdiff_t i = begin; i < end; i++)
                NAME(store)(to + i * LANES, NAME(load)(a + i * lda + j));
        if (j < n) {
            const NAME(mask) mask = NAME(first)(n - j);
            for (ptrdiff_t i = begin; i < end; i++)
                NAME(store)(to + i * LANES, NAME(load_masked)(a + i * lda + j, mask));
        }
    }
}

static void NAME(unpack)(ptrdiff_t m, ptrdiff_t n, const void *a_, ptrdiff_t stripe, void *b_, ptrdiff_t ldb)
{
    const REAL *a = a_;
    REAL *b = b_;
    for (ptrdiff_t begin = 0; begin < m; begin += NAME(MOVED_ROWS)) {
        const ptrdiff_t end = m - begin < NAME(MOVED_ROWS) ? m : begin + NAME(MOVED_ROWS);
        const REAL *from = a;
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES, from += stripe)
            for (ptrdiff_t i = begin; i < end; i++)
                NAME(store)(b + i * ldb + j, NAME(load)(from + i * LANES));
        if (j < n) {
            const NAME(mask) mask = NAME(first)(n - j);
            for (ptrdiff_t i = begin; i < end; i++)
                NAME(store_masked)(b + i * ldb + j, mask, NAME(load)(from + i * LANES));
        }
    }
}

/* Squares of LANES x LANES in registers: after log2(LANES) rounds of a perfect shuffle, the rows are the columns. */
static void NAME(transpose)(ptrdiff_t m, const void *a_, ptrdiff_t lda, void *b_, ptrdiff_t ldb, ptrdiff_t stripe)
{
    const REAL *a = a_;
    REAL *b = b_;
    ptrdiff_t i = 0;
    for (; i + LANES <= m; i += LANES, b += stripe) {
        VEC row[LANES], next[LANES];
        for (int r = 0; r < LANES; r++)
            row[r] = NAME(load)(a + (i + r) * lda);
        for (int round = 1; round < LANES; round *= 2) {
            for (int r = 0; r < LANES / 2; r++) {
                next[2 * r] = ZIP_LOW(row[r], row[r + LANES / 2]);
                next[2 * r + 1] = ZIP_HIGH(row[r], row[r + LANES / 2]);
            }
            for (int r = 0; r < LANES; r++)
                row[r] = next[r];
        }
        for (int r = 0; r < LANES; r++)
            NAME(store)(b + r * ldb, row[r]);
    }
    for (ptrdiff_t r = 0; i + r < m; r++)
        for (ptrdiff_t j = 0; j < LANES; j++)
            b[j * ldb + r] = a[(i + r) * lda + j];
}

/* out += s * row */
INLINE void NAME(add_scaled)(ptrdiff_t n, REAL s, const REAL *row, REAL *out)
{
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        NAME(store)(out + j, NAME(load)(out + j) + NAME(load)(row + j) * s);
    for (; j < n; j++)
        out[j] += s * row[j];
}

INLINE void NAME(sum_columns)(const int nv, NAME(mask) mask, ptrdiff_t m, const REAL *a, const REAL *b, ptrdiff_t ld,
                              int accumulate, REAL *out)
{
    VEC total[4];
#define LOAD(p) (nv == 1 ? NAME(load_masked)((p), mask) : NAME(load)((p) + v * LANES))
    for (int v = 0; v < nv; v++)
        total[v] = accumulate ? LOAD(out) : (VEC){0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC sum[4] = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++)
            for (int v = 0; v < nv; v++)
                sum[v] += b ? LOAD(a + r * ld) * LOAD(b + r * ld) : LOAD(a + r * ld);
        for (int v = 0; v < nv; v++)
            total[v] += sum[v];
    }
    for (int v = 0; v < nv; v++) {
        if (nv == 1)
            NAME(store_masked)(out, mask, total[v]);
        else
            NAME(store)(out + v * LANES, total[v]);
    }
#undef LOAD
}

static void NAME(column_sums)(ptrdiff_t m, ptrdiff_t n, const void *a_, const void *b_, ptrdiff_t ld, int accumulate,
                              void *out_)
{
    const REAL *a = a_, *b = b_;
    REAL *out = out_;
    ptrdiff_t j = 0;
    for (; j + 4 * LANES <= n; j += 4 * LANES)
        NAME(sum_columns)(4, NAME(first)(LANES), m, a + j, b ? b + j : NULL, ld, accumulate, out + j);
    for (; j < n; j += LANES)
        NAME(sum_columns)(1, NAME(first)(n - j < LANES ? n - j : LANES), m, a + j, b ? b + j : NULL, ld, accumulate, out + j);
}

/* Knuth's two-sum: what is lost when g is added to the sum goes to the error. */
static void NAME(fold)(ptrdiff_t n, void *g_, void *sum_, void *error_, int first, int last)
{
    REAL *g = g_, *sum = sum_, *error = error_;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const NAME(mask) mask = NAME(first)(n - i < LANES ? n - i : LANES);
        const VEC a = first ? (VEC){0} : NAME(load_masked)(sum + i, mask), b = NAME(load_masked)(g + i, mask);
        const VEC total = a + b, b_share = total - a;
        VEC lost = (a - (total - b_share)) + (b - b_share);
        if (!first)
            lost += NAME(load_masked)(error + i, mask);
        NAME(store_masked)(sum + i, mask, total);
        NAME(store_masked)(error + i, mask, lost);
        if (last)
            NAME(store_masked)(g + i, mask, total + lost);
    }
}

/* The sum of a (n), or of a * b where b is not NULL */
INLINE REAL NAME(row_sum)(ptrdiff_t n, const REAL *a, const REAL *b)
{
    const ptrdiff_t most = NAME(BLOCK_DEPTH) * LANES;
    REAL total = 0;
    for (ptrdiff_t j = 0, end; j < n; j = end) {
        VEC sums = {0};
        ptrdiff_t i = j;
        end = n - j < most ? n : j + most;
        for (; i + LANES <= end; i += LANES)
            sums += b ? NAME(load)(a + i) * NAME(load)(b + i) : NAME(load)(a + i);
        REAL sum = NAME(sum)(sums);
        for (; i < end; i++)
            sum += b ? a[i] * b[i] : a[i];
        total += sum;
    }
    return total;
}

/* ---- reading the data ------------------------------------------------------------------------------------------- */

INLINE REAL NAME(read)(const char *p, DType dtype)
{
    switch (dtype) {
    case FLOAT32: return (REAL) * (const float *)p;
    case FLOAT64: return (REAL) * (const double *)p;
    default: return (REAL) * (const uint8_t *)p;
    }
}

INLINE void NAME(read_row)(const char *p, ptrdiff_t stride, DType dtype, ptrdiff_t n, REAL *out)
{
    for (ptrdiff_t j = 0; j < n; j++)
        out[j] = NAME(read)(p + j * stride, dtype);
}

static void NAME(gather)(ptrdiff_t m, ptrdiff_t n, const Strided *x, const int64_t *order, ptrdiff_t first, void *out_,
                         ptrdiff_t ld)
{
    const ptrdiff_t size = x->dtype == FLOAT32 ? 4 : x->dtype == FLOAT64 ? 8 : 1;
    REAL *out = out_;
    for (ptrdiff_t i = 0; i < m; i++, out += ld) {
        const char *row = x->data + (order ? (ptrdiff_t)order[i] : first + i) * x->row_stride;
        if (x->column_stride != size)
            NAME(read_row)(row, x->column_stride, x->dtype, n, out);
        else if (x->dtype == (sizeof(REAL) == 4 ? FLOAT32 : FLOAT64))
            memcpy(out, row, (size_t)n * sizeof(REAL));
        else if (x->dtype == FLOAT32) /* constant strides and types from here on, which vectorize */
            NAME(read_row)(row, 4, FLOAT32, n, out);
        else if (x->dtype == FLOAT64)
            NAME(read_row)(row, 8, FLOAT64, n, out);
        else
            NAME(read_row)(row, 1, UINT8, n, out);
    }
}

INLINE REAL NAME(csr_value)(const Csr *x, int64_t i)
{
    return NAME(read)(x->data + i * (x->dtype == FLOAT32 ? 4 : x->dtype == FLOAT64 ? 8 : 1), x->dtype);
}

/* Columns of rows row..row+m of a list, which lead to memory: if another thread has spoilt them since they were checked, they
 * become some that ascend below n_columns. */
INLINE void NAME(bound)(ptrdiff_t m, ptrdiff_t row, ptrdiff_t n_columns, const Nonzeros *x)
{
    int32_t *columns = x->columns;
    const ptrdiff_t first = x->begin[row], last = x->end[row + m - 1];
    int descents = 0, spoilt = 0;
    for (ptrdiff_t e = first + 1; e < last; e++) /* of all rows in one go, then without those from row to row */
        descents += columns[e] < columns[e - 1];
    for (ptrdiff_t i = row; i < row + m; i++) {
        const ptrdiff_t begin = x->begin[i], end = x->end[i];
        if (begin == end)
            continue;
        descents -= begin > first && columns[begin] < columns[begin - 1];
        spoilt |= columns[begin] < 0 || columns[end - 1] >= n_columns;
    }
    for (ptrdiff_t i = row; i < row + m && (spoilt || descents); i++)
        for (ptrdiff_t e = x->begin[i], least = 0; e < x->end[i]; e++) {
            if (columns[e] < least || columns[e] >= n_columns)
                columns[e] = (int32_t)least;
            least = columns[e];
        }
}

static void NAME(gather_csr)(ptrdiff_t m, const Csr *x, const int64_t *order, ptrdiff_t first, ptrdiff_t at, ptrdiff_t row,
                             const Nonzeros *out)
{
    for (ptrdiff_t i = 0, n; i < m; i++, at += n) {
        const int64_t source = order ? order[i] : first + i;
        const int64_t begin = x->indptr[source];
        n = x->indptr[source + 1] - begin;
        int32_t *columns = out->columns + at;
        REAL *values = (REAL *)out->values + at;
        out->begin[row + i] = at;
        out->end[row + i] = at + n;
        if (x->wide_indices)
            for (ptrdiff_t e = 0; e < n; e++)
                columns[e] = (int32_t)((const int64_t *)x->indices)[begin + e];
        else
            memcpy(columns, x->indices + begin * 4, (size_t)n * 4);
        if (x->dtype == (sizeof(REAL) == 4 ? FLOAT32 : FLOAT64))
            memcpy(values, x->data + begin * (ptrdiff_t)sizeof(REAL), (size_t)n * sizeof(REAL));
        else
            for (ptrdiff_t e = 0; e < n; e++)
                values[e] = NAME(csr_value)(x, begin + e);
    }
    if (m)
        NAME(bound)(m, row, x->n_columns, out);
}

static void NAME(find_nonzeros)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t row, const Nonzeros *out)
{
    const REAL *const *rows = rows_;
    for (ptrdiff_t i = 0; i < m; i++) {
        const ptrdiff_t at = (row + i) * n;
        int32_t *columns = out->columns + at;
        REAL *values = (REAL *)out->values + at;
        const REAL *next = i + 1 < m ? rows[i + 1] : rows[i];
        ptrdiff_t found = 0, j = 0;
        for (; j + LANES <= n; j += LANES) {
            __builtin_prefetch(next + j); /* what follows depends on the data, so that the processor does not run ahead */
            found += NAME(compress)(NAME(load)(rows[i] + j), j, values + found, columns + found);
        }
        for (; j < n; j++)
            if (rows[i][j] != 0) {
                columns[found] = (int32_t)j;
                values[found++] = rows[i][j];
            }
        out->begin[row + i] = at;
        out->end[row + i] = at + found;
    }
}

static void NAME(transpose_nonzeros)(ptrdiff_t m, const Nonzeros *x, ptrdiff_t row, ptrdiff_t begin, ptrdiff_t end,
                                     const Nonzeros *out)
{
    ptrdiff_t *next = out->end, at = m ? x->begin[row] : 0;
    memset(next + begin, 0, (size_t)(end - begin) * sizeof(ptrdiff_t));
    for (ptrdiff_t i = row; i < row + m; i++) {
        const int32_t *columns = x->columns + x->begin[i];
        const ptrdiff_t n = x->end[i] - x->begin[i], first = columns_below(n, columns, begin);
        const ptrdiff_t last = columns_below(n, columns, end);
        at += first;
        for (ptrdiff_t e = first; e < last; e++)
            next[columns[e]]++;
    }
    for (ptrdiff_t j = begin; j < end; j++) {
        const ptrdiff_t found = next[j];
        out->begin[j] = next[j] = at;
        at += found;
    }
    int32_t *to_columns = out->columns;
    REAL *to_values = out->values;
    for (ptrdiff_t i = row; i < row + m; i++) {
        const int32_t *columns = x->columns + x->begin[i];
        const REAL *values = (const REAL *)x->values + x->begin[i];
        const ptrdiff_t n = x->end[i] - x->begin[i], first = columns_below(n, columns, begin);
        const ptrdiff_t last = columns_below(n, columns, end);
        for (ptrdiff_t e = first; e < last; e++) {
            const ptrdiff_t place = next[columns[e]]++;
            to_columns[place] = (int32_t)(i - row);
            to_values[place] = values[e];
        }
    }
}

/* What a strip of columns of C is made from: some rows of lists, and B. */
typedef struct {
    const int32_t *columns;
    const REAL *values;
    const ptrdiff_t *end; /* of the rows' lists */
    const REAL *b;
    ptrdiff_t ldb, stripe_b;
    ptrdiff_t depth; /* rows of B that are worked on at once, in the L1 cache; 0 for all */
} NAME(Lists);

enum { NAME(GROUP) = 32, NAME(STRIP) = LAST_VECTORS * VEC_BYTES / sizeof(REAL) };

/* C (m, n), up to GROUP rows of one strip, = (add ? C : 0) + bias + the sum over columns k0..k1 of the lists, which begin[] says
 * where to find, and which it is left at the end of. The blocks are those of the dense product. */
static void NAME(list_strip)(const NAME(Lists) *x, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t k1, ptrdiff_t *begin,
                             const REAL *bias, int add, REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c)
{
    REAL sums[NAME(GROUP) * NAME(STRIP)];
    if (NAME(in_halves)(k1 - k0)) {
        const ptrdiff_t middle = k0 + (k1 - k0) / 2;
        NAME(list_strip)(x, m, n, k0, middle, begin, bias, add, c, ldc, stripe_c);
        NAME(list_strip)(x, m, n, middle, k1, begin, NULL, 0, sums, NAME(STRIP), LANES);
        NAME(add_to_stripes)(m, n, sums, NAME(STRIP), c, ldc, stripe_c);
        return;
    }
    const ptrdiff_t step = NAME(block_depth)(k1 - k0);
#define STRIP_OF_ROW(limit, init, stripe_init, add, to, stripe) \
    begin[r] += NAME(narrow_strip)(n, x->end[r] - begin[r], x->values + begin[r], x->columns + begin[r], limit, x->b, x->ldb, \
                                   x->stripe_b, init, stripe_init, add, to, stripe)
    if (x->depth == 0) { /* a row at a time, by the blocks that have some of its nonzeros */
        for (ptrdiff_t r = 0; r < m; r++) {
            REAL *to = c + r * ldc;
            if (!add)
                STRIP_OF_ROW(k1 - k0 > step ? k0 + step : k1, bias, LANES, 0, to, stripe_c);
            while (begin[r] < x->end[r] && x->columns[begin[r]] < k1) {
                const uint32_t block = (uint32_t)(x->columns[begin[r]] - k0) / (uint32_t)step;
                const ptrdiff_t limit = k0 + (block + 1) * step;
                STRIP_OF_ROW(limit < k1 ? limit : k1, NULL, LANES, 1, to, stripe_c);
            }
        }
        return;
    }
    ptrdiff_t p = k0;
    do { /* once at least: there may be no columns */
        const ptrdiff_t stop = k1 - p < step ? k1 : p + step;
        const int adds = add || p > k0;
        const REAL *start = p > k0 ? NULL : bias;
        for (ptrdiff_t r = 0; adds && r < m; r++) /* a chain begins at 0 */
            memset(sums + r * NAME(STRIP), 0, (size_t)n * sizeof(REAL));
        for (ptrdiff_t limit = p, first = 1; limit < stop || first; first = 0) {
            limit = stop - limit > x->depth ? limit + x->depth : stop;
            for (ptrdiff_t r = 0; r < m; r++) {
                REAL *to = c + r * ldc, *sum = sums + r * NAME(STRIP);
                if (!adds)
                    STRIP_OF_ROW(limit, first ? start : to, first ? LANES : stripe_c, 0, to, stripe_c);
                else if (limit < stop)
                    STRIP_OF_ROW(limit, sum, LANES, 0, sum, LANES);
                else
                    STRIP_OF_ROW(limit, sum, LANES, 1, to, stripe_c);
            }
        }
        p += step;
    } while (p < k1);
#undef STRIP_OF_ROW
}

/* Where B does not fit the L1 cache but each of its blocks is used often, a few rows of C go through B block by block. */
static void NAME(nonzeros_matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Nonzeros *x, ptrdiff_t row, const void *b_,
                                  ptrdiff_t ldb, ptrdiff_t stripe_b, const void *bias, int accumulate, void *c_, ptrdiff_t ldc,
                                  ptrdiff_t stripe_c)
{
    enum { BLOCK_BYTES = 32768 };
    NAME(Lists) lists = {x->columns, x->values, NULL, NULL, ldb, stripe_b, 0};
    REAL *c = c_;
    if (accumulate)
        bias = NULL;
    for (ptrdiff_t i = 0; i < m; i += NAME(GROUP), c += NAME(GROUP) * ldc) {
        const ptrdiff_t rows = m - i < NAME(GROUP) ? m - i : NAME(GROUP);
        ptrdiff_t begin[NAME(GROUP)], total = 0;
        lists.end = x->end + row + i;
        for (ptrdiff_t r = 0; r < rows; r++)
            total += lists.end[r] - x->begin[row + i + r];
        for (ptrdiff_t j = 0, size; j < n; j += size) {
            size = NAME(strip_of)(n - j);
            const ptrdiff_t v = j / LANES, depth = BLOCK_BYTES / (size * (ptrdiff_t)sizeof(REAL));
            lists.b = (const REAL *)b_ + v * stripe_b;
            lists.depth = depth < k && total * depth > 4 * rows * k ? depth : 0;
            memcpy(begin, x->begin + row + i, (size_t)rows * sizeof *begin);
            NAME(list_strip)(&lists, rows, size, 0, k, begin, bias ? (const REAL *)bias + j : NULL, accumulate,
                             c + v * stripe_c, ldc, stripe_c);
        }
    }
}

/* ---- element-wise functions ------------------------------------------------------------------------------------- */

#if REAL_BITS == 32
#define MANTISSA 23
#define BIAS 127
#define LN2_HIGH 0x1.62e4p-1f /* few enough bits that n * LN2_HIGH is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_MIN -120.0f /* far enough below where e^x is 0 that z e^z is 0 too */
#define EXP_MAX 89.0f
#define EXP_TERMS 8
#define TANH_ONE 10.0f
#define SQRT_HALF_BITS 0x3f3504f3
#define SMALLEST 0x1p-126f /* normal number */
#define SMALLEST_ROOT 0x1p-63f
#define LOG_TERMS 4
#else
#define MANTISSA 52
#define BIAS 1023
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define EXP_MIN -760.0
#define EXP_MAX 710.0
#define EXP_TERMS 14
#define TANH_ONE 20.0
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcd
#define SMALLEST 0x1p-1022
#define SMALLEST_ROOT 0x1p-511
#define LOG_TERMS 10
#endif

/* x = n ln 2 + r with |r| <= ln(2)/2; returns exp(r) - 1 - r, by its Taylor series, and n and r; r is x where n is 0. */
INLINE VEC NAME(exp_series)(VEC x, IVEC *n, VEC *r_)
{
    /* 1 / t! for t = 2, 3, ... */
    static const REAL coefficient[] = {(REAL)(1.0 / 2),          (REAL)(1.0 / 6),         (REAL)(1.0 / 24),
                                       (REAL)(1.0 / 120),        (REAL)(1.0 / 720),       (REAL)(1.0 / 5040),
                                       (REAL)(1.0 / 40320),      (REAL)(1.0 / 362880),    (REAL)(1.0 / 3628800),
                                       (REAL)(1.0 / 39916800),   (REAL)(1.0 / 479001600), (REAL)(1.0 / 6227020800)};
    /* adding 1.5 * 2^MANTISSA rounds to an integer and leaves that integer in the low bits */
    const VEC magic = NAME(broadcast)((REAL)1.5 * (REAL)((INT)1 << MANTISSA));
    VEC shifted = x * (REAL)1.4426950408889634 + magic;
    VEC rounded = shifted - magic;
    *n = (IVEC)shifted - (IVEC)magic;
    VEC r = x - rounded * LN2_HIGH;
    r = r - rounded * LN2_LOW;
    VEC q = NAME(broadcast)(coefficient[EXP_TERMS - 3]);
    for (int t = EXP_TERMS - 4; t >= 0; t--)
        q = q * r + coefficient[t];
    *r_ = r;
    return q * r * r;
}

/* exp(r) - 1, and n */
INLINE VEC NAME(expm1_reduced)(VEC x, IVEC *n)
{
    VEC r, rest = NAME(exp_series)(x, n, &r);
    return rest + r;
}

/* 2^n for n in the range of normal numbers */
INLINE VEC NAME(power_of_two)(IVEC n) { return (VEC)((n + BIAS) << MANTISSA); }

/* e^x as a product of two numbers, for results that overflow or are subnormal */
INLINE VEC NAME(exp_factors)(VEC x, VEC *second)
{
    IVEC n;
    x = NAME(select)(x > EXP_MAX, NAME(broadcast)(EXP_MAX), x);
    x = NAME(select)(x < EXP_MIN, NAME(broadcast)(EXP_MIN), x);
    VEC p = NAME(expm1_reduced)(x, &n) + (REAL)1;
    IVEC half = n >> 1;
    *second = NAME(power_of_two)(n - half);
    return p * NAME(power_of_two)(half);
}

INLINE VEC NAME(vexp)(VEC x)
{
    VEC second, first = NAME(exp_factors)(x, &second);
    return first * second;
}

/* e^x - 1 for x <= 2 TANH_ONE; below -2 TANH_ONE it is -1 */
INLINE VEC NAME(vexpm1)(VEC x)
{
    IVEC n;
    x = NAME(select)(x < -2 * TANH_ONE, NAME(broadcast)(-2 * TANH_ONE), x);
    VEC p = NAME(expm1_reduced)(x, &n), power = NAME(power_of_two)(n);
    return power * p + (power - (REAL)1);
}

/* ln(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2): 2 artanh s with s = f / (2 + f), of which 2 s = f - s f */
INLINE VEC NAME(log1p_reduced)(VEC f)
{
    /* 2 / (2 t + 1) for t = 1, 2, 3, ... */
    static const REAL coefficient[] = {(REAL)(2.0 / 3),  (REAL)(2.0 / 5),  (REAL)(2.0 / 7),  (REAL)(2.0 / 9),
                                       (REAL)(2.0 / 11), (REAL)(2.0 / 13), (REAL)(2.0 / 15), (REAL)(2.0 / 17),
                                       (REAL)(2.0 / 19), (REAL)(2.0 / 21)};
    VEC s = f / (f + (REAL)2), w = s * s;
    VEC q = NAME(broadcast)(coefficient[LOG_TERMS - 1]);
    for (int t = LOG_TERMS - 2; t >= 0; t--)
        q = q * w + coefficient[t];
    return f - s * (f - q * w);
}

/* ln(1 + x) for 0 <= x <= 1 */
INLINE VEC NAME(vlog1p)(VEC x)
{
    IVEC large = x > (REAL)0.4142135623730951; /* then it is ln 2 + ln(1 + (x - 1) / 2) */
    VEC l = NAME(log1p_reduced)(NAME(select)(large, (x - (REAL)1) * (REAL)0.5, x));
    return NAME(select)(large, l + (REAL)0.6931471805599453, l);
}

/* x = 2^power m with sqrt(1/2) <= m <= sqrt(2), for normal x > 0 */
INLINE VEC NAME(log_parts)(VEC x, VEC *power)
{
    const VEC magic = NAME(broadcast)((REAL)1.5 * (REAL)((INT)1 << MANTISSA)); /* as in exp_series */
    IVEC n = ((IVEC)x - SQRT_HALF_BITS) >> MANTISSA;
    *power = (VEC)((IVEC)magic + n) - magic;
    return (VEC)((IVEC)x - (n << MANTISSA));
}

/* ln x for normal x > 0 */
INLINE VEC NAME(vlog)(VEC x)
{
    VEC power, m = NAME(log_parts)(x, &power);
    return power * LN2_HIGH + (NAME(log1p_reduced)(m - (REAL)1) + power * LN2_LOW);
}

/* z - ln y for normal y > 0, without cancellation where the two are close: the parts of ln y are subtracted one by one */
INLINE VEC NAME(log_ratio)(VEC z, VEC y)
{
    VEC power, m = NAME(log_parts)(y, &power);
    return ((z - power * LN2_HIGH) - NAME(log1p_reduced)(m - (REAL)1)) - power * LN2_LOW;
}

/* e^x - 1 - x for x <= 1, of which the series alone is taken near 0; and e^x - 1 */
INLINE VEC NAME(exp_rest)(VEC x, VEC *expm1)
{
    IVEC n;
    VEC r, bounded = NAME(select)(x < -2 * TANH_ONE, NAME(broadcast)(-2 * TANH_ONE), x);
    VEC rest = NAME(exp_series)(bounded, &n, &r), power = NAME(power_of_two)(n);
    *expm1 = power * (rest + r) + (power - (REAL)1);
    return NAME(select)(n == 0, rest, *expm1 - x);
}

/* The units, f(z) with a parameter p. Comparisons are such that a NaN stays one. */
INLINE VEC NAME(vlogistic)(VEC z)
{
    VEC e = NAME(vexp)(-NAME(abs)(z));
    VEC s = (REAL)1 / (e + (REAL)1);
    return NAME(select)(z < 0, e * s, s);
}

/* tanh |z| = expm1(2|z|) / (expm1(2|z|) + 2), without cancellation for small z */
INLINE VEC NAME(vtanh)(VEC z)
{
    VEC y = NAME(abs)(z);
    y = NAME(select)(y > TANH_ONE, NAME(broadcast)(TANH_ONE), y);
    VEC e = NAME(vexpm1)(y + y);
    IVEC sign = (IVEC)z & ~((IVEC){0} + INT_MAX_OF);
    return (VEC)((IVEC)(e / (e + (REAL)2)) | sign);
}

INLINE VEC NAME(vrelu)(VEC z) { return NAME(select)(z < 0, (VEC){0}, z); }
INLINE VEC NAME(vleaky_relu)(VEC z, REAL p) { return NAME(select)(z < 0, z * p, z); }
INLINE VEC NAME(vstep)(VEC z) { return NAME(select)(z > 0, NAME(broadcast)(1), NAME(select)(z <= 0, (VEC){0}, z)); }
INLINE VEC NAME(bounded)(VEC z, REAL most)
{
    const VEC limit = NAME(broadcast)(most);
    return NAME(select)(z > limit, limit, NAME(select)(z < -limit, -limit, z));
}
INLINE VEC NAME(vsoftplus)(VEC z)
{
    return NAME(select)(z > 0, z, (VEC){0}) + NAME(vlog1p)(NAME(vexp)(-NAME(abs)(z)));
}
INLINE VEC NAME(velu)(VEC z, REAL p)
{
    return NAME(select)(z > 0, z, NAME(vexpm1)(NAME(select)(z > 0, (VEC){0}, z)) * p);
}
#define SELU_SCALE (REAL)1.0507009873554805
#define SELU_ALPHA (REAL)1.6732632423543772

/* z logistic(u(z)), and its derivative by z with u_prime = du/dz. The product is formed so that logistic(u), which may be
 * subnormal, is not. Beyond |z| = 1000, where x ends, nothing changes; -1000 * 0 is 0, where -inf * 0 is not. */
INLINE VEC NAME(gated)(VEC z, VEC x, VEC u, VEC u_prime, VEC *slope)
{
    VEC second, first = NAME(exp_factors)(-NAME(abs)(u), &second), e = first * second, r = (REAL)1 / (e + (REAL)1);
    *slope = NAME(select)(u < 0, e * r, r) + x * u_prime * (e * r * r);
    return NAME(select)(u < 0, x * r * first * second, NAME(select)(z > 0, z, x) * r);
}
INLINE VEC NAME(vsilu)(VEC z, VEC *slope)
{
    VEC x = NAME(bounded)(z, 1000);
    return NAME(gated)(z, x, x, NAME(broadcast)(1), slope);
}
INLINE VEC NAME(vgelu)(VEC z, VEC *slope)
{
    const REAL c = (REAL)1.5957691216057308, b = (REAL)0.044715; /* c = 2 sqrt(2 / pi) */
    VEC x = NAME(bounded)(z, 1000), t = x * x * b;
    return NAME(gated)(z, x, x * c * (t + (REAL)1), (t * (REAL)3 + (REAL)1) * c, slope);
}

/* m rows of n as one where nothing lies between them */
#define FLATTEN if (n == ld) n *= m, ld = n, m = n > 0
/* f, an expression in z and p, for all elements; if it sets `slope`, that is kept where there is a place for it */
#define ACTIVATE(name, sets_slope, f) \
    static void NAME(name)(ptrdiff_t m, ptrdiff_t n, void *a_, ptrdiff_t ld, double parameter, void *slopes_) \
    { \
        const REAL p = (REAL)parameter; \
        const int keep = sets_slope && slopes_; \
        REAL *a = a_, *slopes = slopes_; \
        (void)p; \
        FLATTEN; \
        for (; m-- > 0; a += ld) { \
            ptrdiff_t i = 0; \
            VEC slope = {0}; \
            for (; i + LANES <= n; i += LANES) { \
                VEC z = NAME(load)(a + i); \
                NAME(store)(a + i, f); \
                if (keep) \
                    NAME(store)(slopes + i, slope); \
            } \
            if (i < n) { \
                NAME(mask) mask = NAME(first)(n - i); \
                VEC z = NAME(load_masked)(a + i, mask); \
                NAME(store_masked)(a + i, mask, f); \
                if (keep) \
                    NAME(store_masked)(slopes + i, mask, slope); \
            } \
            if (keep) \
                slopes += ld; \
        } \
    }
ACTIVATE(logistic, 0, NAME(vlogistic)(z))
ACTIVATE(tanh, 0, NAME(vtanh)(z))
ACTIVATE(relu, 0, NAME(vrelu)(z))
ACTIVATE(hard_tanh, 0, NAME(bounded)(z, 1))
ACTIVATE(leaky_relu, 0, NAME(vleaky_relu)(z, p))
ACTIVATE(step, 0, NAME(vstep)(z))
ACTIVATE(softplus, 0, NAME(vsoftplus)(z))
ACTIVATE(elu, 0, NAME(velu)(z, p))
ACTIVATE(selu, 0, NAME(velu)(z, SELU_ALPHA) * SELU_SCALE)
ACTIVATE(exp, 0, NAME(vexp)(z))
ACTIVATE(gelu, 1, NAME(vgelu)(z, &slope))
ACTIVATE(silu, 1, NAME(vsilu)(z, &slope))
#undef ACTIVATE

static void NAME(identity)(ptrdiff_t m, ptrdiff_t n, void *a, ptrdiff_t ld, double parameter, void *slopes)
{
    (void)m, (void)n, (void)a, (void)ld, (void)parameter, (void)slopes;
}
static void NAME(identity_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a, void *d, ptrdiff_t ld, double parameter)
{
    (void)m, (void)n, (void)a, (void)d, (void)ld, (void)parameter;
}

/* d f'(z), an expression in d, a = f(z) and p, for all elements */
#define DERIVATIVE(name, f) \
    static void NAME(name##_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a_, void *d_, ptrdiff_t ld, \
                                        double parameter) \
    { \
        const REAL p = (REAL)parameter, *from = a_; \
        REAL *to = d_; \
        (void)p; \
        FLATTEN; \
        for (; m-- > 0; from += ld, to += ld) { \
            ptrdiff_t i = 0; \
            for (; i + LANES <= n; i += LANES) { \
                VEC a = NAME(load)(from + i), d = NAME(load)(to + i); \
                (void)a, (void)d; \
                NAME(store)(to + i, f); \
            } \
            if (i < n) { \
                NAME(mask) mask = NAME(first)(n - i); \
                VEC a = NAME(load_masked)(from + i, mask), d = NAME(load_masked)(to + i, mask); \
                (void)a, (void)d; \
                NAME(store_masked)(to + i, mask, f); \
            } \
        } \
    }
DERIVATIVE(logistic, d * a * ((REAL)1 - a))
DERIVATIVE(tanh, d * ((REAL)1 - a * a))
DERIVATIVE(relu, NAME(select)(a == 0, (VEC){0}, d))
DERIVATIVE(hard_tanh, NAME(select)(NAME(abs)(a) == 1, (VEC){0}, d))
DERIVATIVE(leaky_relu, NAME(select)(a > 0, d, d * p))
DERIVATIVE(step, (VEC){0})
DERIVATIVE(softplus, d * -NAME(vexpm1)(-a))
DERIVATIVE(elu, NAME(select)(a > 0, d, d * (a + p)))
DERIVATIVE(selu, NAME(select)(a > 0, d * SELU_SCALE, d * (a + SELU_SCALE * SELU_ALPHA)))
DERIVATIVE(kept, d * a)
#undef DERIVATIVE
#undef FLATTEN
#undef SELU_SCALE
#undef SELU_ALPHA

/* ---- radial basis functions --------------------------------------------------------------------------------------- */

/* Distances and beta are bounded by what is still finite, so that 0 times it is 0. */
static const REAL NAME(MOST) = (REAL)(REAL_BITS == 32 ? 0x1p126 : 0x1p1022);
INLINE VEC NAME(twice_beta)(VEC b) { return NAME(bounded)(NAME(vexp)(b) * (REAL)2, NAME(MOST)); }

enum { NAME(DISTANCE_ROWS) = 6 };
/* mr rows and nv vectors of |h - c|^2 over one block of the depth, added to what is there if `add`, all masked if nv is 1; what
 * is const is a constant where this is called */
INLINE void NAME(distance_tile)(const int mr, const int nv, NAME(mask) mask, ptrdiff_t k, const REAL *const *rows,
                                ptrdiff_t offset, const REAL *c, ptrdiff_t ldc, ptrdiff_t stripe_c, int add, REAL *y,
                                ptrdiff_t ld)
{
    VEC acc[NAME(DISTANCE_ROWS)][TILE_VECTORS];
    for (int r = 0; r < mr; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (VEC){0};
    for (ptrdiff_t p = 0; p < k; p++, c += ldc)
        for (int v = 0; v < nv; v++) {
            const REAL *from = c + v * stripe_c;
            const VEC row = nv == 1 ? NAME(load_masked)(from, mask) : NAME(load)(from);
            for (int r = 0; r < mr; r++) {
                const VEC e = row - rows[r][offset + p];
                acc[r][v] += e * e;
            }
        }
    for (int r = 0; r < mr; r++)
        for (int v = 0; v < nv; v++) {
            REAL *to = y + r * ld + v * LANES;
            if (nv == 1)
                NAME(store_masked)(to, mask, add ? acc[r][v] + NAME(load_masked)(to, mask) : acc[r][v]);
            else
                NAME(store)(to, add ? acc[r][v] + NAME(load)(to) : acc[r][v]);
        }
}

/* |h - c|^2 over one block of the depth */
static void NAME(distances)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *const *rows, ptrdiff_t offset, const REAL *c,
                            ptrdiff_t ldc, ptrdiff_t stripe_c, int add, REAL *y, ptrdiff_t ld)
{
    for (ptrdiff_t j = 0; j < n;) {
        const int nv = n - j >= TILE_VECTORS * LANES ? TILE_VECTORS : 1;
        const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
        for (ptrdiff_t i = 0; i < m; i += NAME(DISTANCE_ROWS)) {
#define CASE(MR) \
    case MR: \
        if (nv == 1) \
            NAME(distance_tile)(MR, 1, mask, k, rows + i, offset, c, ldc, stripe_c, add, y + i * ld + j, ld); \
        else \
            NAME(distance_tile)(MR, TILE_VECTORS, mask, k, rows + i, offset, c, ldc, stripe_c, add, y + i * ld + j, ld); \
        break;
            switch (m - i) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) default: CASE(6) }
#undef CASE
        }
        c += nv * stripe_c;
        j += nv * LANES;
    }
}

/* Both loops take a vector of columns at a time, whose 2 beta stays in a register. */
static void NAME(rbf)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows, const void *c, ptrdiff_t ldc,
                      ptrdiff_t stripe_c, const void *b_, void *a_, void *y_, ptrdiff_t ld)
{
    const REAL *b = b_;
    REAL *a = a_, *y = y_;
    const ptrdiff_t step = NAME(block_depth)(k);
    ptrdiff_t p = 0;
    do { /* once at least: k may be 0 */
        NAME(distances)(m, n, k - p < step ? k - p : step, rows, p, (const REAL *)c + p * ldc, ldc, stripe_c, p > 0, a, ld);
        p += step;
    } while (p < k);
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
        const VEC twice_beta = NAME(twice_beta)(NAME(load_masked)(b + j, mask));
        for (ptrdiff_t at = j; at < m * ld; at += ld) {
            const VEC half = NAME(bounded)(NAME(load_masked)(a + at, mask) * (REAL)-0.5, NAME(MOST));
            if (y)
                NAME(store_masked)(y + at, mask, half);
            NAME(store_masked)(a + at, mask, NAME(vexp)(half * twice_beta));
        }
    }
}

static void NAME(rbf_delta)(ptrdiff_t m, ptrdiff_t n, const void *y_, const void *b_, void *d_, ptrdiff_t ld)
{
    const REAL *y = y_, *b = b_;
    REAL *d = d_;
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
        const VEC twice_beta = NAME(twice_beta)(NAME(load_masked)(b + j, mask));
        for (ptrdiff_t at = j; at < m * ld; at += ld) {
            const VEC a = NAME(vexp)(NAME(load_masked)(y + at, mask) * twice_beta);
            NAME(store_masked)(d + at, mask, NAME(load_masked)(d + at, mask) * a * twice_beta);
        }
    }
}

static void NAME(rbf_centres)(ptrdiff_t m, ptrdiff_t n, const void *c_, ptrdiff_t stripe_c, const void *sums_, void *g_,
                              ptrdiff_t stripe_g)
{
    const REAL *c = c_, *sums = sums_;
    REAL *g = g_;
    for (ptrdiff_t j = 0; j < n; j += LANES, c += stripe_c, g += stripe_g) {
        const VEC sum = NAME(load)(sums + j);
        for (ptrdiff_t i = 0; i < m * LANES; i += LANES)
            NAME(store)(g + i, NAME(load)(g + i) - NAME(load)(c + i) * sum);
    }
}

static void NAME(rbf_inputs)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *s_, ptrdiff_t lds, const void *rows_,
                             ptrdiff_t offset, void *d_, ptrdiff_t ldd)
{
    const REAL *s = s_, *const *rows = rows_;
    REAL *d = d_;
    for (ptrdiff_t i = 0; i < m; i++, s += lds, d += ldd)
        NAME(add_scaled)(n, -NAME(row_sum)(k, s, NULL), rows[i] + offset, d);
}

/* ---- losses ----------------------------------------------------------------------------------------------------- */

/* a <- exp(a - max a); returns the sum of that and sets *max */
INLINE REAL NAME(shifted_exp)(ptrdiff_t n, REAL *a, REAL *max)
{
    ptrdiff_t j = LANES;
    REAL m = a[0];
    if (n >= LANES) {
        VEC top = NAME(load)(a);
        for (; j + LANES <= n; j += LANES)
            top = NAME(select)(NAME(load)(a + j) > top, NAME(load)(a + j), top);
        m = NAME(largest)(top);
    } else {
        j = 1;
    }
    for (; j < n; j++)
        m = a[j] > m ? a[j] : m;
    for (j = 0; j < n; j++)
        a[j] -= m;
    NAME(exp)(1, n, a, n, 0, NULL);
    *max = m;
    return NAME(row_sum)(n, a, NULL);
}

/* Rows of up to so many outputs are worked on LANES at a time, a row in each lane: exp is then called for what is
 * there alone, and nothing is added up across lanes. */
enum { NAME(FEW) = 16 };

/* p (m, n) <- factor[i] * softmax(row i of z), m <= LANES, and for each row max z and the sum of e^(z - max z); rows of z
 * and p are ld apart; z is scratch, and may be p itself */
INLINE void NAME(softmax_rows)(ptrdiff_t m, ptrdiff_t n, REAL *z, ptrdiff_t ld, const REAL *factor, REAL *p, REAL *max,
                               REAL *sum)
{
    if (n > NAME(FEW)) {
        for (ptrdiff_t i = 0; i < m; i++, z += ld, p += ld) {
            sum[i] = NAME(shifted_exp)(n, z, max + i);
            REAL share = factor[i] / sum[i];
            for (ptrdiff_t j = 0; j < n; j++)
                p[j] = z[j] * share;
        }
        return;
    }
    VEC e[NAME(FEW)], top = NAME(broadcast)(-(REAL)INFINITY), total = {0};
    REAL *column = (REAL *)e; /* z^T, zeros in lanes without a row */
    for (ptrdiff_t j = 0; j < n; j++, column += LANES) {
        if (m < LANES)
            e[j] = (VEC){0};
        for (ptrdiff_t i = 0; i < m; i++)
            column[i] = z[i * ld + j];
    }
    for (ptrdiff_t j = 0; j < n; j++)
        top = NAME(select)(e[j] > top, e[j], top);
    for (ptrdiff_t j = 0; j < n; j++) {
        e[j] = NAME(vexp)(e[j] - top);
        total += e[j];
    }
    NAME(store)(max, top);
    NAME(store)(sum, total);
    VEC share = NAME(load)(factor) / total;
    column = (REAL *)e;
    for (ptrdiff_t j = 0; j < n; j++, column += LANES) {
        e[j] *= share;
        for (ptrdiff_t i = 0; i < m; i++)
            p[i * ld + j] = column[i];
    }
}

static void NAME(softmax)(ptrdiff_t m, ptrdiff_t n, void *a_, ptrdiff_t ld, double parameter, void *copy_)
{
    REAL *a = a_, *copy = copy_, one[LANES], max[LANES], sum[LANES];
    (void)parameter;
    NAME(store)(one, NAME(broadcast)(1));
    for (ptrdiff_t i = 0; i < m && n; i += LANES) {
        if (m - i >= LANES)
            NAME(softmax_rows)(LANES, n, a + i * ld, ld, one, a + i * ld, max, sum);
        else
            NAME(softmax_rows)(m - i, n, a + i * ld, ld, one, a + i * ld, max, sum);
    }
    for (ptrdiff_t i = 0; copy && i < m; i++)
        memcpy(copy + i * ld, a + i * ld, (size_t)n * sizeof(REAL));
}

/* The Jacobian of a row is diag(a) - a a^T. */
static void NAME(softmax_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a_, void *d_, ptrdiff_t ld, double parameter)
{
    const REAL *a = a_;
    REAL *d = d_;
    (void)parameter;
    for (; m-- > 0; a += ld, d += ld) {
        const REAL sum = NAME(row_sum)(n, d, a);
        for (ptrdiff_t j = 0; j < n; j++)
            d[j] = a[j] * (d[j] - sum);
    }
}

/* Loss of each element and its derivative *d by z, for targets y; p is the cost's parameter. At its kinks the derivative
 * is 0. */
INLINE VEC NAME(element_loss)(const Loss kind, const REAL p, VEC z, VEC y, VEC *d)
{
    const VEC zero = {0}, one = NAME(broadcast)(1);
    VEC e = z - y, size = NAME(abs)(e);
    switch (kind) {
    case SQUARED_ERROR: /* e^2 / 2 */
        *d = e;
        return e * e * (REAL)0.5;
    case ABSOLUTE_ERROR: /* |e| */
        *d = NAME(select)(e > 0, one, NAME(select)(e < 0, -one, e));
        return size;
    case LP: { /* |e|^p / p */
        VEC power = NAME(vexp)(NAME(vlog)(size) * (p - (REAL)1));
        power = NAME(select)(size >= SMALLEST, power, size);
        *d = NAME(select)(e < 0, -power, power);
        return size * power * ((REAL)1 / p);
    }
    case HUBER: /* e^2 / 2 up to |e| = p, straight on from there */
        *d = NAME(bounded)(e, p);
        return *d * (e - *d * (REAL)0.5);
    case QUANTILE: /* (1 - p) e above the target, -p e below */
        *d = NAME(select)(e > 0, NAME(broadcast)(1 - p), NAME(select)(e < 0, NAME(broadcast)(-p), e));
        return e * *d;
    case CROSS_ENTROPY: { /* ln(1 + e^z) - y z, without cancellation */
        VEC u = NAME(vexp)(-NAME(abs)(z)), r = one / (u + one);
        *d = NAME(select)(z < 0, u * r, r) - y;
        return NAME(abs)(z) * NAME(select)(z > 0, one - y, y) + NAME(vlog1p)(u);
    }
    case POISSON: { /* half the deviance, e^z - y - y r = y (e^r - 1 - r) with r = z - ln y; e^z for y = 0 */
        const IVEC positive = y >= SMALLEST;
        const VEC r = NAME(log_ratio)(z, NAME(select)(positive, y, one));
        const IVEC close = positive & (r < 1);
        VEC expm1, rest = NAME(exp_rest)(NAME(select)(close, r, zero), &expm1);
        *d = NAME(select)(close, y * expm1, NAME(vexp)(z) - y);
        return NAME(select)(close, y * rest, *d - y * r);
    }
    case PERCEPTRON: /* max(0, (1 - 2 y) z) for y 0 or 1 */
        *d = NAME(vstep)(z) - y;
        return z * *d;
    case NO_LOSS: case SOFTMAX_CROSS_ENTROPY: case GAUSSIAN:
        break;
    }
    *d = zero;
    return zero;
}

/* Sum of the elements' losses; d (n) <- c times the derivatives, unless it is NULL. */
INLINE double NAME(sum_of_losses)(const Loss kind, const REAL p, ptrdiff_t n, const REAL *z, const REAL *y, REAL *d, REAL c)
{
    VEC total = {0}, slope;
    Total blocks = {0, 0};
    ptrdiff_t j = 0;
    for (ptrdiff_t left = NAME(BLOCK_DEPTH); j + LANES <= n; j += LANES) {
        total += NAME(element_loss)(kind, p, NAME(load)(z + j), NAME(load)(y + j), &slope);
        if (d)
            NAME(store)(d + j, slope * c);
        if (--left == 0) {
            add_to(&blocks, (double)NAME(sum)(total));
            total = (VEC){0};
            left = NAME(BLOCK_DEPTH);
        }
    }
    if (j < n) {
        const NAME(mask) mask = NAME(first)(n - j);
        REAL rest[LANES] = {0};
        VEC loss = NAME(element_loss)(kind, p, NAME(load_masked)(z + j, mask), NAME(load_masked)(y + j, mask), &slope);
        NAME(store_masked)(rest, mask, loss); /* no loss from lanes without an element */
        total += NAME(load)(rest);
        if (d)
            NAME(store_masked)(d + j, mask, slope * c);
    }
    add_to(&blocks, (double)NAME(sum)(total));
    return value_of(&blocks);
}

/* Minus the logarithm of the normal density, with means z (k) and, behind them, logarithms s of the variances: (t^2 + s +
 * ln 2 pi) / 2 with t = e h, h = e^(-s/2);  d = t h, (1 - t^2) / 2. h is bounded by what is finite, so that 0 times it is 0. */
static double NAME(gaussian)(ptrdiff_t k, const REAL *z, const REAL *y, REAL *d, REAL c)
{
    Total total = {0, 0};
    for (ptrdiff_t j = 0; j < k; j += LANES) {
        const NAME(mask) mask = NAME(first)(k - j < LANES ? k - j : LANES);
        const VEC s = NAME(load_masked)(z + k + j, mask), h = NAME(bounded)(NAME(vexp)(s * (REAL)-0.5), NAME(MOST));
        const VEC t = (NAME(load_masked)(z + j, mask) - NAME(load_masked)(y + j, mask)) * h, square = t * t;
        add_to(&total, (double)NAME(sum)(square + s)); /* 0 in lanes without an element */
        if (d) {
            NAME(store_masked)(d + j, mask, t * h * c);
            NAME(store_masked)(d + k + j, mask, ((REAL)1 - square) * (REAL)0.5 * c);
        }
    }
    return 0.5 * (value_of(&total) + (double)k * 1.8378770664093453);
}

/* Of each row sum(y) ln(sum of e^(z - top)) + y (top - z) with top = max z;  d = softmax(z) sum(y) - y; y one-hot at labels[i]
 * if y is NULL. Label smoothing by s takes (1 - s) y + s sum(y) / n for y. `loss` has the contract. */
static double NAME(softmax_cross_entropy)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, REAL *z, ptrdiff_t ld, const REAL *y,
                                          const int64_t *labels, const double *weights, double scale, REAL *d)
{
    const double smoothing = cost->parameter;
    const int whole_rows = y || smoothing;
    double total = 0;
    for (ptrdiff_t r = 0; cost->fixed_logit && r < m; r++)
        z[r * ld + n - 1] = 0;
    for (ptrdiff_t i = 0; i < m; i += LANES) {
        const ptrdiff_t rows = m - i < LANES ? m - i : LANES;
        double gap[LANES], mass[LANES]; /* y (top - z) and sum(y) */
        REAL c[LANES], factor[LANES] = {0}, max[LANES], sum[LANES];
        for (ptrdiff_t r = 0; r < rows; r++) {
            const REAL *zr = z + r * ld;
            double top = 0, gaps = 0; /* where it is just top - z, top is added when it is known */
            for (ptrdiff_t j = 0; whole_rows && j < n; j++)
                top = j == 0 || (double)zr[j] > top ? (double)zr[j] : top;
            for (ptrdiff_t j = 0; smoothing && j < n; j++)
                gaps += top - (double)zr[j];
            if (y) {
                mass[r] = gap[r] = 0;
                for (ptrdiff_t j = 0; j < n; j++) {
                    double t = (double)y[r * n + j];
                    mass[r] += t;
                    gap[r] += t == 0 ? 0 : t * (top - (double)zr[j]);
                }
            } else {
                mass[r] = 1;
                gap[r] = top - (double)zr[labels[i + r]];
            }
            if (smoothing)
                gap[r] = (1 - smoothing) * gap[r] + smoothing * mass[r] / (double)n * gaps;
            c[r] = (REAL)((weights ? weights[i + r] : 1) * scale);
            factor[r] = c[r] * (REAL)mass[r];
        }
        REAL *p = d ? d : z;
        if (rows == LANES)
            NAME(softmax_rows)(LANES, n, z, ld, factor, p, max, sum);
        else
            NAME(softmax_rows)(rows, n, z, ld, factor, p, max, sum);
        for (ptrdiff_t r = 0; r < rows; r++, p += ld) {
            if (weights && weights[i + r] == 0) {
                memset(p, 0, (size_t)n * sizeof(REAL));
                continue;
            }
            gap[r] += whole_rows ? 0 : (double)max[r];
            total += (weights ? weights[i + r] : 1) * (mass[r] * log((double)sum[r]) + gap[r]);
            const REAL ct = (REAL)(1 - smoothing) * c[r], all = (REAL)smoothing * factor[r] / (REAL)n;
            for (ptrdiff_t j = 0; smoothing && j < n; j++)
                p[j] -= all;
            if (y)
                for (ptrdiff_t j = 0; j < n; j++)
                    p[j] -= y[r * n + j] * ct;
            else
                p[labels[i + r]] -= ct;
            if (cost->fixed_logit)
                p[n - 1] = 0;
        }
        z += rows * ld;
        if (y)
            y += rows * n;
        if (d)
            d += rows * ld;
    }
    return total;
}

static double NAME(loss)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, void *z_, ptrdiff_t ld, const void *y_,
                         const int64_t *labels, const double *weights, double scale, void *d_)
{
    REAL *z = z_, *d = d_;
    const REAL *y = y_, p = (REAL)cost->parameter;
    double total = 0;
    if (cost->kind == SOFTMAX_CROSS_ENTROPY)
        return NAME(softmax_cross_entropy)(cost, m, n, z, ld, y, labels, weights, scale, d);
    for (ptrdiff_t i = 0; i < m; i++, z += ld) {
        double weight = weights ? weights[i] : 1;
        REAL c = (REAL)(weight * scale);
        if (weight == 0) { /* such a row counts for nothing, even if its loss is infinite */
            if (d)
                memset(d, 0, (size_t)n * sizeof(REAL));
        } else {
            double loss = 0;
#define CASE(kind) case kind: loss = NAME(sum_of_losses)(kind, p, n, z, y, d, c); break;
            switch (cost->kind) {
            CASE(SQUARED_ERROR) CASE(ABSOLUTE_ERROR) CASE(LP) CASE(HUBER) CASE(CROSS_ENTROPY) CASE(POISSON) CASE(PERCEPTRON)
            case QUANTILE:
                for (ptrdiff_t g = 0, k = n / cost->n_levels; g < cost->n_levels; g++)
                    loss += NAME(sum_of_losses)(QUANTILE, (REAL)cost->levels[g], k, z + g * k, y + g * k,
                                                d ? d + g * k : NULL, c);
                break;
            case GAUSSIAN: loss = NAME(gaussian)(n / 2, z, y, d, c); break;
            case SOFTMAX_CROSS_ENTROPY: case NO_LOSS: break;
            }
#undef CASE
            total += weight * loss;
        }
        if (y)
            y += n;
        if (d)
            d += ld;
    }
    return total;
}

/* ---- update rules ----------------------------------------------------------------------------------------------- */

/* g + the gradient of l1 |w| + l2/2 w^2, with 0 for the subgradient at w = 0 */
INLINE VEC NAME(penalized)(VEC g, VEC w, REAL l1, REAL l2)
{
    const VEC one = NAME(broadcast)(1);
    VEC sign = NAME(select)(w > 0, one, (VEC){0}) - NAME(select)(w < 0, one, (VEC){0});
    return g + w * l2 + sign * l1;
}

/* The proximal operator of t |w|, also called soft threshold: sign(w) max(|w| - t, 0) */
INLINE VEC NAME(soft_threshold)(VEC w, VEC t)
{
    VEC size = NAME(abs)(w) - t;
    size = NAME(select)(size < 0, (VEC){0}, size);
    return NAME(select)(w < 0, -size, size);
}

/* New w from gradient g and state s. Unless `plain`, weight decay comes before the step, and after it the proximal
 * operator of L1 in the rule's own metric; a velocity is then what w has moved by. */
INLINE VEC NAME(rule)(const Rule rule, const int plain, const Update *u, VEC w, VEC g, VEC *s)
{
    /* below the root of the smallest number, g^2 may be 0 where g is not: a smaller epsilon would not bound the step */
    const REAL rate = (REAL)u->learning_rate, momentum = (REAL)u->momentum;
    const REAL epsilon = u->epsilon < (double)SMALLEST_ROOT ? SMALLEST_ROOT : (REAL)u->epsilon;
    VEC next = plain ? w : w - w * (REAL)u->decay, root = NAME(broadcast)(1), *velocity = NULL;
    switch (rule) {
    case GRADIENT_DESCENT: /* w <- w - eta g */
        next = next - g * rate;
        break;
    case MOMENTUM: /* v <- mu v - eta g;  w <- w + v */
        s[0] = s[0] * momentum - g * rate;
        next = next + s[0];
        velocity = s;
        break;
    case NESTEROV: /* one more such step from v: w <- w + mu v - eta g */
        s[0] = s[0] * momentum - g * rate;
        next = next + (s[0] * momentum - g * rate);
        break;
    case ADAM: case ADAMW: /* m <- b1 m + (1 - b1) g;  r <- b2 r + (1 - b2) g^2;  w <- w - eta m / (sqrt r + eps) */
        s[0] = s[0] * (REAL)u->beta_1 + g * (REAL)(1 - u->beta_1);
        s[1] = s[1] * (REAL)u->beta_2 + g * g * (REAL)(1 - u->beta_2);
        root = NAME(sqrt)(s[1]) + epsilon;
        next = next - s[0] * rate / root;
        break;
    case ADAGRAD: /* r <- r + g^2;  w <- w - eta g / (sqrt r + eps) */
        s[0] = s[0] + g * g;
        root = NAME(sqrt)(s[0]) + epsilon;
        next = next - g * rate / root;
        break;
    case RMSPROP: case RMSPROP_MOMENTUM: case RMSPROP_CENTERED:
        /* r <- b2 r + (1 - b2) g^2;  v <- mu v - eta g / (sqrt r + eps);  w <- w + v; centered, r is less the square of
         * m <- b2 m + (1 - b2) g */
        s[0] = s[0] * (REAL)u->beta_2 + g * g * (REAL)(1 - u->beta_2);
        VEC r = s[0];
        if (rule == RMSPROP_CENTERED) {
            s[2] = s[2] * (REAL)u->beta_2 + g * (REAL)(1 - u->beta_2);
            r = r - s[2] * s[2];
            r = NAME(select)(r < 0, (VEC){0}, r); /* by rounding */
        }
        root = NAME(sqrt)(r) + epsilon;
        if (rule == RMSPROP) {
            next = next - g * rate / root;
        } else {
            s[1] = s[1] * momentum - g * rate / root;
            next = next + s[1];
            velocity = s + 1;
        }
        break;
    }
    if (!plain && u->proximal * u->l1 != 0) {
        next = NAME(soft_threshold)(next, (REAL)(u->proximal * u->l1) / root);
        if (velocity)
            *velocity = next - w;
    }
    return next;
}

/* The sum of squares of factor * (the gradient with that of the penalties), and the largest size of an element */
INLINE double NAME(squares)(const Update *u, ptrdiff_t n, const REAL *w, const REAL *g, REAL factor, REAL *largest)
{
    const REAL l1 = u->proximal == 0 ? (REAL)u->l1 : 0, l2 = (REAL)u->l2;
    const ptrdiff_t block = NAME(BLOCK_DEPTH) * LANES;
    VEC top = {0};
    Total total = {0, 0};
    for (ptrdiff_t begin = 0; begin < n; begin += block) {
        const ptrdiff_t end = n - begin < block ? n : begin + block;
        VEC sum = {0};
        for (ptrdiff_t i = begin; i < end; i += LANES) {
            const NAME(mask) mask = NAME(first)(end - i < LANES ? end - i : LANES);
            const VEC all = NAME(penalized)(NAME(load_masked)(g + i, mask), NAME(load_masked)(w + i, mask), l1, l2);
            const VEC size = NAME(abs)(all), e = all * factor;
            top = NAME(select)(size > top, size, top);
            sum += e * e;
        }
        add_to(&total, (double)NAME(sum)(sum));
    }
    *largest = NAME(largest)(top);
    return value_of(&total);
}

/* Where the squares overflow, or underflow by more than rounding, they are taken again of numbers near 1. */
static double NAME(norm)(const Update *u, ptrdiff_t n, const void *w, const void *g)
{
    REAL largest;
    int exponent;
    double squares = NAME(squares)(u, n, w, g, 1, &largest);
    if ((squares < (double)INFINITY && squares > (double)SMALLEST * 0x1p60) || !(largest > 0 && largest < (REAL)INFINITY))
        return sqrt(squares);
    frexp((double)largest, &exponent);
    exponent = exponent < -BIAS + 24 ? -BIAS + 24 : exponent; /* so that its inverse is finite */
    squares = NAME(squares)(u, n, w, g, (REAL)ldexp(1, -exponent), &largest);
    return ldexp(sqrt(squares), exponent);
}

INLINE void NAME(update_by)(const Rule rule, const int n_states, const int plain, const Update *u, ptrdiff_t n, REAL *w,
                            const REAL *g, REAL *const *states, double *penalty)
{
    const REAL l1 = plain || u->proximal == 0 ? (REAL)u->l1 : 0, l2 = (REAL)u->l2;
    const double shrinking = u->scale < 0x1p-100 ? 0x1p-100 : 1; /* in two steps: the factor of a huge norm may be subnormal */
    const REAL scale = (REAL)(u->scale / shrinking), shrink = (REAL)shrinking;
    const VEC clip = NAME(broadcast)((REAL)u->clip);
    const int penalized = u->l1 != 0 || u->l2 != 0, bounded = !plain && (u->scale != 1 || u->clip != INFINITY);
    VEC squares = {0}, sizes = {0}, s[MAX_STATES] = {0};
    REAL *state[MAX_STATES];
    NAME(mask) mask = NAME(first)(LANES);
    for (int j = 0; j < n_states; j++)
        state[j] = states[j];
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const int whole = i + LANES <= n;
        if (!whole)
            mask = NAME(first)(n - i);
#define LOAD(p) (whole ? NAME(load)((p) + i) : NAME(load_masked)((p) + i, mask))
#define STORE(p, v) (whole ? NAME(store)((p) + i, v) : NAME(store_masked)((p) + i, mask, v))
        VEC wi = LOAD(w), gi = LOAD(g);
        for (int j = 0; j < n_states; j++)
            s[j] = LOAD(state[j]);
        if (penalized) {
            squares += wi * wi;
            sizes += NAME(abs)(wi);
            gi = NAME(penalized)(gi, wi, l1, l2);
        }
        if (bounded) {
            gi = gi * shrink * scale;
            gi = NAME(select)(gi > clip, clip, gi);
            gi = NAME(select)(gi < -clip, -clip, gi);
        }
        STORE(w, NAME(rule)(rule, plain, u, wi, gi, s));
        for (int j = 0; j < n_states; j++)
            STORE(state[j], s[j]);
#undef LOAD
#undef STORE
    }
    if (penalized)
        *penalty += 0.5 * u->l2 * (double)NAME(sum)(squares) + u->l1 * (double)NAME(sum)(sizes);
}

static void NAME(update)(const Update *u, ptrdiff_t n, void *w_, const void *g_, void *const *states_, double *penalty)
{
    const int plain = u->scale == 1 && u->clip == INFINITY && u->decay == 0 && u->proximal == 0;
    const ptrdiff_t block = NAME(BLOCK_DEPTH) * LANES; /* of the sums that make the penalty */
    Total penalties = {0, 0};
    for (ptrdiff_t at = 0; at < n; at += block) {
        const ptrdiff_t size = n - at < block ? n - at : block;
        double part = 0;
        REAL *w = (REAL *)w_ + at, *states[MAX_STATES];
        const REAL *g = (const REAL *)g_ + at;
        for (int j = 0; j < MAX_STATES; j++)
            states[j] = states_[j] ? (REAL *)states_[j] + at : NULL;
        switch (u->rule) {
#define CASE(RULE, N_STATES) \
    case RULE: \
        if (plain) \
            NAME(update_by)(RULE, N_STATES, 1, u, size, w, g, states, &part); \
        else \
            NAME(update_by)(RULE, N_STATES, 0, u, size, w, g, states, &part); \
        break;
        CASE(GRADIENT_DESCENT, 0)
        CASE(MOMENTUM, 1)
        CASE(NESTEROV, 1)
        case ADAMW: /* differs from ADAM in the epsilon that it is given */
        CASE(ADAM, 2)
        CASE(ADAGRAD, 1)
        CASE(RMSPROP, 1)
        CASE(RMSPROP_MOMENTUM, 2)
        CASE(RMSPROP_CENTERED, 3)
#undef CASE
        }
        add_to(&penalties, part);
    }
    *penalty += value_of(&penalties);
}

static double NAME(tie)(ptrdiff_t m, ptrdiff_t n, double strength, const void *a_, ptrdiff_t lda, const void *b_,
                        ptrdiff_t ldb, void *g_, ptrdiff_t ldg)
{
    const NAME(mask) mask = NAME(first)(n);
    const REAL *a = a_, *b = b_;
    REAL *g = g_;
    Total total = {0, 0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC squares = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++, a += lda, b += ldb, g += ldg) {
            const VEC e = NAME(load_masked)(a, mask) - NAME(load_masked)(b, mask);
            squares += e * e;
            NAME(store_masked)(g, mask, NAME(load_masked)(g, mask) + e * (REAL)strength);
        }
        add_to(&total, (double)NAME(sum)(squares));
    }
    return value_of(&total);
}

/* Norms of the columns of factor * W (m, n), n <= lanes */
INLINE VEC NAME(column_norms)(ptrdiff_t m, NAME(mask) mask, const REAL *w, ptrdiff_t ld, VEC factor)
{
    VEC total = {0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC squares = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++) {
            const VEC row = NAME(load_masked)(w + r * ld, mask) * factor;
            squares += row * row;
        }
        total += squares;
    }
    return NAME(sqrt)(total);
}

/* The power of two below the largest size of an element of each column of W (m, n), n <= lanes; 1 where that is 0 or not finite */
INLINE VEC NAME(column_powers)(ptrdiff_t m, NAME(mask) mask, const REAL *w, ptrdiff_t ld)
{
    const INT exponent_bits = (INT)(REAL_BITS == 32 ? 0xff : 0x7ff) << MANTISSA;
    const VEC one = NAME(broadcast)(1);
    VEC largest = {0};
    for (ptrdiff_t i = 0; i < m; i++) {
        const VEC size = NAME(abs)(NAME(load_masked)(w + i * ld, mask));
        largest = NAME(select)(size > largest, size, largest);
    }
    return (VEC)((IVEC)NAME(select)((largest >= SMALLEST) & (largest < (REAL)INFINITY), largest, one) & exponent_bits);
}

/* Where squares may overflow or underflow, the columns are divided by powers of two first. */
static int NAME(bound_columns)(ptrdiff_t m, ptrdiff_t n, void *w_, ptrdiff_t ld, double most_)
{
    const REAL most = (REAL)most_, large = 0x1p60;
    const NAME(mask) mask = NAME(first)(n);
    const VEC one = NAME(broadcast)(1);
    REAL *w = w_;
    VEC scale = one, norm = NAME(column_norms)(m, mask, w, ld, scale);
    int any = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        any |= !(norm[j] < large);
    if (any || most < 1 / large) {
        scale = one / NAME(column_powers)(m, mask, w, ld);
        norm = NAME(column_norms)(m, mask, w, ld, scale);
        any = 0;
    }
    const IVEC above = norm > scale * most;
    for (ptrdiff_t j = 0; j < n; j++)
        any |= above[j] != 0;
    if (!any)
        return 0;
    scale = NAME(select)(above, scale, one);
    norm = NAME(select)(above, most / norm, one);
    for (ptrdiff_t i = 0; i < m; i++)
        NAME(store_masked)(w + i * ld, mask, NAME(load_masked)(w + i * ld, mask) * scale * norm);
    return 1;
}

static void NAME(add)(ptrdiff_t m, ptrdiff_t n, void *a_, const void *b_, ptrdiff_t ld)
{
    REAL *a = a_;
    const REAL *b = b_;
    for (ptrdiff_t i = 0; i < m; i++, a += ld, b += ld) {
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES)
            NAME(store)(a + j, NAME(load)(a + j) + NAME(load)(b + j));
        for (; j < n; j++)
            a[j] += b[j];
    }
}

/* 0 * a is 0, or NaN where a is not finite. */
static int NAME(all_finite)(ptrdiff_t n, const void *a_)
{
    const REAL *a = a_;
    VEC sum[4] = {0};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            sum[j] += NAME(load)(a + i + j * LANES) * 0;
    for (; i < n; i++)
        sum[0][0] += a[i] * 0;
    return NAME(sum)(sum[0] + sum[1] + sum[2] + sum[3]) == 0;
}

/* ---- what is random in training ---------------------------------------------------------------------------------- */

static void NAME(dropout)(ptrdiff_t m, ptrdiff_t n, double rate, const Counter *counter, ptrdiff_t first, void *a_,
                          ptrdiff_t ld)
{
    const uint32_t threshold = (uint32_t)(rate * 0x1p32);
    const REAL scale = (REAL)(1 / (1 - rate));
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2], word[BLOCK_WORDS];
        row_key(&c, key);
        for (ptrdiff_t at = first / BLOCK_WORDS * BLOCK_WORDS; at < first + n; at += BLOCK_WORDS) {
            random_words(key, c.stream, at / BLOCK_WORDS, word);
            REAL *to = a + (at - first);
            const ptrdiff_t begin = at < first ? first - at : 0, end = first + n - at;
            if (begin == 0 && end >= BLOCK_WORDS)
                for (int j = 0; j < BLOCK_WORDS; j++)
                    to[j] = word[j] < threshold ? 0 : to[j] * scale;
            else
                for (ptrdiff_t j = begin; j < end && j < BLOCK_WORDS; j++)
                    to[j] = word[j] < threshold ? 0 : to[j] * scale;
        }
    }
}

/* Box-Muller: word i gives the radius sqrt(-2 ln u), word 16 + i the angle, of two normal numbers. The angle is one in
 * [-pi/4, pi/4), for whose sine and cosine Taylor's series are short, and a quarter turn for each of four values of two
 * bits of the word. */
INLINE void NAME(normal_numbers)(const uint32_t word[BLOCK_WORDS], REAL out[BLOCK_WORDS])
{
    enum { HALF = BLOCK_WORDS / 2 };
    REAL u[HALF], angle[HALF], turn_y[HALF], sign_x[HALF], sign_y[HALF];
    for (int i = 0; i < HALF; i++) {
        u[i] = (REAL)(int32_t)(word[i] >> 1) * (REAL)0x1p-31 + (REAL)0x1p-32;
        angle[i] = ((REAL)(int32_t)(word[HALF + i] >> 2) * (REAL)0x1p-30 - (REAL)0.5) * (REAL)1.5707963267948966;
        turn_y[i] = (REAL)(int32_t)(word[HALF + i] & 1);
        sign_x[i] = word[HALF + i] & 2 ? -1 : 1;
        sign_y[i] = turn_y[i] != 0 ? -sign_x[i] : sign_x[i];
    }
    for (int i = 0; i < HALF; i += LANES) {
        const VEC x = NAME(load)(angle + i), z = x * x;
        const VEC r = NAME(sqrt)(NAME(vlog)(NAME(load)(u + i)) * (REAL)-2);
        VEC sine = NAME(broadcast)(1), cosine = sine;
        for (int t = REAL_BITS == 32 ? 5 : 9; t > 0; t--) {
            sine = (REAL)1 - sine * z * (REAL)(1.0 / (2 * t * (2 * t + 1)));
            cosine = (REAL)1 - cosine * z * (REAL)(1.0 / (2 * t * (2 * t - 1)));
        }
        sine *= x;
        const IVEC turned = NAME(load)(turn_y + i) != 0; /* by a quarter: (c, s) -> (-s, c) */
        NAME(store)(out + i, r * NAME(load)(sign_y + i) * NAME(select)(turned, sine, cosine));
        NAME(store)(out + HALF + i, r * NAME(load)(sign_x + i) * NAME(select)(turned, cosine, sine));
    }
}

static void NAME(add_noise)(ptrdiff_t m, ptrdiff_t n, double sigma, const Counter *counter, void *a_, ptrdiff_t ld)
{
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2], word[BLOCK_WORDS];
        REAL normal[BLOCK_WORDS];
        row_key(&c, key);
        for (ptrdiff_t at = 0; at < n; at += BLOCK_WORDS) {
            random_words(key, NOISE_STREAM, at / BLOCK_WORDS, word);
            NAME(normal_numbers)(word, normal);
            NAME(add_scaled)(n - at < BLOCK_WORDS ? n - at : BLOCK_WORDS, (REAL)sigma, normal, a + at);
        }
    }
}

/* A word as a number in [-1, 1) */
INLINE REAL NAME(symmetric)(uint32_t word) { return (REAL)(int32_t)word * (REAL)0x1p-31; }

/* One axis' field of displacements, alpha * G(u): element (y, x) at field[y * stride + x] with stride = width + radius.
 * The gaps between rows are zeros while the Gaussian is applied, along y and then along x, to all of it as one row, and
 * so are `radius` rows above and below. Words `first_block` on are u. */
INLINE const REAL *NAME(elastic_field)(const Augmentation *s, const uint32_t key[2], ptrdiff_t first_block, REAL *field,
                                       REAL *scratch)
{
    const ptrdiff_t r = elastic_radius(s), stride = s->width + r, size = s->height * stride, n = s->height * s->width;
    REAL *u = scratch, *down = u + size + 2 * r * stride + r;
    memset(scratch, 0, (size_t)(2 * size + 2 * r * stride + 2 * r) * sizeof(REAL));
    for (ptrdiff_t at = 0; at < n; at += BLOCK_WORDS) {
        uint32_t word[BLOCK_WORDS];
        random_words(key, AUGMENTATION_STREAM, first_block + at / BLOCK_WORDS, word);
        for (int i = 0; i < BLOCK_WORDS; i++)
            field[at + i] = NAME(symmetric)(word[i]);
    }
    u += r * stride;
    for (ptrdiff_t y = 0; y < s->height; y++)
        memcpy(u + y * stride, field + y * s->width, (size_t)s->width * sizeof(REAL));
    memset(field, 0, (size_t)size * sizeof(REAL));
    double total = 0;
    for (ptrdiff_t k = -r; k <= r; k++)
        total += exp(-0.5 * (double)(k * k) / (s->elastic_sigma * s->elastic_sigma));
    for (int pass = 0; pass < 2; pass++)
        for (ptrdiff_t k = -r; k <= r; k++) {
            const double weight = exp(-0.5 * (double)(k * k) / (s->elastic_sigma * s->elastic_sigma)) / total;
            if (pass == 0)
                NAME(add_scaled)(size, (REAL)weight, u + k * stride, down);
            else
                NAME(add_scaled)(size, (REAL)(weight * s->elastic_alpha), down + k, field);
        }
    return field;
}

INLINE void NAME(distort)(const Augmentation *s, const uint32_t key[2], REAL *image, REAL *scratch)
{
    const ptrdiff_t height = s->height, width = s->width, ld = width + 3, stride = width + elastic_radius(s);
    const ptrdiff_t field_blocks = (height * width + BLOCK_WORDS - 1) / BLOCK_WORDS;
    REAL *padded = scratch, *fields = padded + (height + 3) * ld, *rest = fields + 2 * (height * stride + BLOCK_WORDS);
    const REAL *elastic_y = NULL, *elastic_x = NULL;
    uint32_t word[BLOCK_WORDS];
    random_words(key, AUGMENTATION_STREAM, 0, word);
    if (s->elastic_alpha != 0) {
        elastic_y = NAME(elastic_field)(s, key, 1, fields, rest);
        elastic_x = NAME(elastic_field)(s, key, 1 + field_blocks, fields + height * stride + BLOCK_WORDS, rest);
    }
    /* zeros around the image, so that any place within one pixel of it has its four neighbours */
    memset(padded, 0, (size_t)((height + 3) * ld) * sizeof(REAL));
    for (ptrdiff_t y = 0; y < height; y++)
        memcpy(padded + (y + 1) * ld + 1, image + y * width, (size_t)width * sizeof(REAL));
    const double angle = s->rotation * 0.017453292519943295 * (double)NAME(symmetric)(word[2]);
    const double size = 1 + s->scale * (double)NAME(symmetric)(word[3]), shear = s->shear * (double)NAME(symmetric)(word[4]);
    const double c = cos(angle) / size, d = sin(angle) / size;
    /* R(theta) [[1, k], [0, 1]] / s, for (y, x) */
    const REAL yy = (REAL)c, yx = (REAL)(c * shear - d), xy = (REAL)d, xx = (REAL)(d * shear + c);
    const REAL center_y = (REAL)(height - 1) / 2, center_x = (REAL)(width - 1) / 2;
    /* + 1: in the padded image */
    const REAL from_y = center_y + (REAL)s->shift * NAME(symmetric)(word[0]) + 1;
    const REAL from_x = center_x + (REAL)s->shift * NAME(symmetric)(word[1]) + 1;
    const REAL most_y = (REAL)(height + 1), most_x = (REAL)(width + 1);
    for (ptrdiff_t y = 0; y < height; y++) {
        const REAL dy = (REAL)y - center_y;
        for (ptrdiff_t x = 0; x < width; x++) {
            const REAL dx = (REAL)x - center_x;
            REAL at_y = from_y + yy * dy + yx * dx, at_x = from_x + xy * dy + xx * dx;
            if (elastic_y) {
                at_y += elastic_y[y * stride + x];
                at_x += elastic_x[y * stride + x];
            }
            at_y = at_y < 0 ? 0 : at_y > most_y ? most_y : at_y;
            at_x = at_x < 0 ? 0 : at_x > most_x ? most_x : at_x;
            const ptrdiff_t i = (ptrdiff_t)at_y, j = (ptrdiff_t)at_x;
            const REAL v = at_y - (REAL)i, w = at_x - (REAL)j, *p = padded + i * ld + j;
            const REAL upper = p[0] + (p[1] - p[0]) * w, lower = p[ld] + (p[ld + 1] - p[ld]) * w;
            image[y * width + x] = upper + (lower - upper) * v;
        }
    }
}

static void NAME(augment)(ptrdiff_t m, const Augmentation *settings, const Counter *counter, void *a_, ptrdiff_t ld,
                          void *scratch)
{
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2];
        row_key(&c, key);
        NAME(distort)(settings, key, a, scratch);
    }
}

static void NAME(undo_scale)(ptrdiff_t n, double rate, const void *a_, void *out_)
{
    const REAL *a = a_, scale = (REAL)(1 / (1 - rate));
    REAL *out = out_;
    for (ptrdiff_t j = 0; j < n; j++)
        out[j] = a[j] / scale;
}

#undef MANTISSA
#undef BIAS
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_MIN
#undef EXP_MAX
#undef EXP_TERMS
#undef TANH_ONE
#undef SQRT_HALF_BITS
#undef SMALLEST
#undef SMALLEST_ROOT
#undef LOG_TERMS
