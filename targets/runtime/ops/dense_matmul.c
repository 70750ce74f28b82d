/* dense_matmul.c - x times a matrix of floats, or of int8. */
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

/* Rows [first, first + n) of w times x. */
static void multiply(const bitx_kernels *kernels, float *y, const float *x, const bitx_matrix *w,
                     uint32_t first, uint32_t n)
{
    const void *rows = bitx_row(w, first);
    switch (w->dtype) {
    case BITX_F32: kernels->gemv_f32_f32_f32(y, x, rows, n, w->columns, w->stride); break;
    case BITX_F16: kernels->gemv_f32_f32_f16(y, x, rows, n, w->columns, w->stride); break;
    default:       kernels->gemv_f32_f32_bf16(y, x, rows, n, w->columns, w->stride);
    }
}

static void float_matmul_task(void *argument, size_t index)
{
    const bitx_call *call = argument;
    const bitx_matrix *w = &call->in[1];
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS, n = bitx_task_rows(w, first);
    for (uint32_t t = 0; t < call->out[0].rows; t++)
        multiply(&call->session->kernels, (float *)bitx_row(&call->out[0], t) + first,
                 bitx_row(&call->in[0], t), w, first, n);
}

bitx_status bitx_op_dense_matmul(const bitx_call *call)
{
    if (call->in[1].dtype == BITX_S8)
        bitx_integer_matmul(call);
    else
        bitx_parallel(call->session, float_matmul_task, (void *)(uintptr_t)call,
                      bitx_matmul_tasks(&call->in[1]));
    return BITX_OK;
}
