/* gemv_f32_f32_s8_avx2.c - x86-64 with AVX2: the eight lanes of four rows at a time. */
#include "gemv_f32_f32_s8.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

typedef int8_t element;

static inline __m256 load(const element *w)
{
    const __m128i codes = _mm_loadl_epi64((const __m128i *)(const void *)w);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
}

#include "../gemv_f32_f32_avx2.def"

void bitx_gemv_f32_f32_s8_avx2(float *restrict y, const float *restrict x, const int8_t *restrict w,
                               size_t n, size_t k, size_t stride)
{
    gemv(y, x, w, n, k, stride);
}
