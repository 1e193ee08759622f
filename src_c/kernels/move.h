/* Matrices from one place or form to another. */

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

static void NAME(move)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, int accumulate, ptrdiff_t zeros, void *c_,
                       ptrdiff_t ldc)
{
    const REAL *const *rows = rows_;
    for (ptrdiff_t i = 0; i < m; i++) {
        const REAL *row = rows[i] + offset;
        REAL *c = (REAL *)c_ + i * ldc;
        if (!accumulate)
            memcpy(c, row, (size_t)n * sizeof(REAL));
        ptrdiff_t j = accumulate ? 0 : n;
        for (; j + LANES <= n; j += LANES)
            NAME(store)(c + j, NAME(load)(c + j) + NAME(load)(row + j));
        for (; j < n; j++)
            c[j] += row[j];
        for (; j < n + zeros; j++)
            c[j] = 0;
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

/* out += s * row */
INLINE void NAME(add_scaled)(ptrdiff_t n, REAL s, const REAL *row, REAL *out)
{
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES)
        NAME(store)(out + j, NAME(load)(out + j) + NAME(load)(row + j) * s);
    for (; j < n; j++)
        out[j] += s * row[j];
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
static void NAME(transpose)(ptrdiff_t m, ptrdiff_t n, const void *a_, ptrdiff_t lda, void *b_, ptrdiff_t ldb, ptrdiff_t stripe)
{
    const NAME(mask) mask = NAME(first)(n);
    const REAL *a = a_;
    REAL *b = b_;
    ptrdiff_t i = 0;
    for (; i + LANES <= m; i += LANES, b += stripe) {
        VEC row[LANES], next[LANES];
        for (int r = 0; r < LANES; r++)
            row[r] = n == LANES ? NAME(load)(a + (i + r) * lda) : NAME(load_masked)(a + (i + r) * lda, mask);
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
            b[j * ldb + r] = j < n ? a[(i + r) * lda + j] : 0;
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
