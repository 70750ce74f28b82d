/* channels_last.c - planes of a picture, one after the other, become positions with channels. */
#include "../src/session.h"

/* x: channels * height rows of width columns; y: height * width rows of channels columns. */
int bitx_fits_channels_last(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const uint32_t channels = call->attribute[0];
    if (channels == 0) return 0;
    const uint32_t height = bitx_divide(x->rows, channels);
    return bitx_is_value(x, BITX_F32) && bitx_is_value(y, BITX_F32) &&
           x->row_kind == BITX_ROWS_FIXED && y->row_kind == BITX_ROWS_FIXED &&
           height * channels == x->rows && y->columns == channels &&
           (uint64_t)height * x->columns == y->rows;
}

static void gather_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *x = &call->in[0];
    const uint32_t channels = call->attribute[0], height = bitx_divide(x->rows, channels);
    const uint32_t down = bitx_divide(t, x->columns), right = t - down * x->columns;
    float *y = bitx_row(&call->out[0], t);
    for (uint32_t c = 0; c < channels; c++)
        y[c] = ((const float *)bitx_row(x, c * height + down))[right];
}

bitx_status bitx_op_channels_last(const bitx_call *call)
{
    bitx_parallel_rows(call->session, gather_row, call, call->out[0].rows);
    return BITX_OK;
}
