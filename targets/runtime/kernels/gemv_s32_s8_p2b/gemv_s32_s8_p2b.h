/* gemv_s32_s8_p2b.h - y += W x, W ternary in layout p2b, x int8, y int32, exact.
 *
 * n rows, a multiple of 16, and k columns, from 1 on; k <= 131056.  The layout: FORMAT.md, section
 * 3.3.  stride: bytes from one row of tiles to the next, 96 for each 24 columns of the whole
 * matrix. So W may be some columns of a wider one, from a multiple of 24 on. Tiles of 48 bytes hold
 * 12 columns of 16 rows, four indices of five bits in three bytes of a row. An index is three
 * weights, digits of base 3, the lowest first; above 26 it is three zeros.  What indices hold of
 * columns behind the last is not multiplied.
 *
 * The definition reads x, a fast variant what tables_s8_p2b has made of it.  Integer sums have no
 * order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_P2B_H
#define BITX_GEMV_S32_S8_P2B_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x, tables and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_P2B(name)                                                         \
    void name(int32_t *y, const int8_t *x, const uint8_t *tables, const uint8_t *w, size_t n,      \
              size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_P2B((*bitx_gemv_s32_s8_p2b_fn));

BITX_DECLARE_GEMV_S32_S8_P2B(bitx_gemv_s32_s8_p2b_scalar);
BITX_DECLARE_GEMV_S32_S8_P2B(bitx_gemv_s32_s8_p2b_neon);

#endif /* BITX_GEMV_S32_S8_P2B_H */
