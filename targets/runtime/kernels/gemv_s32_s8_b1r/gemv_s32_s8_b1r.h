/* gemv_s32_s8_b1r.h - y = W x, W binary in layout b1r, x int8, y int32, exact.
 *
 * n rows, a multiple of 32, and k columns, a multiple of 16, k <= 131056.  The layout: FORMAT.md,
 * section 3.3.  stride: bytes from one row of tiles to the next, 4 for each column of the whole
 * matrix.  So W may be some columns of a wider one, and w, aligned to 4 bytes, points at the
 * first of them.  Tiles of 16 bytes hold 4 columns of 32 rows; bit f of byte 4l + i is row 4f + l,
 * column i: 1 for +1, 0 for -1.
 *
 * The fast variants sum the x whose bit is set: with p that sum, y = 2 p - (the sum of x).  Integer
 * sums have no order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_B1R_H
#define BITX_GEMV_S32_S8_B1R_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_B1R(name)                                                         \
    void name(int32_t *y, const int8_t *x, const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_B1R((*bitx_gemv_s32_s8_b1r_fn));

BITX_DECLARE_GEMV_S32_S8_B1R(bitx_gemv_s32_s8_b1r_scalar);
BITX_DECLARE_GEMV_S32_S8_B1R(bitx_gemv_s32_s8_b1r_neon);
BITX_DECLARE_GEMV_S32_S8_B1R(bitx_gemv_s32_s8_b1r_dotprod);
BITX_DECLARE_GEMV_S32_S8_B1R(bitx_gemv_s32_s8_b1r_avx2);
BITX_DECLARE_GEMV_S32_S8_B1R(bitx_gemv_s32_s8_b1r_mve);

#endif /* BITX_GEMV_S32_S8_B1R_H */
