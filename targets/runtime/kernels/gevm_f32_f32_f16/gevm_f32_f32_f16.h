/* gevm_f32_f32_f16.h - y = x W in floats, W f16, widened exactly; rows are added in order.
 *
 * y[i] = ((+0 + x[0] * w[0][i]) + x[1] * w[1][i]) + ..., n rows of k columns: the end of Attend in
 * NUMERICS.md, section 3.  Any n and k.  stride: bytes from one row of w to the next.  The order is
 * fixed, so variants return the same bits; only which NaN is not specified.
 */
#ifndef BITX_GEVM_F32_F32_F16_H
#define BITX_GEVM_F32_F32_F16_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEVM_F32_F32_F16(name)                                                        \
    void name(float *y, const float *x, const uint16_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEVM_F32_F32_F16((*bitx_gevm_f32_f32_f16_fn));

BITX_DECLARE_GEVM_F32_F32_F16(bitx_gevm_f32_f32_f16_scalar);
BITX_DECLARE_GEVM_F32_F32_F16(bitx_gevm_f32_f32_f16_avx2);
BITX_DECLARE_GEVM_F32_F32_F16(bitx_gevm_f32_f32_f16_neon);

#endif /* BITX_GEVM_F32_F32_F16_H */
