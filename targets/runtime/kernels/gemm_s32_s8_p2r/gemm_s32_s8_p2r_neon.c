/* gemm_s32_s8_p2r_neon.c - Armv8.0-A: 4 rows times 4 columns at a time; Armv7-A: column by column.
 *
 * The weights of 16 rows and some hundred columns are unpacked to bytes on the stack and serve all
 * columns of x.  Of the 16 sums of a panel, 8 lanes of int16 each, a lane adds 2 products a turn.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#ifdef __aarch64__

/* Unpacked weights are in [-2, 2]: 880 / 16 turns, 2 * 2 * 128 each, stay below 2^15.  That is one
 * turn, which starts the sums, and nine times TURNS. */
enum { PANEL = 4, TURNS = 6, DEPTH = 880 };

/* Of a row of tiles: by turn and lane, 16 columns of the four rows that the fields of a lane are.
 */
typedef struct block {
    int8_t turns[DEPTH / 16][4][4][16];
} block;

/* What a half of a byte holds, in its lower and in its upper field. */
static const int8_t lower[16] = {-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2};
static const int8_t upper[16] = {-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
static const int8_t top[16] = {0, 0, 0, 0, 1, 1, 1, 1, -2, -2, -2, -2, -1, -1, -1, -1};

typedef struct tables {
    int8x16_t lower, upper, top;
} tables;

/* In registers: GCC 12 would load a constant anew wherever it is used. */
static inline tables load_tables(void)
{
    tables t = {vld1q_s8(lower), vld1q_s8(upper), vld1q_s8(top)};
    __asm__("" : "+w"(t.lower), "+w"(t.upper), "+w"(t.top));
    return t;
}

static inline void unpack_lane(int8_t rows[4][16], uint32x4_t words, tables t)
{
    const uint8x16_t b = vreinterpretq_u8_u32(words);
    const uint8x16_t low = vandq_u8(b, vdupq_n_u8(15)), high = vshrq_n_u8(b, 4);
    vst1q_s8(rows[0], vqtbl1q_s8(t.lower, low));
    vst1q_s8(rows[1], vqtbl1q_s8(t.upper, low));
    vst1q_s8(rows[2], vqtbl1q_s8(t.lower, high));
    vst1q_s8(rows[3], vqtbl1q_s8(t.top, high));
}

static void unpack(block *to, const uint8_t *tiles, size_t k)
{
    const tables t = load_tables();
    for (size_t turn = 0; turn < k / 16; turn++, tiles += 64) {
        const uint32x4x4_t lanes = vld4q_u32((const uint32_t *)(const void *)tiles);
        unpack_lane(to->turns[turn][0], lanes.val[0], t);
        unpack_lane(to->turns[turn][1], lanes.val[1], t);
        unpack_lane(to->turns[turn][2], lanes.val[2], t);
        unpack_lane(to->turns[turn][3], lanes.val[3], t);
    }
}

/* clang-format off */
/* Sums are in v0 to v15, four rows to a column. */
#define MULTIPLY_HALF(smlal, bytes, row0, row1, row2, row3, x0, x1, x2, x3)                        \
    MULTIPLY_COLUMN(smlal, bytes, 0, 1, 2, 3, row0, row1, row2, row3, x0)                          \
    MULTIPLY_COLUMN(smlal, bytes, 4, 5, 6, 7, row0, row1, row2, row3, x1)                          \
    MULTIPLY_COLUMN(smlal, bytes, 8, 9, 10, 11, row0, row1, row2, row3, x2)                        \
    MULTIPLY_COLUMN(smlal, bytes, 12, 13, 14, 15, row0, row1, row2, row3, x3)
#define MULTIPLY_COLUMN(smlal, bytes, sum0, sum1, sum2, sum3, row0, row1, row2, row3, x)           \
    smlal " v" #sum0 ".8h, v" #row0 bytes ", v" #x bytes "\n"                                      \
    smlal " v" #sum1 ".8h, v" #row1 bytes ", v" #x bytes "\n"                                      \
    smlal " v" #sum2 ".8h, v" #row2 bytes ", v" #x bytes "\n"                                      \
    smlal " v" #sum3 ".8h, v" #row3 bytes ", v" #x bytes "\n"
#define MULTIPLY(smlal, row0, row1, row2, row3, x0, x1, x2, x3)                                    \
    MULTIPLY_HALF(smlal, ".8b", row0, row1, row2, row3, x0, x1, x2, x3)                            \
    MULTIPLY_HALF("smlal2", ".16b", row0, row1, row2, row3, x0, x1, x2, x3)

#define ONE_TURN(smlal)                                                                            \
    "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[rows]], %[step]\n"                               \
    "ldr q20, [%[x0]], #16\n"                                                                      \
    "ldr q21, [%[x1]], #16\n"                                                                      \
    "ldr q22, [%[x2]], #16\n"                                                                      \
    "ldr q23, [%[x3]], #16\n"                                                                      \
    MULTIPLY(smlal, 16, 17, 18, 19, 20, 21, 22, 23)
#define TWO_TURNS                                                                                  \
    "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[rows]], %[step]\n"                               \
    "ldp q20, q28, [%[x0]], #32\n"                                                                 \
    "ldp q21, q29, [%[x1]], #32\n"                                                                 \
    "ldp q22, q30, [%[x2]], #32\n"                                                                 \
    "ldp q23, q31, [%[x3]], #32\n"                                                                 \
    "ld1 {v24.16b, v25.16b, v26.16b, v27.16b}, [%[rows]], %[step]\n"                               \
    MULTIPLY("smlal", 16, 17, 18, 19, 20, 21, 22, 23)                                              \
    MULTIPLY("smlal", 24, 25, 26, 27, 28, 29, 30, 31)

/* Adds the lanes of each: leaves the sum of row f in element f. */
#define ADD_LANES(sum0, sum1, sum2, sum3)                                                          \
    "saddlp v" #sum0 ".4s, v" #sum0 ".8h\n"                                                        \
    "saddlp v" #sum1 ".4s, v" #sum1 ".8h\n"                                                        \
    "saddlp v" #sum2 ".4s, v" #sum2 ".8h\n"                                                        \
    "saddlp v" #sum3 ".4s, v" #sum3 ".8h\n"                                                        \
    "addp v" #sum0 ".4s, v" #sum0 ".4s, v" #sum1 ".4s\n"                                           \
    "addp v" #sum2 ".4s, v" #sum2 ".4s, v" #sum3 ".4s\n"                                           \
    "addp v" #sum0 ".4s, v" #sum0 ".4s, v" #sum2 ".4s\n"

/* The four rows of a lane times a panel: sums[16 * t] to sums[16 * t + 3] are those of column t. */
static inline void multiply_lane(int32_t *sums, const block *weights, size_t lane, const int8_t *x,
                                 size_t x_stride, size_t k)
{
    const int8_t *rows = weights->turns[0][lane][0];
    const int8_t *x0 = x, *x1 = x + x_stride, *x2 = x1 + x_stride, *x3 = x2 + x_stride;
    size_t sixes = (k / 16 - 1) / TURNS, ones = (k / 16 - 1) % TURNS;
    __asm__ volatile(
        ONE_TURN("smull")
        "cbz %[sixes], 2f\n"
        "1:\n"
        TWO_TURNS TWO_TURNS TWO_TURNS
        "subs %[sixes], %[sixes], #1\n"
        "b.ne 1b\n"
        "2:\n"
        "cbz %[ones], 4f\n"
        "3:\n"
        ONE_TURN("smlal")
        "subs %[ones], %[ones], #1\n"
        "b.ne 3b\n"
        "4:\n"
        ADD_LANES(0, 1, 2, 3) ADD_LANES(4, 5, 6, 7) ADD_LANES(8, 9, 10, 11)
        ADD_LANES(12, 13, 14, 15)
        "str q0, [%[sums]]\n"
        "str q4, [%[sums], #64]\n"
        "str q8, [%[sums], #128]\n"
        "str q12, [%[sums], #192]\n"
        : [rows] "+r"(rows), [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3),
          [sixes] "+r"(sixes), [ones] "+r"(ones)
        : [sums] "r"(sums), [step] "r"(sizeof weights->turns[0])
        : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
          "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
          "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
/* clang-format on */

/* Adds the sums of 16 rows, four lanes of four fields, to y. */
static inline void add_rows(int32_t *y, const int32_t sums[16], int is_first)
{
    const int32x4x4_t fields = vld4q_s32(sums);
    const int32x4_t zero = vdupq_n_s32(0);
    for (size_t f = 0; f < 4; f++)
        vst1q_s32(y + 4 * f, vaddq_s32(is_first ? zero : vld1q_s32(y + 4 * f), fields.val[f]));
}

static void multiply_panels(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                            size_t x_stride, size_t columns, const block *weights, size_t k,
                            int is_first)
{
    for (size_t t = 0; t < columns; t += PANEL, x += PANEL * x_stride) {
        int32_t sums[PANEL][4][4]; /* column, lane, field */
        for (size_t lane = 0; lane < 4; lane++)
            multiply_lane(sums[0][lane], weights, lane, x, x_stride, k);
        for (size_t i = 0; i < PANEL; i++, y += y_stride)
            add_rows(y, sums[i][0], is_first);
    }
}

/* Returns how many columns it took. */
static size_t take_panels(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                          size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                          size_t k, size_t stride)
{
    block weights;

    columns -= columns % PANEL;
    if (columns == 0) return 0;
    for (size_t row = 0; row < n; row += 16, w += stride)
        for (size_t i = 0; i < k; i += DEPTH) {
            const size_t depth = k - i < DEPTH ? k - i : DEPTH;
            unpack(&weights, w + 4 * i, depth);
            multiply_panels(y + row, y_stride, x + i, x_stride, columns, &weights, depth, i == 0);
        }
    return columns;
}

#else

/* Half as many registers hold too few sums for a panel to pay. */
static size_t take_panels(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                          size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                          size_t k, size_t stride)
{
    (void)y, (void)y_stride, (void)x, (void)x_stride, (void)columns;
    (void)w, (void)n, (void)k, (void)stride;
    return 0;
}

#endif

void bitx_gemm_s32_s8_p2r_neon(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    size_t t = take_panels(y, y_stride, x, x_stride, columns, w, n, k, stride);
    for (; t < columns; t++)
        bitx_gemv_s32_s8_p2r_neon(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
