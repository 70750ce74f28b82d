/* gemv_s32_s8_b1r_mve.c - Armv8.1-M with Helium: 4 rows and 16 columns at a time.
 *
 * VMLADAVA adds up a whole register, so that must hold one lane of four tiles: a gathering load
 * picks its words, 16 bytes apart, and so 16 columns of the same 8 rows.
 * General registers suffice for the sums over four prefixes at a time: b & 7 less b & 3 is bit 2,
 * times 4.  A prefix is in [0, 127], the whole byte, signed, in [-128, 127]; 128 * 128 * k < 2^31,
 * so no sum wraps.
 */
#include "gemv_s32_s8_b1r.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif
#include <arm_mve.h>

/* Sums over four prefixes, the shortest first. */
typedef struct prefix_sums {
    int32_t a, b, c, d;
} prefix_sums;

/* The addresses of 4 words, 16 bytes apart, that come 64 bytes before the ones to load first. */
static inline uint32x4_t words_before(const uint8_t *first)
{
    const uint32x4_t distance = vshlq_n_u32(vidupq_n_u32(0, 4), 2);
    return vaddq_n_u32(distance, (uint32_t)(uintptr_t)first - 64);
}

/* Moves 64 bytes on and loads.  GCC 12 makes two loads of the intrinsic for this instruction. */
static inline int8x16_t next_words(uint32x4_t *at)
{
    uint32x4_t words;
    __asm__("vldrw.u32 %q0, [%q1, #64]!" : "=&w"(words), "+w"(*at) : : "memory");
    return vreinterpretq_s8_u32(words);
}

static inline int32_t add_prefix(int32_t sum, int8x16_t bytes, int8_t mask, int8x16_t x)
{
    return vmladavaq_s8(sum, vandq_s8(bytes, vdupq_n_s8(mask)), x);
}

/* Over the prefixes of 1 to 4 bits. */
static inline prefix_sums short_sums(const uint8_t *words, const int8_t *x, size_t k)
{
    uint32x4_t at = words_before(words);
    prefix_sums sums = {0, 0, 0, 0};
    for (size_t left = k / 16; left > 0; left--, x += 16) {
        const int8x16_t bytes = next_words(&at), x16 = vldrbq_s8(x);
        sums.a = add_prefix(sums.a, bytes, 1, x16);
        sums.b = add_prefix(sums.b, bytes, 3, x16);
        sums.c = add_prefix(sums.c, bytes, 7, x16);
        sums.d = add_prefix(sums.d, bytes, 15, x16);
    }
    return sums;
}

/* Over the prefixes of 5 to 8 bits. */
static inline prefix_sums long_sums(const uint8_t *words, const int8_t *x, size_t k)
{
    uint32x4_t at = words_before(words);
    prefix_sums sums = {0, 0, 0, 0};
    for (size_t left = k / 16; left > 0; left--, x += 16) {
        const int8x16_t bytes = next_words(&at), x16 = vldrbq_s8(x);
        sums.a = add_prefix(sums.a, bytes, 31, x16);
        sums.b = add_prefix(sums.b, bytes, 63, x16);
        sums.c = add_prefix(sums.c, bytes, 127, x16);
        sums.d = vmladavaq_s8(sums.d, bytes, x16);
    }
    return sums;
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (size_t left = k / 16; left > 0; left--, x += 16)
        sum = vaddvaq_s8(sum, vldrbq_s8(x));
    return sum;
}

/* Twice the sum of the x whose bit is set, less the sum of x. */
static inline void store(int32_t *y, prefix_sums low, prefix_sums high, int32_t x_sum)
{
    y[0] = 2 * low.a - x_sum;
    y[4] = (low.b - low.a) - x_sum;
    y[8] = ((low.c - low.b) >> 1) - x_sum;
    y[12] = ((low.d - low.c) >> 2) - x_sum;
    y[16] = ((high.a - low.d) >> 3) - x_sum;
    y[20] = ((high.b - high.a) >> 4) - x_sum;
    y[24] = ((high.c - high.b) >> 5) - x_sum;
    y[28] = ((high.c - high.d) >> 6) - x_sum; /* the sign bit counts -128 */
}

void bitx_gemv_s32_s8_b1r_mve(int32_t *restrict y, const int8_t *restrict x,
                              const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32_t x_sum = sum_of(x, k);

    for (size_t row = 0; row < n; row += 32) {
        const uint8_t *tiles = w + row / 32 * stride;
        for (size_t lane = 0; lane < 4; lane++) {
            const prefix_sums low = short_sums(tiles + 4 * lane, x, k);
            const prefix_sums high = long_sums(tiles + 4 * lane, x, k);
            store(y + row + lane, low, high, x_sum);
        }
    }
}
