/* integer_matmul.c - integer products of every layout, in passes where sums are looked up. */
#include "../ops/integer_matmul.h"

#include "lookup.h"

/* int8 values [rows, k] by a matrix [n, k], summed in s32: k is in bounds, rows fit. */
int bitx_integer_matmul_fits(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];
    return bitx_is_value(x, BITX_S8) && bitx_is_value(y, BITX_S32) && x->columns == w->columns &&
           x->columns <= BITX_MOST_COLUMNS && y->columns == w->rows && bitx_rows_fit(x, y);
}

/* Binary tiles are longer than the room that a row of values has behind its last column. */
static void binary_sums(const bitx_kernels *kernels, int32_t *y, const int8_t *x,
                        const uint8_t *tiles, uint32_t n, size_t k, size_t stride)
{
    int32_t sum[BITX_TASK_ROWS];
    kernels->gemv_s32_s8_b1r(sum, x, tiles, (n + 31u) & ~31u, k, stride);
    bitx_copy(y, sum, n * sizeof *sum);
}

/* Rows [first, first + BITX_TASK_ROWS) of a packed w times a panel of x, both from column `column`
 * on, a multiple of 16; `columns` of them, or the next multiple of 16.  A row of y also gets what
 * fills its last 64 bytes: a value has room for that, and so has BITX_TASK_ROWS. */
void bitx_packed_sums(const bitx_call *call, const bitx_matrix *x, const bitx_panel *panel,
                      uint32_t first, uint32_t column, uint32_t columns)
{
    const bitx_matrix *w = &call->in[1];
    const bitx_kernels *kernels = &call->session->kernels;
    const size_t stride = (size_t)bitx_tiles_stride(w->layout, w->columns);
    const size_t k = (columns + 15u) & ~15u;
    const int p2r = bitx_is_layout(w->layout, BITX_LAYOUT_P2R);
    const int b1r = bitx_is_layout(w->layout, BITX_LAYOUT_B1R);
    const int q4r = bitx_is_layout(w->layout, BITX_LAYOUT_Q4R);
    const uint32_t row_of_tiles = p2r ? first / 16 : b1r ? first / 32 : first / 8;
    const uint8_t *tiles = w->data + row_of_tiles * stride + (size_t)4 * column;
    const int8_t *from = (const int8_t *)bitx_row(x, panel->t) + column;
    const uint32_t n = bitx_task_rows(w, first), n8 = (n + 7u) & ~7u, n16 = (n + 15u) & ~15u;
    int32_t *y = panel->y;

    if (p2r && panel->rows > 1) {
        kernels->gemm_s32_s8_p2r(y, panel->y_stride, from, x->stride, panel->rows, tiles, n16, k,
                                 stride);
        return;
    }
    for (uint32_t i = 0; i < panel->rows; i++, y += panel->y_stride, from += x->stride)
        if (p2r)
            kernels->gemv_s32_s8_p2r(y, from, tiles, n16, k, stride);
        else if (b1r)
            binary_sums(kernels, y, from, tiles, n, k, stride);
        else if (q4r)
            kernels->gemv_s32_s8_q4r(y, from, tiles, n8, k, stride);
}

static void t5x3_multiply(const bitx_kernels *kernels, const bitx_panel *panel, const int8_t *x,
                          size_t x_stride, const uint8_t *tiles, uint32_t n, size_t k,
                          size_t stride)
{
    if (panel->rows > 1)
        kernels->gemm_s32_s8_t5x3(panel->y, panel->y_stride, x, x_stride, panel->rows, tiles, n, k,
                                  stride);
    else
        kernels->gemv_s32_s8_t5x3(panel->y, x, tiles, n, k, stride);
}

/* Rows from `first` on, as many as one task takes, of a w in layout t5x3 times a panel of x.  The
 * last tile may be longer than the room that a row of values has: its sums wait on the stack. */
static void t5x3_sums(const bitx_call *call, const bitx_panel *panel, uint32_t first)
{
    enum { ROWS_AT_ONCE = 16 };
    const bitx_matrix *x = &call->in[0], *w = &call->in[1];
    const bitx_kernels *kernels = &call->session->kernels;
    const size_t stride = (size_t)bitx_tiles_stride(w->layout, w->columns);
    const size_t k = (w->columns + 31u) & ~31u;
    const uint8_t *tiles = w->data + bitx_divide(first, 12) * stride;
    const uint32_t n = bitx_task_rows(w, first), n12 = (bitx_divide(n - 1, 12) + 1) * 12;

    if (n == n12) {
        t5x3_multiply(kernels, panel, (const int8_t *)bitx_row(x, panel->t), x->stride, tiles, n, k,
                      stride);
        return;
    }
    for (uint32_t t = 0; t < panel->rows; t += ROWS_AT_ONCE) {
        int32_t sums[ROWS_AT_ONCE][BITX_TASK_ROWS];
        const uint32_t left = panel->rows - t, rows = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        const bitx_panel some = {panel->t + t, rows, sums[0], BITX_TASK_ROWS};
        t5x3_multiply(kernels, &some, (const int8_t *)bitx_row(x, some.t), x->stride, tiles, n12, k,
                      stride);
        for (uint32_t i = 0; i < rows; i++)
            bitx_copy(panel->y + (t + i) * panel->y_stride, sums[i], n * sizeof(int32_t));
    }
}

/* Makes tables of the k columns of x. */
typedef void (*tables_fn)(uint8_t *tables, const int8_t *x, size_t k);

/* Adds what k columns give to n rows of y: x, tables and w begin at the first of the columns. */
typedef void (*look_up_fn)(int32_t *y, const int8_t *x, const uint8_t *tables, const uint8_t *w,
                           size_t n, size_t k, size_t stride);

/* Of a layout that is looked up: kernels of one row of x, of two at once, of many. */
typedef struct lookup_kernels {
    tables_fn tables; /* null: look_up reads none */
    look_up_fn look_up;
    bitx_tables_s8_s8_p16_fn tables_of_two; /* null: rows are taken one by one */
    bitx_gemm_s32_s8_p16_fn look_up_two;
    bitx_gemm_s32_s8_p2b_fn look_up_many; /* null: rows are taken one by one */
} lookup_kernels;

static lookup_kernels kernels_of(const bitx_kernels *kernels, uint32_t layout)
{
    if (bitx_is_layout(layout, BITX_LAYOUT_P16))
        return (lookup_kernels){.tables = kernels->tables_s8_p16,
                                .look_up = kernels->gemv_s32_s8_p16,
                                .tables_of_two = kernels->tables_s8_s8_p16,
                                .look_up_two = kernels->gemm_s32_s8_p16};
    if (bitx_is_layout(layout, BITX_LAYOUT_P2B))
        return (lookup_kernels){.tables = kernels->tables_s8_p2b,
                                .look_up = kernels->gemv_s32_s8_p2b,
                                .look_up_many = kernels->gemm_s32_s8_p2b};
    return (lookup_kernels){.tables = NULL};
}

/* What a pass gives the rows from `first` on that one task takes of a w that is looked up: the
 * first pass of a row sets y, the others add to it; y as above. */
static void looked_up_sums(const bitx_call *call, const bitx_pass *pass, const bitx_panel *panel,
                           uint32_t first)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1];
    const bitx_lookup lookup = bitx_find_lookup(w->layout);
    const lookup_kernels kernels = kernels_of(&call->session->kernels, w->layout);
    const uint32_t tile = bitx_tile_rows(w->layout);
    const uint32_t n = (bitx_task_rows(w, first) + tile - 1) & ~(tile - 1);
    const size_t stride = (size_t)bitx_tiles_stride(w->layout, w->columns);
    const uint8_t *tiles = w->data + bitx_divide(first, tile) * stride +
                           (size_t)bitx_divide(pass->column, lookup.block) * lookup.tile_bytes;
    const int8_t *from = (const int8_t *)bitx_row(x, panel->t) + pass->column;
    const uint8_t *tables = pass->tables;
    int32_t *y = panel->y;

    if (pass->column == 0)
        for (uint32_t i = 0; i < panel->rows; i++)
            bitx_zero(y + i * panel->y_stride, n * sizeof *y);
    if (panel->rows == 2 && kernels.tables_of_two) {
        kernels.look_up_two(y, panel->y_stride, from, x->stride, tables, tiles, n, pass->columns,
                            stride);
        return;
    }
    if (panel->rows > 1 && kernels.look_up_many) {
        kernels.look_up_many(y, panel->y_stride, from, x->stride, tables, pass->tables_stride,
                             panel->rows, tiles, n, pass->columns, stride);
        return;
    }
    for (uint32_t i = 0; i < panel->rows; i++, y += panel->y_stride) {
        kernels.look_up(y, from, tables, tiles, n, pass->columns, stride);
        from += x->stride;
        tables += pass->tables_stride;
    }
}

/* What a pass gives the rows of w from `first` on that one task takes, times a panel of x. */
void bitx_integer_sums(const bitx_call *call, const bitx_pass *pass, const bitx_panel *panel,
                       uint32_t first)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1];

    if (bitx_find_lookup(w->layout).block) {
        looked_up_sums(call, pass, panel, first);
        return;
    }
    if (bitx_is_layout(w->layout, BITX_LAYOUT_T5X3)) {
        t5x3_sums(call, panel, first);
        return;
    }
    if (bitx_is_by_column(w->layout)) {
        bitx_packed_sums(call, x, panel, first, 0, w->columns);
        return;
    }
    for (uint32_t i = 0; i < panel->rows; i++)
        call->session->kernels.gemv_s32_s8_s8(
            panel->y + i * panel->y_stride, (const int8_t *)bitx_row(x, panel->t + i),
            (const int8_t *)bitx_row(w, first), bitx_task_rows(w, first), w->columns);
}

/* Blocks of columns that one task makes tables of. */
enum { BLOCKS_AT_ONCE = 32 };

typedef struct tables_job {
    const bitx_call *call;
    const bitx_pass *pass;
    uint32_t t;      /* the first row of x */
    uint32_t pieces; /* of a row */
    uint32_t rows;   /* one for both where two have tables together */
} tables_job;

static void tables_task(void *argument, size_t index)
{
    const tables_job *job = (const tables_job *)argument;
    const bitx_call *call = job->call;
    const bitx_pass *pass = job->pass;
    const bitx_lookup lookup = bitx_find_lookup(call->in[1].layout);
    const uint32_t i = bitx_divide((uint32_t)index, job->pieces);
    const uint32_t piece = (uint32_t)index - i * job->pieces;
    const uint32_t most = BLOCKS_AT_ONCE * lookup.block, at = piece * most;
    const uint32_t left = pass->columns - at;
    const lookup_kernels kernels = kernels_of(&call->session->kernels, call->in[1].layout);
    const size_t before = (size_t)piece * BLOCKS_AT_ONCE * lookup.bytes;
    const int8_t *x = (const int8_t *)bitx_row(&call->in[0], job->t + i) + pass->column + at;

    if (job->rows < pass->rows)
        kernels.tables_of_two(pass->tables + 2 * before, x, call->in[0].stride,
                              left < most ? left : most);
    else
        kernels.tables(pass->tables + i * pass->tables_stride + before, x,
                       left < most ? left : most);
}

/* t: the first row of x. */
static void make_tables(const bitx_call *call, const bitx_pass *pass, uint32_t t)
{
    const uint32_t layout = call->in[1].layout;
    const uint32_t most = BLOCKS_AT_ONCE * bitx_find_lookup(layout).block;
    const int together =
        pass->rows == 2 && kernels_of(&call->session->kernels, layout).tables_of_two;
    tables_job job = {call, pass, t, bitx_divide(pass->columns - 1, most) + 1,
                      together ? 1 : pass->rows};
    bitx_parallel(call->session, tables_task, &job, (size_t)job.rows * job.pieces);
}

/* Runs the tasks of a product, `pass` among their argument, as often as there are passes.  Its
 * tables are those of call's x.  rows: of y, which a fusion may have fewer of than call. */
void bitx_run_passes(const bitx_call *call, bitx_pass *pass, uint32_t rows, bitx_task task,
                     void *argument)
{
    const bitx_matrix *w = &call->in[1];
    const bitx_lookup lookup = bitx_find_lookup(w->layout);
    const uint32_t k = w->columns;

    if (!lookup.block || !kernels_of(&call->session->kernels, w->layout).tables) {
        *pass = (bitx_pass){.rows = rows, .columns = k};
        bitx_parallel(call->session, task, argument, bitx_matmul_tasks(w));
        return;
    }
    for (uint32_t t = 0; t < rows; t += pass->rows) {
        const uint32_t some = rows - t < lookup.rows ? rows - t : lookup.rows;
        const uint32_t most = some > 1 ? lookup.columns : lookup.row_columns;
        for (uint32_t column = 0; column < k; column += pass->columns) {
            const uint32_t columns = k - column < most ? k - column : most;
            *pass = (bitx_pass){t,
                                some,
                                column,
                                columns,
                                call->session->scratch,
                                (size_t)bitx_tables_bytes(&lookup, columns)};
            make_tables(call, pass, call->in[0].rows - rows + t);
            bitx_parallel(call->session, task, argument, bitx_matmul_tasks(w));
        }
    }
}

/* An integer product without Rescale. */
typedef struct sums_job {
    const bitx_call *call;
    bitx_pass pass;
} sums_job;

static void sums_task(void *argument, size_t index)
{
    const sums_job *job = (const sums_job *)argument;
    const bitx_call *call = job->call;
    const uint32_t first = (uint32_t)index * bitx_rows_per_task(&call->in[1]);
    const bitx_panel all = bitx_panel_of(&job->pass, &call->in[0], &call->out[0], first);
    bitx_integer_sums(call, &job->pass, &all, first);
}

/* Weights are read once for all rows of a pass. */
void bitx_integer_matmul(const bitx_call *call)
{
    sums_job job = {.call = call};
    bitx_run_passes(call, &job.pass, call->out[0].rows, sums_task, &job);
}
