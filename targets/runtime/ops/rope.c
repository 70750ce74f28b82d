/* rope.c - turn the halves of each head by the angle of the row's position. */
#include "../src/floats.h"
#include "../src/session.h"

int bitx_fits_rope(const bitx_call *call)
{
    const bitx_matrix *cos = &call->in[1], *sin = &call->in[2], *y = &call->out[0];
    return bitx_maps_rows(&call->in[0], y) && bitx_is_sequence(y) &&
           bitx_is_tensor(cos, 2, BITX_F32) && bitx_is_tensor(sin, 2, BITX_F32) &&
           cos->rows == sin->rows && cos->columns == sin->columns && cos->rows >= call->context &&
           (uint64_t)call->attribute[0] * 2 * cos->columns == y->columns;
}

/* The halves of a head. */
static void turn(float *restrict y_low, float *restrict y_high, const float *restrict low,
                 const float *restrict high, const float *restrict c, const float *restrict s,
                 size_t half)
{
    BITX_EACH(i, half, y_low[i] = low[i] * c[i] - high[i] * s[i]);
    BITX_EACH(i, half, y_high[i] = high[i] * c[i] + low[i] * s[i]);
}

static void rope_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const uint32_t heads = call->attribute[0], half = call->in[1].columns;
    const float *c = bitx_row(&call->in[1], call->position + t);
    const float *s = bitx_row(&call->in[2], call->position + t);
    const float *x = bitx_row(&call->in[0], t);
    float *y = bitx_row(&call->out[0], t);
    for (uint32_t h = 0; h < heads; h++, x += 2 * half, y += 2 * half)
        turn(y, y + half, x, x + half, c, s, half);
}

bitx_status bitx_op_rope(const bitx_call *call)
{
    if ((uint64_t)call->position + call->out[0].rows > call->in[1].rows) return BITX_E_FULL;
    bitx_parallel_rows(call->session, rope_row, call, call->out[0].rows);
    return BITX_OK;
}
