/* Sparse layers: z_j = b_j + sum_k W[k, j] h[inputs[j, k]], j < n_out, k < fan_in, and their way back.
 *
 * A weight is met by many rows at once: of H^T (n_in, rows), whose rows are contiguous, a vector times a number, so that there is
 * nothing to gather. Results are made a square of LANES units or inputs and as many rows at a time, which is transposed in registers
 * on its way to row-major Z, or to dC/dH. Each element is one sum, whose order the connections alone decide. */

/* Rows at a time in vectors, and units that are worked on together: sums enough that none waits for another. */
enum { NAME(SPARSE_VECTORS) = 4, NAME(SPARSE_UNITS) = 2 };

/* The rows of a square, from column `begin` on of row-major C (m, n): C = its transpose, or += it. Columns from n on are left out. */
INLINE void NAME(put_square)(VEC *square, ptrdiff_t m, ptrdiff_t begin, ptrdiff_t n, int accumulate, REAL *c, ptrdiff_t ldc)
{
    const NAME(mask) mask = NAME(first)(n - begin < LANES ? n - begin : LANES);
    NAME(transpose_square)(square);
    c += begin;
    for (ptrdiff_t i = 0; i < LANES && i < m; i++, c += ldc)
        NAME(store_masked)(c, mask, accumulate ? square[i] + NAME(load_masked)(c, mask) : square[i]);
}

/* Tile (LANES, nv vectors of rows), of which m rows are there, to rows of C. */
INLINE void NAME(put_tile)(const int nv, const REAL *tile, ptrdiff_t m, ptrdiff_t begin, ptrdiff_t n, int accumulate, REAL *c,
                           ptrdiff_t ldc)
{
    for (int v = 0; v < nv; v++) {
        VEC square[LANES];
        for (int r = 0; r < LANES; r++)
            square[r] = NAME(load)(tile + (r * nv + v) * LANES);
        NAME(put_square)(square, m - v * LANES, begin, n, accumulate, c + v * LANES * ldc, ldc);
    }
}

#define SPARSE_LOAD(p, v) (masked && (v) == nv - 1 ? NAME(load_masked)((p) + (v) * LANES, mask) : NAME(load)((p) + (v) * LANES))

/* nu units of z^T, for nv vectors of rows, the last one partial if `masked`. */
INLINE void NAME(sparse_units)(const int nu, const int nv, const int masked, NAME(mask) mask, ptrdiff_t fan_in,
                               const int32_t *inputs, const REAL *ht, ptrdiff_t ldt, const REAL *w, ptrdiff_t ldw, const REAL *b,
                               REAL *tile)
{
    VEC acc[NAME(SPARSE_UNITS)][NAME(SPARSE_VECTORS)];
    for (int u = 0; u < nu; u++)
        for (int v = 0; v < nv; v++)
            acc[u][v] = b ? NAME(broadcast)(b[u]) : (VEC){0};
    for (ptrdiff_t k = 0; k < fan_in; k++, w += ldw)
        for (int u = 0; u < nu; u++) {
            const REAL *h = ht + inputs[u * fan_in + k] * ldt;
            for (int v = 0; v < nv; v++)
                acc[u][v] += SPARSE_LOAD(h, v) * w[u];
        }
    for (int u = 0; u < nu; u++)
        for (int v = 0; v < nv; v++)
            NAME(store)(tile + (u * nv + v) * LANES, acc[u][v]);
}

/* Z of m rows, nv vectors of them */
INLINE void NAME(sparse_rows)(const int nv, const int masked, NAME(mask) mask, ptrdiff_t m, ptrdiff_t n, const Connections *c,
                              const REAL *ht, ptrdiff_t ldt, const Stripes *w, const REAL *b, REAL *z, ptrdiff_t ldz)
{
    REAL tile[LANES * NAME(SPARSE_VECTORS) * LANES];
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const REAL *from = (const REAL *)w->at + j / LANES * w->stripe;
        const ptrdiff_t units = c->n_out - j < LANES ? c->n_out - j : LANES;
        ptrdiff_t u = 0;
        for (; u + 2 <= units; u += 2)
            NAME(sparse_units)(2, nv, masked, mask, c->fan_in, c->inputs + (j + u) * c->fan_in, ht, ldt, from + u, w->ld,
                               b ? b + j + u : NULL, tile + u * nv * LANES);
        for (; u < units; u++)
            NAME(sparse_units)(1, nv, masked, mask, c->fan_in, c->inputs + (j + u) * c->fan_in, ht, ldt, from + u, w->ld,
                               b ? b + j + u : NULL, tile + u * nv * LANES);
        for (u *= nv * LANES; u < LANES * nv * LANES; u++) /* what fills up the last stripe */
            tile[u] = 0;
        NAME(put_tile)(nv, tile, m, j, n, 0, z, ldz);
    }
}

/* acc += W[number, unit] times the unit's rows of D^T */
INLINE void NAME(add_reader)(const int nv, const int masked, NAME(mask) mask, const Reader *reader, const Stripes *w, const REAL *dt,
                             ptrdiff_t ldt, VEC *acc)
{
    const size_t unit = (size_t)reader->unit;
    const REAL s = ((const REAL *)w->at)[unit / LANES * w->stripe + reader->number * w->ld + unit % LANES];
    for (int v = 0; v < nv; v++)
        acc[v] += SPARSE_LOAD(dt + unit * ldt, v) * s;
}

/* dC/dH of m rows, nv vectors of them. An input's readers take turns at two sums. */
INLINE void NAME(sparse_rows_back)(const int nv, const int masked, NAME(mask) mask, ptrdiff_t m, ptrdiff_t n, const Connections *c,
                                   const REAL *dt, ptrdiff_t ldt, const Stripes *w, int accumulate, REAL *d, ptrdiff_t ldd)
{
    const Reader *reader = c->readers, *end = reader + c->n_out * c->fan_in;
    REAL tile[LANES * NAME(SPARSE_VECTORS) * LANES];
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        for (int r = 0; r < LANES; r++) {
            VEC acc[2][NAME(SPARSE_VECTORS)];
            for (int v = 0; v < nv; v++)
                acc[0][v] = acc[1][v] = (VEC){0};
            while (reader < end && reader->input == i + r) {
                NAME(add_reader)(nv, masked, mask, reader++, w, dt, ldt, acc[0]);
                if (reader < end && reader->input == i + r)
                    NAME(add_reader)(nv, masked, mask, reader++, w, dt, ldt, acc[1]);
            }
            for (int v = 0; v < nv; v++)
                NAME(store)(tile + (r * nv + v) * LANES, acc[0][v] + acc[1][v]);
        }
        NAME(put_tile)(nv, tile, m, i, n, accumulate, d, ldd);
    }
}
#undef SPARSE_LOAD

/* All rows, a few vectors at a time, of which what H^T has of them stays in the cache. */
#define FOR_ROWS(f, ...)                                                                                                         \
    for (ptrdiff_t i = 0; i < m;) {                                                                                              \
        const ptrdiff_t rest = m - i, step = NAME(SPARSE_VECTORS) * LANES;                                                       \
        const NAME(mask) mask = NAME(first)(rest % LANES ? rest % LANES : LANES);                                                \
        switch (rest < step ? (rest + LANES - 1) / LANES : NAME(SPARSE_VECTORS)) {                                               \
        case 1: f(1, 1, mask, rest, __VA_ARGS__); break;                                                                         \
        case 2: f(2, 1, mask, rest, __VA_ARGS__); break;                                                                         \
        case 3: f(3, 1, mask, rest, __VA_ARGS__); break;                                                                         \
        default:                                                                                                                 \
            if (rest >= step)                                                                                                    \
                f(4, 0, mask, step, __VA_ARGS__);                                                                                \
            else                                                                                                                 \
                f(4, 1, mask, rest, __VA_ARGS__);                                                                                \
        }                                                                                                                        \
        i += step;                                                                                                               \
    }

static void NAME(sparse)(ptrdiff_t m, ptrdiff_t n, const Connections *c, const void *ht_, ptrdiff_t ldt, const Stripes *w,
                         const void *b, void *z_, ptrdiff_t ldz)
{
    const REAL *ht = ht_;
    REAL *z = z_;
    FOR_ROWS(NAME(sparse_rows), n, c, ht + i, ldt, w, b, z + i * ldz, ldz)
}

static void NAME(sparse_back)(ptrdiff_t m, ptrdiff_t n, const Connections *c, const void *dt_, ptrdiff_t ldt, const Stripes *w,
                              int accumulate, void *d_, ptrdiff_t ldd)
{
    const REAL *dt = dt_;
    REAL *d = d_;
    FOR_ROWS(NAME(sparse_rows_back), n, c, dt + i, ldt, w, accumulate, d + i * ldd, ldd)
}
#undef FOR_ROWS

/* The sums of LANES vectors' elements: each round adds up halves, two vectors in one. */
INLINE VEC NAME(sums)(VEC *v)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] = ZIP_LOW(v[i], v[i + half]) + ZIP_HIGH(v[i], v[i + half]);
    return v[0];
}

/* Sums over rows, vector by vector, for weights begin..begin+nk of a unit: at least as many as add without waiting for each other. */
enum { NAME(SPARSE_WEIGHTS) = 8 };
INLINE void NAME(sparse_sums)(const int nk, ptrdiff_t rows, const int32_t *inputs, const REAL *ht, ptrdiff_t ldt, const REAL *d,
                              VEC *sums)
{
    const REAL *h[NAME(SPARSE_WEIGHTS)];
    ptrdiff_t r = 0;
    for (int k = 0; k < nk; k++) {
        h[k] = ht + inputs[k] * ldt;
        sums[k] = (VEC){0};
    }
    for (; r + LANES <= rows; r += LANES) {
        const VEC a = NAME(load)(d + r);
        for (int k = 0; k < nk; k++)
            sums[k] += NAME(load)(h[k] + r) * a;
    }
    if (r < rows) {
        const NAME(mask) mask = NAME(first)(rows - r);
        const VEC a = NAME(load_masked)(d + r, mask);
        for (int k = 0; k < nk; k++)
            sums[k] += NAME(load_masked)(h[k] + r, mask) * a;
    }
}

static void NAME(sparse_gradient)(ptrdiff_t rows, const Connections *c, ptrdiff_t begin, ptrdiff_t size, ptrdiff_t unit, ptrdiff_t n,
                                  const void *ht, ptrdiff_t ldt, const void *dt, ptrdiff_t ldd, int accumulate, const Stripes *g)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const ptrdiff_t width = n - j < LANES ? n - j : LANES; /* of G, */
        const ptrdiff_t units = c->n_out - unit - j < LANES ? c->n_out - unit - j : LANES; /* and without what fills it up */
        const NAME(mask) mask = NAME(first)(width);
        for (ptrdiff_t k = 0; k < size; k += NAME(SPARSE_WEIGHTS)) {
            VEC sums[NAME(SPARSE_WEIGHTS)][LANES];
            const ptrdiff_t nk = size - k < NAME(SPARSE_WEIGHTS) ? size - k : NAME(SPARSE_WEIGHTS);
            for (ptrdiff_t u = 0; u < units; u++) {
                const int32_t *inputs = c->inputs + (unit + j + u) * c->fan_in + begin + k;
                const REAL *d = (const REAL *)dt + (j + u) * ldd;
                VEC sum[NAME(SPARSE_WEIGHTS)];
                if (nk == NAME(SPARSE_WEIGHTS))
                    NAME(sparse_sums)(NAME(SPARSE_WEIGHTS), rows, inputs, ht, ldt, d, sum);
                else
                    for (ptrdiff_t q = 0; q < nk; q++)
                        NAME(sparse_sums)(1, rows, inputs + q, ht, ldt, d, sum + q);
                for (ptrdiff_t q = 0; q < nk; q++)
                    sums[q][u] = sum[q];
            }
            for (ptrdiff_t u = units; u < LANES; u++)
                for (ptrdiff_t q = 0; q < nk; q++)
                    sums[q][u] = (VEC){0};
            for (ptrdiff_t q = 0; q < nk; q++) {
                REAL *to = (REAL *)g->at + (k + q) * g->ld + j / LANES * g->stripe;
                const VEC sum = NAME(sums)(sums[q]);
                NAME(store_masked)(to, mask, accumulate ? sum + NAME(load_masked)(to, mask) : sum);
            }
        }
    }
}
