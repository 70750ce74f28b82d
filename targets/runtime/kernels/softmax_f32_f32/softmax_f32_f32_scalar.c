/* softmax_f32_f32_scalar.c - the definition. */
#include "softmax_f32_f32.h"

#include "../../src/floats.h"

void bitx_softmax_f32_f32_scalar(float *restrict z, float *restrict e, float scale, size_t n)
{
    BITX_EACH(j, n, e[j] = e[j] * scale);
    float largest = e[0];
    for (size_t j = 1; j < n; j++)
        if (e[j] > largest) largest = e[j];
    BITX_EACH(j, n, e[j] = bitx_exp(e[j] - largest));
    *z = bitx_lane_sum(e, n);
}
