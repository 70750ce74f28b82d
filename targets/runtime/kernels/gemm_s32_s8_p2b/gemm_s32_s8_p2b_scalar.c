/* gemm_s32_s8_p2b_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemm_s32_s8_p2b.h"

#include "../gemv_s32_s8_p2b/gemv_s32_s8_p2b.h"

void bitx_gemm_s32_s8_p2b_scalar(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                 size_t x_stride, const uint8_t *restrict tables,
                                 size_t tables_stride, size_t columns, const uint8_t *restrict w,
                                 size_t n, size_t k, size_t stride)
{
    (void)tables, (void)tables_stride;
    for (size_t t = 0; t < columns; t++)
        bitx_gemv_s32_s8_p2b_scalar(y + t * y_stride, x + t * x_stride, tables, w, n, k, stride);
}
