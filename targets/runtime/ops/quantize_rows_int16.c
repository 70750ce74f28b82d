/* quantize_rows_int16.c - codes of 16 bits of a row, as 256 high + low, and the factor. */
#include "quantize.h"

int bitx_fits_quantize_rows_int16(const bitx_call *call)
{
    const bitx_matrix *high = &call->out[0];
    return bitx_fits_codes(&call->in[0], high) &&
           bitx_goes_with(&call->out[1], high, BITX_S8, high->columns) &&
           bitx_goes_with(&call->out[2], high, BITX_F32, 1);
}

enum { MOST = 32512 }; /* 127 * 256 */

static int32_t clip(int32_t code)
{
    return code < -MOST ? -MOST : code > MOST ? MOST : code;
}

/* Rounds down. */
static int32_t upper(int32_t code)
{
    return (int32_t)((uint32_t)(code + 128 + 256 * 128) >> 8) - 128;
}

static void quantize(int8_t *restrict high, int8_t *restrict low, const float *restrict x,
                     float scale, uint32_t columns)
{
    BITX_EACH(i, columns, high[i] = (int8_t)upper(clip(bitx_nearest(x[i] * scale))));
    BITX_EACH(i, columns, low[i] = (int8_t)(clip(bitx_nearest(x[i] * scale)) - 256 * high[i]));
}

static void quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *high = &call->out[0], *low = &call->out[1];
    const float *x = bitx_row(&call->in[0], t);
    const uint32_t bits = bitx_largest_magnitude(x, high->columns);
    const float largest = bitx_float(bits);
    const float scale = (float)MOST / (largest > 1e-5f ? largest : 1e-5f);
    const int is_finite = bits < BITX_INFINITY_BITS;
    if (is_finite) quantize(bitx_row(high, t), bitx_row(low, t), x, scale, high->columns);
    bitx_zero_padding(high, t);
    bitx_zero_padding(low, t);
    *(float *)bitx_row(&call->out[2], t) = is_finite ? scale : 0.0f;
}

bitx_status bitx_op_quantize_rows_int16(const bitx_call *call)
{
    return bitx_quantize_all(call->session, quantize_row, call, &call->out[2]);
}
