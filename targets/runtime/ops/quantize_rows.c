/* quantize_rows.c - int8 codes of a row, and the factor that made them. */
#include "quantize.h"

int bitx_fits_quantize_rows(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    return bitx_fits_codes(&call->in[0], q) && bitx_goes_with(&call->out[1], q, BITX_F32, 1);
}

bitx_status bitx_op_quantize_rows(const bitx_call *call)
{
    const bitx_matrix *q = &call->out[0];
    for (uint32_t t = 0; t < q->rows; t++) {
        float *scale = bitx_row(&call->out[1], t);
        if (!bitx_quantize_columns(bitx_row(q, t), scale, bitx_row(&call->in[0], t), q->columns))
            return BITX_E_NOT_FINITE;
        bitx_zero_padding(q, t);
    }
    return BITX_OK;
}
