/* integer_matmul.h - what TernaryMatMul, DenseMatMul (s8), GroupMatMul and fusions share. */
#ifndef BITX_INTEGER_MATMUL_H
#define BITX_INTEGER_MATMUL_H

#include "../src/session.h"

/* Rows of weights that one task takes: whole tiles of every layout, and sums that fit the stack. */
enum { BITX_TASK_ROWS = 64 };

/* int8 values [rows, k] by a matrix [n, k], summed in s32: k is in bounds, rows fit. */
static inline int bitx_integer_matmul_fits(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];
    return bitx_is_value(x, BITX_S8) && bitx_is_value(y, BITX_S32) && x->columns == w->columns &&
           x->columns <= BITX_MOST_COLUMNS && y->columns == w->rows && bitx_rows_fit(x, y);
}

/* Tasks that one product is split into. */
static inline size_t bitx_matmul_tasks(const bitx_matrix *w)
{
    return ((size_t)w->rows + BITX_TASK_ROWS - 1) / BITX_TASK_ROWS;
}

/* How many rows of weights the task that starts at `first` has. */
static inline uint32_t bitx_task_rows(const bitx_matrix *w, uint32_t first)
{
    const uint32_t most = BITX_TASK_ROWS, left = w->rows - first;
    return left < most ? left : most;
}

/* Some rows of x, from row t on; the sums of row t + i go to y + i * y_stride. */
typedef struct bitx_panel {
    uint32_t t, rows;
    int32_t *y;
    size_t y_stride; /* in elements */
} bitx_panel;

/* Binary tiles are longer than the room that a row of values has behind its last column. */
static inline void bitx_binary_sums(const bitx_kernels *kernels, int32_t *y, const int8_t *x,
                                    const uint8_t *tiles, uint32_t n, size_t k, size_t stride)
{
    int32_t sum[BITX_TASK_ROWS];
    kernels->gemv_s32_s8_b1r(sum, x, tiles, (n + 31u) & ~31u, k, stride);
    bitx_copy(y, sum, n * sizeof *sum);
}

/* Rows [first, first + BITX_TASK_ROWS) of a packed w times a panel of x, both from column `column`
 * on, a multiple of 16; `columns` of them, or the next multiple of 16.  A row of y also gets what
 * fills its last 64 bytes: a value has room for that, and so has BITX_TASK_ROWS. */
static inline void bitx_packed_sums(const bitx_call *call, const bitx_matrix *x,
                                    const bitx_panel *panel, uint32_t first, uint32_t column,
                                    uint32_t columns)
{
    const bitx_matrix *w = &call->in[1];
    const bitx_kernels *kernels = &call->session->kernels;
    const size_t stride = (size_t)bitx_tiles_stride(w->columns), k = (columns + 15u) & ~15u;
    const uint32_t row_of_tiles = w->layout == BITX_LAYOUT_P2R   ? first / 16
                                  : w->layout == BITX_LAYOUT_B1R ? first / 32
                                                                 : first / 8; /* q4r */
    const uint8_t *tiles = w->data + row_of_tiles * stride + (size_t)4 * column;
    const int8_t *from = (const int8_t *)bitx_row(x, panel->t) + column;
    const uint32_t n = bitx_task_rows(w, first), n8 = (n + 7u) & ~7u, n16 = (n + 15u) & ~15u;
    int32_t *y = panel->y;

    if (w->layout == BITX_LAYOUT_P2R && panel->rows > 1) {
        kernels->gemm_s32_s8_p2r(y, panel->y_stride, from, x->stride, panel->rows, tiles, n16, k,
                                 stride);
        return;
    }
    for (uint32_t i = 0; i < panel->rows; i++, y += panel->y_stride, from += x->stride)
        switch (w->layout) {
        case BITX_LAYOUT_P2R: kernels->gemv_s32_s8_p2r(y, from, tiles, n16, k, stride); break;
        case BITX_LAYOUT_B1R: bitx_binary_sums(kernels, y, from, tiles, n, k, stride); break;
        default:              kernels->gemv_s32_s8_q4r(y, from, tiles, n8, k, stride);
        }
}

/* Rows [first, first + BITX_TASK_ROWS) of w times a panel of x; y as above. */
static inline void bitx_integer_sums(const bitx_call *call, const bitx_panel *panel, uint32_t first)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1];

    if (w->layout != BITX_LAYOUT_PLAIN) {
        bitx_packed_sums(call, x, panel, first, 0, w->columns);
        return;
    }
    for (uint32_t i = 0; i < panel->rows; i++)
        call->session->kernels.gemv_s32_s8_s8(
            panel->y + i * panel->y_stride, (const int8_t *)bitx_row(x, panel->t + i),
            (const int8_t *)bitx_row(w, first), bitx_task_rows(w, first), w->columns);
}

/* The panel of all rows of y, their columns from `first` on, for the last rows of x. */
static inline bitx_panel bitx_whole_panel(const bitx_matrix *x, const bitx_matrix *y,
                                          uint32_t first)
{
    return (bitx_panel){.t = x->rows - y->rows,
                        .rows = y->rows,
                        .y = (int32_t *)bitx_row(y, 0) + first,
                        .y_stride = y->stride / sizeof(int32_t)};
}

/* The task of an unfused integer product: weights are read once for all rows of the call. */
static inline void bitx_integer_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = (const bitx_call *)argument;
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS;
    const bitx_panel all = bitx_whole_panel(&call->in[0], &call->out[0], first);
    bitx_integer_sums(call, &all, first);
}

#endif /* BITX_INTEGER_MATMUL_H */
