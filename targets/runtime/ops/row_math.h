/* row_math.h - what an op and the fusions that cover it compute with the same expressions. */
#ifndef BITX_ROW_MATH_H
#define BITX_ROW_MATH_H

#include "../src/floats.h"

/* RmsNorm: y = (x * r) * weight. */
static inline float bitx_inverse_rms(const float *x, uint32_t columns, float epsilon)
{
    const float mean = bitx_lane_dot(x, x, columns) / (float)columns;
    return 1.0f / __builtin_sqrtf(mean + epsilon);
}

static inline float bitx_normalize(float x, float inverse_rms, float weight)
{
    return (x * inverse_rms) * weight;
}

/* QuantizeRows: from the largest magnitude of a row, the factor; then each code. */
static inline float bitx_quantize_scale(uint32_t largest_magnitude)
{
    const float largest = bitx_float(largest_magnitude);
    return 127.0f / (largest > 1e-5f ? largest : 1e-5f);
}

static inline int8_t bitx_quantize(float x, float scale)
{
    const int32_t code = bitx_nearest(x * scale);
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}

/* Rescale: y = float(sum) * f. */
static inline float bitx_rescale(int32_t sum, float weight_scale, float scale)
{
    return (float)sum * (weight_scale / scale);
}

/* The same of the sums of high and low. */
static inline float bitx_rescale_int16(int32_t sum, int32_t low_sum, float weight_scale,
                                       float scale)
{
    return ((float)sum * 256.0f + (float)low_sum) * (weight_scale / scale);
}

static inline float bitx_silu(float x)
{
    return x / (1.0f + bitx_exp(0.0f - x));
}

static inline float bitx_relu(float x)
{
    return x > 0.0f ? x : 0.0f;
}

#endif /* BITX_ROW_MATH_H */
