/* gevm_f32_f32_f16_avx2.c - x86-64 with AVX2: 32 columns, a line of f16, at a time. */
#include "gevm_f32_f32_f16.h"

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

typedef uint16_t element;

static inline __m256 load(const element *w)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w));
}

#include "../gevm_f32_f32_avx2.def"

void bitx_gevm_f32_f32_f16_avx2(float *restrict y, const float *restrict x,
                                const uint16_t *restrict w, size_t n, size_t k, size_t stride)
{
    gevm(y, x, w, n, k, stride);
}
