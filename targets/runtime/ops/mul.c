/* mul.c - y = a * b; b may be one row for all. */
#include "../src/floats.h"
#include "../src/session.h"

int bitx_fits_mul(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]) &&
           bitx_fits_second(&call->in[1], &call->out[0]);
}

static void mul(float *restrict y, const float *restrict a, const float *restrict b, size_t columns)
{
    BITX_EACH(i, columns, y[i] = a[i] * b[i]);
}

static void mul_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    mul(bitx_row(&call->out[0], t), bitx_row(&call->in[0], t), bitx_second_row(&call->in[1], t),
        call->out[0].columns);
}

bitx_status bitx_op_mul(const bitx_call *call)
{
    bitx_parallel_rows(call->session, mul_row, call, call->out[0].rows);
    return BITX_OK;
}
