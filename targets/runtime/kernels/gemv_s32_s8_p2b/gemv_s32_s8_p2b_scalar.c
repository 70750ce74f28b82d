/* gemv_s32_s8_p2b_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_p2b.h"

/* Index `group` of a tile: of its three bytes of one row, 16 apart. */
static uint32_t index_of(const uint8_t *tile, size_t group)
{
    switch (group) {
    case 0:  return tile[0] & 31u;
    case 1:  return tile[16] & 31u;
    case 2:  return tile[32];
    default: return (uint32_t)(tile[16] >> 6 << 3 | tile[0] >> 5);
    }
}

/* What an index and up to three columns of x give. */
static int32_t three(uint32_t index, const int8_t *x, size_t columns)
{
    int32_t sum = 0;
    if (index > 26) return 0;
    for (size_t i = 0; i < columns; i++) {
        sum += x[i] * ((int32_t)(index % 3) - 1);
        index /= 3;
    }
    return sum;
}

void bitx_gemv_s32_s8_p2b_scalar(int32_t *restrict y, const int8_t *restrict x,
                                 const uint8_t *restrict tables, const uint8_t *restrict w,
                                 size_t n, size_t k, size_t stride)
{
    (void)tables;
    for (size_t row = 0; row < n; row++) {
        const uint8_t *tiles = w + row / 16 * stride + row % 16;
        for (size_t column = 0; column < k; column += 3) {
            const uint32_t index = index_of(tiles + column / 12 * 48, column / 3 % 4);
            y[row] += three(index, x + column, k - column < 3 ? k - column : 3);
        }
    }
}
