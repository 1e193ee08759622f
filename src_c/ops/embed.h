/* Tables whose rows are named by numbers in X. Rows are short: no masks, whose stores the next loads would have to wait for. */

/* Such a number leads to memory: it is bounded by 0, which is that of NaN, and the last. Without branches, which a processor could
 * not foresee. */
INLINE ptrdiff_t NAME(category)(REAL x, REAL last)
{
    const REAL bounded = x > 0 ? x : 0;
    return (ptrdiff_t)(bounded < last ? bounded : last);
}

/* to (n) = row, or += row, n < LANES: some halves of vectors of each length. */
INLINE void NAME(add_few)(ptrdiff_t n, const REAL *row, int accumulate, REAL *to)
{
#define PART(length) \
    if (n & (length)) { \
        typedef REAL part __attribute__((vector_size((length) * sizeof(REAL)), aligned(sizeof(REAL)), may_alias)); \
        part sum = *(const part *)row; \
        if (accumulate) \
            sum += *(const part *)to; \
        *(part *)to = sum; \
        row += length, to += length; \
    }
#if VEC_BYTES * 8 / REAL_BITS > 8
    PART(8)
#endif
#if VEC_BYTES * 8 / REAL_BITS > 4
    PART(4)
#endif
#if VEC_BYTES * 8 / REAL_BITS > 2
    PART(2)
#endif
    if (n & 1)
        *to = accumulate ? *to + *row : *row;
#undef PART
}

static void NAME(embed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows_, ptrdiff_t offset, ptrdiff_t next,
                        const Stripes *w, void *c_, ptrdiff_t ldc)
{
    const REAL *const *rows = rows_;
    const ptrdiff_t whole = n / LANES * LANES;
    const REAL last = (REAL)(k - 1);
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        if (i < next)
            __builtin_prefetch(rows[m + i] + offset);
        const REAL *from = (const REAL *)w->at + NAME(category)(rows[i][offset], last) * w->ld;
        for (ptrdiff_t j = 0; j < whole; j += LANES, from += w->stripe)
            NAME(store)(c + j, NAME(load)(from));
        NAME(add_few)(n - whole, from, 0, c + whole);
    }
}

static void NAME(embed_gradient)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t n_rows, const void *rows_,
                                 ptrdiff_t offset, const void *d_, ptrdiff_t ldd, const Stripes *g)
{
    const REAL *const *rows = rows_, *d = d_;
    const ptrdiff_t whole = n / LANES * LANES;
    const REAL last = (REAL)(k - 1);
    for (ptrdiff_t i = 0; i < n_rows; i++, d += ldd) {
        const ptrdiff_t r = NAME(category)(rows[i][offset], last) - begin;
        if (r < 0 || r >= m)
            continue;
        REAL *to = (REAL *)g->at + r * g->ld;
        for (ptrdiff_t j = 0; j < whole; j += LANES, to += g->stripe)
            NAME(store)(to, NAME(load)(to) + NAME(load)(d + j));
        NAME(add_few)(n - whole, d + whole, 1, to);
    }
}
