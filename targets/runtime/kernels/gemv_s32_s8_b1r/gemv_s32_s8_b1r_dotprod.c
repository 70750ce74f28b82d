/* gemv_s32_s8_b1r_dotprod.c - Armv8.2-A with FEAT_DotProd: 32 rows and 16 columns at a time.
 *
 * Multiplies prefixes of a byte and subtracts: b & 7 less b & 3 is bit 2, times 4.  A prefix is in
 * [0, 127], the whole byte, signed, in [-128, 127]; 128 * 128 * k < 2^31, so no sum wraps.
 */
#include "gemv_s32_s8_b1r.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Element f: sums over the prefix of f + 1 bits, lane l in element l. */
typedef struct prefix_sums {
    int32x4_t of[8];
} prefix_sums;

/* The lane must be a literal. */
#define ADD_PREFIX(sums, b, x, lane, f)                                                            \
    (sums).of[f] = vdotq_laneq_s32(                                                                \
        (sums).of[f], vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8((2 << (f)) - 1))), x, lane)

/* One tile times columns 4 * lane to 4 * lane + 3 of x. */
#define ADD_TILE(sums, tile, x, lane)                                                              \
    do {                                                                                           \
        const uint8x16_t b = vld1q_u8((tile) + 16 * (lane));                                       \
        ADD_PREFIX(sums, b, x, lane, 0);                                                           \
        ADD_PREFIX(sums, b, x, lane, 1);                                                           \
        ADD_PREFIX(sums, b, x, lane, 2);                                                           \
        ADD_PREFIX(sums, b, x, lane, 3);                                                           \
        ADD_PREFIX(sums, b, x, lane, 4);                                                           \
        ADD_PREFIX(sums, b, x, lane, 5);                                                           \
        ADD_PREFIX(sums, b, x, lane, 6);                                                           \
        (sums).of[7] = vdotq_laneq_s32((sums).of[7], vreinterpretq_s8_u8(b), x, lane);             \
    } while (0)

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += 16)
        sum = vdotq_s32(sum, vld1q_s8(x + i), vdupq_n_s8(1));
    return vaddvq_s32(sum);
}

/* y = 2 p - x_sum, where `difference` is p << bit. */
#define STORE(y, difference, bit, x_sum)                                                           \
    vst1q_s32((y) + 4 * (bit), vsubq_s32(vshrq_n_s32(difference, (bit) - 1), x_sum))

static void store(int32_t *y, const prefix_sums *sums, int32x4_t x_sum)
{
    const int32x4_t *of = sums->of;
    vst1q_s32(y, vsubq_s32(vaddq_s32(of[0], of[0]), x_sum));
    vst1q_s32(y + 4, vsubq_s32(vsubq_s32(of[1], of[0]), x_sum));
    STORE(y, vsubq_s32(of[2], of[1]), 2, x_sum);
    STORE(y, vsubq_s32(of[3], of[2]), 3, x_sum);
    STORE(y, vsubq_s32(of[4], of[3]), 4, x_sum);
    STORE(y, vsubq_s32(of[5], of[4]), 5, x_sum);
    STORE(y, vsubq_s32(of[6], of[5]), 6, x_sum);
    STORE(y, vsubq_s32(of[6], of[7]), 7, x_sum); /* the sign bit counts -128 */
}

void bitx_gemv_s32_s8_b1r_dotprod(int32_t *restrict y, const int8_t *restrict x,
                                  const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t x_sum = vdupq_n_s32(sum_of(x, k)), zero = vdupq_n_s32(0);

    for (size_t row = 0; row < n; row += 32) {
        const uint8_t *tiles = w + row / 32 * stride;
        prefix_sums sums = {{zero, zero, zero, zero, zero, zero, zero, zero}};
        for (size_t i = 0; i < k; i += 16, tiles += 64) {
            const int8x16_t x16 = vld1q_s8(x + i);
            ADD_TILE(sums, tiles, x16, 0);
            ADD_TILE(sums, tiles, x16, 1);
            ADD_TILE(sums, tiles, x16, 2);
            ADD_TILE(sums, tiles, x16, 3);
        }
        store(y + row, &sums, x_sum);
    }
}
