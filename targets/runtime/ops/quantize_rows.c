/* quantize_rows.c - int8 codes of a row, and the factor that made them. */
#include "../src/ops.h"
#include "row_math.h"

int bitx_fits_quantize_rows(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *q = &call->out[0], *scale = &call->out[1];
    return bitx_is_value(x, BITX_F32) && bitx_is_value(q, BITX_S8) &&
           bitx_is_value(scale, BITX_F32) && q->columns == x->columns &&
           q->columns <= BITX_MOST_COLUMNS && scale->columns == 1 && bitx_rows_fit(x, q) &&
           scale->row_kind == q->row_kind && scale->rows == q->rows;
}

bitx_status bitx_op_quantize_rows(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        int8_t *q = bitx_row(out, t);
        const uint32_t largest = bitx_largest_magnitude(x, out->columns);
        if (largest >= BITX_INFINITY_BITS) return BITX_E_NOT_FINITE;
        const float scale = bitx_quantize_scale(largest);
        for (uint32_t i = 0; i < out->columns; i++)
            q[i] = bitx_quantize(x[i], scale);
        bitx_zero(q + out->columns, out->stride - out->columns);
        *(float *)bitx_row(&call->out[1], t) = scale;
    }
    return BITX_OK;
}
