/* gemv_s32_s8_s8_dotprod.c - Armv8.2-A with FEAT_DotProd: 8 rows and 64 columns at a time. */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

enum { ROWS = 8, STEP = 64 };

static inline int32x4_t add_row(int32x4_t sum, const int8_t *w, int8x16x4_t x)
{
    const int8x16x4_t row = vld1q_s8_x4(w);
    sum = vdotq_s32(vdotq_s32(sum, row.val[0], x.val[0]), row.val[1], x.val[1]);
    return vdotq_s32(vdotq_s32(sum, row.val[2], x.val[2]), row.val[3], x.val[3]);
}

/* Returns how many columns it took: whole steps. */
static size_t eight_rows(int32_t *y, const int8_t *w, const int8_t *x, size_t k)
{
    const int8_t *const end = x + k / STEP * STEP;
    const int8_t *w0 = w, *w1 = w0 + k, *w2 = w1 + k, *w3 = w2 + k;
    const int8_t *w4 = w3 + k, *w5 = w4 + k, *w6 = w5 + k, *w7 = w6 + k;
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    int32x4_t sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;

    while (x < end) {
        const int8x16x4_t x64 = vld1q_s8_x4(x);
        /* Else GCC would make each pointer of one index, by an addition of its own. */
        __asm__("" : "+r"(w0), "+r"(w1), "+r"(w2), "+r"(w3));
        __asm__("" : "+r"(w4), "+r"(w5), "+r"(w6), "+r"(w7));
        sum0 = add_row(sum0, w0, x64);
        sum1 = add_row(sum1, w1, x64);
        sum2 = add_row(sum2, w2, x64);
        sum3 = add_row(sum3, w3, x64);
        sum4 = add_row(sum4, w4, x64);
        sum5 = add_row(sum5, w5, x64);
        sum6 = add_row(sum6, w6, x64);
        sum7 = add_row(sum7, w7, x64);
        x += STEP, w0 += STEP, w1 += STEP, w2 += STEP, w3 += STEP;
        w4 += STEP, w5 += STEP, w6 += STEP, w7 += STEP;
    }
    vst1q_s32(y, vpaddq_s32(vpaddq_s32(sum0, sum1), vpaddq_s32(sum2, sum3)));
    vst1q_s32(y + 4, vpaddq_s32(vpaddq_s32(sum4, sum5), vpaddq_s32(sum6, sum7)));
    return k / STEP * STEP;
}

static int32_t one_row(const int8_t *w, const int8_t *x, size_t k)
{
    int32x4_t sums = vdupq_n_s32(0);
    for (; k >= 16; k -= 16, w += 16, x += 16)
        sums = vdotq_s32(sums, vld1q_s8(w), vld1q_s8(x));
    int32_t sum = vaddvq_s32(sums);
    for (size_t i = 0; i < k; i++)
        sum += x[i] * w[i];
    return sum;
}

void bitx_gemv_s32_s8_s8_dotprod(int32_t *restrict y, const int8_t *restrict x,
                                 const int8_t *restrict w, size_t n, size_t k)
{
    for (; n >= ROWS; n -= ROWS, y += ROWS, w += ROWS * k) {
        const size_t done = eight_rows(y, w, x, k);
        for (size_t row = 0; done < k && row < ROWS; row++)
            y[row] += one_row(w + row * k + done, x + done, k - done);
    }
    for (size_t row = 0; row < n; row++)
        y[row] = one_row(w + row * k, x, k);
}
