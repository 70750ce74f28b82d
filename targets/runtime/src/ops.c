/* ops.c - the tables of ops and fusions.
 *
 * A library for one model may leave out what its plan does not use: bit c of BITX_OPS keeps the op
 * of code c, of BITX_FUSIONS the fusion.  The linker then drops the code of the others, and a file
 * that asks for one is refused as one that asks for an op of a later version.
 */
#include "ops.h"

#ifndef BITX_OPS
#define BITX_OPS 0xffffffffu
#endif
#ifndef BITX_FUSIONS
#define BITX_FUSIONS 0xffffffffu
#endif
#define KEPT(kept, code, function) ((kept) >> (code) & 1u ? (function) : NULL)

enum { FIRST_NETWORK_OP = BITX_OP_AFFINE };

#define ENTRY(code, name, fewest, most, outputs, attributes)                                       \
    {KEPT(BITX_OPS, code, bitx_fits_##name),                                                       \
     KEPT(BITX_OPS, code, bitx_op_##name),                                                         \
     fewest,                                                                                       \
     most,                                                                                         \
     outputs,                                                                                      \
     attributes}

static const bitx_op ops[FIRST_NETWORK_OP] = {
#define BITX_FIRST_OPS_ALONE
#define BITX_OP(code, constant, name, fewest, most, outputs, attributes)                           \
    [code] = ENTRY(code, name, fewest, most, outputs, attributes),
#include "../ops/ops.def"
#undef BITX_OP
#undef BITX_FIRST_OPS_ALONE
};

static const bitx_op network_ops[BITX_OP_AFTER_LAST - FIRST_NETWORK_OP] = {
#define BITX_OP(code, constant, name, fewest, most, outputs, attributes)                           \
    [(code) - FIRST_NETWORK_OP] = ENTRY(code, name, fewest, most, outputs, attributes),
#include "../ops/network_ops.def"
#undef BITX_OP
};

static const bitx_fusion fusions[BITX_FUSION_AFTER_LAST] = {
#define BITX_FUSION(code, constant, name, first, second, third)                                    \
    [code] = {                                                                                     \
        KEPT(BITX_FUSIONS, code, bitx_fusion_##name), {first, second, third}, (third) ? 3 : 2},
#include "../fusions/fusions.def"
#undef BITX_FUSION
};

const bitx_op *bitx_find_op(uint32_t code)
{
    const bitx_op *op = NULL;
    if (code < FIRST_NETWORK_OP)
        op = &ops[code];
    else if (BITX_OPS >> FIRST_NETWORK_OP && code < BITX_OP_AFTER_LAST)
        op = &network_ops[code - FIRST_NETWORK_OP];
    return op && op->run ? op : NULL;
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
