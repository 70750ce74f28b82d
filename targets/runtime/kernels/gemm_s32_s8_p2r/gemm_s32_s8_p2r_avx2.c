/* gemm_s32_s8_p2r_avx2.c - x86-64 with AVX2: weights of up to four tiles that lie below each other
 * are unpacked once for all columns, each of which then has the registers to itself. */
#include "gemm_s32_s8_p2r.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* Tiles, and their steps of 4 columns, that are unpacked at a time: 15 KiB. */
enum { TILES = 4, ROWS = 16 * TILES, STEPS = 60, BLOCK = 4 * STEPS };

/* Eight rows each; as weights, by 4 columns. */
typedef struct tile {
    __m256i top, end;
} tile;

/* Sums of a tile, two for each row.  They have the type of their elements: as __m256i, GCC 12
 * copies them in every step. */
typedef struct tile_sums {
    __v16hi top, end;
} tile_sums;

/* One tile of a step, then the next: only those that there are.  Weights are from -2 to 2. */
typedef struct block {
    tile weights[STEPS * TILES];
    tile_sums begin[TILES];
} block;

static inline __m256i load_32(const void *bytes)
{
    return _mm256_loadu_si256((const __m256i *)bytes);
}

static inline __m128i load_16(const void *bytes)
{
    return _mm_loadu_si128((const __m128i *)bytes);
}

/* What is multiplied next; behind the end of all, that does no harm. */
static inline void prefetch(const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += 64)
        _mm_prefetch((const char *)bytes + i, _MM_HINT_T0);
}

/* By four bits of a byte: the low half gets its first field, the high half its second. */
static inline tile unpack(const uint8_t *w)
{
    const __m256i fields01 =
        _mm256_setr_epi8(-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, /* and field 1: */
                         -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2);
    const __m256i fields23 =
        _mm256_setr_epi8(-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, /* and field 3: */
                         0, 0, 0, 0, 1, 1, 1, 1, -2, -2, -2, -2, -1, -1, -1, -1);
    const __m256i low4 = _mm256_set1_epi8(15);
    const __m256i b = _mm256_broadcastsi128_si256(load_16(w));
    return (tile){_mm256_shuffle_epi8(fields01, _mm256_and_si256(b, low4)),
                  _mm256_shuffle_epi8(fields23, _mm256_and_si256(_mm256_srli_epi16(b, 4), low4))};
}

static inline __v32qi add_weights(__v32qi sum, __m256i w)
{
    return (__v32qi)_mm256_add_epi8((__m256i)sum, w);
}

/* -128 times pairs of w, sums of STEPS weights at most: 128 * 2 * 2 * 60 < 2^15. */
static inline __v16hi negative_excess(__v32qi w)
{
    const __m256i excess = _mm256_maddubs_epi16(_mm256_set1_epi8(-128), (__m256i)w);
    return (__v16hi)_mm256_sub_epi16(_mm256_setzero_si256(), excess);
}

/* Returns what the sums of x + 128 begin with, to be those of x.  next: what is unpacked after it.
 */
static tile_sums unpack_steps(tile *to, const uint8_t *w, size_t steps, size_t tiles,
                              const uint8_t *next)
{
    __v32qi top = {0}, end = {0};
    prefetch(next, 4 * BLOCK);
#pragma GCC unroll 4
    for (size_t i = 0; i < steps; i++, w += 16, to += tiles) {
        const tile t = unpack(w);
        *to = t;
        top = add_weights(top, t.top);
        end = add_weights(end, t.end);
    }
    return (tile_sums){negative_excess(top), negative_excess(end)};
}

/* x + 128, which is unsigned.  k: a multiple of 16. */
static inline void add_128(uint8_t *to, const int8_t *x, size_t k)
{
    const __m256i low = _mm256_set1_epi8(-128);
    size_t i = 0;
    for (; i + 32 <= k; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_xor_si256(load_32(x + i), low));
    if (i < k)
        _mm_storeu_si128((__m128i *)(void *)(to + i),
                         _mm_xor_si128(load_16(x + i), _mm256_castsi256_si128(low)));
}

/* The same four columns for every row. */
static inline __m256i spread(const uint8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* A pair of products is at most 2 * 2 * 255.  A sum may wrap meanwhile; in the end it is that of x,
 * and right: 60 * 2 * 2 * 128 < 2^15. */
static inline __v16hi add_product(__v16hi sum, __m256i x, __m256i w)
{
    return (__v16hi)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(x, w));
}

static inline void add_tile(tile_sums *s, __m256i x, const tile *w)
{
    s->top = add_product(s->top, x, w->top);
    s->end = add_product(s->end, x, w->end);
}

static inline void widen(int32_t *y, __v16hi sum, int is_first)
{
    const __m256i wide = _mm256_madd_epi16((__m256i)sum, _mm256_set1_epi16(1));
    _mm256_storeu_si256((__m256i *)(void *)y, is_first ? wide : _mm256_add_epi32(wide, load_32(y)));
}

static inline void widen_tile(int32_t *y, const tile_sums *s, int is_first)
{
    widen(y, s->top, is_first);
    widen(y + 8, s->end, is_first);
}

/* x: of x + 128.  tiles: a constant, for which this is compiled. */
__attribute__((always_inline)) static inline void
multiply(int32_t *y, const uint8_t *x, const block *w, size_t k, size_t tiles, int is_first)
{
    const tile *t = w->weights;
    tile_sums s0 = w->begin[0], s1 = w->begin[1], s2 = w->begin[2], s3 = w->begin[3];
    /* A step at a time: in a sum of several steps GCC 12 adds the products first, and spills. */
#pragma GCC unroll 4
    for (size_t i = 0; i < k / 4; i++, t += tiles) {
        const __m256i four = spread(x + 4 * i);
        add_tile(&s0, four, t);
        if (tiles > 1) add_tile(&s1, four, t + 1);
        if (tiles > 2) add_tile(&s2, four, t + 2);
        if (tiles > 3) add_tile(&s3, four, t + 3);
    }
    widen_tile(y, &s0, is_first);
    if (tiles > 1) widen_tile(y + 16, &s1, is_first);
    if (tiles > 2) widen_tile(y + 32, &s2, is_first);
    if (tiles > 3) widen_tile(y + 48, &s3, is_first);
}

/* Not inlined: GCC 12 would keep constants of the caller in registers, and sums on the stack. */
__attribute__((noinline)) static void multiply_column(int32_t *y, const int8_t *x, const block *w,
                                                      size_t k, size_t tiles, int is_first)
{
    _Alignas(32) uint8_t above_zero[BLOCK];
    add_128(above_zero, x, k);
    switch (tiles) {
    case 1:  multiply(y, above_zero, w, k, 1, is_first); break;
    case 2:  multiply(y, above_zero, w, k, 2, is_first); break;
    case 3:  multiply(y, above_zero, w, k, 3, is_first); break;
    default: multiply(y, above_zero, w, k, TILES, is_first); break;
    }
}

void bitx_gemm_s32_s8_p2r_avx2(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    for (size_t row = 0; row < n; row += ROWS, w += TILES * stride) {
        const size_t tiles = (n - row < ROWS ? n - row : ROWS) / 16;
        for (size_t i = 0; i < k; i += BLOCK) {
            const size_t width = k - i < BLOCK ? k - i : BLOCK;
            block unpacked;
            const uint8_t *const from = w + 4 * i;
            const uint8_t *const next = i + BLOCK < k ? from + 4 * BLOCK : w + TILES * stride;
            for (size_t t = 0; t < tiles; t++)
                unpacked.begin[t] = unpack_steps(unpacked.weights + t, from + t * stride, width / 4,
                                                 tiles, next + t * stride);
            for (size_t t = 0; t < columns; t++) {
                prefetch(x + (t + 1) * x_stride + i, BLOCK);
                multiply_column(y + t * y_stride + row, x + t * x_stride + i, &unpacked, width,
                                tiles, i == 0);
            }
        }
    }
}
