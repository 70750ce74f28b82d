/* gemv_s32_s8_p2r_mve.c - Armv8.1-M with Helium: 4 rows and 16 columns at a time.
 *
 * VMLADAVA adds up a whole register, so that must hold one lane of four tiles: a gathering load
 * picks its words, 16 bytes apart, and so 16 columns of the same 4 rows.
 * Each prefix has its general register: 128 * 128 * k < 2^31, so none wraps.
 */
#include "gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif
#include <arm_mve.h>

/* Sums over the prefixes of 2, 4, 6 and 8 bits. */
typedef struct prefix_sums {
    int32_t bits2, bits4, bits6, bits8;
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

static inline prefix_sums add_columns(prefix_sums sums, int8x16_t b, int8x16_t x)
{
    sums.bits2 = vmladavaq_s8(sums.bits2, vandq_s8(b, vdupq_n_s8(3)), x);
    sums.bits4 = vmladavaq_s8(sums.bits4, vandq_s8(b, vdupq_n_s8(15)), x);
    sums.bits6 = vmladavaq_s8(sums.bits6, vandq_s8(b, vdupq_n_s8(63)), x);
    sums.bits8 = vmladavaq_s8(sums.bits8, b, x);
    return sums;
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (size_t left = k / 16; left > 0; left--, x += 16)
        sum = vaddvaq_s8(sum, vldrbq_s8(x));
    return sum;
}

void bitx_gemv_s32_s8_p2r_mve(int32_t *restrict y, const int8_t *restrict x,
                              const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32_t x_sum = sum_of(x, k);

    for (size_t row = 0; row < n; row += 16) {
        const uint8_t *tiles = w + row / 16 * stride;
        for (size_t lane = 0; lane < 4; lane++) {
            uint32x4_t at = words_before(tiles + 4 * lane);
            const int8_t *columns = x;
            prefix_sums sums = {0, 0, 0, 0};
            for (size_t left = k / 16; left > 0; left--, columns += 16)
                sums = add_columns(sums, next_words(&at), vldrbq_s8(columns));
            y[row + lane] = sums.bits2 - x_sum;
            y[row + lane + 4] = ((sums.bits4 - sums.bits2) >> 2) - x_sum;
            y[row + lane + 8] = ((sums.bits6 - sums.bits4) >> 4) - x_sum;
            y[row + lane + 12] = (sums.bits8 - sums.bits6) >> 6;
        }
    }
}
