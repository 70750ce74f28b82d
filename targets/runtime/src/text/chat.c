/* chat.c - conversations to text: TEXT.md, section 4. */
#include "chat.h"
#include "utf8.h"

_Static_assert(sizeof(bitx_chat_record) == 224, "FORMAT.md, section 3.10");

bitx_status bitx_chat_read(bitx_chat_record *record, const bitx_model *model)
{
    const bitx_section *const section = &model->chat;

    if (!section->records) return BITX_E_ARGUMENT;
    if (section->bytes < sizeof *record) return BITX_E_FORMAT;
    bitx_copy(record, section->records, sizeof *record);
    const uint32_t vocabulary = bitx_read_facts(model, 0).vocabulary;
    const uint64_t bytes = section->bytes - sizeof *record;

    int sound = record->flags <= BITX_CHAT_PREFIX && record->stop_count <= BITX_CHAT_STOPS &&
                bitx_all_zero((const uint8_t *)record->reserved, sizeof record->reserved);
    for (uint32_t i = 0; i < BITX_ROLES; i++)
        sound = sound && record->strip[i] <= BITX_STRIP_MOST;
    for (uint32_t i = 0; i < BITX_CHAT_STOPS; i++)
        sound = sound && (i < record->stop_count ? record->stops[i] < vocabulary
                                                 : record->stops[i] == BITX_NONE);
    uint64_t end = 0;
    for (uint32_t i = 0; i < BITX_CHAT_ROWS * BITX_CHAT_COLUMNS; i++) {
        const bitx_string_record segment =
            record->segments[i / BITX_CHAT_COLUMNS][i % BITX_CHAT_COLUMNS];
        if (segment.bytes == BITX_NONE) continue;
        const uint64_t segment_end = (uint64_t)segment.offset + segment.bytes;
        if (segment_end > end) end = segment_end;
    }
    return sound && end == bytes ? BITX_OK : BITX_E_FORMAT;
}

bitx_status bitx_chat_of_model(bitx_chat *chat, const bitx_model *model)
{
    bitx_chat_record record;

    if (!chat || !model) return BITX_E_ARGUMENT;
    bitx_zero(chat, sizeof *chat);
    const bitx_status status = bitx_chat_read(&record, model);
    if (status != BITX_OK) return status;
    chat->encode_flags = record.flags & BITX_CHAT_PREFIX ? 0 : BITX_ENCODE_BARE;
    chat->stop_count = record.stop_count;
    for (uint32_t i = 0; i < record.stop_count; i++)
        chat->stops[i] = (int32_t)record.stops[i];
    return BITX_OK;
}

/* What Python's str.strip() takes off, as the templates do. */
static int is_stripped(uint32_t point)
{
    return (point >= 0x09 && point <= 0x0D) || (point >= 0x1C && point <= 0x20) || point == 0x85 ||
           point == 0xA0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200A) ||
           point == 0x2028 || point == 0x2029 || point == 0x202F || point == 0x205F ||
           point == 0x3000;
}

static bitx_range strip(const uint8_t *bytes, size_t count, uint32_t ends)
{
    bitx_range kept = {0, count};
    uint32_t length;

    while (ends & BITX_STRIP_LEFT && kept.start < kept.end &&
           is_stripped(bitx_utf8_read(bytes + kept.start, bytes + kept.end, &length)))
        kept.start += length;
    while (ends & BITX_STRIP_RIGHT && kept.start < kept.end) {
        const uint8_t *const last = bitx_utf8_before(bytes + kept.start, bytes + kept.end);
        if (!is_stripped(bitx_utf8_read(last, bytes + kept.end, &length))) break;
        kept.end = (size_t)(last - bytes);
    }
    return kept;
}

typedef struct writer {
    char *text;
    size_t room, used;
    bitx_range *plain;
    size_t plain_room, plain_count;
} writer;

static void put(writer *w, const void *bytes, size_t count)
{
    if (w->used <= w->room && count <= w->room - w->used && count > 0)
        bitx_copy(w->text + w->used, bytes, count);
    else if (count > 0)
        w->room = 0; /* nothing more fits: from here on it only counts */
    w->used += count;
}

static int put_segment(writer *w, const bitx_model *model, const bitx_chat_record *record,
                       uint32_t before, uint32_t behind)
{
    const bitx_string_record segment = record->segments[before][behind];
    if (segment.bytes == BITX_NONE) return 0;
    put(w, bitx_chat_bytes(model) + segment.offset, segment.bytes);
    return 1;
}

static void put_content(writer *w, const bitx_message *message, uint32_t ends)
{
    const uint8_t *const bytes = (const uint8_t *)message->content;
    const bitx_range kept = strip(bytes, message->bytes, ends);

    if (kept.start == kept.end) return;
    if (w->plain_count < w->plain_room)
        w->plain[w->plain_count] = (bitx_range){w->used, w->used + (kept.end - kept.start)};
    w->plain_count++;
    put(w, bytes + kept.start, kept.end - kept.start);
}

/* The row of the table for what came before. */
static uint32_t row_of(bitx_role role)
{
    return role == BITX_ROLE_START ? 0 : (uint32_t)role + 1;
}

static bitx_status join(writer *w, size_t *at, const bitx_model *model,
                        const bitx_chat_record *record, const bitx_message *messages, size_t count,
                        bitx_role after, int generate)
{
    for (*at = 0; *at < count; after = messages[(*at)++].role) {
        const bitx_message *const message = &messages[*at];
        if ((uint32_t)message->role >= BITX_ROLES || (!message->content && message->bytes))
            return BITX_E_ARGUMENT;
        if (bitx_utf8_check((const uint8_t *)message->content, message->bytes) < message->bytes)
            return BITX_E_TEXT;
        if (!put_segment(w, model, record, row_of(after), (uint32_t)message->role))
            return BITX_E_ROLE;
        put_content(w, message, record->strip[message->role] >> 2 * row_of(after));
    }
    const uint32_t end = generate ? BITX_CHAT_GENERATE : BITX_CHAT_STOP;
    return put_segment(w, model, record, row_of(after), end) ? BITX_OK : BITX_E_ROLE;
}

bitx_status bitx_chat_text(char *text, size_t room, size_t *bytes, bitx_range *plain,
                           size_t plain_room, size_t *plain_count, const bitx_model *model,
                           const bitx_message *messages, size_t count, bitx_role after,
                           int generate)
{
    writer w = {.text = text, .room = room, .plain = plain, .plain_room = plain_room};
    bitx_chat_record record;
    size_t at;

    if (!bytes || !plain_count) return BITX_E_ARGUMENT;
    *bytes = *plain_count = 0;
    if (!model || (!text && room) || (!plain && plain_room) || (!messages && count) ||
        (uint32_t)after > BITX_ROLE_START)
        return BITX_E_ARGUMENT;
    bitx_status status = bitx_chat_read(&record, model);
    if (status != BITX_OK) return status;
    status = join(&w, &at, model, &record, messages, count, after, generate);
    if (status != BITX_OK) {
        *bytes = at;
        return status;
    }
    *bytes = w.used;
    *plain_count = w.plain_count;
    return w.used <= room && w.plain_count <= plain_room ? BITX_OK : BITX_E_ROOM;
}
