/* text_tables.c - find the tables that the header counts. */
#include "text_tables.h"

_Static_assert(sizeof(bitx_tokenizer_record) == 128, "FORMAT.md, section 3.9");

enum { MOST_CLASSES = 255, MOST_FIXED_TOKENS = 8, TABLE_ALIGNMENT = 8 };

static bitx_status check_head(const bitx_tokenizer_record *head, uint32_t vocabulary)
{
    if (head->kind < BITX_KIND_BYTES || head->kind > BITX_KIND_CHARACTERS ||
        head->flags > BITX_TEXT_FLAGS || head->prefix_rule > BITX_PREFIX_START)
        return BITX_E_UNSUPPORTED;
    const int hash_fits = head->merges == 0
                              ? head->slots == 0
                              : head->slots > head->merges && head->slots < 1u << 31 &&
                                    (head->slots & (head->slots - 1)) == 0;
    const int sound =
        hash_fits && head->tokens > 0 && head->tokens <= vocabulary &&
        (head->unknown == BITX_NONE || head->unknown < head->tokens) &&
        (head->kind == BITX_KIND_CHARACTERS || head->characters == 0) &&
        head->stages <= BITX_MOST_STAGES && head->classes <= MOST_CLASSES &&
        head->blocks <= BITX_CLASS_INDEX && (head->blocks > 0) == (head->classes > 0) &&
        (head->stages == 0 || head->classes > 0) && head->prefix_tokens <= MOST_FIXED_TOKENS &&
        head->suffix_tokens <= MOST_FIXED_TOKENS &&
        (head->ranks == 0 || head->ranks == head->tokens) &&
        bitx_all_zero((const uint8_t *)head->reserved, sizeof head->reserved);
    return sound ? BITX_OK : BITX_E_FORMAT;
}

/* Numbers of entries: the header's words, and two that it implies. */
enum { ALWAYS_ONE = 32, ONE_WITH_BLOCKS = 33, NUMBERS = 34 };

#define COUNT(member) (uint16_t)(offsetof(bitx_tokenizer_record, member) / sizeof(uint32_t))
#define TABLE(member, count, entry_bytes)                                                          \
    {(uint16_t)offsetof(bitx_tables, member), (count), (entry_bytes)}

static const struct table {
    uint16_t pointer_at, count; /* in bitx_tables; among the numbers */
    uint16_t entry_bytes;
} table_list[] = {
    TABLE(token_ends, COUNT(tokens), 4),
    TABLE(token_bytes, COUNT(token_bytes), 1),
    TABLE(token_flags, COUNT(tokens), 1),
    TABLE(byte_tokens, ALWAYS_ONE, 4 * 256),
    TABLE(characters, COUNT(characters), sizeof(bitx_character_entry)),
    TABLE(merges, COUNT(merges), sizeof(bitx_merge_entry)),
    TABLE(slots, COUNT(slots), 4),
    TABLE(added, COUNT(added), 4),
    TABLE(added_normalized, COUNT(added_normalized), 4),
    TABLE(exceptions, COUNT(exceptions), 4),
    TABLE(class_index, ONE_WITH_BLOCKS, 2 * BITX_CLASS_INDEX),
    TABLE(class_blocks, COUNT(blocks), BITX_CLASS_BLOCK),
    TABLE(class_kinds, COUNT(classes), 1),
    TABLE(stages, COUNT(stages), sizeof(bitx_stage_entry)),
    TABLE(transitions, COUNT(transitions), 2),
    TABLE(decompositions, COUNT(decompositions), sizeof(bitx_decomposition_entry)),
    TABLE(compositions, COUNT(compositions), sizeof(bitx_composition_entry)),
    TABLE(combining, COUNT(combining), sizeof(bitx_combining_entry)),
    TABLE(prefix_tokens, COUNT(prefix_tokens), 4),
    TABLE(suffix_tokens, COUNT(suffix_tokens), 4),
    TABLE(token_ranks, COUNT(ranks), 4),
};

bitx_status bitx_tables_open(bitx_tables *tables, const bitx_model *model)
{
    const bitx_section *section = &model->tokenizer;
    uint32_t numbers[NUMBERS] = {[ALWAYS_ONE] = 1};

    if (!section->records) return BITX_E_ARGUMENT;
    if (section->bytes < sizeof tables->head) return BITX_E_FORMAT;
    bitx_copy(&tables->head, section->records, sizeof tables->head);
    const bitx_status status = check_head(&tables->head, bitx_read_facts(model, 0).vocabulary);
    if (status != BITX_OK) return status;
    bitx_copy(numbers, section->records, sizeof tables->head);
    numbers[ONE_WITH_BLOCKS] = tables->head.blocks > 0;

    uint64_t end = sizeof tables->head;
    for (size_t i = 0; i < sizeof table_list / sizeof table_list[0]; i++) {
        const struct table table = table_list[i];
        const uint64_t bytes = (uint64_t)numbers[table.count] * table.entry_bytes;
        const uint64_t start = bytes ? bitx_round_up(end, TABLE_ALIGNMENT) : end;
        if (start > section->bytes || bytes > section->bytes - start ||
            !bitx_all_zero(section->records + end, (size_t)(start - end)))
            return BITX_E_FORMAT;
        const void *const found = section->records + start;
        bitx_copy((uint8_t *)tables + table.pointer_at, &found, sizeof found);
        end = start + bytes;
    }
    return end == section->bytes ? BITX_OK : BITX_E_FORMAT;
}

uint32_t bitx_find_character(const bitx_tables *tables, uint32_t point)
{
    const bitx_character_entry *entries = tables->characters;
    uint32_t low = 0, high = tables->head.characters;

    if (high == 0) return BITX_NONE;
    /* As a rule the first characters follow one another: ASCII is found at once. */
    const uint32_t guess = point - entries[0].point;
    if (guess < high && entries[guess].point == point) return entries[guess].token;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (entries[middle].point < point)
            low = middle + 1;
        else
            high = middle;
    }
    const int found = low < tables->head.characters && entries[low].point == point;
    return found ? entries[low].token : BITX_NONE;
}
