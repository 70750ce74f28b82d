/* use_dsp.c - what dsp does best. */
#include "kernels.h"
#include "records.h"

void bitx_use_dsp(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemv_s32_s8_p2r_dsp);
    kernels->gemv_s32_s8_p16 = BITX_KEPT(P16, bitx_gemv_s32_s8_p16_dsp);
    kernels->gemm_s32_s8_p16 = BITX_KEPT(P16, bitx_gemm_s32_s8_p16_dsp);
    kernels->tables_s8_p16 = BITX_KEPT(P16, bitx_tables_s8_p16_dsp);
    kernels->tables_s8_s8_p16 = BITX_KEPT(P16, bitx_tables_s8_s8_p16_dsp);
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_dsp;
    kernels->gemm_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemm_s32_s8_p2r_dsp);
    kernels->isa = BITX_ISA_DSP;
}
