/* gemv_s32_s8_p2r_vnni.c - x86-64 with VNNI: four tiles of a row of tiles in one register. */
#include "gemv_s32_s8_p2r.h"

#if !defined(__AVX512VNNI__)
#error "compile this file with the flags of isa 'vnni' (targets/isa.toml)"
#endif
#include <immintrin.h>

#include "../gemv_tiles_vnni.def"

/* With c0 .. c2 the codes of a byte and c3 = w3 + 2: the sums of its two, four, six and eight low
 * bits, each 4 c of the next above the last.  Unsigned bytes, signed x: nothing saturates.  A part
 * of 32 bits sees a quarter of the columns: 131056 / 4 * 255 * 128 < 2^31. */
typedef struct sums {
    __v16si bits10, bits30, bits50, bits70;
} sums;

static inline sums add_tiles(sums s, const uint8_t *tiles, __m512i x)
{
    const __m512i b = _mm512_loadu_si512(tiles);
    const __m512i low2 = _mm512_and_si512(b, _mm512_set1_epi8(3));
    const __m512i low4 = _mm512_and_si512(b, _mm512_set1_epi8(15));
    const __m512i low6 = _mm512_and_si512(b, _mm512_set1_epi8(63));
    const __m512i all = _mm512_xor_si512(b, _mm512_set1_epi8(-128)); /* makes w3 unsigned */
    s.bits10 = add_products(s.bits10, low2, x);
    s.bits30 = add_products(s.bits30, low4, x);
    s.bits50 = add_products(s.bits50, low6, x);
    s.bits70 = add_products(s.bits70, all, x);
    return s;
}

static void store(int32_t *y, const sums *s, __m128i x_sum)
{
    const __m512i field1 = _mm512_srai_epi32((__m512i)(s->bits30 - s->bits10), 2);
    const __m512i field2 = _mm512_srai_epi32((__m512i)(s->bits50 - s->bits30), 4);
    const __m512i field3 = _mm512_srai_epi32((__m512i)(s->bits70 - s->bits50), 6);
    store_four(y + 0, _mm_sub_epi32(quarters((__m512i)s->bits10), x_sum));
    store_four(y + 4, _mm_sub_epi32(quarters(field1), x_sum));
    store_four(y + 8, _mm_sub_epi32(quarters(field2), x_sum));
    store_four(y + 12, _mm_sub_epi32(quarters(field3), _mm_add_epi32(x_sum, x_sum)));
}

void bitx_gemv_s32_s8_p2r_vnni(int32_t *restrict y, const int8_t *restrict x,
                               const uint8_t *restrict w, size_t n, size_t k, size_t stride)
{
    const __m128i x_sum = _mm_set1_epi32(sum_of(x, k));
    const __v16si zero = {0};

    for (size_t row = 0; row < n; row += 16) {
        const uint8_t *tiles = w + row / 16 * stride;
        sums s = {zero, zero, zero, zero}, r = s;
        size_t i = 0;
        for (; i + 32 <= k; i += 32) {
            fetch_ahead(tiles + 4 * i);
            fetch_ahead(tiles + 4 * i + 64);
            s = add_tiles(s, tiles + 4 * i, spread(x + i));
            r = add_tiles(r, tiles + 4 * i + 64, spread(x + i + 16));
        }
        if (i < k) s = add_tiles(s, tiles + 4 * i, spread(x + i));
        s = (sums){s.bits10 + r.bits10, s.bits30 + r.bits30, s.bits50 + r.bits50,
                   s.bits70 + r.bits70};
        store(y + row, &s, x_sum);
    }
}
