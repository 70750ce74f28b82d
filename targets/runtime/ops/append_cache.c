/* append_cache.c - store each row at its position in a state. */
#include "../src/floats.h"
#include "../src/ops.h"

int bitx_fits_append_cache(const bitx_call *call)
{
    const bitx_matrix *state = &call->in[0], *x = &call->in[1];
    const uint32_t heads = call->attribute[0];
    return state->rank == 0 && state->role == BITX_STATE && call->out[0].rank == 0 &&
           call->out[0].index == state->index &&
           (state->dtype == BITX_F32 || state->dtype == BITX_F16) && bitx_is_value(x, BITX_F32) &&
           x->columns == state->columns && x->row_kind == BITX_ROWS_CALL && heads > 0 &&
           bitx_divide(x->columns, heads) * heads == x->columns;
}

/* A finite float may be too large for f16. */
static int store_f16(uint16_t *restrict row, const float *restrict x, uint32_t columns)
{
    for (uint32_t i = 0; i < columns; i++)
        row[i] = bitx_to_f16(x[i]);
    return bitx_largest_magnitude(x, columns) < 0x477ff000u; /* 65520: the first too large */
}

static int store_f32(float *row, const float *x, uint32_t columns)
{
    bitx_copy(row, x, columns * sizeof *row);
    return bitx_largest_magnitude(x, columns) < BITX_INFINITY_BITS;
}

bitx_status bitx_op_append_cache(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[1], *state = &call->out[0];
    if ((uint64_t)call->position + x->rows > state->rows) return BITX_E_FULL;

    for (uint32_t t = 0; t < x->rows; t++) {
        void *row = bitx_row(state, call->position + t);
        const int finite = state->dtype == BITX_F16 ? store_f16(row, bitx_row(x, t), x->columns)
                                                    : store_f32(row, bitx_row(x, t), x->columns);
        if (!finite) return BITX_E_NOT_FINITE;
    }
    return BITX_OK;
}
