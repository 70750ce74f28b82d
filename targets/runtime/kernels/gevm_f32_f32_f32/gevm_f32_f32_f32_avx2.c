/* gevm_f32_f32_f32_avx2.c - x86-64 with AVX2: 32 columns at a time. */
#include "gevm_f32_f32_f32.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

enum { LANES = 8, BLOCK = 4 * LANES };

static inline __m256 load(const float *w)
{
    return _mm256_loadu_ps(w);
}

static inline const float *row_of(const float *w, size_t row, size_t stride)
{
    return (const float *)(const void *)((const uint8_t *)(const void *)w + row * stride);
}

static inline __m256 add_product(__m256 sum, __m256 x, __m256 w)
{
    return _mm256_add_ps(sum, _mm256_mul_ps(x, w));
}

static void add_block(float *y, const float *x, const float *w, size_t n, size_t stride)
{
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t row = 0; row < n; row++) {
        const float *from = row_of(w, row, stride);
        const __m256 factor = _mm256_set1_ps(x[row]);
        sum0 = add_product(sum0, factor, load(from));
        sum1 = add_product(sum1, factor, load(from + 8));
        sum2 = add_product(sum2, factor, load(from + 16));
        sum3 = add_product(sum3, factor, load(from + 24));
    }
    _mm256_storeu_ps(y, sum0);
    _mm256_storeu_ps(y + 8, sum1);
    _mm256_storeu_ps(y + 16, sum2);
    _mm256_storeu_ps(y + 24, sum3);
}

/* As many columns as a register has, or fewer. */
static void add_some(float *y, const float *x, const float *w, size_t n, size_t columns,
                     size_t stride)
{
    __m256 sum = _mm256_setzero_ps();
    float sums[LANES];
    for (size_t row = 0; row < n; row++) {
        const float *from = row_of(w, row, stride);
        float some[LANES] = {0};
        for (size_t i = 0; i < columns; i++)
            some[i] = from[i];
        sum = add_product(sum, _mm256_set1_ps(x[row]), load(some));
    }
    _mm256_storeu_ps(sums, sum);
    for (size_t i = 0; i < columns; i++)
        y[i] = sums[i];
}

void bitx_gevm_f32_f32_f32_avx2(float *restrict y, const float *restrict x, const float *restrict w,
                                size_t n, size_t k, size_t stride)
{
    size_t i = 0;
    for (; i + BLOCK <= k; i += BLOCK)
        add_block(y + i, x, w + i, n, stride);
    for (; i < k; i += LANES)
        add_some(y + i, x, w + i, n, k - i < LANES ? k - i : LANES, stride);
}
