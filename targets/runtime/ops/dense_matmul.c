/* dense_matmul.c - x times a matrix of floats, or of int8. */
#include "../src/floats.h"
#include "integer_matmul.h"

static int float_matmul_fits(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *w = &call->in[1], *y = &call->out[0];
    return bitx_is_value(x, BITX_F32) && bitx_is_value(y, BITX_F32) && x->columns == w->columns &&
           y->columns == w->rows && bitx_rows_fit(x, y);
}

int bitx_fits_dense_matmul(const bitx_call *call)
{
    const bitx_matrix *w = &call->in[1];
    if (bitx_is_tensor(w, 2, BITX_S8)) return bitx_integer_matmul_fits(call);
    return (bitx_is_tensor(w, 2, BITX_F32) || bitx_is_tensor(w, 2, BITX_F16) ||
            bitx_is_tensor(w, 2, BITX_BF16)) &&
           float_matmul_fits(call);
}

static float dot(const bitx_matrix *w, uint32_t row, const float *x)
{
    const void *weights = bitx_row(w, row);
    switch (w->dtype) {
    case BITX_F32: return bitx_lane_dot(x, weights, w->columns);
    case BITX_F16: return bitx_lane_dot_f16(x, weights, w->columns);
    default:       return bitx_lane_dot_bf16(x, weights, w->columns);
    }
}

static void float_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = argument;
    const bitx_matrix *w = &call->in[1];
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS, n = bitx_task_rows(w, first);
    for (uint32_t row = first; row < first + n; row++)
        for (uint32_t t = 0; t < call->out[0].rows; t++) {
            float *y = bitx_row(&call->out[0], t);
            y[row] = dot(w, row, bitx_row(&call->in[0], t));
        }
}

bitx_status bitx_op_dense_matmul(const bitx_call *call)
{
    const int is_integer = call->in[1].dtype == BITX_S8;
    bitx_parallel(call->session, is_integer ? bitx_integer_matmul_task : float_matmul_task,
                  (void *)(uintptr_t)call, bitx_matmul_tasks(&call->in[1]));
    return BITX_OK;
}
