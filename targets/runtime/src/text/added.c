/* added.c - from the left, at each byte the longest. */
#include "added.h"

void bitx_cut_open(bitx_cutter *cutter, const bitx_tables *tables, const uint32_t *sorted,
                   uint32_t count, int special)
{
    bitx_zero(cutter, sizeof *cutter);
    cutter->tables = tables;
    cutter->sorted = sorted;
    cutter->count = count;
    cutter->special = special;
    for (uint32_t i = 0; i < count; i++) {
        if (sorted[i] >= tables->head.tokens) continue;
        const bitx_bytes token = bitx_token_text(tables, sorted[i]);
        if (token.count > 0) cutter->begins[token.bytes[0] / 32] |= 1u << token.bytes[0] % 32;
    }
}

void bitx_cut_text(bitx_cutter *cutter, const uint8_t *text, size_t bytes, const bitx_range *plain,
                   size_t plain_count)
{
    cutter->text = text;
    cutter->bytes = bytes;
    cutter->plain = plain;
    cutter->plain_count = plain_count;
    cutter->done = cutter->search = cutter->behind = 0;
    cutter->next = BITX_NONE;
}

static bitx_bytes text_at(const bitx_cutter *c, uint32_t index)
{
    const uint32_t token = c->sorted[index];
    if (token >= c->tables->head.tokens) return (bitx_bytes){c->text, 0};
    return bitx_token_text(c->tables, token);
}

/* The first index in [low, high) whose byte at that depth is `byte` or above; a token that ends
 * before comes first. */
static uint32_t lower_bound(const bitx_cutter *c, uint32_t low, uint32_t high, size_t depth,
                            unsigned byte)
{
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const bitx_bytes token = text_at(c, middle);
        if (token.count <= depth || token.bytes[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether the token may stand for the bytes [start, end). */
static int counts(bitx_cutter *c, uint32_t token, size_t start, size_t end)
{
    if (!(c->tables->token_flags[token] & BITX_TOKEN_CONTROL)) return 1;
    if (!c->special) return 0;
    while (c->plain_count > 0 && c->plain->end <= start) {
        c->plain++;
        c->plain_count--;
    }
    return c->plain_count == 0 || c->plain->start >= end;
}

/* The bytes of the longest token at `at`, or 0. */
static size_t longest(bitx_cutter *c, size_t at, uint32_t *found)
{
    uint32_t low = 0, high = c->count;
    size_t length = 0;

    for (size_t depth = 0; at + depth < c->bytes; depth++) {
        const unsigned byte = c->text[at + depth];
        low = lower_bound(c, low, high, depth, byte);
        high = lower_bound(c, low, high, depth, byte + 1);
        if (low == high) break;
        const uint32_t token = c->sorted[low];
        if (text_at(c, low).count == depth + 1 && counts(c, token, at, at + depth + 1)) {
            *found = token;
            length = depth + 1;
        }
    }
    return length;
}

static size_t strip_before(const bitx_cutter *c, size_t at)
{
    while (at > c->done) {
        const uint8_t *const before = bitx_utf8_before(c->text + c->done, c->text + at);
        uint32_t length;
        if (!bitx_is_space(c->tables, bitx_utf8_read(before, c->text + at, &length))) break;
        at = (size_t)(before - c->text);
    }
    return at;
}

static size_t strip_behind(const bitx_cutter *c, size_t at)
{
    while (at < c->bytes) {
        uint32_t length;
        const uint32_t point = bitx_utf8_read(c->text + at, c->text + c->bytes, &length);
        if (!bitx_is_space(c->tables, point)) break;
        at += length;
    }
    return at;
}

/* Finds the next token that does not begin in what is handed out; returns where, or the end. */
static size_t find(bitx_cutter *c)
{
    while (c->search < c->bytes) {
        const uint8_t byte = c->text[c->search];
        uint32_t token = BITX_NONE;
        const size_t start = c->search;
        const size_t length = c->begins[byte / 32] >> byte % 32 & 1 ? longest(c, start, &token) : 0;
        c->search += length ? length : 1;
        if (length == 0 || start < c->done) continue;

        const uint8_t flags = c->tables->token_flags[token];
        c->next = token;
        c->behind = flags & BITX_TOKEN_RSTRIP ? strip_behind(c, c->search) : c->search;
        return flags & BITX_TOKEN_LSTRIP ? strip_before(c, start) : start;
    }
    return c->bytes;
}

int bitx_cut_next(bitx_cutter *cutter, bitx_part *part)
{
    if (cutter->next == BITX_NONE) {
        const size_t start = cutter->count ? find(cutter) : cutter->bytes;
        if (cutter->done < start) {
            *part = (bitx_part){BITX_NONE, cutter->done, start};
            cutter->done = start;
            return 1;
        }
        if (cutter->next == BITX_NONE) return 0;
    }
    *part = (bitx_part){cutter->next, cutter->done, cutter->behind};
    cutter->done = cutter->behind;
    cutter->next = BITX_NONE;
    return 1;
}
