/* gemm_s32_s8_p16_scalar.c - the definition.  Written to be read, not to be fast. */
#include "gemm_s32_s8_p16.h"

#include "../gemv_s32_s8_p16/gemv_s32_s8_p16.h"

void bitx_gemm_s32_s8_p16_scalar(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                 size_t x_stride, const uint8_t *restrict tables,
                                 const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    bitx_gemv_s32_s8_p16_scalar(y, x, tables, w, n, k, stride);
    bitx_gemv_s32_s8_p16_scalar(y + y_stride, x + x_stride, tables, w, n, k, stride);
}
