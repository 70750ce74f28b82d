/* rescale.c - integer sums back to floats. */
#include "../src/ops.h"
#include "row_math.h"

int bitx_fits_rescale(const bitx_call *call)
{
    const bitx_matrix *sum = &call->in[0], *scale = &call->in[1], *y = &call->out[0];
    const bitx_matrix *weight_scale = &call->in[2], *low_sum = &call->in[3];
    return bitx_is_value(sum, BITX_S32) && bitx_is_value(scale, BITX_F32) &&
           bitx_is_value(y, BITX_F32) && sum->columns == y->columns && scale->columns == 1 &&
           (bitx_is_vector(weight_scale, 1) || bitx_is_vector(weight_scale, y->columns)) &&
           bitx_rows_fit(sum, y) && bitx_rows_fit(scale, y) &&
           (call->inputs < 4 || (bitx_is_value(low_sum, BITX_S32) &&
                                 low_sum->columns == y->columns && bitx_rows_fit(low_sum, y)));
}

bitx_status bitx_op_rescale(const bitx_call *call)
{
    const bitx_matrix *out = &call->out[0];
    const float *weight_scale = bitx_row(&call->in[2], 0);
    const uint32_t step = call->in[2].columns > 1;
    for (uint32_t t = 0; t < out->rows; t++) {
        const int32_t *sum = bitx_row(&call->in[0], t);
        const float scale = *(const float *)bitx_row(&call->in[1], t);
        float *y = bitx_row(out, t);
        if (call->inputs == 4) {
            const int32_t *low_sum = bitx_row(&call->in[3], t);
            bitx_rescale_int16(y, sum, low_sum, weight_scale, step, scale, out->columns);
        } else {
            bitx_rescale(y, sum, weight_scale, step, scale, out->columns);
        }
    }
    return BITX_OK;
}
