/* Units: f(z) and f'(z). */

/* The units, f(z) with a parameter p. Comparisons are such that a NaN stays one. */
INLINE VEC NAME(vlogistic)(VEC z)
{
    const VEC one = NAME(broadcast)(1);
    VEC second, first = NAME(bounded_exp_factors)(-NAME(abs)(z), &second);
    /* e^-|z| above is a product of its own, so that the one below becomes an FMA */
    return NAME(select)(z < 0, first, one) * NAME(select)(z < 0, second, one) / (first * second + one);
}

/* tanh |z| = expm1(2|z|) / (expm1(2|z|) + 2), without cancellation for small z */
INLINE VEC NAME(vtanh)(VEC z)
{
    VEC y = -NAME(at_least)(-TANH_ONE, -NAME(abs)(z));
    VEC e = NAME(vexpm1)(y + y);
    IVEC sign = (IVEC)z & ~((IVEC){0} + INT_MAX_OF);
    return (VEC)((IVEC)(e / (e + (REAL)2)) | sign);
}

INLINE VEC NAME(vrelu)(VEC z) { return NAME(select)(z < 0, (VEC){0}, z); }
INLINE VEC NAME(vleaky_relu)(VEC z, REAL p) { return NAME(select)(z < 0, z * p, z); }
INLINE VEC NAME(vstep)(VEC z) { return NAME(select)(z > 0, NAME(broadcast)(1), NAME(select)(z <= 0, (VEC){0}, z)); }

INLINE VEC NAME(vsoftplus)(VEC z)
{
    return NAME(select)(z > 0, z, (VEC){0}) + NAME(vlog1p)(NAME(vexp)(-NAME(abs)(z)));
}
INLINE VEC NAME(velu)(VEC z, REAL p)
{
    return NAME(select)(z > 0, z, NAME(vexpm1)(NAME(select)(z > 0, (VEC){0}, z)) * p);
}
#define SELU_SCALE (REAL)1.0507009873554805
#define SELU_ALPHA (REAL)1.6732632423543772

/* z logistic(u(z)), and its derivative by z with u_prime = du/dz. The product is formed so that logistic(u), which may be
 * subnormal, is not. Beyond |z| = 1000, where x ends, nothing changes; -1000 * 0 is 0, where -inf * 0 is not. */
INLINE VEC NAME(gated)(VEC z, VEC x, VEC u, VEC u_prime, VEC *slope)
{
    VEC second, first = NAME(exp_factors)(-NAME(abs)(u), &second), e = first * second, r = (REAL)1 / (e + (REAL)1);
    *slope = NAME(select)(u < 0, e * r, r) + x * u_prime * (e * r * r);
    return NAME(select)(u < 0, x * r * first * second, NAME(select)(z > 0, z, x) * r);
}
INLINE VEC NAME(vsilu)(VEC z, VEC *slope)
{
    VEC x = NAME(bounded)(z, 1000);
    return NAME(gated)(z, x, x, NAME(broadcast)(1), slope);
}
INLINE VEC NAME(vgelu)(VEC z, VEC *slope)
{
    const REAL c = (REAL)1.5957691216057308, b = (REAL)0.044715; /* c = 2 sqrt(2 / pi) */
    VEC x = NAME(bounded)(z, 1000), t = x * x * b;
    return NAME(gated)(z, x, x * c * (t + (REAL)1), (t * (REAL)3 + (REAL)1) * c, slope);
}


/* With t = e^-|z|, tanh(ln(1 + e^z)) is n / d, where n = 1 + 2 t and d = n + 2 t^2 for z > 0, n = t (t + 2) and d = n + 2 below; its
 * derivative is 4 t (1 + t) / d^2, times t for z > 0. Products, and |z| > 1000, as in gated. */
INLINE VEC NAME(vmish)(VEC z, VEC *slope)
{
    const VEC one = NAME(broadcast)(1), x = NAME(bounded)(z, 1000);
    VEC second, first = NAME(exp_factors)(-NAME(abs)(x), &second), t = first * second;
    const IVEC above = x > 0;
    const VEC n = NAME(select)(above, t + t + one, t * (t + (REAL)2));
    const VEC r = one / NAME(select)(above, n + t * t * (REAL)2, n + (REAL)2);
    *slope = n * r + x * (t * (t + one) * (REAL)4) * NAME(select)(above, t, one) * r * r;
    return NAME(select)(above, NAME(select)(z > 0, z, x) * n * r, x * (t + (REAL)2) * r * first * second);
}
INLINE VEC NAME(vrelu2)(VEC z, VEC *slope)
{
    VEC a = NAME(vrelu)(z);
    *slope = a + a;
    return a * a;
}
INLINE VEC NAME(vhard_sigmoid)(VEC z)
{
    const VEC six = NAME(broadcast)(6), y = NAME(vrelu)(z + (REAL)3);
    return NAME(select)(y > six, six, y) * (REAL)(1.0 / 6);
}
INLINE VEC NAME(vhard_swish)(VEC z, VEC *slope)
{
    const VEC inner = (z + z + (REAL)3) * (REAL)(1.0 / 6);
    *slope = NAME(select)(z <= -3, (VEC){0}, NAME(select)(z >= 3, NAME(broadcast)(1), inner));
    return NAME(select)(z < -3, (VEC){0}, z) * NAME(vhard_sigmoid)(z);
}

INLINE VEC NAME(vcos)(VEC z, VEC *slope)
{
    VEC cosine;
    *slope = -NAME(vsin_cos)(z, &cosine);
    return cosine;
}

/* m rows of n as one where nothing lies between them */
#define FLATTEN if (n == ld) n *= m, ld = n, m = n > 0
/* f, an expression in z and p, of a vector, and for all elements; if it sets `slope`, that is kept where there is a place for it */
#define ACTIVATE(name, sets_slope, f) \
    INLINE VEC NAME(name##_of)(VEC z, REAL p, VEC *slope_) \
    { \
        VEC slope = {0}; \
        (void)p; \
        z = f; \
        *slope_ = slope; \
        return z; \
    } \
    static void NAME(name)(ptrdiff_t m, ptrdiff_t n, void *a_, ptrdiff_t ld, double parameter, void *slopes_) \
    { \
        const REAL p = (REAL)parameter; \
        const int keep = sets_slope && slopes_; \
        REAL *a = a_, *slopes = slopes_; \
        FLATTEN; \
        for (; m-- > 0; a += ld) { \
            ptrdiff_t i = 0; \
            VEC slope; \
            for (; i + LANES <= n; i += LANES) { \
                NAME(store)(a + i, NAME(name##_of)(NAME(load)(a + i), p, &slope)); \
                if (keep) \
                    NAME(store)(slopes + i, slope); \
            } \
            if (i < n) { \
                NAME(mask) mask = NAME(first)(n - i); \
                NAME(store_masked)(a + i, mask, NAME(name##_of)(NAME(load_masked)(a + i, mask), p, &slope)); \
                if (keep) \
                    NAME(store_masked)(slopes + i, mask, slope); \
            } \
            if (keep) \
                slopes += ld; \
        } \
    }
ACTIVATE(logistic, 0, NAME(vlogistic)(z))
ACTIVATE(tanh, 0, NAME(vtanh)(z))
ACTIVATE(relu, 0, NAME(vrelu)(z))
ACTIVATE(hard_tanh, 0, NAME(bounded)(z, 1))
ACTIVATE(leaky_relu, 0, NAME(vleaky_relu)(z, p))
ACTIVATE(step, 0, NAME(vstep)(z))
ACTIVATE(softplus, 0, NAME(vsoftplus)(z))
ACTIVATE(elu, 0, NAME(velu)(z, p))
ACTIVATE(selu, 0, NAME(velu)(z, SELU_ALPHA) * SELU_SCALE)
ACTIVATE(exp, 0, NAME(vexp)(z))
ACTIVATE(gelu, 1, NAME(vgelu)(z, &slope))
ACTIVATE(silu, 1, NAME(vsilu)(z, &slope))
ACTIVATE(mish, 1, NAME(vmish)(z, &slope))
ACTIVATE(relu2, 1, NAME(vrelu2)(z, &slope))
ACTIVATE(hard_swish, 1, NAME(vhard_swish)(z, &slope))
ACTIVATE(sin, 1, NAME(vsin_cos)(z, &slope))
ACTIVATE(cos, 1, NAME(vcos)(z, &slope))
ACTIVATE(hard_sigmoid, 0, NAME(vhard_sigmoid)(z))
#undef ACTIVATE

/* Of a vector softmax is nothing yet: it is of whole rows. */
INLINE VEC NAME(identity_of)(VEC z, REAL p, VEC *slope)
{
    (void)p;
    *slope = (VEC){0};
    return z;
}
INLINE VEC NAME(softmax_of)(VEC z, REAL p, VEC *slope) { return NAME(identity_of)(z, p, slope); }
INLINE VEC NAME(identity_derivative_of)(VEC a, VEC d, REAL p)
{
    (void)a, (void)p;
    return d;
}
INLINE VEC NAME(softmax_derivative_of)(VEC a, VEC d, REAL p) { return NAME(identity_derivative_of)(a, d, p); }

static void NAME(identity)(ptrdiff_t m, ptrdiff_t n, void *a, ptrdiff_t ld, double parameter, void *slopes)
{
    (void)m, (void)n, (void)a, (void)ld, (void)parameter, (void)slopes;
}
static void NAME(identity_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a, void *d, ptrdiff_t ld, double parameter)
{
    (void)m, (void)n, (void)a, (void)d, (void)ld, (void)parameter;
}

/* d f'(z), an expression in d, a = f(z) and p, of a vector, and for all elements */
#define DERIVATIVE(name, f) \
    INLINE VEC NAME(name##_derivative_of)(VEC a, VEC d, REAL p) \
    { \
        (void)a, (void)d, (void)p; \
        return f; \
    } \
    static void NAME(name##_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a_, void *d_, ptrdiff_t ld, \
                                        double parameter) \
    { \
        const REAL p = (REAL)parameter, *from = a_; \
        REAL *to = d_; \
        FLATTEN; \
        for (; m-- > 0; from += ld, to += ld) { \
            ptrdiff_t i = 0; \
            for (; i + LANES <= n; i += LANES) { \
                NAME(store)(to + i, NAME(name##_derivative_of)(NAME(load)(from + i), NAME(load)(to + i), p)); \
            } \
            if (i < n) { \
                NAME(mask) mask = NAME(first)(n - i); \
                const VEC a = NAME(load_masked)(from + i, mask), d = NAME(load_masked)(to + i, mask); \
                NAME(store_masked)(to + i, mask, NAME(name##_derivative_of)(a, d, p)); \
            } \
        } \
    }
DERIVATIVE(logistic, d * a * ((REAL)1 - a))
DERIVATIVE(tanh, d * ((REAL)1 - a * a))
DERIVATIVE(relu, NAME(select)(a == 0, (VEC){0}, d))
DERIVATIVE(hard_tanh, NAME(select)(NAME(abs)(a) == 1, (VEC){0}, d))
DERIVATIVE(leaky_relu, NAME(select)(a > 0, d, d * p))
DERIVATIVE(step, (VEC){0})
DERIVATIVE(softplus, d * -NAME(vexpm1)(-a))
DERIVATIVE(elu, NAME(select)(a > 0, d, d * (a + p)))
DERIVATIVE(selu, NAME(select)(a > 0, d * SELU_SCALE, d * (a + SELU_SCALE * SELU_ALPHA)))
DERIVATIVE(hard_sigmoid, NAME(select)((a == 0) | (a == 1), (VEC){0}, d * (REAL)(1.0 / 6)))
DERIVATIVE(kept, d * a)
#undef DERIVATIVE
#undef FLATTEN
#undef SELU_SCALE
#undef SELU_ALPHA

INLINE REAL NAME(row_top)(ptrdiff_t n, const REAL *a)
{
    ptrdiff_t j = LANES;
    REAL m = a[0];
    if (n >= LANES) {
        VEC top = NAME(load)(a);
        for (; j + LANES <= n; j += LANES)
            top = NAME(select)(NAME(load)(a + j) > top, NAME(load)(a + j), top);
        m = NAME(largest)(top);
    } else {
        j = 1;
    }
    for (; j < n; j++)
        m = a[j] > m ? a[j] : m;
    return m;
}

/* a <- exp(a - max a); returns the sum of that and sets *max */
INLINE REAL NAME(shifted_exp)(ptrdiff_t n, REAL *a, REAL *max)
{
    const REAL m = NAME(row_top)(n, a);
    for (ptrdiff_t j = 0; j < n; j++)
        a[j] -= m;
    NAME(exp)(1, n, a, n, 0, NULL);
    *max = m;
    return NAME(row_sum)(n, a, NULL);
}

/* Rows of up to so many outputs are worked on LANES at a time, a row in each lane: exp is then called for what is
 * there alone, and nothing is added up across lanes. */
enum { NAME(FEW) = 16 };

/* p (m, n) <- factor[i] * softmax(row i of z), m <= LANES, and for each row max z and the sum of e^(z - max z); rows of z
 * and p are ld apart; z is scratch, and may be p itself */
INLINE void NAME(softmax_rows)(ptrdiff_t m, ptrdiff_t n, REAL *z, ptrdiff_t ld, const REAL *factor, REAL *p, REAL *max,
                               REAL *sum)
{
    if (n > NAME(FEW)) {
        for (ptrdiff_t i = 0; i < m; i++, z += ld, p += ld) {
            sum[i] = NAME(shifted_exp)(n, z, max + i);
            REAL share = factor[i] / sum[i];
            for (ptrdiff_t j = 0; j < n; j++)
                p[j] = z[j] * share;
        }
        return;
    }
    VEC e[NAME(FEW)], top = NAME(broadcast)(-(REAL)INFINITY), total = {0};
    REAL *column = (REAL *)e; /* z^T, zeros in lanes without a row */
    for (ptrdiff_t j = 0; j < n; j++, column += LANES) {
        if (m < LANES)
            e[j] = (VEC){0};
        for (ptrdiff_t i = 0; i < m; i++)
            column[i] = z[i * ld + j];
    }
    for (ptrdiff_t j = 0; j < n; j++)
        top = NAME(select)(e[j] > top, e[j], top);
    for (ptrdiff_t j = 0; j < n; j++) {
        e[j] = NAME(vexp)(e[j] - top);
        total += e[j];
    }
    NAME(store)(max, top);
    NAME(store)(sum, total);
    VEC share = NAME(load)(factor) / total;
    column = (REAL *)e;
    for (ptrdiff_t j = 0; j < n; j++, column += LANES) {
        e[j] *= share;
        for (ptrdiff_t i = 0; i < m; i++)
            p[i * ld + j] = column[i];
    }
}

static void NAME(softmax)(ptrdiff_t m, ptrdiff_t n, void *a_, ptrdiff_t ld, double parameter, void *copy_)
{
    REAL *a = a_, *copy = copy_, one[LANES], max[LANES], sum[LANES];
    (void)parameter;
    NAME(store)(one, NAME(broadcast)(1));
    for (ptrdiff_t i = 0; i < m && n; i += LANES) {
        if (m - i >= LANES)
            NAME(softmax_rows)(LANES, n, a + i * ld, ld, one, a + i * ld, max, sum);
        else
            NAME(softmax_rows)(m - i, n, a + i * ld, ld, one, a + i * ld, max, sum);
    }
    for (ptrdiff_t i = 0; copy && i < m; i++)
        memcpy(copy + i * ld, a + i * ld, (size_t)n * sizeof(REAL));
}

/* The Jacobian of a row is diag(a) - a a^T. */
static void NAME(softmax_derivative)(ptrdiff_t m, ptrdiff_t n, const void *a_, void *d_, ptrdiff_t ld, double parameter)
{
    const REAL *a = a_;
    REAL *d = d_;
    (void)parameter;
    for (; m-- > 0; a += ld, d += ld) {
        const REAL sum = NAME(row_sum)(n, d, a);
        for (ptrdiff_t j = 0; j < n; j++)
            d[j] = a[j] * (d[j] - sum);
    }
}
