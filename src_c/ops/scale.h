/* Features multiplied by numbers that are learnt. */

/* C (n) = an expression in vectors of rows, which LOAD reads */
#define LOAD(p) (whole ? NAME(load)((p) + j) : NAME(load_masked)((p) + j, mask))
#define FOR_EACH_VECTOR(n, c, expression) \
    for (ptrdiff_t j = 0; j < (n); j += LANES) { \
        const int whole = j + LANES <= (n); \
        const NAME(mask) mask = NAME(first)(whole ? LANES : (n) - j); \
        const VEC out = expression; \
        if (whole) \
            NAME(store)((c) + j, out); \
        else \
            NAME(store_masked)((c) + j, mask, out); \
    }

static void NAME(scale)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, const void *w_, const void *b_, int accumulate,
                        ptrdiff_t zeros, void *c_, ptrdiff_t ldc)
{
    const REAL *const *rows = rows_, *w = w_, *b = b_;
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        const REAL *a = rows[i] + offset, *more = accumulate ? c : b;
        if (more)
            FOR_EACH_VECTOR(n, c, LOAD(a) * LOAD(w) + LOAD(more))
        else
            FOR_EACH_VECTOR(n, c, LOAD(a) * LOAD(w))
        if (zeros)
            memset(c + n, 0, (size_t)zeros * sizeof(REAL));
    }
}

static void NAME(prelu)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, const void *w_, ptrdiff_t zeros, void *c_,
                        ptrdiff_t ldc)
{
    const REAL *const *rows = rows_, *w = w_;
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        const REAL *a = rows[i] + offset;
        FOR_EACH_VECTOR(n, c, NAME(select)(LOAD(a) < 0, LOAD(a) * LOAD(w), LOAD(a)))
        if (zeros)
            memset(c + n, 0, (size_t)zeros * sizeof(REAL));
    }
}

static void NAME(prelu_back)(ptrdiff_t m, ptrdiff_t n, const void *d_rows_, const void *rows_, ptrdiff_t offset, const void *w_,
                             int accumulate, ptrdiff_t zeros, void *c_, ptrdiff_t ldc)
{
    const REAL *const *rows = rows_, *const *d_rows = d_rows_, *w = w_;
    REAL *c = c_;
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        const REAL *a = rows[i] + offset, *d = d_rows[i] + offset;
        if (accumulate)
            FOR_EACH_VECTOR(n, c, NAME(select)(LOAD(a) > 0, LOAD(d), LOAD(d) * LOAD(w)) + LOAD(c))
        else
            FOR_EACH_VECTOR(n, c, NAME(select)(LOAD(a) > 0, LOAD(d), LOAD(d) * LOAD(w)))
        if (zeros)
            memset(c + n, 0, (size_t)zeros * sizeof(REAL));
    }
}
#undef LOAD
#undef FOR_EACH_VECTOR
