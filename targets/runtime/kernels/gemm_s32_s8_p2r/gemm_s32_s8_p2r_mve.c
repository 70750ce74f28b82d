/* gemm_s32_s8_p2r_mve.c - Armv8.1-M with Helium: one column after the other.
 *
 * A panel of two columns would need eight even general registers for its sums, and one of them
 * counts the loop.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif

void bitx_gemm_s32_s8_p2r_mve(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                              size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                              size_t k, size_t stride)
{
    for (size_t t = 0; t < columns; t++)
        bitx_gemv_s32_s8_p2r_mve(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
