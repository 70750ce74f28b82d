/* kernels.h - the one table through which the runtime calls its kernels. */
#ifndef BITX_KERNELS_H
#define BITX_KERNELS_H

#include "../kernels/gemv_s32_s8_b1r/gemv_s32_s8_b1r.h"
#include "../kernels/gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"
#include "../kernels/gemv_s32_s8_q4r/gemv_s32_s8_q4r.h"
#include "../kernels/gemv_s32_s8_s8/gemv_s32_s8_s8.h"
#include "bitexport.h"

typedef struct bitx_kernels {
    bitx_gemv_s32_s8_p2r_fn gemv_s32_s8_p2r;
    bitx_gemv_s32_s8_b1r_fn gemv_s32_s8_b1r;
    bitx_gemv_s32_s8_q4r_fn gemv_s32_s8_q4r;
    bitx_gemv_s32_s8_s8_fn gemv_s32_s8_s8;
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

/* The instruction sets that this core has, whether or not the library has kernels for them. */
uint32_t bitx_isa_detect(void);

#endif /* BITX_KERNELS_H */
