/* threshold.c - codes that say how many thresholds a number reaches. */
#include "quantize.h"

/* Two's complement, as the plan stores it. */
static int64_t number(uint32_t attribute)
{
    return (int64_t)attribute - ((attribute >> 31) ? INT64_C(0x100000000) : 0);
}

static int is_code(int64_t code)
{
    return -128 <= code && code <= 127;
}

int bitx_fits_threshold(const bitx_call *call)
{
    const bitx_matrix *x = &call->in[0], *levels = &call->in[1], *q = &call->out[0];
    const int64_t start = number(call->attribute[0]), step = number(call->attribute[1]);
    return (bitx_is_value(x, BITX_F32) || bitx_is_value(x, BITX_S32)) &&
           bitx_is_value(q, BITX_S8) && q->columns == x->columns && bitx_rows_fit(x, q) &&
           bitx_is_tensor(levels, 2, x->dtype) &&
           (levels->columns == 1 || levels->columns == x->columns) && is_code(start) &&
           is_code(step) && is_code(start + step * (int64_t)levels->rows);
}

static void count_f32(int8_t *restrict q, const float *restrict x, const float *restrict level,
                      size_t each, int8_t step, size_t columns)
{
    if (each)
        BITX_EACH(i, columns, q[i] = (int8_t)(q[i] + (x[i] >= level[i] ? step : 0)));
    else
        BITX_EACH(i, columns, q[i] = (int8_t)(q[i] + (x[i] >= level[0] ? step : 0)));
}

static void count_s32(int8_t *restrict q, const int32_t *restrict x, const int32_t *restrict level,
                      size_t each, int8_t step, size_t columns)
{
    if (each)
        BITX_EACH(i, columns, q[i] = (int8_t)(q[i] + (x[i] >= level[i] ? step : 0)));
    else
        BITX_EACH(i, columns, q[i] = (int8_t)(q[i] + (x[i] >= level[0] ? step : 0)));
}

static void threshold_row(const void *argument, uint32_t t)
{
    const bitx_call *call = argument;
    const bitx_matrix *x = &call->in[0], *levels = &call->in[1], *out = &call->out[0];
    const int8_t start = (int8_t)number(call->attribute[0]);
    const int8_t step = (int8_t)number(call->attribute[1]);
    const size_t columns = out->columns, each = levels->columns > 1;
    int8_t *q = bitx_row(out, t);
    for (size_t i = 0; i < columns; i++)
        q[i] = start;
    for (uint32_t l = 0; l < levels->rows; l++)
        if (x->dtype == BITX_F32)
            count_f32(q, bitx_row(x, t), bitx_row(levels, l), each, step, columns);
        else
            count_s32(q, bitx_row(x, t), bitx_row(levels, l), each, step, columns);
    bitx_zero_padding(out, t);
}

bitx_status bitx_op_threshold(const bitx_call *call)
{
    if (!bitx_is_finite(&call->in[0])) return BITX_E_NOT_FINITE;
    bitx_parallel_rows(call->session, threshold_row, call, call->out[0].rows);
    return BITX_OK;
}
