/* use_neon.c - what neon does best. */
#include "kernels.h"

void bitx_use_neon(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_neon;
    kernels->gemv_s32_s8_b1r = bitx_gemv_s32_s8_b1r_neon;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_neon;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_neon;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_neon;
    kernels->isa = BITX_ISA_NEON;
}
