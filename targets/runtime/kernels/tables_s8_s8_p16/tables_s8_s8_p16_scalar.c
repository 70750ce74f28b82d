/* tables_s8_s8_p16_scalar.c - the definition.  Written to be read, not to be fast. */
#include "tables_s8_s8_p16.h"

#include "../gemm_s32_s8_p16/gemm_s32_s8_p16.h"

void bitx_tables_s8_s8_p16_scalar(uint8_t *restrict tables, const int8_t *restrict x,
                                  size_t x_stride, size_t k)
{
    uint32_t *entry = (uint32_t *)(void *)tables;
    for (size_t column = 0; column < (k + 9) / 10 * 10; column += 5)
        for (uint32_t i = 0; i < 256; i++) {
            const uint8_t byte = (uint8_t)i;
            int32_t sum[2] = {0, 0};
            if (column < k) {
                const size_t left = k - column, columns = left < 5 ? left : 5;
                bitx_gemm_s32_s8_p16_scalar(sum, 1, x + column, x_stride, NULL, &byte, 1, columns,
                                            0);
            }
            *entry++ = (uint32_t)sum[0] + ((uint32_t)sum[1] << 16);
        }
}
