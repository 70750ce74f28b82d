/* check_ops.c - R17 to R21: every op by itself, and what a fusion covers. */
#include "lookup.h"
#include "ops.h"
#include "rules.h"

_Static_assert(sizeof(bitx_op_record) == 40, "FORMAT.md, section 3.6");
_Static_assert(sizeof(bitx_operand_record) == 8, "FORMAT.md, section 3.7");

static int attributes_are_sound(const bitx_op_record *record, const bitx_op *op)
{
    for (uint32_t i = op->attributes; i < 4; i++)
        if (record->attribute[i] != 0) return 0;
    return record->reserved == 0;
}

/* first_operand: one after the last operand of the op before. */
static int operands_are_there(const bitx_model *model, const bitx_op_record *record,
                              const bitx_op *op, uint32_t first_operand)
{
    return record->inputs >= op->fewest_inputs && record->inputs <= op->most_inputs &&
           record->outputs == op->outputs && record->first_operand == first_operand &&
           (uint32_t)record->inputs + record->outputs <= model->operands.count - first_operand;
}

static int operand_exists(const bitx_model *model, uint32_t index)
{
    const bitx_operand_record operand = bitx_read_operand(model, index);
    switch (operand.kind) {
    case BITX_OPERAND_VALUE:  return operand.index < model->values.count;
    case BITX_OPERAND_TENSOR: return operand.index < model->tensors.count;
    default:                  return 0;
    }
}

static bitx_status check_op(bitx_model *model, uint32_t i, uint32_t *first_operand)
{
    const bitx_op_record record = bitx_read_op(model, i);
    const bitx_op *op = bitx_find_op(record.code);
    if (!op) return bitx_unsupported(model, 17, i);
    if (!attributes_are_sound(&record, op)) return bitx_broken(model, 17, i);
    if (!operands_are_there(model, &record, op, *first_operand)) return bitx_broken(model, 18, i);

    const uint32_t end = *first_operand + record.inputs + record.outputs;
    for (; *first_operand < end; (*first_operand)++)
        if (!operand_exists(model, *first_operand)) return bitx_broken(model, 21, *first_operand);

    bitx_call call;
    bitx_describe(&call, model, &record);
    call.context = bitx_read_facts(model, 0).context;
    return op->fits(&call) ? BITX_OK : bitx_broken(model, 19, i);
}

bitx_status bitx_check_ops(bitx_model *model)
{
    uint32_t first_operand = 0;
    for (uint32_t i = 0; i < model->ops.count; i++) {
        const bitx_status status = check_op(model, i, &first_operand);
        if (status != BITX_OK) return status;
    }
    return first_operand == model->operands.count ? BITX_OK
                                                  : bitx_broken(model, 18, model->ops.count);
}

/* Operand `index` of an op: its inputs, then its outputs. */
static bitx_operand_record operand_of(const bitx_model *model, uint32_t op, uint32_t index)
{
    return bitx_read_operand(model, bitx_read_op(model, op).first_operand + index);
}

static int is_same(bitx_operand_record a, bitx_operand_record b)
{
    return a.kind == b.kind && a.index == b.index;
}

static int is_left_out(const bitx_model *model, bitx_operand_record operand)
{
    return operand.kind == BITX_OPERAND_VALUE &&
           bitx_read_value(model, operand.index).fused_slot == BITX_NONE;
}

/* Whether the first output of an op is that input of another, and is left out. */
static int feeds(const bitx_model *model, uint32_t op, uint32_t other, uint32_t input)
{
    const bitx_operand_record made = operand_of(model, op, bitx_read_op(model, op).inputs);
    return is_same(made, operand_of(model, other, input)) && is_left_out(model, made);
}

/* Whether a Mul squares. */
static int squares(const bitx_model *model, uint32_t op)
{
    return is_same(operand_of(model, op, 0), operand_of(model, op, 1));
}

/* Whether a Mul multiplies by a value that is stored. */
static int multiplies_by_another(const bitx_model *model, uint32_t op)
{
    const bitx_operand_record by = operand_of(model, op, 1);
    return by.kind == BITX_OPERAND_VALUE && !is_left_out(model, by);
}

/* Whether two products have one weight, that is not looked up, and the next op rescales the sums of
 * both. */
static int rescales_both(const bitx_model *model, uint32_t op)
{
    const bitx_tensor_record weight = bitx_read_tensor(model, operand_of(model, op, 1).index);
    return !bitx_find_lookup(weight.layout).block && bitx_read_op(model, op + 2).inputs == 4 &&
           is_same(operand_of(model, op, 1), operand_of(model, op + 1, 1)) &&
           feeds(model, op, op + 2, 0) && feeds(model, op + 1, op + 2, 3);
}

/* Whether the ops, which are those of the code, compute its formula. */
static int is_formula(const bitx_model *model, uint32_t code, uint32_t op)
{
    switch (code) {
    case BITX_FUSION_NORM_QUANTIZE:
        return bitx_read_op(model, op).attribute[1] == 1 && feeds(model, op, op + 1, 0);
    case BITX_FUSION_TERNARY_RESCALE:
    case BITX_FUSION_DENSE_RESCALE:
        return bitx_read_op(model, op + 1).inputs == 3 && feeds(model, op, op + 1, 0);
    case BITX_FUSION_RELU_SQUARE_MUL:
        return feeds(model, op, op + 1, 0) && squares(model, op + 1) &&
               feeds(model, op + 1, op + 2, 0) && multiplies_by_another(model, op + 2);
    case BITX_FUSION_SILU_MUL:
        return feeds(model, op, op + 1, 0) && multiplies_by_another(model, op + 1);
    case BITX_FUSION_TERNARY_RESCALE_INT16:
    case BITX_FUSION_DENSE_RESCALE_INT16:   return rescales_both(model, op);
    default:                                return 0;
    }
}

static int fusion_is_sound(const bitx_model *model, uint32_t first, const bitx_op_record *record)
{
    const bitx_fusion *fusion = bitx_find_fusion(record->fusion);
    if (!fusion || record->fused_ops != fusion->ops || fusion->ops > model->ops.count - first)
        return 0;
    for (uint32_t i = 0; i < fusion->ops; i++) {
        const bitx_op_record covered = bitx_read_op(model, first + i);
        if (covered.code != fusion->op[i] || (i > 0 && covered.fusion != 0)) return 0;
    }
    return is_formula(model, record->fusion, first);
}

bitx_status bitx_check_fusions(bitx_model *model)
{
    for (uint32_t i = 0; i < model->ops.count; i++) {
        const bitx_op_record record = bitx_read_op(model, i);
        const int sound = record.fusion ? fusion_is_sound(model, i, &record) : !record.fused_ops;
        if (!sound) return bitx_broken(model, 20, i);
    }
    return BITX_OK;
}
