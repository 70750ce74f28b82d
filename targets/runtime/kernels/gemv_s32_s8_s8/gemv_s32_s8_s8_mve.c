/* gemv_s32_s8_s8_mve.c - Armv8.1-M with Helium: 4 rows and 16 columns at a time. */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_FEATURE_MVE)
#error "compile this file with the flags of isa 'mve' (targets/isa.toml)"
#endif
#include <arm_mve.h>

/* Loads nothing behind the columns that are left: those elements are 0. */
static inline int8x16_t load_last(const int8_t *from, size_t left)
{
    return vldrbq_z_s8(from, vctp8q((uint32_t)left));
}

static int32_t one_row(const int8_t *w, const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (; k >= 16; k -= 16, w += 16, x += 16)
        sum = vmladavaq_s8(sum, vldrbq_s8(w), vldrbq_s8(x));
    return k > 0 ? vmladavaq_s8(sum, load_last(w, k), load_last(x, k)) : sum;
}

static void four_rows(int32_t *y, const int8_t *w0, const int8_t *x, size_t k)
{
    const size_t rest = k % 16;
    const int8_t *w1 = w0 + k, *w2 = w1 + k, *w3 = w2 + k;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;

    for (size_t left = k / 16; left > 0; left--) {
        const int8x16_t x16 = vldrbq_s8(x);
        sum0 = vmladavaq_s8(sum0, vldrbq_s8(w0), x16);
        sum1 = vmladavaq_s8(sum1, vldrbq_s8(w1), x16);
        sum2 = vmladavaq_s8(sum2, vldrbq_s8(w2), x16);
        sum3 = vmladavaq_s8(sum3, vldrbq_s8(w3), x16);
        x += 16, w0 += 16, w1 += 16, w2 += 16, w3 += 16;
    }
    if (rest > 0) {
        const int8x16_t last = load_last(x, rest);
        sum0 = vmladavaq_s8(sum0, load_last(w0, rest), last);
        sum1 = vmladavaq_s8(sum1, load_last(w1, rest), last);
        sum2 = vmladavaq_s8(sum2, load_last(w2, rest), last);
        sum3 = vmladavaq_s8(sum3, load_last(w3, rest), last);
    }
    y[0] = sum0;
    y[1] = sum1;
    y[2] = sum2;
    y[3] = sum3;
}

void bitx_gemv_s32_s8_s8_mve(int32_t *restrict y, const int8_t *restrict x,
                             const int8_t *restrict w, size_t n, size_t k)
{
    for (; n >= 4; n -= 4, y += 4, w += 4 * k)
        four_rows(y, w, x, k);
    for (; n > 0; n--, y++, w += k)
        *y = one_row(w, x, k);
}
