/* use_neon.c - what neon does best. */
#include "kernels.h"

void bitx_use_neon(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = bitx_gemv_s32_s8_p2r_neon;
    kernels->gemv_s32_s8_b1r = bitx_gemv_s32_s8_b1r_neon;
    kernels->gemv_s32_s8_q4r = bitx_gemv_s32_s8_q4r_neon;
    kernels->gemv_s32_s8_p16 = bitx_gemv_s32_s8_p16_neon;
#ifdef __aarch64__ /* tables of Armv7-A are for 8 lanes */
    kernels->gemv_s32_s8_p2b = bitx_gemv_s32_s8_p2b_neon;
    kernels->gemm_s32_s8_p2b = bitx_gemm_s32_s8_p2b_neon;
    kernels->tables_s8_p2b = bitx_tables_s8_p2b_neon;
#endif
    kernels->gemv_s32_s8_t5x3 = bitx_gemv_s32_s8_t5x3_neon;
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_neon;
    kernels->gemm_s32_s8_p2r = bitx_gemm_s32_s8_p2r_neon;
    kernels->gemm_s32_s8_t5x3 = bitx_gemm_s32_s8_t5x3_neon;
    kernels->pack_p2r_t5x3 = bitx_pack_p2r_t5x3_neon;
#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals: there floats are scalar */
    kernels->gemv_f32_f32_f32 = bitx_gemv_f32_f32_f32_neon;
    kernels->gemv_f32_f32_f16 = bitx_gemv_f32_f32_f16_neon;
    kernels->gemv_f32_f32_bf16 = bitx_gemv_f32_f32_bf16_neon;
    kernels->gemv_f32_f32_s8 = bitx_gemv_f32_f32_s8_neon;
    kernels->gevm_f32_f32_f32 = bitx_gevm_f32_f32_f32_neon;
    kernels->gevm_f32_f32_f16 = bitx_gevm_f32_f32_f16_neon;
    kernels->gevm_f32_f32_s8 = bitx_gevm_f32_f32_s8_neon;
    kernels->softmax_f32_f32 = bitx_softmax_f32_f32_neon;
#endif
    kernels->isa = BITX_ISA_NEON;
}
