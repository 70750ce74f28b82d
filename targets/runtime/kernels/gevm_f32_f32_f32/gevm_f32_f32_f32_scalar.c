/* gevm_f32_f32_f32_scalar.c - the definition, sixteen columns at a time. */
#include "gevm_f32_f32_f32.h"

#include "../../src/floats.h"

enum { BLOCK = 16 };

static inline const float *row_of(const float *w, size_t row, size_t stride)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)w + row * stride);
}

void bitx_gevm_f32_f32_f32_scalar(float *restrict y, const float *restrict x,
                                  const float *restrict w, size_t n, size_t k, size_t stride)
{
    size_t first = 0;
    for (; first + BLOCK <= k; first += BLOCK) {
        float sum[BLOCK] = {0};
        for (size_t row = 0; row < n; row++)
            for (size_t i = 0; i < BLOCK; i++)
                sum[i] += x[row] * row_of(w, row, stride)[first + i];
        bitx_copy(y + first, sum, sizeof sum);
    }
    for (; first < k; first++) {
        float sum = 0;
        for (size_t row = 0; row < n; row++)
            sum += x[row] * row_of(w, row, stride)[first];
        y[first] = sum;
    }
}
