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

static void quantize(int8_t *high, int8_t *low, const float *x, float scale, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++) {
        const int32_t nearest = bitx_nearest(x[i] * scale);
        const int32_t code = nearest < -MOST ? -MOST : nearest > MOST ? MOST : nearest;
        const int32_t upper = (code + 128 + 256 * 128) / 256 - 128; /* rounds down */
        high[i] = (int8_t)upper;
        low[i] = (int8_t)(code - 256 * upper);
    }
}

bitx_status bitx_op_quantize_rows_int16(const bitx_call *call)
{
    const bitx_matrix *high = &call->out[0], *low = &call->out[1];
    for (uint32_t t = 0; t < high->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        const uint32_t bits = bitx_largest_magnitude(x, high->columns);
        if (bits >= BITX_INFINITY_BITS) return BITX_E_NOT_FINITE;
        const float largest = bitx_float(bits);
        const float scale = (float)MOST / (largest > 1e-5f ? largest : 1e-5f);
        quantize(bitx_row(high, t), bitx_row(low, t), x, scale, high->columns);
        bitx_zero_padding(high, t);
        bitx_zero_padding(low, t);
        *(float *)bitx_row(&call->out[2], t) = scale;
    }
    return BITX_OK;
}
