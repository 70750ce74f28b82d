/* gemv_s32_s8_q4r_avx2.c - x86-64 with AVX2: two tiles of a row of tiles in one register. */
#include "gemv_s32_s8_q4r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* Of the halves of a byte, both as w + 8. */
typedef struct sums {
    __m256i bottom, top;
} sums;

/* The same in int16, by the type of the elements: as __m256i, GCC 12 copies them in every step. */
typedef struct narrow_sums {
    __v16hi bottom, top;
} narrow_sums;

/* No pair saturates: 2 * 15 * 128 < 2^15. */
static inline __v16hi add_products(__v16hi sum, __m256i codes, __m256i x)
{
    return (__v16hi)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(codes, x));
}

static inline narrow_sums add_tiles(narrow_sums s, const uint8_t *tiles, __m256i x)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)tiles);
    const __m256i top = _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), low4),
                                         _mm256_set1_epi8(8)); /* makes w unsigned */
    s.bottom = add_products(s.bottom, _mm256_and_si256(b, low4), x);
    s.top = add_products(s.top, top, x);
    return s;
}

/* Weights pass through once, from memory.  Behind their end nothing is fetched, and nothing fails.
 */
static inline void fetch_ahead(const uint8_t *tiles)
{
    enum { BYTES_AHEAD = 10240 };
    _mm_prefetch((const char *)tiles + BYTES_AHEAD, _MM_HINT_T0);
}

/* Columns 0 to 3 in each element of the low half, 4 to 7 in the high half. */
static inline __m256i spread(const int8_t *x)
{
    const __m256i order = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m128i columns = _mm_loadl_epi64((const __m128i *)(const void *)x);
    return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(columns), order);
}

/* 8 steps at most, or int16 would wrap: 8 * 2 * 15 * 128 < 2^15. */
enum { BLOCK_COLUMNS = 8 * 8 };

static inline narrow_sums add_block(const uint8_t *tiles, const int8_t *x, size_t columns)
{
    const __v16hi zero = {0};
    narrow_sums s = {zero, zero};
    for (size_t i = 0; i < columns; i += 16) {
        fetch_ahead(tiles + 4 * i);
        s = add_tiles(s, tiles + 4 * i, spread(x + i));
        s = add_tiles(s, tiles + 4 * i + 32, spread(x + i + 8));
    }
    return s;
}

static inline __m256i widen(__m256i sum, __v16hi block)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16((__m256i)block, _mm256_set1_epi16(1)));
}

static inline __m128i lanes(__m256i sum)
{
    return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

static inline void store_four(int32_t *y, __m128i sum)
{
    _mm_storeu_si128((__m128i *)(void *)y, sum);
}

static __m128i sum_of(const int8_t *x, size_t k)
{
    const __m128i one = _mm_set1_epi8(1);
    __m128i sum = _mm_setzero_si128();
    for (size_t i = 0; i < k; i += 16) {
        const __m128i x16 = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(one, x16), _mm_set1_epi16(1)));
    }
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
}

void bitx_gemv_s32_s8_q4r_avx2(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const __m128i eight_x_sum = _mm_slli_epi32(sum_of(x, k), 3);
    const __m256i zero = _mm256_setzero_si256();

    for (size_t row = 0; row < n; row += 8) {
        const uint8_t *tiles = w + row / 8 * stride;
        sums s = {zero, zero};
        for (size_t i = 0; i < k; i += BLOCK_COLUMNS) {
            const size_t left = k - i, columns = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
            const narrow_sums block = add_block(tiles + 4 * i, x + i, columns);
            s.bottom = widen(s.bottom, block.bottom);
            s.top = widen(s.top, block.top);
        }
        store_four(y + row, _mm_sub_epi32(lanes(s.bottom), eight_x_sum));
        store_four(y + row + 4, _mm_sub_epi32(lanes(s.top), eight_x_sum));
    }
}
