/* gemv_s32_s8_p16_avx2.c - x86-64-v3: 8 rows times 10 columns at a time, a tile.
 *
 * Needs no tables: digits fall off a byte one by one, floor(v / 3) being (21846 v) >> 16.  Each is
 * w + 1, hence the sum of x is taken off.  11 * 128 * BLOCK / 10 < 2^15: no lane of int16 wraps.
 */
#include "gemv_s32_s8_p16.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

enum { BLOCK = 200 };

/* x of both fives of a tile, each for 8 rows. */
static inline __m256i columns_of(int8_t first, int8_t second)
{
    return _mm256_inserti128_si256(_mm256_set1_epi16(first), _mm_set1_epi16(second), 1);
}

static inline __m256i add_tile(__m256i sum, const uint8_t *tile, const int8_t *x)
{
    __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)tile));
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const __m256i rest = _mm256_mulhi_epu16(v, _mm256_set1_epi16(21846));
        const __m256i three = _mm256_add_epi16(_mm256_add_epi16(rest, rest), rest);
        const __m256i digit = _mm256_sub_epi16(v, three);
        sum = _mm256_add_epi16(sum, _mm256_mullo_epi16(digit, columns_of(x[i], x[i + 5])));
        v = rest;
    }
    return _mm256_add_epi16(sum, _mm256_mullo_epi16(v, columns_of(x[4], x[9])));
}

/* At most BLOCK columns. */
static __m256i block_sums(const int8_t *x, const uint8_t *tiles, size_t k)
{
    __m256i sum = _mm256_setzero_si256();
    int8_t rest[10] = {0};

    for (; k >= 10; k -= 10, x += 10, tiles += 16)
        sum = add_tile(sum, tiles, x);
    if (k == 0) return sum;
    for (size_t i = 0; i < k; i++)
        rest[i] = x[i];
    return add_tile(sum, tiles, rest);
}

void bitx_gemv_s32_s8_p16_avx2(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict tables, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    int32_t x_sum = 0;
    (void)tables;
    for (size_t i = 0; i < k; i++)
        x_sum += x[i];

    for (size_t row = 0; row < n; row += 8, y += 8, w += stride) {
        __m256i *const out = (__m256i *)(void *)y;
        __m256i total = _mm256_sub_epi32(_mm256_loadu_si256(out), _mm256_set1_epi32(x_sum));
        for (size_t i = 0; i < k; i += BLOCK) {
            const size_t columns = k - i < BLOCK ? k - i : BLOCK;
            const __m256i sum = block_sums(x + i, w + i / 10 * 16, columns);
            total = _mm256_add_epi32(total, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sum)));
            total =
                _mm256_add_epi32(total, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sum, 1)));
        }
        _mm256_storeu_si256(out, total);
    }
}
