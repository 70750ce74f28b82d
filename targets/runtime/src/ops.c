/* ops.c - the tables of ops and fusions, those that the library keeps. */
#include "ops.h"

#ifndef BITX_FUSIONS
#define BITX_FUSIONS 0xffffffffu
#endif
#define KEPT(kept, code, function) ((kept) >> (code) & 1u ? (function) : NULL)

static const bitx_fusion fusions[BITX_FUSION_AFTER_LAST] = {
#define BITX_FUSION(code, constant, name, first, second, third)                                    \
    [code] = {                                                                                     \
        KEPT(BITX_FUSIONS, code, bitx_fusion_##name), {first, second, third}, (third) ? 3 : 2},
#include "../fusions/fusions.def"
#undef BITX_FUSION
};

/* A switch: what is not kept takes no room. */
const bitx_op *bitx_find_op(uint32_t code)
{
    switch (code) {
#define BITX_OP(code, constant, name, fewest, most, outputs, attributes)                           \
    case code: {                                                                                   \
        static const bitx_op op = {bitx_fits_##name, bitx_op_##name, fewest, most,                 \
                                   outputs,          attributes};                                  \
        return bitx_keeps_op(code) ? &op : NULL;                                                   \
    }
#include "../ops/ops.def"
#undef BITX_OP
    default: return NULL;
    }
}

const bitx_fusion *bitx_find_fusion(uint32_t code)
{
    return code < BITX_FUSION_AFTER_LAST && fusions[code].run ? &fusions[code] : NULL;
}

static bitx_matrix describe_value(const bitx_model *model, uint32_t index)
{
    const bitx_value_record value = bitx_read_value(model, index);
    return (bitx_matrix){.stride = bitx_value_stride(value.columns, value.dtype),
                         .rows = value.rows,
                         .columns = value.columns,
                         .dtype = value.dtype,
                         .row_kind = value.row_kind,
                         .role = value.role,
                         .index = index};
}

static bitx_matrix describe_tensor(const bitx_model *model, uint32_t index)
{
    const bitx_tensor_record tensor = bitx_read_tensor(model, index);
    const uint32_t columns = tensor.shape[tensor.rank - 1];
    return (bitx_matrix){.data = (uint8_t *)model->blob + tensor.offset,
                         .stride = (size_t)columns * bitx_element_bytes(tensor.dtype),
                         .rows = tensor.rank == 2 ? tensor.shape[0] : 1,
                         .columns = columns,
                         .dtype = tensor.dtype,
                         .layout = tensor.layout,
                         .rank = tensor.rank};
}

static bitx_matrix describe(const bitx_model *model, uint32_t operand)
{
    const bitx_operand_record record = bitx_read_operand(model, operand);
    return record.kind == BITX_OPERAND_VALUE ? describe_value(model, record.index)
                                             : describe_tensor(model, record.index);
}

void bitx_describe(bitx_call *call, const bitx_model *model, const bitx_op_record *op)
{
    bitx_zero(call, sizeof *call);
    bitx_copy(call->attribute, op->attribute, sizeof call->attribute);
    call->inputs = op->inputs;
    call->outputs = op->outputs;
    for (uint32_t i = 0; i < op->inputs; i++)
        call->in[i] = describe(model, op->first_operand + i);
    for (uint32_t i = 0; i < op->outputs; i++)
        call->out[i] = describe(model, op->first_operand + op->inputs + i);
}
