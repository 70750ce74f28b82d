/* gemm_s32_s8_p2r.h - Y = X W^T, W ternary in layout p2r, X int8, Y int32, exact.
 *
 * Row t of X begins at x + t * x_stride, row t of Y at y + t * y_stride; there are `columns` rows
 * of either, at least one: they are the columns that W multiplies.  Each is what gemv_s32_s8_p2r
 * makes of it: W, n, k and stride mean the same.  A row of Y gets n sums; what lies between rows is
 * kept.
 *
 * The fast variants unpack a tile once for a panel of columns.  Integer sums have no order, so
 * every variant returns the same bits, however it cuts the columns.
 */
#ifndef BITX_GEMM_S32_S8_P2R_H
#define BITX_GEMM_S32_S8_P2R_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMM_S32_S8_P2R(name)                                                         \
    void name(int32_t *y, size_t y_stride, const int8_t *x, size_t x_stride, size_t columns,       \
              const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMM_S32_S8_P2R((*bitx_gemm_s32_s8_p2r_fn));

BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_scalar);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_neon);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_dotprod);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_avx2);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_vnni);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_i8mm);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_mve);
BITX_DECLARE_GEMM_S32_S8_P2R(bitx_gemm_s32_s8_p2r_dsp);

#endif /* BITX_GEMM_S32_S8_P2R_H */
