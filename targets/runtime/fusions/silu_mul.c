/* silu_mul.c - Silu, times a gate. */
#include "../ops/row_math.h"
#include "../src/session.h"

static void silu_mul(float *restrict y, const float *restrict x, const float *restrict by,
                     size_t columns)
{
    BITX_EACH(i, columns, y[i] = bitx_silu(x[i]) * by[i]);
}

static void silu_mul_row(const void *argument, uint32_t t)
{
    const bitx_call *calls = argument;
    const bitx_matrix *x = &calls[0].in[0], *gate = &calls[1].in[1], *out = &calls[1].out[0];
    silu_mul(bitx_row(out, t), bitx_row(x, x->rows - out->rows + t), bitx_row(gate, t),
             out->columns);
}

bitx_status bitx_fusion_silu_mul(const bitx_call *calls)
{
    bitx_parallel_rows(calls->session, silu_mul_row, calls, calls[1].out[0].rows);
    return BITX_OK;
}
