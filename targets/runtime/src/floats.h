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

/* All bits, or none: a choice without a branch. */
static inline uint32_t bitx_mask(int is_true)
{
    return 0u - (uint32_t)is_true;
}

/* Ordered like |x|; at BITX_INFINITY_BITS or above, x is not finite. */
static inline uint32_t bitx_magnitude(float x)
{
    return bitx_bits(x) & 0x7fffffffu;
}

/* Does something for each i below count, in no order.  The inner loop has a length that the
 * compiler knows: where the statement has no branch and its pointers are restrict, it becomes
 * vectors.  On Cortex-M floats have no vectors: one loop is less code. */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define BITX_EACH(i, count, statement)                                                             \
    do {                                                                                           \
        for (size_t i = 0; i < (count); i++) {                                                     \
            statement;                                                                             \
        }                                                                                          \
    } while (0)
#else
#define BITX_EACH(i, count, statement)                                                             \
    do {                                                                                           \
        const size_t whole_blocks = (count) & ~(size_t)15;                                         \
        for (size_t block = 0; block < whole_blocks; block += 16)                                  \
            for (size_t of_block = 0; of_block < 16; of_block++) {                                 \
                const size_t i = block + of_block;                                                 \
                statement;                                                                         \
            }                                                                                      \
        for (size_t i = whole_blocks; i < (count); i++) {                                          \
            statement;                                                                             \
        }                                                                                          \
    } while (0)
#endif

/* Largest magnitude of all x, or of all (x * by) * weight. */
uint32_t bitx_largest_magnitude(const float *x, size_t count);
uint32_t bitx_largest_normalized(const float *x, float by, const float *weight, size_t count);

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

uint16_t bitx_to_f16_by_bits(float x);

/* Rounds to nearest even.  The result of |x| >= 65520, and of NaN, is not finite: 0x7c00 or above
 * without its sign. */
static inline uint16_t bitx_to_f16(float x)
{
#ifdef __aarch64__
    const __fp16 half = (__fp16)x; /* one instruction of every such core */
    uint16_t bits;
    bitx_copy(&bits, &half, sizeof bits);
    return bits;
#else
    return bitx_to_f16_by_bits(x);
#endif
}

/* e^x as NUMERICS.md, section 2: without a branch, so that a loop of it can become vectors. */
static inline float bitx_exp(float x)
{
    const float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    const float n = shifted - 0x1.8p23f;
    const float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    float p = 0x1.6d110ap-10f;
    p = p * r + 0x1.120b6ep-7f;
    p = p * r + 0x1.55551ap-5f;
    p = p * r + 0x1.5554dcp-3f;
    p = p * r + 0x1p-1f;
    const float y = 1.0f + (r + (r * r) * p);

    /* n = a + b, kept above zero so that halving rounds down. */
    const uint32_t above = bitx_bits(shifted) - 0x4b400000u + 256;
    const uint32_t a = above >> 1, b = above - a;
    const uint32_t result = bitx_bits((y * bitx_float((a - 1) << 23)) * bitx_float((b - 1) << 23));

    /* From -infinity to below -87, and from above 88 to infinity, by their bits. */
    const uint32_t bits = bitx_bits(x);
    const uint32_t low = bitx_mask(bits - 0xc2ae0001u <= 0xff800000u - 0xc2ae0001u);
    const uint32_t high = bitx_mask(bits - 0x42b00001u <= 0x7f800000u - 0x42b00001u);
    return bitx_float((result & ~low & ~high) | (BITX_INFINITY_BITS & high));
}

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
float bitx_lane_dot_s8(const float *x, const int8_t *y, size_t count);

/* Whether this build, on this core, rounds as NUMERICS.md asks. */
int bitx_floats_are_sound(void);

#endif /* BITX_FLOATS_H */
