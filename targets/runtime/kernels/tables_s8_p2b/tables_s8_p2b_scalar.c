/* tables_s8_p2b_scalar.c - the definition of the tables; the product's own needs none. */
#include "tables_s8_p2b.h"

/* The product of an index and the columns from `column` on. */
static int32_t three(uint32_t index, const int8_t *x, size_t column, size_t k)
{
    int32_t sum = 0;
    if (index > 26) return 0;
    for (size_t i = column; i < column + 3; i++) {
        if (i < k) sum += x[i] * ((int32_t)(index % 3) - 1);
        index /= 3;
    }
    return sum;
}

void bitx_tables_s8_p2b_scalar(uint8_t *restrict tables, const int8_t *restrict x, size_t k)
{
    for (size_t column = 0; column < (k + 23) / 24 * 24; column += 3, tables += 64)
        for (uint32_t index = 0; index < 32; index++) {
            const int32_t v = three(index, x, column, k);
            tables[index] = (uint8_t)((v + 512) / 32 - 16);
            tables[32 + index] = (uint8_t)((v + 512) % 32);
        }
}
