/* nfc.h - normal form C by the tables of the file: TEXT.md, section 2. */
#ifndef BITX_NFC_H
#define BITX_NFC_H

#include "text_tables.h"

enum { BITX_NFC_GROWTH = 3 }; /* bytes that one byte may become: Unicode's own bound */

/* Writes the text in normal form C; returns how many bytes, or SIZE_MAX if the tables are damaged
 * and make more of it.  run: scratch, `run_most` words, as many as the text has bytes suffice
 * three times. */
size_t bitx_nfc(uint8_t *to, size_t room, const bitx_tables *tables, const uint8_t *text,
                size_t count, uint32_t *run, size_t run_most);

#endif /* BITX_NFC_H */
