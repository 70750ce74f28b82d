/* gemv_s32_s8_p2r_dotprod.c - Armv8.2-A with FEAT_DotProd: 32 rows and 16 columns at a time. */
#include "gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Sums over the prefixes of 2, 4, 6 and 8 bits, lane l in element l. */
typedef struct prefix_sums {
    int32x4_t bits2, bits4, bits6, bits8;
} prefix_sums;

/* One tile times columns 4 * lane to 4 * lane + 3 of x; the lane must be a literal. */
#define ADD_TILE(sums, tile, x, lane)                                                              \
    do {                                                                                           \
        const uint8x16_t b = vld1q_u8((tile) + 16 * (lane));                                       \
        const int8x16_t b2 = vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8(3)));                      \
        const int8x16_t b4 = vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8(15)));                     \
        const int8x16_t b6 = vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8(63)));                     \
        (sums).bits2 = vdotq_laneq_s32((sums).bits2, b2, x, lane);                                 \
        (sums).bits4 = vdotq_laneq_s32((sums).bits4, b4, x, lane);                                 \
        (sums).bits6 = vdotq_laneq_s32((sums).bits6, b6, x, lane);                                 \
        (sums).bits8 = vdotq_laneq_s32((sums).bits8, vreinterpretq_s8_u8(b), x, lane);             \
    } while (0)

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += 16)
        sum = vdotq_s32(sum, vld1q_s8(x + i), vdupq_n_s8(1));
    return vaddvq_s32(sum);
}

static void store(int32_t *y, prefix_sums sums, int32x4_t x_sum)
{
    const int32x4_t field1 = vshrq_n_s32(vsubq_s32(sums.bits4, sums.bits2), 2);
    const int32x4_t field2 = vshrq_n_s32(vsubq_s32(sums.bits6, sums.bits4), 4);
    const int32x4_t field3 = vshrq_n_s32(vsubq_s32(sums.bits8, sums.bits6), 6);
    vst1q_s32(y + 0, vsubq_s32(sums.bits2, x_sum));
    vst1q_s32(y + 4, vsubq_s32(field1, x_sum));
    vst1q_s32(y + 8, vsubq_s32(field2, x_sum));
    vst1q_s32(y + 12, field3);
}

void bitx_gemv_s32_s8_p2r_dotprod(int32_t *restrict y, const int8_t *restrict x,
                                  const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t x_sum = vdupq_n_s32(sum_of(x, k)), zero = vdupq_n_s32(0);

    for (size_t row = 0; row < n; row += 32) {
        const int has_second = row + 16 < n; /* else the first is computed twice */
        const uint8_t *first = w + row / 16 * stride;
        const uint8_t *second = has_second ? first + stride : first;
        prefix_sums upper = {zero, zero, zero, zero}, lower = upper;
        for (size_t i = 0; i < k; i += 16, first += 64, second += 64) {
            const int8x16_t x16 = vld1q_s8(x + i);
            ADD_TILE(upper, first, x16, 0);
            ADD_TILE(lower, second, x16, 0);
            ADD_TILE(upper, first, x16, 1);
            ADD_TILE(lower, second, x16, 1);
            ADD_TILE(upper, first, x16, 2);
            ADD_TILE(lower, second, x16, 2);
            ADD_TILE(upper, first, x16, 3);
            ADD_TILE(lower, second, x16, 3);
        }
        store(y + row, upper, x_sum);
        if (has_second) store(y + row + 16, lower, x_sum);
    }
}
