/* gemm_s32_s8_p2b_neon.c - Armv8.0-A: products of three columns, looked up for 32 rows at a time.
 *
 * As gemv_s32_s8_p2b_neon.c, but the indices of 32 rows and some blocks of columns are unpacked to
 * the stack and serve all columns of x.  Of a block, eight lookups of h and of l (tables_s8_p2b.h)
 * add up in 8 bits, in -96 ... 96 and 0 ... 248; blocks add up in 16 bits.
 */
#include "gemm_s32_s8_p2b.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#ifdef __aarch64__

/* Sums of 264 blocks would still fit 16 bits; the indices of 16 take 4 KiB of stack. */
enum { BLOCK = 24, MOST_BLOCKS = 16, TILE_BYTES = 96, TABLE_BYTES = 512 };

/* Of a block: by group of three columns, the indices of two tiles of 16 rows. */
typedef struct indices {
    uint8_t of[MOST_BLOCKS][8][2][16];
} indices;

/* The four indices of a tile go to every second place. */
static inline void unpack_tile(uint8_t *to, const uint8_t *w)
{
    const uint8x16_t first = vld1q_u8(w), second = vld1q_u8(w + 16), five = vdupq_n_u8(31);
    vst1q_u8(to, vandq_u8(first, five));
    vst1q_u8(to + 32, vandq_u8(second, five));
    vst1q_u8(to + 64, vld1q_u8(w + 32));
    vst1q_u8(to + 96, vsriq_n_u8(vshrq_n_u8(second, 3), first, 5));
}

static void unpack(indices *to, const uint8_t *a, const uint8_t *b, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++)
        for (size_t half = 0; half < 2; half++, a += TILE_BYTES / 2, b += TILE_BYTES / 2) {
            unpack_tile(to->of[i][4 * half][0], a);
            unpack_tile(to->of[i][4 * half][1], b);
        }
}

#include "../look_up_p2b_neon.def"

/* clang-format off */
/* What one table adds to START's sums of both tiles. */
#define ADD(a, b, h, h2, l, l2)                                                                    \
    "tbl v28.16b, {" h ".16b, " h2 ".16b}, " a ".16b\n"                                            \
    "tbl v29.16b, {" l ".16b, " l2 ".16b}, " a ".16b\n"                                            \
    "tbl v30.16b, {" h ".16b, " h2 ".16b}, " b ".16b\n"                                            \
    "tbl v31.16b, {" l ".16b, " l2 ".16b}, " b ".16b\n"                                            \
    "add v8.16b, v8.16b, v28.16b\n"                                                                \
    "add v9.16b, v9.16b, v29.16b\n"                                                                \
    "add v10.16b, v10.16b, v30.16b\n"                                                              \
    "add v11.16b, v11.16b, v31.16b\n"

/* 6 columns: indices in v20 to v23 or v24 to v27, tables in v12 to v15 and v16 to v19. */
#define SIX(FIRST, a, b, c, d)                                                                     \
    "ld1 {" a ".16b, " b ".16b, " c ".16b, " d ".16b}, [%[indices]], #64\n"                        \
    "ld1 {v12.16b, v13.16b, v14.16b, v15.16b}, [%[tables]], #64\n"                                 \
    "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[tables]], #64\n"                                 \
    FIRST(a, b, "v12", "v13", "v14", "v15")                                                        \
    ADD(c, d, "v16", "v17", "v18", "v19")

#define ONE_BLOCK                                                                                  \
    SIX(START, "v20", "v21", "v22", "v23")                                                         \
    SIX(ADD, "v24", "v25", "v26", "v27")                                                           \
    SIX(ADD, "v20", "v21", "v22", "v23")                                                           \
    SIX(ADD, "v24", "v25", "v26", "v27")                                                           \
    WIDEN

/* Two tiles of 16 rows times one column, which add to 16 sums each. */
static inline void add_tiles(int32_t *y_a, int32_t *y_b, const uint8_t *tables,
                             const indices *weights, size_t blocks)
{
    const uint8_t *from = weights->of[0][0][0];
    size_t twos = blocks / 2;
    __asm__ volatile(
        "movi v0.16b, #0\n movi v1.16b, #0\n movi v2.16b, #0\n movi v3.16b, #0\n"
        "movi v4.16b, #0\n movi v5.16b, #0\n movi v6.16b, #0\n movi v7.16b, #0\n"
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
        : [tables] "+r"(tables), [indices] "+r"(from), [twos] "+r"(twos)
        : [y_a] "r"(y_a), [y_b] "r"(y_b), [blocks] "r"(blocks)
        : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
          "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
          "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
/* clang-format on */

void bitx_gemm_s32_s8_p2b_neon(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, const uint8_t *restrict tables,
                               size_t tables_stride, size_t columns, const uint8_t *restrict w,
                               size_t n, size_t k, size_t stride)
{
    indices weights;
    int32_t unused[16] = {0}; /* of an odd last tile, taken twice */

    (void)x, (void)x_stride;
    for (size_t left = (k + BLOCK - 1) / BLOCK; left > 0;) {
        const size_t blocks = left < MOST_BLOCKS ? left : MOST_BLOCKS;
        for (size_t row = 0; row < n; row += 32) {
            const uint8_t *tile = w + row / 16 * stride;
            const int is_odd = row + 16 == n;
            unpack(&weights, tile, is_odd ? tile : tile + stride, blocks);
            for (size_t t = 0; t < columns; t++) {
                int32_t *const to = y + t * y_stride + row;
                add_tiles(to, is_odd ? unused : to + 16, tables + t * tables_stride, &weights,
                          blocks);
            }
        }
        left -= blocks;
        tables += blocks * TABLE_BYTES;
        w += blocks * TILE_BYTES;
    }
}

#endif
