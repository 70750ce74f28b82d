/* quantize_rows_int4.c - codes from -8 to 7 of a row, scaled by its mean magnitude. */
#include "quantize.h"

int bitx_fits_quantize_rows_int4(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    return bitx_fits_codes(&call->in[0], q) && bitx_goes_with(&call->out[1], q, BITX_F32, 1);
}

static int8_t clip(int32_t code)
{
    return (int8_t)(code < -8 ? -8 : code > 7 ? 7 : code);
}

/* No element is more than `columns` times the mean, so x * scale stays below 2^22. */
static void quantize(int8_t *restrict q, const float *restrict x, float scale, uint32_t columns)
{
    BITX_EACH(i, columns, q[i] = clip(bitx_nearest(x[i] * scale)));
}

static void quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *q = &call->out[0];
    const float *x = bitx_row(&call->in[0], t);
    const int is_finite = bitx_largest_magnitude(x, q->columns) < BITX_INFINITY_BITS;
    const float mean = bitx_lane_sum_of_magnitudes(x, q->columns) / (float)q->columns;
    const float scale = 0x1.52a7fap+1f / (mean > 1e-5f ? mean : 1e-5f); /* the root of 7 */
    if (is_finite) quantize(bitx_row(q, t), x, scale, q->columns);
    bitx_zero_padding(q, t);
    *(float *)bitx_row(&call->out[1], t) = is_finite ? scale : 0.0f;
}

bitx_status bitx_op_quantize_rows_int4(const bitx_call *call)
{
    return bitx_quantize_all(call->session, quantize_row, call, &call->out[1]);
}
