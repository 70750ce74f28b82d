/* gemm_s32_s8_p2r_dotprod.c - Armv8.2-A with FEAT_DotProd: 16 rows times 4 columns at a time.
 *
 * As in gemv_s32_s8_p2r_dotprod.c, but the masked bytes of a tile serve four columns.  The loop is
 * written by hand because GCC 12 loses a tenth of it to copies between registers.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#include "../gemm_s32_s8_p2r_dotprod.def"

/* clang-format off */
/* Sums are in v0 to v15, four to a column; its x in v16 to v19; tiles in v20 to v23. */
#define DOT_FOUR_COLUMNS(sum0, sum1, sum2, sum3, bytes, lane)                                      \
    "sdot v" #sum0 ".4s, v" #bytes ".16b, v16.4b[" #lane "]\n"                                     \
    "sdot v" #sum1 ".4s, v" #bytes ".16b, v17.4b[" #lane "]\n"                                     \
    "sdot v" #sum2 ".4s, v" #bytes ".16b, v18.4b[" #lane "]\n"                                     \
    "sdot v" #sum3 ".4s, v" #bytes ".16b, v19.4b[" #lane "]\n"

#define ADD_TILE(tile, lane)                                                                       \
    "and v24.16b, v" #tile ".16b, %[low2].16b\n"                                                   \
    "and v25.16b, v" #tile ".16b, %[low4].16b\n"                                                   \
    "and v26.16b, v" #tile ".16b, %[low6].16b\n"                                                   \
    DOT_FOUR_COLUMNS(3, 7, 11, 15, tile, lane)                                                     \
    DOT_FOUR_COLUMNS(0, 4, 8, 12, 24, lane)                                                        \
    DOT_FOUR_COLUMNS(1, 5, 9, 13, 25, lane)                                                        \
    DOT_FOUR_COLUMNS(2, 6, 10, 14, 26, lane)

/* 16 columns of W a turn; i counts up to 0. */
static void multiply_tiles(prefix_sums sums[PANEL], const int8_t *x, size_t x_stride,
                           const uint8_t *w, size_t k)
{
    const int8_t *const end = x + k;
    size_t i = 0 - k;
    __asm__ volatile("movi v0.4s, #0\n movi v1.4s, #0\n movi v2.4s, #0\n movi v3.4s, #0\n"
            "movi v4.4s, #0\n movi v5.4s, #0\n movi v6.4s, #0\n movi v7.4s, #0\n"
            "movi v8.4s, #0\n movi v9.4s, #0\n movi v10.4s, #0\n movi v11.4s, #0\n"
            "movi v12.4s, #0\n movi v13.4s, #0\n movi v14.4s, #0\n movi v15.4s, #0\n"
            "1:\n"
            "ld1 {v20.16b, v21.16b, v22.16b, v23.16b}, [%[w]], #64\n"
            "ldr q16, [%[x0], %[i]]\n"
            "ldr q17, [%[x1], %[i]]\n"
            "ldr q18, [%[x2], %[i]]\n"
            "ldr q19, [%[x3], %[i]]\n"
            ADD_TILE(20, 0) ADD_TILE(21, 1) ADD_TILE(22, 2) ADD_TILE(23, 3)
            "adds %[i], %[i], #16\n"
            "b.ne 1b\n"
            "st1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[sums]], #64\n"
            "st1 {v4.4s, v5.4s, v6.4s, v7.4s}, [%[sums]], #64\n"
            "st1 {v8.4s, v9.4s, v10.4s, v11.4s}, [%[sums]], #64\n"
            "st1 {v12.4s, v13.4s, v14.4s, v15.4s}, [%[sums]]\n"
            : [w] "+r"(w), [i] "+r"(i), [sums] "+r"(sums)
            : [x0] "r"(end), [x1] "r"(end + x_stride), [x2] "r"(end + 2 * x_stride),
              [x3] "r"(end + 3 * x_stride), [low2] "w"(vdupq_n_u8(3)), [low4] "w"(vdupq_n_u8(15)),
              [low6] "w"(vdupq_n_u8(63))
            : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
              "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
              "v23", "v24", "v25", "v26");
}
/* clang-format on */

static void multiply_panel(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                           size_t x_stride, const uint8_t *restrict w, size_t n, size_t k,
                           size_t stride)
{
    int32_t x_sums[PANEL];

    sums_of(x_sums, x, x_stride, k);
    for (size_t row = 0; row < n; row += 16, y += 16, w += stride) {
        prefix_sums sums[PANEL];
        multiply_tiles(sums, x, x_stride, w, k);
        for (size_t t = 0; t < PANEL; t++)
            store(y + t * y_stride, sums[t], x_sums[t]);
    }
}

void bitx_gemm_s32_s8_p2r_dotprod(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                                  size_t x_stride, size_t columns, const uint8_t *restrict w,
                                  size_t n, size_t k, size_t stride)
{
    multiply_columns(y, y_stride, x, x_stride, columns, w, n, k, stride);
}
