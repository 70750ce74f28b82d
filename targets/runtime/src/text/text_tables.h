/* text_tables.h - section 9 of the file: FORMAT.md, section 3.9.
 *
 * Opening looks at the header alone, so it costs the same for any vocabulary.  Every entry that
 * points elsewhere is compared with the size of what it points into when it is used: a damaged
 * table gives wrong tokens, or BITX_E_FORMAT, and never a read outside the section.
 */
#ifndef BITX_TEXT_TABLES_H
#define BITX_TEXT_TABLES_H

#include "records.h"
#include "utf8.h"

enum { BITX_KIND_BYTES = 1, BITX_KIND_CHARACTERS = 2 };
enum {
    BITX_TEXT_NFC = 1,
    BITX_TEXT_LOWER_BLOCK = 2,
    BITX_TEXT_WHOLE_PIECES = 4,
    BITX_TEXT_DROP_SPACE = 8,
    BITX_TEXT_FUSE_UNKNOWN = 16,
    BITX_TEXT_PREFIX_UNLESS_THERE = 32,
    BITX_TEXT_FLAGS = 63
};
enum { BITX_PREFIX_NEVER = 0, BITX_PREFIX_SEGMENT = 1, BITX_PREFIX_START = 2 };
enum {
    BITX_TOKEN_CONTROL = 1,
    BITX_TOKEN_ADDED = 2,
    BITX_TOKEN_BYTE = 4,
    BITX_TOKEN_LSTRIP = 8,
    BITX_TOKEN_RSTRIP = 16,
    BITX_TOKEN_UNUSED = 32,
    BITX_TOKEN_FLAGS = 63
};
enum { BITX_STAGE_PATTERN = 1, BITX_STAGE_TAIL = 2, BITX_MOST_STAGES = 8 };
enum { BITX_CLASS_SPACE = 1, BITX_CLASS_INDEX = 4352, BITX_CLASS_BLOCK = 256 };
enum { BITX_DEAD = 0, BITX_START = 1, BITX_STATE_BITS = 0x7FFF, BITX_ENDS_HERE = 0x8000 };

typedef struct bitx_tokenizer_record {
    uint32_t kind, flags, prefix_rule, tokens, token_bytes, unknown, merges, slots, characters;
    uint32_t added, added_normalized, exceptions, stages, classes, blocks, transitions;
    uint32_t decompositions, compositions, combining, prefix_tokens, suffix_tokens, unicode;
    uint32_t ranks;
    uint32_t reserved[9];
} bitx_tokenizer_record;

typedef struct bitx_character_entry {
    uint32_t point, token;
} bitx_character_entry;

typedef struct bitx_merge_entry {
    uint32_t a, b, token;
} bitx_merge_entry;

typedef struct bitx_stage_entry {
    uint32_t kind, states, first, reserved; /* states: 0 in a tail */
} bitx_stage_entry;

typedef struct bitx_decomposition_entry {
    uint32_t point, first, second; /* second: 0 if there is none */
} bitx_decomposition_entry;

typedef struct bitx_composition_entry {
    uint32_t first, second, composite;
} bitx_composition_entry;

typedef struct bitx_combining_entry {
    uint32_t first, last, combining;
} bitx_combining_entry;

/* A view of the section: pointers to its tables, in the order of the file. */
typedef struct bitx_tables {
    bitx_tokenizer_record head;
    const uint32_t *token_ends;
    const uint8_t *token_bytes;
    const uint8_t *token_flags;
    const uint32_t *byte_tokens;
    const bitx_character_entry *characters;
    const bitx_merge_entry *merges;
    const uint32_t *slots;
    const uint32_t *added;
    const uint32_t *added_normalized;
    const uint32_t *exceptions;
    const uint16_t *class_index;
    const uint8_t *class_blocks;
    const uint8_t *class_kinds;
    const bitx_stage_entry *stages;
    const uint16_t *transitions;
    const bitx_decomposition_entry *decompositions;
    const bitx_composition_entry *compositions;
    const bitx_combining_entry *combining;
    const uint32_t *prefix_tokens;
    const uint32_t *suffix_tokens;
    const uint32_t *token_ranks;
} bitx_tables;

/* Fills the view, or says that the header is damaged or unknown. */
bitx_status bitx_tables_open(bitx_tables *tables, const bitx_model *model);

typedef struct bitx_bytes {
    const uint8_t *bytes;
    size_t count;
} bitx_bytes;

/* The bytes of a token below V; none if the table is damaged. */
static inline bitx_bytes bitx_token_text(const bitx_tables *tables, uint32_t token)
{
    const uint32_t start = token ? tables->token_ends[token - 1] : 0;
    const uint32_t end = tables->token_ends[token];
    if (start > end || end > tables->head.token_bytes) return (bitx_bytes){tables->token_bytes, 0};
    return (bitx_bytes){tables->token_bytes + start, end - start};
}

/* Below C, or C where there is none. */
static inline uint32_t bitx_class_of(const bitx_tables *tables, uint32_t point)
{
    const uint32_t block = tables->class_index[point / BITX_CLASS_BLOCK];
    if (block >= tables->head.blocks) return tables->head.classes;
    return tables->class_blocks[block * BITX_CLASS_BLOCK + point % BITX_CLASS_BLOCK];
}

static inline int bitx_is_space(const bitx_tables *tables, uint32_t point)
{
    if (tables->head.blocks == 0) return 0;
    const uint32_t class = bitx_class_of(tables, point);
    return class < tables->head.classes && tables->class_kinds[class] & BITX_CLASS_SPACE;
}

/* Where the search for a merge begins; mod the number of slots. */
static inline uint32_t bitx_merge_hash(uint32_t a, uint32_t b)
{
    const uint32_t mixed = a * 0x9E3779B1u ^ b * 0x85EBCA77u;
    return mixed ^ mixed >> 15;
}

/* The index of the merge of a and b, or BITX_NONE. */
static inline uint32_t bitx_find_merge(const bitx_tables *tables, uint32_t a, uint32_t b)
{
    const uint32_t last = tables->head.slots - 1;
    uint32_t at = bitx_merge_hash(a, b);
    for (uint32_t left = tables->head.slots; left > 0; left--, at++) {
        const uint32_t index = tables->slots[at & last];
        if (index >= tables->head.merges) break;
        const bitx_merge_entry *merge = &tables->merges[index];
        if (merge->a == a && merge->b == b) return index;
    }
    return BITX_NONE;
}

/* The token of a character, or BITX_NONE. */
uint32_t bitx_find_character(const bitx_tables *tables, uint32_t point);

#endif /* BITX_TEXT_TABLES_H */
