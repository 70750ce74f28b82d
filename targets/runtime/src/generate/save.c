/* save.c - write a generator's tokens and states, read them back, copy them (FORMAT.md, section 4).
 */
#include "../sha256.h"
#include "generator.h"

static const uint8_t magic[8] = {'B', 'I', 'T', 'S', '\r', '\n', 0x1a, '\n'};
enum { VERSION = 2, ARITHMETIC_VERSION = 1 };

typedef struct saved_header {
    uint8_t magic[8];
    uint32_t version, states;
    uint8_t arithmetic[BITX_SHA256_BYTES];
    uint32_t computed, pending;
    uint64_t bytes;
} saved_header;

typedef struct arithmetic_record {
    uint32_t version;
    uint8_t sha256[BITX_SHA256_BYTES];
} arithmetic_record;

/* R30, for a generator that is asked to save or restore. */
static bitx_status require_arithmetic(const bitx_generator *generator)
{
    const bitx_section *section = &generator->session->model->arithmetic;
    uint32_t version;
    if (!section->records) return BITX_E_ARGUMENT;
    if (section->bytes != sizeof(arithmetic_record)) return BITX_E_FORMAT;
    bitx_copy(&version, section->records, sizeof version);
    return version == ARITHMETIC_VERSION ? BITX_OK : BITX_E_UNSUPPORTED;
}

static saved_header describe(const bitx_generator *generator)
{
    const bitx_model *model = generator->session->model;
    saved_header header = {.version = VERSION};
    bitx_copy(header.magic, magic, sizeof magic);
    bitx_copy(header.arithmetic, model->arithmetic.records + offsetof(arithmetic_record, sha256),
              sizeof header.arithmetic);
    header.computed = generator->session->position;
    header.pending = generator->count - header.computed;
    header.bytes = sizeof header + (uint64_t)generator->count * sizeof *generator->token;
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role != BITX_STATE) continue;
        header.states++;
        header.bytes = bitx_round_up(header.bytes, BITX_ALIGNMENT) +
                       (uint64_t)header.computed * value.columns * bitx_element_bytes(value.dtype);
    }
    header.bytes = bitx_round_up(header.bytes, BITX_ALIGNMENT) + BITX_SHA256_BYTES;
    return header;
}

size_t bitx_generator_save_size(const bitx_generator *generator)
{
    return require_arithmetic(generator) == BITX_OK ? (size_t)describe(generator).bytes : 0;
}

/* From here to the next multiple of 64. */
static size_t padding(size_t at)
{
    return (size_t)bitx_round_up(at, BITX_ALIGNMENT) - at;
}

/* Copies the computed rows of every state between a session and bytes that lie without padding,
 * each state at a multiple of 64 from `start`; returns where they end. */
static size_t copy_states(const bitx_session *session, uint32_t rows, uint8_t *start, size_t at,
                          int to_session)
{
    for (uint32_t i = 0; i < session->model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(session->model, i);
        if (value.role != BITX_STATE) continue;
        const size_t bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
        const size_t stride = bitx_value_stride(value.columns, value.dtype);
        uint8_t *row = bitx_value_data(session, i);
        if (!to_session) bitx_zero(start + at, padding(at));
        at += padding(at);
        for (uint32_t t = 0; t < rows; t++, row += stride, at += bytes)
            if (to_session)
                bitx_copy(row, start + at, bytes);
            else
                bitx_copy(start + at, row, bytes);
    }
    return at;
}

static void digest(uint8_t *result, const uint8_t *bytes, size_t count)
{
    bitx_sha256 hash;
    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, bytes, count);
    bitx_sha256_end(&hash, result);
}

bitx_status bitx_generator_save(const bitx_generator *generator, void *bytes, size_t room)
{
    if (!generator || !bytes || generator->phase != BITX_IDLE) return BITX_E_ARGUMENT;
    const bitx_status status = require_arithmetic(generator);
    if (status != BITX_OK) return status;
    const saved_header header = describe(generator);
    uint8_t *to = bytes;
    const size_t tokens = generator->count * sizeof *generator->token;
    if (room < header.bytes) return BITX_E_ROOM;

    bitx_copy(to, &header, sizeof header);
    bitx_copy(to + sizeof header, generator->token, tokens);
    const size_t end =
        copy_states(generator->session, header.computed, to, sizeof header + tokens, 0);
    bitx_zero(to + end, padding(end));
    digest(to + end + padding(end), to, end + padding(end));
    return BITX_OK;
}

/* ---- Reading it back --------------------------------------------------------------------------
 */

static int tokens_are_known(const uint8_t *from, uint32_t count, uint32_t vocabulary)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t token;
        bitx_copy(&token, from + (size_t)i * sizeof token, sizeof token);
        if (token >= vocabulary) return 0;
    }
    return 1;
}

/* R29. */
static bitx_status check(const bitx_generator *generator, const uint8_t *from, size_t count,
                         saved_header *header)
{
    const bitx_session *session = generator->session;
    const saved_header ours = describe(generator);
    uint8_t found[BITX_SHA256_BYTES];

    if (count < sizeof *header + BITX_SHA256_BYTES) return BITX_E_TRUNCATED;
    bitx_copy(header, from, sizeof *header);
    if (!bitx_same(header->magic, magic, sizeof magic)) return BITX_E_MAGIC;
    if (header->version != VERSION) return BITX_E_VERSION;
    if (header->bytes != count) return BITX_E_TRUNCATED;
    digest(found, from, count - BITX_SHA256_BYTES);
    if (!bitx_same(found, from + count - BITX_SHA256_BYTES, sizeof found)) return BITX_E_HASH;
    if (!bitx_same(header->arithmetic, ours.arithmetic, sizeof ours.arithmetic))
        return BITX_E_MODEL;
    if (header->computed > session->context || header->pending > generator->room - header->computed)
        return BITX_E_FULL;

    bitx_session there = *session;
    bitx_generator restored = *generator;
    there.position = header->computed;
    restored.session = &there;
    restored.count = header->computed + header->pending;
    if (header->states != ours.states || describe(&restored).bytes != count ||
        !tokens_are_known(from + sizeof *header, restored.count, session->vocabulary))
        return BITX_E_FORMAT;
    return BITX_OK;
}

bitx_status bitx_generator_restore(bitx_generator *generator, const void *bytes, size_t count)
{
    if (!generator || !bytes || generator->phase != BITX_IDLE) return BITX_E_ARGUMENT;
    saved_header header;
    bitx_status status = require_arithmetic(generator);
    if (status == BITX_OK) status = check(generator, bytes, count, &header);
    if (status != BITX_OK) return status;

    const uint32_t tokens = header.computed + header.pending;
    const size_t token_bytes = (size_t)tokens * sizeof *generator->token;
    uint8_t *from = (uint8_t *)(uintptr_t)bytes;
    bitx_copy(generator->token, from + sizeof header, token_bytes);
    (void)copy_states(generator->session, header.computed, from, sizeof header + token_bytes, 1);
    generator->session->position = header.computed;
    generator->count = generator->shown = tokens;
    return BITX_OK;
}

bitx_status bitx_generator_fork(bitx_generator *to, const bitx_generator *from)
{
    if (!to || !from || to->phase != BITX_IDLE || from->phase != BITX_IDLE) return BITX_E_ARGUMENT;
    const bitx_session *source = from->session;
    bitx_session *session = to->session;
    if (!bitx_same(session->model->blob, source->model->blob, sizeof(bitx_header_record)))
        return BITX_E_MODEL;
    if (source->position > session->context || from->count > to->room) return BITX_E_FULL;

    for (uint32_t i = 0; i < session->model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(session->model, i);
        if (value.role != BITX_STATE) continue;
        bitx_copy(bitx_value_data(session, i), bitx_value_data(source, i),
                  source->position * bitx_value_stride(value.columns, value.dtype));
    }
    bitx_copy(to->token, from->token, from->count * sizeof *from->token);
    session->position = source->position;
    to->count = to->shown = from->count;
    return BITX_OK;
}
