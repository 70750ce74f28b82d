/* gemv_s32_s8_q4r_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_q4r.h"

/* The low half holds w + 8; the high half holds w in two's complement. */
static int32_t weight(uint8_t byte, size_t half)
{
    const int32_t code = byte >> (4 * half) & 15;
    if (half == 0) return code - 8;
    return code < 8 ? code : code - 16;
}

void bitx_gemv_s32_s8_q4r_scalar(int32_t *restrict y, const int8_t *restrict x,
                                 const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++) {
        const uint8_t *tiles = w + row / 8 * stride;
        const size_t half = row / 4 % 2, lane = row % 4;
        int32_t sum = 0;
        for (size_t column = 0; column < k; column++)
            sum += x[column] * weight(tiles[column / 4 * 16 + lane * 4 + column % 4], half);
        y[row] = sum;
    }
}
