/* gemv_s32_s8_p2b_neon.c - Armv8.0-A: products of three columns, looked up for 32 rows at a time.
 *
 * Of a block of 24 columns, eight lookups of h and of l (tables_s8_p2b.h) add up in 8 bits, in
 * -96 ... 96 and 0 ... 248; blocks add up in 16 bits.
 */
#include "gemv_s32_s8_p2b.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#ifdef __aarch64__

/* Sums of 264 blocks would still fit 16 bits.  So few keep their tables, 16 KiB, in the first cache
 * for all rows of a task. */
enum { BLOCK = 24, MOST_BLOCKS = 32, TILE_BYTES = 96, TABLE_BYTES = 512 };

#include "../look_up_p2b_neon.def"

/* clang-format off */
/* What one table adds to START's sums of both tiles. */
#define ADD(a, b, h, h2, l, l2)                                                                    \
    "tbl v28.16b, {" h ".16b, " h2 ".16b}, " a ".16b\n"                                            \
    "tbl v29.16b, {" l ".16b, " l2 ".16b}, " a ".16b\n"                                            \
    "tbl v30.16b, {" h ".16b, " h2 ".16b}, " b ".16b\n"                                            \
    "add v8.16b, v8.16b, v28.16b\n"                                                                \
    "tbl v28.16b, {" l ".16b, " l2 ".16b}, " b ".16b\n"                                            \
    "add v9.16b, v9.16b, v29.16b\n"                                                                \
    "add v10.16b, v10.16b, v30.16b\n"                                                              \
    "add v11.16b, v11.16b, v28.16b\n"

/* 12 columns: four tables, in v12 to v15 and v16 to v19 by turns; bytes of the tiles in v20 to v22
 * and in v23 to v25, indices in v26 and v27. */
#define TWELVE(FIRST)                                                                              \
    "ld1 {v20.16b, v21.16b, v22.16b}, [%[a]], #48\n"                                               \
    "ld1 {v12.16b, v13.16b, v14.16b, v15.16b}, [%[tables]], #64\n"                                 \
    "ld1 {v23.16b, v24.16b, v25.16b}, [%[b]], #48\n"                                               \
    "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[tables]], #64\n"                                 \
    "and v26.16b, v20.16b, v31.16b\n"                                                              \
    "and v27.16b, v23.16b, v31.16b\n"                                                              \
    FIRST("v26", "v27", "v12", "v13", "v14", "v15")                                                \
    "ld1 {v12.16b, v13.16b, v14.16b, v15.16b}, [%[tables]], #64\n"                                 \
    "and v26.16b, v21.16b, v31.16b\n"                                                              \
    "and v27.16b, v24.16b, v31.16b\n"                                                              \
    ADD("v26", "v27", "v16", "v17", "v18", "v19")                                                  \
    "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[tables]], #64\n"                                 \
    "ushr v26.16b, v21.16b, #3\n"                                                                  \
    "ushr v27.16b, v24.16b, #3\n"                                                                  \
    "sri v26.16b, v20.16b, #5\n"                                                                   \
    "sri v27.16b, v23.16b, #5\n"                                                                   \
    ADD("v22", "v25", "v12", "v13", "v14", "v15")                                                  \
    ADD("v26", "v27", "v16", "v17", "v18", "v19")

#define ONE_BLOCK                                                                                  \
    TWELVE(START) TWELVE(ADD)                                                                      \
    WIDEN

/* Two tiles of 16 rows, a and b, which add to 16 sums each. */
static inline void add_tiles(int32_t *y_a, int32_t *y_b, const uint8_t *tables, const uint8_t *a,
                             const uint8_t *b, size_t blocks)
{
    size_t twos = blocks / 2;
    __asm__ volatile(
        "movi v0.16b, #0\n movi v1.16b, #0\n movi v2.16b, #0\n movi v3.16b, #0\n"
        "movi v4.16b, #0\n movi v5.16b, #0\n movi v6.16b, #0\n movi v7.16b, #0\n"
        "movi v31.16b, #31\n"
        "cbz %[twos], 2f\n"
        "1:\n"
        ONE_BLOCK ONE_BLOCK
        "subs %[twos], %[twos], #1\n"
        "b.ne 1b\n"
        "2:\n"
        "tbz %[blocks], #0, 3f\n"
        ONE_BLOCK
        "3:\n"
        ADD_TO("%[y_a]", "v0", "v1", "v2", "v3")
        ADD_TO("%[y_b]", "v4", "v5", "v6", "v7")
        : [tables] "+r"(tables), [a] "+r"(a), [b] "+r"(b), [twos] "+r"(twos)
        : [y_a] "r"(y_a), [y_b] "r"(y_b), [blocks] "r"(blocks)
        : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
          "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
          "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
/* clang-format on */

void bitx_gemv_s32_s8_p2b_neon(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict tables, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    (void)x;
    for (size_t left = (k + BLOCK - 1) / BLOCK; left > 0;) {
        const size_t blocks = left < MOST_BLOCKS ? left : MOST_BLOCKS;
        size_t row = 0;
        for (; row + 16 < n; row += 32) {
            const uint8_t *tile = w + row / 16 * stride;
            add_tiles(y + row, y + row + 16, tables, tile, tile + stride, blocks);
        }
        if (row < n) { /* its sums twice, once for nobody */
            int32_t unused[16] = {0};
            const uint8_t *tile = w + row / 16 * stride;
            add_tiles(y + row, unused, tables, tile, tile, blocks);
        }
        left -= blocks;
        tables += blocks * TABLE_BYTES;
        w += blocks * TILE_BYTES;
    }
}

#endif
