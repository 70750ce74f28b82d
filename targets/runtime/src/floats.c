/* floats.c - sums in eight lanes, the largest magnitude, f16. */
#include "floats.h"

/* In each, count is cut into blocks of eight and a rest; lane l takes element 8i + l. */
#define SUM_IN_LANES(term)                                                                         \
    bitx_lanes sum = {{0}};                                                                        \
    size_t first = 0;                                                                              \
    for (; first + 8 <= count; first += 8)                                                         \
        for (size_t l = 0, i = first; l < 8; l++, i++)                                             \
            sum.lane[l] += (term);                                                                 \
    for (size_t l = 0, i = first; i < count; l++, i++)                                             \
        sum.lane[l] += (term);                                                                     \
    return bitx_lane_total(&sum)

float bitx_lane_sum(const float *x, size_t count)
{
    SUM_IN_LANES(x[i]);
}

float bitx_lane_sum_of_magnitudes(const float *x, size_t count)
{
    SUM_IN_LANES(bitx_float(bitx_magnitude(x[i])));
}

float bitx_lane_dot(const float *x, const float *y, size_t count)
{
    SUM_IN_LANES(x[i] * y[i]);
}

float bitx_lane_dot_bf16(const float *x, const uint16_t *y, size_t count)
{
    SUM_IN_LANES(x[i] * bitx_from_bf16(y[i]));
}

float bitx_lane_dot_f16(const float *x, const uint16_t *y, size_t count)
{
    SUM_IN_LANES(x[i] * bitx_from_f16(y[i]));
}

float bitx_lane_dot_s8(const float *x, const int8_t *y, size_t count)
{
    SUM_IN_LANES(x[i] * (float)y[i]);
}

static inline int32_t larger(int32_t a, float x)
{
    const int32_t magnitude = (int32_t)bitx_magnitude(x);
    return magnitude > a ? magnitude : a;
}

/* Two vectors of four lanes.  Magnitudes have no sign bit: as int32 they compare alike, on more
 * machines in vectors. */
#define LARGEST_IN_LANES(term)                                                                     \
    int32_t largest = 0, low[4] = {0}, high[4] = {0};                                              \
    size_t first = 0;                                                                              \
    for (; first + 8 <= count; first += 8)                                                         \
        for (size_t l = 0; l < 4; l++) {                                                           \
            low[l] = larger(low[l], term(first + l));                                              \
            high[l] = larger(high[l], term(first + 4 + l));                                        \
        }                                                                                          \
    for (; first < count; first++)                                                                 \
        largest = larger(largest, term(first));                                                    \
    for (size_t l = 0; l < 4; l++) {                                                               \
        largest = low[l] > largest ? low[l] : largest;                                             \
        largest = high[l] > largest ? high[l] : largest;                                           \
    }                                                                                              \
    return (uint32_t)largest

uint32_t bitx_largest_magnitude(const float *x, size_t count)
{
#define TERM(i) (x[i])
    LARGEST_IN_LANES(TERM);
#undef TERM
}

uint32_t bitx_largest_normalized(const float *x, float by, const float *weight, size_t count)
{
#define TERM(i) ((x[i] * by) * weight[i])
    LARGEST_IN_LANES(TERM);
#undef TERM
}

/* A magnitude below 2^-14 has a subnormal f16: adding 1/2 leaves its bits, rounded, at the end. */
static uint32_t subnormal_f16(uint32_t magnitude)
{
    return bitx_bits(bitx_float(magnitude) + 0x1p-1f) - 0x3f000000u;
}

uint16_t bitx_to_f16_by_bits(float x)
{
    const uint32_t magnitude = bitx_magnitude(x), sign = bitx_bits(x) >> 16 & 0x8000;
    uint32_t half = 0x7c00;
    if (magnitude < 0x38800000u)
        half = subnormal_f16(magnitude);
    else if (magnitude < 0x477ff000u)
        half = (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13;
    return (uint16_t)(sign | half);
}

/* Volatile: the questions must reach the core, not the compiler. */
static int rounds(float a, float b, float product_plus, uint32_t expected)
{
    volatile float va = a, vb = b, vc = product_plus;
    const float x = va, y = vb, z = vc;
    return bitx_bits(x * y + z) == expected;
}

static int divides(float a, float b, uint32_t expected)
{
    volatile float va = a, vb = b;
    const float x = va, y = vb;
    return bitx_bits(x / y) == expected;
}

static int converts(int32_t i, uint32_t expected)
{
    volatile int32_t integer = i;
    return bitx_bits((float)integer) == expected;
}

static int roots(float a, uint32_t expected)
{
    volatile float square = a;
    return bitx_bits(__builtin_sqrtf(square)) == expected;
}

int bitx_floats_are_sound(void)
{
    return rounds(0x1.001p0f, 0x1.001p0f, -0x1.002p0f, 0)     /* not contracted */
           && rounds(0x1p-126f, 0x1p-1f, 0, 0x00400000)       /* subnormals out */
           && rounds(0x1p-127f, 0x1p1f, 0, 0x00800000)        /* subnormals in */
           && rounds(1, 1, 0x1p-24f, 0x3f800000)              /* a tie goes to even, not up */
           && rounds(-1, 1, -0x1p-24f, 0xbf800000)            /* nor down */
           && rounds(1, 1, 0x1.8p-24f, 0x3f800001)            /* nor is the rest cut off */
           && rounds(0x1p127f, 0x1p1f, -0x1p127f, 0x7f800000) /* no wider exponent */
           && divides(1, 3, 0x3eaaaaab) && roots(2, 0x3fb504f3) &&
           converts(0x01000003, 0x4b800002) && converts(-0x01000001, 0xcb800000);
}
