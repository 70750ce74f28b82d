/* relu_square_mul.c - Relu, its square, times a gate: (relu(x) * relu(x)) * y. */
#include "../ops/row_math.h"
#include "../src/ops.h"

bitx_status bitx_fusion_relu_square_mul(const bitx_call *calls)
{
    const bitx_matrix *x = &calls[0].in[0], *gate = &calls[2].in[1], *out = &calls[2].out[0];
    const uint32_t skipped = x->rows - out->rows;
    for (uint32_t t = 0; t < out->rows; t++) {
        const float *from = bitx_row(x, skipped + t), *by = bitx_row(gate, t);
        float *y = bitx_row(out, t);
        for (uint32_t i = 0; i < out->columns; i++) {
            const float r = bitx_relu(from[i]);
            y[i] = (r * r) * by[i];
        }
    }
    return BITX_OK;
}
