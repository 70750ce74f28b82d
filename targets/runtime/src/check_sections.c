/* check_sections.c - R1 to R9: header, section table, facts, strings. */
#include "rules.h"
#include "sha256.h"

#define FORMAT_VERSION 1u
#define MOST_SECTIONS  32u

_Static_assert(sizeof(bitx_header_record) == 64, "FORMAT.md, section 1");
_Static_assert(sizeof(bitx_section_record) == 64, "FORMAT.md, section 2");
_Static_assert(sizeof(bitx_facts_record) == 96, "FORMAT.md, section 3.1");
_Static_assert(sizeof(bitx_generation_record) == 64, "FORMAT.md, section 3.11");

static const struct section_kind {
    uint8_t id, record_bytes; /* 1: a section of bytes */
    uint8_t required;
    uint16_t member;
} section_kinds[] = {
    {1, sizeof(bitx_facts_record), 1, offsetof(bitx_model, facts)},
    {2, 1, 1, offsetof(bitx_model, strings)},
    {4, sizeof(bitx_tensor_record), 1, offsetof(bitx_model, tensors)},
    {5, sizeof(bitx_value_record), 1, offsetof(bitx_model, values)},
    {6, sizeof(bitx_op_record), 1, offsetof(bitx_model, ops)},
    {7, sizeof(bitx_operand_record), 1, offsetof(bitx_model, operands)},
    {8, 1, 1, offsetof(bitx_model, data)},
    {9, 1, 0, offsetof(bitx_model, tokenizer)},
    {10, 1, 0, offsetof(bitx_model, chat)},
    {11, sizeof(bitx_generation_record), 0, offsetof(bitx_model, generation)},
    {12, 1, 0, offsetof(bitx_model, self_test)},
    {13, 1, 0, offsetof(bitx_model, provenance)},
    {14, 1, 0, offsetof(bitx_model, arithmetic)},
};
enum { SECTION_KINDS = sizeof section_kinds / sizeof section_kinds[0] };

static const struct section_kind *find_kind(uint32_t id)
{
    for (size_t i = 0; i < SECTION_KINDS; i++)
        if (section_kinds[i].id == id) return &section_kinds[i];
    return NULL;
}

static bitx_section *member(bitx_model *model, const struct section_kind *kind)
{
    return (bitx_section *)(void *)((uint8_t *)model + kind->member);
}

static bitx_header_record read_header(const bitx_model *model)
{
    bitx_header_record header;
    bitx_copy(&header, model->blob, sizeof header);
    return header;
}

static uint64_t table_end(const bitx_header_record *header)
{
    return sizeof *header + (uint64_t)header->sections * sizeof(bitx_section_record);
}

static int hash_is_right(const bitx_model *model, const bitx_header_record *header)
{
    uint8_t digest[BITX_SHA256_BYTES];
    bitx_sha256 hash;
    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, model->blob, offsetof(bitx_header_record, sha256));
    bitx_sha256_add(&hash, model->blob + sizeof *header,
                    (size_t)header->sections * sizeof(bitx_section_record));
    bitx_sha256_end(&hash, digest);
    return bitx_same(digest, header->sha256, sizeof digest);
}

static bitx_status fail(bitx_model *model, uint32_t rule, bitx_status status)
{
    (void)bitx_broken(model, rule, 0);
    return status;
}

bitx_status bitx_check_header(bitx_model *model)
{
    static const uint8_t magic[8] = {'B', 'I', 'T', 'X', '\r', '\n', 0x1a, '\n'};

    if (model->blob_bytes < sizeof(bitx_header_record)) return fail(model, 1, BITX_E_MAGIC);
    const bitx_header_record header = read_header(model);
    if (!bitx_same(header.magic, magic, sizeof magic) || header.header_bytes != sizeof header)
        return fail(model, 1, BITX_E_MAGIC);
    if (header.version != FORMAT_VERSION || header.minimum_runtime > BITX_RUNTIME_VERSION)
        return fail(model, 2, BITX_E_VERSION);
    if (header.file_bytes != model->blob_bytes) return fail(model, 3, BITX_E_TRUNCATED);
    /* The table must be there before it is hashed. */
    if (header.sections < 1 || header.sections > MOST_SECTIONS) return bitx_broken(model, 5, 0);
    if (table_end(&header) > model->blob_bytes) return bitx_broken(model, 5, 0);
    return hash_is_right(model, &header) ? BITX_OK : fail(model, 4, BITX_E_HASH);
}

int bitx_follows(const bitx_model *model, uint64_t end, uint64_t start)
{
    return start == bitx_round_up(end, BITX_ALIGNMENT) && start <= model->blob_bytes &&
           bitx_all_zero(model->blob + end, (size_t)(start - end));
}

/* Takes over one section that is at most as long as the file.  *end: of the one before. */
static bitx_status take_section(bitx_model *model, const bitx_section_record *record,
                                const struct section_kind *kind, uint32_t index, uint64_t *end)
{
    if (!bitx_follows(model, *end, record->offset) ||
        record->bytes > model->blob_bytes - record->offset)
        return bitx_broken(model, 6, index);
    *end = record->offset + record->bytes;

    const int is_single = kind->member == offsetof(bitx_model, facts) ||
                          kind->member == offsetof(bitx_model, generation);
    if (record->records > record->bytes || record->records * kind->record_bytes != record->bytes ||
        (is_single && record->records != 1))
        return bitx_broken(model, 7, index);
    if (kind->record_bytes > 1 && record->records >= BITX_NONE) return bitx_broken(model, 7, index);

    *member(model, kind) = (bitx_section){model->blob + record->offset, record->bytes,
                                          kind->record_bytes > 1 ? (uint32_t)record->records : 0};
    return BITX_OK;
}

bitx_status bitx_check_sections(bitx_model *model)
{
    const bitx_header_record header = read_header(model);
    uint64_t end = table_end(&header);
    uint32_t last_id = 0;

    for (uint32_t i = 0; i < header.sections; i++) {
        const bitx_section_record record = bitx_read_section(model, i);
        const struct section_kind *kind = find_kind(record.id);
        if (!kind) return bitx_unsupported(model, 5, i);
        if (record.id <= last_id || record.reserved != 0) return bitx_broken(model, 5, i);
        last_id = record.id;
        const bitx_status status = take_section(model, &record, kind, i, &end);
        if (status != BITX_OK) return status;
    }
    for (size_t i = 0; i < SECTION_KINDS; i++)
        if (section_kinds[i].required && !member(model, &section_kinds[i])->records)
            return bitx_broken(model, 5, header.sections);
    return end == model->blob_bytes ? BITX_OK : bitx_broken(model, 6, header.sections);
}

int bitx_is_string(const bitx_model *model, bitx_string_record string)
{
    const uint64_t end = (uint64_t)string.offset + string.bytes;
    if (end >= model->strings.bytes) return 0;
    const uint8_t *text = model->strings.records + string.offset;
    size_t length = 0;
    while (length < string.bytes && text[length] != 0)
        length++;
    return length == string.bytes && text[length] == 0;
}

static int is_token(const bitx_facts_record *facts, uint32_t token)
{
    return token == BITX_NONE || token < facts->vocabulary;
}

static int special_tokens_are_sound(const bitx_facts_record *facts)
{
    int sound = is_token(facts, facts->bos) && facts->eos_count <= 4;
    for (uint32_t i = 0; i < 4; i++)
        sound &= is_token(facts, facts->eos[i]) &&
                 (facts->eos[i] != BITX_NONE) == (i < facts->eos_count);
    return sound;
}

static int has_role(const bitx_model *model, uint32_t value, uint32_t role, uint32_t dtype,
                    uint32_t columns)
{
    if (value >= model->values.count) return 0;
    const bitx_value_record record = bitx_read_value(model, value);
    return record.role == role && record.dtype == dtype && record.columns == columns &&
           (record.row_kind == BITX_ROWS_CALL ||
            (record.row_kind == BITX_ROWS_KEPT && role == BITX_OUTPUT));
}

static int facts_are_sound(const bitx_model *model, const bitx_facts_record *facts)
{
    if (!special_tokens_are_sound(facts)) return 0;
    if (!bitx_all_zero(facts->reserved, sizeof facts->reserved)) return 0;
    if (facts->kind == BITX_NETWORK)
        return facts->tokens_value == BITX_NONE && facts->logits_value == BITX_NONE;
    return facts->kind == BITX_LANGUAGE_MODEL && facts->vocabulary > 0 && facts->context > 0 &&
           has_role(model, facts->tokens_value, BITX_INPUT, BITX_S32, 1) &&
           has_role(model, facts->logits_value, BITX_OUTPUT, BITX_F32, facts->vocabulary);
}

bitx_status bitx_check_facts(bitx_model *model)
{
    const bitx_facts_record facts = bitx_read_facts(model, 0);
    if (!facts_are_sound(model, &facts)) return bitx_broken(model, 8, 0);
    if (!bitx_is_string(model, facts.name) || !bitx_is_string(model, facts.family))
        return bitx_broken(model, 9, 0);
    return BITX_OK;
}
