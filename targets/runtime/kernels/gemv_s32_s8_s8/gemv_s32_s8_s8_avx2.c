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

/* Behind the end of a matrix nothing is fetched, and nothing fails. */
static inline void fetch_ahead(const int8_t *w)
{
    enum { BYTES_AHEAD = 10240 }; /* measured: 4 to 20 KiB are as good */
    _mm_prefetch((const char *)w + BYTES_AHEAD, _MM_HINT_T0);
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
        __m256i sums = _mm256_setzero_si256();
        size_t i = 0;
        for (; i + 16 <= k; i += 16) {
            fetch_ahead(w + i);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(load_wide(x + i), load_wide(w + i)));
        }
        int32_t sum = add_across(sums);
        for (; i < k; i++)
            sum += x[i] * w[i];
        y[row] = sum;
    }
}
