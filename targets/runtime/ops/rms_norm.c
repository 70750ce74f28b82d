/* rms_norm.c - y = (x / rms(x)) * weight. */
#include "../src/ops.h"
#include "row_math.h"

int bitx_fits_rms_norm(const bitx_call *call)
{
    const bitx_matrix *y = &call->out[0];
    return bitx_maps_rows(&call->in[0], y) && bitx_is_vector(&call->in[1], y->columns);
}

bitx_status bitx_op_rms_norm(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    const float *weight = bitx_row(&call->in[1], 0);
    const float epsilon = bitx_float(call->attribute[0]);
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        float *y = bitx_row(out, t);
        const float r = bitx_inverse_rms(x, out->columns, epsilon);
        for (uint32_t i = 0; i < out->columns; i++)
            y[i] = bitx_normalize(x[i], r, weight[i]);
    }
    return BITX_OK;
}
