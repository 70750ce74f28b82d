/* tables_s8_p2b.h - every product of three columns of x with an index of layout p2b.
 *
 * An index is three weights (gemv_s32_s8_p2b.h), so three columns have 32 products, v.  They are
 * kept as h = floor(v / 32), in -12 ... 12, and l = v - 32 h, in 0 ... 31: a table is h of every
 * index, as int8, then l of every index, 64 bytes.  Eight of either kind still add up in 8 bits.
 *
 * Tables are made for k columns, from 1 on, eight at a time: 512 bytes for each 24 columns. Columns
 * behind the last count as 0 and are not read.
 */
#ifndef BITX_TABLES_S8_P2B_H
#define BITX_TABLES_S8_P2B_H

#include <stddef.h>
#include <stdint.h>

/* A definition adds restrict: tables and x do not overlap. */
#define BITX_DECLARE_TABLES_S8_P2B(name) void name(uint8_t *tables, const int8_t *x, size_t k)

typedef BITX_DECLARE_TABLES_S8_P2B((*bitx_tables_s8_p2b_fn));

BITX_DECLARE_TABLES_S8_P2B(bitx_tables_s8_p2b_scalar);
BITX_DECLARE_TABLES_S8_P2B(bitx_tables_s8_p2b_neon);

#endif /* BITX_TABLES_S8_P2B_H */
