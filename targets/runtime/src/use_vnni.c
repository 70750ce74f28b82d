/* use_vnni.c - what vnni does best: floats and binary weights are left to avx2. */
#include "kernels.h"

void bitx_use_vnni(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_vnni;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_vnni;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_vnni;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_vnni;
    kernels->isa = BITX_ISA_VNNI;
}
