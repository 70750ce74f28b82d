/* gemv_s32_s8_p2r_avx2.c - x86-64 with AVX2: two tiles of a row of tiles in one register. */
#include "gemv_s32_s8_p2r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* With c0 .. c2 the codes of a byte and c3 = w3 + 2: c0, c0 + 4 c1, c2, c2 + 4 c3. */
typedef struct sums {
    __m256i bits10, bits30, bits54, bits74;
} sums;

/* The same in int16, by the type of the elements: as __m256i, GCC 12 copies them in every step. */
typedef struct narrow_sums {
    __v16hi bits10, bits30, bits54, bits74;
} narrow_sums;

static inline __v16hi add_products(__v16hi sum, __m256i codes, __m256i x)
{
    return (__v16hi)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(codes, x));
}

/* Weights pass through once, from memory.  Behind their end nothing is fetched, and nothing fails.
 */
static inline void fetch_ahead(const uint8_t *tiles)
{
    enum { BYTES_AHEAD = 10240 }; /* measured: 5 to 10 KiB are as good */
    _mm_prefetch((const char *)tiles + BYTES_AHEAD, _MM_HINT_T0);
}

static inline narrow_sums add_tiles(narrow_sums s, const uint8_t *tiles, __m256i x)
{
    const __m256i low4 = _mm256_set1_epi8(15), low2 = _mm256_set1_epi8(3);
    const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)tiles);
    const __m256i bottom = _mm256_and_si256(b, low4);
    const __m256i top = _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), low4),
                                         _mm256_set1_epi8(8)); /* makes w3 unsigned */
    s.bits10 = add_products(s.bits10, _mm256_and_si256(bottom, low2), x);
    s.bits30 = add_products(s.bits30, bottom, x);
    s.bits54 = add_products(s.bits54, _mm256_and_si256(top, low2), x);
    s.bits74 = add_products(s.bits74, top, x);
    return s;
}

/* Columns 0 to 3 in each element of the low half, 4 to 7 in the high half. */
static inline __m256i spread(const int8_t *x)
{
    const __m256i order = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m128i columns = _mm_loadl_epi64((const __m128i *)(const void *)x);
    return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(columns), order);
}

/* 8 steps at most, or int16 would wrap: 8 * 2 * 15 * 128 < 2^15. */
static inline narrow_sums add_block(const uint8_t *tiles, const int8_t *x, size_t columns)
{
    const __v16hi zero = {0};
    narrow_sums s = {zero, zero, zero, zero};
    for (size_t i = 0; i < columns; i += 8) {
        fetch_ahead(tiles + 4 * i);
        s = add_tiles(s, tiles + 4 * i, spread(x + i));
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

static void store(int32_t *y, const sums *s, __m128i x_sum)
{
    const __m128i field0 = lanes(s->bits10), field2 = lanes(s->bits54);
    const __m128i field1 = _mm_srai_epi32(_mm_sub_epi32(lanes(s->bits30), field0), 2);
    const __m128i field3 = _mm_srai_epi32(_mm_sub_epi32(lanes(s->bits74), field2), 2);
    store_four(y + 0, _mm_sub_epi32(field0, x_sum));
    store_four(y + 4, _mm_sub_epi32(field1, x_sum));
    store_four(y + 8, _mm_sub_epi32(field2, x_sum));
    store_four(y + 12, _mm_sub_epi32(field3, _mm_add_epi32(x_sum, x_sum)));
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

void bitx_gemv_s32_s8_p2r_avx2(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const __m128i x_sum = sum_of(x, k);
    const __m256i zero = _mm256_setzero_si256();

    for (size_t row = 0; row < n; row += 16) {
        const uint8_t *tiles = w + row / 16 * stride;
        sums s = {zero, zero, zero, zero};
        for (size_t i = 0; i < k; i += 64) {
            const narrow_sums block = add_block(tiles + 4 * i, x + i, k - i < 64 ? k - i : 64);
            s.bits10 = widen(s.bits10, block.bits10);
            s.bits30 = widen(s.bits30, block.bits30);
            s.bits54 = widen(s.bits54, block.bits54);
            s.bits74 = widen(s.bits74, block.bits74);
        }
        store(y + row, &s, x_sum);
    }
}
