/* kernels.h - the one table through which the runtime calls its kernels. */
#ifndef BITX_KERNELS_H
#define BITX_KERNELS_H

#include "../kernels/gemm_s32_s8_p16/gemm_s32_s8_p16.h"
#include "../kernels/gemm_s32_s8_p2b/gemm_s32_s8_p2b.h"
#include "../kernels/gemm_s32_s8_p2r/gemm_s32_s8_p2r.h"
#include "../kernels/gemm_s32_s8_t5x3/gemm_s32_s8_t5x3.h"
#include "../kernels/gemv_f32_f32_bf16/gemv_f32_f32_bf16.h"
#include "../kernels/gemv_f32_f32_f16/gemv_f32_f32_f16.h"
#include "../kernels/gemv_f32_f32_f32/gemv_f32_f32_f32.h"
#include "../kernels/gemv_f32_f32_s8/gemv_f32_f32_s8.h"
#include "../kernels/gemv_s32_s8_b1r/gemv_s32_s8_b1r.h"
#include "../kernels/gemv_s32_s8_p16/gemv_s32_s8_p16.h"
#include "../kernels/gemv_s32_s8_p2b/gemv_s32_s8_p2b.h"
#include "../kernels/gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"
#include "../kernels/gemv_s32_s8_q4r/gemv_s32_s8_q4r.h"
#include "../kernels/gemv_s32_s8_s8/gemv_s32_s8_s8.h"
#include "../kernels/gemv_s32_s8_t5x3/gemv_s32_s8_t5x3.h"
#include "../kernels/gevm_f32_f32_f16/gevm_f32_f32_f16.h"
#include "../kernels/gevm_f32_f32_f32/gevm_f32_f32_f32.h"
#include "../kernels/gevm_f32_f32_s8/gevm_f32_f32_s8.h"
#include "../kernels/pack_p2r_t5x3/pack_p2r_t5x3.h"
#include "../kernels/softmax_f32_f32/softmax_f32_f32.h"
#include "../kernels/tables_s8_p16/tables_s8_p16.h"
#include "../kernels/tables_s8_p2b/tables_s8_p2b.h"
#include "../kernels/tables_s8_s8_p16/tables_s8_s8_p16.h"
#include "bitexport.h"

typedef struct bitx_kernels {
    bitx_gemv_s32_s8_p2r_fn gemv_s32_s8_p2r;
    bitx_gemv_s32_s8_b1r_fn gemv_s32_s8_b1r;
    bitx_gemv_s32_s8_q4r_fn gemv_s32_s8_q4r;
    bitx_gemv_s32_s8_p2b_fn gemv_s32_s8_p2b;
    bitx_gemv_s32_s8_p16_fn gemv_s32_s8_p16;
    bitx_gemm_s32_s8_p16_fn gemm_s32_s8_p16;
    bitx_gemv_s32_s8_t5x3_fn gemv_s32_s8_t5x3;
    bitx_gemv_s32_s8_s8_fn gemv_s32_s8_s8;
    bitx_gemm_s32_s8_p2r_fn gemm_s32_s8_p2r;
    bitx_gemm_s32_s8_t5x3_fn gemm_s32_s8_t5x3;
    bitx_pack_p2r_t5x3_fn pack_p2r_t5x3;
    bitx_gemv_f32_f32_f32_fn gemv_f32_f32_f32;
    bitx_gemv_f32_f32_f16_fn gemv_f32_f32_f16;
    bitx_gemv_f32_f32_bf16_fn gemv_f32_f32_bf16;
    bitx_gevm_f32_f32_f32_fn gevm_f32_f32_f32;
    bitx_gevm_f32_f32_f16_fn gevm_f32_f32_f16;
    bitx_softmax_f32_f32_fn softmax_f32_f32;
    bitx_tables_s8_p16_fn tables_s8_p16;
    bitx_tables_s8_s8_p16_fn tables_s8_s8_p16;
    bitx_gemm_s32_s8_p2b_fn gemm_s32_s8_p2b;
    bitx_tables_s8_p2b_fn tables_s8_p2b; /* null: the product needs none */
    bitx_gemv_f32_f32_s8_fn gemv_f32_f32_s8;
    bitx_gevm_f32_f32_s8_fn gevm_f32_f32_s8;
    bitx_isa isa; /* the best that put something in */
} bitx_kernels;

/* Fills the table with the best kernels that this core has and mask allows. */
void bitx_kernels_choose(bitx_kernels *kernels, uint32_t mask);

/* Whether every kernel in the table returns what its definition does. */
int bitx_kernels_agree(const bitx_kernels *kernels);

/* Each puts its own kernels in the table and leaves the rest.  One file each: use_<isa>.c. */
void bitx_use_scalar(bitx_kernels *kernels);
void bitx_use_neon(bitx_kernels *kernels);
void bitx_use_dotprod(bitx_kernels *kernels);
void bitx_use_avx2(bitx_kernels *kernels);
void bitx_use_i8mm(bitx_kernels *kernels);
void bitx_use_mve(bitx_kernels *kernels);
void bitx_use_dsp(bitx_kernels *kernels);
void bitx_use_vnni(bitx_kernels *kernels);

/* The instruction sets that this core has, whether or not the library has kernels for them. */
uint32_t bitx_isa_detect(void);

#endif /* BITX_KERNELS_H */
