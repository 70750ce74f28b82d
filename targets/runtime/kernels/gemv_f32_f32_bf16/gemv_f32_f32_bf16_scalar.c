/* gemv_f32_f32_bf16_scalar.c - the definition. */
#include "gemv_f32_f32_bf16.h"

#include "../../src/floats.h"

void bitx_gemv_f32_f32_bf16_scalar(float *restrict y, const float *restrict x,
                                   const uint16_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++)
        y[row] = bitx_lane_dot_bf16(
            x, (const void *)((const uint8_t *)(const void *)w + row * stride), k);
}
