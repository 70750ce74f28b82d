/* gevm_f32_f32_s8_scalar.c - the definition, sixteen columns at a time. */
#include "gevm_f32_f32_s8.h"

#include "../../src/floats.h"

enum { BLOCK = 16 };

void bitx_gevm_f32_f32_s8_scalar(float *restrict y, const float *restrict x,
                                 const int8_t *restrict w, size_t n, size_t k, size_t stride)
{
    size_t first = 0;
    for (; first + BLOCK <= k; first += BLOCK) {
        float sum[BLOCK] = {0};
        for (size_t row = 0; row < n; row++)
            for (size_t i = 0; i < BLOCK; i++)
                sum[i] += x[row] * (float)w[row * stride + first + i];
        bitx_copy(y + first, sum, sizeof sum);
    }
    for (; first < k; first++) {
        float sum = 0;
        for (size_t row = 0; row < n; row++)
            sum += x[row] * (float)w[row * stride + first];
        y[first] = sum;
    }
}
