/* gemv_f32_f32_f32_neon.c - Armv8.0-A: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_f32.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals */
#include <arm_neon.h>

typedef float element;

typedef struct eight {
    float32x4_t low, high;
} eight;

static inline eight load(const element *w)
{
    return (eight){vld1q_f32(w), vld1q_f32(w + 4)};
}

#include "../gemv_f32_f32_neon.def"

void bitx_gemv_f32_f32_f32_neon(float *restrict y, const float *restrict x, const float *restrict w,
                                size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}

#endif
