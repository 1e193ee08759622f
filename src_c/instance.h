/* All kernels of one dtype, written in REAL and VEC. Included once per dtype; kernels.def has the contracts. */
#include "simd.h"

#include "functions.h"

#include "kernels/reduce.h"
#include "kernels/move.h"
#include "kernels/product.h"
#include "kernels/nonzeros.h"
#include "kernels/image.h"

#include "ops/activation.h"
#include "ops/scale.h"
#include "ops/norm.h"
#include "ops/weight_norm.h"
#include "ops/sparse.h"
#include "ops/bins.h"
#include "ops/rbf.h"
#include "ops/embed.h"
#include "ops/loss.h"
#include "ops/optimizer.h"
#include "ops/noise.h"
#include "ops/chain.h"
#include "ops/narrow.h"
#include "ops/online.h"

#undef MANTISSA
#undef BIAS
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_MIN
#undef EXP_MAX
#undef EXP_TERMS
#undef TANH_ONE
#undef SQRT_HALF_BITS
#undef SMALLEST
#undef SMALLEST_ROOT
#undef LOG_TERMS
#undef HALF_PI
#undef NEAR
#undef SIN_TERMS
#undef FOR_EACH_RULE
#undef PART
