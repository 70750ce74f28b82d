/* softmax.c - y = exp(x - max x) / sum, row by row. */
#include "../src/floats.h"
#include "../src/session.h"

int bitx_fits_softmax(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]);
}

static void softmax_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const size_t columns = call->out[0].columns;
    float *y = bitx_row(&call->out[0], t), sum;
    bitx_copy(y, bitx_row(&call->in[0], t), columns * sizeof *y);
    call->session->kernels.softmax_f32_f32(&sum, y, 1.0f, columns);
    for (size_t i = 0; i < columns; i++)
        y[i] = y[i] / sum;
}

bitx_status bitx_op_softmax(const bitx_call *call)
{
    bitx_parallel_rows(call->session, softmax_row, call, call->out[0].rows);
    return BITX_OK;
}
