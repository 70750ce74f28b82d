/* gemv_s32_s8_t5x3_avx2.c - x86-64 with AVX2: 24 rows and 32 columns at a time. */
#include "gemv_s32_s8_t5x3.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

#include "../t5x3_codes_avx2.def"

/* Of a code: (w0 + 1) + 4 (w1 + 1). */
#define TWO_DIGITS(code) ((code) % 3 + (code) / 3 % 3 * 4)

/* Sums of w0 + 1, of two digits and of codes: lane l of both tiles. */
typedef struct sums {
    __m256i digit0, digits, codes;
} sums;

/* A sum has the type of its elements: as __m256i, GCC 12 copies it in every step. */
static inline __v16hi add_product(__v16hi sum, __m256i codes, __m256i x)
{
    return (__v16hi)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(codes, x));
}

static inline __m256i widen(__m256i sum, __v16hi narrow)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16((__m256i)narrow, _mm256_set1_epi16(1)));
}

/* Weights pass through once, from memory.  Behind their end nothing is fetched, and nothing fails.
 */
static inline void fetch_ahead(const uint8_t *tile)
{
    enum { BYTES_AHEAD = 12800 };
    _mm_prefetch((const char *)tile + BYTES_AHEAD, _MM_HINT_T0);
    _mm_prefetch((const char *)tile + BYTES_AHEAD + 64, _MM_HINT_T0);
}

/* The same four columns for every row. */
static inline __m256i spread(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* As sums, in int16, of 8 groups of columns: 8 * 2 * 10 * 128 < 2^15; the codes of 4 groups:
 * 4 * 2 * 31 * 128 < 2^15. */
typedef struct narrow_sums {
    __v16hi digit0, digits, codes;
} narrow_sums;

static inline narrow_sums add_group(narrow_sums s, group g, const int8_t *x, table two_digits)
{
    const __m256i x4 = spread(x), found = look_up(two_digits, g);
    s.digit0 = add_product(s.digit0, masked(found, 3), x4);
    s.digits = add_product(s.digits, found, x4);
    s.codes = add_product(s.codes, g.code, x4);
    return s;
}

static inline sums add_tiles(sums s, const uint8_t *first, const uint8_t *second, const int8_t *x,
                             table two_digits)
{
    const __v16hi zero = {0};
    const vectors v = load_tiles(first, second);
    narrow_sums narrow = {zero, zero, zero};

    narrow = add_group(narrow, upper_bits(v.b0), x + 0, two_digits);
    narrow = add_group(narrow, upper_bits(v.b1), x + 4, two_digits);
    narrow = add_group(narrow, upper_bits(v.b2), x + 8, two_digits);
    narrow = add_group(narrow, upper_bits(v.b3), x + 12, two_digits);
    s.codes = widen(s.codes, narrow.codes);
    narrow.codes = zero;
    narrow = add_group(narrow, upper_bits(v.b4), x + 16, two_digits);
    narrow = add_group(narrow, group5(v), x + 20, two_digits);
    narrow = add_group(narrow, group6(v), x + 24, two_digits);
    narrow = add_group(narrow, group7(v), x + 28, two_digits);
    s.codes = widen(s.codes, narrow.codes);
    s.digit0 = widen(s.digit0, narrow.digit0);
    s.digits = widen(s.digits, narrow.digits);
    return s;
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    const __m256i one = _mm256_set1_epi8(1);
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < k; i += 32) {
        const __m256i x32 = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        sum = widen(sum, (__v16hi)_mm256_maddubs_epi16(one, x32));
    }
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

static inline void store_both(int32_t *first, int32_t *second, __m256i sum)
{
    _mm_storeu_si128((__m128i *)(void *)first, _mm256_castsi256_si128(sum));
    if (second) _mm_storeu_si128((__m128i *)(void *)second, _mm256_extracti128_si256(sum, 1));
}

/* A code is w0 + 3 w1 + 9 w2 + 13. */
static void store(int32_t *first, int32_t *second, const sums *s, int32_t x_sum)
{
    const __m256i all_x = _mm256_set1_epi32(x_sum), ninth = _mm256_set1_epi32((int)BITX_NINTH);
    const __m256i digit1 = _mm256_srai_epi32(_mm256_sub_epi32(s->digits, s->digit0), 2);
    const __m256i three = _mm256_add_epi32(_mm256_add_epi32(digit1, digit1), digit1);
    const __m256i known =
        _mm256_add_epi32(_mm256_add_epi32(s->digit0, three), _mm256_set1_epi32(9 * x_sum));
    const __m256i nine = _mm256_sub_epi32(s->codes, known);
    store_both(first, second, _mm256_sub_epi32(s->digit0, all_x));
    store_both(first + 4, second ? second + 4 : NULL, _mm256_sub_epi32(digit1, all_x));
    store_both(first + 8, second ? second + 8 : NULL, _mm256_mullo_epi32(nine, ninth));
}

void bitx_gemv_s32_s8_t5x3_avx2(int32_t *restrict y, const int8_t *restrict x,
                                const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    static const uint8_t entries[32] = {BITX_T5X3_CODES(TWO_DIGITS)};
    const table two_digits = {both(entries, entries), both(entries + 16, entries + 16)};
    const int32_t x_sum = sum_of(x, k);
    const __m256i zero = _mm256_setzero_si256();

    for (size_t row = 0; row < n; row += 24, w += 2 * stride) {
        const int has_second = row + 12 < n; /* else the first is computed twice */
        const uint8_t *first = w, *second = has_second ? w + stride : w;
        sums s = {zero, zero, zero};
        for (size_t i = 0; i < k; i += 32, first += 80, second += 80) {
            fetch_ahead(first);
            fetch_ahead(second);
            s = add_tiles(s, first, second, x + i, two_digits);
        }
        store(y + row, has_second ? y + row + 12 : NULL, &s, x_sum);
    }
}
