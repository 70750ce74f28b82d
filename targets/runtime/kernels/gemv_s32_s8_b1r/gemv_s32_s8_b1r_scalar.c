/* gemv_s32_s8_b1r_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_b1r.h"

void bitx_gemv_s32_s8_b1r_scalar(int32_t *restrict y, const int8_t *restrict x,
                                 const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++) {
        const uint8_t *tiles = w + row / 32 * stride;
        const size_t bit = row / 4 % 8, lane = row % 4;
        int32_t sum = 0;
        for (size_t column = 0; column < k; column++) {
            const uint8_t byte = tiles[column / 4 * 16 + lane * 4 + column % 4];
            sum += byte >> bit & 1 ? x[column] : -x[column];
        }
        y[row] = sum;
    }
}
