/* pack_p2r_t5x3_scalar.c - the definition.  Written to be read, not to be fast. */
#include "pack_p2r_t5x3.h"

/* As in gemv_s32_s8_t5x3_scalar.c. */
static uint32_t code(const uint8_t *bytes, size_t group)
{
    const uint32_t low0 = bytes[0] & 7, low1 = bytes[16] & 7, low2 = bytes[32] & 7,
                   low3 = bytes[48] & 7, low4 = bytes[64] & 7;
    switch (group) {
    case 5:  return low0 | (low1 >> 1) << 3;
    case 6:  return low2 | (low3 >> 1) << 3;
    case 7:  return low4 | (low1 & 1) << 3 | (low3 & 1) << 4;
    default: return bytes[16 * group] >> 3;
    }
}

/* One byte of a row of tiles, of the codes at its place in two rows of tiles. */
static uint32_t byte_of(size_t row_of_tiles, uint32_t first, uint32_t second)
{
    switch (row_of_tiles) {
    case 0:  return BITX_P2R_0_OF_0(first) | BITX_P2R_0_OF_1(second);
    case 1:  return BITX_P2R_1_OF_1(first) | BITX_P2R_1_OF_2(second);
    default: return BITX_P2R_2_OF_2(first) | BITX_P2R_2_OF_3(second);
    }
}

void bitx_pack_p2r_t5x3_scalar(uint8_t *restrict p2r, const uint8_t *restrict w, size_t tiles,
                               size_t k, size_t stride)
{
    for (size_t made = 0; made < 3; made++) {
        const uint8_t *const first = w + (made < tiles ? made : tiles - 1) * stride;
        const uint8_t *const second = w + (made + 1 < tiles ? made + 1 : tiles - 1) * stride;
        for (size_t i = 0; i < 4 * k; i++) {
            const size_t at = i / 128 * 80 + i % 16, group = i / 16 % 8;
            *p2r++ = (uint8_t)byte_of(made, code(first + at, group), code(second + at, group));
        }
    }
}
