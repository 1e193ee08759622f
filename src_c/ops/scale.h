/* Features multiplied by numbers that are learnt. */

/* C (m, n) = A * w + what `more` has, if it is not NULL: a row for all, or C itself; then zeros */
INLINE void NAME(scale_row)(ptrdiff_t n, const REAL *a, const REAL *w, const REAL *more, REAL *c)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const int whole = j + LANES <= n;
        const NAME(mask) mask = NAME(first)(whole ? LANES : n - j);
#define LOAD(p) (whole ? NAME(load)((p) + j) : NAME(load_masked)((p) + j, mask))
        VEC out = LOAD(a) * LOAD(w);
        if (more)
            out += LOAD(more);
        if (whole)
            NAME(store)(c + j, out);
        else
            NAME(store_masked)(c + j, mask, out);
#undef LOAD
    }
}

static void NAME(scale)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, const void *w, const void *b, int accumulate,
                        ptrdiff_t zeros, void *c_, ptrdiff_t ldc)
{
    const REAL *const *rows = rows_;
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        NAME(scale_row)(n, rows[i] + offset, w, accumulate ? c : b, c);
        memset(c + n, 0, (size_t)zeros * sizeof(REAL));
    }
}
