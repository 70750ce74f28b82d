/* check_tensors.c - R9 to R16: tensors and values, each by itself. */
#include "rules.h"

_Static_assert(sizeof(bitx_tensor_record) == 64, "FORMAT.md, section 3.4");
_Static_assert(sizeof(bitx_value_record) == 48, "FORMAT.md, section 3.5");

#define MOST_COLUMNS (1u << 24)

static int shape_is_sound(const bitx_tensor_record *tensor)
{
    if (tensor->rank < 1 || tensor->rank > 2) return 0;
    for (uint32_t i = 0; i < 4; i++)
        if ((tensor->shape[i] != 0) != (i < tensor->rank)) return 0;
    return tensor->reserved == 0 && tensor->reserved_too == 0;
}

/* Whether `bytes` is what dtype, layout and shape ask for.  No product below passes 2^64. */
static int bytes_are_right(const bitx_tensor_record *tensor)
{
    const uint64_t n = tensor->shape[0], k = tensor->rank == 2 ? tensor->shape[1] : 1;
    const uint32_t tile = bitx_tile_rows(tensor->layout);
    if (tile)
        return tensor->bytes == (bitx_divide(tensor->shape[0] - 1, tile) + UINT64_C(1)) *
                                    bitx_tiles_stride(tensor->layout, tensor->shape[1]);
    return n * k <= UINT64_MAX / 4 && tensor->bytes == n * k * bitx_element_bytes(tensor->dtype);
}

static bitx_status check_tensor(bitx_model *model, uint32_t i, uint64_t *end)
{
    const bitx_tensor_record tensor = bitx_read_tensor(model, i);
    const uint64_t data_end = (uint64_t)(model->data.records - model->blob) + model->data.bytes;

    if (!bitx_is_string(model, tensor.name)) return bitx_broken(model, 9, i);
    if (bitx_element_bytes(tensor.dtype) == 0 || tensor.layout >= BITX_LAYOUT_AFTER_LAST ||
        !bitx_keeps_layout(tensor.layout))
        return bitx_unsupported(model, 10, i);
    if (bitx_tile_rows(tensor.layout) && (tensor.rank != 2 || tensor.dtype != BITX_U8))
        return bitx_broken(model, 10, i);
    if (!shape_is_sound(&tensor)) return bitx_broken(model, 11, i);
    if (!bytes_are_right(&tensor)) return bitx_broken(model, 12, i);
    if (!bitx_follows(model, *end, tensor.offset) || tensor.offset > data_end ||
        tensor.bytes > data_end - tensor.offset)
        return bitx_broken(model, 13, i);
    *end = tensor.offset + tensor.bytes;
    return BITX_OK;
}

bitx_status bitx_check_tensors(bitx_model *model)
{
    const uint64_t data = (uint64_t)(model->data.records - model->blob);
    uint64_t end = data;
    for (uint32_t i = 0; i < model->tensors.count; i++) {
        const bitx_status status = check_tensor(model, i, &end);
        if (status != BITX_OK) return status;
    }
    return end == data + model->data.bytes ? BITX_OK : bitx_broken(model, 13, model->tensors.count);
}

static int extent_is_sound(const bitx_value_record *value)
{
    return (value->row_kind == BITX_ROWS_FIXED) == (value->rows > 0) && value->columns >= 1 &&
           value->columns <= MOST_COLUMNS &&
           (value->role == BITX_STATE) == (value->row_kind == BITX_ROWS_CONTEXT) &&
           bitx_all_zero(value->reserved, sizeof value->reserved);
}

static int slots_exist(const bitx_model *model, const bitx_value_record *value)
{
    if (value->slot >= model->values.count) return 0;
    if (value->fused_slot == BITX_NONE) return value->role == BITX_INTERNAL;
    return value->fused_slot < model->values.count;
}

static bitx_status check_value(bitx_model *model, uint32_t i)
{
    const bitx_value_record value = bitx_read_value(model, i);
    if (!bitx_is_string(model, value.name)) return bitx_broken(model, 9, i);
    if (bitx_element_bytes(value.dtype) == 0 || value.row_kind > BITX_ROWS_CONTEXT ||
        value.role > BITX_STATE)
        return bitx_unsupported(model, 14, i);
    if (!extent_is_sound(&value)) return bitx_broken(model, 15, i);
    if (!slots_exist(model, &value)) return bitx_broken(model, 16, i);
    return BITX_OK;
}

/* Whether another value has a slot of this state. */
static int is_crowded(const bitx_model *model, uint32_t state)
{
    const bitx_value_record mine = bitx_read_value(model, state);
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record other = bitx_read_value(model, i);
        if (i != state && (other.slot == mine.slot || other.fused_slot == mine.fused_slot))
            return 1;
    }
    return 0;
}

bitx_status bitx_check_values(bitx_model *model)
{
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_status status = check_value(model, i);
        if (status != BITX_OK) return status;
    }
    for (uint32_t i = 0; i < model->values.count; i++)
        if (bitx_read_value(model, i).role == BITX_STATE && is_crowded(model, i))
            return bitx_broken(model, 16, i);
    return BITX_OK;
}
