/* relu_square_mul.c - Relu, its square, times a gate: (relu(x) * relu(x)) * y. */
#include "../ops/row_math.h"
#include "../src/session.h"

static void relu_square_mul(float *restrict y, const float *restrict x, const float *restrict by,
                            size_t columns)
{
    BITX_EACH(i, columns, y[i] = (bitx_relu(x[i]) * bitx_relu(x[i])) * by[i]);
}

static void relu_square_mul_row(const void *argument, uint32_t t)
{
    const bitx_call *calls = argument;
    const bitx_matrix *x = &calls[0].in[0], *gate = &calls[2].in[1], *out = &calls[2].out[0];
    relu_square_mul(bitx_row(out, t), bitx_row(x, x->rows - out->rows + t), bitx_row(gate, t),
                    out->columns);
}

bitx_status bitx_fusion_relu_square_mul(const bitx_call *calls)
{
    bitx_parallel_rows(calls->session, relu_square_mul_row, calls, calls[2].out[0].rows);
    return BITX_OK;
}
