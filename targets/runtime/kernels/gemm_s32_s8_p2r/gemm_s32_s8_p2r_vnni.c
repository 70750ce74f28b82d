/* gemm_s32_s8_p2r_vnni.c - x86-64 with VNNI: weights of four tiles that lie below each other are
 * unpacked once for a panel of columns, which then come by four. */
#include "gemm_s32_s8_p2r.h"

#if !defined(__AVX512VNNI__)
#error "compile this file with the flags of isa 'vnni' (targets/isa.toml)"
#endif
#include <immintrin.h>

/* Rows of W; its steps of 4 columns that are unpacked at a time, 16 KiB; columns, and how many of
 * them share what is in registers. */
enum { ROWS = 64, BLOCK = 64, PANEL = 32, AT_ONCE = 4 };

/* A vector for each field of a byte; a quarter of it is of one tile.  As codes: w + 1 in fields 0
 * to 2, w + 2 in field 3, all from 0 to 3. */
typedef struct fields {
    __m512i f0, f1, f2, f3;
} fields;

/* Where the same column of each tile lies; of fewer than four tiles, the last one again. */
typedef struct tiles {
    const uint8_t *tile0, *tile1, *tile2, *tile3;
} tiles;

static inline __m128i load_16(const void *bytes)
{
    return _mm_loadu_si128((const __m128i *)bytes);
}

static inline __m512i load(const tiles *w, size_t at)
{
    const __m512i one = _mm512_castsi128_si512(load_16(w->tile0 + at));
    const __m512i two = _mm512_inserti32x4(one, load_16(w->tile1 + at), 1);
    const __m512i three = _mm512_inserti32x4(two, load_16(w->tile2 + at), 2);
    return _mm512_inserti32x4(three, load_16(w->tile3 + at), 3);
}

static inline fields unpack(__m512i b)
{
    const __m512i low2 = _mm512_set1_epi8(3);
    return (fields){
        _mm512_and_si512(b, low2), _mm512_and_si512(_mm512_srli_epi16(b, 2), low2),
        _mm512_and_si512(_mm512_srli_epi16(b, 4), low2),
        _mm512_xor_si512(_mm512_and_si512(_mm512_srli_epi16(b, 6), low2), _mm512_set1_epi8(2))};
}

static void unpack_block(fields *codes, const tiles *w, size_t column, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        codes[i] = unpack(load(w, 4 * column + 16 * i));
}

/* The same four columns for every row. */
static inline __m512i spread(const int8_t *x)
{
    int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

static inline fields add_products(fields sum, const fields *codes, __m512i x)
{
    return (fields){
        _mm512_dpbusd_epi32(sum.f0, codes->f0, x), _mm512_dpbusd_epi32(sum.f1, codes->f1, x),
        _mm512_dpbusd_epi32(sum.f2, codes->f2, x), _mm512_dpbusd_epi32(sum.f3, codes->f3, x)};
}

/* Not inlined: GCC 12 would keep constants of the caller in registers, and sums on the stack. */
__attribute__((noinline)) static void add_block(fields *const sum[AT_ONCE],
                                                const int8_t *const x[AT_ONCE], const fields *codes,
                                                size_t steps)
{
    const int8_t *xa = x[0], *xb = x[1], *xc = x[2], *xd = x[3];
    fields a = *sum[0], b = *sum[1], c = *sum[2], d = *sum[3];
    for (size_t i = 0; i < steps; i++) {
        a = add_products(a, codes + i, spread(xa + 4 * i));
        b = add_products(b, codes + i, spread(xb + 4 * i));
        c = add_products(c, codes + i, spread(xc + 4 * i));
        d = add_products(d, codes + i, spread(xd + 4 * i));
    }
    *sum[0] = a;
    *sum[1] = b;
    *sum[2] = c;
    *sum[3] = d;
}

/* The first `count` bytes, then zeros. */
static inline __m512i load_some(const int8_t *bytes, size_t count)
{
    return _mm512_maskz_loadu_epi8(~(uint64_t)0 >> (64 - count), bytes);
}

static int32_t sum_of(const int8_t *x, size_t k)
{
    const __m512i one = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= k; i += 64)
        sum = _mm512_dpbusd_epi32(sum, one, _mm512_loadu_si512(x + i));
    if (i < k) sum = _mm512_dpbusd_epi32(sum, one, load_some(x + i, k - i));
    return _mm512_reduce_add_epi32(sum);
}

/* Sums begin with what the codes have too much. */
static fields begin_sums(int32_t x_sum)
{
    const __m512i once = _mm512_set1_epi32(-x_sum);
    return (fields){once, once, once, _mm512_add_epi32(once, once)};
}

/* Quarters of fields to tiles: 16 rows each. */
static void store_sums(int32_t *y, const fields *s, size_t n)
{
    const __m512i top01 = _mm512_shuffle_i32x4(s->f0, s->f1, 0x44);
    const __m512i top23 = _mm512_shuffle_i32x4(s->f2, s->f3, 0x44);
    const __m512i end01 = _mm512_shuffle_i32x4(s->f0, s->f1, 0xee);
    const __m512i end23 = _mm512_shuffle_i32x4(s->f2, s->f3, 0xee);
    _mm512_storeu_si512(y, _mm512_shuffle_i32x4(top01, top23, 0x88));
    if (n > 16) _mm512_storeu_si512(y + 16, _mm512_shuffle_i32x4(top01, top23, 0xdd));
    if (n > 32) _mm512_storeu_si512(y + 32, _mm512_shuffle_i32x4(end01, end23, 0x88));
    if (n > 48) _mm512_storeu_si512(y + 48, _mm512_shuffle_i32x4(end01, end23, 0xdd));
}

/* ROWS rows, or fewer, times a panel of columns; behind the last column it comes again. */
static void multiply(fields *sums, const int8_t *x, size_t x_stride, size_t width, const tiles *w,
                     size_t k)
{
    fields codes[BLOCK];
    for (size_t i = 0; i < k; i += 4 * BLOCK) {
        const size_t steps = (k - i < 4 * BLOCK ? k - i : 4 * BLOCK) / 4;
        unpack_block(codes, w, i, steps);
        for (size_t t = 0; t < width; t += AT_ONCE) {
            fields *sum[AT_ONCE];
            const int8_t *from[AT_ONCE];
            for (size_t j = 0; j < AT_ONCE; j++) {
                const size_t u = t + j < width ? t + j : width - 1;
                sum[j] = sums + u;
                from[j] = x + u * x_stride + i;
            }
            add_block(sum, from, codes, steps);
        }
    }
}

void bitx_gemm_s32_s8_p2r_vnni(int32_t *restrict y, size_t y_stride, const int8_t *restrict x,
                               size_t x_stride, size_t columns, const uint8_t *restrict w, size_t n,
                               size_t k, size_t stride)
{
    for (size_t t = 0; t < columns; t += PANEL, y += PANEL * y_stride, x += PANEL * x_stride) {
        const size_t width = columns - t < PANEL ? columns - t : PANEL;
        int32_t x_sum[PANEL];
        for (size_t i = 0; i < width; i++)
            x_sum[i] = sum_of(x + i * x_stride, k);
        for (size_t row = 0; row < n; row += ROWS) {
            const uint8_t *const first = w + row / 16 * stride;
            const size_t last = (n - row < ROWS ? n - row : ROWS) / 16 - 1;
            const tiles four = {first, first + (last < 1 ? last : 1) * stride,
                                first + (last < 2 ? last : 2) * stride, first + last * stride};
            fields sums[PANEL];
            for (size_t i = 0; i < width; i++)
                sums[i] = begin_sums(x_sum[i]);
            multiply(sums, x, x_stride, width, &four, k);
            for (size_t i = 0; i < width; i++)
                store_sums(y + i * y_stride + row, &sums[i], n - row);
        }
    }
}
