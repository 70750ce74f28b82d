/* relu.c - y = x > 0 ? x : +0. */
#include "../src/session.h"
#include "row_math.h"

int bitx_fits_relu(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]);
}

static void relu(float *restrict y, const float *restrict x, size_t columns)
{
    BITX_EACH(i, columns, y[i] = bitx_relu(x[i]));
}

static void relu_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    relu(bitx_row(&call->out[0], t), bitx_row(&call->in[0], t), call->out[0].columns);
}

bitx_status bitx_op_relu(const bitx_call *call)
{
    bitx_parallel_rows(call->session, relu_row, call, call->out[0].rows);
    return BITX_OK;
}
