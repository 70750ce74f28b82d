/* tables_s8_p2b_neon.c - Armv8.0-A: a table is four vectors of int16, then bytes.
 *
 * Products are made eight times too large: of 8 v the upper byte is h, the lower 8 l.
 */
#include "tables_s8_p2b.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#ifdef __aarch64__

enum { BLOCK = 24 };

/* The three weights of every index, 8 to a vector. */
static const int16_t weights[3][32] = {
    {-1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1},
    {-1, -1, -1, 0, 0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1},
    {-1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
};

typedef struct digits {
    int16x8_t of[3][4];
} digits;

/* In registers: GCC 12 would load a constant anew wherever it is used. */
static inline digits load_digits(void)
{
    digits d;
#pragma GCC unroll 3
    for (size_t i = 0; i < 3; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) {
            int16x8_t eight = vld1q_s16(&weights[i][8 * j]);
            __asm__("" : "+w"(eight));
            d.of[i][j] = eight;
        }
    return d;
}

/* The lane of a vector must be a constant. */
#define PRODUCTS(d, j, a, a_lane, b, b_lane, c, c_lane)                                            \
    vreinterpretq_u8_s16(vmlaq_laneq_s16(                                                          \
        vmlaq_laneq_s16(vmulq_laneq_s16((d).of[0][j], a, a_lane), (d).of[1][j], b, b_lane),        \
        (d).of[2][j], c, c_lane))
#define TABLE(to, d, a, a_lane, b, b_lane, c, c_lane)                                              \
    store_table(to, PRODUCTS(d, 0, a, a_lane, b, b_lane, c, c_lane),                               \
                PRODUCTS(d, 1, a, a_lane, b, b_lane, c, c_lane),                                   \
                PRODUCTS(d, 2, a, a_lane, b, b_lane, c, c_lane),                                   \
                PRODUCTS(d, 3, a, a_lane, b, b_lane, c, c_lane))

static inline void store_table(uint8_t *to, uint8x16_t v0, uint8x16_t v1, uint8x16_t v2,
                               uint8x16_t v3)
{
    vst1q_u8(to, vuzp2q_u8(v0, v1));
    vst1q_u8(to + 16, vuzp2q_u8(v2, v3));
    vst1q_u8(to + 32, vshrq_n_u8(vuzp1q_u8(v0, v1), 3));
    vst1q_u8(to + 48, vshrq_n_u8(vuzp1q_u8(v2, v3), 3));
}

static inline void make_block(uint8_t *to, const int8_t *x, digits d)
{
    const int16x8_t a = vshll_n_s8(vld1_s8(x), 3), b = vshll_n_s8(vld1_s8(x + 8), 3);
    const int16x8_t c = vshll_n_s8(vld1_s8(x + 16), 3);
    TABLE(to, d, a, 0, a, 1, a, 2);
    TABLE(to + 64, d, a, 3, a, 4, a, 5);
    TABLE(to + 128, d, a, 6, a, 7, b, 0);
    TABLE(to + 192, d, b, 1, b, 2, b, 3);
    TABLE(to + 256, d, b, 4, b, 5, b, 6);
    TABLE(to + 320, d, b, 7, c, 0, c, 1);
    TABLE(to + 384, d, c, 2, c, 3, c, 4);
    TABLE(to + 448, d, c, 5, c, 6, c, 7);
}

void bitx_tables_s8_p2b_neon(uint8_t *restrict tables, const int8_t *restrict x, size_t k)
{
    const digits d = load_digits();
    int8_t last[BLOCK] = {0};

    for (; k >= BLOCK; k -= BLOCK, x += BLOCK, tables += 512)
        make_block(tables, x, d);
    if (k == 0) return;
    for (size_t i = 0; i < k; i++)
        last[i] = x[i];
    make_block(tables, last, d);
}

#endif
