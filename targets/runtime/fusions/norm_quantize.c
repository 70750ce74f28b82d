/* norm_quantize.c - RmsNorm, then QuantizeRows: the normalised row is computed twice, not stored.
 */
#include "../ops/row_math.h"
#include "../src/ops.h"

typedef struct normal_row {
    const float *x, *weight;
    float inverse_rms;
    uint32_t columns;
} normal_row;

static float element(const normal_row *row, uint32_t i)
{
    return bitx_normalize(row->x[i], row->inverse_rms, row->weight[i]);
}

static uint32_t largest_magnitude(const normal_row *row)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < row->columns; i++) {
        const uint32_t magnitude = bitx_magnitude(element(row, i));
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}

bitx_status bitx_fusion_norm_quantize(const bitx_call *calls)
{
    const bitx_call *norm = &calls[0];
    const bitx_matrix *q = &calls[1].out[0], *scales = &calls[1].out[1];
    const float epsilon = bitx_float(norm->attribute[0]);
    const uint32_t skipped = norm->in[0].rows - q->rows;

    for (uint32_t t = 0; t < q->rows; t++) {
        const float *x = bitx_row(&norm->in[0], skipped + t);
        const normal_row row = {x, bitx_row(&norm->in[1], 0),
                                bitx_inverse_rms(x, q->columns, epsilon), q->columns};
        const uint32_t largest = largest_magnitude(&row);
        if (largest >= BITX_INFINITY_BITS) return BITX_E_NOT_FINITE;
        const float scale = bitx_quantize_scale(largest);
        int8_t *codes = bitx_row(q, t);
        for (uint32_t i = 0; i < q->columns; i++)
            codes[i] = bitx_quantize(element(&row, i), scale);
        bitx_zero(codes + q->columns, q->stride - q->columns);
        *(float *)bitx_row(scales, t) = scale;
    }
    return BITX_OK;
}
