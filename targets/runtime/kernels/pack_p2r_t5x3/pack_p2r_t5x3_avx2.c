/* pack_p2r_t5x3_avx2.c - x86-64 with AVX2: what two codes make is looked up at once, and merged. */
#include "pack_p2r_t5x3.h"

#include "../gemv_s32_s8_t5x3/gemv_s32_s8_t5x3.h"

#if !defined(__AVX2__)
#error "compile this file with the flags of isa 'avx2' (targets/isa.toml)"
#endif
#include <immintrin.h>

#include "../t5x3_codes_avx2.def"

/* Of the rows of tiles first and second. */
static const uint8_t tables[3][2][32] = {
    {{BITX_T5X3_CODES(BITX_P2R_0_OF_0)}, {BITX_T5X3_CODES(BITX_P2R_0_OF_1)}},
    {{BITX_T5X3_CODES(BITX_P2R_1_OF_1)}, {BITX_T5X3_CODES(BITX_P2R_1_OF_2)}},
    {{BITX_T5X3_CODES(BITX_P2R_2_OF_2)}, {BITX_T5X3_CODES(BITX_P2R_2_OF_3)}},
};

static inline void merge(uint8_t *p2r, group g, table t)
{
    const __m256i parts = look_up(t, g);
    _mm_storeu_si128((__m128i *)(void *)p2r, _mm_or_si128(_mm256_castsi256_si128(parts),
                                                          _mm256_extracti128_si256(parts, 1)));
}

static void pack(uint8_t *p2r, const uint8_t *first, const uint8_t *second, table t, size_t k)
{
    for (size_t i = 0; i < k; i += 32, first += 80, second += 80, p2r += 128) {
        const vectors v = load_tiles(first, second);
        merge(p2r + 0, upper_bits(v.b0), t);
        merge(p2r + 16, upper_bits(v.b1), t);
        merge(p2r + 32, upper_bits(v.b2), t);
        merge(p2r + 48, upper_bits(v.b3), t);
        merge(p2r + 64, upper_bits(v.b4), t);
        merge(p2r + 80, group5(v), t);
        merge(p2r + 96, group6(v), t);
        merge(p2r + 112, group7(v), t);
    }
}

void bitx_pack_p2r_t5x3_avx2(uint8_t *restrict p2r, const uint8_t *restrict w, size_t tiles,
                             size_t k, size_t stride)
{
    for (size_t made = 0; made < 3; made++) {
        const uint8_t *const first = w + (made < tiles ? made : tiles - 1) * stride;
        const uint8_t *const second = w + (made + 1 < tiles ? made + 1 : tiles - 1) * stride;
        const uint8_t *const of_first = tables[made][0], *const of_second = tables[made][1];
        const table t = {both(of_first, of_second), both(of_first + 16, of_second + 16)};
        pack(p2r + made * 4 * k, first, second, t, k);
    }
}
