/* The table of one dtype, of the kernels that NAME(x) names. Included once per dtype, inside of the array of tables. */
{
    .isa = STR(ISA), .itemsize = sizeof(REAL), .lanes = VEC_BYTES / sizeof(REAL), .depth = NAME(BLOCK_DEPTH), .far = 16 * TILE_VECTORS * VEC_BYTES,
    .activate = {
#define UNIT(name, forward, backward) [name] = NAME(forward),
#include "names.def"
    },
    .derivative = {
#define UNIT(name, forward, backward) [name] = NAME(backward),
#include "names.def"
    },
#define KERNEL(type, name, arguments) .name = NAME(name),
#define KERNEL_BY_UNIT(type, name, arguments)
#include "kernels.def"
},
