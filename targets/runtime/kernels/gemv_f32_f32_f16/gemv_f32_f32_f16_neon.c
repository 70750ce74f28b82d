/* gemv_f32_f32_f16_neon.c - Armv8.0-A: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_f16.h"

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
    const float16x8_t row = vreinterpretq_f16_u16(vld1q_u16(w));
    return (eight){vcvt_f32_f16(vget_low_f16(row)), vcvt_high_f32_f16(row)};
}

#include "../gemv_f32_f32_neon.def"

void bitx_gemv_f32_f32_f16_neon(float *restrict y, const float *restrict x,
                                const uint16_t *restrict w, size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}

#endif
