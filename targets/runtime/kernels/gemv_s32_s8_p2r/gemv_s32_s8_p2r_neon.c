/* gemv_s32_s8_p2r_neon.c - Armv7-A and Armv8.0-A: widening multiplies, integers only.
 *
 * Of a byte, with c0 .. c2 its codes and w3 its signed top, four parts are multiplied: c0, c0 + 4
 * c1, c2 and c2 + 4 w3.  Sums of a block of columns fit int16; blocks add up in memory.  The loops
 * are written by hand: sums, tiles and what is made of them take every register, and GCC 12 wants
 * more.
 */
#include "gemv_s32_s8_p2r.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Lane l in element l. */
typedef struct part_sums {
    int32x4_t bits10, bits30, bits54, bits74;
} part_sums;

#ifdef __aarch64__

/* By lane of a tile and part of a byte; a sum is in pieces of four. */
typedef struct wide_sums {
    int32x4_t of[4][4];
} wide_sums;

/* 16 products in a piece: 16 * 15 * 128 < 2^15. */
enum { BLOCK = 128 };

/* clang-format off */
/* 16 columns of one lane, four rows, times x in v20.  Sums are in v0 to v15. */
#define ADD_LANE(mull, words, sum10, sum30, sum54, sum74)                                          \
    "and v21.16b, v" #words ".16b, %[low4].16b\n"                                                  \
    "sshr v22.16b, v" #words ".16b, #4\n"                                                          \
    "and v23.16b, v21.16b, %[low2].16b\n"                                                          \
    "and v24.16b, v22.16b, %[low2].16b\n"                                                          \
    mull " v" #sum30 ".8h, v21.8b, v20.8b\n"                                                       \
    mull " v" #sum74 ".8h, v22.8b, v20.8b\n"                                                       \
    mull " v" #sum10 ".8h, v23.8b, v20.8b\n"                                                       \
    mull " v" #sum54 ".8h, v24.8b, v20.8b\n"                                                       \
    "smlal2 v" #sum30 ".8h, v21.16b, v20.16b\n"                                                    \
    "smlal2 v" #sum74 ".8h, v22.16b, v20.16b\n"                                                    \
    "smlal2 v" #sum10 ".8h, v23.16b, v20.16b\n"                                                    \
    "smlal2 v" #sum54 ".8h, v24.16b, v20.16b\n"

/* Four tiles, a register for each lane. */
#define ADD_TILES(mull)                                                                            \
    "ld4 {v16.4s, v17.4s, v18.4s, v19.4s}, [%[tiles]], #64\n"                                      \
    "ldr q20, [%[x]], #16\n"                                                                       \
    ADD_LANE(mull, 16, 0, 1, 2, 3)                                                                 \
    ADD_LANE(mull, 17, 4, 5, 6, 7)                                                                 \
    ADD_LANE(mull, 18, 8, 9, 10, 11)                                                               \
    ADD_LANE(mull, 19, 12, 13, 14, 15)

#define WIDEN(sum0, sum1, sum2, sum3)                                                              \
    "ld1 {v16.4s, v17.4s, v18.4s, v19.4s}, [%[sums]]\n"                                            \
    "sadalp v16.4s, v" #sum0 ".8h\n"                                                               \
    "sadalp v17.4s, v" #sum1 ".8h\n"                                                               \
    "sadalp v18.4s, v" #sum2 ".8h\n"                                                               \
    "sadalp v19.4s, v" #sum3 ".8h\n"                                                               \
    "st1 {v16.4s, v17.4s, v18.4s, v19.4s}, [%[sums]], #64\n"

static inline void add_block(wide_sums *sums, const uint8_t *tiles, const int8_t *x, size_t columns)
{
    __asm__ volatile(ADD_TILES("smull")
                     "subs %[columns], %[columns], #16\n"
                     "b.eq 2f\n"
                     "1:\n"
                     ADD_TILES("smlal")
                     "subs %[columns], %[columns], #16\n"
                     "b.ne 1b\n"
                     "2:\n"
                     WIDEN(0, 1, 2, 3) WIDEN(4, 5, 6, 7) WIDEN(8, 9, 10, 11) WIDEN(12, 13, 14, 15)
                     : [sums] "+r"(sums), [tiles] "+r"(tiles), [x] "+r"(x), [columns] "+r"(columns)
                     : [low4] "w"(vdupq_n_u8(15)), [low2] "w"(vdupq_n_u8(3))
                     : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9",
                       "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20",
                       "v21", "v22", "v23", "v24");
}
/* clang-format on */

static inline int32x4_t whole(const wide_sums *sums, size_t part)
{
    return vpaddq_s32(vpaddq_s32(sums->of[0][part], sums->of[1][part]),
                      vpaddq_s32(sums->of[2][part], sums->of[3][part]));
}

static inline part_sums add_pieces(const wide_sums *sums)
{
    return (part_sums){whole(sums, 0), whole(sums, 1), whole(sums, 2), whole(sums, 3)};
}

#else

/* By part of a byte: lanes 0 and 1, then 2 and 3; a sum is in pieces of two. */
typedef struct wide_sums {
    int32x4_t of[4][2];
} wide_sums;

/* 16 products in a piece: 16 * 15 * 128 < 2^15. */
enum { BLOCK = 64 };

/* clang-format off */
/* One tile in q9 or q10 times the columns of x in a word of q8.  Sums are in q0 to q7; q11 to q13
 * are free; q14 and q15 hold the masks of 4 and 2 bits. */
#define ADD_TILE(tile, x)                                                                          \
    "vdup.32 q13, " x "\n"                                                                         \
    "vand q11, " tile ", q14\n"                                                                    \
    "vshr.s8 q12, " tile ", #4\n"                                                                  \
    "vmlal.s8 q2, d22, d26\n"                                                                      \
    "vmlal.s8 q3, d23, d27\n"                                                                      \
    "vand q11, q11, q15\n"                                                                         \
    "vmlal.s8 q6, d24, d26\n"                                                                      \
    "vmlal.s8 q7, d25, d27\n"                                                                      \
    "vand q12, q12, q15\n"                                                                         \
    "vmlal.s8 q0, d22, d26\n"                                                                      \
    "vmlal.s8 q1, d23, d27\n"                                                                      \
    "vmlal.s8 q4, d24, d26\n"                                                                      \
    "vmlal.s8 q5, d25, d27\n"

#define WIDEN(sum0, sum1)                                                                          \
    "vld1.32 {d16-d19}, [%[sums]]\n"                                                               \
    "vpadal.s16 q8, " sum0 "\n"                                                                    \
    "vpadal.s16 q9, " sum1 "\n"                                                                    \
    "vst1.32 {d16-d19}, [%[sums]]!\n"

static inline void add_block(wide_sums *sums, const uint8_t *tiles, const int8_t *x, size_t columns)
{
    __asm__ volatile("vmov.i8 q14, #15\n"
                     "vmov.i8 q15, #3\n"
                     "vmov.i8 q0, #0\n vmov.i8 q1, #0\n vmov.i8 q2, #0\n vmov.i8 q3, #0\n"
                     "vmov.i8 q4, #0\n vmov.i8 q5, #0\n vmov.i8 q6, #0\n vmov.i8 q7, #0\n"
                     "1:\n"
                     "vld1.8 {d16-d17}, [%[x]]!\n"
                     "vld1.8 {d18-d21}, [%[tiles]]!\n"
                     ADD_TILE("q9", "d16[0]") ADD_TILE("q10", "d16[1]")
                     "vld1.8 {d18-d21}, [%[tiles]]!\n"
                     ADD_TILE("q9", "d17[0]") ADD_TILE("q10", "d17[1]")
                     "subs %[columns], %[columns], #16\n"
                     "bne 1b\n"
                     WIDEN("q0", "q1") WIDEN("q2", "q3") WIDEN("q4", "q5") WIDEN("q6", "q7")
                     : [sums] "+r"(sums), [tiles] "+r"(tiles), [x] "+r"(x), [columns] "+r"(columns)
                     :
                     : "cc", "memory", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9",
                       "q10", "q11", "q12", "q13", "q14", "q15");
}
/* clang-format on */

static inline int32x4_t whole(const int32x4_t pieces[2])
{
    return vcombine_s32(vpadd_s32(vget_low_s32(pieces[0]), vget_high_s32(pieces[0])),
                        vpadd_s32(vget_low_s32(pieces[1]), vget_high_s32(pieces[1])));
}

static inline part_sums add_pieces(const wide_sums *sums)
{
    return (part_sums){whole(sums->of[0]), whole(sums->of[1]), whole(sums->of[2]),
                       whole(sums->of[3])};
}

#endif

static void store(int32_t *y, part_sums sums, int32x4_t x_sum)
{
    const int32x4_t field1 = vshrq_n_s32(vsubq_s32(sums.bits30, sums.bits10), 2);
    vst1q_s32(y + 0, vsubq_s32(sums.bits10, x_sum));
    vst1q_s32(y + 4, vsubq_s32(field1, x_sum));
    vst1q_s32(y + 8, vsubq_s32(sums.bits54, x_sum));
    vst1q_s32(y + 12, vshrq_n_s32(vsubq_s32(sums.bits74, sums.bits54), 2));
}

static int32x4_t sum_of(const int8_t *x, size_t k)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += 16)
        sum = vpadalq_s16(sum, vpaddlq_s8(vld1q_s8(x + i)));
    const int32x2_t half = vadd_s32(vget_low_s32(sum), vget_high_s32(sum));
    const int32x2_t all = vpadd_s32(half, half);
    return vcombine_s32(all, all);
}

void bitx_gemv_s32_s8_p2r_neon(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t x_sum = sum_of(x, k);

    for (size_t row = 0; row < n; row += 16, w += stride) {
        wide_sums sums;
        __builtin_memset(&sums, 0, sizeof sums);
        for (size_t i = 0; i < k; i += BLOCK)
            add_block(&sums, w + 4 * i, x + i, k - i < BLOCK ? k - i : BLOCK);
        store(y + row, add_pieces(&sums), x_sum);
    }
}
