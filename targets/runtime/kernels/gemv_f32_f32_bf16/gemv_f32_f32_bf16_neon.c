/* gemv_f32_f32_bf16_neon.c - Armv8.0-A: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_bf16.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals */
#include <arm_neon.h>

typedef uint16_t element;

typedef struct eight {
    float32x4_t low, high;
} eight;

static inline eight load(const element *w)
{
    const uint16x8_t upper = vld1q_u16(w);
    return (eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(upper), 16)),
                   vreinterpretq_f32_u32(vshll_high_n_u16(upper, 16))};
}

#include "../gemv_f32_f32_neon.def"

void bitx_gemv_f32_f32_bf16_neon(float *restrict y, const float *restrict x,
                                 const uint16_t *restrict w, size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}

#endif
