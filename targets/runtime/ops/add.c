/* add.c - y = a + b; b may be one row for all. */
#include "../src/ops.h"

int bitx_fits_add(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]) &&
           bitx_fits_second(&call->in[1], &call->out[0]);
}

bitx_status bitx_op_add(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *a = bitx_row(&call->in[0], t), *b = bitx_second_row(&call->in[1], t);
        float *y = bitx_row(out, t);
        for (uint32_t i = 0; i < out->columns; i++)
            y[i] = a[i] + b[i];
    }
    return BITX_OK;
}
