/* gemm_s32_s8_t5x3.h - Y = X W^T, W ternary in layout t5x3, X int8, Y int32, exact.
 *
 * Row t of X begins at x + t * x_stride, row t of Y at y + t * y_stride; there are `columns` rows
 * of either, at least one.  Each is what gemv_s32_s8_t5x3 makes of it: W, n, k and stride mean the
 * same.  A row of Y gets n sums; what lies between rows is kept.
 */
#ifndef BITX_GEMM_S32_S8_T5X3_H
#define BITX_GEMM_S32_S8_T5X3_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMM_S32_S8_T5X3(name)                                                        \
    void name(int32_t *y, size_t y_stride, const int8_t *x, size_t x_stride, size_t columns,       \
              const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMM_S32_S8_T5X3((*bitx_gemm_s32_s8_t5x3_fn));

BITX_DECLARE_GEMM_S32_S8_T5X3(bitx_gemm_s32_s8_t5x3_scalar);
BITX_DECLARE_GEMM_S32_S8_T5X3(bitx_gemm_s32_s8_t5x3_neon);
BITX_DECLARE_GEMM_S32_S8_T5X3(bitx_gemm_s32_s8_t5x3_dotprod);
BITX_DECLARE_GEMM_S32_S8_T5X3(bitx_gemm_s32_s8_t5x3_avx2);
BITX_DECLARE_GEMM_S32_S8_T5X3(bitx_gemm_s32_s8_t5x3_i8mm);

#endif /* BITX_GEMM_S32_S8_T5X3_H */
