/* Piecewise linear codes of numbers: how much of each bin of a column lies below x.
 *
 * Bin t of a column, from low = bounds[t] to high = bounds[t + 1], makes (min(max(x, low), high) - low) / (high - low). The first bin
 * has no lower end, and those that end where the last one does have no upper; a bin without width makes 0. */

/* Bins of m rows, at most LANES of them side by side and the first being bounds[0] to bounds[1]; `first` and `last` are where all of
 * the column's begin and end. */
INLINE void NAME(fill_bins)(ptrdiff_t m, ptrdiff_t n, const REAL *bounds, REAL first, REAL last, const REAL *const *rows, ptrdiff_t column,
                            NAME(mask) mask, int whole, REAL *z, ptrdiff_t ldz)
{
    const NAME(mask) there = NAME(first)(n);
    const VEC low = NAME(load_masked)(bounds, there), high = NAME(load_masked)(bounds + 1, there), width = high - low;
    const IVEC wide = width > 0;
    const VEC slope = (REAL)1 / NAME(select)(wide, width, NAME(broadcast)(1));
    const VEC least = NAME(select)(low <= first, NAME(broadcast)(-(REAL)INFINITY), low);
    const VEC most = NAME(select)(high >= last, NAME(broadcast)((REAL)INFINITY), high);
    for (ptrdiff_t i = 0; i < m; i++, z += ldz) {
        const VEC x = NAME(broadcast)(rows[i][column]), above = NAME(select)(x < least, least, x);
        const VEC code = (VEC)((IVEC)((NAME(select)(above > most, most, above) - low) * slope) & wide);
        if (whole)
            NAME(store)(z, code);
        else
            NAME(store_masked)(z, mask, code);
    }
}

static void NAME(bins)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t n_bins, const void *rows_, const void *bounds_, ptrdiff_t zeros, void *z_,
                       ptrdiff_t ldz)
{
    const REAL *const *rows = rows_, *bounds = bounds_;
    REAL *z = z_;
    for (ptrdiff_t j = 0; j < n; j++, bounds += n_bins + 1)
        for (ptrdiff_t t = 0; t < n_bins; t += LANES) {
            /* a vector may reach into the next column's places, which are filled later */
            const ptrdiff_t at = j * n_bins + t, rest = n * n_bins - at, left = n_bins - t < LANES ? n_bins - t : LANES;
            NAME(fill_bins)(m, left, bounds + t, bounds[0], bounds[n_bins], rows, j, NAME(first)(rest < LANES ? rest : LANES),
                            rest >= LANES, z + at, ldz);
        }
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = 0; j < zeros; j++)
            z[i * ldz + n * n_bins + j] = 0;
}

/* Of all bins of a column only the one that x lies in has a slope. */
static void NAME(bins_back)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t n_bins, const void *rows_, const void *bounds_, const void *d_,
                            ptrdiff_t ldd, int accumulate, ptrdiff_t zeros, void *out_, ptrdiff_t ld)
{
    const REAL *const *rows = rows_, *d = d_;
    REAL *out = out_;
    for (ptrdiff_t i = 0; i < m; i++, d += ldd, out += ld) {
        const REAL *bounds = bounds_;
        for (ptrdiff_t j = 0; j < n; j++, bounds += n_bins + 1) {
            ptrdiff_t t = 0;
            while (t + 1 < n_bins && rows[i][j] >= bounds[t + 1] && bounds[t + 1] < bounds[n_bins])
                t++;
            const REAL width = bounds[t + 1] - bounds[t], e = width > 0 ? d[j * n_bins + t] / width : 0;
            out[j] = accumulate ? out[j] + e : e;
        }
        for (ptrdiff_t j = 0; j < zeros; j++)
            out[n + j] = 0;
    }
}
