/* gemm_s32_s8_p2r_dsp.c - Armv7E-M and Armv8-M with the DSP extension: one column after the other.
 *
 * A panel would need more general registers for its sums than there are.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif

void bitx_gemm_s32_s8_p2r_dsp(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                              size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                              size_t k, size_t stride)
{
    for (size_t t = 0; t < columns; t++)
        bitx_gemv_s32_s8_p2r_dsp(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
