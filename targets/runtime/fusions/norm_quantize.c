/* norm_quantize.c - RmsNorm, then QuantizeRows: the normalised row is computed twice, not
 * stored. */
#include "../ops/quantize.h"

static void norm_quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *norm = argument, *quantize = norm + 1;
    const bitx_matrix *q = &quantize->out[0];
    const uint32_t columns = q->columns;
    const float *x = bitx_row(&norm->in[0], norm->in[0].rows - q->rows + t);
    const float *weight = bitx_row(&norm->in[1], 0);
    const float r = bitx_inverse_rms(x, columns, bitx_float(norm->attribute[0]));
    const uint32_t largest = bitx_largest_normalized(x, r, weight, columns);
    const float scale = largest < BITX_INFINITY_BITS ? bitx_quantize_scale(largest) : 0.0f;

    *(float *)bitx_row(&quantize->out[1], t) = scale;
    if (scale == 0.0f) return;
    bitx_quantize_normalized(bitx_row(q, t), x, r, weight, scale, columns);
    bitx_zero_padding(q, t);
}

bitx_status bitx_fusion_norm_quantize(const bitx_call *calls)
{
    return bitx_quantize_all(calls->session, norm_quantize_row, calls, &calls[1].out[1]);
}
