/* embed.c - y = the row of the table that the token names, widened. */
#include "../src/floats.h"
#include "../src/ops.h"

int bitx_fits_embed(const bitx_call *call)
{
    const bitx_matrix *ids = &call->in[0], *table = &call->in[1], *y = &call->out[0];
    const int is_s8 = bitx_is_tensor(table, 2, BITX_S8);
    const int is_float = bitx_is_tensor(table, 2, BITX_F32) || bitx_is_tensor(table, 2, BITX_F16) ||
                         bitx_is_tensor(table, 2, BITX_BF16);
    const int suits = is_s8 ? call->inputs == 3 && bitx_is_vector(&call->in[2], table->rows)
                            : is_float && call->inputs == 2;
    return suits && bitx_is_value(ids, BITX_S32) && ids->columns == 1 &&
           bitx_is_value(y, BITX_F32) && y->columns == table->columns && bitx_rows_fit(ids, y);
}

static void widen_f16(float *y, const uint16_t *row, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++)
        y[i] = bitx_from_f16(row[i]);
}

static void widen_bf16(float *y, const uint16_t *row, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++)
        y[i] = bitx_from_bf16(row[i]);
}

static void widen_s8(float *y, const int8_t *row, float scale, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++)
        y[i] = (float)row[i] * scale;
}

bitx_status bitx_op_embed(const bitx_call *call)
{
    const bitx_matrix *table = &call->in[1], *y = &call->out[0];
    for (uint32_t t = 0; t < y->rows; t++) {
        const uint32_t id = *(const uint32_t *)bitx_row(&call->in[0], t);
        if (id >= table->rows) return BITX_E_TOKEN;
        const void *row = bitx_row(table, id);
        switch (table->dtype) {
        case BITX_F32:  bitx_copy(bitx_row(y, t), row, table->stride); break;
        case BITX_F16:  widen_f16(bitx_row(y, t), row, y->columns); break;
        case BITX_BF16: widen_bf16(bitx_row(y, t), row, y->columns); break;
        default:
            widen_s8(bitx_row(y, t), row, ((const float *)bitx_row(&call->in[2], 0))[id],
                     y->columns);
        }
    }
    return BITX_OK;
}
