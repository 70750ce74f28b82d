/* integer_matmul.h - what TernaryMatMul, DenseMatMul (s8), GroupMatMul and fusions share. */
#ifndef BITX_INTEGER_MATMUL_H
#define BITX_INTEGER_MATMUL_H

#include "../src/session.h"

/* Rows of weights that a task takes if it keeps sums on its stack. */
enum { BITX_TASK_ROWS = 64 };

/* Rows of weights that one task takes: whole tiles. */
static inline uint32_t bitx_rows_per_task(const bitx_matrix *w)
{
    switch (w->layout) {
    case BITX_LAYOUT_P2B:  return 128; /* that read the same tables */
    case BITX_LAYOUT_T5X3: return 48;
    default:               return BITX_TASK_ROWS;
    }
}

/* int8 values [rows, k] by a matrix [n, k], summed in s32: k is in bounds, rows fit. */
int bitx_integer_matmul_fits(const bitx_call *call);

/* Tasks that one product is split into. */
static inline size_t bitx_matmul_tasks(const bitx_matrix *w)
{
    return (size_t)bitx_divide(w->rows - 1, bitx_rows_per_task(w)) + 1;
}

/* How many rows of weights the task that starts at `first` has. */
static inline uint32_t bitx_task_rows(const bitx_matrix *w, uint32_t first)
{
    const uint32_t most = bitx_rows_per_task(w), left = w->rows - first;
    return left < most ? left : most;
}

/* What a product takes at a time: some rows of x by some columns of w.  Everything, but for layouts
 * that are looked up: tables of everything would be too large. */
typedef struct bitx_pass {
    uint32_t t, rows; /* of y */
    uint32_t column, columns;
    uint8_t *tables; /* of row t, in the session's scratch; null: the kernels need none */
    size_t tables_stride;
} bitx_pass;

/* Some rows of x, from row t on; the sums of row t + i go to y + i * y_stride. */
typedef struct bitx_panel {
    uint32_t t, rows;
    int32_t *y;
    size_t y_stride; /* in elements */
} bitx_panel;

/* The panel of all rows of a pass, their columns of y from `first` on: y has the last rows of x. */
static inline bitx_panel bitx_panel_of(const bitx_pass *pass, const bitx_matrix *x,
                                       const bitx_matrix *y, uint32_t first)
{
    return (bitx_panel){.t = x->rows - y->rows + pass->t,
                        .rows = pass->rows,
                        .y = (int32_t *)bitx_row(y, pass->t) + first,
                        .y_stride = y->stride / sizeof(int32_t)};
}

/* Rows [first, first + BITX_TASK_ROWS) of a packed w, a byte of which holds one column, times a
 * panel of x, both from column `column` on, a multiple of 16; `columns` of them, or the next
 * multiple of 16.  A row of y also gets what fills its last 64 bytes: a value has room for that,
 * and so has BITX_TASK_ROWS. */
void bitx_packed_sums(const bitx_call *call, const bitx_matrix *x, const bitx_panel *panel,
                      uint32_t first, uint32_t column, uint32_t columns);

/* What a pass gives the rows of w from `first` on that one task takes, times a panel of x; y as
 * above. */
void bitx_integer_sums(const bitx_call *call, const bitx_pass *pass, const bitx_panel *panel,
                       uint32_t first);

/* Runs the tasks of a product, `pass` among their argument, as often as there are passes.  Its
 * tables are those of call's x.  rows: of y, which a fusion may have fewer of than call. */
void bitx_run_passes(const bitx_call *call, bitx_pass *pass, uint32_t rows, bitx_task task,
                     void *argument);

/* An integer product without Rescale: weights are read once for all rows of a pass. */
void bitx_integer_matmul(const bitx_call *call);

#endif /* BITX_INTEGER_MATMUL_H */
