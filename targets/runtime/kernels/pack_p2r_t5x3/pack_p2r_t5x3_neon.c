/* pack_p2r_t5x3_neon.c - Armv7-A and Armv8.0-A: what two codes make is looked up and merged. */
#include "pack_p2r_t5x3.h"

#include "../gemv_s32_s8_t5x3/gemv_s32_s8_t5x3.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

/* Of the rows of tiles first and second. */
static const uint8_t tables[3][2][32] = {
    {{BITX_T5X3_CODES(BITX_P2R_0_OF_0)}, {BITX_T5X3_CODES(BITX_P2R_0_OF_1)}},
    {{BITX_T5X3_CODES(BITX_P2R_1_OF_1)}, {BITX_T5X3_CODES(BITX_P2R_1_OF_2)}},
    {{BITX_T5X3_CODES(BITX_P2R_2_OF_2)}, {BITX_T5X3_CODES(BITX_P2R_2_OF_3)}},
};

#ifdef __aarch64__

/* clang-format off */
/* Codes in v16 and v17 become v18 or v19; what they make is in v28 to v31. */
#define LOOK_UP(made)                                                                              \
    "tbl v" #made ".16b, {v28.16b, v29.16b}, v16.16b\n"                                            \
    "tbl v17.16b, {v30.16b, v31.16b}, v17.16b\n"                                                   \
    "orr v" #made ".16b, v" #made ".16b, v17.16b\n"

/* Codes that are the upper bits of one vector of a tile. */
#define UPPER(made, first, second)                                                                 \
    "ushr v16.16b, v" #first ".16b, #3\n"                                                          \
    "ushr v17.16b, v" #second ".16b, #3\n"                                                         \
    LOOK_UP(made)

/* Codes whose lower bits are those of one vector; the rest is in another. */
#define LOWER(made, first, second, more_first, more_second)                                        \
    "sli v" #first ".16b, v" #more_first ".16b, #3\n"                                              \
    "sli v" #second ".16b, v" #more_second ".16b, #3\n"                                            \
    "and v16.16b, v" #first ".16b, %[low5].16b\n"                                                  \
    "and v17.16b, v" #second ".16b, %[low5].16b\n"                                                 \
    LOOK_UP(made)

/* The rest that is in the bits above the lowest of one vector. */
#define REST(first, second)                                                                        \
    "ushr v16.16b, v" #first ".16b, #1\n"                                                          \
    "ushr v17.16b, v" #second ".16b, #1\n"

/* Tiles are in v0 to v4 and in v5 to v9. */
static void pack(uint8_t *p2r, const uint8_t *first, const uint8_t *second,
                 const uint8_t entries[2][32], size_t k)
{
    const uint8_t *const end = p2r + 4 * k;
    __asm__ volatile("ld1 {v28.16b, v29.16b, v30.16b, v31.16b}, [%[entries]]\n"
            "1:\n"
            "ldp q0, q1, [%[first]], #80\n"
            "ldp q5, q6, [%[second]], #80\n"
            "ldp q2, q3, [%[first], #-48]\n"
            "ldp q7, q8, [%[second], #-48]\n"
            "ldr q4, [%[first], #-16]\n"
            "ldr q9, [%[second], #-16]\n"
            UPPER(18, 0, 5) UPPER(19, 1, 6)
            "stp q18, q19, [%[p2r]], #128\n"
            UPPER(18, 2, 7) UPPER(19, 3, 8)
            "stp q18, q19, [%[p2r], #-96]\n"
            UPPER(18, 4, 9)
            REST(1, 6) LOWER(19, 0, 5, 16, 17)
            "stp q18, q19, [%[p2r], #-64]\n"
            REST(3, 8) LOWER(18, 2, 7, 16, 17)
            "sli v1.16b, v3.16b, #1\n"
            "sli v6.16b, v8.16b, #1\n"
            LOWER(19, 4, 9, 1, 6)
            "stp q18, q19, [%[p2r], #-32]\n"
            "cmp %[p2r], %[end]\n"
            "b.ne 1b\n"
            : [p2r] "+r"(p2r), [first] "+r"(first), [second] "+r"(second)
            : [end] "r"(end), [entries] "r"(entries), [low5] "w"(vdupq_n_u8(31))
            : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v16",
              "v17", "v18", "v19", "v28", "v29", "v30", "v31");
}
/* clang-format on */

#else

static inline uint8x16_t look_up(uint8x8x4_t table, uint8x16_t codes)
{
    return vcombine_u8(vtbl4_u8(table, vget_low_u8(codes)), vtbl4_u8(table, vget_high_u8(codes)));
}

static inline uint8x8x4_t load_table(const uint8_t entries[32])
{
    return (uint8x8x4_t){
        {vld1_u8(entries), vld1_u8(entries + 8), vld1_u8(entries + 16), vld1_u8(entries + 24)}};
}

/* Lower bits of one vector, the rest of others. */
static inline uint8x16_t joined(uint8x16_t low3, uint8x16_t high2)
{
    return vandq_u8(vsliq_n_u8(low3, high2, 3), vdupq_n_u8(31));
}

/* A table takes four registers: one row of tiles after the other. */
static void pack_one(uint8_t *p2r, const uint8_t *tile, uint8x8x4_t table, size_t k, int is_first)
{
    for (size_t i = 0; i < k; i += 32, tile += 80) {
        const uint8x16_t b0 = vld1q_u8(tile), b1 = vld1q_u8(tile + 16), b2 = vld1q_u8(tile + 32);
        const uint8x16_t b3 = vld1q_u8(tile + 48), b4 = vld1q_u8(tile + 64);
        const uint8x16_t codes[8] = {vshrq_n_u8(b0, 3),
                                     vshrq_n_u8(b1, 3),
                                     vshrq_n_u8(b2, 3),
                                     vshrq_n_u8(b3, 3),
                                     vshrq_n_u8(b4, 3),
                                     joined(b0, vshrq_n_u8(b1, 1)),
                                     joined(b2, vshrq_n_u8(b3, 1)),
                                     joined(b4, vsliq_n_u8(b1, b3, 1))};
        for (size_t g = 0; g < 8; g++, p2r += 16) {
            const uint8x16_t made = look_up(table, codes[g]);
            vst1q_u8(p2r, is_first ? made : vorrq_u8(vld1q_u8(p2r), made));
        }
    }
}

static void pack(uint8_t *p2r, const uint8_t *first, const uint8_t *second,
                 const uint8_t entries[2][32], size_t k)
{
    pack_one(p2r, first, load_table(entries[0]), k, 1);
    pack_one(p2r, second, load_table(entries[1]), k, 0);
}

#endif

void bitx_pack_p2r_t5x3_neon(uint8_t *restrict p2r, const uint8_t *restrict w, size_t tiles,
                             size_t k, size_t stride)
{
    for (size_t made = 0; made < 3; made++) {
        const uint8_t *const first = w + (made < tiles ? made : tiles - 1) * stride;
        const uint8_t *const second = w + (made + 1 < tiles ? made + 1 : tiles - 1) * stride;
        pack(p2r + made * 4 * k, first, second, tables[made], k);
    }
}
