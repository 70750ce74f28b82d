/* append_cache_int8.c - store int8 codes of each row at its position, and a scale for each head. */
#include "quantize.h"

int bitx_fits_append_cache_int8(const bitx_call *call)
{
    const bitx_matrix *codes = &call->in[0], *scales = &call->in[1], *x = &call->in[2];
    const uint32_t heads = call->attribute[0];
    for (uint32_t i = 0; i < 2; i++)
        if (call->in[i].rank != 0 || call->in[i].role != BITX_STATE || call->out[i].rank != 0 ||
            call->out[i].index != call->in[i].index)
            return 0;
    return codes->dtype == BITX_S8 && scales->dtype == BITX_F32 && scales->columns == heads &&
           bitx_is_value(x, BITX_F32) && x->columns == codes->columns &&
           x->row_kind == BITX_ROWS_CALL && heads > 0 &&
           bitx_divide(x->columns, heads) * heads == x->columns;
}

/* 0 if a number is not finite. */
static int store(int8_t *codes, float *scale, const float *x, size_t d, uint32_t heads)
{
    for (uint32_t h = 0; h < heads; h++, codes += d, x += d) {
        float factor;
        bitx_quantize_columns(codes, &factor, x, d);
        if (factor == 0.0f) return 0;
        scale[h] = 1.0f / factor;
    }
    return 1;
}

bitx_status bitx_op_append_cache_int8(const bitx_call *call)
{
    const bitx_matrix *codes = &call->out[0], *scales = &call->out[1], *x = &call->in[2];
    const uint32_t heads = call->attribute[0];
    const size_t d = bitx_divide(x->columns, heads);
    if ((uint64_t)call->position + x->rows > codes->rows) return BITX_E_FULL;

    for (uint32_t t = 0; t < x->rows; t++) {
        const size_t row = (size_t)call->position + t;
        if (!store(bitx_row(codes, row), bitx_row(scales, row), bitx_row(x, t), d, heads))
            return BITX_E_NOT_FINITE;
    }
    return BITX_OK;
}
