/* merge.h - byte pair encoding: TEXT.md, section 1, step 7. */
#ifndef BITX_MERGE_H
#define BITX_MERGE_H

#include "text_tables.h"

/* The row of symbols that a piece becomes, in work memory. */
typedef struct bitx_symbols {
    uint32_t *token;
    uint32_t *span; /* scratch: how many symbols became this one */
    uint32_t *rank; /* scratch: bitx_rank_nodes() of them */
    size_t most;    /* symbols that there is room for */
} bitx_symbols;

/* How many ranks merging takes for so many symbols. */
uint64_t bitx_rank_nodes(uint64_t symbols);

/* Merges the first `count` symbols; returns how many are left.  Never takes longer than
 * count * log(count), whatever they are. */
size_t bitx_merge(const bitx_tables *tables, const bitx_symbols *symbols, size_t count);

#endif /* BITX_MERGE_H */
