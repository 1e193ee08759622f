/* Radial basis functions. */

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
