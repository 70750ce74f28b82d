/* gemv_s32_s8_t5x3_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_t5x3.h"

/* A lane and column of a tile have five bytes, 16 apart.  Five codes are the upper bits of one
 * byte each; the lower bits of all make three more. */
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

/* Digits are -1, 0 or 1; the last is 2 in the codes that no sound file has, 27 to 31. */
static void add_three_rows(int32_t sums[3], uint32_t three, int32_t x)
{
    sums[0] += ((int32_t)(three % 3) - 1) * x;
    sums[1] += ((int32_t)(three / 3 % 3) - 1) * x;
    sums[2] += ((int32_t)(three / 9) - 1) * x;
}

void bitx_gemv_s32_s8_t5x3_scalar(int32_t *restrict y, const int8_t *restrict x,
                                  const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row += 12, w += stride)
        for (size_t lane = 0; lane < 4; lane++) {
            int32_t sums[3] = {0};
            for (size_t column = 0; column < k; column++) {
                const uint8_t *bytes = w + column / 32 * 80 + lane * 4 + column % 4;
                add_three_rows(sums, code(bytes, column / 4 % 8), x[column]);
            }
            for (size_t field = 0; field < 3; field++)
                y[row + 4 * field + lane] = sums[field];
        }
}
