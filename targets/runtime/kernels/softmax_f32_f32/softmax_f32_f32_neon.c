/* softmax_f32_f32_neon.c - Armv8.0-A: eight positions, the eight lanes of their sum. */
#include "softmax_f32_f32.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif

#ifdef __aarch64__ /* vectors of Armv7-A flush subnormals */
#include <arm_neon.h>

#include "../../src/floats.h"

enum { LANES = 8 };

/* a * b + c, rounded twice */
static inline float32x4_t add_product(float32x4_t a, float32x4_t b, float c)
{
    return vaddq_f32(vmulq_f32(a, b), vdupq_n_f32(c));
}

/* 2^i from exponent bits; i + 127 lies within them. */
static inline float32x4_t power_of_two(int32x4_t i)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(i, vdupq_n_s32(127)), 23));
}

/* NUMERICS.md, section 2, for x that is not above 88. */
static inline float32x4_t exponential(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(0x1.8p23f), one = vdupq_n_f32(1.0f);
    const float32x4_t shifted = add_product(x, vdupq_n_f32(0x1.715476p+0f), 0x1.8p23f);
    const float32x4_t n = vsubq_f32(shifted, magic);
    const float32x4_t r = vsubq_f32(vsubq_f32(x, vmulq_f32(n, vdupq_n_f32(0x1.62e4p-1f))),
                                    vmulq_f32(n, vdupq_n_f32(0x1.7f7d1cp-20f)));
    float32x4_t p = vdupq_n_f32(0x1.6d110ap-10f);
    p = add_product(p, r, 0x1.120b6ep-7f);
    p = add_product(p, r, 0x1.55551ap-5f);
    p = add_product(p, r, 0x1.5554dcp-3f);
    p = add_product(p, r, 0x1p-1f);
    const float32x4_t y = vaddq_f32(one, vaddq_f32(r, vmulq_f32(vmulq_f32(r, r), p)));

    const int32x4_t integer =
        vsubq_s32(vreinterpretq_s32_f32(shifted), vreinterpretq_s32_f32(magic));
    const int32x4_t a = vshrq_n_s32(integer, 1), b = vsubq_s32(integer, a);
    const float32x4_t result = vmulq_f32(vmulq_f32(y, power_of_two(a)), power_of_two(b));
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(-87.0f));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(result), below));
}

/* Of b what is larger than a, else a: a NaN in b is passed over, one in a stays. */
static inline float32x4_t larger(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(b, a), b, a);
}

/* Scales; returns the largest. */
static float scale_all(float *e, float scale, size_t n)
{
    float32x4_t most = vdupq_n_f32(e[0] * scale), most_high = most;
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const float32x4_t low = vmulq_n_f32(vld1q_f32(e + j), scale);
        const float32x4_t high = vmulq_n_f32(vld1q_f32(e + j + 4), scale);
        vst1q_f32(e + j, low);
        vst1q_f32(e + j + 4, high);
        most = larger(most, low);
        most_high = larger(most_high, high);
    }
    float largest = vmaxvq_f32(larger(most, most_high));
    for (; j < n; j++) {
        e[j] = e[j] * scale;
        if (e[j] > largest) largest = e[j];
    }
    return largest;
}

void bitx_softmax_f32_f32_neon(float *restrict z, float *restrict e, float scale, size_t n)
{
    const float largest = scale_all(e, scale, n);
    const float32x4_t subtrahend = vdupq_n_f32(largest);
    float32x4_t low = vdupq_n_f32(0), high = low;
    bitx_lanes sum;
    size_t j = 0;

    for (; j + LANES <= n; j += LANES) {
        const float32x4_t of_low = exponential(vsubq_f32(vld1q_f32(e + j), subtrahend));
        const float32x4_t of_high = exponential(vsubq_f32(vld1q_f32(e + j + 4), subtrahend));
        vst1q_f32(e + j, of_low);
        vst1q_f32(e + j + 4, of_high);
        low = vaddq_f32(low, of_low);
        high = vaddq_f32(high, of_high);
    }
    vst1q_f32(sum.lane, low);
    vst1q_f32(sum.lane + 4, high);
    for (size_t lane = 0; j < n; lane++, j++) {
        e[j] = bitx_exp(e[j] - largest);
        sum.lane[lane] += e[j];
    }
    *z = bitx_lane_total(&sum);
}

#endif
