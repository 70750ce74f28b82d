/* gemv_s32_s8_s8_neon.c - Armv7-A and Armv8.0-A: widening multiplies. */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Two products of -128 by -128 pass int16, so each is widened by itself. */
static inline int32x4_t add_products(int32x4_t sum, int8x16_t a, int8x16_t b)
{
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vpadalq_s16(sum, vmull_s8(vget_high_s8(a), vget_high_s8(b)));
}

static int32_t add_across(int32x4_t v)
{
    const int32x2_t halves = vadd_s32(vget_low_s32(v), vget_high_s32(v));
    return vget_lane_s32(vpadd_s32(halves, halves), 0);
}

void bitx_gemv_s32_s8_s8_neon(int32_t *restrict y, const int8_t *restrict x,
                              const int8_t *restrict w, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, w += k) {
        int32x4_t sums = vdupq_n_s32(0);
        size_t i = 0;
        for (; i + 16 <= k; i += 16)
            sums = add_products(sums, vld1q_s8(x + i), vld1q_s8(w + i));
        int32_t sum = add_across(sums);
        for (; i < k; i++)
            sum += x[i] * w[i];
        y[row] = sum;
    }
}
