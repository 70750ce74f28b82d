/* affine.c - y = float(x) * factor + offset, column by column. */
#include "../src/floats.h"
#include "../src/session.h"

static int is_one_or_all(const bitx_matrix *vector, uint32_t columns)
{
    return bitx_is_vector(vector, 1) || bitx_is_vector(vector, columns);
}

int bitx_fits_affine(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    return (bitx_is_value(x, BITX_F32) || bitx_is_value(x, BITX_S32) ||
            bitx_is_value(x, BITX_S8)) &&
           bitx_is_value(y, BITX_F32) && x->columns == y->columns && bitx_rows_fit(x, y) &&
           is_one_or_all(&call->in[1], y->columns) && is_one_or_all(&call->in[2], y->columns);
}

static float element(const bitx_matrix *x, const void *row, size_t i)
{
    switch (x->dtype) {
    case BITX_S8:  return (float)((const int8_t *)row)[i];
    case BITX_S32: return (float)((const int32_t *)row)[i];
    default:       return ((const float *)row)[i];
    }
}

static void affine_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const float *factor = bitx_row(&call->in[1], 0), *offset = bitx_row(&call->in[2], 0);
    const size_t factor_step = call->in[1].columns > 1, offset_step = call->in[2].columns > 1;
    const void *from = bitx_row(x, t);
    float *to = bitx_row(y, t);
    for (size_t i = 0; i < y->columns; i++, factor += factor_step, offset += offset_step)
        to[i] = element(x, from, i) * *factor + *offset;
}

bitx_status bitx_op_affine(const bitx_call *call)
{
    bitx_parallel_rows(call->session, affine_row, call, call->out[0].rows);
    return BITX_OK;
}
