/* check_text.c - R26 to R28: what the tables of text hold. */
#include "bitexport_generate.h"
#include "chat.h"
#include "rules.h"
#include "text_tables.h"

enum { MOST_SEARCH = 16 }; /* slots looked at for all merges together, by slots */

static int is_character(uint32_t point)
{
    return point <= BITX_LAST_CODE_POINT && (point < 0xD800 || point > 0xDFFF);
}

/* ---- Tokens -------------------------------------------------------------------------------- */

static int ends_are_sound(const bitx_tables *t)
{
    uint32_t end = 0;
    for (uint32_t i = 0; i < t->head.tokens; i++) {
        if (t->token_ends[i] < end) return 0;
        end = t->token_ends[i];
    }
    return end == t->head.token_bytes;
}

static int bytes_are_sound(const bitx_tables *t)
{
    for (uint32_t i = 0; i < 256; i++)
        if (t->byte_tokens[i] >= t->head.tokens && t->byte_tokens[i] != BITX_NONE) return 0;
    return 1;
}

static int are_below(const uint8_t *entries, uint32_t count, uint32_t limit)
{
    uint8_t largest = 0;
    for (uint32_t i = 0; i < count; i++)
        largest = entries[i] > largest ? entries[i] : largest;
    return count == 0 || largest < limit;
}

static int are_tokens(const bitx_tables *t, const uint32_t *tokens, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (tokens[i] >= t->head.tokens) return 0;
    return 1;
}

static int comes_before(bitx_bytes a, bitx_bytes b)
{
    const size_t common = a.count < b.count ? a.count : b.count;
    const int order = __builtin_memcmp(a.bytes, b.bytes, common);
    return order < 0 || (order == 0 && a.count < b.count);
}

/* Tokens by their bytes; `is_text`: whole characters.  None is empty. */
static int are_sorted(const bitx_tables *t, const uint32_t *tokens, uint32_t count, int is_text,
                      uint8_t forbidden)
{
    bitx_bytes last = {t->token_bytes, 0};
    if (!are_tokens(t, tokens, count)) return 0;
    for (uint32_t i = 0; i < count; i++) {
        const bitx_bytes token = bitx_token_text(t, tokens[i]);
        if (!comes_before(last, token) || t->token_flags[tokens[i]] & forbidden) return 0;
        if (is_text && bitx_utf8_check(token.bytes, token.count) < token.count) return 0;
        last = token;
    }
    return 1;
}

/* ---- Merges -------------------------------------------------------------------------------- */

static int merges_are_sound(const bitx_tables *t)
{
    const uint32_t tokens = t->head.tokens, unknown = t->head.unknown;
    uint32_t last_rank = 0;
    for (uint32_t i = 0; i < t->head.merges; i++) {
        const bitx_merge_entry m = t->merges[i];
        if (m.a >= tokens || m.b >= tokens || m.token >= tokens) return 0;
        if (m.a == unknown || m.b == unknown) return 0;
        if (t->head.ranks == 0) continue;
        const uint32_t rank = t->token_ranks[m.token];
        if (rank == BITX_NONE || rank < last_rank) return 0;
        last_rank = rank;
    }
    return 1;
}

/* Whether every merge is found as itself, in a search that ends at a free slot. */
static int slots_are_sound(const bitx_tables *t)
{
    const uint32_t merges = t->head.merges, slots = t->head.slots;
    uint64_t left = (uint64_t)MOST_SEARCH * slots;
    uint32_t used = 0;

    for (uint32_t i = 0; i < slots; i++) {
        if (t->slots[i] != BITX_NONE && t->slots[i] >= merges) return 0;
        used += t->slots[i] != BITX_NONE;
    }
    if (used != merges) return 0;
    for (uint32_t i = 0; i < merges; i++) {
        const bitx_merge_entry m = t->merges[i];
        for (uint32_t at = bitx_merge_hash(m.a, m.b);; at++) {
            const uint32_t index = t->slots[at & (slots - 1)];
            if (index == i) break;
            if (index == BITX_NONE || left-- == 0) return 0;
            if (t->merges[index].a == m.a && t->merges[index].b == m.b) return 0;
        }
    }
    return 1;
}

/* ---- Characters and patterns --------------------------------------------------------------- */

static int characters_are_sound(const bitx_tables *t)
{
    for (uint32_t i = 0; i < t->head.characters; i++) {
        const bitx_character_entry c = t->characters[i];
        if (!is_character(c.point) || c.token >= t->head.tokens) return 0;
        if (i > 0 && t->characters[i - 1].point >= c.point) return 0;
    }
    return 1;
}

static int classes_are_sound(const bitx_tables *t)
{
    const uint32_t index = t->head.blocks ? BITX_CLASS_INDEX : 0;
    for (uint32_t i = 0; i < index; i++)
        if (t->class_index[i] >= t->head.blocks) return 0;
    return are_below(t->class_blocks, t->head.blocks * BITX_CLASS_BLOCK, t->head.classes);
}

/* Whether a tail's set has only classes that exist. */
static int set_is_sound(const bitx_tables *t, const bitx_stage_entry *stage)
{
    const uint32_t words = (t->head.classes + 15) / 16, in_last = t->head.classes % 16;
    if (stage->states != 0 || (uint64_t)stage->first + words > t->head.transitions) return 0;
    return in_last == 0 || t->transitions[stage->first + words - 1] >> in_last == 0;
}

static int pattern_is_sound(const bitx_tables *t, const bitx_stage_entry *stage)
{
    const uint64_t count = (uint64_t)stage->states * (t->head.classes + 1);
    if (stage->states < 2 || stage->states > BITX_STATE_BITS + 1) return 0;
    if (stage->first + count > t->head.transitions) return 0;
    for (uint32_t i = 0; i < (uint32_t)count; i++)
        if ((t->transitions[stage->first + i] & BITX_STATE_BITS) >= stage->states) return 0;
    return 1;
}

static int stages_are_sound(const bitx_tables *t)
{
    for (uint32_t i = 0; i < t->head.stages; i++) {
        const bitx_stage_entry *const stage = &t->stages[i];
        const int is_tail = stage->kind == BITX_STAGE_TAIL;
        if (stage->reserved != 0) return 0;
        if (!(is_tail ? set_is_sound(t, stage) : pattern_is_sound(t, stage))) return 0;
    }
    return 1;
}

/* ---- Normal forms -------------------------------------------------------------------------- */

/* C takes ASCII for characters that NFC leaves alone. */
static int is_beyond_ascii(uint32_t point)
{
    return point >= 0x80 && is_character(point);
}

static int decompositions_are_sound(const bitx_tables *t)
{
    for (uint32_t i = 0; i < t->head.decompositions; i++) {
        const bitx_decomposition_entry d = t->decompositions[i];
        if (!is_beyond_ascii(d.point) || !is_character(d.first)) return 0;
        if (d.second && !is_beyond_ascii(d.second)) return 0;
        if (i > 0 && t->decompositions[i - 1].point >= d.point) return 0;
    }
    return 1;
}

static int compositions_are_sound(const bitx_tables *t)
{
    for (uint32_t i = 0; i < t->head.compositions; i++) {
        const bitx_composition_entry c = t->compositions[i];
        if (!is_character(c.first) || !is_beyond_ascii(c.second) || !is_beyond_ascii(c.composite))
            return 0;
        if (i == 0) continue;
        const bitx_composition_entry last = t->compositions[i - 1];
        if (last.first > c.first || (last.first == c.first && last.second >= c.second)) return 0;
    }
    return 1;
}

static int combining_is_sound(const bitx_tables *t)
{
    uint32_t least = 0x80;
    for (uint32_t i = 0; i < t->head.combining; i++) {
        const bitx_combining_entry c = t->combining[i];
        if (c.first < least || c.last < c.first || c.last > BITX_LAST_CODE_POINT) return 0;
        if (c.combining == 0 || c.combining > 254) return 0;
        least = c.last + 1;
    }
    return 1;
}

static int tables_of_tokens_are_sound(const bitx_tables *t)
{
    return are_sorted(t, t->added, t->head.added, 1, 0) &&
           are_sorted(t, t->added_normalized, t->head.added_normalized, 1, BITX_TOKEN_CONTROL) &&
           are_sorted(t, t->exceptions, t->head.exceptions, 0, 0) &&
           are_tokens(t, t->prefix_tokens, t->head.prefix_tokens) &&
           are_tokens(t, t->suffix_tokens, t->head.suffix_tokens);
}

/* ---- The rules ----------------------------------------------------------------------------- */

/* The flags and kinds that a later version may know. */
static int kinds_are_known(const bitx_tables *t)
{
    int known = are_below(t->token_flags, t->head.tokens, BITX_TOKEN_FLAGS + 1) &&
                are_below(t->class_kinds, t->head.classes, BITX_CLASS_SPACE + 1);
    for (uint32_t i = 0; i < t->head.stages; i++)
        known = known &&
                (t->stages[i].kind == BITX_STAGE_PATTERN || t->stages[i].kind == BITX_STAGE_TAIL);
    return known;
}

bitx_status bitx_check_tokenizer(bitx_model *model)
{
    static int (*const checks[])(const bitx_tables *) = {
        ends_are_sound,         bytes_are_sound,   characters_are_sound,
        merges_are_sound,       slots_are_sound,   tables_of_tokens_are_sound,
        classes_are_sound,      stages_are_sound,  decompositions_are_sound,
        compositions_are_sound, combining_is_sound};
    bitx_tables tables;

    if (!model->tokenizer.records) return BITX_OK;
    bitx_status status = bitx_tables_open(&tables, model);
    if (status == BITX_OK && !kinds_are_known(&tables)) status = BITX_E_UNSUPPORTED;
    for (size_t i = 0; status == BITX_OK && i < sizeof checks / sizeof checks[0]; i++)
        if (!checks[i](&tables)) status = BITX_E_FORMAT;
    if (status != BITX_OK) (void)bitx_broken(model, 26, 0);
    return status;
}

bitx_status bitx_check_chat(bitx_model *model)
{
    bitx_chat_record record;

    if (!model->chat.records) return BITX_OK;
    if (bitx_chat_read(&record, model) != BITX_OK) return bitx_broken(model, 27, 0);
    for (uint32_t i = 0; i < BITX_CHAT_ROWS * BITX_CHAT_COLUMNS; i++) {
        const bitx_string_record segment =
            record.segments[i / BITX_CHAT_COLUMNS][i % BITX_CHAT_COLUMNS];
        if (segment.bytes == BITX_NONE) continue;
        if (bitx_utf8_check(bitx_chat_bytes(model) + segment.offset, segment.bytes) < segment.bytes)
            return bitx_broken(model, 27, i);
    }
    return BITX_OK;
}

bitx_status bitx_check_generation(bitx_model *model)
{
    bitx_sampler sampler;
    const bitx_status status = bitx_sampler_of_model(&sampler, model);
    return status == BITX_OK ? BITX_OK : bitx_broken(model, 28, 0);
}

bitx_status bitx_model_check_text(bitx_model *model)
{
    if (!model || !model->facts.records) return BITX_E_ARGUMENT;
    bitx_status status = bitx_check_tokenizer(model);
    if (status == BITX_OK) status = bitx_check_chat(model);
    return status == BITX_OK ? bitx_check_generation(model) : status;
}
