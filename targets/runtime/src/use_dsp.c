/* use_dsp.c - what dsp does best. */
#include "kernels.h"

void bitx_use_dsp(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_dsp;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_dsp;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_dsp;
    kernels->isa = BITX_ISA_DSP;
}
