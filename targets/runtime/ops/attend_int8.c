/* attend_int8.c - Attend over states of int8 codes, with a scale for each position and head. */
#include "attend.h"

static int is_state(const bitx_matrix *m, uint32_t dtype)
{
    return m->rank == 0 && m->role == BITX_STATE && m->dtype == dtype;
}

/* Whether a state of codes has scales beside it. */
static int are_codes(const bitx_matrix *codes, const bitx_matrix *scales, uint32_t heads)
{
    return is_state(codes, BITX_S8) && is_state(scales, BITX_F32) && scales->columns == heads;
}

int bitx_fits_attend_int8(const bitx_call *call)
{
    const bitx_matrix *key = &call->in[1], *value = &call->in[3];
    const uint32_t kv_heads = call->attribute[1];
    return bitx_heads_fit(call, key, value) && are_codes(key, &call->in[2], kv_heads) &&
           are_codes(value, &call->in[4], kv_heads);
}

/* x[j] = x[j] times the scale of position j. */
static void multiply(float *x, const bitx_matrix *scales, const bitx_head *h)
{
    const uint8_t *row = bitx_row(scales, 0);
    for (uint32_t j = 0; j < h->positions; j++, row += scales->stride)
        x[j] = x[j] * ((const float *)(const void *)row)[h->group];
}

static const int8_t *codes_of(const bitx_matrix *state, const bitx_head *h)
{
    return (const int8_t *)bitx_row(state, 0) + h->key_column;
}

static void attend(const bitx_call *call, uint32_t t, const bitx_head *h, float *scores)
{
    const bitx_kernels *kernels = &call->session->kernels;
    const bitx_matrix *key = &call->in[1], *value = &call->in[3];
    const float *query = (const float *)bitx_row(&call->in[0], t) + h->query_column;
    float *y = (float *)bitx_row(&call->out[0], t) + h->query_column, z;

    kernels->gemv_f32_f32_s8(scores, query, codes_of(key, h), h->positions, h->d, key->stride);
    multiply(scores, &call->in[2], h);
    kernels->softmax_f32_f32(&z, scores, h->scale, h->positions);
    multiply(scores, &call->in[4], h);
    kernels->gevm_f32_f32_s8(y, scores, codes_of(value, h), h->positions, h->d, value->stride);
    BITX_EACH(i, h->d, y[i] = y[i] / z);
}

static void attend_task(void *argument, size_t index)
{
    bitx_attend_rows(argument, index, attend);
}

bitx_status bitx_op_attend_int8(const bitx_call *call)
{
    return bitx_attend_all(call, attend_task);
}
