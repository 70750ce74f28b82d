/* gemv_s32_s8_s8_avx2.c - x86-64 with AVX2: widened to int16, multiplied in pairs. */
#include "gemv_s32_s8_s8.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

static inline __m256i load_wide(const int8_t *bytes)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

/* The next 16 products; a sum has the type of its elements: as __m256i, GCC 12 copies it in every
 * step. */
static inline __v8si add_products(__v8si sum, const int8_t *x, const int8_t *w)
{
    return sum + (__v8si)_mm256_madd_epi16(load_wide(x), load_wide(w));
}

static int32_t add_across(__m256i v)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

void bitx_gemv_s32_s8_s8_avx2(int32_t *restrict y, const int8_t *restrict x,
                              const int8_t *restrict w, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, w += k) {
        __v8si sum0 = {0}, sum1 = {0}; /* two, as one waits for itself */
        size_t i = 0;
        for (; i + 64 <= k; i += 64) {
            sum0 = add_products(sum0, x + i, w + i);
            sum1 = add_products(sum1, x + i + 16, w + i + 16);
            sum0 = add_products(sum0, x + i + 32, w + i + 32);
            sum1 = add_products(sum1, x + i + 48, w + i + 48);
        }
        for (; i + 16 <= k; i += 16)
            sum0 = add_products(sum0, x + i, w + i);
        int32_t sum = add_across((__m256i)(sum0 + sum1));
        for (; i < k; i++)
            sum += x[i] * w[i];
        y[row] = sum;
    }
}
