/* norm_quantize.c - RmsNorm, then QuantizeRows: the normalised row is computed twice, a piece at a
 * time, not stored. */
#include "../ops/quantize.h"

enum { PIECE = 128 }; /* columns, on the stack */

typedef struct normal_row {
    const float *x, *weight;
    float inverse_rms;
    uint32_t columns;
} normal_row;

/* The normalised columns from `first` on; returns how many. */
static uint32_t make_piece(float *piece, const normal_row *row, uint32_t first)
{
    const uint32_t left = row->columns - first, columns = left < PIECE ? left : PIECE;
    bitx_normalize(piece, row->x + first, row->inverse_rms, row->weight + first, columns);
    return columns;
}

static uint32_t largest_magnitude(const normal_row *row)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < row->columns; i += PIECE) {
        float piece[PIECE];
        const uint32_t magnitude = bitx_largest_magnitude(piece, make_piece(piece, row, i));
        if (magnitude > largest) largest = magnitude;
    }
    return largest;
}

static void norm_quantize_row(const void *argument, uint32_t t)
{
    const bitx_call *norm = argument, *quantize = norm + 1;
    const bitx_matrix *q = &quantize->out[0];
    const float *x = bitx_row(&norm->in[0], norm->in[0].rows - q->rows + t);
    const float r = bitx_inverse_rms(x, q->columns, bitx_float(norm->attribute[0]));
    const normal_row row = {x, bitx_row(&norm->in[1], 0), r, q->columns};
    const uint32_t largest = largest_magnitude(&row);
    const float scale = largest < BITX_INFINITY_BITS ? bitx_quantize_scale(largest) : 0.0f;
    int8_t *codes = bitx_row(q, t);

    *(float *)bitx_row(&quantize->out[1], t) = scale;
    if (scale == 0.0f) return;
    for (uint32_t i = 0; i < row.columns; i += PIECE) {
        float piece[PIECE];
        const uint32_t columns = make_piece(piece, &row, i);
        bitx_quantize(codes + i, piece, scale, columns);
    }
    bitx_zero_padding(q, t);
}

bitx_status bitx_fusion_norm_quantize(const bitx_call *calls)
{
    return bitx_quantize_all(calls->session, norm_quantize_row, calls, &calls[1].out[1]);
}
