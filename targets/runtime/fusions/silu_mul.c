/* silu_mul.c - Silu, times a gate. */
#include "../ops/row_math.h"
#include "../src/ops.h"

bitx_status bitx_fusion_silu_mul(const bitx_call *calls)
{
    const bitx_matrix *x = &calls[0].in[0], *gate = &calls[1].in[1], *out = &calls[1].out[0];
    const uint32_t skipped = x->rows - out->rows;
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *from = bitx_row(x, skipped + t), *by = bitx_row(gate, t);
        float *y = bitx_row(out, t);
        for (uint32_t i = 0; i < out->columns; i++)
            y[i] = bitx_silu(from[i]) * by[i];
    }
    return BITX_OK;
}
