/* rules.h - the rules of FORMAT.md, in the order in which a file is opened. */
#ifndef BITX_RULES_H
#define BITX_RULES_H

#include "records.h"

bitx_status bitx_check_header(bitx_model *model);   /* R1 to R4 */
bitx_status bitx_check_sections(bitx_model *model); /* R5 to R7 */
bitx_status bitx_check_facts(bitx_model *model);    /* R8, R9 */
bitx_status bitx_check_tensors(bitx_model *model);  /* R9 to R13 */
bitx_status bitx_check_values(bitx_model *model);   /* R9, R14 to R16 */
bitx_status bitx_check_ops(bitx_model *model);      /* R17 to R19, R21 */
bitx_status bitx_check_fusions(bitx_model *model);  /* R20: what a fusion covers */
bitx_status bitx_check_lives(bitx_model *model);    /* R22, R20: what it leaves out; R23 */

/* Of sections that only some programs use: not asked when a file is opened. */
bitx_status bitx_check_tokenizer(bitx_model *model);  /* R26 */
bitx_status bitx_check_chat(bitx_model *model);       /* R27 */
bitx_status bitx_check_generation(bitx_model *model); /* R28 */

/* Remembers which record breaks which rule. */
static inline bitx_status bitx_unsupported(bitx_model *model, uint32_t rule, size_t record)
{
    model->rule = rule;
    model->record = (uint32_t)record;
    return BITX_E_UNSUPPORTED;
}

static inline bitx_status bitx_broken(bitx_model *model, uint32_t rule, size_t record)
{
    (void)bitx_unsupported(model, rule, record);
    return BITX_E_FORMAT;
}

/* R9. */
int bitx_is_string(const bitx_model *model, bitx_string_record string);

/* R6, R13: whether the next thing after `end` starts at `start`, with zeros between. */
int bitx_follows(const bitx_model *model, uint64_t end, uint64_t start);

#endif /* BITX_RULES_H */
