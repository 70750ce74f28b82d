/* use_mve.c - what mve does best. */
#include "kernels.h"
#include "records.h"

void bitx_use_mve(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemv_s32_s8_p2r_mve);
    kernels->gemv_s32_s8_b1r = BITX_KEPT(B1R, bitx_gemv_s32_s8_b1r_mve);
    kernels->gemv_s32_s8_q4r = BITX_KEPT(Q4R, bitx_gemv_s32_s8_q4r_mve);
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_mve;
    kernels->gemm_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemm_s32_s8_p2r_mve);
    kernels->isa = BITX_ISA_MVE;
}
