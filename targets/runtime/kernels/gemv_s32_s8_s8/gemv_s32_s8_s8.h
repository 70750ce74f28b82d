/* gemv_s32_s8_s8.h - y = W x, W int8 in layout plain, x int8, y int32, exact.
 *
 * n rows of k columns, any n and k <= 131056; the rows of W follow each other without padding.
 * -128 times -128 may occur everywhere.  Integer sums have no order, so every variant returns the
 * same bits.
 */
#ifndef BITX_GEMV_S32_S8_S8_H
#define BITX_GEMV_S32_S8_S8_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_S8(name)                                                          \
    void name(int32_t *y, const int8_t *x, const int8_t *w, size_t n, size_t k)

typedef BITX_DECLARE_GEMV_S32_S8_S8((*bitx_gemv_s32_s8_s8_fn));

BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_scalar);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_neon);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_dotprod);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_avx2);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_vnni);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_mve);
BITX_DECLARE_GEMV_S32_S8_S8(bitx_gemv_s32_s8_s8_dsp);

#endif /* BITX_GEMV_S32_S8_S8_H */
