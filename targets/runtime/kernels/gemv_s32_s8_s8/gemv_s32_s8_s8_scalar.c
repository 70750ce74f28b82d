/* gemv_s32_s8_s8_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemv_s32_s8_s8.h"

void bitx_gemv_s32_s8_s8_scalar(int32_t *restrict y, const int8_t *restrict x,
                                const int8_t *restrict w, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, w += k) {
        int32_t sum = 0;
        for (size_t i = 0; i < k; i++)
            sum += x[i] * w[i];
        y[row] = sum;
    }
}
