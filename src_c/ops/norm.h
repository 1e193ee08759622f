/* Normalisation: of the columns of a batch, and of groups of columns in a row by themselves. */

/* 1 / sqrt(variance + epsilon) */
INLINE VEC NAME(inverse_deviation)(VEC variance, REAL epsilon) { return (REAL)1 / NAME(sqrt)(variance + epsilon); }

/* ---- columns --------------------------------------------------------------------------------------------------------------- */

/* The most vectors of a row that are worked on at once, all masked if it is 1; what is const is a constant where these are called. */
enum { NAME(NORM_VECTORS) = 4 };
#define LOAD(p) (nv == 1 ? NAME(load_masked)((p), mask) : NAME(load)((p) + v * LANES))
#define STORE(p, x) \
    do { \
        if (nv == 1) \
            NAME(store_masked)((p), mask, x); \
        else \
            NAME(store)((p) + v * LANES, x); \
    } while (0)
#define FOR_EACH_VECTOR for (int v = 0; v < nv; v++)
/* f(nv, mask, j), once for columns from j on */
#define BY_VECTORS(n, f) \
    do { \
        ptrdiff_t j = 0; \
        for (; j + NAME(NORM_VECTORS) * LANES <= (n); j += NAME(NORM_VECTORS) * LANES) \
            f(NAME(NORM_VECTORS), NAME(first)(LANES), j); \
        for (; j < (n); j += LANES) \
            f(1, NAME(first)((n)-j < LANES ? (n)-j : LANES), j); \
    } while (0)

/* Sums over the rows of s_i e_i and, if `square` is not NULL, of s_i e_i^2, where e = h - mean; those of blocks of rows are added up. */
INLINE void NAME(centred_sums)(const int nv, NAME(mask) mask, ptrdiff_t m, const REAL *const *rows, ptrdiff_t offset,
                               const REAL *shares, const VEC *mean, VEC *sum, VEC *square)
{
    FOR_EACH_VECTOR
    {
        sum[v] = (VEC){0};
        if (square)
            square[v] = (VEC){0};
    }
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC first[NAME(NORM_VECTORS)] = {{0}}, second[NAME(NORM_VECTORS)] = {{0}};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++) {
            if (shares[r] == 0)
                continue;
            FOR_EACH_VECTOR
            {
                const VEC e = LOAD(rows[r] + offset) - mean[v], share = e * shares[r];
                first[v] += share;
                if (square)
                    second[v] += share * e;
            }
        }
        FOR_EACH_VECTOR
        {
            sum[v] += first[v];
            if (square)
                square[v] += second[v];
        }
    }
}

/* The mean is found, then the squares of what is left around it, and what is left of the mean itself: neither loses digits. */
INLINE void NAME(statistics_of)(const int nv, NAME(mask) mask, ptrdiff_t m, const REAL *const *rows, ptrdiff_t offset,
                                const REAL *shares, REAL *mean_, REAL *variance)
{
    VEC mean[NAME(NORM_VECTORS)] = {{0}}, rest[NAME(NORM_VECTORS)], square[NAME(NORM_VECTORS)];
    NAME(centred_sums)(nv, mask, m, rows, offset, shares, mean, rest, NULL);
    FOR_EACH_VECTOR mean[v] = rest[v];
    NAME(centred_sums)(nv, mask, m, rows, offset, shares, mean, rest, square);
    FOR_EACH_VECTOR
    {
        const VEC left = square[v] - rest[v] * rest[v];
        STORE(mean_, mean[v] + rest[v]);
        STORE(variance, NAME(select)(left < 0, (VEC){0}, left));
    }
}

static void NAME(column_statistics)(ptrdiff_t m, ptrdiff_t n, const void *rows, ptrdiff_t offset, const void *shares, void *mean,
                                    void *variance)
{
#define STATISTICS(nv, mask, j) \
    NAME(statistics_of)(nv, mask, m, rows, offset + j, shares, (REAL *)mean + j, (REAL *)variance + j)
    BY_VECTORS(n, STATISTICS);
#undef STATISTICS
}

static void NAME(moving_average)(ptrdiff_t n, double momentum, double factor, const void *before_, const void *now_, void *after_)
{
    const REAL *before = before_, *now = now_, stays = (REAL)(1 - momentum), comes = (REAL)(momentum * factor);
    REAL *after = after_;
    for (ptrdiff_t i = 0; i < n; i++)
        after[i] = stays * before[i] + comes * now[i];
}

/* Columns whose 1 / deviation are at hand at once, while rows are read from their beginning to their end */
enum { NAME(NORM_COLUMNS) = 1024 };

/* 1 / deviation of n columns; places up to whole vectors are written */
INLINE void NAME(inverse_deviations)(ptrdiff_t n, const REAL *variance, REAL epsilon, REAL *out)
{
    for (ptrdiff_t j = 0; j < n; j += LANES)
        NAME(store)(out + j, NAME(inverse_deviation)(NAME(load_masked)(variance + j, NAME(first)(n - j < LANES ? n - j : LANES)), epsilon));
}

#define FOR_EACH_VECTOR_OF(n) for (ptrdiff_t j = 0; j < (n); j += LANES)
#define MASK(n) const NAME(mask) mask = NAME(first)((n) - j < LANES ? (n) - j : LANES)
#define AT(p) NAME(load_masked)((p) + j, mask)

static void NAME(standardize)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, const void *mean_, const void *variance,
                              double epsilon, int accumulate, ptrdiff_t zeros, void *a_, ptrdiff_t lda)
{
    const REAL *const *rows = rows_, *mean = mean_;
    REAL *a = a_, inverse[NAME(NORM_COLUMNS)];
    for (ptrdiff_t first = 0, width; first < n; first += width) {
        width = n - first < NAME(NORM_COLUMNS) ? n - first : NAME(NORM_COLUMNS);
        NAME(inverse_deviations)(width, (const REAL *)variance + first, (REAL)epsilon, inverse);
        for (ptrdiff_t i = 0; i < m; i++) {
            const REAL *h = rows[i] + offset + first;
            REAL *to = a + i * lda + first;
            FOR_EACH_VECTOR_OF(width)
            {
                MASK(width);
                VEC e = AT(h);
                if (mean)
                    e -= AT(mean + first);
                e *= AT(inverse);
                NAME(store_masked)(to + j, mask, accumulate ? AT(to) + e : e);
            }
        }
    }
    for (ptrdiff_t i = 0; zeros && i < m; i++)
        memset(a + i * lda + n, 0, (size_t)zeros * sizeof(REAL));
}

INLINE void NAME(normalized_sums_of)(const int nv, NAME(mask) mask, ptrdiff_t m, const REAL *const *rows, ptrdiff_t offset,
                                     const REAL *shares, const REAL *mean_, const REAL *variance, REAL epsilon, const REAL *d,
                                     ptrdiff_t ldd, REAL *sums, REAL *products)
{
    VEC mean[NAME(NORM_VECTORS)], total[NAME(NORM_VECTORS)] = {{0}}, total_product[NAME(NORM_VECTORS)] = {{0}};
    FOR_EACH_VECTOR mean[v] = LOAD(mean_);
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC sum[NAME(NORM_VECTORS)] = {{0}}, product[NAME(NORM_VECTORS)] = {{0}};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++) {
            if (shares[r] == 0)
                continue;
            FOR_EACH_VECTOR
            {
                const VEC delta = LOAD(d + r * ldd);
                sum[v] += delta;
                product[v] += delta * (LOAD(rows[r] + offset) - mean[v]);
            }
        }
        FOR_EACH_VECTOR
        {
            total[v] += sum[v];
            total_product[v] += product[v];
        }
    }
    FOR_EACH_VECTOR
    {
        STORE(sums, total[v]);
        STORE(products, total_product[v] * NAME(inverse_deviation)(LOAD(variance), epsilon));
    }
}

static void NAME(normalized_sums)(ptrdiff_t m, ptrdiff_t n, const void *rows, ptrdiff_t offset, const void *shares, const void *mean,
                                  const void *variance, double epsilon, const void *d, ptrdiff_t ldd, void *sums, void *products)
{
#define COLUMNS_FROM(nv, mask, j) \
    NAME(normalized_sums_of)(nv, mask, m, rows, offset + j, shares, (const REAL *)mean + j, (const REAL *)variance + j, \
                             (REAL)epsilon, (const REAL *)d + j, ldd, (REAL *)sums + j, (REAL *)products + j)
    BY_VECTORS(n, COLUMNS_FROM);
#undef COLUMNS_FROM
}

/* With x = (h - mean) / deviation: (d - share (sum + x product)) / deviation */
static void NAME(batch_norm_back)(ptrdiff_t m, ptrdiff_t n, const void *rows_, ptrdiff_t offset, const void *shares_, const void *mean,
                                  const void *variance, double epsilon, const void *sums, const void *products, const void *d_,
                                  ptrdiff_t ldd, int accumulate, ptrdiff_t zeros, void *out_, ptrdiff_t ld)
{
    const REAL *const *rows = rows_, *shares = shares_, *d = d_;
    REAL *out = out_, inverse[NAME(NORM_COLUMNS)], slope[NAME(NORM_COLUMNS)];
    for (ptrdiff_t first = 0, width; first < n; first += width) {
        const REAL *centre = (const REAL *)mean + first, *sum = (const REAL *)sums + first, *product = (const REAL *)products + first;
        width = n - first < NAME(NORM_COLUMNS) ? n - first : NAME(NORM_COLUMNS);
        NAME(inverse_deviations)(width, (const REAL *)variance + first, (REAL)epsilon, inverse);
        FOR_EACH_VECTOR_OF(width)
        {
            MASK(width);
            NAME(store)(slope + j, AT(product) * NAME(load)(inverse + j));
        }
        for (ptrdiff_t i = 0; i < m; i++) {
            const REAL *h = rows[i] + offset + first, *delta = d + i * ldd + first, share = shares[i];
            REAL *to = out + i * ld + first;
            FOR_EACH_VECTOR_OF(width)
            {
                MASK(width);
                VEC e = AT(delta);
                if (share != 0) /* else whatever h is */
                    e -= (AT(sum) + (AT(h) - AT(centre)) * AT(slope)) * share;
                e *= AT(inverse);
                NAME(store_masked)(to + j, mask, accumulate ? AT(to) + e : e);
            }
        }
    }
    for (ptrdiff_t i = 0; zeros && i < m; i++)
        memset(out + i * ld + n, 0, (size_t)zeros * sizeof(REAL));
}
#undef FOR_EACH_VECTOR_OF
#undef MASK
#undef AT
#undef LOAD
#undef STORE
#undef FOR_EACH_VECTOR
#undef BY_VECTORS

static void NAME(standardize_nonzeros)(ptrdiff_t m, ptrdiff_t row, const void *variance_, const Nonzeros *x)
{
    const REAL *variance = variance_;
    for (ptrdiff_t i = row; i < row + m; i++)
        for (ptrdiff_t e = x->begin[i]; e < x->end[i]; e += LANES) {
            const ptrdiff_t n = x->end[i] - e < LANES ? x->end[i] - e : LANES;
            REAL *values = (REAL *)x->values + e;
            VEC v = NAME(broadcast)(1);
            for (ptrdiff_t j = 0; j < n; j++)
                v[j] = variance[x->columns[e + j]];
            const NAME(mask) mask = NAME(first)(n);
            NAME(store_masked)(values, mask, NAME(load_masked)(values, mask) * NAME(inverse_deviation)(v, 0));
        }
}

/* ---- groups of columns of a row ---------------------------------------------------------------------------------------------- */

/* LANES rows are worked on at once, so that their sums are added up, divided and put under the root in the lanes of a vector. */

/* The sums of the lanes of m <= LANES vectors, whose places are for scratch, one in each lane */
INLINE VEC NAME(sums_of_lanes)(ptrdiff_t m, VEC *row)
{
    for (ptrdiff_t r = m; r < LANES; r++)
        row[r] = (VEC){0};
    NAME(transpose_square)(row);
    VEC sum = row[0];
    for (int r = 1; r < LANES; r++)
        sum += row[r];
    return sum;
}

/* All ones in the first n lanes, else 0 */
INLINE IVEC NAME(first_lanes)(ptrdiff_t n)
{
    IVEC lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = i;
    return lane < (INT)n;
}

/* Mean and 1 / deviation of n columns of m <= LANES rows: the mean, then what is left around it, as of columns */
INLINE void NAME(row_statistics)(ptrdiff_t m, ptrdiff_t n, const REAL *const *rows, ptrdiff_t offset, REAL epsilon, REAL *mean,
                                 REAL *inverse)
{
    const ptrdiff_t whole = n / LANES * LANES;
    const NAME(mask) mask = NAME(first)(n > whole ? n - whole : LANES);
    const IVEC there = NAME(first_lanes)(n - whole);
    VEC sum[LANES], square[LANES];
    for (ptrdiff_t r = 0; r < m; r++) {
        const REAL *a = rows[r] + offset;
        sum[r] = whole < n ? NAME(load_masked)(a + whole, mask) : (VEC){0};
        for (ptrdiff_t j = 0; j < whole; j += LANES)
            sum[r] += NAME(load)(a + j);
    }
    const VEC first = NAME(sums_of_lanes)(m, sum) / (REAL)n;
    NAME(store)(mean, first);
    for (ptrdiff_t r = 0; r < m; r++) {
        const REAL *a = rows[r] + offset;
        sum[r] = square[r] = (VEC){0};
        if (whole < n) {
            const VEC e = NAME(select)(there, NAME(load_masked)(a + whole, mask) - mean[r], (VEC){0});
            sum[r] = e;
            square[r] = e * e;
        }
        for (ptrdiff_t j = 0; j < whole; j += LANES) {
            const VEC e = NAME(load)(a + j) - mean[r];
            sum[r] += e;
            square[r] += e * e;
        }
    }
    const VEC rest = NAME(sums_of_lanes)(m, sum) / (REAL)n;
    const VEC variance = NAME(sums_of_lanes)(m, square) / (REAL)n - rest * rest;
    NAME(store)(mean, first + rest);
    NAME(store)(inverse, NAME(inverse_deviation)(NAME(select)(variance < 0, (VEC){0}, variance), epsilon));
}

/* A vector of columns of `count` rows: X * w + b with X = (H - mean) / deviation, or X itself where there is no w */
INLINE void NAME(normalize_columns)(const int whole, NAME(mask) mask, ptrdiff_t count, const REAL *const *rows, ptrdiff_t column,
                                    const REAL *mean, const REAL *inverse, const REAL *w, const REAL *b, REAL *to, ptrdiff_t ld)
{
#define LOAD(p) (whole ? NAME(load)(p) : NAME(load_masked)((p), mask))
    const VEC factor = w ? LOAD(w + column) : NAME(broadcast)(1), shift = b ? LOAD(b + column) : (VEC){0};
    for (ptrdiff_t r = 0; r < count; r++, to += ld) {
        const VEC x = (LOAD(rows[r] + column) - mean[r]) * inverse[r], z = w ? x * factor + shift : x;
        if (whole)
            NAME(store)(to + column, z);
        else
            NAME(store_masked)(to + column, mask, z);
    }
}

static void NAME(group_norm)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t n_groups, const void *rows_, double epsilon, const void *w,
                             const void *b, void *statistics_, ptrdiff_t zeros, void *a_, ptrdiff_t lda)
{
    const REAL *const *rows = rows_;
    const ptrdiff_t size = n / n_groups;
    REAL *statistics = statistics_, *a = a_;
    for (ptrdiff_t i = 0; i < m; i += LANES) {
        const ptrdiff_t count = m - i < LANES ? m - i : LANES;
        for (ptrdiff_t g = 0; g < n_groups; g++) {
            REAL mean[LANES], inverse[LANES];
            NAME(row_statistics)(count, size, rows + i, g * size, (REAL)epsilon, mean, inverse);
            ptrdiff_t j = 0;
            for (; j + LANES <= size; j += LANES)
                NAME(normalize_columns)(1, NAME(first)(LANES), count, rows + i, g * size + j, mean, inverse, w, b, a + i * lda, lda);
            if (j < size)
                NAME(normalize_columns)(0, NAME(first)(size - j), count, rows + i, g * size + j, mean, inverse, w, b, a + i * lda, lda);
            for (ptrdiff_t r = 0; statistics && r < count; r++) {
                statistics[((i + r) * n_groups + g) * 2] = mean[r];
                statistics[((i + r) * n_groups + g) * 2 + 1] = inverse[r];
            }
        }
        for (ptrdiff_t r = 0; zeros && r < count; r++)
            memset(a + (i + r) * lda + n, 0, (size_t)zeros * sizeof(REAL));
    }
}

/* For n columns of m <= LANES rows, x being (h - mean) / deviation: the means of d and of d x; of d w in the place of d, if there is w */
INLINE void NAME(row_sums_back)(ptrdiff_t m, ptrdiff_t n, const REAL *const *rows, ptrdiff_t offset, const REAL *mean,
                                const REAL *inverse, const REAL *w, const REAL *d, ptrdiff_t ldd, REAL *sums, REAL *products)
{
    const ptrdiff_t whole = n / LANES * LANES;
    const NAME(mask) mask = NAME(first)(n > whole ? n - whole : LANES);
    VEC sum[LANES], product[LANES];
    for (ptrdiff_t r = 0; r < m; r++, d += ldd) {
        const REAL *h = rows[r] + offset;
        sum[r] = product[r] = (VEC){0};
        if (whole < n) {
            sum[r] = NAME(load_masked)(d + whole, mask); /* 0 in other lanes */
            if (w)
                sum[r] *= NAME(load_masked)(w + whole, mask);
            product[r] = NAME(select)(NAME(first_lanes)(n - whole), sum[r] * (NAME(load_masked)(h + whole, mask) - mean[r]), (VEC){0});
        }
        for (ptrdiff_t j = 0; j < whole; j += LANES) {
            const VEC delta = w ? NAME(load)(d + j) * NAME(load)(w + j) : NAME(load)(d + j);
            sum[r] += delta;
            product[r] += delta * (NAME(load)(h + j) - mean[r]);
        }
    }
    NAME(store)(sums, NAME(sums_of_lanes)(m, sum) / (REAL)n);
    NAME(store)(products, NAME(sums_of_lanes)(m, product) / (REAL)n * NAME(load)(inverse));
}

/* What comes of a vector of columns of `count` rows; and, if they have a place, the columns' sums of D * X and of D, or those added to
 * what is there. */
INLINE void NAME(normalize_columns_back)(const int whole, NAME(mask) mask, ptrdiff_t count, const REAL *const *rows, ptrdiff_t column,
                                         const REAL *mean, const REAL *inverse, const REAL *w, const REAL *sums, const REAL *products,
                                         const REAL *d, ptrdiff_t ldd, int accumulate, REAL *to, ptrdiff_t ld, int more, REAL *of_w,
                                         REAL *of_b)
{
#define STORE(p, x) \
    do { \
        if (whole) \
            NAME(store)((p), x); \
        else \
            NAME(store_masked)((p), mask, x); \
    } while (0)
    const VEC factor = w ? LOAD(w + column) : NAME(broadcast)(1);
    VEC sum_w = {0}, sum_b = {0};
    for (ptrdiff_t r = 0; r < count; r++, d += ldd, to += ld) {
        const VEC delta = LOAD(d + column), x = (LOAD(rows[r] + column) - mean[r]) * inverse[r];
        VEC e = ((w ? delta * factor : delta) - sums[r] - x * products[r]) * inverse[r];
        sum_w += delta * x;
        sum_b += delta;
        if (accumulate)
            e += LOAD(to + column);
        STORE(to + column, e);
    }
    if (of_w == NULL)
        return;
    STORE(of_w + column, more ? LOAD(of_w + column) + sum_w : sum_w);
    STORE(of_b + column, more ? LOAD(of_b + column) + sum_b : sum_b);
#undef LOAD
#undef STORE
}

static void NAME(group_norm_back)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t n_groups, const void *rows_, const void *statistics_,
                                  const void *w_, const void *d_, ptrdiff_t ldd, int accumulate, ptrdiff_t zeros, void *out_,
                                  ptrdiff_t ld, void *of_w, void *of_b)
{
    const REAL *const *rows = rows_, *statistics = statistics_, *d = d_, *w = w_;
    const ptrdiff_t size = n / n_groups;
    REAL *out = out_;
    if (m == 0 && of_w) {
        memset(of_w, 0, (size_t)n * sizeof(REAL));
        memset(of_b, 0, (size_t)n * sizeof(REAL));
    }
    for (ptrdiff_t i = 0; i < m; i += LANES) {
        const ptrdiff_t count = m - i < LANES ? m - i : LANES;
        for (ptrdiff_t g = 0; g < n_groups; g++) {
            REAL mean[LANES] = {0}, inverse[LANES] = {0}, sums[LANES], products[LANES];
            for (ptrdiff_t r = 0; r < count; r++) {
                mean[r] = statistics[((i + r) * n_groups + g) * 2];
                inverse[r] = statistics[((i + r) * n_groups + g) * 2 + 1];
            }
            NAME(row_sums_back)(count, size, rows + i, g * size, mean, inverse, w ? w + g * size : NULL, d + i * ldd + g * size, ldd,
                                sums, products);
#define COLUMNS_FROM(j, whole, mask) \
    NAME(normalize_columns_back)(whole, mask, count, rows + i, g * size + j, mean, inverse, w, sums, products, d + i * ldd, ldd, \
                                 accumulate, out + i * ld, ld, i > 0, of_w, of_b)
            ptrdiff_t j = 0;
            for (; j + LANES <= size; j += LANES)
                COLUMNS_FROM(j, 1, NAME(first)(LANES));
            if (j < size)
                COLUMNS_FROM(j, 0, NAME(first)(size - j));
#undef COLUMNS_FROM
        }
        for (ptrdiff_t r = 0; zeros && r < count; r++)
            memset(out + (i + r) * ld + n, 0, (size_t)zeros * sizeof(REAL));
    }
}
