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

/* Everything that a task keeps, 1 KiB.  Loops over all of a block, whatever rows there are, have a
 * length that the compiler knows. */
typedef struct block {
    int32_t sum[BITX_TASK_ROWS], low_sum[BITX_TASK_ROWS];
    float scale[BITX_TASK_ROWS], y[BITX_TASK_ROWS];
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
static void join_sums(block *b)
{
    for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
        b->sum[j] = b->sum[j] * 256 + b->low_sum[j];
}

static void add_scaled(block *b, float inverse_scale)
{
    for (uint32_t j = 0; j < BITX_TASK_ROWS; j++)
        b->y[j] = b->y[j] + ((float)b->sum[j] * b->scale[j]) * inverse_scale;
}

static void group_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = argument;
    const bitx_matrix *w = &call->in[1], *scale = &call->in[3], *out = &call->out[0];
    const uint32_t group = call->attribute[0], first = (uint32_t)index * BITX_TASK_ROWS;
    const uint32_t n = bitx_task_rows(w, first), step = scale->columns > 1;
    const int has_low = call->inputs == 5;
    block b;

    bitx_zero(&b, sizeof b);
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *scales = bitx_row(scale, t);
        bitx_zero(b.y, sizeof b.y);
        for (uint32_t g = 0, column = 0; column < w->columns; g++, column += group) {
            const uint32_t columns = bitx_group_columns(group, w->columns, column);
            bitx_packed_sums(call, &call->in[0], t, first, column, columns, b.sum);
            if (has_low) {
                bitx_packed_sums(call, &call->in[4], t, first, column, columns, b.low_sum);
                join_sums(&b);
            }
            read_scales(&b, &call->in[2], g, first, n);
            add_scaled(&b, 1.0f / scales[g * step]);
        }
        bitx_copy((float *)bitx_row(out, t) + first, b.y, n * sizeof *b.y);
    }
}

bitx_status bitx_op_group_matmul(const bitx_call *call)
{
    bitx_parallel(call->session, group_matmul_task, (void *)(uintptr_t)call,
                  bitx_matmul_tasks(&call->in[1]));
    return BITX_OK;
}
