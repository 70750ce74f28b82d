/* gemv_s32_s8_p2r.h - y = W x, W ternary in layout p2r, x int8, y int32, exact.
 *
 * n rows and k columns, both multiples of 16, k <= 131056.  The layout: FORMAT.md, section 3.3.
 * stride: bytes from one row of tiles to the next, 4 for each column of the whole matrix.  So W may
 * be some columns of a wider one, and w, aligned to 4 bytes, points at the first of them.
 * Tiles of 16 bytes hold 4 columns of 16 rows; field f of byte 4l + i is row 4f + l, column i.
 * Any byte may occur, any activation too: nothing below may pass its register.
 *
 * The fast variants multiply prefixes of a byte, masked, and subtract afterwards: with b the byte,
 * b & 3 is c0, b & 15 is c0 + 4 c1, and so on.  Fields 0 to 2 hold w + 1, hence the sum of x is
 * taken off.  Integer sums have no order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_P2R_H
#define BITX_GEMV_S32_S8_P2R_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_P2R(name)                                                         \
    void name(int32_t *y, const int8_t *x, const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_P2R((*bitx_gemv_s32_s8_p2r_fn));

BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_scalar);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_neon);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_dotprod);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_avx2);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_vnni);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_mve);
BITX_DECLARE_GEMV_S32_S8_P2R(bitx_gemv_s32_s8_p2r_dsp);

#endif /* BITX_GEMV_S32_S8_P2R_H */
