/* softmax_f32_f32.h - the weights of Attend, not yet divided: e = exp(x scale - max), and their
 * sum.
 *
 * In place: s_j = e_j * scale; m = max s_j; e_j = exp(s_j - m); *z = lane_sum(e_j), j < n, n >= 1,
 * as NUMERICS.md, sections 2 and 3.  Variants return the same bits; where a result is NaN in one it
 * is NaN in all.
 */
#ifndef BITX_SOFTMAX_F32_F32_H
#define BITX_SOFTMAX_F32_F32_H

#include <stddef.h>

/* A definition adds restrict: z and e do not overlap. */
#define BITX_DECLARE_SOFTMAX_F32_F32(name) void name(float *z, float *e, float scale, size_t n)

typedef BITX_DECLARE_SOFTMAX_F32_F32((*bitx_softmax_f32_f32_fn));

BITX_DECLARE_SOFTMAX_F32_F32(bitx_softmax_f32_f32_scalar);
BITX_DECLARE_SOFTMAX_F32_F32(bitx_softmax_f32_f32_avx2);
BITX_DECLARE_SOFTMAX_F32_F32(bitx_softmax_f32_f32_neon);

#endif /* BITX_SOFTMAX_F32_F32_H */
