/* gemv_s32_s8_t5x3.h - y = W x, W ternary in layout t5x3, x int8, y int32, exact.
 *
 * n rows, a multiple of 12, k columns, a multiple of 32, k <= 131072.  The layout: FORMAT.md,
 * section 3.3.  stride: bytes from one row of tiles to the next, 80 for every 32 columns; w is
 * aligned to 4 bytes.  A tile of 80 bytes holds 32 columns of 12 rows as eight codes of five bits
 * for each lane l and column i: code g is that of rows l, 4 + l and 8 + l, column 4g + i.
 * Any byte may occur, any activation too: nothing below may pass its register.
 *
 * A code is (w0 + 1) + 3 (w1 + 1) + 9 (w2 + 1).  The fast variants sum the codes themselves, and
 * what tables make of them, w0 and w1; what is left are nine times the sums of w2, which an int32
 * holds as they are divided without a rest: 9 * 2 * 128 * k < 2^31.  Sums of codes are below
 * 31 * 128 * k < 2^31.  Integer sums have no order, so every variant returns the same bits.
 */
#ifndef BITX_GEMV_S32_S8_T5X3_H
#define BITX_GEMV_S32_S8_T5X3_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: y, x and w do not overlap. */
#define BITX_DECLARE_GEMV_S32_S8_T5X3(name)                                                        \
    void name(int32_t *y, const int8_t *x, const uint8_t *w, size_t n, size_t k, size_t stride)

typedef BITX_DECLARE_GEMV_S32_S8_T5X3((*bitx_gemv_s32_s8_t5x3_fn));

BITX_DECLARE_GEMV_S32_S8_T5X3(bitx_gemv_s32_s8_t5x3_scalar);
BITX_DECLARE_GEMV_S32_S8_T5X3(bitx_gemv_s32_s8_t5x3_neon);
BITX_DECLARE_GEMV_S32_S8_T5X3(bitx_gemv_s32_s8_t5x3_dotprod);
BITX_DECLARE_GEMV_S32_S8_T5X3(bitx_gemv_s32_s8_t5x3_avx2);

/* 9 times this is 1, modulo 2^32: multiplying by it divides what 9 divides. */
#define BITX_NINTH 0x38E38E39u

/* What a macro makes of every code, for a table. */
#define BITX_T5X3_CODES(of)                                                                        \
    of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9), of(10), of(11), of(12),  \
        of(13), of(14), of(15), of(16), of(17), of(18), of(19), of(20), of(21), of(22), of(23),    \
        of(24), of(25), of(26), of(27), of(28), of(29), of(30), of(31)

#endif /* BITX_GEMV_S32_S8_T5X3_H */
