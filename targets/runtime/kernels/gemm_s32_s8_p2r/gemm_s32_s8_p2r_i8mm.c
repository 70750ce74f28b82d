/* gemm_s32_s8_p2r_i8mm.c - Armv8.6-A with FEAT_I8MM: 16 rows times 4 columns at a time.
 *
 * SMMLA multiplies two rows by two columns, 8 deep.  So the words of a lane in two tiles are zipped
 * to 8 columns of W, and 8 bytes of two columns of x to one register.  Prefixes of a byte: as in
 * gemv_s32_s8_p2r_dotprod.c.  By hand: for the reason in gemm_s32_s8_p2r_dotprod.c.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_MATMUL_INT8)
#error "compile this file with the flags of isa 'i8mm' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#include "../gemm_s32_s8_p2r_dotprod.def"

/* Over one prefix, of columns 0 and 1, then 2 and 3: a row of each in turn. */
typedef struct pair_sums {
    int32x4_t lanes10, lanes32;
} pair_sums;
typedef struct panel_sums {
    pair_sums bits2[2], bits4[2], bits6[2], bits8[2];
} panel_sums;

/* clang-format off */
/* The prefix sums of panel_sums are in v0 to v15; two tiles in v16 and v17, their zipped words in
 * v20; v26 holds columns 0 and 1 of x, v27 columns 2 and 3. */
#define MULTIPLY(sum01, sum23, bytes)                                                              \
    "smmla v" #sum01 ".4s, v" #bytes ".16b, v26.16b\n"                                             \
    "smmla v" #sum23 ".4s, v" #bytes ".16b, v27.16b\n"

#define ADD_TWO_LANES(zip, tile0, tile1, s0, s1, s2, s3, s4, s5, s6, s7)                           \
    zip " v20.4s, v" #tile0 ".4s, v" #tile1 ".4s\n"                                                \
    "and v21.16b, v20.16b, %[low2].16b\n"                                                          \
    "and v28.16b, v20.16b, %[low4].16b\n"                                                          \
    MULTIPLY(s6, s7, 20)                                                                           \
    "and v20.16b, v20.16b, %[low6].16b\n"                                                          \
    MULTIPLY(s0, s1, 21)                                                                           \
    MULTIPLY(s2, s3, 28)                                                                           \
    MULTIPLY(s4, s5, 20)

#define ADD_TWO_TILES(tile0, tile1, zip_x)                                                         \
    zip_x " v26.2d, v22.2d, v23.2d\n"                                                              \
    zip_x " v27.2d, v24.2d, v25.2d\n"                                                              \
    ADD_TWO_LANES("zip1", tile0, tile1, 0, 2, 4, 6, 8, 10, 12, 14)                                 \
    ADD_TWO_LANES("zip2", tile0, tile1, 1, 3, 5, 7, 9, 11, 13, 15)

/* 16 columns of W a turn; i counts up to 0. */
static void multiply_tiles(panel_sums *sums, const int8_t *x, size_t x_stride, const uint8_t *w,
                           size_t k)
{
    const int8_t *const end = x + k;
    size_t i = 0 - k;
    __asm__ volatile("movi v0.4s, #0\n movi v1.4s, #0\n movi v2.4s, #0\n movi v3.4s, #0\n"
            "movi v4.4s, #0\n movi v5.4s, #0\n movi v6.4s, #0\n movi v7.4s, #0\n"
            "movi v8.4s, #0\n movi v9.4s, #0\n movi v10.4s, #0\n movi v11.4s, #0\n"
            "movi v12.4s, #0\n movi v13.4s, #0\n movi v14.4s, #0\n movi v15.4s, #0\n"
            "1:\n"
            "ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%[w]], #64\n"
            "ldr q22, [%[x0], %[i]]\n"
            "ldr q23, [%[x1], %[i]]\n"
            "ldr q24, [%[x2], %[i]]\n"
            "ldr q25, [%[x3], %[i]]\n"
            ADD_TWO_TILES(16, 17, "zip1") ADD_TWO_TILES(18, 19, "zip2")
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
              "v23", "v24", "v25", "v26", "v27", "v28");
}
/* clang-format on */

static inline prefix_sums first_of(const panel_sums *sums, size_t pair)
{
    const pair_sums *s2 = &sums->bits2[pair], *s4 = &sums->bits4[pair];
    const pair_sums *s6 = &sums->bits6[pair], *s8 = &sums->bits8[pair];
    return (prefix_sums){vuzp1q_s32(s2->lanes10, s2->lanes32), vuzp1q_s32(s4->lanes10, s4->lanes32),
                         vuzp1q_s32(s6->lanes10, s6->lanes32),
                         vuzp1q_s32(s8->lanes10, s8->lanes32)};
}

static inline prefix_sums second_of(const panel_sums *sums, size_t pair)
{
    const pair_sums *s2 = &sums->bits2[pair], *s4 = &sums->bits4[pair];
    const pair_sums *s6 = &sums->bits6[pair], *s8 = &sums->bits8[pair];
    return (prefix_sums){vuzp2q_s32(s2->lanes10, s2->lanes32), vuzp2q_s32(s4->lanes10, s4->lanes32),
                         vuzp2q_s32(s6->lanes10, s6->lanes32),
                         vuzp2q_s32(s8->lanes10, s8->lanes32)};
}

static void multiply_panel(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                           size_t x_stride, const uint8_t *restrict w, size_t n, size_t k,
                           size_t stride)
{
    int32_t x_sums[PANEL];

    sums_of(x_sums, x, x_stride, k);
    for (size_t row = 0; row < n; row += 16, y += 16, w += stride) {
        panel_sums sums;
        multiply_tiles(&sums, x, x_stride, w, k);
        store(y, first_of(&sums, 0), x_sums[0]);
        store(y + y_stride, second_of(&sums, 0), x_sums[1]);
        store(y + 2 * y_stride, first_of(&sums, 1), x_sums[2]);
        store(y + 3 * y_stride, second_of(&sums, 1), x_sums[3]);
    }
}

void bitx_gemm_s32_s8_p2r_i8mm(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    multiply_columns(y, y_stride, x, x_stride, columns, w, n, k, stride);
}
