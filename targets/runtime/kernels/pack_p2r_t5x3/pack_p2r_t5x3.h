/* pack_p2r_t5x3.h - weights of layout t5x3 in layout p2r, four rows of tiles in three.
 *
 * A product with many columns packs some weights again and multiplies those: FORMAT.md, section
 * 3.3, has both layouts.  w points at `tiles` rows of tiles, 1 to 4, of k columns, a multiple of
 * 32; stride: bytes from one to the next.  p2r gets three rows of tiles of 4 k bytes each.  Where w
 * has fewer than four, the last stands for those that lack.
 *
 * Four rows keep their lanes, and become a field: those at 4q as field q % 4 of row of tiles
 * q / 4, but for the last three, which take turns (bitx_p2r_field).  So field 3 gets no digit 2,
 * which is 2 in the codes that no sound file has, where field 3 would hold -2.
 */
#ifndef BITX_PACK_P2R_T5X3_H
#define BITX_PACK_P2R_T5X3_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: p2r and w do not overlap. */
#define BITX_DECLARE_PACK_P2R_T5X3(name)                                                           \
    void name(uint8_t *p2r, const uint8_t *w, size_t tiles, size_t k, size_t stride)

typedef BITX_DECLARE_PACK_P2R_T5X3((*bitx_pack_p2r_t5x3_fn));

BITX_DECLARE_PACK_P2R_T5X3(bitx_pack_p2r_t5x3_scalar);
BITX_DECLARE_PACK_P2R_T5X3(bitx_pack_p2r_t5x3_neon);
BITX_DECLARE_PACK_P2R_T5X3(bitx_pack_p2r_t5x3_avx2);

/* Where rows 4q to 4q + 3 of 48 are, in fours. */
static inline size_t bitx_p2r_field(size_t q)
{
    return q < 9 ? q : q < 11 ? q + 1 : 9;
}

/* What fields of p2r hold of a code of t5x3: w + 1 of a digit, and in field 3 w itself. */
#define BITX_T5X3_FIELD0(code) ((code) % 3)
#define BITX_T5X3_FIELD1(code) ((code) / 3 % 3)
#define BITX_T5X3_FIELD2(code) ((code) / 9)
#define BITX_T5X3_TOP0(code)   ((((code) % 3 + 3) & 3) << 6)
#define BITX_T5X3_TOP1(code)   ((((code) / 3 % 3 + 3) & 3) << 6)

/* A byte of each row of tiles is made of the codes of two rows of tiles of t5x3: 0 and 1, 1 and 2,
 * 2 and 3. */
#define BITX_P2R_0_OF_0(code)                                                                      \
    (BITX_T5X3_FIELD0(code) | BITX_T5X3_FIELD1(code) << 2 | BITX_T5X3_FIELD2(code) << 4)
#define BITX_P2R_0_OF_1(code) BITX_T5X3_TOP0(code)
#define BITX_P2R_1_OF_1(code) (BITX_T5X3_FIELD1(code) | BITX_T5X3_FIELD2(code) << 2)
#define BITX_P2R_1_OF_2(code) (BITX_T5X3_FIELD0(code) << 4 | BITX_T5X3_TOP1(code))
#define BITX_P2R_2_OF_2(code) BITX_T5X3_FIELD2(code)
#define BITX_P2R_2_OF_3(code)                                                                      \
    (BITX_T5X3_FIELD2(code) << 2 | BITX_T5X3_FIELD0(code) << 4 | BITX_T5X3_TOP1(code))

#endif /* BITX_PACK_P2R_T5X3_H */
