/* gemv_s32_s8_t5x3_dotprod.c - Armv8.2-A with FEAT_DotProd: 24 rows and 32 columns at a time.
 *
 * The loop is written by hand: GCC 12 keeps no table of two registers in two registers.
 */
#include "gemv_s32_s8_t5x3.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#define DIGIT0(code) ((code) % 3 - 1)
#define DIGIT1(code) ((code) / 3 % 3 - 1)

/* Of the rows of a tile, lane l in element l: sums of codes, and of their first two digits. */
typedef struct code_sums {
    int32x4_t codes, digits0, digits1;
} code_sums;

/* clang-format off */
/* A group of columns of both tiles: its codes in v18 and v21, its x in a lane.  Sums are in v0 to
 * v5; digits are looked up in v28 to v31. */
#define ADD_GROUP(x, lane)                                                                         \
    "tbl v19.16b, {v28.16b, v29.16b}, v18.16b\n"                                                   \
    "tbl v22.16b, {v28.16b, v29.16b}, v21.16b\n"                                                   \
    "tbl v20.16b, {v30.16b, v31.16b}, v18.16b\n"                                                   \
    "tbl v23.16b, {v30.16b, v31.16b}, v21.16b\n"                                                   \
    "sdot v0.4s, v18.16b, " x ".4b[" #lane "]\n"                                                   \
    "sdot v3.4s, v21.16b, " x ".4b[" #lane "]\n"                                                   \
    "sdot v1.4s, v19.16b, " x ".4b[" #lane "]\n"                                                   \
    "sdot v4.4s, v22.16b, " x ".4b[" #lane "]\n"                                                   \
    "sdot v2.4s, v20.16b, " x ".4b[" #lane "]\n"                                                   \
    "sdot v5.4s, v23.16b, " x ".4b[" #lane "]\n"

/* Codes that are the upper bits of one vector of a tile. */
#define ADD_UPPER(first, second, x, lane)                                                          \
    "ushr v18.16b, " first ".16b, #3\n"                                                            \
    "ushr v21.16b, " second ".16b, #3\n"                                                           \
    ADD_GROUP(x, lane)

/* Codes whose lower bits are those of one vector, and the rest those of another, shifted. */
#define ADD_LOWER(first, second, more_first, more_second, x, lane)                          \
    "ushr v18.16b, " more_first ".16b, #1\n"                                                     \
    "ushr v21.16b, " more_second ".16b, #1\n"                                                    \
    "sli " first ".16b, v18.16b, #3\n"                                                             \
    "sli " second ".16b, v21.16b, #3\n"                                                            \
    "and v18.16b, " first ".16b, %[low5].16b\n"                                                    \
    "and v21.16b, " second ".16b, %[low5].16b\n"                                                   \
    ADD_GROUP(x, lane)

/* As above, the rest being the lowest bits of two vectors; destroys one. */
#define ADD_LOWEST(first, second, one_first, one_second, two_first, two_second, x, lane)           \
    "sli " one_first ".16b, " two_first ".16b, #1\n"                                               \
    "sli " one_second ".16b, " two_second ".16b, #1\n"                                             \
    "sli " first ".16b, " one_first ".16b, #3\n"                                                   \
    "sli " second ".16b, " one_second ".16b, #3\n"                                                 \
    "and v18.16b, " first ".16b, %[low5].16b\n"                                                    \
    "and v21.16b, " second ".16b, %[low5].16b\n"                                                   \
    ADD_GROUP(x, lane)

/* The tiles of k columns: of the first row of tiles in v6 to v10, of the second in v11 to v15. */
static inline void multiply_tiles(code_sums sums[2], const int8_t *x, const uint8_t *first,
                                  const uint8_t *second, size_t k)
{
    static const int8_t digits[2][32] = {{BITX_T5X3_CODES(DIGIT0)}, {BITX_T5X3_CODES(DIGIT1)}};
    const int8_t *const end = x + k;
    __asm__ volatile("ld1 {v28.16b, v29.16b, v30.16b, v31.16b}, [%[digits]]\n"
            "movi v0.4s, #0\n movi v1.4s, #0\n movi v2.4s, #0\n"
            "movi v3.4s, #0\n movi v4.4s, #0\n movi v5.4s, #0\n"
            "1:\n"
            "ldp q16, q17, [%[x]], #32\n"
            "ldp q6, q7, [%[first]], #80\n"
            "ldp q11, q12, [%[second]], #80\n"
            "ldp q8, q9, [%[first], #-48]\n"
            "ldp q13, q14, [%[second], #-48]\n"
            "ldr q10, [%[first], #-16]\n"
            "ldr q15, [%[second], #-16]\n"
            ADD_UPPER("v6", "v11", "v16", 0)
            ADD_UPPER("v7", "v12", "v16", 1)
            ADD_UPPER("v8", "v13", "v16", 2)
            ADD_UPPER("v9", "v14", "v16", 3)
            ADD_UPPER("v10", "v15", "v17", 0)
            ADD_LOWER("v6", "v11", "v7", "v12", "v17", 1)
            ADD_LOWER("v8", "v13", "v9", "v14", "v17", 2)
            ADD_LOWEST("v10", "v15", "v7", "v12", "v9", "v14", "v17", 3)
            "cmp %[x], %[end]\n"
            "b.ne 1b\n"
            "st1 {v0.4s, v1.4s, v2.4s}, [%[sums]], #48\n"
            "st1 {v3.4s, v4.4s, v5.4s}, [%[sums]]\n"
            : [x] "+r"(x), [first] "+r"(first), [second] "+r"(second), [sums] "+r"(sums)
            : [end] "r"(end), [digits] "r"(digits), [low5] "w"(vdupq_n_u8(31))
            : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
              "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
              "v23", "v28", "v29", "v30", "v31");
}
/* clang-format on */

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += 16)
        sum = vdotq_s32(sum, vld1q_s8(x + i), vdupq_n_s8(1));
    return vaddvq_s32(sum);
}

/* A code is w0 + 3 w1 + 9 w2 + 13. */
static void store(int32_t *y, code_sums sums, int32x4_t x_sum)
{
    const int32x4_t known = vmlaq_n_s32(sums.digits0, sums.digits1, 3);
    const int32x4_t nine = vsubq_s32(vmlsq_n_s32(sums.codes, x_sum, 13), known);
    vst1q_s32(y + 0, sums.digits0);
    vst1q_s32(y + 4, sums.digits1);
    vst1q_s32(y + 8, vmulq_n_s32(nine, (int32_t)BITX_NINTH));
}

void bitx_gemv_s32_s8_t5x3_dotprod(int32_t *restrict y, const int8_t *restrict x,
                                   const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const int32x4_t x_sum = vdupq_n_s32(sum_of(x, k));

    for (size_t row = 0; row < n; row += 24, w += 2 * stride) {
        const int has_second = row + 12 < n; /* else the first is computed twice */
        code_sums sums[2];
        multiply_tiles(sums, x, w, has_second ? w + stride : w, k);
        store(y + row, sums[0], x_sum);
        if (has_second) store(y + row + 12, sums[1], x_sum);
    }
}
