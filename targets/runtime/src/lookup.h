/* lookup.h - layouts whose kernels look sums up: in how many passes, and in how much scratch.
 *
 * Such a kernel reads tables that are made of x before its tasks start (integer_matmul.c).  How
 * large they are follows from layout and columns alone, so an arena is as large on every core, also
 * where the chosen kernel needs no tables.
 */
#ifndef BITX_LOOKUP_H
#define BITX_LOOKUP_H

#include "records.h"

/* Columns are taken in blocks: of x one has `bytes` of tables, a multiple of 64, and `tile_bytes`
 * in a tile of w.  A pass takes so many rows of x and columns of w at most, whole blocks; of a
 * single row `row_columns`. */
typedef struct bitx_lookup {
    uint32_t block, bytes, tile_bytes;
    uint32_t rows, columns;
    uint32_t row_columns;
} bitx_lookup;

/* Its block is 0 for a layout that needs no tables. */
static inline bitx_lookup bitx_find_lookup(uint32_t layout)
{
    if (bitx_is_layout(layout, BITX_LAYOUT_P2B))
        return (bitx_lookup){24, 512, 96, 8, 384, UINT32_MAX};
    if (bitx_is_layout(layout, BITX_LAYOUT_P16)) return (bitx_lookup){10, 1024, 16, 2, 160, 320};
    return (bitx_lookup){0};
}

/* Of the tables that one row of x has for so many columns, at most UINT32_MAX of them; below 2^37.
 */
static inline uint64_t bitx_tables_bytes(const bitx_lookup *lookup, uint32_t columns)
{
    return lookup->bytes * (bitx_divide(columns - 1, lookup->block) + UINT64_C(1));
}

/* Scratch of a product with a matrix of k columns. */
static inline uint64_t bitx_scratch_bytes(uint32_t layout, uint32_t k)
{
    const bitx_lookup lookup = bitx_find_lookup(layout);
    if (lookup.block == 0) return 0;
    const uint32_t columns = k < lookup.columns ? k : lookup.columns;
    const uint32_t row_columns = k < lookup.row_columns ? k : lookup.row_columns;
    const uint64_t rows = lookup.rows * bitx_tables_bytes(&lookup, columns);
    const uint64_t row = bitx_tables_bytes(&lookup, row_columns);
    return rows > row ? rows : row;
}

#endif /* BITX_LOOKUP_H */
