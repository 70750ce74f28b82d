/* gemv_s32_s8_p16.h - y += W x, W ternary in layout p16, x int8, y int32, exact.
 *
 * n rows, a multiple of 8, and k columns, from 1 on; k <= 131056.  The layout: FORMAT.md, section
 * 3.3.  stride: bytes from one row of tiles to the next, 16 for each 10 columns of the whole
 * matrix. So W may be some columns of a wider one, from a multiple of 10 on. A byte holds 5 columns
 * of one row, digits of base 3, the lowest first; bytes of consecutive columns lie 8 apart.  What
 * it holds of columns behind the last is not multiplied. Any byte may occur: above 242 its last
 * digit is 3, a weight of +2.  Any activation may, too.
 *
 * The definition reads x, a fast variant that or what tables_s8_p16 has made of it.  Integer sums
 * have no order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_P16_H
#define BITX_GEMV_S32_S8_P16_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x, tables and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_P16(name)                                                         \
    void name(int32_t *y, const int8_t *x, const uint8_t *tables, const uint8_t *w, size_t n,      \
              size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_P16((*bitx_gemv_s32_s8_p16_fn));

BITX_DECLARE_GEMV_S32_S8_P16(bitx_gemv_s32_s8_p16_scalar);
BITX_DECLARE_GEMV_S32_S8_P16(bitx_gemv_s32_s8_p16_neon);
BITX_DECLARE_GEMV_S32_S8_P16(bitx_gemv_s32_s8_p16_avx2);
BITX_DECLARE_GEMV_S32_S8_P16(bitx_gemv_s32_s8_p16_dsp);

#endif /* BITX_GEMV_S32_S8_P16_H */
