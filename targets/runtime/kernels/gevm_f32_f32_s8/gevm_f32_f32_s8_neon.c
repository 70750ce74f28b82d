/* gevm_f32_f32_s8_neon.c - Armv8.0-A: 32 columns at a time. */
#include "gevm_f32_f32_s8.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals */
#include <arm_neon.h>

#include "../eight_codes_neon.def"

#include "../gevm_f32_f32_neon.def"

void bitx_gevm_f32_f32_s8_neon(float *restrict y, const float *restrict x, const int8_t *restrict w,
                               size_t n, size_t k, size_t stride)
{
    gevm(y, x, w, n, k, stride);
}

#endif
