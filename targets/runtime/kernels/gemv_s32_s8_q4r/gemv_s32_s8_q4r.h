/* gemv_s32_s8_q4r.h - y = W x, W of 4 bits in layout q4r, x int8, y int32, exact.
 *
 * n rows, a multiple of 8, and k columns, a multiple of 16, k <= 131056.  The layout: FORMAT.md,
 * section 3.3.  stride: bytes from one row of tiles to the next, 4 for each column of the whole
 * matrix.  So W may be some columns of a wider one, and w, aligned to 4 bytes, points at the
 * first of them.  Tiles of 16 bytes hold 4 columns of 8 rows; byte 4l + i, signed, is
 * 16 w + (v + 8), v of row l, w of row 4 + l, both of column i.  Any byte may occur, any activation
 * too: nothing below may pass its register.
 *
 * The fast variants multiply the low four bits, and take 8 times the sum of x off.  Integer sums
 * have no order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_Q4R_H
#define BITX_GEMV_S32_S8_Q4R_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_Q4R(name)                                                         \
    void name(int32_t *y, const int8_t *x, const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_Q4R((*bitx_gemv_s32_s8_q4r_fn));

BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_scalar);
BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_neon);
BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_dotprod);
BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_avx2);
BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_vnni);
BITX_DECLARE_GEMV_S32_S8_Q4R(bitx_gemv_s32_s8_q4r_mve);

#endif /* BITX_GEMV_S32_S8_Q4R_H */
