/* quantize_fixed.c - int8 codes with a scale that is part of the plan. */
#include "quantize.h"

int bitx_fits_quantize_fixed(const bitx_call *call)
{
    const uint32_t scale = call->attribute[0];
    const float least = bitx_float(call->attribute[1]), most = bitx_float(call->attribute[2]);
    return bitx_fits_codes(&call->in[0], &call->out[0]) && scale > 0 &&
           scale < BITX_INFINITY_BITS && least >= -128.0f && least < most && most <= 127.0f &&
           (float)(int32_t)least == least && (float)(int32_t)most == most;
}

static void quantize(int8_t *restrict q, const float *restrict x, float scale, float least,
                     float most, size_t columns)
{
    for (size_t i = 0; i < columns; i++) {
        const float v = x[i] / scale, w = v < least ? least : v;
        q[i] = (int8_t)bitx_nearest(w > most ? most : w);
    }
}

static void quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *q = &call->out[0];
    quantize(bitx_row(q, t), bitx_row(&call->in[0], t), bitx_float(call->attribute[0]),
             bitx_float(call->attribute[1]), bitx_float(call->attribute[2]), q->columns);
    bitx_zero_padding(q, t);
}

bitx_status bitx_op_quantize_fixed(const bitx_call *call)
{
    if (!bitx_is_finite(&call->in[0])) return BITX_E_NOT_FINITE;
    bitx_parallel_rows(call->session, quantize_row, call, call->out[0].rows);
    return BITX_OK;
}
