/* integer_matmul.h - what TernaryMatMul, DenseMatMul (s8) and their fusions share. */
#ifndef BITX_INTEGER_MATMUL_H
#define BITX_INTEGER_MATMUL_H

#include "../src/session.h"

/* Rows of weights that one task takes: whole p2r tiles, and sums that fit the stack. */
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

/* y = rows [first, first + BITX_TASK_ROWS) of w times row t of x.  Of a p2r matrix, y also gets
 * its padding rows: up to the next multiple of 16. */
static inline void bitx_integer_sums(const bitx_call *call, uint32_t t, uint32_t first, int32_t *y)
{
    const bitx_matrix *w = &call->in[1];
    const bitx_kernels *kernels = &call->session->kernels;
    const int8_t *x = (const int8_t *)bitx_row(&call->in[0], t);
    const uint32_t n = bitx_task_rows(w, first);

    if (w->layout == BITX_LAYOUT_P2R) {
        const size_t k = (size_t)bitx_round_up(w->columns, 16);
        kernels->gemv_s32_s8_p2r(y, x, w->data + first / 4 * k, (n + 15u) & ~15u, k);
    } else {
        const int8_t *rows = (const int8_t *)bitx_row(w, first);
        kernels->gemv_s32_s8_s8(y, x, rows, n, w->columns);
    }
}

/* The task of an unfused integer product: weights are read once for all rows of the call. */
static inline void bitx_integer_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = (const bitx_call *)argument;
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS;
    for (uint32_t t = 0; t < call->out[0].rows; t++)
        bitx_integer_sums(call, t, first, (int32_t *)bitx_row(&call->out[0], t) + first);
}

#endif /* BITX_INTEGER_MATMUL_H */
