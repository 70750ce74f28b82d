/* gemv_s32_s8_p2r_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_p2r.h"

/* Fields 0 to 2 hold w + 1; field 3 holds w in two's complement. */
static int32_t weight(uint8_t byte, size_t field)
{
    const int32_t code = byte >> (2 * field) & 3;
    if (field < 3) return code - 1;
    return code < 2 ? code : code - 4;
}

void bitx_gemv_s32_s8_p2r_scalar(int32_t *restrict y, const int8_t *restrict x,
                                 const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++) {
        const uint8_t *tiles = w + row / 16 * stride;
        const size_t field = row / 4 % 4, lane = row % 4;
        int32_t sum = 0;
        for (size_t column = 0; column < k; column++)
            sum += x[column] * weight(tiles[column / 4 * 16 + lane * 4 + column % 4], field);
        y[row] = sum;
    }
}
