/* gemm_s32_s8_p2r_avx2.c - x86-64 with AVX2: weights of two tiles are unpacked once for all
 * columns, which then come in pairs. */
#include "gemm_s32_s8_p2r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* NARROW steps of 4 columns at most are summed in int16: 32 * 2 * 3 * 128 < 2^15.  BLOCK steps are
 * unpacked at a time, 16 KiB. */
enum { NARROW = 32, BLOCK = 4 * NARROW, BLOCK_COLUMNS = 4 * BLOCK, PANEL = 32 };

/* A vector for each field of a byte; the upper half is of the second tile.  As codes: w + 1 in
 * fields 0 to 2, w + 2 in field 3, all from 0 to 3. */
typedef struct fields {
    __m256i f0, f1, f2, f3;
} fields;

/* A pair of tiles that lie below each other; of a last tile without a second, twice the same. */
typedef struct tile_pair {
    const uint8_t *first, *second;
    int has_second;
} tile_pair;

static inline __m128i load_four(const void *four)
{
    return _mm_loadu_si128((const __m128i *)four);
}

static inline fields unpack(const uint8_t *first, const uint8_t *second)
{
    const __m256i low2 = _mm256_set1_epi8(3);
    const __m256i b =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load_four(first)), load_four(second), 1);
    return (fields){
        _mm256_and_si256(b, low2), _mm256_and_si256(_mm256_srli_epi16(b, 2), low2),
        _mm256_and_si256(_mm256_srli_epi16(b, 4), low2),
        _mm256_xor_si256(_mm256_and_si256(_mm256_srli_epi16(b, 6), low2), _mm256_set1_epi8(2))};
}

static void unpack_block(fields *codes, const tile_pair *tiles, size_t column, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        codes[i] = unpack(tiles->first + 4 * column + 16 * i, tiles->second + 4 * column + 16 * i);
}

/* A sum has the type of its elements: as __m256i, GCC 12 copies it in every step. */
static inline __v16hi add_product(__v16hi sum, __m256i codes, __m256i x)
{
    return (__v16hi)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(codes, x));
}

static inline __m256i widen(__m256i sum, __v16hi narrow)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16((__m256i)narrow, _mm256_set1_epi16(1)));
}

/* The same four columns for every row. */
static inline __m256i spread(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __m256i load_sum(const int32_t *y, int has_second)
{
    const __m128i first = load_four(y);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                   has_second ? load_four(y + 16) : first, 1);
}

static inline void store_sum(int32_t *y, __m256i sum, int has_second)
{
    _mm_storeu_si128((__m128i *)(void *)y, _mm256_castsi256_si128(sum));
    if (has_second) _mm_storeu_si128((__m128i *)(void *)(y + 16), _mm256_extracti128_si256(sum, 1));
}

static fields load_sums(const int32_t *y, int has_second)
{
    return (fields){load_sum(y, has_second), load_sum(y + 4, has_second),
                    load_sum(y + 8, has_second), load_sum(y + 12, has_second)};
}

static void store_sums(int32_t *y, const fields *sums, int has_second)
{
    store_sum(y, sums->f0, has_second);
    store_sum(y + 4, sums->f1, has_second);
    store_sum(y + 8, sums->f2, has_second);
    store_sum(y + 12, sums->f3, has_second);
}

/* Sums begin with what the codes have too much. */
static fields begin_sums(int32_t x_sum)
{
    const __m256i once = _mm256_set1_epi32(-x_sum);
    return (fields){once, once, once, _mm256_add_epi32(once, once)};
}

/* At least one step, NARROW at most. */
static inline void add_steps(fields *a, fields *b, const int8_t *xa, const int8_t *xb,
                             const fields *codes, size_t steps)
{
    const fields *const end = codes + steps;
    const __v16hi zero = {0};
    __v16hi a0 = zero, a1 = zero, a2 = zero, a3 = zero, b0 = zero, b1 = zero, b2 = zero, b3 = zero;
    do {
        const __m256i by_a = spread(xa), by_b = spread(xb);
        a0 = add_product(a0, codes->f0, by_a);
        b0 = add_product(b0, codes->f0, by_b);
        a1 = add_product(a1, codes->f1, by_a);
        b1 = add_product(b1, codes->f1, by_b);
        a2 = add_product(a2, codes->f2, by_a);
        b2 = add_product(b2, codes->f2, by_b);
        a3 = add_product(a3, codes->f3, by_a);
        b3 = add_product(b3, codes->f3, by_b);
        xa += 4;
        xb += 4;
    } while (++codes < end);
    *a = (fields){widen(a->f0, a0), widen(a->f1, a1), widen(a->f2, a2), widen(a->f3, a3)};
    *b = (fields){widen(b->f0, b0), widen(b->f1, b1), widen(b->f2, b2), widen(b->f3, b3)};
}

static void add_block(fields *a, fields *b, const int8_t *xa, const int8_t *xb, const fields *codes,
                      size_t steps)
{
    for (size_t i = 0; i < steps; i += NARROW)
        add_steps(a, b, xa + 4 * i, xb + 4 * i, codes + i, steps - i < NARROW ? steps - i : NARROW);
}

/* Of x + 128, which is unsigned, in four parts. */
static inline __m256i add_parts(__m256i sum, __m256i x)
{
    const __m256i above_zero = _mm256_xor_si256(x, _mm256_set1_epi8(-128));
    return _mm256_add_epi32(sum, _mm256_sad_epu8(above_zero, _mm256_setzero_si256()));
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    const __m256i none = _mm256_set1_epi8(-128);
    __m256i parts = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= k; i += 32)
        parts = add_parts(parts, _mm256_loadu_si256((const __m256i *)(const void *)(x + i)));
    if (i < k) parts = add_parts(parts, _mm256_inserti128_si256(none, load_four(x + i), 0));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(parts), _mm256_extracti128_si256(parts, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(sum) - 128 * (int32_t)k;
}

/* Two tiles times a panel of columns; an odd last column goes with itself. */
static void multiply(int32_t *y, size_t y_stride, const int8_t *x, size_t x_stride, size_t columns,
                     const int32_t *x_sum, const tile_pair *tiles, size_t k)
{
    fields codes[BLOCK];
    for (size_t i = 0; i < k; i += BLOCK_COLUMNS) {
        const size_t steps = (k - i < BLOCK_COLUMNS ? k - i : BLOCK_COLUMNS) / 4;
        unpack_block(codes, tiles, i, steps);
        for (size_t t = 0; t < columns; t += 2) {
            const size_t u = t + 1 < columns ? t + 1 : t;
            int32_t *const ya = y + t * y_stride, *const yb = y + u * y_stride;
            fields a = i ? load_sums(ya, tiles->has_second) : begin_sums(x_sum[t]);
            fields b = i ? load_sums(yb, tiles->has_second) : begin_sums(x_sum[u]);
            add_block(&a, &b, x + t * x_stride + i, x + u * x_stride + i, codes, steps);
            store_sums(ya, &a, tiles->has_second);
            store_sums(yb, &b, tiles->has_second);
        }
    }
}

void bitx_gemm_s32_s8_p2r_avx2(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    for (size_t t = 0; t < columns; t += PANEL, y += PANEL * y_stride, x += PANEL * x_stride) {
        const size_t width = columns - t < PANEL ? columns - t : PANEL;
        int32_t x_sum[PANEL];
        for (size_t i = 0; i < width; i++)
            x_sum[i] = sum_of(x + i * x_stride, k);
        for (size_t row = 0; row < n; row += 32) {
            const uint8_t *first = w + row / 16 * stride;
            const int has_second = row + 16 < n;
            const tile_pair tiles = {first, has_second ? first + stride : first, has_second};
            multiply(y + row, y_stride, x, x_stride, width, x_sum, &tiles, k);
        }
    }
}
