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

/* Vectors in a row of the register tile: 6 x 4 accumulators want 32 registers, 6 x 2 fit 16. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define TILE_VECTORS 4
#else
#define TILE_VECTORS 2
#endif

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

#define ACTIVATE(unit, name, suffix) [unit] = name##_##suffix,
#define DERIVATIVE(unit, name, suffix) [unit] = name##_derivative_##suffix,
#define UNITS(entry, suffix) \
    entry(IDENTITY, identity, suffix) entry(LOGISTIC, logistic, suffix) entry(TANH, tanh, suffix) \
    entry(RELU, relu, suffix) entry(HARD_TANH, hard_tanh, suffix) entry(LEAKY_RELU, leaky_relu, suffix) \
    entry(STEP, step, suffix) entry(SOFTPLUS, softplus, suffix) entry(ELU, elu, suffix) entry(SELU, selu, suffix)
#define KERNELS(suffix, type) \
    { \
        .isa = STR(ISA), .itemsize = sizeof(type), .lanes = VEC_BYTES / sizeof(type), \
        .matmul = matmul_##suffix, .pack = pack_##suffix, .unpack = unpack_##suffix, .transpose = transpose_##suffix, \
        .fill_rows = fill_rows_##suffix, .column_sums = column_sums_##suffix, .gather = gather_##suffix, \
        .csr_matmul = csr_matmul_##suffix, .csr_gradient = csr_gradient_##suffix, \
        .activate = {UNITS(ACTIVATE, suffix) [GELU] = gelu_##suffix, [SILU] = silu_##suffix, [EXP] = exp_##suffix}, \
        .derivative = {UNITS(DERIVATIVE, suffix) [GELU] = kept_derivative_##suffix, [SILU] = kept_derivative_##suffix}, \
        .softmax = softmax_##suffix, .loss = loss_##suffix, .squared_norm = squared_norm_##suffix, \
        .update = update_##suffix, .bound_columns = bound_columns_##suffix, \
    }

const Kernels CAT(fastbp_kernels_, ISA)[2] = {KERNELS(f32, float), KERNELS(f64, double)};
