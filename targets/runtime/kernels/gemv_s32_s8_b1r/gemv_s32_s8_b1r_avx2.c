/* gemv_s32_s8_b1r_avx2.c - x86-64 with AVX2: two tiles of a row of tiles in one register. */
#include "gemv_s32_s8_b1r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* Of four neighbouring bits: the sum of x where it is set, times 1, 2, 4 and 8; two columns in each
 * part of a register, lane l in the parts of 32 bits that are l mod 4. */
typedef struct sums {
    __m256i bit0, bit1, bit2, bit3;
} sums;

static inline __m256i add_products(__m256i sum, __m256i bits, int mask, __m256i x)
{
    const __m256i code = _mm256_and_si256(bits, _mm256_set1_epi8((char)mask));
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(code, x));
}

/* Columns 0 to 3 in each element of the low half, 4 to 7 in the high half. */
static inline __m256i spread(const int8_t *x)
{
    const __m256i order = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m128i columns = _mm_loadl_epi64((const __m128i *)(const void *)x);
    return _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(columns), order);
}

/* Of each byte, the four bits from `first` on. */
static inline sums add_tiles(sums s, const uint8_t *tiles, const int8_t *x, int first)
{
    const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)tiles), x8 = spread(x);
    const __m256i bits = _mm256_srli_epi16(b, first); /* with some of a neighbour, masked off */
    s.bit0 = add_products(s.bit0, bits, 1, x8);
    s.bit1 = add_products(s.bit1, bits, 2, x8);
    s.bit2 = add_products(s.bit2, bits, 4, x8);
    s.bit3 = add_products(s.bit3, bits, 8, x8);
    return s;
}

static inline __m256i widen(__m256i sum, __m256i block)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(block, _mm256_set1_epi16(1)));
}

/* 16 steps at most, or int16 would wrap: 16 * 2 * 8 * -128 = -2^15, 16 * 2 * 8 * 127 < 2^15. */
enum { BLOCK_COLUMNS = 8 * 16 };

/* Half a byte at a time, so that all sums stay in registers. */
static inline sums add_block(sums s, const uint8_t *tiles, const int8_t *x, size_t columns,
                             int first)
{
    const __m256i zero = _mm256_setzero_si256();
    sums block = {zero, zero, zero, zero};
    for (size_t i = 0; i < columns; i += 16) {
        block = add_tiles(block, tiles + 4 * i, x + i, first);
        block = add_tiles(block, tiles + 4 * i + 32, x + i + 8, first);
    }
    return (sums){widen(s.bit0, block.bit0), widen(s.bit1, block.bit1), widen(s.bit2, block.bit2),
                  widen(s.bit3, block.bit3)};
}

static inline __m128i lanes(__m256i sum)
{
    return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

static inline void store_four(int32_t *y, __m128i sum, __m128i x_sum)
{
    _mm_storeu_si128((__m128i *)(void *)y, _mm_sub_epi32(sum, x_sum));
}

/* y = 2 p - x_sum. */
static void store(int32_t *y, const sums *s, __m128i x_sum)
{
    store_four(y + 0, _mm_slli_epi32(lanes(s->bit0), 1), x_sum);
    store_four(y + 4, lanes(s->bit1), x_sum);
    store_four(y + 8, _mm_srai_epi32(lanes(s->bit2), 1), x_sum);
    store_four(y + 12, _mm_srai_epi32(lanes(s->bit3), 2), x_sum);
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

void bitx_gemv_s32_s8_b1r_avx2(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const __m128i x_sum = sum_of(x, k);
    const __m256i zero = _mm256_setzero_si256();

    for (size_t row = 0; row < n; row += 32) {
        const uint8_t *tiles = w + row / 32 * stride;
        sums low = {zero, zero, zero, zero}, high = low;
        for (size_t i = 0; i < k; i += BLOCK_COLUMNS) {
            const size_t left = k - i, columns = left < BLOCK_COLUMNS ? left : BLOCK_COLUMNS;
            low = add_block(low, tiles + 4 * i, x + i, columns, 0);
            high = add_block(high, tiles + 4 * i, x + i, columns, 4);
        }
        store(y + row, &low, x_sum);
        store(y + row + 16, &high, x_sum);
    }
}
