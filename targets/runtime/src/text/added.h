/* added.h - cut a text at its added tokens: TEXT.md, section 1, steps 2 and 4. */
#ifndef BITX_ADDED_H
#define BITX_ADDED_H

#include "bitexport_text.h"
#include "text_tables.h"

typedef struct bitx_cutter {
    const bitx_tables *tables;
    const uint32_t *sorted; /* added tokens, by their bytes */
    uint32_t count;
    int special; /* whether control tokens count at all */
    const bitx_range *plain;
    size_t plain_count;
    uint32_t begins[8]; /* a bit for each byte that a token begins with */
    const uint8_t *text;
    size_t bytes;
    size_t done;   /* up to here the text is handed out */
    size_t search; /* from here on the next token is looked for */
    size_t behind; /* end of the token that is handed out next */
    uint32_t next; /* that token, or BITX_NONE */
} bitx_cutter;

/* A token, or a segment of the text. */
typedef struct bitx_part {
    uint32_t token; /* BITX_NONE: a segment */
    size_t start, end;
} bitx_part;

/* Sets the cutter up for one of the two lists; bitx_cut_text() then gives it a text. */
void bitx_cut_open(bitx_cutter *cutter, const bitx_tables *tables, const uint32_t *sorted,
                   uint32_t count, int special);
void bitx_cut_text(bitx_cutter *cutter, const uint8_t *text, size_t bytes, const bitx_range *plain,
                   size_t plain_count);

/* Gives the next part; 0 when there is none. */
int bitx_cut_next(bitx_cutter *cutter, bitx_part *part);

#endif /* BITX_ADDED_H */
