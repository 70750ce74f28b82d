/* use_scalar.c - what scalar does best. */
#include "kernels.h"
#include "records.h"

#define KEPT(layout, kernel) (bitx_keeps_layout(BITX_LAYOUT_##layout) ? (kernel) : NULL)

void bitx_use_scalar(bitx_kernels *kernels)
{
    kernels->gemv_s32_s8_p2r = KEPT(P2R, bitx_gemv_s32_s8_p2r_scalar);
    kernels->gemv_s32_s8_b1r = KEPT(B1R, bitx_gemv_s32_s8_b1r_scalar);
    kernels->gemv_s32_s8_q4r = KEPT(Q4R, bitx_gemv_s32_s8_q4r_scalar);
    kernels->gemv_s32_s8_p2b = KEPT(P2B, bitx_gemv_s32_s8_p2b_scalar);
    kernels->gemm_s32_s8_p2b = KEPT(P2B, bitx_gemm_s32_s8_p2b_scalar);
    kernels->tables_s8_p2b = NULL;
    kernels->gemv_s32_s8_p16 = KEPT(P16, bitx_gemv_s32_s8_p16_scalar);
    kernels->gemm_s32_s8_p16 = KEPT(P16, bitx_gemm_s32_s8_p16_scalar);
    kernels->tables_s8_p16 = NULL;
    kernels->tables_s8_s8_p16 = NULL;
    kernels->gemv_s32_s8_t5x3 = KEPT(T5X3, bitx_gemv_s32_s8_t5x3_scalar);
    kernels->gemv_s32_s8_s8 = bitx_gemv_s32_s8_s8_scalar;
    kernels->gemm_s32_s8_p2r = KEPT(P2R, bitx_gemm_s32_s8_p2r_scalar);
    kernels->gemm_s32_s8_t5x3 = KEPT(T5X3, bitx_gemm_s32_s8_t5x3_scalar);
    kernels->pack_p2r_t5x3 = KEPT(T5X3, bitx_pack_p2r_t5x3_scalar);
    kernels->gemv_f32_f32_f32 = bitx_gemv_f32_f32_f32_scalar;
    kernels->gemv_f32_f32_f16 = bitx_gemv_f32_f32_f16_scalar;
    kernels->gemv_f32_f32_bf16 = bitx_gemv_f32_f32_bf16_scalar;
    kernels->gevm_f32_f32_f32 = bitx_gevm_f32_f32_f32_scalar;
    kernels->gevm_f32_f32_f16 = bitx_gevm_f32_f32_f16_scalar;
    kernels->softmax_f32_f32 = bitx_softmax_f32_f32_scalar;
    kernels->isa = BITX_ISA_SCALAR;
}
