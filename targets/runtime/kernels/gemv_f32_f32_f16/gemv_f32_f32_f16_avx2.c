/* gemv_f32_f32_f16_avx2.c - x86-64 with AVX2: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_f16.h"

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

enum { LANES = 8, ROWS = 4 };

static inline __m256 load(const uint16_t *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w));
}

/* The first `count` elements, then zeros: a lane is never -0, so adding +0 does not change it. */
static inline __m256 load_some(const uint16_t *w, size_t count)
{
    uint16_t some[LANES] = {0};
    for (size_t i = 0; i < count; i++)
        some[i] = w[i];
    return load(some);
}

static inline __m256 load_some_x(const float *x, size_t count)
{
    float some[LANES] = {0};
    for (size_t i = 0; i < count; i++)
        some[i] = x[i];
    return _mm256_loadu_ps(some);
}

static inline __m256 add_product(__m256 sum, __m256 x, __m256 w)
{
    return _mm256_add_ps(sum, _mm256_mul_ps(x, w));
}

/* ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)) */
static inline float total(__m256 lanes)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline const uint16_t *row_of(const uint16_t *w, size_t row, size_t stride)
{
    return (const uint16_t *)(const void *)((const uint8_t *)(const void *)w + row * stride);
}

/* The same columns four rows on: matrices that pass through once come from memory.  Behind the last
 * row nothing is fetched, and nothing fails. */
static inline void fetch_ahead(const uint16_t *w, size_t stride)
{
    _mm_prefetch((const char *)(const void *)w + ROWS * stride, _MM_HINT_T0);
}

static inline float dot(const float *x, const uint16_t *w, size_t k)
{
    __m256 sum = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= k; i += LANES)
        sum = add_product(sum, _mm256_loadu_ps(x + i), load(w + i));
    if (i < k) sum = add_product(sum, load_some_x(x + i, k - i), load_some(w + i, k - i));
    return total(sum);
}

static inline void four_dots(float *y, const float *x, const uint16_t *w, size_t k, size_t stride)
{
    const uint16_t *w0 = w, *w1 = row_of(w, 1, stride);
    const uint16_t *w2 = row_of(w, 2, stride), *w3 = row_of(w, 3, stride);
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    size_t i = 0;
    for (; i + LANES <= k; i += LANES) {
        const __m256 some = _mm256_loadu_ps(x + i);
        fetch_ahead(w0 + i, stride);
        fetch_ahead(w1 + i, stride);
        fetch_ahead(w2 + i, stride);
        fetch_ahead(w3 + i, stride);
        sum0 = add_product(sum0, some, load(w0 + i));
        sum1 = add_product(sum1, some, load(w1 + i));
        sum2 = add_product(sum2, some, load(w2 + i));
        sum3 = add_product(sum3, some, load(w3 + i));
    }
    if (i < k) {
        const __m256 some = load_some_x(x + i, k - i);
        sum0 = add_product(sum0, some, load_some(w0 + i, k - i));
        sum1 = add_product(sum1, some, load_some(w1 + i, k - i));
        sum2 = add_product(sum2, some, load_some(w2 + i, k - i));
        sum3 = add_product(sum3, some, load_some(w3 + i, k - i));
    }
    y[0] = total(sum0);
    y[1] = total(sum1);
    y[2] = total(sum2);
    y[3] = total(sum3);
}

void bitx_gemv_f32_f32_f16_avx2(float *restrict y, const float *restrict x,
                                const uint16_t *restrict w, size_t n, size_t k, size_t stride)
{
    size_t row = 0;
    for (; row + ROWS <= n; row += ROWS)
        four_dots(y + row, x, row_of(w, row, stride), k, stride);
    for (; row < n; row++)
        y[row] = dot(x, row_of(w, row, stride), k);
}
