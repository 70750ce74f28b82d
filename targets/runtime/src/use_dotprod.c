/* use_dotprod.c - what dotprod does best. */
#include "kernels.h"

void bitx_use_dotprod(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_dotprod;
    kernels->gemv_s32_s8_b1r = bitx_gemv_s32_s8_b1r_dotprod;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_dotprod;
    kernels->gemv_s32_s8_t5x3 = bitx_gemv_s32_s8_t5x3_dotprod;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_dotprod;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_dotprod;
    kernels->gemm_s32_s8_t5x3 = bitx_gemm_s32_s8_t5x3_dotprod;
    kernels->isa = BITX_ISA_DOTPROD;
}
