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

static inline eight load(const element *w)
{
    const int16x8_t row = vmovl_s8(vld1_s8(w));
    return (eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(row))), vcvtq_f32_s32(vmovl_high_s16(row))};
}

#include "../gemv_f32_f32_neon.def"

void bitx_gemv_f32_f32_s8_neon(float *restrict y, const float *restrict x, const int8_t *restrict w,
                               size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}

#endif
