/* gemm_s32_s8_t5x3_avx2.c - x86-64 with AVX2: packed again for many columns. */
#include "gemm_s32_s8_t5x3.h"

#include "../gemv_s32_s8_t5x3/gemv_s32_s8_t5x3.h"
#include "t5x3_by_p2r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif

/* So many columns do not yet pay for packing. */
enum { FEW = 3 };

void bitx_gemm_s32_s8_t5x3_avx2(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                size_t x_stride, size_t columns, const uint8_t *restrict w,
                                size_t n, size_t k, size_t stride)
{
    if (columns > FEW) {
        bitx_gemm_t5x3_by_p2r(y, y_stride, x, x_stride, columns, w, n, k, stride,
                              bitx_pack_p2r_t5x3_avx2, bitx_gemm_s32_s8_p2r_avx2);
        return;
    }
    for (size_t t = 0; t < columns; t++)
        bitx_gemv_s32_s8_t5x3_avx2(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
