/* gemv_s32_s8_q4r_vnni.c - x86-64 with VNNI: four tiles of a row of tiles in one register. */
#include "gemv_s32_s8_q4r.h"

#if !defined(__AVX512VNNI__)
#error "compile this file with the flags of isa 'vnni' (targets/isa.toml)"
#endif
#include <immintrin.h>

#include "../gemv_tiles_vnni.def"

/* Of v + 8, the low half of a byte, and of (v + 8) + 16 (w + 8), the byte; with w + 8 unsigned.  A
 * part of 32 bits sees a quarter of the columns: 131056 / 4 * 255 * 128 < 2^31. */
typedef struct sums {
    __v16si low4, all;
} sums;

static inline sums add_tiles(sums s, const uint8_t *tiles, __m512i x)
{
    const __m512i b = _mm512_loadu_si512(tiles);
    const __m512i low4 = _mm512_and_si512(b, _mm512_set1_epi8(15));
    const __m512i all = _mm512_xor_si512(b, _mm512_set1_epi8(-128)); /* makes w unsigned */
    s.low4 = add_products(s.low4, low4, x);
    s.all = add_products(s.all, all, x);
    return s;
}

void bitx_gemv_s32_s8_q4r_vnni(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const __m128i eight_x_sum = _mm_set1_epi32(8 * sum_of(x, k));
    const __v16si zero = {0};

    for (size_t row = 0; row < n; row += 8) {
        const uint8_t *tiles = w + row / 8 * stride;
        sums s = {zero, zero}, t = s; /* two of each, as one waits for itself */
        size_t i = 0;
        for (; i + 32 <= k; i += 32) {
            fetch_ahead(tiles + 4 * i);
            fetch_ahead(tiles + 4 * i + 64);
            s = add_tiles(s, tiles + 4 * i, spread(x + i));
            t = add_tiles(t, tiles + 4 * i + 64, spread(x + i + 16));
        }
        if (i < k) s = add_tiles(s, tiles + 4 * i, spread(x + i));
        s = (sums){s.low4 + t.low4, s.all + t.all};
        const __m512i top = _mm512_srai_epi32((__m512i)(s.all - s.low4), 4);
        store_four(y + row, _mm_sub_epi32(quarters((__m512i)s.low4), eight_x_sum));
        store_four(y + row + 4, _mm_sub_epi32(quarters(top), eight_x_sum));
    }
}
