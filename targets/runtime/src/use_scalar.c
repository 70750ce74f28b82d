/* use_scalar.c - what scalar does best. */
#include "kernels.h"

void bitx_use_scalar(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_scalar;
    kernels->gemv_s32_s8_b1r = bitx_gemv_s32_s8_b1r_scalar;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_scalar;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_scalar;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_scalar;
    kernels->gemv_f32_f32_f32 = bitx_gemv_f32_f32_f32_scalar;
    kernels->gemv_f32_f32_f16 = bitx_gemv_f32_f32_f16_scalar;
    kernels->gemv_f32_f32_bf16 = bitx_gemv_f32_f32_bf16_scalar;
    kernels->gevm_f32_f32_f32 = bitx_gevm_f32_f32_f32_scalar;
    kernels->gevm_f32_f32_f16 = bitx_gevm_f32_f32_f16_scalar;
    kernels->softmax_f32_f32 = bitx_softmax_f32_f32_scalar;
    kernels->isa = BITX_ISA_SCALAR;
}
