/* gemv_s32_s8_p16_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_p16.h"

/* A byte times its columns, at most five. */
static int32_t product(uint32_t byte, const int8_t *x, size_t columns)
{
    int32_t sum = 0;
    for (size_t i = 0; i < 5 && i < columns; i++, byte /= 3) {
        const int32_t digit = (int32_t)(i < 4 ? byte % 3 : byte);
        sum += x[i] * (digit - 1);
    }
    return sum;
}

void bitx_gemv_s32_s8_p16_scalar(int32_t *restrict y, const int8_t *restrict x,
                                 const uint8_t *restrict tables, const uint8_t *restrict w,
                                 size_t n, size_t k, size_t stride)
{
    (void)tables;
    for (size_t row = 0; row < n; row++) {
        const uint8_t *byte = w + row / 8 * stride + row % 8;
        for (size_t column = 0; column < k; column += 5, byte += 8)
            y[row] += product(*byte, x + column, k - column);
    }
}
