/* Functions of vectors: exp, log and their like. Their errors are in docs/guide/speed.md, tested. */

#if REAL_BITS == 32
#define MANTISSA 23
#define BIAS 127
#define LN2_HIGH 0x1.62e4p-1f /* few enough bits that n * LN2_HIGH is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_MIN -120.0f /* far enough below where e^x is 0 that z e^z is 0 too */
#define EXP_MAX 89.0f
#define EXP_TERMS 8
#define TANH_ONE 10.0f
#define SQRT_HALF_BITS 0x3f3504f3
#define SMALLEST 0x1p-126f /* normal number */
#define SMALLEST_ROOT 0x1p-63f
#define LOG_TERMS 4
#define HALF_PI 0x1.92p+0f, 0x1.fb4p-12f, 0x1.444p-24f, 0x1.68c234p-39f
#define NEAR 4096.0f
#define SIN_TERMS 4
#else
#define MANTISSA 52
#define BIAS 1023
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define EXP_MIN -760.0
#define EXP_MAX 710.0
#define EXP_TERMS 14
#define TANH_ONE 20.0
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcd
#define SMALLEST 0x1p-1022
#define SMALLEST_ROOT 0x1p-511
#define LOG_TERMS 10
#define HALF_PI 0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252049c1p-104
#define NEAR 0x1p20
#define SIN_TERMS 8
#endif

/* x = n ln 2 + r with |r| <= ln(2)/2; returns exp(r) - 1 - r, by its Taylor series, and n and r; r is x where n is 0. */
INLINE VEC NAME(exp_series)(VEC x, IVEC *n, VEC *r_)
{
    /* 1 / t! for t = 2, 3, ... */
    static const REAL coefficient[] = {(REAL)(1.0 / 2),          (REAL)(1.0 / 6),         (REAL)(1.0 / 24),
                                       (REAL)(1.0 / 120),        (REAL)(1.0 / 720),       (REAL)(1.0 / 5040),
                                       (REAL)(1.0 / 40320),      (REAL)(1.0 / 362880),    (REAL)(1.0 / 3628800),
                                       (REAL)(1.0 / 39916800),   (REAL)(1.0 / 479001600), (REAL)(1.0 / 6227020800)};
    /* adding 1.5 * 2^MANTISSA rounds to an integer and leaves that integer in the low bits */
    const VEC magic = NAME(broadcast)((REAL)1.5 * (REAL)((INT)1 << MANTISSA));
    VEC shifted = x * (REAL)1.4426950408889634 + magic;
    VEC rounded = shifted - magic;
    *n = (IVEC)shifted - (IVEC)magic;
    VEC r = x - rounded * LN2_HIGH;
    r = r - rounded * LN2_LOW;
    const VEC square = r * r;
    VEC q = r * coefficient[EXP_TERMS - 3] + coefficient[EXP_TERMS - 4];
    for (int t = EXP_TERMS - 6; t >= 0; t -= 2) /* two at a time, as one would wait for the other */
        q = q * square + (r * coefficient[t + 1] + coefficient[t]);
    *r_ = r;
    return q * square;
}

/* exp(r) - 1, and n */
INLINE VEC NAME(expm1_reduced)(VEC x, IVEC *n)
{
    VEC r, rest = NAME(exp_series)(x, n, &r);
    return rest + r;
}

/* 2^n for n in the range of normal numbers */
INLINE VEC NAME(power_of_two)(IVEC n) { return (VEC)((n + BIAS) << MANTISSA); }

/* e^x as a product of two numbers, for results that are subnormal; x is EXP_MAX at most */
INLINE VEC NAME(bounded_exp_factors)(VEC x, VEC *second)
{
    IVEC n;
    VEC p = NAME(expm1_reduced)(NAME(at_least)(EXP_MIN, x), &n);
    IVEC half = n >> 1;
    VEC power = NAME(power_of_two)(half);
    *second = NAME(power_of_two)(n - half);
    return p * power + power; /* with the bits of (p + 1) * power, but sooner */
}

/* The same for all x, results that overflow included */
INLINE VEC NAME(exp_factors)(VEC x, VEC *second)
{
    return NAME(bounded_exp_factors)(NAME(select)(x > EXP_MAX, NAME(broadcast)(EXP_MAX), x), second);
}

INLINE VEC NAME(vexp)(VEC x)
{
    VEC second, first = NAME(exp_factors)(x, &second);
    return first * second;
}

/* e^x - 1 for x <= 2 TANH_ONE; below -2 TANH_ONE it is -1 */
INLINE VEC NAME(vexpm1)(VEC x)
{
    IVEC n;
    VEC p = NAME(expm1_reduced)(NAME(at_least)(-2 * TANH_ONE, x), &n), power = NAME(power_of_two)(n);
    return power * p + (power - (REAL)1);
}

/* ln(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2): 2 artanh s with s = f / (2 + f), of which 2 s = f - s f */
INLINE VEC NAME(log1p_reduced)(VEC f)
{
    /* 2 / (2 t + 1) for t = 1, 2, 3, ... */
    static const REAL coefficient[] = {(REAL)(2.0 / 3),  (REAL)(2.0 / 5),  (REAL)(2.0 / 7),  (REAL)(2.0 / 9),
                                       (REAL)(2.0 / 11), (REAL)(2.0 / 13), (REAL)(2.0 / 15), (REAL)(2.0 / 17),
                                       (REAL)(2.0 / 19), (REAL)(2.0 / 21)};
    VEC s = f / (f + (REAL)2), w = s * s;
    VEC q = NAME(broadcast)(coefficient[LOG_TERMS - 1]);
    for (int t = LOG_TERMS - 2; t >= 0; t--)
        q = q * w + coefficient[t];
    return f - s * (f - q * w);
}

/* ln(1 + x) for 0 <= x <= 1 */
INLINE VEC NAME(vlog1p)(VEC x)
{
    IVEC large = x > (REAL)0.4142135623730951; /* then it is ln 2 + ln(1 + (x - 1) / 2) */
    VEC l = NAME(log1p_reduced)(NAME(select)(large, (x - (REAL)1) * (REAL)0.5, x));
    return NAME(select)(large, l + (REAL)0.6931471805599453, l);
}

/* x = 2^power m with sqrt(1/2) <= m <= sqrt(2), for normal x > 0 */
INLINE VEC NAME(log_parts)(VEC x, VEC *power)
{
    const VEC magic = NAME(broadcast)((REAL)1.5 * (REAL)((INT)1 << MANTISSA)); /* as in exp_series */
    IVEC n = ((IVEC)x - SQRT_HALF_BITS) >> MANTISSA;
    *power = (VEC)((IVEC)magic + n) - magic;
    return (VEC)((IVEC)x - (n << MANTISSA));
}

/* ln x for normal x > 0 */
INLINE VEC NAME(vlog)(VEC x)
{
    VEC power, m = NAME(log_parts)(x, &power);
    return power * LN2_HIGH + (NAME(log1p_reduced)(m - (REAL)1) + power * LN2_LOW);
}

/* z - ln y for normal y > 0, without cancellation where the two are close: the parts of ln y are subtracted one by one */
INLINE VEC NAME(log_ratio)(VEC z, VEC y)
{
    VEC power, m = NAME(log_parts)(y, &power);
    return ((z - power * LN2_HIGH) - NAME(log1p_reduced)(m - (REAL)1)) - power * LN2_LOW;
}

/* e^x - 1 - x for x <= 1, of which the series alone is taken near 0; and e^x - 1 */
INLINE VEC NAME(exp_rest)(VEC x, VEC *expm1)
{
    IVEC n;
    VEC r, rest = NAME(exp_series)(NAME(at_least)(-2 * TANH_ONE, x), &n, &r), power = NAME(power_of_two)(n);
    *expm1 = power * (rest + r) + (power - (REAL)1);
    return NAME(select)(n == 0, rest, *expm1 - x);
}

/* sin r for |r| <= pi / 4, and cos r, by their Taylor series */
INLINE VEC NAME(sin_cos_reduced)(VEC r, VEC *cosine)
{
    /* of r^3, r^5, ... and of r^4, r^6, ... */
    static const REAL odd[] = {(REAL)(-1.0 / 6),        (REAL)(1.0 / 120),           (REAL)(-1.0 / 5040),
                               (REAL)(1.0 / 362880),    (REAL)(-1.0 / 39916800),     (REAL)(1.0 / 6227020800),
                               (REAL)(-1.0 / 1307674368000), (REAL)(1.0 / 355687428096000)};
    static const REAL even[] = {(REAL)(1.0 / 24),          (REAL)(-1.0 / 720),           (REAL)(1.0 / 40320),
                                (REAL)(-1.0 / 3628800),    (REAL)(1.0 / 479001600),      (REAL)(-1.0 / 87178291200),
                                (REAL)(1.0 / 20922789888000), (REAL)(-1.0 / 6402373705728000)};
    const VEC w = r * r;
    VEC p = NAME(broadcast)(odd[SIN_TERMS - 1]), q = NAME(broadcast)(even[SIN_TERMS - 1]);
    for (int t = SIN_TERMS - 2; t >= 0; t--) {
        p = p * w + odd[t];
        q = q * w + even[t];
    }
    *cosine = (w * q - (REAL)0.5) * w + (REAL)1;
    return r * w * p + r;
}

/* Lanes that are not NEAR become what C's own functions make of y. */
static __attribute__((noinline, cold)) void NAME(sin_cos_far)(const VEC *y, VEC *sine, VEC *cosine)
{
    for (ptrdiff_t i = 0; i < LANES; i++)
        if (!((*y)[i] <= NEAR)) {
            (*sine)[i] = (REAL)sin((*y)[i]);
            (*cosine)[i] = (REAL)cos((*y)[i]);
        }
}

/* sin x, and cos x. |x| = n pi / 2 + r with |r| <= pi / 4; pi / 2 is four numbers, the first three with so few bits that n times each
 * is exact for what is NEAR. */
INLINE VEC NAME(vsin_cos)(VEC x, VEC *cosine)
{
    static const REAL half_pi[] = {HALF_PI};
    const VEC magic = NAME(broadcast)((REAL)1.5 * (REAL)((INT)1 << MANTISSA)); /* as in exp_series */
    const VEC y = NAME(abs)(x), shifted = y * (REAL)0.6366197723675814 + magic, rounded = shifted - magic;
    const IVEC n = (IVEC)shifted - (IVEC)magic, turned = -(n & 1), sign = ~((IVEC){0} + INT_MAX_OF);
    VEC r = y, c;
    for (int i = 0; i < 4; i++)
        r = r - rounded * half_pi[i];
    const VEC s = NAME(sin_cos_reduced)(r, &c);
    VEC sine = (VEC)((IVEC)NAME(select)(turned, c, s) ^ (-(n >> 1 & 1) & sign));
    *cosine = (VEC)((IVEC)NAME(select)(turned, s, c) ^ (-((n + 1) >> 1 & 1) & sign));
    if (NAME(any)(~(y <= NEAR))) {
        VEC far_sine = sine, far_cosine = *cosine;
        NAME(sin_cos_far)(&y, &far_sine, &far_cosine);
        sine = far_sine, *cosine = far_cosine;
    }
    return (VEC)((IVEC)sine ^ ((IVEC)x & sign));
}

INLINE VEC NAME(bounded)(VEC z, REAL most)
{
    const VEC limit = NAME(broadcast)(most);
    return NAME(select)(z > limit, limit, NAME(select)(z < -limit, -limit, z));
}

/* Distances and beta are bounded by what is still finite, so that 0 times it is 0. */
static const REAL NAME(MOST) = (REAL)(REAL_BITS == 32 ? 0x1p126 : 0x1p1022);
