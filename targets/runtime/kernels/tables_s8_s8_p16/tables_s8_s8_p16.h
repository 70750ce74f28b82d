/* tables_s8_s8_p16.h - every product of five columns of two rows of x with a byte of layout p16.
 *
 * As tables_s8_p16, but an entry is p + 65536 q, p the product with the first row and q that with
 * the second, as int32: sums of entries are such pairs too, as long as no sum of p leaves 16 bits.
 * 2048 bytes for each 10 columns.  The second row begins x_stride behind the first.
 */
#ifndef BITX_TABLES_S8_S8_P16_H
#define BITX_TABLES_S8_S8_P16_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: tables and x do not overlap. */
#define BITX_DECLARE_TABLES_S8_S8_P16(name)                                                        \
    void name(uint8_t *tables, const int8_t *x, size_t x_stride, size_t k)

typedef BITX_DECLARE_TABLES_S8_S8_P16((*bitx_tables_s8_s8_p16_fn));

BITX_DECLARE_TABLES_S8_S8_P16(bitx_tables_s8_s8_p16_scalar);
BITX_DECLARE_TABLES_S8_S8_P16(bitx_tables_s8_s8_p16_dsp);

#endif /* BITX_TABLES_S8_S8_P16_H */
