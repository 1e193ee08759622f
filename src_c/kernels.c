/* The kernels of one instruction set: this file is compiled once for each, with its compiler flags and -DISA=name
 * -DVEC_BYTES=width. Everything but the table is static, so that the linker cannot merge code of two variants. */
#include "kernels.h"

#include <math.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define STR_(a) #a
#define STR(a) STR_(a)
#define INLINE static inline __attribute__((always_inline))

/* Vectors in a row of the register tile, of six rows: 6 x 4 sums want 32 registers, 6 x 2 fit 16. Three vectors have as many
 * rows as fit. A row by itself is computed in strips of ROW_VECTORS, which are fastest; but a row in one strip, of up to
 * LAST_VECTORS, is faster still. */
#define ROW_VECTORS 8
#if defined(__AVX512F__) || defined(__aarch64__)
#define ROWS_OF_THREE 8
#define TILE_VECTORS 4
#define MOST_VECTORS 4
#define LAST_VECTORS 16
#else
#define ROWS_OF_THREE 4
#define TILE_VECTORS 2
#define MOST_VECTORS 3 /* in a column of their own when that leaves no single vector, whose few sums would wait for each other */
#define LAST_VECTORS 13
#endif

/* ---- random words, the same for all instruction sets ------------------------------------------------------------- */

/* Threefry-2x32 with 13 rounds: a keyed bijection of pairs of words whose values at successive counters pass TestU01's
 * BigCrush (J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). x0 and x1 are words or vectors. */
#define THREEFRY(k0, k1, x0, x1) \
    do { \
        const uint32_t schedule[3] = {k0, k1, 0x1BD11BDA ^ (k0) ^ (k1)}; \
        x0 += schedule[0], x1 += schedule[1]; \
        ROUND(x0, x1, 13) ROUND(x0, x1, 15) ROUND(x0, x1, 26) ROUND(x0, x1, 6) \
        x0 += schedule[1], x1 += schedule[2] + 1; \
        ROUND(x0, x1, 17) ROUND(x0, x1, 29) ROUND(x0, x1, 16) ROUND(x0, x1, 24) \
        x0 += schedule[2], x1 += schedule[0] + 2; \
        ROUND(x0, x1, 13) ROUND(x0, x1, 15) ROUND(x0, x1, 26) ROUND(x0, x1, 6) \
        x0 += schedule[0], x1 += schedule[1] + 3; \
        ROUND(x0, x1, 17) \
    } while (0)
#define ROUND(x0, x1, r) x0 += x1, x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0;

typedef uint32_t words __attribute__((vector_size(VEC_BYTES)));
enum { BLOCK_WORDS = 32, WORD_LANES = VEC_BYTES / 4 };

/* The key of a row: Threefry of (step, row) with the seed as its key. */
INLINE void row_key(const Counter *c, uint32_t key[2])
{
    key[0] = c->step, key[1] = c->row;
    THREEFRY(c->seed[0], c->seed[1], key[0], key[1]);
}

/* Words 32 block .. 32 block + 31 of a row and stream: of Threefry of (16 block + i, stream), i = 0..15, with the row's
 * key, first the sixteen first words, then the sixteen second ones. */
INLINE void random_words(const uint32_t key[2], uint32_t stream, ptrdiff_t block, uint32_t out[BLOCK_WORDS])
{
    static const uint32_t ramp[BLOCK_WORDS / 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; i < BLOCK_WORDS / 2; i += WORD_LANES) {
        words x0, x1 = stream - (words){0};
        memcpy(&x0, ramp + i, sizeof x0);
        x0 += (uint32_t)block * (BLOCK_WORDS / 2);
        THREEFRY(key[0], key[1], x0, x1);
        memcpy(out + i, &x0, sizeof x0);
        memcpy(out + BLOCK_WORDS / 2 + i, &x1, sizeof x1);
    }
}

#define REAL float
#define REAL_BITS 32
#define INT int32_t
#define INT_MAX_OF INT32_MAX
#define MASK_BITS 16
#define NAME(x) x##_f32
#define VEC vec_f32
#define IVEC ivec_f32
#define X86(f) f##_ps
#define SCALAR_SQRT sqrtf
#include "kernels_impl.h"
#undef REAL
#undef REAL_BITS
#undef INT
#undef INT_MAX_OF
#undef MASK_BITS
#undef NAME
#undef VEC
#undef IVEC
#undef X86
#undef SCALAR_SQRT
#undef LANES
#undef SHUFFLE
#undef ZIP_LOW
#undef ZIP_HIGH

#define REAL double
#define REAL_BITS 64
#define INT int64_t
#define INT_MAX_OF INT64_MAX
#define MASK_BITS 8
#define NAME(x) x##_f64
#define VEC vec_f64
#define IVEC ivec_f64
#define X86(f) f##_pd
#define SCALAR_SQRT sqrt
#include "kernels_impl.h"
#undef REAL
#undef NAME

const Kernels CAT(fastbp_kernels_, ISA)[2] = {
#define REAL float
#define NAME(x) x##_f32
#include "table.h"
#undef REAL
#undef NAME
#define REAL double
#define NAME(x) x##_f64
#include "table.h"
};
