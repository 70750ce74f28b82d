/* gemm_s32_s8_t5x3_scalar.c - the definition: column by column. */
#include "gemm_s32_s8_t5x3.h"

#include "../gemv_s32_s8_t5x3/gemv_s32_s8_t5x3.h"

void bitx_gemm_s32_s8_t5x3_scalar(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                  size_t x_stride, size_t columns, const uint8_t *restrict w,
                                  size_t n, size_t k, size_t stride)
{
    for (size_t t = 0; t < columns; t++)
        bitx_gemv_s32_s8_t5x3_scalar(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
