/* gemv_s32_s8_p16_neon.c - Advanced SIMD, Armv7-A and Armv8.0-A: 8 rows times 5 columns at a time.
 *
 * Needs no tables: digits fall off a byte one by one, floor(v / 3) being (171 v) >> 9.  Each is w +
 * 1, hence the sum of x is taken off.  11 * 128 * BLOCK / 5 < 2^15: no lane of int16 wraps.
 */
#include "gemv_s32_s8_p16.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

enum { BLOCK = 100 };

static inline uint8x8_t third(uint8x8_t v)
{
    return vshr_n_u8(vshrn_n_u16(vmull_u8(v, vdup_n_u8(171)), 8), 1);
}

static inline int16x8_t add_five(int16x8_t sum, uint8x8_t v, const int8_t *x)
{
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const uint8x8_t rest = third(v), digit = vmls_u8(v, rest, vdup_n_u8(3));
        sum = vmlal_s8(sum, vreinterpret_s8_u8(digit), vdup_n_s8(x[i]));
        v = rest;
    }
    return vmlal_s8(sum, vreinterpret_s8_u8(v), vdup_n_s8(x[4]));
}

/* At most BLOCK columns. */
static int16x8_t block_sums(const int8_t *x, const uint8_t *bytes, size_t k)
{
    int16x8_t sum = vdupq_n_s16(0);
    int8_t rest[5] = {0, 0, 0, 0, 0};

    for (; k >= 5; k -= 5, x += 5, bytes += 8)
        sum = add_five(sum, vld1_u8(bytes), x);
    if (k == 0) return sum;
    for (size_t i = 0; i < k; i++)
        rest[i] = x[i];
    return add_five(sum, vld1_u8(bytes), rest);
}

void bitx_gemv_s32_s8_p16_neon(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict tables, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    int32_t x_sum = 0;
    (void)tables;
    for (size_t i = 0; i < k; i++)
        x_sum += x[i];

    for (size_t row = 0; row < n; row += 8, y += 8, w += stride) {
        int32x4_t low = vsubq_s32(vld1q_s32(y), vdupq_n_s32(x_sum));
        int32x4_t high = vsubq_s32(vld1q_s32(y + 4), vdupq_n_s32(x_sum));
        for (size_t i = 0; i < k; i += BLOCK) {
            const size_t columns = k - i < BLOCK ? k - i : BLOCK;
            const int16x8_t sum = block_sums(x + i, w + i / 5 * 8, columns);
            low = vaddw_s16(low, vget_low_s16(sum));
            high = vaddw_s16(high, vget_high_s16(sum));
        }
        vst1q_s32(y, low);
        vst1q_s32(y + 4, high);
    }
}
