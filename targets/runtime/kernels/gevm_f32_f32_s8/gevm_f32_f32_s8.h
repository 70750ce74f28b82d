/* gevm_f32_f32_s8.h - y = x W in floats, W s8; rows are added in order.
 *
 * y[i] = ((+0 + x[0] * w[0][i]) + x[1] * w[1][i]) + ..., n rows of k columns: the end of AttendInt8
 * in NUMERICS.md, section 3.  Any n and k.  stride: bytes from one row of w to the next.  The order
 * is fixed, so variants return the same bits; only which NaN is not specified.
 */
#ifndef BITX_GEVM_F32_F32_S8_H
#define BITX_GEVM_F32_F32_S8_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEVM_F32_F32_S8(name)                                                         \
    void name(float *y, const float *x, const int8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEVM_F32_F32_S8((*bitx_gevm_f32_f32_s8_fn));

BITX_DECLARE_GEVM_F32_F32_S8(bitx_gevm_f32_f32_s8_scalar);
BITX_DECLARE_GEVM_F32_F32_S8(bitx_gevm_f32_f32_s8_avx2);
BITX_DECLARE_GEVM_F32_F32_S8(bitx_gevm_f32_f32_s8_neon);

#endif /* BITX_GEVM_F32_F32_S8_H */
