/* pool_max.c - the largest number under a window, channel by channel. */
#include "quantize.h"
#include "window.h"

int bitx_fits_pool_max(const bitx_call *call)
{
    return bitx_pool_fits(call) &&
           (bitx_is_value(&call->in[0], BITX_S8) || bitx_is_value(&call->in[0], BITX_F32)) &&
           bitx_is_value(&call->out[0], call->in[0].dtype);
}

static void larger_s8(int8_t *restrict y, const int8_t *restrict x, size_t columns)
{
    BITX_EACH(c, columns, y[c] = x[c] > y[c] ? x[c] : y[c]);
}

static void larger_f32(float *restrict y, const float *restrict x, size_t columns)
{
    BITX_EACH(c, columns, y[c] = x[c] > y[c] ? x[c] : y[c]);
}

static void pool_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const bitx_corner corner = bitx_corner_of(&w, t);
    int is_first = 1;
    for (uint32_t i = 0; i < w.kernel_height; i++)
        for (uint32_t j = 0; j < w.kernel_width; j++) {
            const void *from = bitx_under(&w, x, corner, i, j);
            if (!from) continue;
            if (is_first)
                bitx_copy(bitx_row(y, t), from, x->columns * bitx_element_bytes(x->dtype));
            else if (x->dtype == BITX_S8)
                larger_s8(bitx_row(y, t), from, y->columns);
            else
                larger_f32(bitx_row(y, t), from, y->columns);
            is_first = 0;
        }
    if (y->dtype == BITX_S8) bitx_zero_padding(y, t);
}

bitx_status bitx_op_pool_max(const bitx_call *call)
{
    bitx_parallel_rows(call->session, pool_row, call, call->out[0].rows);
    return BITX_OK;
}
