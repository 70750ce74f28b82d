/* quantize_groups.c - int8 codes of each group of columns of a row, and the factors. */
#include "groups.h"
#include "quantize.h"

int bitx_fits_quantize_groups(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    const uint32_t group = call->attribute[0];
    return bitx_fits_codes(&call->in[0], q) && bitx_group_is_sound(group, q->columns) &&
           bitx_goes_with(&call->out[1], q, BITX_F32, bitx_group_count(group, q->columns));
}

static void quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *q = &call->out[0];
    const uint32_t group = call->attribute[0];
    const float *x = bitx_row(&call->in[0], t);
    int8_t *codes = bitx_row(q, t);
    float *scale = bitx_row(&call->out[1], t);
    for (uint32_t i = 0; i < q->columns; i += group, scale++)
        bitx_quantize_columns(codes + i, scale, x + i, bitx_group_columns(group, q->columns, i));
    bitx_zero_padding(q, t);
}

bitx_status bitx_op_quantize_groups(const bitx_call *call)
{
    return bitx_quantize_all(call->session, quantize_row, call, &call->out[1]);
}
