/* gemv_s32_s8_q4r_neon.c - Armv7-A and Armv8.0-A: widening multiplies, integers only. */
#include "gemv_s32_s8_q4r.h"

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

/* Of the low half of a byte, unsigned, and of its high half, signed. */
typedef struct narrow_sums {
    narrow bottom, top;
} narrow_sums;
typedef struct wide_sums {
    wide bottom, top;
} wide_sums;

static inline narrow add_products(narrow sum, int8x16_t a, int8x16_t b)
{
    return (narrow){vmlal_s8(sum.low, vget_low_s8(a), vget_low_s8(b)),
                    vmlal_s8(sum.high, vget_high_s8(a), vget_high_s8(b))};
}

static inline narrow_sums add_tile(narrow_sums sums, const uint8_t *tile, int32x4_t four_columns)
{
    const int8x16_t x = vreinterpretq_s8_s32(four_columns);
    const uint8x16_t b = vld1q_u8(tile);
    const int8x16_t bottom = vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8(15)));
    sums.bottom = add_products(sums.bottom, bottom, x);
    sums.top = add_products(sums.top, vshrq_n_s8(vreinterpretq_s8_u8(b), 4), x);
    return sums;
}

/* 16 tiles at most, or int16 would wrap: 16 * 15 * 128 < 2^15. */
enum { BLOCK_COLUMNS = 4 * 16 };

static narrow_sums add_tiles(const uint8_t *tiles, const int8_t *x, size_t columns)
{
    const narrow zero = {vdupq_n_s16(0), vdupq_n_s16(0)};
    narrow_sums sums = {zero, zero};
    for (size_t i = 0; i < columns; i += 16, tiles += 64) {
        const int32x4_t x16 = vreinterpretq_s32_s8(vld1q_s8(x + i));
        sums = add_tile(sums, tiles + 0, vdupq_lane_s32(vget_low_s32(x16), 0));
        sums = add_tile(sums, tiles + 16, vdupq_lane_s32(vget_low_s32(x16), 1));
        sums = add_tile(sums, tiles + 32, vdupq_lane_s32(vget_high_s32(x16), 0));
        sums = add_tile(sums, tiles + 48, vdupq_lane_s32(vget_high_s32(x16), 1));
    }
    return sums;
}

static inline wide widen(wide sum, narrow block)
{
    return (wide){vpadalq_s16(sum.low, block.low), vpadalq_s16(sum.high, block.high)};
}

/* Adds the two halves of each lane: element l is lane l. */
static inline int32x4_t lanes(wide sum)
{
    return vcombine_s32(vpadd_s32(vget_low_s32(sum.low), vget_high_s32(sum.low)),
                        vpadd_s32(vget_low_s32(sum.high), vget_high_s32(sum.high)));
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

void bitx_gemv_s32_s8_q4r_neon(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t eight_x_sum = vshlq_n_s32(sum_of(x, k), 3);
    const wide zero = {vdupq_n_s32(0), vdupq_n_s32(0)};

    for (size_t row = 0; row < n; row += 8) {
        const uint8_t *tiles = w + row / 8 * stride;
        wide_sums sums = {zero, zero};
        for (size_t i = 0; i < k; i += BLOCK_COLUMNS) {
            const size_t left = k - i, columns = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
            const narrow_sums block = add_tiles(tiles + 4 * i, x + i, columns);
            sums.bottom = widen(sums.bottom, block.bottom);
            sums.top = widen(sums.top, block.top);
        }
        vst1q_s32(y + row, vsubq_s32(lanes(sums.bottom), eight_x_sum));
        vst1q_s32(y + row + 4, lanes(sums.top));
    }
}
