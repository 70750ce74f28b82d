/* group_embed.c - y = the row of a packed table that the token names, scaled in groups. */
#include "groups.h"

int bitx_fits_group_embed(const bitx_call *call)
{
    const bitx_matrix *ids = &call->in[0], *table = &call->in[1], *y = &call->out[0];
    return bitx_is_grouped(table, &call->in[2], call->attribute[0]) &&
           bitx_is_value(ids, BITX_S32) && ids->columns == 1 && bitx_is_value(y, BITX_F32) &&
           y->columns == table->columns && bitx_rows_fit(ids, y);
}

/* What a byte holds for row `row` of its tile: FORMAT.md, section 3.3. */
static int32_t weight(uint32_t layout, uint8_t byte, uint32_t row)
{
    const uint32_t field = row / 4;
    int32_t code;
    switch (layout) {
    case BITX_LAYOUT_P2R:
        code = byte >> 2 * field & 3;
        return field < 3 ? code - 1 : code < 2 ? code : code - 4;
    case BITX_LAYOUT_B1R: return byte >> field & 1 ? 1 : -1;
    default:              /* q4r */
        code = byte >> 4 * field & 15;
        return field < 1 ? code - 8 : code < 8 ? code : code - 16;
    }
}

static void widen(float *y, const bitx_call *call, uint32_t id)
{
    const bitx_matrix *table = &call->in[1];
    const uint32_t group = call->attribute[0], tile = bitx_tile_rows(table->layout);
    const size_t stride = (size_t)bitx_tiles_stride(table->layout, table->columns);
    const uint8_t *lane = table->data + bitx_divide(id, tile) * stride + id % 4 * 4;

    for (uint32_t g = 0, first = 0; first < table->columns; g++, first += group) {
        const uint32_t end = first + bitx_group_columns(group, table->columns, first);
        const float scale = bitx_group_scale(&call->in[2], g, id);
        for (uint32_t i = first; i < end; i++) {
            const uint8_t byte = lane[i / 4 * 16 + i % 4];
            y[i] = (float)weight(table->layout, byte, id & (tile - 1)) * scale;
        }
    }
}

bitx_status bitx_op_group_embed(const bitx_call *call)
{
    const bitx_matrix *y = &call->out[0];
    for (uint32_t t = 0; t < y->rows; t++) {
        const uint32_t id = *(const uint32_t *)bitx_row(&call->in[0], t);
        if (id >= call->in[1].rows) return BITX_E_TOKEN;
        widen(bitx_row(y, t), call, id);
    }
    return BITX_OK;
}
