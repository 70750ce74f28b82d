/* group_matmul.c - int8 or int16 activations times packed weights that share scales in groups. */
#include "groups.h"
#include "integer_matmul.h"

static int is_activation(const bitx_matrix *x, const bitx_matrix *w, const bitx_matrix *y)
{
    return bitx_is_value(x, BITX_S8) && x->columns == w->columns && bitx_rows_fit(x, y);
}

int bitx_fits_group_matmul(const bitx_call *call)
{
    const bitx_matrix *w = &call->in[1], *scale = &call->in[3], *y = &call->out[0];
    const uint32_t group = call->attribute[0];
    return bitx_is_grouped(w, &call->in[2], group) && is_activation(&call->in[0], w, y) &&
           (call->inputs < 5 || is_activation(&call->in[4], w, y)) &&
           bitx_is_value(scale, BITX_F32) && bitx_rows_fit(scale, y) &&
           (scale->columns == 1 || scale->columns == bitx_group_count(group, w->columns)) &&
           bitx_is_value(y, BITX_F32) && y->columns == w->rows;
}

/* Rows of x that a task takes at a time: a kernel's panel. */
enum { PANEL_ROWS = 4 };

/* Everything that a task keeps, 3.25 KiB.  Loops over all of a block, whatever rows there are, have
 * a length that the compiler knows. */
typedef struct block {
    int32_t sum[PANEL_ROWS][BITX_TASK_ROWS], low_sum[PANEL_ROWS][BITX_TASK_ROWS];
    float y[PANEL_ROWS][BITX_TASK_ROWS];
    float scale[BITX_TASK_ROWS];
} block;

/* The weights' scales of group g and rows [first, first + n). */
static void read_scales(block *b, const bitx_matrix *scale, uint32_t g, uint32_t first, uint32_t n)
{
    const void *scales = bitx_row(scale, scale->rows > 1 ? g : 0);
    if (scale->columns == 1) {
        const float shared = bitx_group_scale(scale, g, 0);
        for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
            b->scale[j] = shared;
    } else if (scale->dtype == BITX_F32) {
        bitx_copy(b->scale, (const float *)scales + first, n * sizeof *b->scale);
    } else {
        uint16_t halves[BITX_TASK_ROWS] = {0};
        bitx_copy(halves, (const uint16_t *)scales + first, n * sizeof *halves);
        for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
            b->scale[j] = bitx_from_f16(halves[j]);
    }
}

/* Exact: at most 32512 * 8 * 4096 in magnitude. */
static void join_sums(int32_t *sum, const int32_t *low_sum)
{
    for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
        sum[j] = sum[j] * 256 + low_sum[j];
}

static void add_scaled(float *y, const int32_t *sum, const float *scale, float inverse_scale)
{
    for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
        y[j] = y[j] + ((float)sum[j] * scale[j]) * inverse_scale;
}

/* Adds what group g, from column `column` on, gives rows [t, t + rows) of y. */
static void add_group(block *b, const bitx_call *call, uint32_t t, uint32_t rows, uint32_t first,
                      uint32_t g, uint32_t column)
{
    const bitx_matrix *w = &call->in[1], *scale = &call->in[3];
    const uint32_t columns = bitx_group_columns(call->attribute[0], w->columns, column);
    const uint32_t step = scale->columns > 1;
    const bitx_panel high = {t, rows, b->sum[0], BITX_TASK_ROWS};
    const bitx_panel low = {t, rows, b->low_sum[0], BITX_TASK_ROWS};

    read_scales(b, &call->in[2], g, first, bitx_task_rows(w, first));
    bitx_packed_sums(call, &call->in[0], &high, first, column, columns);
    if (call->inputs == 5) {
        bitx_packed_sums(call, &call->in[4], &low, first, column, columns);
        for (uint32_t i = 0; i < rows; i++)
            join_sums(b->sum[i], b->low_sum[i]);
    }
    for (uint32_t i = 0; i < rows; i++) {
        const float *scales = bitx_row(scale, t + i);
        add_scaled(b->y[i], b->sum[i], b->scale, 1.0f / scales[g * step]);
    }
}

static void group_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = argument;
    const bitx_matrix *w = &call->in[1], *out = &call->out[0];
    const uint32_t group = call->attribute[0], first = (uint32_t)index * BITX_TASK_ROWS;
    const uint32_t n = bitx_task_rows(w, first);
    block b;

    bitx_zero(&b, sizeof b);
    for (uint32_t t = 0; t < out->rows; t += PANEL_ROWS) {
        const uint32_t left = out->rows - t, rows = left < PANEL_ROWS ? left : PANEL_ROWS;
        bitx_zero(b.y, sizeof b.y);
        for (uint32_t g = 0, column = 0; column < w->columns; g++, column += group)
            add_group(&b, call, t, rows, first, g, column);
        for (uint32_t i = 0; i < rows; i++)
            bitx_copy((float *)bitx_row(out, t + i) + first, b.y[i], n * sizeof *b.y[i]);
    }
}

bitx_status bitx_op_group_matmul(const bitx_call *call)
{
    bitx_parallel(call->session, group_matmul_task, (void *)(uintptr_t)call,
                  bitx_matmul_tasks(&call->in[1]));
    return BITX_OK;
}
