/* Vectors of REAL, VEC_BYTES wide, as GNU vector extensions give them. Included once per dtype.
 *
 * Arithmetic, comparison and shifts are the language's own operators; a * b + c is one FMA where the target has it.
 * What the language lacks is here. The only intrinsics are masked loads and stores, the square root, the maximum, the compression, and
 * whether any lane is set. at_least leaves a NaN what it is.
 */
typedef REAL VEC __attribute__((vector_size(VEC_BYTES)));
typedef INT IVEC __attribute__((vector_size(VEC_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(VEC_BYTES), aligned(sizeof(REAL)), may_alias));

#define LANES ((ptrdiff_t)(VEC_BYTES / sizeof(REAL)))

INLINE VEC NAME(load)(const REAL *p) { return *(const NAME(unaligned) *)p; }
INLINE void NAME(store)(REAL *p, VEC v) { *(NAME(unaligned) *)p = v; }
/* s - 0 and not s + 0, which would turn -0 into +0 and cost an addition */
INLINE VEC NAME(broadcast)(REAL s) { return s - (VEC){0}; }
INLINE VEC NAME(select)(IVEC mask, VEC a, VEC b) { return (VEC)((mask & (IVEC)a) | (~mask & (IVEC)b)); }
INLINE VEC NAME(abs)(VEC a) { return (VEC)((IVEC)a & INT_MAX_OF); }

/* The elements of a and b in turn, from their lower and from their upper halves: a0 b0 a1 b1 ... */
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (IVEC){__VA_ARGS__})
#endif
#if VEC_BYTES * 8 / REAL_BITS == 2
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 2)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 3)
#elif VEC_BYTES * 8 / REAL_BITS == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#elif VEC_BYTES * 8 / REAL_BITS == 8
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#endif

/* The first n lanes, 0 < n <= LANES. */
#if defined(__AVX512F__) && VEC_BYTES == 64
typedef CAT(__mmask, MASK_BITS) NAME(mask);
INLINE NAME(mask) NAME(first)(ptrdiff_t n) { return (NAME(mask))((1u << n) - 1); }
INLINE VEC NAME(load_masked)(const REAL *p, NAME(mask) m) { return (VEC)X86(_mm512_maskz_loadu)(m, p); }
INLINE void NAME(store_masked)(REAL *p, NAME(mask) m, VEC v) { X86(_mm512_mask_storeu)(p, m, v); }
INLINE VEC NAME(sqrt)(VEC a) { return X86(_mm512_sqrt)(a); }
INLINE VEC NAME(at_least)(REAL low, VEC a) { return X86(_mm512_max)(NAME(broadcast)(low), a); }
#elif defined(__AVX2__) && VEC_BYTES == 32
typedef __m256i NAME(mask);
INLINE NAME(mask) NAME(first)(ptrdiff_t n)
{
    static const INT edge[2 * VEC_BYTES / sizeof(INT)] = {
        -1, -1, -1, -1,
#if REAL_BITS == 32
        -1, -1, -1, -1,
#endif
    };
    return _mm256_loadu_si256((const __m256i *)(edge + LANES - n));
}
INLINE VEC NAME(load_masked)(const REAL *p, NAME(mask) m) { return (VEC)X86(_mm256_maskload)(p, m); }
INLINE void NAME(store_masked)(REAL *p, NAME(mask) m, VEC v) { X86(_mm256_maskstore)(p, m, v); }
INLINE VEC NAME(sqrt)(VEC a) { return X86(_mm256_sqrt)(a); }
INLINE VEC NAME(at_least)(REAL low, VEC a) { return X86(_mm256_max)(NAME(broadcast)(low), a); }
#else
typedef ptrdiff_t NAME(mask);
INLINE NAME(mask) NAME(first)(ptrdiff_t n) { return n; }
INLINE VEC NAME(load_masked)(const REAL *p, NAME(mask) m)
{
    VEC v = {0};
    for (ptrdiff_t i = 0; i < m; i++)
        v[i] = p[i];
    return v;
}
INLINE void NAME(store_masked)(REAL *p, NAME(mask) m, VEC v)
{
    for (ptrdiff_t i = 0; i < m; i++)
        p[i] = v[i];
}
INLINE VEC NAME(sqrt)(VEC a)
{
    for (ptrdiff_t i = 0; i < LANES; i++)
        a[i] = SCALAR_SQRT(a[i]);
    return a;
}
INLINE VEC NAME(at_least)(REAL low, VEC a) { return NAME(select)(a < low, NAME(broadcast)(low), a); }
#endif

/* Whether any lane of the result of a comparison is set. */
INLINE int NAME(any)(IVEC mask)
{
#if defined(__AVX512F__) && VEC_BYTES == 64
    return CAT(X86(_mm512_cmp), _mask)((VEC)mask, (VEC)mask, _CMP_UNORD_Q) != 0; /* all bits set are a NaN */
#elif defined(__AVX2__) && VEC_BYTES == 32
    return X86(_mm256_movemask)((VEC)mask) != 0;
#elif defined(__SSE2__) && VEC_BYTES == 16
    return X86(_mm_movemask)((VEC)mask) != 0;
#else
    INT found = 0;
    for (ptrdiff_t i = 0; i < LANES; i++)
        found |= mask[i];
    return found != 0;
#endif
}

/* Write the lanes of a other than 0 to values, and first + lane to columns; returns how many there are. What follows them, up to
 * LANES elements, is overwritten. */
INLINE ptrdiff_t NAME(compress)(VEC a, ptrdiff_t first, REAL *values, int32_t *columns)
{
#if defined(__AVX512F__) && VEC_BYTES == 64
    const NAME(mask) mask = CAT(X86(_mm512_cmp), _mask)(a, (VEC){0}, _CMP_NEQ_UQ);
    const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i numbers = _mm512_maskz_compress_epi32(mask, _mm512_add_epi32(ramp, _mm512_set1_epi32((int)first)));
    X86(_mm512_storeu)(values, X86(_mm512_maskz_compress)(mask, a));
#if REAL_BITS == 32
    _mm512_storeu_si512(columns, numbers);
#else
    _mm256_storeu_si256((__m256i *)columns, _mm512_castsi512_si256(numbers));
#endif
    return __builtin_popcount(mask);
#else
#if defined(__AVX2__) && VEC_BYTES == 32
    unsigned bits = (unsigned)X86(_mm256_movemask)((VEC)(a != 0));
#elif defined(__SSE2__) && VEC_BYTES == 16
    unsigned bits = (unsigned)X86(_mm_movemask)((VEC)(a != 0));
#else
    unsigned bits = 0;
    for (ptrdiff_t i = 0; i < LANES; i++)
        bits |= (unsigned)(a[i] != 0) << i;
#endif
    ptrdiff_t found = 0;
    for (; bits; bits &= bits - 1, found++) {
        const int lane = __builtin_ctz(bits);
        columns[found] = (int32_t)(first + lane);
        values[found] = a[lane];
    }
    return found;
#endif
}

/* a * b + c, rounded as those of vectors are; a compiler may add up products of scalars in another way. */
INLINE REAL NAME(multiply_add)(REAL a, REAL b, REAL c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return SCALAR_FMA(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE REAL NAME(sum)(VEC v)
{
    REAL s = 0;
    for (ptrdiff_t i = 0; i < LANES; i++)
        s += v[i];
    return s;
}
INLINE REAL NAME(largest)(VEC v)
{
    REAL s = v[0];
    for (ptrdiff_t i = 1; i < LANES; i++)
        s = v[i] > s ? v[i] : s;
    return s;
}
