/* pool_mean.c - the mean of the numbers under a window, channel by channel; padding is none. */
#include "../src/floats.h"
#include "window.h"

int bitx_fits_pool_mean(const bitx_call *call)
{
    return bitx_pool_fits(call) && bitx_is_value(&call->in[0], BITX_F32) &&
           bitx_is_value(&call->out[0], BITX_F32);
}

static void add_to(float *restrict y, const float *restrict x, size_t columns)
{
    BITX_EACH(c, columns, y[c] = y[c] + x[c]);
}

static void divide_by(float *y, float count, size_t columns)
{
    BITX_EACH(c, columns, y[c] = y[c] / count);
}

static void pool_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const bitx_corner corner = bitx_corner_of(&w, t);
    uint32_t count = 0;
    bitx_zero(bitx_row(y, t), y->columns * sizeof(float));
    for (uint32_t i = 0; i < w.kernel_height; i++)
        for (uint32_t j = 0; j < w.kernel_width; j++) {
            const void *from = bitx_under(&w, x, corner, i, j);
            if (!from) continue;
            add_to(bitx_row(y, t), from, y->columns);
            count++;
        }
    divide_by(bitx_row(y, t), (float)count, y->columns);
}

bitx_status bitx_op_pool_mean(const bitx_call *call)
{
    bitx_parallel_rows(call->session, pool_row, call, call->out[0].rows);
    return BITX_OK;
}
