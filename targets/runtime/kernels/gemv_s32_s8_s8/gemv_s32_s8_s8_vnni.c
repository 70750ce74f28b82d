/* gemv_s32_s8_s8_vnni.c - x86-64 with VNNI: w + 128, which is unsigned, times x. */
#include "gemv_s32_s8_s8.h"

#if !defined(__AVX512VNNI__)
#error "compile this file with the flags of isa 'vnni' (targets/isa.toml)"
#endif
#include <immintrin.h>

enum { STEP = 64 };

/* By the type of the elements: as __m512i, GCC 12 copies a sum in every step. */
static inline __v16si add_products(__v16si sum, __m512i bytes, __m512i x)
{
    return (__v16si)_mm512_dpbusd_epi32((__m512i)sum, bytes, x);
}

static inline __m512i load(const int8_t *bytes)
{
    return _mm512_loadu_si512(bytes);
}

/* The first `count` bytes, then zeros. */
static inline __m512i load_some(const int8_t *bytes, size_t count)
{
    return _mm512_maskz_loadu_epi8(~(uint64_t)0 >> (STEP - count), bytes);
}

/* Makes w unsigned: w + 128. */
static inline __m512i lift(__m512i w)
{
    return _mm512_xor_si512(w, _mm512_set1_epi8(-128));
}

static uint32_t sum_of(const int8_t *x, size_t k)
{
    const __m512i one = _mm512_set1_epi8(1);
    __v16si sum = {0};
    size_t i = 0;
    for (; i + STEP <= k; i += STEP)
        sum = add_products(sum, one, load(x + i));
    if (i < k) sum = add_products(sum, one, load_some(x + i, k - i));
    return (uint32_t)_mm512_reduce_add_epi32((__m512i)sum);
}

/* The sum of (w + 128) x, modulo 2^32; two sums at a time, as one waits for itself. */
static inline uint32_t lifted_dot(const int8_t *x, const int8_t *w, size_t k)
{
    __v16si sum0 = {0}, sum1 = {0};
    size_t i = 0;
    for (; i + 2 * STEP <= k; i += 2 * STEP) {
        sum0 = add_products(sum0, lift(load(w + i)), load(x + i));
        sum1 = add_products(sum1, lift(load(w + i + STEP)), load(x + i + STEP));
    }
    for (; i < k; i += STEP) {
        const size_t left = k - i, count = left < STEP ? left : STEP;
        sum0 = add_products(sum0, lift(load_some(w + i, count)), load_some(x + i, count));
    }
    return (uint32_t)_mm512_reduce_add_epi32((__m512i)(sum0 + sum1));
}

void bitx_gemv_s32_s8_s8_vnni(int32_t *restrict y, const int8_t *restrict x,
                              const int8_t *restrict w, size_t n, size_t k)
{
    const uint32_t lift_sum = 128u * sum_of(x, k);
    for (size_t row = 0; row < n; row++)
        y[row] = (int32_t)(lifted_dot(x, w + row * k, k) - lift_sum);
}
