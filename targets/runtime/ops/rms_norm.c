/* rms_norm.c - y = (x / rms(x)) * weight, each head by itself. */
#include "../src/session.h"
#include "row_math.h"

int bitx_fits_rms_norm(const bitx_call *call)
{
    const bitx_matrix *y = &call->out[0];
    const uint32_t heads = call->attribute[1];
    if (heads == 0) return 0;
    const uint32_t d = bitx_divide(y->columns, heads);
    return d * heads == y->columns && bitx_maps_rows(&call->in[0], y) &&
           bitx_is_vector(&call->in[1], d);
}

static void norm_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const float *x = bitx_row(&call->in[0], t), *weight = bitx_row(&call->in[1], 0);
    const float epsilon = bitx_float(call->attribute[0]);
    const uint32_t d = call->in[1].columns;
    float *y = bitx_row(&call->out[0], t);
    for (uint32_t h = 0; h < call->attribute[1]; h++, x += d, y += d)
        bitx_normalize(y, x, bitx_inverse_rms(x, d, epsilon), weight, d);
}

bitx_status bitx_op_rms_norm(const bitx_call *call)
{
    bitx_parallel_rows(call->session, norm_row, call, call->out[0].rows);
    return BITX_OK;
}
