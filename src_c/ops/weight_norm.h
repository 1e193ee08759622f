/* Weights divided by norms of their own: those of columns, or the largest singular value. */

/* The sums of a vector of columns of W, whose rows are ld apart, each row times u, or of its squares where u is NULL; the sums of
 * blocks of rows are added up, and in a block four of every fourth row. */
INLINE VEC NAME(sums_of_columns)(NAME(mask) mask, ptrdiff_t m, const REAL *w, ptrdiff_t ld, const REAL *u)
{
    VEC total = {0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC sum[4] = {{0}};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r += 4)
            for (int p = 0; p < 4 && r + p < end; p++) {
                const VEC x = NAME(load_masked)(w + (r + p) * ld, mask);
                sum[p] += x * (u ? NAME(broadcast)(u[r + p]) : x);
            }
        total += (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
    return total;
}

static void NAME(norm_factors)(ptrdiff_t m, ptrdiff_t n, const Stripes *w, const void *g_, void *factors_, void *inverse_)
{
    const REAL *g = g_, *at = w->at;
    REAL *factors = factors_, *inverse = inverse_;
    for (ptrdiff_t j = 0; j < n; j += LANES, at += w->stripe) {
        const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
        const VEC norm = NAME(sqrt)(NAME(sums_of_columns)(mask, m, at, w->ld, NULL)), one = NAME(broadcast)(1);
        const VEC inverted = NAME(select)(norm == 0, (VEC){0}, one / NAME(select)(norm == 0, one, norm));
        NAME(store_masked)(inverse + j, mask, inverted);
        NAME(store_masked)(factors + j, mask, NAME(load_masked)(g + j, mask) * inverted);
    }
}

/* out (n) = W^T u */
INLINE void NAME(products_with_columns)(ptrdiff_t m, ptrdiff_t n, const Stripes *w, const REAL *u, REAL *out)
{
    const REAL *at = w->at;
    for (ptrdiff_t j = 0; j < n; j += LANES, at += w->stripe) {
        const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
        NAME(store_masked)(out + j, mask, NAME(sums_of_columns)(mask, m, at, w->ld, u));
    }
}

/* out (m) = W v */
INLINE void NAME(products_with_rows)(ptrdiff_t m, ptrdiff_t n, const Stripes *w, const REAL *v, REAL *out)
{
    for (ptrdiff_t i = 0; i < m; i++) {
        const REAL *at = (const REAL *)w->at + i * w->ld;
        VEC sum = {0};
        for (ptrdiff_t j = 0; j < n; j += LANES, at += w->stripe) {
            const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
            sum += NAME(load_masked)(at, mask) * NAME(load_masked)(v + j, mask);
        }
        out[i] = NAME(sum)(sum);
    }
}

static double NAME(dot)(ptrdiff_t n, const REAL *a, const REAL *b)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* to (n) = a / |a|, unless that is 0; returns |a| */
static double NAME(normalized)(ptrdiff_t n, const REAL *a, REAL *to)
{
    const double norm = sqrt(NAME(dot)(n, a, a));
    for (ptrdiff_t i = 0; norm != 0 && i < n; i++)
        to[i] = (REAL)(a[i] / norm);
    return norm;
}

static double NAME(spectral_norm)(ptrdiff_t m, ptrdiff_t n, const Stripes *w, int n_iterations, void *u, void *v, void *scratch)
{
    double sigma = 0;
    for (int i = 0; i < n_iterations; i++) {
        NAME(products_with_columns)(m, n, w, u, scratch);
        NAME(normalized)(n, scratch, v);
        NAME(products_with_rows)(m, n, w, v, scratch);
        sigma = NAME(normalized)(m, scratch, u);
    }
    if (n_iterations == 0) {
        NAME(products_with_columns)(m, n, w, u, scratch);
        sigma = NAME(dot)(n, scratch, v);
    }
    return sigma;
}
