/* patches.c - what a window sees of a picture, a row for each place where it stands. */
#include "window.h"

int bitx_fits_patches(const bitx_call *call)
{
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    return bitx_window_fits(call) && (bitx_is_value(x, BITX_S8) || bitx_is_value(x, BITX_F32)) &&
           bitx_is_value(y, x->dtype) &&
           (uint64_t)w.kernel_height * w.kernel_width * x->columns == y->columns;
}

static void patch_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    const size_t bytes = x->columns * bitx_element_bytes(x->dtype);
    const bitx_corner corner = bitx_corner_of(&w, t);
    uint8_t *to = bitx_row(y, t), *const end = to + y->stride;
    for (uint32_t i = 0; i < w.kernel_height; i++)
        for (uint32_t j = 0; j < w.kernel_width; j++, to += bytes) {
            const void *from = bitx_under(&w, x, corner, i, j);
            if (from)
                bitx_copy(to, from, bytes);
            else
                bitx_zero(to, bytes);
        }
    bitx_zero(to, (size_t)(end - to));
}

bitx_status bitx_op_patches(const bitx_call *call)
{
    bitx_parallel_rows(call->session, patch_row, call, call->out[0].rows);
    return BITX_OK;
}
