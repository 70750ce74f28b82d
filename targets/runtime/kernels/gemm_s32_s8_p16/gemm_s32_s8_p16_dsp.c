/* gemm_s32_s8_p16_dsp.c - Armv7E-M and Armv8-M with the DSP extension: 8 rows of W at a time.
 *
 * As for one row of X, three instructions for five weights, but they make the sums of two rows: at
 * most 32 * 6 * 128 in magnitude, and so in 16 bits.
 */
#include "gemm_s32_s8_p16.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif

enum { PRODUCTS = 256 };

/* Five columns of 8 rows. */
static inline void look_up(uint32_t sum[8], const uint32_t *products, const uint8_t *w)
{
#pragma GCC unroll 8
    for (size_t row = 0; row < 8; row++)
        sum[row] += products[w[row]];
}

void bitx_gemm_s32_s8_p16_dsp(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                              size_t x_stride, const uint8_t *restrict tables,
                              const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const uint32_t *const first = (const uint32_t *)(const void *)tables;
    const uint32_t *const end = first + (k + 9) / 10 * 2 * PRODUCTS;

    (void)x;
    (void)x_stride;
    for (const int32_t *const y_end = y + n; y < y_end; y += 8, w += stride) {
        const uint8_t *bytes = w;
        uint32_t sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (const uint32_t *products = first; products < end; bytes += 16) {
            look_up(sum, products, bytes);
            products += PRODUCTS;
            look_up(sum, products, bytes + 8);
            products += PRODUCTS;
        }
#pragma GCC unroll 8
        for (size_t row = 0; row < 8; row++) {
            const int32_t low = (int16_t)sum[row];
            y[row] += low;
            y[y_stride + row] += (int32_t)(sum[row] - (uint32_t)low) >> 16;
        }
    }
}
