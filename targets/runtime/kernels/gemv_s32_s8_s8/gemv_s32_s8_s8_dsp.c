/* gemv_s32_s8_s8_dsp.c - Armv7E-M and Armv8-M with the DSP extension: 4 rows at a time. */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif
#include <arm_acle.h>

/* Columns 0 and 2, then 1 and 3, of four that follow each other. */
typedef struct columns {
    int16x2_t even, odd;
} columns;

/* GCC 12 would rotate by an instruction of its own. */
static inline int16x2_t odd_bytes(uint32_t word)
{
    int16x2_t odd;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
    return odd;
}

/* Four bytes, wherever they lie. */
static inline columns load(const int8_t *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return (columns){__sxtb16((int8x4_t)word), odd_bytes(word)};
}

static inline int32_t add_products(int32_t sum, columns w, columns x)
{
    return __smlad(w.odd, x.odd, __smlad(w.even, x.even, sum));
}

static int32_t last_products(int32_t sum, const int8_t *w, const int8_t *x, size_t k)
{
    for (size_t i = 0; i < k; i++)
        sum += x[i] * w[i];
    return sum;
}

static void four_rows(int32_t *y, const int8_t *w, const int8_t *x, size_t k)
{
    const int8_t *const end = w + k / 4 * 4;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;

    for (; w < end; w += 4, x += 4) {
        const columns four = load(x);
        sum0 = add_products(sum0, load(w), four);
        sum1 = add_products(sum1, load(w + k), four);
        sum2 = add_products(sum2, load(w + 2 * k), four);
        sum3 = add_products(sum3, load(w + 3 * k), four);
    }
    y[0] = last_products(sum0, w, x, k % 4);
    y[1] = last_products(sum1, w + k, x, k % 4);
    y[2] = last_products(sum2, w + 2 * k, x, k % 4);
    y[3] = last_products(sum3, w + 3 * k, x, k % 4);
}

static int32_t one_row(const int8_t *w, const int8_t *x, size_t k)
{
    int32_t sum = 0;
    for (; k >= 4; k -= 4, w += 4, x += 4)
        sum = add_products(sum, load(w), load(x));
    return last_products(sum, w, x, k);
}

void bitx_gemv_s32_s8_s8_dsp(int32_t *restrict y, const int8_t *restrict x,
                             const int8_t *restrict w, size_t n, size_t k)
{
    for (; n >= 4; n -= 4, y += 4, w += 4 * k)
        four_rows(y, w, x, k);
    for (; n > 0; n--, y++, w += k)
        *y = one_row(w, x, k);
}
