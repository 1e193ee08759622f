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
#define FEW_ROWS 3
#define FEW_VECTORS 8
#else
#define ROWS_OF_THREE 4
#define TILE_VECTORS 2
#define MOST_VECTORS 3 /* in a column of their own when that leaves no single vector, whose few sums would wait for each other */
#define LAST_VECTORS 13
#define FEW_ROWS 3
#define FEW_VECTORS 4
#endif

#include "kernels/random.h"

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
#define SCALAR_FMA __builtin_fmaf
#include "instance.h"
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
#undef SCALAR_FMA
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
#define SCALAR_FMA __builtin_fma
#include "instance.h"
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
