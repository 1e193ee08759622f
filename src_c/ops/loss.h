/* Losses and their derivatives by z. */

/* Loss of each element and its derivative *d by z, for targets y; p is the cost's parameter. At its kinks the derivative
 * is 0. */
INLINE VEC NAME(element_loss)(const Loss kind, const REAL p, VEC z, VEC y, VEC *d)
{
    const VEC zero = {0}, one = NAME(broadcast)(1);
    VEC e = z - y, size = NAME(abs)(e);
    switch (kind) {
    case SQUARED_ERROR: /* e^2 / 2 */
        *d = e;
        return e * e * (REAL)0.5;
    case ABSOLUTE_ERROR: /* |e| */
        *d = NAME(select)(e > 0, one, NAME(select)(e < 0, -one, e));
        return size;
    case LP: { /* |e|^p / p */
        VEC power = NAME(vexp)(NAME(vlog)(size) * (p - (REAL)1));
        power = NAME(select)(size >= SMALLEST, power, size);
        *d = NAME(select)(e < 0, -power, power);
        return size * power * ((REAL)1 / p);
    }
    case HUBER: /* e^2 / 2 up to |e| = p, straight on from there */
        *d = NAME(bounded)(e, p);
        return *d * (e - *d * (REAL)0.5);
    case QUANTILE: /* (1 - p) e above the target, -p e below */
        *d = NAME(select)(e > 0, NAME(broadcast)(1 - p), NAME(select)(e < 0, NAME(broadcast)(-p), e));
        return e * *d;
    case CROSS_ENTROPY: { /* ln(1 + e^z) - y z, without cancellation */
        VEC u = NAME(vexp)(-NAME(abs)(z)), r = one / (u + one);
        *d = NAME(select)(z < 0, u * r, r) - y;
        return NAME(abs)(z) * NAME(select)(z > 0, one - y, y) + NAME(vlog1p)(u);
    }
    case POISSON: { /* half the deviance, e^z - y - y r = y (e^r - 1 - r) with r = z - ln y; e^z for y = 0 */
        const IVEC positive = y >= SMALLEST;
        const VEC r = NAME(log_ratio)(z, NAME(select)(positive, y, one));
        const IVEC close = positive & (r < 1);
        VEC expm1, rest = NAME(exp_rest)(NAME(select)(close, r, zero), &expm1);
        *d = NAME(select)(close, y * expm1, NAME(vexp)(z) - y);
        return NAME(select)(close, y * rest, *d - y * r);
    }
    case PERCEPTRON: /* max(0, (1 - 2 y) z) for y 0 or 1 */
        *d = NAME(vstep)(z) - y;
        return z * *d;
    case NO_LOSS: case SOFTMAX_CROSS_ENTROPY: case GAUSSIAN:
        break;
    }
    *d = zero;
    return zero;
}

/* Sum of the elements' losses; d (n) <- c times the derivatives, unless it is NULL. */
INLINE double NAME(sum_of_losses)(const Loss kind, const REAL p, ptrdiff_t n, const REAL *z, const REAL *y, REAL *d, REAL c)
{
    VEC total = {0}, slope;
    Total blocks = {0, 0};
    ptrdiff_t j = 0;
    for (ptrdiff_t left = NAME(BLOCK_DEPTH); j + LANES <= n; j += LANES) {
        total += NAME(element_loss)(kind, p, NAME(load)(z + j), NAME(load)(y + j), &slope);
        if (d)
            NAME(store)(d + j, slope * c);
        if (--left == 0) {
            add_to(&blocks, (double)NAME(sum)(total));
            total = (VEC){0};
            left = NAME(BLOCK_DEPTH);
        }
    }
    if (j < n) {
        const NAME(mask) mask = NAME(first)(n - j);
        REAL rest[LANES] = {0};
        VEC loss = NAME(element_loss)(kind, p, NAME(load_masked)(z + j, mask), NAME(load_masked)(y + j, mask), &slope);
        NAME(store_masked)(rest, mask, loss); /* no loss from lanes without an element */
        total += NAME(load)(rest);
        if (d)
            NAME(store_masked)(d + j, mask, slope * c);
    }
    add_to(&blocks, (double)NAME(sum)(total));
    return value_of(&blocks);
}

/* Minus the logarithm of the normal density, with means z (k) and, behind them, logarithms s of the variances: (t^2 + s +
 * ln 2 pi) / 2 with t = e h, h = e^(-s/2);  d = t h, (1 - t^2) / 2. h is bounded by what is finite, so that 0 times it is 0. */
static double NAME(gaussian)(ptrdiff_t k, const REAL *z, const REAL *y, REAL *d, REAL c)
{
    Total total = {0, 0};
    for (ptrdiff_t j = 0; j < k; j += LANES) {
        const NAME(mask) mask = NAME(first)(k - j < LANES ? k - j : LANES);
        const VEC s = NAME(load_masked)(z + k + j, mask), h = NAME(bounded)(NAME(vexp)(s * (REAL)-0.5), NAME(MOST));
        const VEC t = (NAME(load_masked)(z + j, mask) - NAME(load_masked)(y + j, mask)) * h, square = t * t;
        add_to(&total, (double)NAME(sum)(square + s)); /* 0 in lanes without an element */
        if (d) {
            NAME(store_masked)(d + j, mask, t * h * c);
            NAME(store_masked)(d + k + j, mask, ((REAL)1 - square) * (REAL)0.5 * c);
        }
    }
    return 0.5 * (value_of(&total) + (double)k * 1.8378770664093453);
}

/* Sum of y (top - z) over a row, and that of y to *mass; y is 1 everywhere if it is NULL. Where y is 0, z does not matter. */
static double NAME(row_gap)(ptrdiff_t n, const REAL *z, const REAL *y, REAL top, double *mass)
{
    const ptrdiff_t most = NAME(BLOCK_DEPTH) * LANES;
    Total gaps = {0, 0}, masses = {0, 0};
    REAL ones[LANES];
    if (n <= NAME(FEW)) { /* nothing is added up across lanes */
        double gap = 0;
        *mass = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            const double t = y ? (double)y[j] : 1;
            *mass += t;
            gap += t == 0 ? 0 : t * ((double)top - (double)z[j]);
        }
        return gap;
    }
    NAME(store)(ones, NAME(broadcast)(1));
    for (ptrdiff_t begin = 0, end; begin < n; begin = end) {
        VEC gap = {0}, sum = {0};
        end = n - begin < most ? n : begin + most;
        for (ptrdiff_t j = begin; j < end; j += LANES) {
            const NAME(mask) mask = NAME(first)(end - j < LANES ? end - j : LANES);
            const VEC t = NAME(load_masked)(y ? y + j : ones, mask);
            gap += NAME(select)(t == 0, t, t * (top - NAME(load_masked)(z + j, mask)));
            sum += t;
        }
        add_to(&gaps, (double)NAME(sum)(gap));
        add_to(&masses, (double)NAME(sum)(sum));
    }
    *mass = value_of(&masses);
    return value_of(&gaps);
}

/* Of each row sum(y) ln(sum of e^(z - top)) + y (top - z) with top = max z;  d = softmax(z) sum(y) - y; y one-hot at labels[i]
 * if y is NULL. Label smoothing by s takes (1 - s) y + s sum(y) / n for y. `loss` has the contract. */
static double NAME(softmax_cross_entropy)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, REAL *z, ptrdiff_t ld, const REAL *y,
                                          const int64_t *labels, const double *weights, double scale, REAL *d)
{
    const double smoothing = cost->parameter;
    const int whole_rows = y || smoothing;
    double total = 0;
    for (ptrdiff_t r = 0; cost->fixed_logit && r < m; r++)
        z[r * ld + n - 1] = 0;
    for (ptrdiff_t i = 0; i < m; i += LANES) {
        const ptrdiff_t rows = m - i < LANES ? m - i : LANES;
        double gap[LANES], mass[LANES]; /* y (top - z) and sum(y) */
        REAL c[LANES], factor[LANES] = {0}, max[LANES], sum[LANES];
        for (ptrdiff_t r = 0; r < rows; r++) {
            const REAL *zr = z + r * ld, top = whole_rows ? NAME(row_top)(n, zr) : 0; /* else added when it is known */
            const double evenly = smoothing ? NAME(row_gap)(n, zr, NULL, top, mass + r) / (double)n : 0;
            if (y) {
                gap[r] = NAME(row_gap)(n, zr, y + r * n, top, mass + r);
            } else {
                mass[r] = 1;
                gap[r] = (double)top - (double)zr[labels[i + r]];
            }
            if (smoothing)
                gap[r] = (1 - smoothing) * gap[r] + smoothing * mass[r] * evenly;
            c[r] = (REAL)((weights ? weights[i + r] : 1) * scale);
            factor[r] = c[r] * (REAL)mass[r];
        }
        REAL *p = d ? d : z;
        if (rows == LANES)
            NAME(softmax_rows)(LANES, n, z, ld, factor, p, max, sum);
        else
            NAME(softmax_rows)(rows, n, z, ld, factor, p, max, sum);
        for (ptrdiff_t r = 0; r < rows; r++, p += ld) {
            if (weights && weights[i + r] == 0) {
                memset(p, 0, (size_t)n * sizeof(REAL));
                continue;
            }
            gap[r] += whole_rows ? 0 : (double)max[r];
            total += (weights ? weights[i + r] : 1) * (mass[r] * log((double)sum[r]) + gap[r]);
            const REAL ct = (REAL)(1 - smoothing) * c[r], all = (REAL)smoothing * factor[r] / (REAL)n;
            for (ptrdiff_t j = 0; whole_rows && j < n; j += LANES) {
                const NAME(mask) mask = NAME(first)(n - j < LANES ? n - j : LANES);
                VEC part = NAME(load_masked)(p + j, mask) - all;
                if (y)
                    part -= NAME(load_masked)(y + r * n + j, mask) * ct;
                NAME(store_masked)(p + j, mask, part);
            }
            if (!y)
                p[labels[i + r]] -= ct;
            if (cost->fixed_logit)
                p[n - 1] = 0;
        }
        z += rows * ld;
        if (y)
            y += rows * n;
        if (d)
            d += rows * ld;
    }
    return total;
}

static double NAME(loss)(const Cost *cost, ptrdiff_t m, ptrdiff_t n, void *z_, ptrdiff_t ld, const void *y_,
                         const int64_t *labels, const double *weights, double scale, void *d_)
{
    REAL *z = z_, *d = d_;
    const REAL *y = y_, p = (REAL)cost->parameter;
    double total = 0;
    if (cost->kind == SOFTMAX_CROSS_ENTROPY)
        return NAME(softmax_cross_entropy)(cost, m, n, z, ld, y, labels, weights, scale, d);
    for (ptrdiff_t i = 0; i < m; i++, z += ld) {
        double weight = weights ? weights[i] : 1;
        REAL c = (REAL)(weight * scale);
        if (weight == 0) { /* such a row counts for nothing, even if its loss is infinite */
            if (d)
                memset(d, 0, (size_t)n * sizeof(REAL));
        } else {
            double loss = 0;
#define CASE(kind) case kind: loss = NAME(sum_of_losses)(kind, p, n, z, y, d, c); break;
            switch (cost->kind) {
            CASE(SQUARED_ERROR) CASE(ABSOLUTE_ERROR) CASE(LP) CASE(HUBER) CASE(CROSS_ENTROPY) CASE(POISSON) CASE(PERCEPTRON)
            case QUANTILE:
                for (ptrdiff_t g = 0, k = n / cost->n_levels; g < cost->n_levels; g++)
                    loss += NAME(sum_of_losses)(QUANTILE, (REAL)cost->levels[g], k, z + g * k, y + g * k,
                                                d ? d + g * k : NULL, c);
                break;
            case GAUSSIAN: loss = NAME(gaussian)(n / 2, z, y, d, c); break;
            case SOFTMAX_CROSS_ENTROPY: case NO_LOSS: break;
            }
#undef CASE
            total += weight * loss;
        }
        if (y)
            y += n;
        if (d)
            d += ld;
    }
    return total;
}
