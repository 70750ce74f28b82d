/* gemv_s32_s8_p2r_dsp.c - Armv7E-M and Armv8-M with the DSP extension: 4 rows at a time.
 *
 * SMLAD multiplies two halfwords at a time.  The even bytes of a word lie at the bottom of its
 * halfwords, the odd ones at the top, where they count 256: so x counts 256 for the even columns,
 * and every sum is 256 times what it stands for.  128 * 128 * 256 * BLOCK < 2^31: none wraps.
 */
#include "gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif
#include <arm_acle.h>

/* Columns, a multiple of 16, that are spread out at a time: on the stack, to save it a small one.
 */
enum { BLOCK = 480 };

/* Four columns: 0 and 2, times 256, then 1 and 3. */
typedef struct columns {
    int16x2_t even, odd;
} columns;

/* 256 times the sums over the prefixes of 2, 4, 6 and 8 bits. */
typedef struct prefix_sums {
    int32_t bits2, bits4, bits6, bits8;
} prefix_sums;

/* One instruction, wherever the four bytes lie. */
static inline uint32_t load_word(const void *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

/* GCC 12 would rotate by an instruction of its own. */
static inline int16x2_t odd_bytes(uint32_t word)
{
    int16x2_t odd;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
    return odd;
}

/* Returns the sum of x. */
static int32_t spread(columns *to, const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (size_t i = 0; i < k; i += 4, to++) {
        const uint32_t four = load_word(x + i);
        to->even = (int16x2_t)(four << 8 & 0xff00ff00u);
        to->odd = odd_bytes(four);
        sum = __smlad(__sxtb16((int8x4_t)four), 0x00010001, sum);
        sum = __smlad(to->odd, 0x00010001, sum);
    }
    return sum;
}

static inline int32_t add_masked(int32_t sum, uint32_t word, uint32_t mask, columns x)
{
    const uint32_t even = word & (mask | mask << 16), odd = word & (mask << 8 | mask << 24);
    return __smlad((int16x2_t)odd, x.odd, __smlad((int16x2_t)even, x.even, sum));
}

static inline prefix_sums add_columns(prefix_sums sums, uint32_t word, columns x)
{
    sums.bits2 = add_masked(sums.bits2, word, 3, x);
    sums.bits4 = add_masked(sums.bits4, word, 15, x);
    sums.bits6 = add_masked(sums.bits6, word, 63, x);
    sums.bits8 = __smlad(__sxtb16((int8x4_t)word), x.even, sums.bits8);
    sums.bits8 = __smlad((int16x2_t)(word & 0xff00ff00u), x.odd, sums.bits8);
    return sums;
}

static prefix_sums lane_sums(const uint8_t *words, const columns *x, size_t k)
{
    prefix_sums sums = {0, 0, 0, 0};
    for (const columns *const end = x + k / 4; x < end; x += 4, words += 64) {
        sums = add_columns(sums, load_word(words), x[0]);
        sums = add_columns(sums, load_word(words + 16), x[1]);
        sums = add_columns(sums, load_word(words + 32), x[2]);
        sums = add_columns(sums, load_word(words + 48), x[3]);
    }
    return sums;
}

static void add_block(int32_t *restrict y, const int8_t *restrict x, const uint8_t *restrict w,
                      size_t n, size_t k, size_t stride)
{
    columns block[BLOCK / 4];
    const int32_t x_sum = spread(block, x, k);

    for (size_t row = 0; row < n; row += 16, w += stride)
        for (size_t lane = 0; lane < 4; lane++) {
            const prefix_sums sums = lane_sums(w + 4 * lane, block, k);
            int32_t *const out = y + row + lane;
            out[0] += (sums.bits2 >> 8) - x_sum;
            out[4] += ((sums.bits4 - sums.bits2) >> 10) - x_sum;
            out[8] += ((sums.bits6 - sums.bits4) >> 12) - x_sum;
            out[12] += (sums.bits8 - sums.bits6) >> 14;
        }
}

void bitx_gemv_s32_s8_p2r_dsp(int32_t *restrict y, const int8_t *restrict x,
                              const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row++)
        y[row] = 0;
    for (size_t i = 0; i < k; i += BLOCK)
        add_block(y, x + i, w + 4 * i, n, k - i < BLOCK ? k - i : BLOCK, stride);
}
