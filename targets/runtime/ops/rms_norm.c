/* rms_norm.c - y = (x / rms(x)) * weight, each head by itself. */
#include "../src/ops.h"
#include "row_math.h"

int bitx_fits_rms_norm(const bitx_call *call)
{
    const bitx_matrix *y = &call->out[0];
    const uint32_t heads = call->attribute[1];
    if (heads == 0) return 0;
    const uint32_t d = bitx_divide(y->columns, heads);
    return d * heads == y->columns && bitx_maps_rows(&call->in[0], y) &&
           bitx_is_vector(&call->in[1], d);
}

static void normalize(float *y, const float *x, const float *weight, uint32_t d, float epsilon)
{
    const float r = bitx_inverse_rms(x, d, epsilon);
    for (uint32_t i = 0; i < d; i++)
        y[i] = bitx_normalize(x[i], r, weight[i]);
}

bitx_status bitx_op_rms_norm(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    const float *weight = bitx_row(&call->in[1], 0);
    const float epsilon = bitx_float(call->attribute[0]);
    const uint32_t d = call->in[1].columns;
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *x = bitx_row(&call->in[0], t);
        float *y = bitx_row(out, t);
        for (uint32_t h = 0; h < call->attribute[1]; h++, x += d, y += d)
            normalize(y, x, weight, d, epsilon);
    }
    return BITX_OK;
}
