/* tables_s8_p16.h - every product of five columns of x with a byte of layout p16.
 *
 * A byte holds five weights (gemv_s32_s8_p16.h), so five columns have 256 products; as int16, in
 * the order of the bytes, they are a table of 512 bytes.  At most 6 * 128 in magnitude. Tables are
 * made for k columns, from 1 on, two at a time: 1024 bytes for each 10 columns.  Columns behind the
 * last count as 0 and are not read.  tables is aligned to 4 bytes.
 */
#ifndef BITX_TABLES_S8_P16_H
#define BITX_TABLES_S8_P16_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: tables and x do not overlap. */
#define BITX_DECLARE_TABLES_S8_P16(name) void name(uint8_t *tables, const int8_t *x, size_t k)

typedef BITX_DECLARE_TABLES_S8_P16((*bitx_tables_s8_p16_fn));

BITX_DECLARE_TABLES_S8_P16(bitx_tables_s8_p16_scalar);
BITX_DECLARE_TABLES_S8_P16(bitx_tables_s8_p16_dsp);

#endif /* BITX_TABLES_S8_P16_H */
