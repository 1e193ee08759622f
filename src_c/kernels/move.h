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

/* A square of LANES x LANES in registers <- its transpose: after log2(LANES) rounds of a perfect shuffle, the rows are the columns. */
INLINE void NAME(transpose_square)(VEC *row)
{
    VEC next[LANES];
    for (int round = 1; round < LANES; round *= 2) {
        for (int r = 0; r < LANES / 2; r++) {
            next[2 * r] = ZIP_LOW(row[r], row[r + LANES / 2]);
            next[2 * r + 1] = ZIP_HIGH(row[r], row[r + LANES / 2]);
        }
        for (int r = 0; r < LANES; r++)
            row[r] = next[r];
    }
}

static void NAME(transpose)(ptrdiff_t m, ptrdiff_t n, const void *a_, ptrdiff_t lda, void *b_, ptrdiff_t ldb, ptrdiff_t stripe)
{
    const NAME(mask) mask = NAME(first)(n);
    const REAL *a = a_;
    REAL *b = b_;
    ptrdiff_t i = 0;
    for (; i + LANES <= m; i += LANES, b += stripe) {
        VEC row[LANES];
        for (int r = 0; r < LANES; r++)
            row[r] = n == LANES ? NAME(load)(a + (i + r) * lda) : NAME(load_masked)(a + (i + r) * lda, mask);
        NAME(transpose_square)(row);
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

/* out (n) = elements so many bytes apart, converted to the dtype. Constant steps and types vectorize; a row that is reversed is read
 * upwards in memory, as caches expect. */
static void NAME(read_row)(const char *p, ptrdiff_t stride, DType dtype, ptrdiff_t n, REAL *out)
{
#define READ(type, step) out[j] = (REAL) * (const type *)(p + j * (step))
#define READ_TYPE(type)                                                                                                          \
    if (stride == (ptrdiff_t)sizeof(type))                                                                                       \
        for (ptrdiff_t j = 0; j < n; j++)                                                                                        \
            READ(type, (ptrdiff_t)sizeof(type));                                                                                 \
    else if (stride == -(ptrdiff_t)sizeof(type))                                                                                 \
        for (ptrdiff_t j = n - 1; j >= 0; j--)                                                                                   \
            READ(type, -(ptrdiff_t)sizeof(type));                                                                                \
    else if (stride == 2 * (ptrdiff_t)sizeof(type))                                                                              \
        for (ptrdiff_t j = 0; j < n; j++)                                                                                        \
            READ(type, 2 * (ptrdiff_t)sizeof(type));                                                                             \
    else                                                                                                                         \
        for (ptrdiff_t j = 0; j < n; j++)                                                                                        \
            READ(type, stride);                                                                                                  \
    break;
    switch (dtype) {
    case FLOAT32: READ_TYPE(float)
    case FLOAT64: READ_TYPE(double)
    default: READ_TYPE(uint8_t)
    }
#undef READ_TYPE
#undef READ
}

/* Rows of a column that are read at once; LANES such columns make squares. */
enum { NAME(READ_ROWS) = 64 };

/* Rows first..first+m of x, whose columns lie together: squares, transposed in registers. */
static void NAME(gather_columns)(ptrdiff_t m, ptrdiff_t n, const Strided *x, ptrdiff_t first, REAL *out, ptrdiff_t ld)
{
    REAL columns[LANES * NAME(READ_ROWS)];
    for (ptrdiff_t j = 0; j < n; j += LANES)
        for (ptrdiff_t i = 0; i < m; i += NAME(READ_ROWS)) {
            const ptrdiff_t rows = m - i < NAME(READ_ROWS) ? m - i : NAME(READ_ROWS), width = n - j < LANES ? n - j : LANES;
            const char *from = x->data + (first + i) * x->row_stride + j * x->column_stride;
            REAL *to = out + i * ld + j;
            ptrdiff_t r = 0;
            for (ptrdiff_t c = 0; c < width; c++)
                NAME(read_row)(from + c * x->column_stride, x->row_stride, x->dtype, rows, columns + c * NAME(READ_ROWS));
            for (; r + LANES <= rows; r += LANES)
                NAME(transpose)(width, LANES, columns + r, NAME(READ_ROWS), to + r * ld, ld, LANES);
            for (; r < rows; r++)
                for (ptrdiff_t c = 0; c < width; c++)
                    to[r * ld + c] = columns[c * NAME(READ_ROWS) + r];
        }
}

/* Whether rows are taken as they stand, one after the other. */
static int NAME(ascends)(ptrdiff_t m, const int64_t *order)
{
    for (ptrdiff_t i = 1; order && i < m; i++)
        if (order[i] != order[0] + i)
            return 0;
    return 1;
}

static void NAME(gather)(ptrdiff_t m, ptrdiff_t n, const Strided *x, const int64_t *order, ptrdiff_t first, void *out_,
                         ptrdiff_t ld)
{
    const DType dtype = sizeof(REAL) == 4 ? FLOAT32 : FLOAT64;
    const ptrdiff_t row = x->row_stride < 0 ? -x->row_stride : x->row_stride;
    const ptrdiff_t column = x->column_stride < 0 ? -x->column_stride : x->column_stride;
    REAL *out = out_;
    if (0 < row && row < column && m > 1 && NAME(ascends)(m, order)) {
        NAME(gather_columns)(m, n, x, order ? (ptrdiff_t)order[0] : first, out, ld);
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++, out += ld) {
        const char *from = x->data + (order ? (ptrdiff_t)order[i] : first + i) * x->row_stride;
        if (x->dtype == dtype && x->column_stride == (ptrdiff_t)sizeof(REAL))
            memcpy(out, from, (size_t)n * sizeof(REAL));
        else
            NAME(read_row)(from, x->column_stride, x->dtype, n, out);
    }
}
