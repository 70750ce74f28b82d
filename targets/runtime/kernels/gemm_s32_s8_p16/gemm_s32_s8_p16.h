/* gemm_s32_s8_p16.h - Y += X W^T for two rows of X, W ternary in layout p16, X int8, Y int32,
 * exact.
 *
 * The rows begin at x and x + x_stride, those of Y at y and y + y_stride.  Each is what
 * gemv_s32_s8_p16 makes of it: w, n and stride mean the same; k is at most 160.
 * tables is what tables_s8_s8_p16 has made of X; only the definition reads x.
 */
#ifndef BITX_GEMM_S32_S8_P16_H
#define BITX_GEMM_S32_S8_P16_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x, tables and w do not overlap. */
#define BITX_DECLARE_GEMM_S32_S8_P16(name)                                                         \
    void name(int32_t *y, size_t y_stride, const int8_t *x, size_t x_stride,                       \
              const uint8_t *tables, const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMM_S32_S8_P16((*bitx_gemm_s32_s8_p16_fn));

BITX_DECLARE_GEMM_S32_S8_P16(bitx_gemm_s32_s8_p16_scalar);
BITX_DECLARE_GEMM_S32_S8_P16(bitx_gemm_s32_s8_p16_dsp);

#endif /* BITX_GEMM_S32_S8_P16_H */
