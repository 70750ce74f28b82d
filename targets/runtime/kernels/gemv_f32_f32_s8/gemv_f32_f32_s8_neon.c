/* gemv_f32_f32_s8_neon.c - Armv8.0-A: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_s8.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals */
#include <arm_neon.h>

typedef int8_t element;

typedef struct eight {
    float32x4_t low, high;
} eight;

/* A code in the upper byte of a number has 24 bits behind the point; place 16 holds 0. */
static inline eight load(const element *w)
{
    const uint8x16_t first = {16, 16, 16, 0, 16, 16, 16, 1, 16, 16, 16, 2, 16, 16, 16, 3};
    const uint8x16_t last = {16, 16, 16, 4, 16, 16, 16, 5, 16, 16, 16, 6, 16, 16, 16, 7};
    const int8x16_t codes = vcombine_s8(vld1_s8(w), vdup_n_s8(0));
    return (eight){vcvtq_n_f32_s32(vreinterpretq_s32_s8(vqtbl1q_s8(codes, first)), 24),
                   vcvtq_n_f32_s32(vreinterpretq_s32_s8(vqtbl1q_s8(codes, last)), 24)};
}

#include "../gemv_f32_f32_neon.def"

void bitx_gemv_f32_f32_s8_neon(float *restrict y, const float *restrict x, const int8_t *restrict w,
                               size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}

#endif
