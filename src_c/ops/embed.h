/* Tables whose rows are named by numbers in X. */

/* Such a number leads to memory: it is bounded by 0 and n - 1, whatever x is. */
INLINE ptrdiff_t NAME(category)(REAL x, ptrdiff_t n)
{
    if (!(x > 0)) /* or NaN */
        return 0;
    return x < (REAL)n ? (ptrdiff_t)x : n - 1;
}

static void NAME(embed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *rows_, ptrdiff_t offset, const Stripes *w, void *c_,
                        ptrdiff_t ldc)
{
    const REAL *const *rows = rows_;
    const ptrdiff_t whole = n / LANES * LANES;
    const NAME(mask) rest = NAME(first)(n > whole ? n - whole : LANES);
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        const REAL *from = (const REAL *)w->at + NAME(category)(rows[i][offset], k) * w->ld;
        for (ptrdiff_t j = 0; j < whole; j += LANES, from += w->stripe)
            NAME(store)(c + j, NAME(load)(from));
        if (whole < n)
            NAME(store_masked)(c + whole, rest, NAME(load_masked)(from, rest));
    }
}

static void NAME(embed_gradient)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ptrdiff_t begin, ptrdiff_t n_rows, const void *rows_,
                                 ptrdiff_t offset, const void *d_, ptrdiff_t ldd, const Stripes *g)
{
    const REAL *const *rows = rows_, *d = d_;
    const ptrdiff_t whole = n / LANES * LANES;
    const NAME(mask) rest = NAME(first)(n > whole ? n - whole : LANES);
    for (ptrdiff_t i = 0; i < n_rows; i++, d += ldd) {
        const ptrdiff_t r = NAME(category)(rows[i][offset], k) - begin;
        if (r < 0 || r >= m)
            continue;
        REAL *to = (REAL *)g->at + r * g->ld;
        for (ptrdiff_t j = 0; j < whole; j += LANES, to += g->stripe)
            NAME(store)(to, NAME(load)(to) + NAME(load)(d + j));
        if (whole < n)
            NAME(store_masked)(to, rest, NAME(load_masked)(to, rest) + NAME(load_masked)(d + whole, rest));
    }
}
