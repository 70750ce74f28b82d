/* gemv_s32_s8_p16_dsp.c - Armv7E-M and Armv8-M with the DSP extension: 8 rows at a time.
 *
 * Three instructions for five weights: load their byte, load what the table has for it, add.
 */
#include "gemv_s32_s8_p16.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif

enum { PRODUCTS = 256 };

/* Five columns of 8 rows. */
static inline void look_up(int32_t sum[8], const int16_t *products, const uint8_t *w)
{
#pragma GCC unroll 8
    for (size_t row = 0; row < 8; row++)
        sum[row] += products[w[row]];
}

void bitx_gemv_s32_s8_p16_dsp(int32_t *restrict y, const int8_t *restrict x,
                              const uint8_t *restrict tables, const uint8_t *restrict w, size_t n,
                              size_t k, size_t stride)
{
    const int16_t *const first = (const int16_t *)(const void *)tables;
    const int16_t *const end = first + (k + 9) / 10 * 2 * PRODUCTS;

    (void)x;
    for (const int32_t *const y_end = y + n; y < y_end; y += 8, w += stride) {
        const uint8_t *bytes = w;
        int32_t sum[8];
#pragma GCC unroll 8
        for (size_t row = 0; row < 8; row++)
            sum[row] = y[row];
        for (const int16_t *products = first; products < end; bytes += 16) {
            look_up(sum, products, bytes);
            products += PRODUCTS;
            look_up(sum, products, bytes + 8);
            products += PRODUCTS;
        }
#pragma GCC unroll 8
        for (size_t row = 0; row < 8; row++)
            y[row] = sum[row];
    }
}
