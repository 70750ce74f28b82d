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

static inline void bitx_normalize(float *restrict y, const float *restrict x, float inverse_rms,
                                  const float *restrict weight, size_t columns)
{
    BITX_EACH(i, columns, y[i] = (x[i] * inverse_rms) * weight[i]);
}

/* QuantizeRows: from the largest magnitude of a row, the factor; then each code. */
static inline float bitx_quantize_scale(uint32_t largest_magnitude)
{
    const float largest = bitx_float(largest_magnitude);
    return 127.0f / (largest > 1e-5f ? largest : 1e-5f);
}

static inline int8_t bitx_clip(int32_t code)
{
    const int32_t bounded = code < -128 ? -128 : code;
    return (int8_t)(bounded > 127 ? 127 : bounded);
}

static inline void bitx_quantize(int8_t *restrict q, const float *restrict x, float scale,
                                 size_t columns)
{
    BITX_EACH(i, columns, q[i] = bitx_clip(bitx_nearest(x[i] * scale)));
}

/* Both, of a row that is normalised and not stored. */
static inline void bitx_quantize_normalized(int8_t *restrict q, const float *restrict x,
                                            float inverse_rms, const float *restrict weight,
                                            float scale, size_t columns)
{
    BITX_EACH(i, columns,
              q[i] = bitx_clip(bitx_nearest(((x[i] * inverse_rms) * weight[i]) * scale)));
}

/* Rescale: y = float(sum) * f.  y may be where the sums are.  step: 0 if one weight scale serves
 * all. */
static inline void bitx_rescale(float *y, const int32_t *sum, const float *restrict weight_scale,
                                uint32_t step, float scale, size_t columns)
{
    const float shared = weight_scale[0] / scale;
    if (step == 0)
        BITX_EACH(j, columns, y[j] = (float)sum[j] * shared);
    else
        BITX_EACH(j, columns, y[j] = (float)sum[j] * (weight_scale[j] / scale));
}

/* The same of the sums of high and low. */
static inline void bitx_rescale_int16(float *y, const int32_t *sum, const int32_t *low_sum,
                                      const float *restrict weight_scale, uint32_t step,
                                      float scale, size_t columns)
{
    const float shared = weight_scale[0] / scale;
    if (step == 0)
        BITX_EACH(j, columns, y[j] = ((float)sum[j] * 256.0f + (float)low_sum[j]) * shared);
    else
        BITX_EACH(j, columns,
                  y[j] = ((float)sum[j] * 256.0f + (float)low_sum[j]) * (weight_scale[j] / scale));
}

static inline float bitx_silu(float x)
{
    return x / (1.0f + bitx_exp(0.0f - x));
}

/* x > 0 ? x : +0, by the bits: those of positive numbers are 1 to infinity's. */
static inline float bitx_relu(float x)
{
    const uint32_t bits = bitx_bits(x);
    return bitx_float(bits & bitx_mask(bits - 1 < BITX_INFINITY_BITS));
}

#endif /* BITX_ROW_MATH_H */
