/* use_scalar.c - what scalar does best. */
#include "kernels.h"
#include "ops.h"

void bitx_use_scalar(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemv_s32_s8_p2r_scalar);
    kernels->gemv_s32_s8_b1r = BITX_KEPT(B1R, bitx_gemv_s32_s8_b1r_scalar);
    kernels->gemv_s32_s8_q4r = BITX_KEPT(Q4R, bitx_gemv_s32_s8_q4r_scalar);
    kernels->gemv_s32_s8_p2b = BITX_KEPT(P2B, bitx_gemv_s32_s8_p2b_scalar);
    kernels->gemm_s32_s8_p2b = BITX_KEPT(P2B, bitx_gemm_s32_s8_p2b_scalar);
    kernels->tables_s8_p2b = NULL;
    kernels->gemv_s32_s8_p16 = BITX_KEPT(P16, bitx_gemv_s32_s8_p16_scalar);
    kernels->gemm_s32_s8_p16 = BITX_KEPT(P16, bitx_gemm_s32_s8_p16_scalar);
    kernels->tables_s8_p16 = NULL;
    kernels->tables_s8_s8_p16 = NULL;
    kernels->gemv_s32_s8_t5x3 = BITX_KEPT(T5X3, bitx_gemv_s32_s8_t5x3_scalar);
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_scalar;
    kernels->gemm_s32_s8_p2r = BITX_KEPT(P2R, bitx_gemm_s32_s8_p2r_scalar);
    kernels->gemm_s32_s8_t5x3 = BITX_KEPT(T5X3, bitx_gemm_s32_s8_t5x3_scalar);
    kernels->pack_p2r_t5x3 = BITX_KEPT(T5X3, bitx_pack_p2r_t5x3_scalar);
    kernels->gemv_f32_f32_f32 = bitx_gemv_f32_f32_f32_scalar;
    kernels->gemv_f32_f32_f16 = bitx_gemv_f32_f32_f16_scalar;
    kernels->gemv_f32_f32_bf16 = bitx_gemv_f32_f32_bf16_scalar;
    kernels->gevm_f32_f32_f32 = bitx_gevm_f32_f32_f32_scalar;
    kernels->gevm_f32_f32_f16 = bitx_gevm_f32_f32_f16_scalar;
    kernels->softmax_f32_f32 = bitx_softmax_f32_f32_scalar;
    if (bitx_keeps_op(BITX_OP_ATTEND_INT8)) {
        kernels->gemv_f32_f32_s8 = bitx_gemv_f32_f32_s8_scalar;
        kernels->gevm_f32_f32_s8 = bitx_gevm_f32_f32_s8_scalar;
    }
    kernels->isa = BITX_ISA_SCALAR;
}
