/* channels_first.c - positions with channels become one row: a plane for each channel. */
#include "quantize.h"

int bitx_fits_channels_first(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    return (bitx_is_value(x, BITX_S8) || bitx_is_value(x, BITX_F32)) &&
           bitx_is_value(y, x->dtype) && x->row_kind == BITX_ROWS_FIXED &&
           y->row_kind == BITX_ROWS_FIXED && y->rows == 1 &&
           (uint64_t)x->rows * x->columns == y->columns;
}

bitx_status bitx_op_channels_first(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    for (uint32_t t = 0; t < x->rows; t++)
        for (uint32_t c = 0; c < x->columns; c++) {
            const size_t at = (size_t)c * x->rows + t;
            if (x->dtype == BITX_S8)
                ((int8_t *)y->data)[at] = ((const int8_t *)bitx_row(x, t))[c];
            else
                ((float *)bitx_row(y, 0))[at] = ((const float *)bitx_row(x, t))[c];
        }
    if (y->dtype == BITX_S8) bitx_zero_padding(y, 0);
    return BITX_OK;
}
