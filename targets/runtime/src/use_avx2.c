/* use_avx2.c - what avx2 does best. */
#include "kernels.h"

void bitx_use_avx2(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_avx2;
    kernels->gemv_s32_s8_b1r = bitx_gemv_s32_s8_b1r_avx2;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_avx2;
    kernels->gemv_s32_s8_p16 = bitx_gemv_s32_s8_p16_avx2;
    kernels->gemv_s32_s8_t5x3 = bitx_gemv_s32_s8_t5x3_avx2;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_avx2;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_avx2;
    kernels->gemm_s32_s8_t5x3 = bitx_gemm_s32_s8_t5x3_avx2;
    kernels->pack_p2r_t5x3 = bitx_pack_p2r_t5x3_avx2;
    kernels->gemv_f32_f32_f32 = bitx_gemv_f32_f32_f32_avx2;
    kernels->gemv_f32_f32_f16 = bitx_gemv_f32_f32_f16_avx2;
    kernels->gemv_f32_f32_bf16 = bitx_gemv_f32_f32_bf16_avx2;
    kernels->gemv_f32_f32_s8 = bitx_gemv_f32_f32_s8_avx2;
    kernels->gevm_f32_f32_f32 = bitx_gevm_f32_f32_f32_avx2;
    kernels->gevm_f32_f32_f16 = bitx_gevm_f32_f32_f16_avx2;
    kernels->gevm_f32_f32_s8 = bitx_gevm_f32_f32_s8_avx2;
    kernels->softmax_f32_f32 = bitx_softmax_f32_f32_avx2;
    kernels->isa = BITX_ISA_AVX2;
}
