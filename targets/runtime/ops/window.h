/* window.h - what ops share that move a window over a picture.
 *
 * A picture of height x width positions with c channels is a value of height * width rows, one
 * position each, row-major, and c columns.  The rows are those of one picture: fixed.
 */
#ifndef BITX_WINDOW_H
#define BITX_WINDOW_H

#include "../src/session.h"

/* The four attributes of such an op. */
typedef struct bitx_window {
    uint32_t height, width; /* of x */
    uint32_t kernel_height, kernel_width, stride_down, stride_right;
    uint32_t pad_top, pad_left, dilation_down, dilation_right;
    uint32_t out_height, out_width; /* of y */
} bitx_window;

static inline bitx_window bitx_window_of(const bitx_call *call)
{
    const uint32_t *a = call->attribute;
    return (bitx_window){.height = a[0] & 0xffff,
                         .width = a[0] >> 16,
                         .kernel_height = a[1] & 0xff,
                         .kernel_width = a[1] >> 8 & 0xff,
                         .stride_down = a[1] >> 16 & 0xff,
                         .stride_right = a[1] >> 24,
                         .pad_top = a[2] & 0xff,
                         .pad_left = a[2] >> 8 & 0xff,
                         .dilation_down = a[2] >> 16 & 0xff,
                         .dilation_right = a[2] >> 24,
                         .out_height = a[3] & 0xffff,
                         .out_width = a[3] >> 16};
}

/* The pictures are x and y; nothing of the window is 0.  Where it stands is not asked: what lies
 * outside of x is never read. */
static inline int bitx_window_fits(const bitx_call *call)
{
    const bitx_window w = bitx_window_of(call);
    const bitx_matrix *x = &call->in[0], *y = &call->out[0];
    return x->rank == 0 && x->row_kind == BITX_ROWS_FIXED && y->row_kind == BITX_ROWS_FIXED &&
           x->rows == w.height * w.width && y->rows == w.out_height * w.out_width &&
           w.kernel_height && w.kernel_width && w.stride_down && w.stride_right &&
           w.dilation_down && w.dilation_right;
}

/* Whether the window covers some of x along one axis, wherever it stands. */
static inline int bitx_always_covers(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t pad,
                                     uint32_t dilation, uint32_t steps)
{
    return dilation == 1 && pad < kernel && (steps - 1) * stride < size + pad;
}

/* Whether a pool of it has something to choose from: every window covers some of x. */
static inline int bitx_pool_fits(const bitx_call *call)
{
    const bitx_window w = bitx_window_of(call);
    return bitx_window_fits(call) && call->in[0].columns == call->out[0].columns &&
           call->in[0].dtype == call->out[0].dtype &&
           bitx_always_covers(w.height, w.kernel_height, w.stride_down, w.pad_top, w.dilation_down,
                              w.out_height) &&
           bitx_always_covers(w.width, w.kernel_width, w.stride_right, w.pad_left, w.dilation_right,
                              w.out_width);
}

/* The top left corner of the window that makes row t of y; the padding lies before 0. */
typedef struct bitx_corner {
    int32_t top, left;
} bitx_corner;

static inline bitx_corner bitx_corner_of(const bitx_window *w, uint32_t t)
{
    const uint32_t down = bitx_divide(t, w->out_width), right = t - down * w->out_width;
    return (bitx_corner){(int32_t)(down * w->stride_down) - (int32_t)w->pad_top,
                         (int32_t)(right * w->stride_right) - (int32_t)w->pad_left};
}

/* The row of x under (i, j) of the window at a corner; null where that is padding. */
static inline const void *bitx_under(const bitx_window *w, const bitx_matrix *x, bitx_corner at,
                                     uint32_t i, uint32_t j)
{
    const int32_t y = at.top + (int32_t)(i * w->dilation_down);
    const int32_t z = at.left + (int32_t)(j * w->dilation_right);
    if (y < 0 || z < 0 || y >= (int32_t)w->height || z >= (int32_t)w->width) return NULL;
    return bitx_row(x, (uint32_t)y * w->width + (uint32_t)z);
}

#endif /* BITX_WINDOW_H */
