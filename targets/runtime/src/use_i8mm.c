/* use_i8mm.c - what i8mm does best: products of one column are left to dotprod. */
#include "kernels.h"

void bitx_use_i8mm(bitx_kernels *kernels)
{
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_i8mm;
    kernels->gemm_s32_s8_t5x3 = bitx_gemm_s32_s8_t5x3_i8mm;
    kernels->isa = BITX_ISA_I8MM;
}
