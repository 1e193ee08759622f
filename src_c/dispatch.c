/* Which instruction sets were built, and which of them this processor has (setup.py defines HAVE_<ISA> for each); and the names
 * of what is in the tables. */
#include "kernels.h"

#include <string.h>

extern const Kernels fastbp_kernels_baseline[2];
#ifdef HAVE_AVX2
extern const Kernels fastbp_kernels_avx2[2];
#endif
#ifdef HAVE_AVX512
extern const Kernels fastbp_kernels_avx512[2];
#endif

const char *const fastbp_isas_built[] = {
    "baseline",
#ifdef HAVE_AVX2
    "avx2",
#endif
#ifdef HAVE_AVX512
    "avx512",
#endif
    NULL,
};

#define UNIT(name, forward, backward) #name,
const char *const fastbp_units[] = {
#include "names.def"
    NULL,
};
#define LOSS(name) #name,
const char *const fastbp_losses[] = {
#include "names.def"
    NULL,
};
#define RULE(name, n_states) #name,
const char *const fastbp_rules[] = {
#include "names.def"
    NULL,
};
#define ROLE(name) #name,
const char *const fastbp_roles[] = {
#include "names.def"
    NULL,
};
#define RULE(name, n_states) n_states,
const size_t fastbp_rule_states[] = {
#include "names.def"
};
#define STRUCT(name) #name,
const char *const fastbp_structs[] = {
#include "names.def"
    NULL,
};
#define STRUCT(name) sizeof(name),
const size_t fastbp_struct_sizes[] = {
#include "names.def"
};
const char *const fastbp_signatures[] = {
#define KERNEL(type, name, arguments) #type " " #name #arguments,
#define KERNEL_BY_UNIT(type, name, arguments) #type " " #name "[]" #arguments,
#include "kernels.def"
    NULL,
};

const Kernels *fastbp_kernels(const char *isa)
{
    const Kernels *best = fastbp_kernels_baseline;
    if (isa && !strcmp(isa, "baseline"))
        return best;
#ifdef HAVE_AVX2
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2)
        best = fastbp_kernels_avx2;
    if (isa && !strcmp(isa, "avx2"))
        return avx2 ? fastbp_kernels_avx2 : NULL;
#endif
#ifdef HAVE_AVX512
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (avx512)
        best = fastbp_kernels_avx512;
    if (isa && !strcmp(isa, "avx512"))
        return avx512 ? fastbp_kernels_avx512 : NULL;
#endif
    return isa ? NULL : best;
}
