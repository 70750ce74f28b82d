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

/* y, of BITX_TASK_ROWS, = rows [first, first + BITX_TASK_ROWS) of a packed w times row t of x, both
 * from column `column` on, a multiple of 16; `columns` of them, or the next multiple of 16.  y also
 * gets padding rows: up to the end of a tile. */
static inline void bitx_packed_sums(const bitx_call *call, const bitx_matrix *x, uint32_t t,
                                    uint32_t first, uint32_t column, uint32_t columns, int32_t *y)
{
    const bitx_matrix *w = &call->in[1];
    const bitx_kernels *kernels = &call->session->kernels;
    const size_t stride = (size_t)bitx_tiles_stride(w->columns), k = (columns + 15u) & ~15u;
    const int8_t *from = (const int8_t *)bitx_row(x, t) + column;
    const uint8_t *tiles = w->data + (size_t)4 * column;
    const uint32_t n = bitx_task_rows(w, first);

    switch (w->layout) {
    case BITX_LAYOUT_P2R:
        kernels->gemv_s32_s8_p2r(y, from, tiles + first / 16 * stride, (n + 15u) & ~15u, k, stride);
        break;
    case BITX_LAYOUT_B1R:
        kernels->gemv_s32_s8_b1r(y, from, tiles + first / 32 * stride, (n + 31u) & ~31u, k, stride);
        break;
    default: /* q4r */
        kernels->gemv_s32_s8_q4r(y, from, tiles + first / 8 * stride, (n + 7u) & ~7u, k, stride);
    }
}

/* y, of BITX_TASK_ROWS, = rows [first, first + BITX_TASK_ROWS) of w times row t of x.  Of a packed
 * matrix, y also gets padding rows: up to the end of a tile. */
static inline void bitx_integer_sums(const bitx_call *call, uint32_t t, uint32_t first, int32_t *y)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1];

    if (w->layout == BITX_LAYOUT_PLAIN)
        call->session->kernels.gemv_s32_s8_s8(y, (const int8_t *)bitx_row(x, t),
                                              (const int8_t *)bitx_row(w, first),
                                              bitx_task_rows(w, first), w->columns);
    else
        bitx_packed_sums(call, x, t, first, 0, w->columns, y);
}

/* The task of an unfused integer product: weights are read once for all rows of the call. */
static inline void bitx_integer_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = (const bitx_call *)argument;
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS;
    const uint32_t n = bitx_task_rows(&call->in[1], first);
    for (uint32_t t = 0; t < call->out[0].rows; t++) {
        int32_t sum[BITX_TASK_ROWS]; /* a row of values has no room for the rest of a tile */
        bitx_integer_sums(call, t, first, sum);
        bitx_copy((int32_t *)bitx_row(&call->out[0], t) + first, sum, n * sizeof *sum);
    }
}

#endif /* BITX_INTEGER_MATMUL_H */
