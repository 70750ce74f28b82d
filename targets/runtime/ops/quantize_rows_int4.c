/* quantize_rows_int4.c - codes from -8 to 7 of a row, scaled by its mean magnitude. */
#include "quantize.h"

int bitx_fits_quantize_rows_int4(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    return bitx_fits_codes(&call->in[0], q) && bitx_goes_with(&call->out[1], q, BITX_F32, 1);
}

/* No element is more than `columns` times the mean, so x * scale stays below 2^22. */
static void quantize(int8_t *q, const float *x, float scale, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++) {
        const int32_t code = bitx_nearest(x[i] * scale);
        q[i] = (int8_t)(code < -8 ? -8 : code > 7 ? 7 : code);
    }
}

bitx_status bitx_op_quantize_rows_int4(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    for (uint32_t t = 0; t < q->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        if (bitx_largest_magnitude(x, q->columns) >= BITX_INFINITY_BITS) return BITX_E_NOT_FINITE;
        const float mean = bitx_lane_sum_of_magnitudes(x, q->columns) / (float)q->columns;
        const float scale = 0x1.52a7fap+1f / (mean > 1e-5f ? mean : 1e-5f); /* the root of 7 */
        quantize(bitx_row(q, t), x, scale, q->columns);
        bitx_zero_padding(q, t);
        *(float *)bitx_row(&call->out[1], t) = scale;
    }
    return BITX_OK;
}
