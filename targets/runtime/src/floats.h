/* floats.h - the float rules of NUMERICS.md, sections 1 and 2, in C. */
#ifndef BITX_FLOATS_H
#define BITX_FLOATS_H

#include "memory.h"

#ifdef __FAST_MATH__
#error "compile without -ffast-math: every bit of every float is specified"
#endif
#if __FLT_EVAL_METHOD__ != 0
#error "floats must be computed as floats (FLT_EVAL_METHOD 0; on x86: -mfpmath=sse)"
#endif

#define BITX_INFINITY_BITS 0x7f800000u

static inline uint32_t bitx_bits(float x)
{
    uint32_t bits;
    bitx_copy(&bits, &x, sizeof bits);
    return bits;
}

static inline float bitx_float(uint32_t bits)
{
    float x;
    bitx_copy(&x, &bits, sizeof x);
    return x;
}

/* Ordered like |x|; at BITX_INFINITY_BITS or above, x is not finite. */
static inline uint32_t bitx_magnitude(float x)
{
    return bitx_bits(x) & 0x7fffffffu;
}

/* Largest magnitude of all. */
static inline uint32_t bitx_largest_magnitude(const float *x, size_t count)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++)
        if (bitx_magnitude(x[i]) > largest) largest = bitx_magnitude(x[i]);
    return largest;
}

/* The nearest integer, ties to even, for |x| <= 2^22: it stands in the low bits of the sum. */
static inline int32_t bitx_nearest(float x)
{
    return (int32_t)(bitx_bits(x + 0x1.8p23f) - 0x4b400000u);
}

static inline float bitx_from_bf16(uint16_t x)
{
    return bitx_float((uint32_t)x << 16);
}

static inline float bitx_from_f16(uint16_t x)
{
#ifdef __aarch64__
    __fp16 half; /* one instruction of every such core */
    bitx_copy(&half, &x, sizeof half);
    return half;
#else
    const float magnitude = bitx_float((uint32_t)(x & 0x7fff) << 13) * 0x1p112f;
    const uint32_t not_finite = magnitude < 0x1p16f ? 0 : BITX_INFINITY_BITS;
    return bitx_float(bitx_bits(magnitude) | not_finite | (uint32_t)(x & 0x8000) << 16);
#endif
}

/* Rounds to nearest even.  The result of |x| >= 65520, and of NaN, is not finite: 0x7c00 or above
 * without its sign. */
uint16_t bitx_to_f16(float x);

/* e^x as NUMERICS.md, section 2. */
float bitx_exp(float x);

/* A float sum has eight lanes: element i goes to lane i mod 8. */
typedef struct bitx_lanes {
    float lane[8];
} bitx_lanes;

static inline float bitx_lane_total(const bitx_lanes *sum)
{
    const float *l = sum->lane;
    return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

float bitx_lane_sum(const float *x, size_t count);
float bitx_lane_sum_of_magnitudes(const float *x, size_t count);
float bitx_lane_dot(const float *x, const float *y, size_t count);
float bitx_lane_dot_bf16(const float *x, const uint16_t *y, size_t count);
float bitx_lane_dot_f16(const float *x, const uint16_t *y, size_t count);

/* Whether this build, on this core, rounds as NUMERICS.md asks. */
int bitx_floats_are_sound(void);

#endif /* BITX_FLOATS_H */
