/* model.c - open a file: every rule that does not read the weights. */
#include "rules.h"
#include "sha256.h"

bitx_status bitx_model_open(bitx_model *model, const void *blob, size_t blob_bytes)
{
    static bitx_status (*const checks[])(bitx_model *) = {
        bitx_check_header, bitx_check_sections, bitx_check_facts,   bitx_check_tensors,
        bitx_check_values, bitx_check_ops,      bitx_check_fusions, bitx_check_lives};

    if (!model || !blob || !bitx_is_aligned(blob)) return BITX_E_ARGUMENT;
    bitx_zero(model, sizeof *model);
    model->blob = blob;
    model->blob_bytes = blob_bytes;

    bitx_status status = BITX_OK;
    for (size_t i = 0; status == BITX_OK && i < sizeof checks / sizeof checks[0]; i++)
        status = checks[i](model);
    return status;
}

bitx_status bitx_model_check_hashes(bitx_model *model)
{
    if (!model || !model->blob) return BITX_E_ARGUMENT;
    bitx_header_record header;
    bitx_copy(&header, model->blob, sizeof header);

    for (uint32_t i = 0; i < header.sections; i++) {
        const bitx_section_record section = bitx_read_section(model, i);
        uint8_t digest[BITX_SHA256_BYTES];
        bitx_sha256 hash;
        bitx_sha256_begin(&hash);
        bitx_sha256_add(&hash, model->blob + section.offset, (size_t)section.bytes);
        bitx_sha256_end(&hash, digest);
        if (!bitx_same(digest, section.sha256, sizeof digest)) {
            (void)bitx_broken(model, 24, i);
            return BITX_E_HASH;
        }
    }
    return BITX_OK;
}

bitx_facts bitx_model_facts(const bitx_model *model)
{
    const bitx_facts_record record = bitx_read_facts(model, 0);
    bitx_facts facts = {.is_language_model = record.kind == BITX_LANGUAGE_MODEL,
                        .vocabulary = record.vocabulary,
                        .context = record.context,
                        .hidden = record.hidden,
                        .layers = record.layers,
                        .heads = record.heads,
                        .kv_heads = record.kv_heads,
                        .head_size = record.head_size,
                        .bos = record.bos,
                        .eos_count = record.eos_count,
                        .name = bitx_string(model, record.name),
                        .family = bitx_string(model, record.family)};
    bitx_copy(facts.eos, record.eos, sizeof facts.eos);
    return facts;
}
