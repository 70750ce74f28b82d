/* stream.c - tokens to text: TEXT.md, section 3. */
#include "bitexport_text.h"
#include "text_tables.h"

enum { REPLACEMENT_BYTES = 3 };

_Static_assert((int)BITX_STREAM_BYTES >= 2 * (int)BITX_STOP_BYTES, "a held text leaves room");

static int stops_are_sound(const bitx_stream_config *config)
{
    if (!config->stops && config->stop_count) return 0;
    for (size_t i = 0; i < config->stop_count; i++) {
        const bitx_string_view stop = config->stops[i];
        if (!stop.bytes || stop.count == 0 || stop.count > BITX_STOP_BYTES) return 0;
        if (bitx_utf8_check((const uint8_t *)stop.bytes, stop.count) < stop.count) return 0;
    }
    return 1;
}

bitx_status bitx_stream_open(bitx_stream *stream, const bitx_model *model,
                             const bitx_stream_config *config)
{
    bitx_tables tables;

    if (!stream || !model) return BITX_E_ARGUMENT;
    bitx_zero(stream, sizeof *stream);
    if (config) stream->config = *config;
    const bitx_status status = bitx_tables_open(&tables, model);
    if (status != BITX_OK) return status;
    if (!stops_are_sound(&stream->config)) return BITX_E_ARGUMENT;
    stream->drops_space = tables.head.flags & BITX_TEXT_DROP_SPACE && !stream->config.continues;
    stream->vocabulary = bitx_read_facts(model, 0).vocabulary;
    stream->model = model; /* last: a stream without a model is not open */
    return BITX_OK;
}

/* The bytes that a token stands for. */
static bitx_bytes bytes_of(const bitx_stream *s, const bitx_tables *tables, uint32_t token)
{
    const bitx_bytes none = {tables->token_bytes, 0};

    if (token >= tables->head.tokens) return none;
    const uint8_t flags = tables->token_flags[token];
    if (flags & BITX_TOKEN_UNUSED) return none;
    if (flags & BITX_TOKEN_CONTROL && !s->config.show_control) return none;
    return bitx_token_text(tables, token);
}

/* ---- Characters ---------------------------------------------------------------------------- */

typedef struct decoder {
    uint8_t rest[4]; /* what may still become a character */
    uint32_t rest_count;
    uint8_t *to; /* null: only count */
    size_t used;
} decoder;

static void put(decoder *d, const uint8_t *bytes, size_t count)
{
    if (d->to) bitx_copy(d->to + d->used, bytes, count);
    d->used += count;
}

static void put_replacement(decoder *d)
{
    uint8_t bytes[4];
    put(d, bytes, bitx_utf8_write(bytes, BITX_REPLACEMENT));
}

/* Gives out what the rest is certain to be. */
static void settle(decoder *d)
{
    while (d->rest_count > 0) {
        const int length = bitx_utf8_length(d->rest, d->rest_count);
        if (length == 0) return;
        if (length > 0)
            put(d, d->rest, (size_t)length);
        else
            put_replacement(d);
        const uint32_t done = (uint32_t)(length > 0 ? length : -length);
        d->rest_count -= done;
        for (uint32_t i = 0; i < d->rest_count; i++)
            d->rest[i] = d->rest[i + done];
    }
}

static void decode(decoder *d, bitx_bytes token)
{
    size_t at = 0;

    while (d->rest_count > 0 && at < token.count) {
        d->rest[d->rest_count++] = token.bytes[at++];
        settle(d);
    }
    while (at < token.count) {
        const int length = bitx_utf8_length(token.bytes + at, token.count - at);
        if (length == 0) break;
        if (length > 0)
            put(d, token.bytes + at, (size_t)length);
        else
            put_replacement(d);
        at += (size_t)(length > 0 ? length : -length);
    }
    while (at < token.count)
        d->rest[d->rest_count++] = token.bytes[at++];
}

/* ---- Stop strings -------------------------------------------------------------------------- */

static int ends_with(const bitx_stream *s, size_t end, const char *bytes, size_t count)
{
    return count <= end && s->text[end - 1] == bytes[count - 1] &&
           bitx_same(s->text + end - count, bytes, count);
}

/* The bytes of the longest stop string that ends there, or 0. */
static size_t stop_at(const bitx_stream *s, size_t end)
{
    size_t longest = 0;

    for (size_t i = 0; i < s->config.stop_count; i++) {
        const bitx_string_view stop = s->config.stops[i];
        if (stop.count > longest && ends_with(s, end, stop.bytes, stop.count)) longest = stop.count;
    }
    return longest;
}

/* How many of the last bytes may be the beginning of a stop string. */
static size_t held_back(const bitx_stream *s, size_t count)
{
    size_t held = 0;

    for (size_t i = 0; i < s->config.stop_count; i++) {
        const bitx_string_view stop = s->config.stops[i];
        size_t length = stop.count - 1 < count ? stop.count - 1 : count;
        while (length > held && !ends_with(s, count, stop.bytes, length))
            length--;
        if (length > held) held = length;
    }
    return held;
}

/* Splits the text, of which the bytes from `start` on are new, into what is given and what is
 * held.  Returns whether a stop string ends it. */
static int give(bitx_stream *s, size_t start, size_t count, int at_end)
{
    for (size_t end = start + 1; end <= count; end++) {
        const size_t stop = stop_at(s, end);
        if (stop == 0) continue;
        s->given = (uint32_t)(end - stop);
        s->held = 0;
        s->ended = 1;
        return 1;
    }
    s->held = at_end ? 0 : (uint32_t)held_back(s, count);
    s->given = (uint32_t)count - s->held;
    return 0;
}

/* Forgets the text that the last call gave. */
static void move_up(bitx_stream *s)
{
    for (uint32_t i = 0; i < s->held; i++)
        s->text[i] = s->text[s->given + i];
    s->given = 0;
}

bitx_status bitx_stream_push(bitx_stream *stream, int32_t token, const char **text, size_t *bytes,
                             int *stopped)
{
    bitx_tables tables;

    if (!stream || !text || !bytes || !stopped || !stream->model) return BITX_E_ARGUMENT;
    *text = stream->text;
    *bytes = 0;
    *stopped = 0;
    if (stream->ended) return BITX_E_ARGUMENT;
    if (token < 0 || (uint32_t)token >= stream->vocabulary) return BITX_E_TOKEN;
    const bitx_status status = bitx_tables_open(&tables, stream->model);
    if (status != BITX_OK) return status;

    bitx_bytes added = bytes_of(stream, &tables, (uint32_t)token);
    const int begins = added.count > 0;
    if (begins && stream->drops_space && added.bytes[0] == ' ') {
        added.bytes++;
        added.count--;
    }
    decoder d = {.rest_count = stream->rest_count};
    bitx_copy(d.rest, stream->rest, sizeof d.rest);
    decode(&d, added);
    if (d.used > BITX_STREAM_BYTES - REPLACEMENT_BYTES - stream->held) return BITX_E_ROOM;

    move_up(stream);
    d = (decoder){.rest_count = stream->rest_count, .to = (uint8_t *)stream->text + stream->held};
    bitx_copy(d.rest, stream->rest, sizeof d.rest);
    decode(&d, added);
    bitx_copy(stream->rest, d.rest, sizeof d.rest);
    stream->rest_count = d.rest_count;
    if (begins) stream->drops_space = 0;
    *stopped = give(stream, stream->held, stream->held + d.used, 0);
    *bytes = stream->given;
    return BITX_OK;
}

bitx_status bitx_stream_finish(bitx_stream *stream, const char **text, size_t *bytes)
{
    if (!stream || !text || !bytes || !stream->model) return BITX_E_ARGUMENT;
    move_up(stream);
    if (!stream->ended) {
        decoder d = {.to = (uint8_t *)stream->text + stream->held};
        if (stream->rest_count) put_replacement(&d);
        stream->rest_count = 0;
        (void)give(stream, stream->held, stream->held + d.used, 1);
        stream->ended = 1;
    }
    *text = stream->text;
    *bytes = stream->given;
    return BITX_OK;
}
