/* encode.c - text to tokens: TEXT.md, section 1. */
#include "added.h"
#include "merge.h"
#include "nfc.h"

typedef struct encoder {
    bitx_tables tables;
    int32_t *tokens;
    size_t room, count;
    uint8_t *normal; /* where a segment goes that is not left as it is */
    size_t normal_bytes;
    bitx_symbols symbols;
    size_t rank_nodes;
    int damaged;
} encoder;

static void put(encoder *e, uint32_t token)
{
    if (token >= e->tables.head.tokens) e->damaged = 1;
    if (e->count < e->room) e->tokens[e->count] = (int32_t)token;
    e->count++;
}

/* ---- Room ---------------------------------------------------------------------------------- */

typedef struct plan {
    uint64_t normal_bytes, symbols, tokens, rank_nodes, work_bytes;
} plan;

/* What a text of so many bytes takes at most. */
static plan plan_for(const bitx_tables *tables, uint64_t bytes)
{
    const bitx_tokenizer_record *head = &tables->head;
    const int lower_block = (head->flags & BITX_TEXT_LOWER_BLOCK) != 0;
    const int is_one = head->kind == BITX_KIND_CHARACTERS &&
                       bitx_find_character(tables, BITX_LOWER_BLOCK) != BITX_NONE;
    const uint32_t of_space = lower_block && !is_one ? BITX_LOWER_BLOCK_BYTES : 1;
    const uint32_t of_byte = head->flags & BITX_TEXT_NFC ? BITX_NFC_GROWTH : of_space;
    const int has_prefix = head->prefix_rule != BITX_PREFIX_NEVER;
    const int is_normalized = has_prefix || lower_block || head->flags & BITX_TEXT_NFC;
    const uint64_t segments =
        head->prefix_rule == BITX_PREFIX_SEGMENT && head->added > 0 ? bytes / 2 + 1 : 1;
    plan p;

    p.normal_bytes = is_normalized ? BITX_NFC_GROWTH * bytes + BITX_LOWER_BLOCK_BYTES : 0;
    p.normal_bytes = bitx_round_up(p.normal_bytes, sizeof(uint32_t));
    p.symbols = of_byte * bytes + of_space;
    p.rank_nodes = bitx_rank_nodes(p.symbols);
    p.tokens = of_byte * bytes + (has_prefix ? of_space * segments : 0) + head->prefix_tokens +
               head->suffix_tokens;
    p.work_bytes = p.normal_bytes + (2 * p.symbols + p.rank_nodes) * sizeof(uint32_t);
    return p;
}

static bitx_status make_plan(plan *p, const bitx_tables *tables, size_t bytes)
{
    if (bytes > INT32_MAX / 4) return BITX_E_ARGUMENT;
    *p = plan_for(tables, bytes);
    return p->symbols <= INT32_MAX && p->work_bytes <= SIZE_MAX ? BITX_OK : BITX_E_ARGUMENT;
}

bitx_status bitx_encode_room(size_t *tokens, size_t *work_bytes, const bitx_model *model,
                             size_t text_bytes)
{
    bitx_tables tables;
    plan p;

    if (!tokens || !work_bytes || !model) return BITX_E_ARGUMENT;
    bitx_status status = bitx_tables_open(&tables, model);
    if (status == BITX_OK) status = make_plan(&p, &tables, text_bytes);
    if (status != BITX_OK) return status;
    *tokens = (size_t)p.tokens;
    *work_bytes = (size_t)p.work_bytes;
    return BITX_OK;
}

/* ---- Step 6 and 7: a piece becomes tokens -------------------------------------------------- */

/* Orders a piece, in kind 2 with its U+2581 as spaces, and the bytes of a token. */
static int compare(const encoder *e, const uint8_t *at, const uint8_t *end, bitx_bytes token)
{
    const int is_characters = e->tables.head.kind == BITX_KIND_CHARACTERS;
    size_t i = 0;

    for (; at < end && i < token.count; i++) {
        uint8_t byte = *at++;
        if (is_characters && byte == 0xE2 && end - at >= 2 && at[0] == 0x96 && at[1] == 0x81) {
            byte = ' ';
            at += 2;
        }
        if (byte != token.bytes[i]) return byte < token.bytes[i] ? -1 : 1;
    }
    return (at < end) - (i < token.count);
}

static uint32_t find_exception(const encoder *e, const uint8_t *at, const uint8_t *end)
{
    uint32_t low = 0, high = e->tables.head.exceptions;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const uint32_t token = e->tables.exceptions[middle];
        if (token >= e->tables.head.tokens) return BITX_NONE;
        const int order = compare(e, at, end, bitx_token_text(&e->tables, token));
        if (order == 0) return token;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return BITX_NONE;
}

/* The row of symbols that is being made of a piece. */
typedef struct row {
    encoder *encoder;
    size_t count;
    int ends_unknown;
} row;

static void add(row *r, uint32_t token)
{
    if (r->count == r->encoder->symbols.most)
        r->encoder->damaged = 1;
    else
        r->encoder->symbols.token[r->count++] = token;
    r->ends_unknown = 0;
}

static void add_unknown(row *r)
{
    const bitx_tokenizer_record *const head = &r->encoder->tables.head;

    if (head->unknown == BITX_NONE) return;
    if (!(r->ends_unknown && head->flags & BITX_TEXT_FUSE_UNKNOWN)) add(r, head->unknown);
    r->ends_unknown = 1;
}

static void add_bytes(row *r, const uint8_t *at, const uint8_t *end)
{
    const uint32_t *const byte_tokens = r->encoder->tables.byte_tokens;

    for (; at < end; at++) {
        if (byte_tokens[*at] == BITX_NONE)
            add_unknown(r);
        else
            add(r, byte_tokens[*at]);
    }
}

static void add_characters(row *r, const uint8_t *at, const uint8_t *end)
{
    const bitx_tables *const tables = &r->encoder->tables;

    while (at < end) {
        uint32_t length;
        const uint32_t token = bitx_find_character(tables, bitx_utf8_read(at, end, &length));
        int is_known = 1;
        for (uint32_t i = 0; i < length; i++)
            is_known &= tables->byte_tokens[at[i]] != BITX_NONE;
        if (token != BITX_NONE)
            add(r, token);
        else if (is_known)
            add_bytes(r, at, at + length);
        else
            add_unknown(r);
        at += length;
    }
}

static void encode_piece(encoder *e, const uint8_t *at, const uint8_t *end)
{
    row r = {e, 0, 0};

    if (e->tables.head.flags & BITX_TEXT_WHOLE_PIECES) {
        const uint32_t whole = find_exception(e, at, end);
        if (whole != BITX_NONE) {
            put(e, whole);
            return;
        }
    }
    if (e->tables.head.kind == BITX_KIND_BYTES)
        add_bytes(&r, at, end);
    else
        add_characters(&r, at, end);
    const size_t count = bitx_merge(&e->tables, &e->symbols, r.count);
    for (size_t i = 0; i < count; i++)
        put(e, e->symbols.token[i]);
}

/* ---- Step 5: a segment becomes pieces ------------------------------------------------------ */

/* Where the match that begins at `at` ends; `at`: there is none. */
static const uint8_t *match(const bitx_tables *tables, const bitx_stage_entry *stage,
                            const uint8_t *at, const uint8_t *end)
{
    const uint32_t classes = tables->head.classes, transitions = tables->head.transitions;
    const uint8_t *ends = at;
    uint32_t state = BITX_START;

    for (;;) {
        uint32_t length = 0, class = classes;
        if (at < end) class = bitx_class_of(tables, bitx_utf8_read(at, end, &length));
        const uint64_t index = stage->first + (uint64_t)state * (classes + 1) + class;
        if (index >= transitions) return ends;
        const uint16_t transition = tables->transitions[index];
        if (transition & BITX_ENDS_HERE) ends = at;
        state = transition & BITX_STATE_BITS;
        if (state == BITX_DEAD || at == end) return ends;
        at += length;
    }
}

static int is_in_tail(const bitx_tables *tables, const bitx_stage_entry *stage, uint32_t point)
{
    const uint32_t class = bitx_class_of(tables, point);
    const uint64_t index = (uint64_t)stage->first + class / 16;
    return class < tables->head.classes && index < tables->head.transitions &&
           tables->transitions[index] >> class % 16 & 1;
}

/* What a stage has still to cut. */
typedef struct rest {
    const uint8_t *at, *end;
    const uint8_t *match_end; /* of the match that begins at `at`, if it was found already */
} rest;

/* Cuts the next piece off; returns its end. */
static const uint8_t *cut_match(const bitx_tables *tables, const bitx_stage_entry *stage, rest *r)
{
    const uint8_t *const start = r->at;
    const uint8_t *matched = r->match_end;

    r->match_end = NULL;
    while (!matched && r->at < r->end) {
        matched = match(tables, stage, r->at, r->end);
        if (matched != r->at) break;
        matched = NULL;
        uint32_t length;
        (void)bitx_utf8_read(r->at, r->end, &length);
        r->at += length;
    }
    if (r->at > start) {
        r->match_end = matched;
        return r->at;
    }
    r->at = matched;
    return matched;
}

static const uint8_t *cut_tail(const bitx_tables *tables, const bitx_stage_entry *stage, rest *r)
{
    const uint8_t *const start = r->at;
    const uint8_t *tail = r->end;

    while (tail > start) {
        const uint8_t *const before = bitx_utf8_before(start, tail);
        uint32_t length;
        if (!is_in_tail(tables, stage, bitx_utf8_read(before, tail, &length))) break;
        tail = before;
    }
    r->at = tail > start ? tail : r->end;
    return r->at;
}

static void encode_segment(encoder *e, const uint8_t *text, size_t bytes)
{
    const bitx_tables *const tables = &e->tables;
    const uint32_t stages = tables->head.stages;
    rest rests[BITX_MOST_STAGES + 1];
    uint32_t depth = 0;

    if (stages == 0) {
        encode_piece(e, text, text + bytes);
        return;
    }
    rests[0] = (rest){text, text + bytes, NULL};
    for (;;) {
        rest *const r = &rests[depth];
        if (r->at == r->end) {
            if (depth-- == 0) return;
            continue;
        }
        const bitx_stage_entry *const stage = &tables->stages[depth];
        const uint8_t *const start = r->at;
        const uint8_t *const end = stage->kind == BITX_STAGE_TAIL ? cut_tail(tables, stage, r)
                                                                  : cut_match(tables, stage, r);
        if (depth + 1 == stages)
            encode_piece(e, start, end);
        else
            rests[++depth] = (rest){start, end, NULL};
    }
}

/* ---- Step 3: a segment is normalized ------------------------------------------------------- */

/* Writes the text with U+2581 for each space. */
static size_t replace_spaces(uint8_t *to, const uint8_t *text, size_t bytes)
{
    size_t used = 0;

    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == ' ')
            used += bitx_utf8_write(to + used, BITX_LOWER_BLOCK);
        else
            to[used++] = text[i];
    }
    return used;
}

/* The same in place: from the end, when it is known how long it becomes. */
static size_t spread_spaces(uint8_t *text, size_t bytes, size_t room)
{
    size_t spaces = 0;

    for (size_t i = 0; i < bytes; i++)
        spaces += text[i] == ' ';
    const size_t total = bytes + spaces * (BITX_LOWER_BLOCK_BYTES - 1);
    if (total > room) return SIZE_MAX;
    for (size_t from = bytes, to = total; from < to;) {
        if (text[--from] == ' ') {
            to -= BITX_LOWER_BLOCK_BYTES;
            (void)bitx_utf8_write(text + to, BITX_LOWER_BLOCK);
        } else {
            text[--to] = text[from];
        }
    }
    return total;
}

static int begins_with_space(const encoder *e, const uint8_t *text, size_t bytes)
{
    uint32_t length;
    const uint32_t first = bytes ? bitx_utf8_read(text, text + bytes, &length) : 0;
    return first == ' ' ||
           (first == BITX_LOWER_BLOCK && e->tables.head.flags & BITX_TEXT_LOWER_BLOCK);
}

/* Returns the segment as the stages are to see it: as it is, or in e->normal. */
static bitx_bytes normalize(encoder *e, bitx_bytes segment, int starts_text)
{
    const bitx_tokenizer_record *const head = &e->tables.head;
    const int lower_block = (head->flags & BITX_TEXT_LOWER_BLOCK) != 0;
    const int wants_prefix = head->prefix_rule == BITX_PREFIX_SEGMENT ||
                             (head->prefix_rule == BITX_PREFIX_START && starts_text);

    if (!wants_prefix && !lower_block && !(head->flags & BITX_TEXT_NFC)) return segment;

    /* The text leaves space for the longest prefix before it. */
    uint8_t *const text = e->normal + BITX_LOWER_BLOCK_BYTES;
    const size_t room = e->normal_bytes - BITX_LOWER_BLOCK_BYTES;
    size_t count;
    if (head->flags & BITX_TEXT_NFC) {
        count = bitx_nfc(text, room, &e->tables, segment.bytes, segment.count, e->symbols.token,
                         2 * e->symbols.most + e->rank_nodes);
        if (count != SIZE_MAX && lower_block) count = spread_spaces(text, count, room);
    } else if (lower_block) {
        count = replace_spaces(text, segment.bytes, segment.count);
    } else {
        bitx_copy(text, segment.bytes, segment.count);
        count = segment.count;
    }
    if (count == SIZE_MAX) {
        e->damaged = 1;
        return (bitx_bytes){text, 0};
    }
    if (!wants_prefix ||
        (head->flags & BITX_TEXT_PREFIX_UNLESS_THERE && begins_with_space(e, text, count)))
        return (bitx_bytes){text, count};
    uint8_t prefix[4];
    const uint32_t length = bitx_utf8_write(prefix, lower_block ? BITX_LOWER_BLOCK : ' ');
    bitx_copy(text - length, prefix, length);
    return (bitx_bytes){text - length, count + length};
}

/* ---- Steps 1 to 8 -------------------------------------------------------------------------- */

static void encode_text(encoder *e, const bitx_text *text, uint32_t flags)
{
    const bitx_tables *const tables = &e->tables;
    const int special = !(flags & BITX_ENCODE_PLAIN);
    bitx_cutter cutter, inner;
    bitx_part part, piece;

    bitx_cut_open(&cutter, tables, tables->added, tables->head.added, special);
    bitx_cut_open(&inner, tables, tables->added_normalized, tables->head.added_normalized, special);
    bitx_cut_text(&cutter, (const uint8_t *)text->bytes, text->count, text->plain,
                  text->plain_count);
    while (bitx_cut_next(&cutter, &part)) {
        if (part.token != BITX_NONE) {
            put(e, part.token);
            continue;
        }
        const bitx_bytes segment = {cutter.text + part.start, part.end - part.start};
        const bitx_bytes normal = normalize(e, segment, part.start == 0);
        bitx_cut_text(&inner, normal.bytes, normal.count, NULL, 0);
        while (bitx_cut_next(&inner, &piece)) {
            if (piece.token != BITX_NONE)
                put(e, piece.token);
            else
                encode_segment(e, normal.bytes + piece.start, piece.end - piece.start);
        }
    }
}

static int is_sound(const bitx_text *text)
{
    size_t end = 0;

    if ((!text->bytes && text->count) || (!text->plain && text->plain_count)) return 0;
    for (size_t i = 0; i < text->plain_count; i++) {
        if (text->plain[i].start < end || text->plain[i].end < text->plain[i].start) return 0;
        end = text->plain[i].end;
    }
    return end <= text->count;
}

bitx_status bitx_encode(int32_t *tokens, size_t room, size_t *count, const bitx_model *model,
                        const bitx_text *text, uint32_t flags, void *work, size_t work_bytes)
{
    encoder e = {.tokens = tokens, .room = room};
    plan p;

    if (count) *count = 0;
    if (!count || !model || !text || (!tokens && room) || (!work && work_bytes) ||
        ((uintptr_t)work & (sizeof(uint32_t) - 1)) != 0 ||
        flags > (BITX_ENCODE_BARE | BITX_ENCODE_PLAIN) || !is_sound(text))
        return BITX_E_ARGUMENT;
    bitx_status status = bitx_tables_open(&e.tables, model);
    if (status == BITX_OK) status = make_plan(&p, &e.tables, text->count);
    if (status != BITX_OK) return status;
    if (work_bytes < p.work_bytes) return BITX_E_ROOM;
    *count = bitx_utf8_check((const uint8_t *)text->bytes, text->count);
    if (*count < text->count) return BITX_E_TEXT;

    e.normal = work;
    e.normal_bytes = (size_t)p.normal_bytes;
    e.symbols.most = (size_t)p.symbols;
    e.symbols.token = (uint32_t *)(void *)(e.normal + e.normal_bytes);
    e.symbols.span = e.symbols.token + e.symbols.most;
    e.symbols.rank = e.symbols.span + e.symbols.most;
    e.rank_nodes = (size_t)p.rank_nodes;

    const int bare = (flags & BITX_ENCODE_BARE) != 0;
    for (uint32_t i = 0; i < e.tables.head.prefix_tokens && !bare; i++)
        put(&e, e.tables.prefix_tokens[i]);
    encode_text(&e, text, flags);
    for (uint32_t i = 0; i < e.tables.head.suffix_tokens && !bare; i++)
        put(&e, e.tables.suffix_tokens[i]);

    *count = e.damaged ? 0 : e.count;
    if (e.damaged) return BITX_E_FORMAT;
    return e.count <= room ? BITX_OK : BITX_E_ROOM;
}
