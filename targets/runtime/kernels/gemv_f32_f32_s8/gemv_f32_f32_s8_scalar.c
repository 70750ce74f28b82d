/* gemv_f32_f32_s8_scalar.c - the definition. */
#include "gemv_f32_f32_s8.h"

#include "../../src/floats.h"

void bitx_gemv_f32_f32_s8_scalar(float *restrict y, const float *restrict x,
                                 const int8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++)
        y[row] = bitx_lane_dot_s8(x, w + row * stride, k);
}
