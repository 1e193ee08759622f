/* Vectors of REAL, VEC_BYTES wide, as GNU vector extensions give them. Included once per dtype.
 *
 * Arithmetic, comparison and shifts are the language's own operators; a * b + c is one FMA where the target has it.
 * What the language lacks is here. The only intrinsics are masked loads and stores and the square root.
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

/* The first n lanes, 0 < n <= LANES. */
#if defined(__AVX512F__) && VEC_BYTES == 64
typedef CAT(__mmask, MASK_BITS) NAME(mask);
INLINE NAME(mask) NAME(first)(ptrdiff_t n) { return (NAME(mask))((1u << n) - 1); }
INLINE VEC NAME(load_masked)(const REAL *p, NAME(mask) m) { return (VEC)X86(_mm512_maskz_loadu)(m, p); }
INLINE void NAME(store_masked)(REAL *p, NAME(mask) m, VEC v) { X86(_mm512_mask_storeu)(p, m, v); }
INLINE VEC NAME(sqrt)(VEC a) { return X86(_mm512_sqrt)(a); }
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
#endif

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
