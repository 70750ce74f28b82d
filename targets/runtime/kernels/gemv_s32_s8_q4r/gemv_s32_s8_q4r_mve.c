/* gemv_s32_s8_q4r_mve.c - Armv8.1-M with Helium: 4 rows and 16 columns at a time.
 *
 * VMLADAVA adds up a whole register, so that must hold one lane of four tiles: a gathering load
 * picks its words, 16 bytes apart, and so 16 columns of the same 2 rows.
 * Multiplies the low half of a byte, then the whole of it, signed, and subtracts.  Both are in
 * [-128, 127]; 128 * 128 * k < 2^31, so no sum wraps.
 */
#include "gemv_s32_s8_q4r.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif
#include <arm_mve.h>

/* Sums over the low 4 and over all 8 bits. */
typedef struct prefix_sums {
    int32_t bits4, bits8;
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
    sums.bits4 = vmladavaq_s8(sums.bits4, vandq_s8(b, vdupq_n_s8(15)), x);
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

static inline void store(int32_t *y, prefix_sums sums, int32_t eight_x_sum)
{
    y[0] = sums.bits4 - eight_x_sum;
    y[4] = (sums.bits8 - sums.bits4) >> 4;
}

void bitx_gemv_s32_s8_q4r_mve(int32_t *restrict y, const int8_t *restrict x,
                              const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32_t eight_x_sum = 8 * sum_of(x, k);

    for (size_t row = 0; row < n; row += 8) {
        const uint8_t *tiles = w + row / 8 * stride;
        for (size_t lane = 0; lane < 4; lane += 2) {
            uint32x4_t at_even = words_before(tiles + 4 * lane);
            uint32x4_t at_odd = words_before(tiles + 4 * lane + 4);
            const int8_t *columns = x;
            prefix_sums even = {0, 0}, odd = {0, 0};
            for (size_t left = k / 16; left > 0; left--, columns += 16) {
                const int8x16_t x16 = vldrbq_s8(columns);
                even = add_columns(even, next_words(&at_even), x16);
                odd = add_columns(odd, next_words(&at_odd), x16);
            }
            store(y + row + lane, even, eight_x_sum);
            store(y + row + lane + 1, odd, eight_x_sum);
        }
    }
}
