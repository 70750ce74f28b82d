/* gemm_s32_s8_t5x3_neon.c - Armv7-A and Armv8.0-A: packed again, for one column too. */
#include "gemm_s32_s8_t5x3.h"

#include "t5x3_by_p2r.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

void bitx_gemm_s32_s8_t5x3_neon(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                size_t x_stride, size_t columns, const uint8_t *restrict w,
                                size_t n, size_t k, size_t stride)
{
    bitx_gemm_t5x3_by_p2r(y, y_stride, x, x_stride, columns, w, n, k, stride,
                          bitx_pack_p2r_t5x3_neon, bitx_gemm_s32_s8_p2r_neon);
}
