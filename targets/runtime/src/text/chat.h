/* chat.h - section 10 of the file: FORMAT.md, section 3.10. */
#ifndef BITX_CHAT_H
#define BITX_CHAT_H

#include "bitexport_text.h"
#include "records.h"

enum { BITX_ROLES = 3, BITX_CHAT_ROWS = 4, BITX_CHAT_COLUMNS = 5, BITX_CHAT_STOPS = 8 };
enum { BITX_CHAT_PREFIX = 1 };
enum { BITX_STRIP_LEFT = 1, BITX_STRIP_RIGHT = 2, BITX_STRIP_MOST = 0xFF };
enum { BITX_CHAT_GENERATE = 3, BITX_CHAT_STOP = 4 }; /* columns behind those of the roles */

typedef struct bitx_chat_record {
    uint32_t flags;
    uint32_t strip[BITX_ROLES]; /* two bits for each row of the table */
    uint32_t stop_count;
    uint32_t reserved[3];
    bitx_string_record segments[BITX_CHAT_ROWS][BITX_CHAT_COLUMNS];
    uint32_t stops[BITX_CHAT_STOPS];
} bitx_chat_record;

/* Copies the record out after R27, all but what the bytes of the segments hold. */
bitx_status bitx_chat_read(bitx_chat_record *record, const bitx_model *model);

/* The bytes that the segments lie in. */
static inline const uint8_t *bitx_chat_bytes(const bitx_model *model)
{
    return model->chat.records + sizeof(bitx_chat_record);
}

#endif /* BITX_CHAT_H */
