/* softmax_f32_f32_avx2.c - x86-64 with AVX2: eight positions, the eight lanes of their sum. */
#include "softmax_f32_f32.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 8 };

/* a * b + c, rounded twice */
static inline __m256 add_product(__m256 a, __m256 b, float c)
{
    return _mm256_add_ps(_mm256_mul_ps(a, b), _mm256_set1_ps(c));
}

/* 2^i from exponent bits; i + 127 lies within them. */
static inline __m256 power_of_two(__m256i i)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(i, _mm256_set1_epi32(127)), 23));
}

/* NUMERICS.md, section 2, for x that is not above 88. */
static inline __m256 exponential(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(0x1.8p23f), one = _mm256_set1_ps(1.0f);
    const __m256 shifted = add_product(x, _mm256_set1_ps(0x1.715476p+0f), 0x1.8p23f);
    const __m256 n = _mm256_sub_ps(shifted, magic);
    const __m256 r = _mm256_sub_ps(_mm256_sub_ps(x, _mm256_mul_ps(n, _mm256_set1_ps(0x1.62e4p-1f))),
                                   _mm256_mul_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f)));
    __m256 p = _mm256_set1_ps(0x1.6d110ap-10f);
    p = add_product(p, r, 0x1.120b6ep-7f);
    p = add_product(p, r, 0x1.55551ap-5f);
    p = add_product(p, r, 0x1.5554dcp-3f);
    p = add_product(p, r, 0x1p-1f);
    const __m256 y = _mm256_add_ps(one, _mm256_add_ps(r, _mm256_mul_ps(_mm256_mul_ps(r, r), p)));

    const __m256i integer =
        _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(magic));
    const __m256i a = _mm256_srai_epi32(integer, 1), b = _mm256_sub_epi32(integer, a);
    const __m256 result = _mm256_mul_ps(_mm256_mul_ps(y, power_of_two(a)), power_of_two(b));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.0f), _CMP_LT_OQ), result);
}

static inline __m256i first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static float largest_of(__m256 v)
{
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_shuffle_ps(most, most, 1)));
}

/* ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)) */
static float total(__m256 lanes)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Scales; returns the largest. */
static float scale_all(float *e, float scale, size_t n)
{
    const __m256 factor = _mm256_set1_ps(scale);
    __m256 most = _mm256_set1_ps(e[0] * scale);
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(e + j), factor);
        _mm256_storeu_ps(e + j, scaled);
        most = _mm256_max_ps(scaled, most);
    }
    float largest = largest_of(most);
    for (; j < n; j++) {
        e[j] = e[j] * scale;
        if (e[j] > largest) largest = e[j];
    }
    return largest;
}

void bitx_softmax_f32_f32_avx2(float *restrict z, float *restrict e, float scale, size_t n)
{
    const __m256 largest = _mm256_set1_ps(scale_all(e, scale, n));
    __m256 sum = _mm256_setzero_ps();
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const __m256 weights = exponential(_mm256_sub_ps(_mm256_loadu_ps(e + j), largest));
        _mm256_storeu_ps(e + j, weights);
        sum = _mm256_add_ps(sum, weights);
    }
    if (j < n) {
        const __m256i mask = first_lanes(n - j);
        const __m256 weights = exponential(_mm256_sub_ps(_mm256_maskload_ps(e + j, mask), largest));
        _mm256_maskstore_ps(e + j, mask, weights);
        sum = _mm256_add_ps(sum, _mm256_and_ps(weights, _mm256_castsi256_ps(mask)));
    }
    *z = total(sum);
}
