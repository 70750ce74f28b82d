/* use_i8mm.c - what i8mm does best: products of one column are left to dotprod. */
#include "kernels.h"

void bitx_use_i8mm(bitx_kernels *kernels)
{
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_i8mm;
    kernels->isa = BITX_ISA_I8MM;
}
