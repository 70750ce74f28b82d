/* gemv_f32_f32_s8.h - y = W x in floats, W s8; sums in eight lanes.
 *
 * y[row] = lane_sum(x[i] * w[row][i]), i < k, as NUMERICS.md, section 1: element i goes to lane i
 * mod 8. Any n and k.  stride: bytes from one row of w to the next.  The lanes fix the order, so
 * variants return the same bits; only which NaN is not specified.
 */
#ifndef BITX_GEMV_F32_F32_S8_H
#define BITX_GEMV_F32_F32_S8_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_F32_F32_S8(name)                                                         \
    void name(float *y, const float *x, const int8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_F32_F32_S8((*bitx_gemv_f32_f32_s8_fn));

BITX_DECLARE_GEMV_F32_F32_S8(bitx_gemv_f32_f32_s8_scalar);
BITX_DECLARE_GEMV_F32_F32_S8(bitx_gemv_f32_f32_s8_avx2);
BITX_DECLARE_GEMV_F32_F32_S8(bitx_gemv_f32_f32_s8_neon);

#endif /* BITX_GEMV_F32_F32_S8_H */
