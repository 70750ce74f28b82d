/* rope.c - turn the halves of each head by the angle of the row's position. */
#include "../src/floats.h"
#include "../src/ops.h"

int bitx_fits_rope(const bitx_call *call)
{
    const bitx_matrix *cos = &call->in[1], *sin = &call->in[2], *y = &call->out[0];
    return bitx_maps_rows(&call->in[0], y) && bitx_is_sequence(y) &&
           bitx_is_tensor(cos, 2, BITX_F32) && bitx_is_tensor(sin, 2, BITX_F32) &&
           cos->rows == sin->rows && cos->columns == sin->columns && cos->rows >= call->context &&
           (uint64_t)call->attribute[0] * 2 * cos->columns == y->columns;
}

static void turn(float *y, const float *x, const float *c, const float *s, uint32_t half)
{
    for (uint32_t i = 0; i < half; i++) {
        const float low = x[i], high = x[i + half];
        y[i] = low * c[i] - high * s[i];
        y[i + half] = high * c[i] + low * s[i];
    }
}

bitx_status bitx_op_rope(const bitx_call *call)
{
    const bitx_matrix *cos = &call->in[1], *y = &call->out[0];
    const uint32_t heads = call->attribute[0], half = cos->columns;
    if ((uint64_t)call->position + y->rows > cos->rows) return BITX_E_FULL;

    for (uint32_t t = 0; t < y->rows; t++) {
        const float *c = bitx_row(cos, call->position + t);
        const float *s = bitx_row(&call->in[2], call->position + t);
        const float *from = bitx_row(&call->in[0], t);
        float *to = bitx_row(y, t);
        for (uint32_t h = 0; h < heads; h++, from += 2 * half, to += 2 * half)
            turn(to, from, c, s, half);
    }
    return BITX_OK;
}
