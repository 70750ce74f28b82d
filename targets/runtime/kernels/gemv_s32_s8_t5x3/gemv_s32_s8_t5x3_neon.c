/* gemv_s32_s8_t5x3_neon.c - Armv7-A and Armv8.0-A: packed again in layout p2r, then multiplied. */
#include "gemv_s32_s8_t5x3.h"

#include "../gemm_s32_s8_t5x3/gemm_s32_s8_t5x3.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

void bitx_gemv_s32_s8_t5x3_neon(int32_t *restrict y, const int8_t *restrict x,
                                const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    bitx_gemm_s32_s8_t5x3_neon(y, n, x, k, 1, w, n, k, stride);
}
