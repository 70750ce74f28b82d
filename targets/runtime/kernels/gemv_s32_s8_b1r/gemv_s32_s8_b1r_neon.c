/* gemv_s32_s8_b1r_neon.c - Armv7-A and Armv8.0-A: widening multiplies, integers only. */
#include "gemv_s32_s8_b1r.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Lanes 0 and 1 in low, 2 and 3 in high, the columns of a tile beside each other. */
typedef struct narrow {
    int16x8_t low, high;
} narrow;
typedef struct wide {
    int32x4_t low, high;
} wide;

/* Of four neighbouring bits: the sum of x where it is set, times 1, 2, 4 and 8. */
typedef struct narrow_sums {
    narrow bit0, bit1, bit2, bit3;
} narrow_sums;
typedef struct wide_sums {
    wide bit0, bit1, bit2, bit3;
} wide_sums;

static inline narrow add_products(narrow sum, uint8x16_t bits, uint8_t mask, int8x16_t x)
{
    const int8x16_t code = vreinterpretq_s8_u8(vandq_u8(bits, vdupq_n_u8(mask)));
    return (narrow){vmlal_s8(sum.low, vget_low_s8(code), vget_low_s8(x)),
                    vmlal_s8(sum.high, vget_high_s8(code), vget_high_s8(x))};
}

static inline narrow_sums add_bits(narrow_sums sums, uint8x16_t bits, int32x4_t four_columns)
{
    const int8x16_t x = vreinterpretq_s8_s32(four_columns);
    sums.bit0 = add_products(sums.bit0, bits, 1, x);
    sums.bit1 = add_products(sums.bit1, bits, 2, x);
    sums.bit2 = add_products(sums.bit2, bits, 4, x);
    sums.bit3 = add_products(sums.bit3, bits, 8, x);
    return sums;
}

/* 32 tiles at most, or int16 would wrap: 32 * 8 * -128 = -2^15, 32 * 8 * 127 < 2^15. */
enum { BLOCK_COLUMNS = 4 * 32 };

/* Half a byte at a time, so that the sums of Armv7-A, too, stay in registers. */
#define DEFINE_ADD_TILES(name, half_of)                                                            \
    static narrow_sums name(const uint8_t *tiles, const int8_t *x, size_t columns)                 \
    {                                                                                              \
        const narrow zero = {vdupq_n_s16(0), vdupq_n_s16(0)};                                      \
        narrow_sums s = {zero, zero, zero, zero};                                                  \
        for (size_t i = 0; i < columns; i += 16, tiles += 64) {                                    \
            const int32x4_t x16 = vreinterpretq_s32_s8(vld1q_s8(x + i));                           \
            const int32x2_t left = vget_low_s32(x16), right = vget_high_s32(x16);                  \
            s = add_bits(s, half_of(vld1q_u8(tiles + 0)), vdupq_lane_s32(left, 0));                \
            s = add_bits(s, half_of(vld1q_u8(tiles + 16)), vdupq_lane_s32(left, 1));               \
            s = add_bits(s, half_of(vld1q_u8(tiles + 32)), vdupq_lane_s32(right, 0));              \
            s = add_bits(s, half_of(vld1q_u8(tiles + 48)), vdupq_lane_s32(right, 1));              \
        }                                                                                          \
        return s;                                                                                  \
    }
#define LOW_HALF(b)  (b)
#define HIGH_HALF(b) vshrq_n_u8(b, 4)
DEFINE_ADD_TILES(add_low_tiles, LOW_HALF)
DEFINE_ADD_TILES(add_high_tiles, HIGH_HALF)

static inline wide widen(wide sum, narrow block)
{
    return (wide){vpadalq_s16(sum.low, block.low), vpadalq_s16(sum.high, block.high)};
}

static inline wide_sums add_block(wide_sums sums, narrow_sums block)
{
    return (wide_sums){widen(sums.bit0, block.bit0), widen(sums.bit1, block.bit1),
                       widen(sums.bit2, block.bit2), widen(sums.bit3, block.bit3)};
}

/* Adds the two halves of each lane: element l is lane l. */
static inline int32x4_t lanes(wide sum)
{
    return vcombine_s32(vpadd_s32(vget_low_s32(sum.low), vget_high_s32(sum.low)),
                        vpadd_s32(vget_low_s32(sum.high), vget_high_s32(sum.high)));
}

/* y = 2 p - x_sum. */
static void store(int32_t *y, const wide_sums *sums, int32x4_t x_sum)
{
    vst1q_s32(y + 0, vsubq_s32(vshlq_n_s32(lanes(sums->bit0), 1), x_sum));
    vst1q_s32(y + 4, vsubq_s32(lanes(sums->bit1), x_sum));
    vst1q_s32(y + 8, vsubq_s32(vshrq_n_s32(lanes(sums->bit2), 1), x_sum));
    vst1q_s32(y + 12, vsubq_s32(vshrq_n_s32(lanes(sums->bit3), 2), x_sum));
}

static int32x4_t sum_of(const int8_t *x, size_t k)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += 16)
        sum = vpadalq_s16(sum, vpaddlq_s8(vld1q_s8(x + i)));
    const int32x2_t half = vadd_s32(vget_low_s32(sum), vget_high_s32(sum));
    const int32x2_t whole = vpadd_s32(half, half);
    return vcombine_s32(whole, whole);
}

void bitx_gemv_s32_s8_b1r_neon(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t x_sum = sum_of(x, k);
    const wide zero = {vdupq_n_s32(0), vdupq_n_s32(0)};

    for (size_t row = 0; row < n; row += 32) {
        const uint8_t *tiles = w + row / 32 * stride;
        wide_sums low = {zero, zero, zero, zero}, high = low;
        for (size_t i = 0; i < k; i += BLOCK_COLUMNS) {
            const size_t left = k - i, columns = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
            low = add_block(low, add_low_tiles(tiles + 4 * i, x + i, columns));
            high = add_block(high, add_high_tiles(tiles + 4 * i, x + i, columns));
        }
        store(y + row, &low, x_sum);
        store(y + row + 16, &high, x_sum);
    }
}
