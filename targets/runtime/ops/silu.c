/* silu.c - y = x / (1 + exp(-x)). */
#include "../src/ops.h"
#include "row_math.h"

int bitx_fits_silu(const bitx_call *call)
{
    return bitx_maps_rows(&call->in[0], &call->out[0]);
}

bitx_status bitx_op_silu(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        float *y = bitx_row(out, t);
        for (uint32_t i = 0; i < out->columns; i++)
            y[i] = bitx_silu(x[i]);
    }
    return BITX_OK;
}
