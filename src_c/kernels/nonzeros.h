/* Matrices that are mostly zeros, as lists of what is not. */

INLINE REAL NAME(csr_value)(const Csr *x, int64_t i)
{
    return NAME(read)(x->data + i * (x->dtype == FLOAT32 ? 4 : x->dtype == FLOAT64 ? 8 : 1), x->dtype);
}

/* Columns of rows row..row+m of a list, which lead to memory: if another thread has invalid them since they were checked, they
 * become some that ascend below n_columns. */
INLINE void NAME(bound)(ptrdiff_t m, ptrdiff_t row, ptrdiff_t n_columns, const Nonzeros *x)
{
    int32_t *columns = x->columns;
    const ptrdiff_t first = x->begin[row], last = x->end[row + m - 1];
    int descents = 0, invalid = 0;
    for (ptrdiff_t e = first + 1; e < last; e++) /* of all rows in one go, then without those from row to row */
        descents += columns[e] < columns[e - 1];
    for (ptrdiff_t i = row; i < row + m; i++) {
        const ptrdiff_t begin = x->begin[i], end = x->end[i];
        if (begin == end)
            continue;
        descents -= begin > first && columns[begin] < columns[begin - 1];
        invalid |= columns[begin] < 0 || columns[end - 1] >= n_columns;
    }
    for (ptrdiff_t i = row; i < row + m && (invalid || descents); i++)
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
 * where to find, and which it is left at the end of. The blocks are those of the dense product, or where k1 is 0, of nonzeros. */
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
    if (k1 == 0) {
        for (ptrdiff_t r = 0; r < m; r++) {
            const REAL *start = bias;
            int adds = add;
            do { /* once at least: there may be no nonzeros */
                const ptrdiff_t left = x->end[r] - begin[r], taken = left < NAME(BLOCK_DEPTH) ? left : NAME(BLOCK_DEPTH);
                begin[r] += NAME(narrow_strip)(n, taken, x->values + begin[r], x->columns + begin[r], PTRDIFF_MAX, x->b, x->ldb,
                                               x->stripe_b, start, LANES, adds, c + r * ldc, stripe_c);
                start = NULL;
                adds = 1;
            } while (begin[r] < x->end[r]);
        }
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
        /* as many parts of a block as come nearest to that depth */
        const ptrdiff_t parts = (stop - p + x->depth / 2) / x->depth, depth = parts > 1 ? (stop - p + parts - 1) / parts : stop - p;
        for (ptrdiff_t limit = p, first = 1; limit < stop || first; first = 0) {
            limit = stop - limit > depth ? limit + depth : stop;
            for (ptrdiff_t r = 0; r < m; r++) {
                REAL *to = c + r * ldc, *sum = sums + r * NAME(STRIP);
                if (!adds)
                    STRIP_OF_ROW(limit, first ? start : to, first ? LANES : stripe_c, 0, to, stripe_c);
                else if (limit < stop)
                    STRIP_OF_ROW(limit, first ? NULL : sum, LANES, 0, sum, LANES);
                else
                    STRIP_OF_ROW(limit, first ? NULL : sum, LANES, 1, to, stripe_c);
            }
        }
        p += step;
    } while (p < k1);
#undef STRIP_OF_ROW
}

/* Where B does not fit the L1 cache but each of its blocks is used often, a few rows of C go through B block by block. */
static void NAME(nonzeros_matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const Nonzeros *x, ptrdiff_t row, const Stripes *b,
                                  const void *bias, int accumulate, const Stripes *c)
{
    enum { BLOCK_BYTES = 32768 };
    NAME(Lists) lists = {x->columns, x->values, NULL, NULL, b->ld, b->stripe, 0};
    REAL *to = c->at;
    if (accumulate)
        bias = NULL;
    for (ptrdiff_t i = 0; i < m; i += NAME(GROUP), to += NAME(GROUP) * c->ld) {
        const ptrdiff_t rows = m - i < NAME(GROUP) ? m - i : NAME(GROUP);
        ptrdiff_t begin[NAME(GROUP)], total = 0;
        lists.end = x->end + row + i;
        for (ptrdiff_t r = 0; r < rows; r++)
            total += lists.end[r] - x->begin[row + i + r];
        for (ptrdiff_t j = 0, size; j < n; j += size) {
            size = NAME(strip_of)(n - j);
            const ptrdiff_t v = j / LANES, depth = BLOCK_BYTES / (size * (ptrdiff_t)sizeof(REAL));
            lists.b = (const REAL *)b->at + v * b->stripe;
            lists.depth = depth < k && total * depth > 4 * rows * k ? depth : 0;
            memcpy(begin, x->begin + row + i, (size_t)rows * sizeof *begin);
            NAME(list_strip)(&lists, rows, size, 0, k, begin, bias ? (const REAL *)bias + j : NULL, accumulate,
                             to + v * c->stripe, c->ld, c->stripe);
        }
    }
}
