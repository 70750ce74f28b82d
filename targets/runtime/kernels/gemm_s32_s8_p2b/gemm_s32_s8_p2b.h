/* gemm_s32_s8_p2b.h - Y += X W^T, W ternary in layout p2b, X int8, Y int32, exact.
 *
 * Row t of X begins at x + t * x_stride, its tables (tables_s8_p2b.h) at tables + t *
 * tables_stride, row t of Y at y + t * y_stride; there are `columns` rows of each, at least one:
 * they are the columns that W multiplies.  Each is what gemv_s32_s8_p2b makes of it: W, n, k and
 * stride mean the same.  A row of Y gets n sums; what lies between rows is kept.
 *
 * The fast variants read the indices of W once for all columns.
 */
#ifndef BITX_GEMM_S32_S8_P2B_H
#define BITX_GEMM_S32_S8_P2B_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x, tables and w do not overlap. */
#define BITX_DECLARE_GEMM_S32_S8_P2B(name)                                                         \
    void name(int32_t *y, size_t y_stride, const int8_t *x, size_t x_stride,                       \
              const uint8_t *tables, size_t tables_stride, size_t columns, const uint8_t *w,       \
              size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMM_S32_S8_P2B((*bitx_gemm_s32_s8_p2b_fn));

BITX_DECLARE_GEMM_S32_S8_P2B(bitx_gemm_s32_s8_p2b_scalar);
BITX_DECLARE_GEMM_S32_S8_P2B(bitx_gemm_s32_s8_p2b_neon);

#endif /* BITX_GEMM_S32_S8_P2B_H */
