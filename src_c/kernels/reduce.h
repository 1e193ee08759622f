/* Sums, and how they are cut into blocks so that their errors stay small. */

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

/* Sums of nv vectors of columns of A * B, or of A where B is NULL; of B, if so, what is below 0 */
INLINE void NAME(sum_columns)(const int nv, const int negative, NAME(mask) mask, ptrdiff_t m, const REAL *a, const REAL *b,
                              ptrdiff_t ld, int accumulate, REAL *out)
{
    VEC total[4];
#define LOAD(p) (nv == 1 ? NAME(load_masked)((p), mask) : NAME(load)((p) + v * LANES))
    for (int v = 0; v < nv; v++)
        total[v] = accumulate ? LOAD(out) : (VEC){0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC sum[4] = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++)
            for (int v = 0; v < nv; v++) {
                if (negative)
                    sum[v] += LOAD(a + r * ld) * NAME(select)(LOAD(b + r * ld) > 0, (VEC){0}, LOAD(b + r * ld));
                else
                    sum[v] += b ? LOAD(a + r * ld) * LOAD(b + r * ld) : LOAD(a + r * ld);
            }
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

INLINE void NAME(sum_all_columns)(const int negative, ptrdiff_t m, ptrdiff_t n, const REAL *a, const REAL *b, ptrdiff_t ld,
                                  int accumulate, REAL *out)
{
    ptrdiff_t j = 0;
    for (; j + 4 * LANES <= n; j += 4 * LANES)
        NAME(sum_columns)(4, negative, NAME(first)(LANES), m, a + j, b ? b + j : NULL, ld, accumulate, out + j);
    for (; j < n; j += LANES)
        NAME(sum_columns)(1, negative, NAME(first)(n - j < LANES ? n - j : LANES), m, a + j, b ? b + j : NULL, ld, accumulate, out + j);
}

static void NAME(column_sums)(ptrdiff_t m, ptrdiff_t n, const void *a, const void *b, ptrdiff_t ld, int accumulate, void *out)
{
    NAME(sum_all_columns)(0, m, n, a, b, ld, accumulate, out);
}

static void NAME(prelu_sums)(ptrdiff_t m, ptrdiff_t n, const void *d, const void *a, ptrdiff_t ld, int accumulate, void *out)
{
    NAME(sum_all_columns)(1, m, n, d, a, ld, accumulate, out);
}

static void NAME(zero_masked)(ptrdiff_t n, const void *mask_, void *g_)
{
    const REAL *mask = mask_;
    REAL *g = g_;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NAME(store)(g + i, (VEC)((NAME(load)(mask + i) != 0) & (IVEC)NAME(load)(g + i)));
    for (; i < n; i++)
        if (mask[i] == 0)
            g[i] = 0;
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

/* Lanes that are set where an element of a (n) is not below the bound in size */
INLINE IVEC NAME(not_below)(ptrdiff_t n, const REAL *a, REAL bound)
{
    IVEC below[4] = {0};
    ptrdiff_t i = 0;
    for (int j = 0; j < 4; j++)
        below[j] = ~below[j];
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            below[j] &= NAME(abs)(NAME(load)(a + i + j * LANES)) < bound;
    for (; i < n; i += LANES) /* zeros fill it up */
        below[0] &= NAME(abs)(NAME(load_masked)(a + i, NAME(first)(n - i < LANES ? n - i : LANES))) < bound;
    return ~(below[0] & below[1] & below[2] & below[3]);
}

static int NAME(all_below)(ptrdiff_t n, const void *a, double bound) { return !NAME(any)(NAME(not_below)(n, a, (REAL)bound)); }

static int NAME(rows_below)(ptrdiff_t m, ptrdiff_t n, const void *rows_, double bound)
{
    const REAL *const *rows = rows_;
    IVEC above = {0};
    for (ptrdiff_t i = 0; i < m; i++)
        above |= NAME(not_below)(n, rows[i], (REAL)bound);
    return !NAME(any)(above);
}
