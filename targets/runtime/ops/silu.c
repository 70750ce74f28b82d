/* silu.c - y = x / (1 + exp(-x)). */
#include "../src/session.h"
#include "row_math.h"

int bitx_fits_silu(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]);
}

static void silu(float *restrict y, const float *restrict x, size_t columns)
{
    BITX_EACH(i, columns, y[i] = bitx_silu(x[i]));
}

static void silu_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    silu(bitx_row(&call->out[0], t), bitx_row(&call->in[0], t), call->out[0].columns);
}

bitx_status bitx_op_silu(const bitx_call *call)
{
    bitx_parallel_rows(call->session, silu_row, call, call->out[0].rows);
    return BITX_OK;
}
