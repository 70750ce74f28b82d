/* depthwise_conv.c - every channel of a picture by a window of its own, summed in int32. */
#include "../src/floats.h"
#include "window.h"

int bitx_fits_depthwise_conv(const bitx_call *call)
{
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *weight = &call->in[1], *y = &call->out[0];
    return bitx_window_fits(call) && bitx_is_value(x, BITX_S8) && bitx_is_value(y, BITX_S32) &&
           x->columns == y->columns && bitx_is_tensor(weight, 2, BITX_S8) &&
           weight->columns == x->columns && weight->rows == w.kernel_height * w.kernel_width;
}

static void add_products(int32_t *restrict y, const int8_t *restrict x,
                         const int8_t *restrict weight, size_t columns)
{
    BITX_EACH(c, columns, y[c] += x[c] * weight[c]);
}

static void conv_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const bitx_corner corner = bitx_corner_of(&w, t);
    int32_t *sums = bitx_row(y, t);
    bitx_zero(sums, y->columns * sizeof *sums);
    for (uint32_t i = 0; i < w.kernel_height; i++)
        for (uint32_t j = 0; j < w.kernel_width; j++) {
            const int8_t *from = bitx_under(&w, x, corner, i, j);
            if (from)
                add_products(sums, from, bitx_row(&call->in[1], i * w.kernel_width + j),
                             y->columns);
        }
}

bitx_status bitx_op_depthwise_conv(const bitx_call *call)
{
    bitx_parallel_rows(call->session, conv_row, call, call->out[0].rows);
    return BITX_OK;
}
