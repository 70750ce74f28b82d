/* quantize_rows.c - int8 codes of a row, and the factor that made them. */
#include "quantize.h"

int bitx_fits_quantize_rows(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    return bitx_fits_codes(&call->in[0], q) && bitx_goes_with(&call->out[1], q, BITX_F32, 1);
}

static void quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *q = &call->out[0];
    bitx_quantize_columns(bitx_row(q, t), bitx_row(&call->out[1], t), bitx_row(&call->in[0], t),
                          q->columns);
    bitx_zero_padding(q, t);
}

bitx_status bitx_op_quantize_rows(const bitx_call *call)
{
    return bitx_quantize_all(call->session, quantize_row, call, &call->out[1]);
}
