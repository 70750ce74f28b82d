/* gemm_s32_s8_p2r_mve.c - Armv8.1-M with Helium: 4 rows times 2 columns of x, 16 deep, at a time.
 *
 * As gemv_s32_s8_p2r_mve.c, but two columns share the loads and masks of the weights.  Their eight
 * sums are all the even general registers, which VMLADAVA wants, lr among them: so an odd one
 * counts the loop, and the compiler, which would not give lr away, sees it as one piece.
 */
#include "gemm_s32_s8_p2r.h"

#include "../gemv_s32_s8_p2r/gemv_s32_s8_p2r.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif
#include <arm_mve.h>

/* Sums over the prefixes of 2, 4, 6 and 8 bits: of one column, then of the other. */
typedef struct prefix_sums {
    int32_t bits2[2], bits4[2], bits6[2], bits8[2];
} prefix_sums;

/* q0: where the words lie, 64 bytes before; q1 to q3: masks; r1, r3: x.  Moves all on by a step. */
#define STEP                                                                                       \
    "vldrw.u32 q4, [q0, #64]!\n\t"                                                                 \
    "vldrb.8 q6, [r1], #16\n\t"                                                                    \
    "vldrb.8 q7, [r3], #16\n\t"                                                                    \
    "vand q5, q4, q1\n\t"                                                                          \
    "vmladava.s8 r0, q5, q6\n\t"                                                                   \
    "vmladava.s8 r2, q5, q7\n\t"                                                                   \
    "vand q5, q4, q2\n\t"                                                                          \
    "vmladava.s8 r4, q5, q6\n\t"                                                                   \
    "vmladava.s8 r6, q5, q7\n\t"                                                                   \
    "vand q5, q4, q3\n\t"                                                                          \
    "vmladava.s8 r8, q5, q6\n\t"                                                                   \
    "vmladava.s8 r10, q5, q7\n\t"                                                                  \
    "vmladava.s8 r12, q4, q6\n\t"                                                                  \
    "vmladava.s8 lr, q4, q7\n\t"

/* A lane of a row of tiles, from `words` on, times two columns of x. */
static prefix_sums lane_sums(const uint8_t *words, const int8_t *x, size_t x_stride, size_t k)
{
    const uint32x4_t distance = vshlq_n_u32(vidupq_n_u32(0, 4), 2);
    const uint32x4_t before = vaddq_n_u32(distance, (uint32_t)(uintptr_t)words - 64);
    register uint32x4_t at __asm__("q0") = before;
    register int8x16_t mask2 __asm__("q1") = vdupq_n_s8(3);
    register int8x16_t mask4 __asm__("q2") = vdupq_n_s8(15);
    register int8x16_t mask6 __asm__("q3") = vdupq_n_s8(63);
    register const int8_t *x0 __asm__("r1") = x;
    register const int8_t *x1 __asm__("r3") = x + x_stride;
    register size_t steps __asm__("r5") = k / 16;
    register int32_t a2 __asm__("r0") = 0, b2 __asm__("r2") = 0, a4 __asm__("r4") = 0;
    register int32_t b4 __asm__("r6") = 0, a6 __asm__("r8") = 0, b6 __asm__("r10") = 0;
    register int32_t a8 __asm__("r12") = 0, b8 __asm__("lr") = 0;

    __asm__ volatile("lsrs r5, r5, #1\n\t"
                     "bcc 1f\n\t" STEP "1:\n\t"
                     "cbz r5, 3f\n"
                     "2:\n\t" STEP STEP "subs r5, r5, #1\n\t"
                     "bne 2b\n"
                     "3:"
                     : "+w"(at), "+r"(x0), "+r"(x1), "+r"(steps), "+r"(a2), "+r"(b2), "+r"(a4),
                       "+r"(b4), "+r"(a6), "+r"(b6), "+r"(a8), "+r"(b8)
                     : "w"(mask2), "w"(mask4), "w"(mask6)
                     : "q4", "q5", "q6", "q7", "cc", "memory");
    return (prefix_sums){{a2, b2}, {a4, b4}, {a6, b6}, {a8, b8}};
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (size_t left = k / 16; left > 0; left--, x += 16)
        sum = vaddvaq_s8(sum, vldrbq_s8(x));
    return sum;
}

static void two_columns(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                        size_t x_stride, const uint8_t *restrict w, size_t n, size_t k,
                        size_t stride)
{
    const int32_t x_sum[2] = {sum_of(x, k), sum_of(x + x_stride, k)};

    for (size_t row = 0; row < n; row += 16, w += stride)
        for (size_t lane = 0; lane < 4; lane++) {
            const prefix_sums sums = lane_sums(w + 4 * lane, x, x_stride, k);
            for (size_t t = 0; t < 2; t++) {
                int32_t *const out = y + t * y_stride + row + lane;
                out[0] = sums.bits2[t] - x_sum[t];
                out[4] = ((sums.bits4[t] - sums.bits2[t]) >> 2) - x_sum[t];
                out[8] = ((sums.bits6[t] - sums.bits4[t]) >> 4) - x_sum[t];
                out[12] = (sums.bits8[t] - sums.bits6[t]) >> 6;
            }
        }
}

void bitx_gemm_s32_s8_p2r_mve(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                              size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                              size_t k, size_t stride)
{
    size_t t = 0;
    for (; t + 2 <= columns; t += 2)
        two_columns(y + t * y_stride, y_stride, x + t * x_stride, x_stride, w, n, k, stride);
    if (t < columns) bitx_gemv_s32_s8_p2r_mve(y + t * y_stride, x + t * x_stride, w, n, k, stride);
}
